//! Readers that leave and come back all the time (promise 7).

use super::Site;
use crate::checker::{Checker, Manner};
use crate::harness::{eventually, is_full};

/// Reconnects in the short form, and in the full one.
const RECONNECTS: (usize, usize) = (1_000, 10_000);
/// Readers of each person.
const READERS: usize = 12;
/// The longest life of a stream, in milliseconds.
const LIFE: usize = 400;

/// Every reader hears every event of its rooms once and in order, however often its stream is cut off.
///
/// To see it red: have `Hub::catch_up` of `src/events/hub` go live one position late, or early.
#[tokio::test(flavor = "multi_thread")]
async fn reconnects_miss_nothing_and_repeat_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let site = Site::start(data.path(), None, &[]).await;
    let wanted = if is_full() { RECONNECTS.1 } else { RECONNECTS.0 };
    let mut checker = Checker::new("7", &format!("{wanted} reconnects under load, SQLite"), 51, &site.addresses);
    let manner = Manner { leaves_within: Some(LIFE), ..Manner::default() };
    for (actor, rooms) in site.people().await {
        for place in 0..READERS {
            checker.read(&actor, &rooms, place, manner).await;
        }
        checker.write(&actor, &rooms);
        checker.write(&actor, &rooms);
    }
    let mut left = checker.streams();
    while left < wanted {
        eventually("readers come back", async || checker.streams() > left).await;
        left = checker.streams();
    }
    checker.verify().await;
}
