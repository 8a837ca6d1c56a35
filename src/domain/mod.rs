//! The rules, pure: no async, clock, randomness, database or log.
//!
//! Facts come in ([`World`], a command, a moment), decisions come out ([`decide`]). Everything here is tested by
//! tables, without a runtime.

mod command;
mod contract;
mod cursor;
mod decide;
mod directory;
mod event;
mod ids;
mod refusal;
mod room;
#[cfg(test)]
mod tests;
mod values;
mod world;

pub use command::{Command, CreateRoom, Direction, DirectoryOperation, Receipt, SendMessage, UpdateLastSeen, Upload};
pub use contract::{Change, Contract, ContractState, Guards, Side, Step};
pub use cursor::{Cursor, Epoch};
pub use decide::{Decision, Rules, UNATTACHED_BYTES, decide};
pub use directory::{Campaign, Company, Profile, User};
pub use event::{Entry, EntryKind, Event, News};
pub use ids::{AttachmentId, CampaignId, CompanyId, ConnectionId, MessageId, ObjectId, RoomId, UserId};
pub use refusal::Refusal;
pub use room::{Draft, DraftFile, Fingerprint, Message, RecordedStep, Room, RoomContract, StoredFile};
pub use values::{
    CONTENT_CHARS, Content, FILE_NAME_BYTES, FileName, Invalid, LogoUrl, MAX_INTEGER, MEDIA_TYPE_BYTES, MediaType,
    NAME_CHARS, Name, Number, Payout, Timestamp, URL_BYTES, Version,
};
pub use world::{Answered, World};
