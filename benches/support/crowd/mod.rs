//! A crowd on one thread: thousands of event streams that check what they hear, and connections that publish.
//!
//! Every event carries `~<number> `, its number in its room. A stream must hear every number of its room once and in
//! order. To that end all events of one room are published over one connection, which waits for each answer.

mod listener;
mod sender;
mod tally;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use listener::Listener;
use sender::Sender;
pub use tally::Found;
use tally::Tally;

/// Streams from one address: far fewer than it has ephemeral ports (28,232). A port is searched for one after the
/// other, which takes milliseconds once most are taken; and a connection that was closed keeps its port for a minute.
const PER_ADDRESS: usize = 500;
/// Streams that are being opened at once: within the usual queue of connections that wait.
const OPENING_AT_ONCE: usize = 256;
/// How long a stream may take to open.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long all streams that broke at once may take to come back.
const ALL_BACK: Duration = Duration::from_mins(1);
/// How long a stream waits before it tries again, if it could not be opened.
const AGAIN: Duration = Duration::from_secs(1);
/// How long after the last delivery the rest counts as lost.
const STRAGGLING: Duration = Duration::from_secs(3);
/// Tokens of senders are above those of streams.
const SENDERS: usize = 1 << 32;
/// What is read at once, bytes.
const READ: usize = 64 * 1024;

/// Makes the request that publishes a text in a room.
pub type Post = dyn Fn(usize, &str) -> String;

/// The server that is talked to, and how.
pub struct Target {
    pub address: SocketAddr,
    /// Where events are published.
    pub publish: SocketAddr,
    /// The request that opens the stream of a seat in a room.
    pub subscribe: Box<dyn Fn(usize, usize) -> String>,
    /// The request that publishes a text in a room.
    pub post: Box<Post>,
    /// What a stream says once it hears everything.
    pub opened: &'static str,
    /// Bytes of a text.
    pub text: usize,
}

/// How events are published.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So many connections, each waiting for its answer.
    Closed { senders: usize },
    /// At fixed times, so many events a second, whatever became of those before.
    Open { rate: f64 },
}

/// Connections that publish in an open loop.
const OPEN_SENDERS: usize = 64;

/// See the module.
pub struct Crowd {
    target: Target,
    /// Every crowd has addresses of its own, so that no port is still taken by an earlier one.
    network: u8,
    poll: Poll,
    events: Events,
    began: Instant,
    /// By room, when each of its events was due, microseconds since the crowd began.
    rooms: Vec<Vec<u64>>,
    listeners: Vec<Listener>,
    /// Streams that have ended by themselves, or could not be opened.
    broken: Vec<usize>,
    senders: Vec<Sender>,
    tally: Tally,
    buffer: Box<[u8]>,
}

impl Crowd {
    /// Nobody yet, in so many rooms.
    pub fn new(target: Target, rooms: usize) -> Self {
        static NETWORK: AtomicU8 = AtomicU8::new(1);
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        Self {
            target,
            network: NETWORK.fetch_add(1, Ordering::Relaxed),
            poll: Poll::new().expect("epoll"),
            events: Events::with_capacity(4_096),
            began: Instant::now(),
            rooms: vec![Vec::new(); rooms],
            listeners: Vec::new(),
            broken: Vec::new(),
            senders: Vec::new(),
            tally: Tally::new(),
            buffer: vec![0; READ].into(),
        }
    }

    /// Opens streams until there are so many: one of each room, then a second, and so on. Says how long it took.
    pub fn open(&mut self, streams: usize) -> Duration {
        let began = Instant::now();
        for index in self.listeners.len()..streams {
            let (room, seat) = (index % self.rooms.len(), index / self.rooms.len());
            let request = (self.target.subscribe)(room, seat);
            self.listeners.push(Listener::new(room, self.rooms[room].len() as u64, request));
            self.connect(index);
            self.until(PATIENCE, |crowd| crowd.listeners.len() < crowd.tally.open + OPENING_AT_ONCE);
        }
        let opened = Instant::now();
        while self.tally.open < streams && opened.elapsed() < PATIENCE {
            for index in std::mem::take(&mut self.broken) {
                self.connect(index);
            }
            self.until(AGAIN, |crowd| crowd.tally.open == streams);
        }
        assert_eq!(self.tally.open, streams, "streams that are open");
        began.elapsed()
    }

    fn connect(&mut self, index: usize) {
        self.listeners[index].connect(&self.poll, Token(index), (self.network, index), self.target.address);
    }

