//! `haggle load`: an open-loop load generator, and the proof that nothing was lost.
//!
//! Messages are due at fixed times, and every latency counts from there: a server that stalls is charged for all that
//! should have been sent meanwhile (no "coordinated omission"). Every stream must bring every message of its room once
//! and in order; `tally.rs` says how that is known.

mod args;
mod connections;
mod cost;
mod listener;
mod plan;
mod progress;
mod report;
mod sender;
mod tally;
mod target;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{CLOCK, Failed, say};
pub use args::LoadArgs;
use connections::Connections;
use cost::Usage;
use listener::{Breaks, Listener};
use plan::{Cast, Schedule};
use progress::Progress;
use report::{Deliveries, Latencies, LatencyMillis, Report, Sends, Server, Streams, each, per};
use sender::Counts;
use tally::{Heard, Verdict};
use target::{Room, Target};

/// Streams that are opened at once: within the system's usual queue of connections that wait.
const OPENING_AT_ONCE: usize = 100;
/// How long it may take until the next stream opens.
const OPENING: Duration = Duration::from_secs(30);
/// From the last stream's opening to the measuring of memory: presence is told at most once a second.
const IDLE: Duration = Duration::from_millis(1_500);
/// How long after the last delivery or answer the rest counts as lost.
const STRAGGLING: Duration = Duration::from_secs(10);
/// How often it is looked whether something has come.
const LOOK: Duration = Duration::from_millis(20);

/// What senders and listeners share.
pub struct Run {
    /// Told in every message, so that those of other runs do not count.
    id: u32,
    began: OnceLock<Instant>,
    /// Microseconds from the beginning that do not count.
    warmup: u64,
    address: SocketAddr,
    host: HeaderValue,
    connections: Connections,
    rooms: Vec<Room>,
    message_bytes: usize,
    /// A file in base64.
    file: String,
    counts: Counts,
    breaks: Breaks,
    latencies: Latencies,
    heard: AtomicU64,
}

impl Run {
    fn new(args: &LoadArgs, target: &Target, rooms: Vec<Room>) -> Self {
        let mut file = vec![0; args.attachment_bytes as usize];
        fastrand::Rng::with_seed(args.seed).fill(&mut file);
        Self {
            id: CLOCK.random_id().as_fields().0,
            began: OnceLock::new(),
            warmup: u64::from(args.warmup) * 1_000_000,
            address: target.address,
            host: target.host.clone(),
            connections: Connections::new(target.address),
            rooms,
            message_bytes: args.message_bytes as usize,
            file: STANDARD.encode(file),
            counts: Counts::default(),
            breaks: Breaks::default(),
            latencies: Latencies::new(),
            heard: AtomicU64::new(0),
        }
    }

