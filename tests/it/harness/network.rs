//! A network of its own, joined to this machine by one wire (veth), in which a server can be.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use super::or_skipped;

/// See the module. It and the wire are gone when the process that holds it ends, and that ends with this one.
pub struct Network {
    holder: Child,
    third: u8,
    fourth: u8,
}

/// The wire's end inside.
const INSIDE: &str = "inside";

impl Network {
    /// A network; says so where only root may make one, unless `HAGGLE_TEST_REQUIRE` forbids skipping.
    pub fn new() -> Option<Self> {
        let made = Self::hold().filter(Self::join);
        or_skipped("network", made.is_some(), "only root may make networks, where the system lets it");
        made
    }

    /// Makes the network, held by a process that ends when its input does.
    fn hold() -> Option<Self> {
        static MADE: AtomicU8 = AtomicU8::new(0);
        let mut unshare = Command::new("unshare");
        let piped = unshare.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = piped.spawn().ok()?;
        let (third, nth) = (holder.id().to_le_bytes()[0], MADE.fetch_add(1, Ordering::Relaxed));
        // What comes back has been said by `cat`, which is in there.
        let said = holder.stdin.as_mut()?.write_all(b"here\n").is_ok()
            && BufReader::new(holder.stdout.take()?).read_line(&mut String::new()).is_ok_and(|read| read > 0);
        let network = Self { holder, third, fourth: nth % 32 * 8 };
        said.then_some(network)
    }

    fn join(&self) -> bool {
        let (wire, holder) = (self.wire(), self.holder.id().to_string());
        let made = ["link", "add", &wire, "type", "veth", "peer", "name", INSIDE, "netns", &holder];
        let address = |ip: IpAddr| format!("{ip}/29");
        let server = address(self.server());
        let here = [self.near(), self.far(), self.third()].map(address);
        run(ip(), &made)
            && here.iter().all(|here| run(ip(), &["address", "add", here, "dev", &wire]))
            && run(ip(), &["link", "set", &wire, "up"])
            && run(self.within("ip"), &["address", "add", &server, "dev", INSIDE])
            && run(self.within("ip"), &["link", "set", INSIDE, "up"])
    }

    fn wire(&self) -> String {
        format!("haggle{}", self.holder.id())
    }

    /// Of 198.18/15, where there are only tests (RFC 2544).
    fn address(&self, last: u8) -> IpAddr {
        Ipv4Addr::new(198, 18, self.third, self.fourth + last).into()
    }

    /// The address inside.
    pub fn server(&self) -> IpAddr {
        self.address(1)
    }

    /// An address of this machine, on the wire.
    pub fn near(&self) -> IpAddr {
        self.address(2)
    }

    /// Another; the ways to it can be lost.
    pub fn far(&self) -> IpAddr {
        self.address(3)
    }

    /// One more.
    pub fn third(&self) -> IpAddr {
        self.address(4)
    }

    /// A program that runs inside.
    pub fn within(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--").arg(program);
        command
    }

    /// From now on whatever is sent from inside to this address is lost, and nobody is told: it goes to an Ethernet
    /// address that nobody has.
    pub fn lose_to(&self, address: IpAddr) {
        let address = address.to_string();
        let to_nobody =
            ["neighbour", "replace", &address, "lladdr", "02:00:00:00:00:01", "dev", INSIDE, "nud", "permanent"];
        assert!(run(self.within("ip"), &to_nobody), "a way that leads nowhere");
    }

    /// From now on whatever is sent from this address is lost when it comes inside, and nobody is told. A rule says so,
    /// for which those that say what is here must wait.
    pub fn lose_from(&self, address: IpAddr) {
        let has_waited = ["rule", "show", "pref", "100"];
        let said = self.within("ip").args(has_waited).output().expect("ip runs").stdout;
        if said.is_empty() {
            let waits = ["rule", "add", "pref", "100", "lookup", "local"];
            assert!(run(self.within("ip"), &waits) && run(self.within("ip"), &["rule", "del", "pref", "0"]), "rules");
        }
        let lost = ["rule", "add", "pref", "10", "from", &address.to_string(), "blackhole"];
        assert!(run(self.within("ip"), &lost), "a rule");
    }

    /// Nothing is lost any more on the ways to this address and from it.
    pub fn find(&self, address: IpAddr) {
        let address = address.to_string();
        run(self.within("ip"), &["neighbour", "del", &address, "dev", INSIDE]);
        run(self.within("ip"), &["rule", "del", "pref", "10", "from", &address, "blackhole"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip() -> Command {
    Command::new("ip")
}

fn run(mut command: Command, args: &[&str]) -> bool {
    let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
