//! Writes a [`Ledger`] in bulk: few statements, whatever the size of the batch, and those of different tables at once.

use std::collections::HashSet;

use diesel::upsert::excluded;
use diesel::{ExpressionMethods, QueryDsl, QueryResult, sql_query};
use diesel_async::RunQueryDsl;
use futures_util::join;

use super::ledger::Ledger;
use crate::domain::{CompanyId, Number, ObjectId, RoomContract, RoomId, UserId, World};
use crate::on;
use crate::store::Conn;
use crate::store::bulk::{Bulk, Keep, pieces};
use crate::store::rows::{CampaignRow, CompanyRow, ContractRow, ParticipantRow, RoomRow, UserRow};
use crate::store::schema::{
    attachments, campaigns, companies, contract_changes, contracts, log, messages, participants, rooms, uploads, users,
};
use crate::store::types::sql;

/// Inserts rows, or replaces the named columns of those whose key is there.
macro_rules! upsert {
    ($conn:expr, $table:ident ($($key:ident),+) = $rows:expr; $($column:ident),+) => {{
        for rows in pieces(&$rows) {
            on!($conn, |c| diesel::insert_into($table::table)
                .values(Bulk(rows))
                .on_conflict(($($table::$key),+))
                .do_update()
                .set(($($table::$column.eq(excluded($table::$column))),+,))
                .kept()
                .execute(c))?;
        }
    }};
}

/// Inserts rows whose keys are new.
macro_rules! insert {
    ($conn:expr, $table:ident = $rows:expr) => {{
        for rows in pieces($rows) {
            on!($conn, |c| diesel::insert_into($table::table).values(Bulk(rows)).kept().execute(c))?;
        }
    }};
}

/// Writes everything, what others refer to first.
///
/// # Errors
/// What the database said; the transaction is then rolled back.
pub async fn save(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    save_directory(conn, ledger, world).await?;
    save_rooms(conn, &ledger.opened, world).await?;
    let known: HashSet<RoomId> = ledger.rooms.difference(&ledger.opened).copied().collect();
    let (rooms, files, messages, contracts, participants, log) = join!(
        save_rooms(conn, &known, world),
        save_files(conn, ledger),
        save_messages(conn, ledger),
        save_contracts(conn, ledger, world),
        save_participants(conn, ledger, world),
        save_log(conn, ledger),
    );
    rooms.and(files).and(messages).and(contracts).and(participants).and(log)
}

async fn save_directory(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    let of = ledger.companies.iter().filter_map(|id| world.companies.get(id));
    let rows: Vec<CompanyRow> = of.cloned().map(CompanyRow::from).collect();
    upsert!(conn, companies (id) = rows; name, logo_url);
    let of = ledger.users.iter().filter_map(|id| world.users.get(id));
    let rows: Vec<UserRow> = of.cloned().map(UserRow::from).collect();
    upsert!(conn, users (id) = rows; given_name, family_name, logo_url, company_id, active, access_position);
    let rows: Vec<CampaignRow> = ledger.campaigns.values().cloned().collect();
    upsert!(conn, campaigns (id) = rows; name, open);
    for (user, company) in &ledger.joined {
        join(conn, *user, *company).await?;
    }
    Ok(())
}

/// Someone who joins a company starts with everything seen. (Both databases read `$1` and `$2`.)
async fn join(conn: &Conn, user: UserId, company: CompanyId) -> QueryResult<()> {
    const JOIN: &str = "INSERT INTO participants (room_id, user_id, seen_till, last_wrote, last_viewed) \
                        SELECT id, $1, last_number, 0, 0 FROM rooms WHERE company_id = $2 \
                        ON CONFLICT (room_id, user_id) DO UPDATE SET seen_till = excluded.seen_till";
    on!(conn, |c| sql_query(JOIN).bind::<sql::Uuid, _>(user).bind::<sql::Uuid, _>(company).execute(c))?;
    Ok(())
}

async fn save_rooms(conn: &Conn, ids: &HashSet<RoomId>, world: &World) -> QueryResult<()> {
    let of = ids.iter().filter_map(|id| world.rooms.get(id));
    let rows: Vec<RoomRow> = of.cloned().map(RoomRow::from).collect();
    upsert!(conn, rooms (id) = rows; selected_campaign_id, last_number, last_at, last_position);
    Ok(())
}

async fn save_files(conn: &Conn, ledger: &Ledger) -> QueryResult<()> {
    insert!(conn, uploads = &ledger.uploads);
    insert!(conn, attachments = &ledger.files);
    if !ledger.files.is_empty() {
        // From now on an attachment names these bytes.
        let objects: Vec<ObjectId> = ledger.files.iter().map(|file| file.object).collect();
        on!(conn, |c| diesel::delete(uploads::table.filter(uploads::object.eq_any(&objects))).execute(c))?;
    }
    for (id, room_id) in &ledger.attached {
        on!(conn, |c| diesel::update(attachments::table.find(*id))
            .set(attachments::room_id.eq(Some(*room_id)))
            .execute(c))?;
    }
    Ok(())
}

async fn save_messages(conn: &Conn, ledger: &Ledger) -> QueryResult<()> {
    insert!(conn, messages = &ledger.messages);
    Ok(())
}

async fn save_log(conn: &Conn, ledger: &Ledger) -> QueryResult<()> {
    insert!(conn, log = &ledger.log);
    Ok(())
}

async fn save_contracts(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    insert!(conn, contract_changes = &ledger.contract_changes);
    let changed: HashSet<_> = ledger.contract_changes.iter().map(|row| (row.room_id, row.campaign_id)).collect();
    let of = changed.iter().filter_map(|(room_id, campaign)| {
        let contract = *world.contracts.get(&(*room_id, *campaign))?;
        Some(RoomContract { room_id: *room_id, contract })
    });
    let rows: Vec<ContractRow> = of.map(ContractRow::from).collect();
    upsert!(conn, contracts (room_id, campaign_id) = rows; state, payout, version, changed_by, changed_in, declined);
    Ok(())
}

async fn save_participants(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    let seen = |key: &(RoomId, UserId)| world.seen.get(key).copied().unwrap_or(Number::ZERO);
    let row = |key: &(RoomId, UserId), last_wrote, last_viewed| ParticipantRow {
        room_id: key.0,
        user_id: key.1,
        seen_till: seen(key),
        last_wrote,
        last_viewed,
    };
    let rows: Vec<ParticipantRow> = ledger.wrote.iter().map(|(key, number)| row(key, *number, 0)).collect();
    upsert!(conn, participants (room_id, user_id) = rows; seen_till, last_wrote);
    let rows: Vec<ParticipantRow> =
        ledger.viewed.iter().map(|(key, position)| row(key, Number::ZERO, *position)).collect();
    upsert!(conn, participants (room_id, user_id) = rows; seen_till, last_viewed);
    Ok(())
}
