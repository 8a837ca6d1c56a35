//! One event stream, and how far it has heard.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use memchr::{memchr_iter, memmem};
use mio::net::TcpStream;
use mio::{Poll, Token};

use super::tally::Tally;
use super::{BOTH, dial};

/// Bytes that are kept until the next read: a number and what an open stream says fit.
const TAIL: usize = 63;

pub(super) struct Listener {
    pub(super) room: usize,
    /// The next number it has to hear.
    pub(super) next: u64,
    /// How long it is to wait before it comes back, milliseconds, as the server said.
    pub(super) retry: u64,
    stream: Option<TcpStream>,
    request: String,
    asked: bool,
    open: bool,
    tail: Vec<u8>,
}

impl Listener {
    pub(super) fn new(room: usize, next: u64, request: String) -> Self {
        let (stream, asked, open) = (None, false, false);
        Self { room, next, retry: 0, stream, request, asked, open, tail: Vec::new() }
    }

    /// Connects, again if need be, with this request.
    pub(super) fn connect(&mut self, poll: &Poll, token: Token, from: (u8, usize), to: SocketAddr) {
        let mut stream = dial(from, to);
        poll.registry().register(&mut stream, token, BOTH).expect("epoll takes it");
        (self.stream, self.asked, self.open) = (Some(stream), false, false);
    }

    /// Whether it has a connection, open or on its way.
    pub(super) fn is_there(&self) -> bool {
        self.stream.is_some()
    }

    /// Asks for something else from now on, which begins with this number.
    pub(super) fn ask(&mut self, request: String, next: u64) {
        (self.request, self.next) = (request, next);
    }

    /// Stays and does not read.
    pub(super) fn stall(&mut self, poll: &Poll) {
        if let Some(stream) = &mut self.stream {
            poll.registry().deregister(stream).expect("it was registered");
        }
    }

    /// Hangs up.
    pub(super) fn leave(&mut self, tally: &mut Tally) {
        tally.open -= usize::from(self.open);
        (self.stream, self.open) = (None, false);
        self.tail = Vec::new();
    }

    /// Asks if it has not, and hears what there is.
    pub(super) fn ready(&mut self, buffer: &mut [u8], opened: &str, tally: &mut Tally, dues: &[u64], now: u64) {
        let Some(stream) = &mut self.stream else { return };
        if !self.asked {
            match stream.write(self.request.as_bytes()) {
                Ok(written) => self.asked = written == self.request.len(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return,
                Err(_) => return self.leave(tally),
            }
        }
        loop {
            let Some(stream) = &mut self.stream else { return };
            match stream.read(buffer) {
                Ok(0) => return self.leave(tally),
                Ok(read) => {
                    tally.bytes += read as u64;
                    self.take(&buffer[..read], opened, tally, dues, now);
                    if read < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.leave(tally),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], opened: &str, tally: &mut Tally, dues: &[u64], now: u64) {
        let joined;
        let bytes = if self.tail.is_empty() {
            bytes
        } else {
            self.tail.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.tail);
            &joined
        };
        if !self.open {
            self.retry = retry(bytes).unwrap_or(self.retry);
            self.open = memmem::find(bytes, opened.as_bytes()).is_some();
            tally.open += usize::from(self.open);
        }
        let (mut heard_to, mut cut) = (0, false);
        for begin in memchr_iter(b'~', bytes) {
            match number(&bytes[begin + 1..]) {
                Some((number, length)) => {
                    self.hear(number, tally, dues, now);
                    heard_to = begin + 1 + length;
                }
                None => cut = true,
            }
        }
        if cut || !self.open {
            self.tail = bytes[heard_to.max(bytes.len().saturating_sub(TAIL))..].to_vec();
        }
    }

    fn hear(&mut self, number: u64, tally: &mut Tally, dues: &[u64], now: u64) {
        if number < self.next {
            tally.repeated += 1;
            return;
        }
        tally.skipped += number - self.next;
        self.next = number + 1;
        let due = usize::try_from(number).ok().and_then(|number| dues.get(number));
        tally.heard(now.saturating_sub(*due.expect("what was published")));
    }
}

/// A number and the bytes it takes, if it is all there.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let end = bytes.iter().take(TAIL).position(|byte| !byte.is_ascii_digit())?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?, end))
}

fn retry(bytes: &[u8]) -> Option<u64> {
    let begin = memmem::find(bytes, b"retry: ")? + b"retry: ".len();
    number(&bytes[begin..]).map(|(millis, _)| millis)
}
