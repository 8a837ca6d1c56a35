//! The tables, once for both databases. `migrations/` says what each is for.

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    use diesel::sql_types::Text;
    meta (key) { key -> Text, value -> Text }
}

table! {
    use diesel::sql_types::Text;
    use crate::store::types::sql::Uuid;
    companies (id) { id -> Uuid, name -> Text, logo_url -> Text }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Nullable, Text};
    use crate::store::types::sql::Uuid;
    users (id) {
        id -> Uuid,
        given_name -> Text,
        family_name -> Text,
        logo_url -> Text,
        company_id -> Nullable<Uuid>,
        active -> Bool,
        access_position -> BigInt,
    }
}

table! {
    use diesel::sql_types::{Bool, Text};
    use crate::store::types::sql::Uuid;
    campaigns (id) { id -> Uuid, company_id -> Uuid, name -> Text, open -> Bool }
}

table! {
    use diesel::sql_types::{BigInt, Nullable};
    use crate::store::types::sql::{Instant, Uuid};
    rooms (id) {
        id -> Uuid,
        company_id -> Uuid,
        creator_id -> Uuid,
        selected_campaign_id -> Nullable<Uuid>,
        last_number -> BigInt,
        last_at -> Instant,
        last_position -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use crate::store::types::sql::{Instant, Uuid};
    attachments (id) {
        id -> Uuid,
        object -> Uuid,
        owner -> Uuid,
        name -> Text,
        content_type -> Text,
        size -> BigInt,
        sha256 -> Binary,
        room_id -> Nullable<Uuid>,
        at -> Instant,
    }
}

table! {
    use diesel::sql_types::BigInt;
    use crate::store::types::sql::{Instant, Uuid};
    uploads (object) { object -> Uuid, owner -> Uuid, reserved -> BigInt, at -> Instant }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use crate::store::types::sql::{Instant, Json, Uuid};
    messages (room_id, number) {
        room_id -> Uuid,
        number -> BigInt,
        id -> Uuid,
        from_user -> Uuid,
        side -> Text,
        content -> Text,
        step -> Nullable<Json>,
        attachment_id -> Nullable<Uuid>,
        switched_to -> Nullable<Uuid>,
        at -> Instant,
        selected_campaign_id -> Nullable<Uuid>,
        contract_version -> BigInt,
        fingerprint -> Binary,
    }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Text};
    use crate::store::types::sql::Uuid;
    contracts (room_id, campaign_id) {
        room_id -> Uuid,
        campaign_id -> Uuid,
        state -> Text,
        payout -> BigInt,
        version -> BigInt,
        changed_by -> Uuid,
        changed_in -> BigInt,
        declined -> Bool,
    }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Text};
    use crate::store::types::sql::Uuid;
    contract_changes (room_id, campaign_id, version) {
        room_id -> Uuid,
        campaign_id -> Uuid,
        state -> Text,
        payout -> BigInt,
        version -> BigInt,
        changed_by -> Uuid,
        changed_in -> BigInt,
        declined -> Bool,
    }
}

table! {
    use diesel::sql_types::BigInt;
    use crate::store::types::sql::Uuid;
    participants (room_id, user_id) {
        room_id -> Uuid,
        user_id -> Uuid,
        seen_till -> BigInt,
        last_wrote -> BigInt,
        last_viewed -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::store::types::sql::{Instant, Uuid};
    log (position) {
        position -> BigInt,
        kind -> Text,
        room_id -> Nullable<Uuid>,
        creator_id -> Nullable<Uuid>,
        company_id -> Nullable<Uuid>,
        number -> Nullable<BigInt>,
        user_id -> Nullable<Uuid>,
        at -> Instant,
    }
}

joinable!(rooms -> companies (company_id));
joinable!(messages -> rooms (room_id));
joinable!(participants -> rooms (room_id));
joinable!(participants -> users (user_id));
allow_tables_to_appear_in_same_query!(
    attachments,
    companies,
    contract_changes,
    contracts,
    log,
    messages,
    participants,
    rooms,
    users,
);
