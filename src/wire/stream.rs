//! What the event stream says: one union, told apart by `type`, which is also the SSE `event:` name.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::output::{ActivityState, Company, MessageWithSender, UserInfo};
use crate::domain::{CampaignId, ConnectionId, Contract, Number, RoomId, UserId};

/// The data of one server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamEvent {
    /// First on every stream.
    Hello {
        /// Names this stream in `PUT /v1/events/{connection_id}/viewing`.
        connection_id: ConnectionId,
        /// Who is listening; absent for a service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        user_id: Option<UserId>,
        /// Everything after this cursor will be told here.
        position: String,
        /// Whether this stream goes on from a cursor the client sent.
        resumed: bool,
        /// How often to expect `heartbeat`.
        heartbeat_seconds: u64,
    },
    /// A room was opened with you in it; its message 1 is told only here.
    RoomCreatedWithYou {
        /// The room.
        room_id: RoomId,
        /// Its first message.
        message: Box<MessageWithSender>,
        /// The campaign that contract changes act on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        selected_campaign_id: Option<CampaignId>,
        /// The contract about it, as of this message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        contract: Option<Contract>,
        /// Everyone in the room.
        users: Vec<UserInfo>,
        /// The company's side.
        company: Company,
        /// The creator's side.
        creator_id: UserId,
    },
    /// A message, after the first, was sent in a room of yours.
    NewMessage {
        /// The room.
        room_id: RoomId,
        /// The message.
        message: Box<MessageWithSender>,
        /// The contract about the selected campaign, as of this message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        contract: Option<Contract>,
    },
    /// Somebody has seen further. (Writing a message moves its author to it without this event.)
    NewLastView {
        /// The room.
        room_id: RoomId,
        /// Who.
        user_id: UserId,
        /// The number of the last message they have seen.
        message_id: Number,
    },
    /// Who is there and typing, among everyone who shares a room with you.
    Presence {
        /// A page of theirs is in view.
        online: Vec<UserId>,
        /// A page is open, none in view.
        away: Vec<UserId>,
        /// Who is typing where.
        typing: Vec<TypingUser>,
    },
    /// Somebody came, went or looked away.
    ActivityChange {
        /// Who.
        user_id: UserId,
        /// What they are now.
        activity_state: ActivityState,
    },
    /// Somebody began or stopped typing.
    TypingChange {
        /// The room.
        room_id: RoomId,
        /// Who.
        user_id: UserId,
        /// Whether they are typing now.
        currently_typing: bool,
    },
    /// All is well; a stream that stays silent for much longer than `heartbeat_seconds` is dead.
    Heartbeat {},
    /// What you missed cannot be replayed: fetch again, and go on from this event's id.
    Resync {
        /// Why.
        reason: ResyncReason,
    },
    /// The last event of a stream that the server ends.
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
    },
}

impl StreamEvent {
    /// The event's name: its `type`, and the SSE `event:` field.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::RoomCreatedWithYou { .. } => "room_created_with_you",
            Self::NewMessage { .. } => "new_message",
            Self::NewLastView { .. } => "new_last_view",
            Self::Presence { .. } => "presence",
            Self::ActivityChange { .. } => "activity_change",
            Self::TypingChange { .. } => "typing_change",
            Self::Heartbeat {} => "heartbeat",
            Self::Resync { .. } => "resync",
            Self::Goodbye { .. } => "goodbye",
        }
    }
}

/// Somebody typing in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct TypingUser {
    /// The room.
    pub room_id: RoomId,
    /// Who.
    pub user_id: UserId,
}

/// Why what was missed cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResyncReason {
    /// The cursor is not one of ours.
    UnknownCursor,
    /// The cursor is of another epoch: the database was restored.
    OtherEpoch,
    /// The cursor is ahead of the database.
    FutureCursor,
    /// The cursor is older than what is kept.
    Trimmed,
    /// More than 10,000 events of yours behind.
    TooFarBehind,
    /// Your company or activity changed after the cursor.
    MembershipChanged,
}

/// Why the server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// The token it was opened with has expired: get a new one first.
    TokenExpired,
    /// Your company or activity changed.
    AccessChanged,
    /// You read too slowly; come back with the last id.
    TooSlow,
    /// You have too many streams open.
    TooManyStreams,
    /// Streams are ended after about an hour; come back with the last id.
    Rotated,
    /// The server is stopping; come back with the last id.
    ShuttingDown,
}
