//! Encoding: each event becomes bytes once, however many streams it goes to.
//!
//! The format is that of server-sent events (WHATWG HTML §9.2). Only a link to a file differs from reader to reader:
//! such an event is encoded once with a gap, and the gap is filled for each.

use bytes::Bytes;

use super::outbox::Frame;
use crate::domain::{Entry, EntryKind, Epoch, News, StoredFile, UserId};
use crate::wire::{ActivityState, MessageWithSender, StreamEvent, UserInfo};

/// Where the gap is: no JSON string can contain this, since quotes inside strings are escaped.
const GAP: &[u8] = br#","link":"","content_type""#;
/// The part of it that stays before the link.
const BEFORE_LINK: usize = br#","link":""#.len();

/// One event, encoded.
#[derive(Debug, Clone)]
pub enum Encoded {
    /// The same for everybody.
    Shared(Frame),
    /// With a link of each reader's own.
    PerReader {
        /// Up to the link.
        before: Bytes,
        /// From the link on.
        after: Bytes,
        /// What the link leads to.
        file: Box<StoredFile>,
    },
}

impl Encoded {
    /// The frame for one reader; `link` makes their link to a file.
    pub fn frame(&self, link: impl FnOnce(&StoredFile) -> String) -> Frame {
        match self {
            Self::Shared(frame) => frame.clone(),
            Self::PerReader { before, after, file } => {
                let link = link(file);
                Frame::new(&[before.as_ref(), link.as_bytes(), after.as_ref()].concat())
            }
        }
    }
}

/// An event as a frame, with the id that a client resumes from, if it is durable.
#[must_use]
pub fn frame(event: &StreamEvent, id: Option<&str>) -> Frame {
    Frame::new(&encode(event, id, None))
}

/// The first frame of a stream also says how long to wait before coming back, in milliseconds.
#[must_use]
pub fn frame_with_retry(event: &StreamEvent, id: Option<&str>, retry_millis: u64) -> Frame {
    Frame::new(&encode(event, id, Some(retry_millis)))
}

fn encode(event: &StreamEvent, id: Option<&str>, retry_millis: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    if let Some(millis) = retry_millis {
        bytes.extend_from_slice(format!("retry: {millis}\n").as_bytes());
    }
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(event.name().as_bytes());
    if let Some(id) = id {
        bytes.extend_from_slice(b"\nid: ");
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes.extend_from_slice(b"\ndata: ");
    // JSON on one line: serde_json escapes line ends inside strings. These types cannot fail to serialise.
    let _ = serde_json::to_writer(&mut bytes, event);
    bytes.extend_from_slice(b"\n\n");
    bytes
}

/// An entry of the log as readers hear it; none if it is not told.
pub fn encode_entry(entry: &Entry, epoch: &Epoch, status: impl Fn(UserId) -> ActivityState) -> Option<Encoded> {
    let (event, file) = event(entry, status)?;
    let bytes = encode(&event, Some(&epoch.at(entry.position).to_string()), None);
    let Some(file) = file else { return Some(Encoded::Shared(Frame::new(&bytes))) };
    let gap = bytes.windows(GAP.len()).position(|window| window == GAP)? + BEFORE_LINK;
    let mut before = Bytes::from(bytes);
    let after = before.split_off(gap);
    Some(Encoded::PerReader { before, after, file: Box::new(file) })
}

fn event(entry: &Entry, status: impl Fn(UserId) -> ActivityState) -> Option<(StreamEvent, Option<StoredFile>)> {
    let EntryKind::Told { room_id, creator_id, news, .. } = &entry.kind else { return None };
    let room_id = *room_id;
    let told = match &**news {
        News::NewLastView { user_id, seen_till } => {
            (StreamEvent::NewLastView { room_id, user_id: *user_id, message_id: *seen_till }, None)
        }
        News::NewMessage { message, author, contract } => {
            let file = message.attachment.clone();
            let author = UserInfo::new(author.clone(), status);
            let message = MessageWithSender::new((**message).clone(), author, |_| String::new());
            (StreamEvent::NewMessage { room_id, message: Box::new(message), contract: *contract }, file)
        }
        News::RoomCreated { message, contract, company, users } => {
            let file = message.attachment.clone();
            let users: Vec<UserInfo> = users.iter().cloned().map(|profile| UserInfo::new(profile, &status)).collect();
            let author = users.iter().find(|user| user.id == message.from_user)?.clone();
            let event = StreamEvent::RoomCreatedWithYou {
                room_id,
                selected_campaign_id: message.selected_campaign_id,
                message: Box::new(MessageWithSender::new((**message).clone(), author, |_| String::new())),
                contract: *contract,
                users,
                company: company.clone().into(),
                creator_id: *creator_id,
            };
            (event, file)
        }
    };
    Some(told)
}
