//! The least a server can do: epoll, no HTTP beyond finding where a request ends, one thread.
//!
//! It collects what a turn of its loop brings and writes each stream's frames in one vectored write. Nothing is
//! checked, bounded or kept. It is what the kernel's TCP costs, and hardly more.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Frames of one write.
const SLICES: usize = 64;
/// What a publisher is answered.
pub const TAKEN: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    waiting: VecDeque<Arc<[u8]>>,
    /// Bytes of the first frame that have left.
    left: usize,
    dirty: bool,
}

#[derive(Default)]
struct Server {
    connections: Vec<Option<Connection>>,
    rooms: HashMap<usize, Vec<usize>>,
    dirty: Vec<usize>,
    published: u64,
}

/// Serves until the process is ended; prints its address, twice.
pub fn serve() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut poll = Poll::new().expect("epoll");
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("epoll takes it");
    let address = listener.local_addr().expect("bound");
    println!("{address} {address}");
    let (mut server, mut events, mut buffer) = (Server::default(), Events::with_capacity(1_024), vec![0; 64 * 1024]);
    loop {
        poll.poll(&mut events, None).expect("epoll");
        for event in &events {
            if event.token() == LISTENER {
                server.accept(&listener, &poll);
            } else {
                server.ready(event.token().0, &mut buffer);
            }
        }
        for index in std::mem::take(&mut server.dirty) {
            server.flush(index);
        }
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.set_nodelay(true);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(self.connections.len()), both).expect("epoll takes it");
            let (request, waiting) = (Vec::new(), VecDeque::new());
            self.connections.push(Some(Connection { stream, request, waiting, left: 0, dirty: false }));
        }
    }

    fn ready(&mut self, index: usize, buffer: &mut [u8]) {
        loop {
            let Some(connection) = &mut self.connections[index] else { return };
            match connection.stream.read(buffer) {
                Ok(0) => return self.connections[index] = None,
                Ok(read) => connection.request.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(index),
                Err(_) => return self.connections[index] = None,
            }
            self.answer(index);
        }
    }

    fn answer(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let Some((is_post, room, body)) = parse(&connection.request) else { return };
        let text = is_post.then(|| connection.request[body..].to_vec());
        connection.request.clear();
        let answer: &[u8] = if is_post {
            TAKEN
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        };
        self.push(index, answer.into());
        match text {
            Some(text) => self.publish(room, &text),
            None => self.rooms.entry(room).or_default().push(index),
        }
    }

    fn publish(&mut self, room: usize, text: &[u8]) {
        self.published += 1;
        let head = format!("id: {:010}:0\ndata: ", self.published);
        let mut frame = format!("{:x}\r\n{head}", head.len() + text.len() + 2).into_bytes();
        frame.extend_from_slice(text);
        frame.extend_from_slice(b"\n\n\r\n");
        let frame: Arc<[u8]> = frame.into();
        for listener in self.rooms.get(&room).cloned().unwrap_or_default() {
            self.push(listener, frame.clone());
        }
    }

    fn push(&mut self, index: usize, frame: Arc<[u8]>) {
        let Some(connection) = &mut self.connections[index] else { return };
        connection.waiting.push_back(frame);
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(index);
        }
    }

    fn flush(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        connection.dirty = false;
        while !connection.waiting.is_empty() {
            match connection.write() {
                Ok(sent) => connection.advance(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.connections[index] = None,
            }
        }
    }
}

impl Connection {
    fn write(&mut self) -> std::io::Result<usize> {
        if let [only] = self.waiting.make_contiguous() {
            return self.stream.write(&only[self.left..]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.waiting) {
            *slice = IoSlice::new(&frame[if used == 0 { self.left } else { 0 }..]);
            used += 1;
        }
        self.stream.write_vectored(&slices[..used])
    }

    fn advance(&mut self, sent: usize) {
        self.left += sent;
        while let Some(first) = self.waiting.front().filter(|first| first.len() <= self.left) {
            self.left -= first.len();
            self.waiting.pop_front();
        }
    }
}

/// Whether a request that is all there publishes, its room, and where its body begins.
pub fn parse(request: &[u8]) -> Option<(bool, usize, usize)> {
    let body = memmem::find(request, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&request[..body]).expect("ASCII");
    let room = head.split(' ').nth(1)?.trim_start_matches('/').parse().expect("a room");
    let length = head
        .split("Content-Length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().and_then(|length| length.parse().ok()).expect("a length"));
    (request.len() >= body + length).then_some((head.starts_with("POST"), room, body))
}
