//! A server that is this program again, in a process of its own, and how it is talked to.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::crowd::Target;
use crate::support::people::token;
use crate::support::{SECRET, SERVER_CPU, pin};
use crate::{epoll, haggle};

/// Bytes of a message's text: with all that Haggle says of a message it makes an event of some 430 bytes.
pub const TEXT: usize = 24;

/// A running server; ended when this is dropped.
pub struct Own {
    child: Child,
    addresses: [SocketAddr; 2],
}

/// What the servers are called on the command line.
const HAGGLE: &str = "serve-haggle";
const EPOLL: &str = "serve-epoll";

/// Whether this process was started to be one of the servers; it has served then.
pub fn has_served() -> bool {
    match std::env::args().nth(1).as_deref() {
        Some(HAGGLE) => haggle::serve(),
        Some(EPOLL) => epoll::serve(),
        _ => return false,
    }
    true
}

impl Own {
    /// Haggle on a data folder, with a way to publish.
    pub fn haggle(folder: &Path) -> Self {
        let settings = [
            ("HAGGLE_DATA_DIR", folder.to_str().expect("text")),
            ("HAGGLE_JWT_SECRET", SECRET),
            ("HAGGLE_RATE_PER_SECOND", "1000000"),
            ("HAGGLE_RATE_BURST", "1000000"),
            ("HAGGLE_MAX_CONNECTIONS_PER_ADDRESS", "100000"),
        ];
        Self::start(HAGGLE, &settings)
    }

    /// The bare one.
    pub fn epoll() -> Self {
        Self::start(EPOLL, &[])
    }

    fn start(mode: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(mode).envs(settings.iter().copied());
        let mut child = pin(SERVER_CPU, &command).stdout(Stdio::piped()).spawn().expect("taskset (util-linux) runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its addresses");
        let mut addresses = line.split_whitespace().map(|address| address.parse().expect("an address"));
        let mut next = || addresses.next().expect("two addresses");
        Self { child, addresses: [next(), next()] }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Streams of people with their tokens.
    pub fn haggle_target(&self) -> Target {
        let [address, publish] = self.addresses;
        Target {
            address,
            publish,
            subscribe: Box::new(|room, seat| listen(room, seat, None)),
            post: Box::new(|room, text| post(&format!("/{room}"), text)),
            opened: GONE_LIVE,
            text: TEXT,
        }
    }

    /// Rooms by number, and texts of so many bytes.
    pub fn epoll_target(&self, text: usize) -> Target {
        let [address, publish] = self.addresses;
        Target {
            address,
            publish,
            subscribe: Box::new(|room, _| get(&format!("/{room}"), "")),
            post: Box::new(|room, text| post(&format!("/{room}"), text)),
            opened: "\r\n\r\n",
            text,
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Haggle says when a stream hears everything from now on.
pub const GONE_LIVE: &str = "event: presence";

/// Opens somebody's stream of Haggle's, perhaps after a cursor.
pub fn listen(room: usize, seat: usize, after: Option<&str>) -> String {
    let after = after.map(|cursor| format!("Last-Event-ID: {cursor}\r\n")).unwrap_or_default();
    get("/v1/events", &format!("Authorization: Bearer {}\r\n{after}", token(room, seat)))
}

/// A request that asks.
pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// A request that says something.
pub fn post(path: &str, text: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}
