//! Rows of the tables, and the domain's values made of them. As JSON they are what a backup holds.
#![expect(missing_docs, reason = "the columns are documented in migrations/")]

use diesel::{Insertable, Queryable, Selectable};
use serde::{Deserialize, Serialize};

use super::schema::{
    attachments, campaigns, companies, contract_changes, contracts, log, messages, meta, participants, rooms, uploads,
    users,
};
use super::types::{Json, LogKind};
use crate::domain::{
    self, AttachmentId, CampaignId, CompanyId, Contract, ContractState, Fingerprint, MessageId, Number, ObjectId,
    Payout, RecordedStep, RoomId, Side, StoredFile, Timestamp, UserId, Version,
};

/// A row of `meta`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = meta)]
pub struct MetaRow {
    pub key: String,
    pub value: String,
}

/// A row of `companies`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = companies)]
pub struct CompanyRow {
    pub id: CompanyId,
    pub name: String,
    pub logo_url: String,
}

impl From<CompanyRow> for domain::Company {
    fn from(row: CompanyRow) -> Self {
        let CompanyRow { id, name, logo_url } = row;
        Self { id, name, logo_url }
    }
}

impl From<domain::Company> for CompanyRow {
    fn from(company: domain::Company) -> Self {
        let domain::Company { id, name, logo_url } = company;
        Self { id, name, logo_url }
    }
}

/// A row of `users`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
pub struct UserRow {
    pub id: UserId,
    pub given_name: String,
    pub family_name: String,
    pub logo_url: String,
    pub company_id: Option<CompanyId>,
    pub active: bool,
    pub access_position: i64,
}

impl From<UserRow> for domain::User {
    fn from(row: UserRow) -> Self {
        let UserRow { id, given_name, family_name, logo_url, company_id, active, access_position } = row;
        Self { id, given_name, family_name, logo_url, company_id, active, access_position }
    }
}

impl From<domain::User> for UserRow {
    fn from(user: domain::User) -> Self {
        let domain::User { id, given_name, family_name, logo_url, company_id, active, access_position } = user;
        Self { id, given_name, family_name, logo_url, company_id, active, access_position }
    }
}

/// A row of `campaigns`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = campaigns)]
pub struct CampaignRow {
    pub id: CampaignId,
    pub company_id: CompanyId,
    pub name: String,
    pub open: bool,
}

impl From<CampaignRow> for domain::Campaign {
    fn from(row: CampaignRow) -> Self {
        let CampaignRow { id, company_id, name, open } = row;
        Self { id, company_id, name, open }
    }
}

impl From<domain::Campaign> for CampaignRow {
    fn from(campaign: domain::Campaign) -> Self {
        let domain::Campaign { id, company_id, name, open } = campaign;
        Self { id, company_id, name, open }
    }
}

/// A row of `rooms`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = rooms, treat_none_as_default_value = false)]
pub struct RoomRow {
    pub id: RoomId,
    pub company_id: CompanyId,
    pub creator_id: UserId,
    pub selected_campaign_id: Option<CampaignId>,
    pub last_number: Number,
    pub last_at: Timestamp,
    pub last_position: i64,
}

impl From<RoomRow> for domain::Room {
    fn from(row: RoomRow) -> Self {
        let RoomRow { id, company_id, creator_id, selected_campaign_id, last_number, last_at, last_position } = row;
        Self { id, company_id, creator_id, selected_campaign_id, last_number, last_at, last_position }
    }
}

impl From<domain::Room> for RoomRow {
    fn from(room: domain::Room) -> Self {
        let domain::Room { id, company_id, creator_id, selected_campaign_id, last_number, last_at, last_position } =
            room;
        Self { id, company_id, creator_id, selected_campaign_id, last_number, last_at, last_position }
    }
}

/// A row of `messages`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = messages, treat_none_as_default_value = false)]
pub struct MessageRow {
    pub room_id: RoomId,
    pub number: Number,
    pub id: MessageId,
    pub from_user: UserId,
    pub side: Side,
    pub content: String,
    pub step: Option<Json<RecordedStep>>,
    pub attachment_id: Option<AttachmentId>,
    pub switched_to: Option<CampaignId>,
    pub at: Timestamp,
    pub selected_campaign_id: Option<CampaignId>,
    pub contract_version: Version,
    pub fingerprint: Fingerprint,
}

