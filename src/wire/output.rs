//! Response bodies. An optional field without a value is absent, never `null`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{
    self, AttachmentId, CampaignId, CompanyId, Contract, MessageId, Number, Payout, Profile, RecordedStep, RoomId,
    Side, StoredFile, Timestamp, UserId,
};

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivityState {
    /// A page of theirs is in view.
    Online,
    /// A page is open, none in view.
    Away,
    /// No page has been open for 15 seconds.
    Offline,
}

/// A company.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Company {
    /// Its id.
    pub id: CompanyId,
    /// Its name.
    pub name: String,
    /// Its picture: "" or an absolute http(s) URL.
    pub logo_url: String,
}

impl From<domain::Company> for Company {
    fn from(company: domain::Company) -> Self {
        let domain::Company { id, name, logo_url } = company;
        Self { id, name, logo_url }
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserInfo {
    /// Their id.
    pub id: UserId,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Their picture: "" or an absolute http(s) URL.
    pub logo_url: String,
    /// Whether they are there now.
    pub status: ActivityState,
    /// The company they speak, or spoke, for; absent for a creator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub company: Option<Company>,
}

impl UserInfo {
    /// A profile as it is shown now: somebody who has left is shown offline.
    #[must_use]
    pub fn new(profile: Profile, status: impl FnOnce(UserId) -> ActivityState) -> Self {
        let status = if profile.present { status(profile.id) } else { ActivityState::Offline };
        let Profile { id, given_name, family_name, logo_url, company, .. } = profile;
        Self { id, given_name, family_name, logo_url, status, company: company.map(Company::from) }
    }
}

/// A contract change that a message made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContractChange {
    /// The company proposed terms.
    ProposedByCompany {
        /// For this campaign.
        campaign_id: CampaignId,
        /// In cents.
        payout: Payout,
    },
    /// The creator accepted.
    AcceptedByCreator {},
    /// The company took its proposal back.
    WithdrawnByCompany {},
    /// The creator declined or stepped back.
    CancelledByCreator {},
    /// The creator said that the work was done.
    FinishedByCreator {},
    /// The company agreed.
    ApprovedByCompany {},
}

impl From<RecordedStep> for ContractChange {
    fn from(step: RecordedStep) -> Self {
        match step {
            RecordedStep::ProposedByCompany { campaign_id, payout } => Self::ProposedByCompany { campaign_id, payout },
            RecordedStep::AcceptedByCreator {} => Self::AcceptedByCreator {},
            RecordedStep::WithdrawnByCompany {} => Self::WithdrawnByCompany {},
            RecordedStep::CancelledByCreator {} => Self::CancelledByCreator {},
            RecordedStep::FinishedByCreator {} => Self::FinishedByCreator {},
            RecordedStep::ApprovedByCompany {} => Self::ApprovedByCompany {},
        }
    }
}

/// A file that a message holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Its name.
    pub name: String,
    /// Where the reader this was made for can fetch it, without a token, for 1 to 2 hours.
    #[schema(format = "uri-reference")]
    pub link: String,
    /// Its media type, by its bytes where they tell.
    pub content_type: String,
    /// Bytes.
    pub size: i64,
}

impl Attachment {
    /// A stored file with the link its reader gets.
    #[must_use]
    pub fn new(file: StoredFile, link: String) -> Self {
        Self { id: file.id, name: file.name, link, content_type: file.content_type, size: file.size }
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident, $(#[$from_doc:meta])* $from:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub struct $name {
            /// Its number in the room: 1, 2, 3, … without holes.
            pub id: Number,
            /// Its id everywhere; the idempotency key it was sent with.
            pub message_id: MessageId,
            /// The text.
            pub content: String,
            /// The contract change it made.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            pub contract_change: Option<ContractChange>,
            /// The file it holds.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            pub attachment: Option<Attachment>,
            /// The campaign it selected.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            pub change_selected_campaign_to: Option<CampaignId>,
            /// When it was committed (RFC 3339, UTC, always to the microsecond: texts sort as moments do); never decreases
            /// within a room.
            pub timestamp: Timestamp,
            /// The side it speaks for.
            pub side: Side,
            $(#[$from_doc])*
            pub from_user: $from,
        }

        impl $name {
            /// A committed message for one reader; `link` makes that reader's link to a file.
            #[must_use]
            pub fn new(message: domain::Message, from_user: $from, link: impl FnOnce(&StoredFile) -> String) -> Self {
                Self {
                    id: message.number,
                    message_id: message.id,
                    content: message.content,
                    contract_change: message.step.map(ContractChange::from),
                    attachment: message.attachment.map(|file| {
                        let link = link(&file);
                        Attachment::new(file, link)
                    }),
                    change_selected_campaign_to: message.switched_to,
                    timestamp: message.at,
                    side: message.side,
                    from_user,
                }
            }
        }
    };
}

message! {
    /// A message, as queries show it.
    Message,
    /// Who wrote it: look them up in `users`.
    UserId
}

message! {
    /// A message, as notifications show it.
    MessageWithSender,
    /// Who wrote it.
    UserInfo
}

/// The answer to opening a room, or writing into the one that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateChatRoomResp {
    /// The room of the pair.
    pub room_id: RoomId,
    /// The message's id: the idempotency key.
    pub message_id: MessageId,
    /// The message's number in the room.
    pub id: Number,
}

