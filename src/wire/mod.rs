//! The shapes on the wire: what serde reads and writes and OpenAPI describes.
//!
//! Inputs parse straight into the domain's values ([`input`]); outputs are made from the domain's facts plus what
//! only a live server knows: statuses and links ([`output`], [`stream`]). [`problem`] is how errors look.

pub mod input;
pub mod object;
pub mod output;
pub mod problem;
pub mod stream;
pub mod union;

pub use input::{
    AttachmentInput, Base64, ContractChangeInput, CreateChatRoom, CreateChatRoomDirection, CurrentlyTypingUpdate,
    CurrentlyViewingUpdate, DirectoryBatch, DirectoryChange, LastSeenInput, MessageInput, PutCampaign, PutCompany,
    PutUser,
};
pub use object::Object;
pub use output::{
    ActivityState, Attachment, CampaignInfo, Company, ContractChange, ContractHistory, ContractRecord,
    CreateChatRoomResp, DetailedRoom, DirectoryUser, LastSeen, LastSeenResp, Message, MessageWithSender, Room, Rooms,
    SendMessageResp, ServerConfig, UserInfo,
};
pub use problem::{FieldError, Problem};
pub use stream::{GoodbyeReason, ResyncReason, StreamEvent, TypingUser};