    /// Time since the first message could be due.
    fn elapsed(&self) -> Duration {
        self.began.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The same in microseconds.
    fn micros(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether a message that was due then is after the warm-up.
    fn is_measured(&self, due: u64) -> bool {
        due >= self.warmup
    }
}

/// What the server's process used before and after each part of a run.
#[derive(Default)]
struct Costs {
    before_streams: Option<Usage>,
    with_streams: Option<Usage>,
    after_warmup: Option<Usage>,
    at_end: Option<Usage>,
}

/// Runs it and prints what it found.
///
/// # Errors
/// A sentence, if it could not run, or if anything was lost, repeated or not answered.
pub async fn load(args: LoadArgs) -> Result<(), Failed> {
    if !(args.rate > 0.0 && args.rate <= 1_000_000.0) || args.seconds == 0 {
        return Err("--rate must be above 0, at most 1,000,000, and --seconds at least 1".into());
    }
    let target = Target::find(&args.url, args.remote, args.token.clone(), &args.signer).await?;
    let cast = Cast { seed: args.seed, rooms: args.rooms as usize, employees: args.members as usize };
    // Where the limit cannot be raised, the first stream that does not open says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let progress = Progress::new(u64::from(args.warmup) + u64::from(args.seconds));
    progress.say(&format!("{} people in {} rooms", cast.people(), cast.rooms));
    let run = Arc::new(Run::new(&args, &target, target.furnish(&cast).await?));
    let usage = || args.server_pid.map(cost::usage).transpose();

    let mut costs = Costs { before_streams: usage()?, ..Costs::default() };
    let listeners = listeners(&run, &cast, args.streams.unwrap_or(usize::MAX));
    progress.say(&format!("{} streams", listeners.len()));
    let (_following, opened_in) = open_streams(&run, &listeners).await?;
    if args.server_pid.is_some() {
        tokio::time::sleep(IDLE).await;
    }
    costs.with_streams = usage()?;

    progress.say("sending");
    send(&run, &args, cast, &progress, &mut costs).await?;
    progress.say("waiting for the last deliveries");
    wait_for_stragglers(&run, &listeners).await;
    // A server that is gone by now has been told of already.
    costs.at_end = usage().ok().flatten();
    progress.end();
    let verdict = judge(&run, &listeners);
    let report = report(&args, &run, &verdict, &costs, (listeners.len(), opened_in));
    print(&report, args.json)?;
    conclude(&verdict, &report)
}

fn listeners(run: &Run, cast: &Cast, at_most: usize) -> Vec<Arc<Listener>> {
    let listener = |(index, (room, seat)): (usize, (usize, usize))| {
        let (of, trouble) = (&run.rooms[room], Mutex::new(None));
        let heard = Mutex::new(Heard::new(of.tally.lock().base));
        Arc::new(Listener {
            index,
            room,
            authorization: of.seats[seat].clone(),
            heard,
            is_open: AtomicBool::new(false),
            trouble,
        })
    };
    cast.listeners(at_most).into_iter().enumerate().map(listener).collect()
}

/// Opens the streams, some at a time, and says how long it took. They close when the set is dropped.
async fn open_streams(run: &Arc<Run>, listeners: &[Arc<Listener>]) -> Result<(JoinSet<()>, Duration), Failed> {
    let (began, mut following) = (Instant::now(), JoinSet::new());
    for some in listeners.chunks(OPENING_AT_ONCE) {
        for listener in some {
            following.spawn(listener::follow(Arc::clone(run), Arc::clone(listener)));
        }
        let is_closed = |listener: &&Arc<Listener>| !listener.is_open.load(Ordering::Relaxed);
        let waiting = Instant::now();
        while let Some(closed) = some.iter().find(is_closed) {
            if waiting.elapsed() > OPENING {
                let trouble = closed.trouble.lock().take().unwrap_or_else(|| "no hello came".to_owned());
                return Err(
                    format!("stream {} of {} does not open: {trouble}", closed.index + 1, listeners.len()).into()
                );
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok((following, began.elapsed()))
}

/// Sends everything and waits for the answers.
async fn send(
    run: &Arc<Run>,
    args: &LoadArgs,
    cast: Cast,
    progress: &Progress,
    costs: &mut Costs,
) -> Result<(), Failed> {
    let warmup = Duration::from_secs(u64::from(args.warmup));
    let end = warmup + Duration::from_secs(u64::from(args.seconds));
    let schedule = Schedule::new(cast, args.rate, args.arrivals, args.attachments);
    run.began.get_or_init(Instant::now);
    let (runtime, shared) = (tokio::runtime::Handle::current(), Arc::clone(run));
    let sending = match args.closed {
        None => tokio::task::spawn_blocking(move || sender::open_loop(&shared, schedule, end, &runtime)),
        Some(senders) => {
            tokio::spawn(async move { sender::closed_loop(&shared, schedule, end, senders as usize).await })
        }
    };
    while !sending.is_finished() || run.counts.under_way.load(Ordering::Relaxed) > 0 {
        if let (None, Some(pid)) = (costs.after_warmup, args.server_pid.filter(|_| run.elapsed() >= warmup)) {
            costs.after_warmup = cost::usage(pid).ok();
        }
        progress.show(run);
        tokio::time::sleep(LOOK).await;
    }
    Ok(sending.await?)
}

/// Waits until every stream has come as far as the answers, or nothing has come for a while.
async fn wait_for_stragglers(run: &Run, listeners: &[Arc<Listener>]) {
    let (mut heard, mut since) = (0, Instant::now());
    let has_all =
        |listener: &Arc<Listener>| run.rooms[listener.room].tally.lock().is_reached_by(&listener.heard.lock());
    while !listeners.iter().all(has_all) && since.elapsed() < STRAGGLING {
        tokio::time::sleep(LOOK).await;
        let now = run.heard.load(Ordering::Relaxed);
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
    }
}

fn judge(run: &Run, listeners: &[Arc<Listener>]) -> Verdict {
    let mut by_room: BTreeMap<usize, Vec<&Arc<Listener>>> = BTreeMap::new();
    for listener in listeners {
        by_room.entry(listener.room).or_default().push(listener);
    }
    let mut verdict = Verdict::default();
    for (room, listeners) in by_room {
        let heard: Vec<_> = listeners.iter().map(|listener| listener.heard.lock()).collect();
        verdict.add(&run.rooms[room].tally.lock(), &heard.iter().map(|heard| &**heard).collect::<Vec<&Heard>>());
    }
    verdict
}

fn report(args: &LoadArgs, run: &Run, verdict: &Verdict, costs: &Costs, streams: (usize, Duration)) -> Report {
    let counts = &run.counts;
    let [answer, delivery, lateness] = run.latencies.summary();
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let acknowledged = read(&counts.acknowledged);
    let took = Duration::from_micros(read(&counts.last_answer).saturating_sub(run.warmup)).as_secs_f64();
    let (open, opened_in) = (streams.0, streams.1.as_secs_f64());
    Report {
        version: env!("CARGO_PKG_VERSION"),
        finished_at: CLOCK.now(),
        setup: args.setup(),
        sends: Sends {
            sent: read(&counts.sent),
            acknowledged,
            per_second: per(acknowledged, took),
            refused: counts.refused.lock().clone(),
            errors: counts.errors.lock().clone(),
        },
        deliveries: Deliveries::new(verdict, per(delivery.count, took)),
        server: server(costs, acknowledged, delivery.count, open as u64),
        latency_ms: LatencyMillis { answer, delivery, lateness },
        streams: Streams {
            open,
            opened_in,
            reconnects: read(&run.breaks.reconnects),
            resyncs: read(&run.breaks.resyncs),
        },
    }
}

fn server(costs: &Costs, sends: u64, deliveries: u64, streams: u64) -> Option<Server> {
    let (after_warmup, at_end) = (costs.after_warmup?, costs.at_end?);
    let grown = costs.with_streams?.memory.saturating_sub(costs.before_streams?.memory);
    let cpu_seconds = at_end.cpu_seconds - after_warmup.cpu_seconds;
    Some(Server {
        cpu_seconds,
        cpu_seconds_per_1000_sends: each(cpu_seconds, sends, 1e3),
        cpu_seconds_per_million_deliveries: each(cpu_seconds, deliveries, 1e6),
        memory_per_stream: grown.checked_div(streams).unwrap_or(0),
        memory: at_end.memory,
    })
}

fn print(report: &Report, json: bool) -> Result<(), Failed> {
    if json {
        eprint!("{}", report.table());
        say(&serde_json::to_string_pretty(report)?);
    } else {
        say(report.table().trim_end());
    }
    Ok(())
}

/// Whether the run is one to be content with; refusals are the server's good right.
fn conclude(verdict: &Verdict, report: &Report) -> Result<(), Failed> {
    if !verdict.is_clean() {
        let Verdict { lost, repeated, out_of_order, altered, .. } = verdict;
        return Err(format!(
            "deliveries: {lost} lost, {repeated} repeated, {out_of_order} out of order; {altered} streams altered"
        )
        .into());
    }
    let errors: u64 = report.sends.errors.values().sum();
    if errors > 0 {
        return Err(format!("{errors} sends came to nothing; see errors").into());
    }
    Ok(())
}