/// The answer to sending a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SendMessageResp {
    /// The message's id: the idempotency key.
    pub message_id: MessageId,
    /// The message's number in the room.
    pub id: Number,
}

/// The values now in force for the caller in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastSeenResp {
    /// The number of the last message seen.
    pub seen_till: Number,
    /// How many messages came after it.
    pub new_messages: i64,
}

/// The caller's rooms, newest message first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rooms {
    /// One page of them.
    pub rooms: Vec<Room>,
    /// Unseen messages in all the caller's rooms.
    pub new_messages_total: i64,
    /// The stream cursor this is consistent with; of the first page, on every page.
    pub position: String,
    /// The cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// A room in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Up to 20 members but the caller, most active first.
    pub users: Vec<UserInfo>,
    /// How many members there are but the caller.
    pub users_total: i64,
    /// The company's side.
    pub company: Company,
    /// The creator's side.
    pub creator_id: UserId,
    /// The campaign that contract changes act on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub selected_campaign_id: Option<CampaignId>,
    /// The contract about the selected campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub contract: Option<Contract>,
    /// The newest message.
    pub last_message: Message,
    /// How many messages the caller has not seen.
    pub new_messages: i64,
}

/// A room with a page of its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DetailedRoom {
    /// Its id.
    pub id: RoomId,
    /// The members, the caller included, most active first, and everyone who wrote a message on this page.
    pub users: Vec<UserInfo>,
    /// How many members there are, the caller included.
    pub users_total: i64,
    /// The company's side.
    pub company: Company,
    /// The creator's side.
    pub creator_id: UserId,
    /// The page, oldest first.
    pub messages: Vec<Message>,
    /// Whether there are messages before this page.
    pub has_more: bool,
    /// How many messages the caller has not seen.
    pub new_messages: i64,
    /// How far the listed users have seen.
    pub last_seen: Vec<LastSeen>,
    /// The campaign that contract changes act on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub selected_campaign_id: Option<CampaignId>,
    /// Every contract of the room, in order of their campaigns' ids.
    pub contracts: Vec<Contract>,
    /// The stream cursor this is consistent with.
    pub position: String,
}

/// How far somebody has seen a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastSeen {
    /// Who.
    pub user_id: UserId,
    /// The number of the last message they have seen; 0 for none.
    pub seen_till: Number,
}

/// Every change of one contract, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractHistory {
    /// The changes.
    pub changes: Vec<ContractRecord>,
    /// The stream cursor this is consistent with.
    pub position: String,
}

/// One change of a contract: who, when, terms, message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractRecord {
    /// The contract after the change.
    pub contract: Contract,
    /// What was done.
    pub change: ContractChange,
    /// The message that did it.
    pub message_id: MessageId,
    /// When, as in messages.
    pub timestamp: Timestamp,
    /// Who.
    pub from_user: UserInfo,
}

/// A person's directory entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryUser {
    /// Their id.
    pub id: UserId,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Their picture.
    pub logo_url: String,
    /// Where they work; absent for a creator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub company_id: Option<CompanyId>,
    /// Whether they may do anything.
    pub active: bool,
}

impl From<domain::User> for DirectoryUser {
    fn from(user: domain::User) -> Self {
        let domain::User { id, given_name, family_name, logo_url, company_id, active, .. } = user;
        Self { id, given_name, family_name, logo_url, company_id, active }
    }
}

/// A campaign's directory entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CampaignInfo {
    /// Its id.
    pub id: CampaignId,
    /// Whose it is.
    pub company_id: CompanyId,
    /// Its name.
    pub name: String,
    /// Whether it takes new proposals.
    pub open: bool,
}

impl From<domain::Campaign> for CampaignInfo {
    fn from(campaign: domain::Campaign) -> Self {
        let domain::Campaign { id, company_id, name, open } = campaign;
        Self { id, company_id, name, open }
    }
}

/// What a client may want to know of this deployment; needs no token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerConfig {
    /// The one currency of every payout (ISO 4217).
    #[schema(example = "EUR")]
    pub currency: String,
    /// The server's version.
    pub version: String,
    /// The longest `content`, in characters.
    pub max_content_characters: usize,
    /// The largest file in base64, in bytes.
    pub max_base64_attachment_bytes: u64,
    /// The largest streamed file, in bytes.
    pub max_attachment_bytes: u64,
    /// How often the event stream says `heartbeat`, in seconds.
    pub heartbeat_seconds: u64,
    /// How long `typing` holds without being repeated, in seconds.
    pub typing_lease_seconds: u64,
    /// Whether contract changes must carry guards.
    pub guards_required: bool,
}
