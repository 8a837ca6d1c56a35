//! The frames that wait, and how much may wait.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::frame::Frame;

/// Bytes that may wait for one reader: some 200 messages, a minute of a busy room. With the socket's send buffer this
/// is all that a stalled reader costs.
pub const MAX_WAITING_BYTES: usize = 64 * 1024;

/// Frames that may wait for one reader: the queue's own 32 bytes a frame stay below the bytes they stand for.
pub const MAX_WAITING_FRAMES: usize = 512;

/// Waiting frames, the first of which may have left in part.
#[derive(Default)]
pub(super) struct Queue {
    /// By far most frames leave before another comes: they cost no allocation.
    first: Option<Frame>,
    rest: VecDeque<Frame>,
    /// Bytes of all frames, less what has left.
    bytes: usize,
    /// Bytes of the first frame that have left.
    left: usize,
    /// Something has left since [`Queue::has_shrunk`] was asked.
    shrunk: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the frame fits; to an empty queue any frame does, or a large one could never be sent.
    pub(super) fn has_room(&self, frame: &Frame) -> bool {
        let fits = self.bytes + frame.bytes().len() <= MAX_WAITING_BYTES && self.rest.len() + 1 < MAX_WAITING_FRAMES;
        fits || self.is_empty()
    }

    /// Whether anything has left since this was last asked.
    pub(super) fn has_shrunk(&mut self) -> bool {
        std::mem::take(&mut self.shrunk)
    }

    pub(super) fn add(&mut self, frame: Frame) {
        self.bytes += frame.bytes().len();
        match &self.first {
            None => self.first = Some(frame),
            Some(_) => self.rest.push_back(frame),
        }
    }

    /// Takes the first frame out whole; for readers that take no parts of frames.
    pub(super) fn take_payload(&mut self) -> Option<Bytes> {
        let frame = self.pop()?;
        self.bytes -= frame.bytes().len();
        self.shrunk = true;
        Some(frame.payload())
    }

    /// Drops all frames but one that has left in part: half a chunk would garble whatever follows it.
    pub(super) fn forget(&mut self) {
        self.rest = VecDeque::new();
        self.first = self.first.take().filter(|_| self.left > 0);
        self.bytes = self.first.as_ref().map_or(0, |frame| frame.bytes().len() - self.left);
    }

    /// What waits, if it is one frame: what has not left of it.
    pub(super) fn only(&self) -> Option<&[u8]> {
        self.first.as_ref().filter(|_| self.rest.is_empty()).map(|frame| &frame.bytes()[self.left..])
    }

    /// Points the slices at the waiting bytes; says how many slices are used.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(self.first.iter().chain(&self.rest)) {
            let from = if used == 0 { self.left } else { 0 };
            *slice = IoSlice::new(&frame.bytes()[from..]);
            used += 1;
        }
        used
    }

    /// Notes that so many bytes have left.
    pub(super) fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        self.shrunk = true;
        while let Some(frame) = &self.first {
            let rest = frame.bytes().len() - self.left;
            if sent < rest {
                self.left += sent;
                break;
            }
            sent -= rest;
            self.left = 0;
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Frame> {
        let popped = std::mem::replace(&mut self.first, self.rest.pop_front());
        // An idle stream keeps no memory for its queue.
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        popped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(queue: &Queue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = queue.slices(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn queue_of(payloads: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for payload in payloads {
            queue.add(Frame::new(payload.as_bytes()));
        }
        queue
    }

    #[test]
    fn parts_of_frames_leave_in_order() {
        let mut queue = queue_of(&["one", "two", "three"]);
        queue.advance(4);
        assert_eq!(waiting(&queue), b"ne\r\n3\r\ntwo\r\n5\r\nthree\r\n");
        queue.advance(4 + 8 + 1);
        assert_eq!(waiting(&queue), b"\r\nthree\r\n");
        assert_eq!(queue.bytes(), 9);
        queue.advance(9);
        assert!(queue.is_empty());
        assert_eq!((queue.bytes(), queue.rest.capacity()), (0, 0));
    }

    #[test]
    fn forgetting_keeps_a_frame_that_has_begun() {
        let mut queue = queue_of(&["one", "two"]);
        queue.advance(1);
        queue.forget();
        assert_eq!(waiting(&queue), b"\r\none\r\n");
        assert_eq!(queue.bytes(), 7);

        let mut queue = queue_of(&["one", "two"]);
        queue.forget();
        assert_eq!((queue.is_empty(), queue.bytes()), (true, 0));
    }

    #[test]
    fn room_is_bounded_by_bytes_and_by_frames() {
        let large = Frame::new(&vec![b'x'; MAX_WAITING_BYTES]);
        let mut queue = Queue::default();
        assert!(queue.has_room(&large));
        queue.add(large);
        assert!(!queue.has_room(&Frame::new(b"x")));

        let queue = queue_of(&["x"; MAX_WAITING_FRAMES]);
        assert!(!queue.has_room(&Frame::new(b"x")));
    }
}
