//! Who may open a connection: a cap for all, and one for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use super::limits::Limits;
use super::peer::Proxies;

/// Counts open connections.
pub struct Gate {
    max: usize,
    max_per_address: usize,
    proxies: Proxies,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// An open connection's place; dropping it makes the place free.
pub struct Permit {
    gate: Arc<Gate>,
    /// The address that the connection counts for, unless it comes from a trusted proxy.
    counted_for: Option<IpAddr>,
}

impl Gate {
    /// A gate with nobody inside.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            max: limits.max_connections,
            max_per_address: limits.max_connections_per_address,
            proxies: Proxies::new(&limits.trusted_proxies),
            open: Mutex::new(Open::default()),
        }
    }

    /// Connections open now, event streams among them.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.lock().total
    }

    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Lets a connection in, unless there are too many.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Permit> {
        let counted_for = (!self.proxies.trusts(peer)).then(|| network_of(peer));
        let mut open = self.open.lock();
        if open.total >= self.max {
            return None;
        }
        if let Some(address) = counted_for {
            let count = open.by_address.entry(address).or_default();
            if *count >= self.max_per_address {
                return None;
            }
            *count += 1;
        }
        open.total += 1;
        Some(Permit { gate: Arc::clone(self), counted_for })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock();
        open.total -= 1;
        let Some(address) = self.counted_for else { return };
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// One customer has one IPv4 address, but a whole /64 of IPv6 (RFC 6177).
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max: usize, per_address: usize) -> Arc<Gate> {
        let proxies = Proxies::new(&["10.0.0.1/32".parse().unwrap()]);
        Arc::new(Gate { max, max_per_address: per_address, proxies, open: Mutex::default() })
    }

    fn admit(gate: &Arc<Gate>, peer: &str) -> Option<Permit> {
        gate.admit(peer.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_share_and_gets_it_back() {
        let gate = gate(10, 1);
        let first = admit(&gate, "192.0.2.1");
        assert!(first.is_some() && admit(&gate, "192.0.2.1").is_none());
        assert!(admit(&gate, "192.0.2.2").is_some());
        drop(first);
        assert!(admit(&gate, "192.0.2.1").is_some());
        assert_eq!((gate.open(), gate.open.lock().by_address.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let gate = gate(10, 1);
        let _first = admit(&gate, "2001:db8::1");
        assert!(admit(&gate, "2001:db8::ffff:1").is_none());
        assert!(admit(&gate, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn a_trusted_proxy_counts_for_the_whole_only() {
        let gate = gate(2, 1);
        let both = [admit(&gate, "10.0.0.1"), admit(&gate, "10.0.0.1")];
        assert!(both.iter().all(Option::is_some));
        assert!(admit(&gate, "10.0.0.1").is_none() && admit(&gate, "192.0.2.1").is_none());
    }
}