impl From<domain::Message> for MessageRow {
    fn from(message: domain::Message) -> Self {
        Self {
            room_id: message.room_id,
            number: message.number,
            id: message.id,
            from_user: message.from_user,
            side: message.side,
            content: message.content,
            step: message.step.map(Json),
            attachment_id: message.attachment.map(|file| file.id),
            switched_to: message.switched_to,
            at: message.at,
            selected_campaign_id: message.selected_campaign_id,
            contract_version: message.contract_version,
            fingerprint: message.fingerprint,
        }
    }
}

impl MessageRow {
    /// The message, with the file it holds.
    #[must_use]
    pub fn with(self, attachment: Option<AttachmentRow>) -> domain::Message {
        domain::Message {
            room_id: self.room_id,
            number: self.number,
            id: self.id,
            from_user: self.from_user,
            side: self.side,
            content: self.content,
            step: self.step.map(|step| step.0),
            attachment: attachment.map(StoredFile::from),
            switched_to: self.switched_to,
            at: self.at,
            selected_campaign_id: self.selected_campaign_id,
            contract_version: self.contract_version,
            fingerprint: self.fingerprint,
        }
    }
}

/// A row of `attachments`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = attachments, treat_none_as_default_value = false)]
pub struct AttachmentRow {
    pub id: AttachmentId,
    pub object: ObjectId,
    pub owner: UserId,
    pub name: String,
    pub content_type: String,
    pub size: i64,
    pub sha256: Fingerprint,
    pub room_id: Option<RoomId>,
    pub at: Timestamp,
}

impl From<AttachmentRow> for StoredFile {
    fn from(row: AttachmentRow) -> Self {
        let AttachmentRow { id, object, owner, name, content_type, size, sha256, room_id, .. } = row;
        Self { id, object, owner, name, content_type, size, sha256: sha256.0, room_id }
    }
}

impl AttachmentRow {
    /// The row of a file stored at a moment.
    #[must_use]
    pub fn new(file: StoredFile, at: Timestamp) -> Self {
        let StoredFile { id, object, owner, name, content_type, size, sha256, room_id } = file;
        Self { id, object, owner, name, content_type, size, sha256: Fingerprint(sha256), room_id, at }
    }
}

/// A row of `uploads`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = uploads)]
pub struct UploadRow {
    pub object: ObjectId,
    pub owner: UserId,
    pub reserved: i64,
    pub at: Timestamp,
}

/// A row of `contracts`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = contracts)]
pub struct ContractRow {
    pub room_id: RoomId,
    pub campaign_id: CampaignId,
    pub state: ContractState,
    pub payout: Payout,
    pub version: Version,
    pub changed_by: UserId,
    pub changed_in: Number,
    pub declined: bool,
}

/// A row of `contract_changes`: the same columns, one row a version.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = contract_changes)]
pub struct ContractChangeRow {
    pub room_id: RoomId,
    pub campaign_id: CampaignId,
    pub state: ContractState,
    pub payout: Payout,
    pub version: Version,
    pub changed_by: UserId,
    pub changed_in: Number,
    pub declined: bool,
}

macro_rules! contract_rows {
    ($($name:ident),+) => {$(
        impl From<$name> for Contract {
            fn from(row: $name) -> Self {
                let $name { campaign_id, state, payout, version, changed_by, changed_in, declined, .. } = row;
                Self { campaign_id, state, payout, version, changed_by, changed_in, declined }
            }
        }

        impl From<domain::RoomContract> for $name {
            fn from(of: domain::RoomContract) -> Self {
                let Contract { campaign_id, state, payout, version, changed_by, changed_in, declined } = of.contract;
                Self { room_id: of.room_id, campaign_id, state, payout, version, changed_by, changed_in, declined }
            }
        }
    )+};
}
contract_rows!(ContractRow, ContractChangeRow);

/// A row of `participants`.
#[derive(Debug, Clone, Copy, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = participants)]
pub struct ParticipantRow {
    pub room_id: RoomId,
    pub user_id: UserId,
    pub seen_till: Number,
    pub last_wrote: Number,
    pub last_viewed: i64,
}

/// A row of `log`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[diesel(table_name = log, treat_none_as_default_value = false)]
pub struct LogRow {
    pub position: i64,
    pub kind: LogKind,
    pub room_id: Option<RoomId>,
    pub creator_id: Option<UserId>,
    pub company_id: Option<CompanyId>,
    pub number: Option<Number>,
    pub user_id: Option<UserId>,
    pub at: Timestamp,
}
