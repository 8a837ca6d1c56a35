//! What clients know of a deployment: a list of addresses, as a load balancer has it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The addresses of the nodes; shared, so that a node that comes back elsewhere is found.
#[derive(Clone, Default)]
pub struct Addresses {
    urls: Arc<Mutex<Vec<String>>>,
    /// Whether the nodes have power.
    pub power: Power,
}

/// Whether the machines behind some addresses have power. Nobody hears what they say without it: when only a disk
/// loses its power, the process on it goes on for a moment, and a `fsync` that the kernel ends together with its file
/// system may return 0 (jbd2 takes a transaction that it has aborted for one that is done).
#[derive(Clone, Default)]
pub struct Power(Arc<AtomicUsize>);

impl Power {
    /// From now on nothing is heard.
    pub fn off(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst) % 2, 0, "it was on");
    }

    /// What is begun from now on is heard.
    pub fn on(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst) % 2, 1, "it was off");
    }

    /// Which uninterrupted time this is; none without power. What was begun in one and ends in another was cut.
    pub fn time(&self) -> Option<usize> {
        let turns = self.0.load(Ordering::SeqCst);
        turns.is_multiple_of(2).then_some(turns)
    }
}

impl Addresses {
    pub fn add(&self, url: &str) {
        self.urls.lock().expect("no panic").push(url.to_owned());
    }

    /// A node is elsewhere now.
    pub fn replace(&self, place: usize, url: &str) {
        url.clone_into(&mut self.urls.lock().expect("no panic")[place]);
    }

    /// Whoever counts on comes to the next node.
    pub fn get(&self, place: usize) -> String {
        let all = self.urls.lock().expect("no panic");
        all[place % all.len()].clone()
    }
}
