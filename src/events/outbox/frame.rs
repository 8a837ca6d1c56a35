//! One event as it leaves: encoded once, shared by all its readers.
//!
//! The framing of HTTP/1.1 chunks is part of the shared bytes, so that the socket path writes them as they are;
//! HTTP/2 has frames of its own and takes the payload in the middle.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

/// What surrounds a payload at most: 16 hexadecimal digits and twice CR LF.
const CHUNK_FRAMING: usize = 16 + 4;

/// What follows the payload of a chunk.
const CHUNK_TAIL: &[u8] = b"\r\n";

/// One event in the form of Server-Sent Events (WHATWG HTML §9.2), framed as an HTTP/1.1 chunk (RFC 9112 §7.1).
///
/// A clone shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    chunk: Bytes,
}

impl Frame {
    /// Frames a payload, which must not be empty: an empty chunk is how HTTP/1.1 says that a body ends.
    #[must_use]
    pub fn new(payload: &[u8]) -> Self {
        debug_assert!(!payload.is_empty(), "an empty chunk ends the stream");
        let mut chunk = BytesMut::with_capacity(payload.len() + CHUNK_FRAMING);
        // Writing into memory that grows by itself does not fail.
        let _ = write!(chunk, "{:x}\r\n", payload.len());
        chunk.put_slice(payload);
        chunk.put_slice(CHUNK_TAIL);
        Self { chunk: chunk.freeze() }
    }

    /// The empty chunk that ends a body.
    pub(super) const fn end() -> Self {
        Self { chunk: Bytes::from_static(b"0\r\n\r\n") }
    }

    /// The event with its chunk framing, for HTTP/1.1.
    #[must_use]
    pub fn chunk(&self) -> Bytes {
        self.chunk.clone()
    }

    /// The event alone, for HTTP/2 and for HTTP/1.0.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        let begin = self.chunk.iter().position(|byte| *byte == b'\n').map_or(0, |end_of_size| end_of_size + 1);
        self.chunk.slice(begin..self.chunk.len() - CHUNK_TAIL.len())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_surrounds_the_payload() {
        let frame = Frame::new(b"event: heartbeat\ndata: {}\n\n");
        assert_eq!(&frame.chunk()[..], b"1b\r\nevent: heartbeat\ndata: {}\n\n\r\n");
        assert_eq!(&frame.payload()[..], b"event: heartbeat\ndata: {}\n\n");
    }

    #[test]
    fn the_end_has_no_payload() {
        assert_eq!(&Frame::end().chunk()[..], b"0\r\n\r\n");
        assert!(Frame::end().payload().is_empty());
    }
}