    /// From now on nobody reads any more.
    pub fn stall(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.stall(&self.poll));
    }

    /// How many events each room has had.
    pub fn mark(&self) -> Vec<u64> {
        self.rooms.iter().map(|events| events.len() as u64).collect()
    }

    /// Everybody hangs up at once and comes back when the server told them to (`retry`), with this request, to hear
    /// what came after a mark; meanwhile so many events are published a second. Says how long it took, and what became
    /// of the events.
    pub fn return_all(&mut self, mark: &[u64], ask: impl Fn(usize, usize) -> String, rate: f64) -> (Duration, Found) {
        let rooms = self.rooms.len();
        // Who comes back when.
        let mut away = BinaryHeap::new();
        self.broken.clear();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.leave(&mut self.tally);
            listener.ask(ask(listener.room, index / rooms), mark[listener.room]);
            away.push(Reverse((Duration::from_millis(listener.retry), index)));
        }
        let (began, all) = (Instant::now(), self.listeners.len());
        let found = self.load_while(Load::Open { rate }, |crowd| {
            let now = began.elapsed();
            away.extend(crowd.broken.drain(..).map(|index| Reverse((now + AGAIN, index))));
            while away.peek().is_some_and(|Reverse((at, _))| *at <= now)
                && let Some(Reverse((_, index))) = away.pop()
            {
                crowd.connect(index);
            }
            crowd.tally.open < all && now < ALL_BACK
        });
        assert_eq!(self.tally.open, all, "streams that came back");
        found
    }

    /// Reads what comes, for so long.
    pub fn idle(&mut self, time: Duration) {
        self.until(time, |_| false);
    }

    /// Publishes for so long, waits for all that was published to arrive, and says what became of it.
    pub fn load(&mut self, load: Load, time: Duration) -> Found {
        let began = Instant::now();
        self.load_while(load, |_| began.elapsed() < time).1
    }

    /// The same for as long as `more` says, and for how long that was.
    fn load_while(&mut self, load: Load, mut more: impl FnMut(&mut Self) -> bool) -> (Duration, Found) {
        self.tally.begin();
        let senders = match load {
            Load::Closed { senders } => senders,
            Load::Open { .. } => OPEN_SENDERS,
        };
        self.hire(senders);
        let (began, mut next) = (Instant::now(), 0_u32);
        while more(self) {
            match load {
                Load::Closed { .. } => self.keep_busy(senders),
                Load::Open { rate } => {
                    while f64::from(next) / rate < began.elapsed().as_secs_f64() {
                        let due = began.duration_since(self.began) + Duration::from_secs_f64(f64::from(next) / rate);
                        self.publish_due(next as usize, micros(due));
                        next += 1;
                    }
                }
            }
            self.turn(Duration::ZERO);
        }
        let window = (began.elapsed(), self.tally.deliveries);
        let mut heard = 0;
        while !self.has_all() && self.tally.deliveries > heard {
            heard = self.tally.deliveries;
            self.until(STRAGGLING, Self::has_all);
        }
        let lost = self.lost();
        (window.0, self.tally.found(window, lost))
    }

    /// One sender more or less for each room; what a room hears comes over one connection.
    fn hire(&mut self, senders: usize) {
        for index in self.senders.len()..senders {
            let from = (self.network, index);
            self.senders.push(Sender::connect(&self.poll, Token(SENDERS + index), from, self.target.publish));
        }
    }

    /// Closed loop: whoever has an answer publishes in the next of their rooms.
    fn keep_busy(&mut self, senders: usize) {
        for index in 0..senders {
            if self.senders[index].is_idle() {
                let turn = self.senders[index].turn;
                self.senders[index].turn += 1;
                let rooms = self.rooms.len().div_ceil(senders);
                let room = (turn % rooms) * senders + index;
                if room < self.rooms.len() {
                    let due = micros(self.began.elapsed());
                    self.publish(index, room, due);
                }
            }
        }
    }

    fn publish_due(&mut self, number: usize, due: u64) {
        // Not room after room, which would be kind to caches.
        let room = number.wrapping_mul(7_919) % self.rooms.len();
        self.publish(room % OPEN_SENDERS, room, due);
    }

    fn publish(&mut self, sender: usize, room: usize, due: u64) {
        let mut text = format!("~{} ", self.rooms[room].len());
        text.extend(std::iter::repeat_n('.', self.target.text.saturating_sub(text.len())));
        self.rooms[room].push(due);
        self.tally.published += 1;
        self.senders[sender].send((self.target.post)(room, &text), due);
    }

    /// Whether all answers and all events have come.
    fn has_all(&self) -> bool {
        self.senders.iter().all(Sender::is_idle) && self.lost() == 0
    }

    /// Events that have not come to streams that they were for.
    fn lost(&self) -> u64 {
        let behind = |listener: &Listener| self.rooms[listener.room].len() as u64 - listener.next;
        self.tally.skipped + self.listeners.iter().map(behind).sum::<u64>()
    }

    fn until(&mut self, most: Duration, reached: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !reached(self) && began.elapsed() < most {
            self.turn(Duration::from_millis(5));
        }
    }

    /// Waits for the network, at most so long, and serves what it has.
    fn turn(&mut self, wait: Duration) {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            polled => polled.expect("epoll"),
        }
        let now = micros(self.began.elapsed());
        for event in &self.events {
            let (token, tally) = (event.token().0, &mut self.tally);
            if token >= SENDERS {
                let answered = |due| tally.answered(now.saturating_sub(due));
                self.senders[token - SENDERS].ready(&mut self.buffer, answered);
            } else {
                let listener = &mut self.listeners[token];
                let dues = &self.rooms[listener.room];
                let was_there = listener.is_there();
                listener.ready(&mut self.buffer, self.target.opened, tally, dues, now);
                if was_there && !listener.is_there() {
                    self.broken.push(token);
                }
            }
        }
    }
}

/// A connection that does not block, from 127.x.0.y: all of 127/8 is this machine (RFC 6890).
fn dial((network, index): (u8, usize), to: SocketAddr) -> mio::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("no blocking");
    socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
    let last = u8::try_from(1 + index / PER_ADDRESS).expect("an address");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, network, 0, last), 0)).into()).expect("a free port");
    // It goes on by itself; epoll says when.
    let _ = socket.connect(&to.into());
    mio::net::TcpStream::from_std(socket.into())
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("not so long")
}
