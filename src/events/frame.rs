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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use eventsource_stream::Eventsource;
    use futures_util::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn message(content: &str, name: &str) -> StreamEvent {
        let id = "0199c0de-0000-7000-8000-000000000001";
        let author = json!({"id": id, "given_name": name, "family_name": "", "logo_url": "", "status": "online"});
        let message = json!({
            "id": 1, "message_id": id, "content": content, "timestamp": "2026-11-23T05:14:08.523523Z",
            "side": "creator", "from_user": author
        });
        serde_json::from_value(json!({"type": "new_message", "room_id": id, "message": message})).unwrap()
    }

    proptest! {
        /// A parser that is not ours reads what was meant, whatever texts hold and however the bytes are cut. To see it
        /// red: write line ends unescaped, or end an event with one of them.
        #[test]
        fn another_parser_reads_what_was_meant(
            content in any::<String>(),
            name in "[\\r\\n\u{2028}\u{85}a]{0,8}",
            id in "[0-9a-f]{16}-[0-9]{1,19}",
            cut in 1_usize..64,
        ) {
            let event = message(&content, &name);
            let bytes = encode(&event, Some(&id), Some(1_500));
            let pieces: Vec<_> = bytes.chunks(cut).map(|piece| Ok::<_, Infallible>(piece.to_vec())).collect();
            let events: Vec<_> = stream::iter(pieces).eventsource().collect().now_or_never().unwrap();
            prop_assert_eq!(events.len(), 1);
            let read = events[0].as_ref().unwrap();
            prop_assert_eq!((read.event.as_str(), &read.id), ("new_message", &id));
            prop_assert_eq!(read.retry, Some(Duration::from_millis(1_500)));
            prop_assert_eq!(&read.data, &serde_json::to_string(&event).unwrap());
            let data: serde_json::Value = serde_json::from_str(&read.data).unwrap();
            prop_assert_eq!(data["message"]["content"].as_str(), Some(content.as_str()));
        }
    }
}
