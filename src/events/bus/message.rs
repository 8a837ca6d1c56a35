//! What nodes say to each other.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{CompanyId, ConnectionId, RoomId, UserId};
use crate::wire::ActivityState;

/// One run of one node: a restarted node is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(pub Uuid);

/// A message and who says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The node that says it.
    pub node: NodeId,
    /// What it says.
    #[serde(flatten)]
    pub message: Message,
}

/// What nodes say to each other. Each message is a hint that heals: a lost one costs latency only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Message {
    /// Look into the log: it now reaches at least so far.
    Committed { position: i64 },
    /// Changes of who is there, numbered without gaps; none mean "still here, and so far I have counted".
    Changes { number: u64, people: Vec<Neighbour> },
    /// Everybody who is there, as of the change `number`, in parts.
    Everybody { number: u64, people: Vec<Neighbour>, more: bool },
    /// Say who is there: one node, or all of them.
    Ask { of: Option<NodeId> },
    /// This node stops.
    Left,
    /// Somebody types, or has stopped; see [`Hub::set_typing`](crate::events::Hub::set_typing).
    Typing { room: RoomId, creator: UserId, company: CompanyId, user: UserId, typing: bool },
    /// Whether the page behind a stream is in view, for the node that holds the stream.
    Viewing { connection: ConnectionId, user: UserId, viewing: bool },
}

/// Somebody on one node, as it tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Who.
    pub user: UserId,
    /// What their streams on that node make of them; offline means that they have none there any more.
    pub state: ActivityState,
    /// Where they work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<CompanyId>,
    /// The companies they have rooms with, as a creator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub creator_of: Vec<CompanyId>,
    /// The log position at which the directory was asked about them.
    pub known: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_small_and_readable() {
        let node = NodeId(Uuid::from_u128(1));
        let ring = Envelope { node, message: Message::Committed { position: 7 } };
        let text = serde_json::to_string(&ring).unwrap();
        assert_eq!(text, r#"{"node":"00000000-0000-0000-0000-000000000001","say":"committed","position":7}"#);
        assert_eq!(serde_json::from_str::<Envelope>(&text).unwrap(), ring);
    }
}
