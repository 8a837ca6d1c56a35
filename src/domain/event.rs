//! What happened: the facts a decision consists of, and what readers are told of them.

use super::{
    AttachmentId, Campaign, Company, CompanyId, Contract, Message, Number, ObjectId, Profile, Room, RoomContract,
    RoomId, StoredFile, Timestamp, User, UserId,
};

/// A fact, decided and to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A room was opened; its first message follows. Logged with that message.
    RoomCreated { room: Room },
    /// A message stands in a room. Logged.
    MessageSent { message: Box<Message>, first: bool },
    /// A contract was made or changed.
    ContractChanged(RoomContract),
    /// Somebody's own message or view moved how far they have seen.
    Seen { room_id: RoomId, user_id: UserId, seen_till: Number },
    /// A reader looked further than before. Logged.
    Viewed { room: Room, user_id: UserId, seen_till: Number },
    /// A person was created or replaced. Logged. `joined`: the company they have just joined; `moved`: whether their
    /// company or activity changed.
    UserPut { user: User, joined: Option<CompanyId>, moved: bool },
    /// A company was created or replaced. Logged.
    CompanyPut(Company),
    /// A campaign was created or replaced. Logged.
    CampaignPut(Campaign),
    /// Bytes are on their way.
    UploadBegun { owner: UserId, object: ObjectId, reserved: i64 },
    /// The bytes of a file are there; it may be attached already (`room_id`).
    FileStored(StoredFile),
    /// A message holds the file: the room may read it.
    FileAttached { id: AttachmentId, room_id: RoomId },
}

/// An entry of the log, complete enough to be told: what hubs deliver and replays read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the one order.
    pub position: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// What it says.
    pub kind: EntryKind,
}

/// The kinds of log entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// Told to the creator and the company of a room.
    Told { room_id: RoomId, creator_id: UserId, company_id: CompanyId, news: Box<News> },
    /// A person's company or activity is now this; not told, but hubs act on it.
    Access { user_id: UserId, company_id: Option<CompanyId>, active: bool },
    /// A change of names only; nothing to do.
    Directory,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// `room_created_with_you`.
    RoomCreated { message: Box<Message>, contract: Option<Contract>, company: Company, users: Vec<Profile> },
    /// `new_message`.
    NewMessage { message: Box<Message>, author: Profile, contract: Option<Contract> },
    /// `new_last_view`.
    NewLastView { user_id: UserId, seen_till: Number },
}
