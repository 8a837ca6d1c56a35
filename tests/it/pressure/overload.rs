//! More than the server can do, again and again (promise 13).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::percentile;
use super::sender::{Sending, Sent, send, send_one};
use crate::harness::{Actor, Node, is_full, tell};

/// How long, in the short form and in the full one.
const TIME: (Duration, Duration) = (Duration::from_secs(4), Duration::from_mins(1));
/// How long it is measured what the server can do.
const MEASURED: Duration = Duration::from_secs(2);
/// Commands that may wait, and how many share a transaction: so few that a small load is too much.
const QUEUE: usize = 16;
const BATCH: usize = 1;
/// How many send at once while it is measured what the server can do: as many as may wait.
const SENDERS: usize = QUEUE;
/// How much more is sent.
const OVERLOAD: f64 = 3.0;
/// Characters of a message.
const CHARACTERS: usize = 200;
/// What the process may grow by, bytes: connections, and what they hold.
const GROWTH: u64 = 128 << 20;
/// How soon a message is taken again afterwards, on a machine whose disk others keep busy.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

/// Three times what the server can do is sent in an open loop. What it takes is there, once; what it does not take it
/// refuses, says when to try again, and keeps nothing of it; afterwards it is as before.
///
/// To see it red: let `src/commands/writer.rs` wait for room in its queue (nothing is refused).
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn overload_is_refused_and_breaks_nothing() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let settings = [("HAGGLE_QUEUE_COMMANDS", &*QUEUE.to_string()), ("HAGGLE_BATCH_COMMANDS", &BATCH.to_string())];
    let node = Node::start_alone(&settings).await;
    let cast = node.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let mut sent = send_in_turn(&cast.ada, room).await;
    let can = per_second(&sent, MEASURED);

    let (before, time) = (node.memory(), if is_full() { TIME.1 } else { TIME.0 });
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(before));
    let watch = async {
        while !over.load(Ordering::Relaxed) {
            most.fetch_max(node.memory(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let overload = async {
        let sent = send(&cast.ada, room, can * OVERLOAD, time, CHARACTERS).await;
        over.store(true, Ordering::Relaxed);
        sent
    };
    let ((), during) = tokio::join!(watch, overload);
    let ended = Instant::now();
    loop {
        let one = send_one(&cast.ada, room, Instant::now(), CHARACTERS).await;
        let is_taken = matches!(one.answer, Sending::Acknowledged(_));
        sent.push(one);
        if is_taken {
            break;
        }
        assert!(ended.elapsed() < RECOVERED_WITHIN, "nothing is taken after {:?}", ended.elapsed());
    }
    let recovered = ended.elapsed();

    let found = Found::of(&during);
    let grown = most.into_inner().saturating_sub(before);
    let took: Vec<_> = during.iter().filter(|sent| sent.is_acknowledged()).map(|sent| sent.took).collect();
    tell(
        "13",
        &format!("3 × the {can:.0} messages/s that are answered otherwise, for {time:?}"),
        format!(
            "{found:?}, half and 99 of 100 answers within {:.1?} and {:.1?}; {} MiB more memory; recovered in \
             {recovered:.1?}",
            percentile(&took, 50),
            percentile(&took, 99),
            grown >> 20
        ),
    );
    sent.extend(during);
    compare(&cast.nora, room, &sent).await;
    assert_eq!(found.wrong, 0, "{found:?}");
    assert!(found.refused > 0 && found.acknowledged > 0, "it was no overload: {found:?}");
    assert!(grown < GROWTH, "{grown} bytes more");
}

/// How many of each outcome.
#[derive(Debug, Default)]
struct Found {
    acknowledged: usize,
    refused: usize,
    unknown: usize,
    wrong: usize,
}

impl Found {
    fn of(sent: &[Sent]) -> Self {
        let mut found = Self::default();
        for sent in sent {
            let count = match sent.answer {
                Sending::Acknowledged(_) => &mut found.acknowledged,
                Sending::Refused => &mut found.refused,
                Sending::Unknown => &mut found.unknown,
                Sending::Wrong(_) => &mut found.wrong,
            };
            *count += 1;
        }
        found
    }
}

impl Sent {
    fn is_acknowledged(&self) -> bool {
        matches!(self.answer, Sending::Acknowledged(_))
    }
}

/// Each sender sends when its last message has been answered.
async fn send_in_turn(actor: &Actor, room: Uuid) -> Vec<Sent> {
    let began = Instant::now();
    let senders = (0..SENDERS).map(async |_| {
        let mut sent = Vec::new();
        while began.elapsed() < MEASURED {
            sent.push(send_one(actor, room, Instant::now(), CHARACTERS).await);
        }
        sent
    });
    futures_util::future::join_all(senders).await.into_iter().flatten().collect()
}

/// Acknowledged messages a second.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
fn per_second(sent: &[Sent], time: Duration) -> f64 {
    sent.iter().filter(|sent| sent.is_acknowledged()).count() as f64 / time.as_secs_f64()
}

/// What was acknowledged is there once, with its number; what was refused is not; the rest is there at most once.
async fn compare(actor: &Actor, room: Uuid, sent: &[Sent]) {
    let mut there: HashMap<String, Vec<i64>> = HashMap::new();
    for message in actor.history(room).await {
        let key = message["content"].as_str().expect("a text").split('.').next().unwrap_or_default();
        there.entry(key.to_owned()).or_default().push(message["id"].as_i64().expect("a number"));
    }
    for sent in sent {
        let found = there.remove(&sent.key.to_string()).unwrap_or_default();
        let is_right = match sent.answer {
            Sending::Acknowledged(number) => found == [number],
            Sending::Refused | Sending::Wrong(_) => found.is_empty(),
            Sending::Unknown => found.len() <= 1,
        };
        assert!(is_right, "{} was answered {:?} and is there as {found:?}", sent.key, sent.answer);
    }
}
