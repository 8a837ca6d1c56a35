//! What clients know of a deployment: a list of addresses, as a load balancer has it.

use std::sync::{Arc, Mutex};

/// The addresses of the nodes; shared, so that a node that comes back elsewhere is found.
#[derive(Clone, Default)]
pub struct Addresses(Arc<Mutex<Vec<String>>>);

impl Addresses {
    pub fn add(&self, url: &str) {
        self.0.lock().expect("no panic").push(url.to_owned());
    }

    /// A node is elsewhere now.
    pub fn replace(&self, place: usize, url: &str) {
        url.clone_into(&mut self.0.lock().expect("no panic")[place]);
    }

    /// Whoever counts on comes to the next node.
    pub fn get(&self, place: usize) -> String {
        let all = self.0.lock().expect("no panic");
        all[place % all.len()].clone()
    }
}
