//! One connection that publishes, one event after the other.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Poll, Token};

use super::{BOTH, dial};

pub(super) struct Sender {
    /// How many events it has published in a closed loop.
    pub(super) turn: usize,
    stream: TcpStream,
    /// Requests that wait, and when they were due.
    waiting: VecDeque<(String, u64)>,
    /// What has not left of the request that is under way, and when it was due.
    under_way: Option<(String, u64)>,
    answer: Vec<u8>,
}

impl Sender {
    pub(super) fn connect(poll: &Poll, token: Token, from: (u8, usize), to: SocketAddr) -> Self {
        let mut stream = dial(from, to);
        poll.registry().register(&mut stream, token, BOTH).expect("epoll takes it");
        Self { turn: 0, stream, waiting: VecDeque::new(), under_way: None, answer: Vec::new() }
    }

    /// Whether every request has been answered.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    pub(super) fn send(&mut self, request: String, due: u64) {
        self.waiting.push_back((request, due));
        self.write();
    }

    fn write(&mut self) {
        if self.under_way.is_none() {
            self.under_way = self.waiting.pop_front();
        }
        let Some((request, _)) = &mut self.under_way else { return };
        if request.is_empty() {
            return;
        }
        match self.stream.write(request.as_bytes()) {
            Ok(written) => drop(request.drain(..written)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
            Err(error) => panic!("a connection that publishes: {error}"),
        }
    }

    /// Goes on; `answered` is told when the request was due whose answer has come.
    pub(super) fn ready(&mut self, buffer: &mut [u8], mut answered: impl FnMut(u64)) {
        self.write();
        loop {
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a connection that publishes"),
                Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("a connection that publishes: {error}"),
            }
            if is_whole(&self.answer)
                && let Some((_, due)) = self.under_way.take()
            {
                assert!(self.answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&self.answer));
                self.answer.clear();
                answered(due);
                self.write();
            }
        }
    }
}

/// Whether an answer, of which there is never more than one, is all there.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = memmem::find(answer, b"\r\n\r\n") else { return false };
    let lower = answer[..head].to_ascii_lowercase();
    let body = memmem::find(&lower, b"content-length: ").map(|at| {
        let digits = lower[at + b"content-length: ".len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
    });
    answer.len() >= head + 4 + body.unwrap_or(0)
}
