//! One server under load while its process is killed, its power is cut, its disk is full or fails (promises 1, 2, 3,
//! 7 and 12).
//!
//! Each rig prints one line of figures. The short form runs everywhere; `HAGGLE_TORTURE=full` is what is promised.
//! Those that need a disk of their own need root.

mod broken;
mod disk;
mod files;
mod full;
mod injected;
mod killed;
mod leaks;
mod power;
mod reconnects;

use std::path::Path;

use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use self::disk::Disk;
use self::injected::Injection;
use crate::checker::{Addresses, Checker, Manner};
use crate::harness::{Actor, Node, free_port};

/// The rigs here take turns: each keeps a disk busy, and they would starve each other.
static TURN: Mutex<()> = Mutex::const_new(());

/// A server that comes back at the same address, with the same data.
pub struct Site {
    pub node: Node,
    pub addresses: Addresses,
    database: String,
    settings: Vec<(&'static str, String)>,
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    /// Starts a server on a data folder, once it is this rig's turn; without a database of its own it has SQLite there.
    pub async fn start(data: &Path, database: Option<String>, more: &[(&'static str, String)]) -> Self {
        let database = database.unwrap_or_else(|| format!("sqlite://{}", data.join("haggle.db").display()));
        let mut settings = vec![
            ("HAGGLE_LISTEN", format!("127.0.0.1:{}", free_port())),
            ("HAGGLE_DATA_DIR", data.display().to_string()),
        ];
        settings.extend_from_slice(more);
        let turn = TURN.lock().await;
        let node = start(&database, &settings).await;
        let addresses = Addresses::default();
        addresses.add(&node.url);
        Self { node, addresses, database, settings, _turn: turn }
    }

    /// Starts it again, once its process has ended.
    pub async fn restart(&mut self) {
        self.node = start(&self.database, &self.settings).await;
    }

    /// People who write and read here from now on.
    async fn load(&self, promises: &'static str, rig: &str, seed: u64) -> Checker {
        let mut checker = Checker::new(promises, rig, seed, &self.addresses);
        for (actor, rooms) in self.people().await {
            checker.read(&actor, &rooms, 0, Manner::default()).await;
            checker.write(&actor, &rooms);
            checker.write(&actor, &rooms);
        }
        checker
    }

    /// Two creators and an employee of each company, with their rooms.
    pub async fn people(&self) -> [(Actor, Vec<Uuid>); 4] {
        let cast = self.node.cast().await;
        let (first, second) = (cast.ada.open_room(cast.north, "Hi").await, cast.kofi.open_room(cast.north, "Hi").await);
        let third = cast.kofi.open_room(cast.lumen, "Hi").await;
        [
            (cast.ada, vec![first]),
            (cast.nora, vec![first, second]),
            (cast.kofi, vec![second, third]),
            (cast.luca, vec![third]),
        ]
    }
}

async fn start(database: &str, settings: &[(&'static str, String)]) -> Node {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Node::start_with(database, &settings).await
}
