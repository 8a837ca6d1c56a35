//! What callers ask the write side to do.

use super::{
    CampaignId, CompanyId, Draft, Fingerprint, LogoUrl, MessageId, Name, Number, ObjectId, RoomId, StoredFile, UserId,
};

/// Who opens a room with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A creator writes to a company.
    UserToCompany { company_id: CompanyId },
    /// An employee writes to a creator in the name of their company.
    CompanyToUser { company_id: CompanyId, to_user_id: UserId },
}

/// A message for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendMessage {
    /// Who asks.
    pub caller: UserId,
    /// Where.
    pub room_id: RoomId,
    /// The idempotency key, which becomes the message's id.
    pub key: MessageId,
    /// What makes this request the same as another.
    pub fingerprint: Fingerprint,
    /// The sender the body names, if it does.
    pub from_user_id: Option<UserId>,
    /// The message.
    pub draft: Draft,
}

/// A message for the room of a pair, which is opened if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRoom {
    /// Who asks.
    pub caller: UserId,
    /// Between whom.
    pub direction: Direction,
    /// The id a new room gets.
    pub room_id: RoomId,
    /// The idempotency key, which becomes the message's id.
    pub key: MessageId,
    /// What makes this request the same as another.
    pub fingerprint: Fingerprint,
    /// The sender the body names, if it does.
    pub from_user_id: Option<UserId>,
    /// The message.
    pub draft: Draft,
}

/// A reader has seen a room's messages up to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateLastSeen {
    /// Who.
    pub caller: UserId,
    /// Where.
    pub room_id: RoomId,
    /// How far.
    pub seen_till: Number,
}

/// One change of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryOperation {
    /// Create or replace a person; brings a deactivated one back.
    PutUser { id: UserId, given_name: Name, family_name: Name, logo_url: LogoUrl, company_id: Option<CompanyId> },
    /// Deactivate a person, and maybe forget their name.
    DeleteUser { id: UserId, erase: bool },
    /// Create or replace a company.
    PutCompany { id: CompanyId, name: Name, logo_url: LogoUrl },
    /// Create or replace a campaign.
    PutCampaign { id: CampaignId, company_id: CompanyId, name: Name, open: bool },
}

/// What happens to bytes in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// Bytes are about to be written: count them against their owner, and know of them after a crash.
    Begin { owner: UserId, object: ObjectId, reserved: i64 },
    /// The bytes are there: the file can be attached by its owner.
    Finish { file: StoredFile },
}

/// Everything that waits in the writer's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// See [`SendMessage`].
    SendMessage(SendMessage),
    /// See [`CreateRoom`].
    CreateRoom(CreateRoom),
    /// See [`UpdateLastSeen`].
    UpdateLastSeen(UpdateLastSeen),
    /// See [`Upload`].
    Upload(Upload),
    /// All of it or nothing, in order.
    Directory(Vec<DirectoryOperation>),
}

/// What an accepted command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The message is in the room; `repeated` if it had been already.
    Sent { room_id: RoomId, message_id: MessageId, number: Number, repeated: bool },
    /// The values now in force.
    Seen { seen_till: Number, new_messages: i64 },
    /// The directory holds it; whether the (first) entry was new.
    Directory { created: bool },
    /// The file is known; whether it is new.
    Uploaded { created: bool },
}
