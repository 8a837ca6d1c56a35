//! The sends: when they are due, whatever became of those before (open loop), or so many at once (closed loop).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::connections::Unanswered;
use super::plan::{Due, Label, Schedule};
use super::{CLOCK, Failed, Run};

/// Sends under way at once; more are given up, and counted. A server that is so far behind will not catch up.
const MOST_AT_ONCE: u64 = 10_000;

/// What became of the sends.
#[derive(Default)]
pub struct Counts {
    /// Those that were due after the warm-up.
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
    /// Microseconds from the beginning to the last acknowledgement.
    pub last_answer: AtomicU64,
    /// All of them, warm-up included; so are the following.
    pub answered: AtomicU64,
    pub under_way: AtomicU64,
    pub refused: Mutex<BTreeMap<String, u64>>,
    pub errors: Mutex<BTreeMap<String, u64>>,
}

/// How one send ended.
enum Outcome {
    Acknowledged(u64),
    /// 429 or 503, with its code.
    Refused(String),
    /// By name, and whether it may have been stored nevertheless.
    Failed(String, bool),
}

/// Sends each message when it is due, until `end`. Blocks: a thread of its own keeps time better than a timer.
pub fn open_loop(run: &Arc<Run>, schedule: Schedule, end: Duration, runtime: &tokio::runtime::Handle) {
    for send in schedule.take_while(|send| send.at < end) {
        std::thread::sleep(send.at.saturating_sub(run.elapsed()));
        if run.counts.under_way.load(Ordering::Relaxed) >= MOST_AT_ONCE {
            count(&run.counts.errors, "not_sent");
            continue;
        }
        run.counts.under_way.fetch_add(1, Ordering::Relaxed);
        let run = Arc::clone(run);
        runtime.spawn(async move {
            deliver(&run, send).await;
            run.counts.under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Sends with so many senders, each waiting for its answer, until `end`. What it measures is not free of coordinated
/// omission: a server that stalls is asked less.
pub async fn closed_loop(run: &Arc<Run>, schedule: Schedule, end: Duration, senders: usize) {
    let schedule = Arc::new(Mutex::new(schedule));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..senders {
        let (run, schedule) = (Arc::clone(run), Arc::clone(&schedule));
        tasks.spawn(async move {
            while run.elapsed() < end {
                let Some(next) = schedule.lock().next() else { return };
                deliver(&run, Due { at: run.elapsed(), ..next }).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn deliver(run: &Run, send: Due) {
    let due = u64::try_from(send.at.as_micros()).unwrap_or(u64::MAX);
    let counts = &run.counts;
    let measured = run.is_measured(due);
    if measured {
        counts.sent.fetch_add(1, Ordering::Relaxed);
        run.latencies.late(run.micros().saturating_sub(due));
    }
    let outcome = post(run, &send, due).await;
    let now = run.micros();
    counts.answered.fetch_add(1, Ordering::Relaxed);
    let mut room = run.rooms[send.room].tally.lock();
    match outcome {
        Outcome::Acknowledged(id) => {
            room.acknowledge(id, send.number);
            if measured {
                counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                counts.last_answer.fetch_max(now, Ordering::Relaxed);
                run.latencies.answer(now.saturating_sub(due));
            }
        }
        Outcome::Refused(code) => {
            if code == "outcome_unknown" {
                room.leave_open();
            }
            count(&counts.refused, &code);
        }
        Outcome::Failed(what, may_be_stored) => {
            if may_be_stored {
                room.leave_open();
            }
            count(&counts.errors, &what);
        }
    }
}

/// A message, as the wire has it.
#[derive(Serialize)]
struct Message<'a> {
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment: Option<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    content_type: &'a str,
    /// In base64.
    content: &'a str,
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
}

async fn post(run: &Run, send: &Due, due: u64) -> Outcome {
    let Ok(request) = request(run, send, due) else { return Outcome::Failed("not_sent".to_owned(), false) };
    match run.connections.exchange(request).await {
        Ok((status, body)) => outcome(status, &body),
        Err(Unanswered::NoConnection) => Outcome::Failed("no_connection".to_owned(), false),
        Err(Unanswered::Timeout) => Outcome::Failed("timeout".to_owned(), true),
        Err(Unanswered::Broken) => Outcome::Failed("broken".to_owned(), true),
    }
}

fn request(run: &Run, send: &Due, due: u64) -> Result<Request<Full<Bytes>>, Failed> {
    let room = &run.rooms[send.room];
    let content = Label { run: run.id, number: send.number, due }.content(run.message_bytes);
    let file = || File { name: "load.bin", content_type: "application/octet-stream", content: &run.file };
    let message = Message { content: &content, attachment: send.with_file.then(file) };
    let request = Request::post(room.messages.clone())
        .header(HOST, &run.host)
        .header(AUTHORIZATION, &room.seats[send.seat])
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("idempotency-key", CLOCK.new_id().to_string());
    Ok(request.body(serde_json::to_vec(&message)?.into())?)
}

fn outcome(status: StatusCode, body: &[u8]) -> Outcome {
    let Ok(Answer { id, code }) = serde_json::from_slice(body) else {
        return Outcome::Failed("broken".to_owned(), true);
    };
    let code = || code.map_or_else(|| status.as_u16().to_string(), Cow::into_owned);
    match (status, id) {
        (status, Some(id)) if status.is_success() => Outcome::Acknowledged(id),
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => Outcome::Refused(code()),
        _ => Outcome::Failed(code(), status.is_server_error() || status.is_success()),
    }
}

fn count(counts: &Mutex<BTreeMap<String, u64>>, what: &str) {
    *counts.lock().entry(what.to_owned()).or_default() += 1;
}
