//! What a run found, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use haggle::domain::Timestamp;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use super::tally::Verdict;

/// The longest latency that is told apart, microseconds: longer than any request may take.
const LONGEST: u64 = 120_000_000;
/// Histograms that deliveries are spread over, so that streams seldom wait for each other.
const SHARDS: usize = 8;

/// Latencies as they are measured, microseconds, to three digits.
pub struct Latencies {
    answers: Mutex<Histogram<u64>>,
    lateness: Mutex<Histogram<u64>>,
    deliveries: Vec<Mutex<Histogram<u64>>>,
}

impl Latencies {
    pub fn new() -> Self {
        let deliveries = (0..SHARDS).map(|_| Mutex::new(histogram())).collect();
        Self { answers: Mutex::new(histogram()), lateness: Mutex::new(histogram()), deliveries }
    }

    pub fn answer(&self, micros: u64) {
        self.answers.lock().saturating_record(micros);
    }

    /// How long after it was due a message was sent: what this program itself adds to the figures.
    pub fn late(&self, micros: u64) {
        self.lateness.lock().saturating_record(micros);
    }

    pub fn delivery(&self, stream: usize, micros: u64) {
        self.deliveries[stream % SHARDS].lock().saturating_record(micros);
    }

    /// Answers, deliveries and lateness.
    pub fn summary(&self) -> [Latency; 3] {
        let mut deliveries = histogram();
        for shard in &self.deliveries {
            // All have the same bounds, so there is nothing that would not fit.
            let _ = deliveries.add(&*shard.lock());
        }
        [Latency::of(&self.answers.lock()), Latency::of(&deliveries), Latency::of(&self.lateness.lock())]
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are in order")
}

/// A distribution, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Latency {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        Self { count: histogram.len(), p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max: millis(histogram.max()) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "LONGEST is less than 2^53")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// All that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    /// RFC 3339, UTC.
    pub finished_at: Timestamp,
    pub setup: Setup,
    pub sends: Sends,
    pub deliveries: Deliveries,
    /// Milliseconds from when a message was due.
    pub latency_ms: LatencyMillis,
    pub streams: Streams,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub struct Setup {
    /// `open`: messages are due at fixed times; `closed`: each sender waits for its answer.
    pub r#loop: &'static str,
    /// Messages per second that were due; none in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Senders at once in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub senders: Option<usize>,
    pub rooms: usize,
    pub members_per_room: usize,
    pub message_bytes: usize,
    pub attachments_percent: u8,
    pub attachment_bytes: usize,
    pub seconds: u64,
    pub warmup_seconds: u64,
    pub seed: u64,
}

/// The messages that were due after the warm-up.
#[derive(Debug, Serialize)]
pub struct Sends {
    pub sent: u64,
    pub acknowledged: u64,
    /// Acknowledged, by the seconds from the end of the warm-up to the last answer.
    pub per_second: f64,
    /// 429 and 503, by code, warm-up included.
    pub refused: BTreeMap<String, u64>,
    /// Everything else that was no success, warm-up included.
    pub errors: BTreeMap<String, u64>,
}

/// What the streams brought, warm-up included.
#[derive(Debug, Serialize)]
pub struct Deliveries {
    pub expected: u64,
    pub seen: u64,
    /// After the warm-up.
    pub per_second: f64,
    pub lost: u64,
    pub repeated: u64,
    pub out_of_order: u64,
    pub altered: u64,
}

impl Deliveries {
    pub fn new(verdict: &Verdict, per_second: f64) -> Self {
        let &Verdict { expected, heard, lost, repeated, out_of_order, altered } = verdict;
        Self { expected, seen: heard, per_second, lost, repeated, out_of_order, altered }
    }
}

/// Milliseconds from when a message was due.
#[derive(Debug, Serialize)]
pub struct LatencyMillis {
    /// To the answer.
    pub answer: Latency,
    /// To each stream of the room.
    pub delivery: Latency,
    /// To the moment of sending.
    pub lateness: Latency,
}

/// The streams.
#[derive(Debug, Serialize)]
pub struct Streams {
    pub open: usize,
    /// Seconds until all were open.
    pub opened_in: f64,
    /// How often one broke and was resumed.
    pub reconnects: u64,
    /// How often the server said that it could not resume.
    pub resyncs: u64,
}

/// What the server's process cost from the end of the warm-up to the last delivery.
#[derive(Debug, Serialize)]
pub struct Server {
    pub cpu_seconds: f64,
    /// All of it, by the sends.
    pub cpu_seconds_per_1000_sends: f64,
    /// All of it, by the deliveries.
    pub cpu_seconds_per_million_deliveries: f64,
    /// Growth of the resident memory while the streams were opened, by the streams.
    pub memory_per_stream: u64,
    /// Resident bytes at the end.
    pub memory: u64,
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<40}{value}");
        };
        row("load", self.setup.sentence());
        let sends = &self.sends;
        row("sends", format!("{} of {} acknowledged, {:.1}/s", sends.acknowledged, sends.sent, sends.per_second));
        row("  refused", counts(&sends.refused));
        row("  errors", counts(&sends.errors));
        let told = &self.deliveries;
        row("deliveries", format!("{} of {}, {:.1}/s", told.seen, told.expected, told.per_second));
        row("  lost, repeated, out of order, altered", {
            format!("{}, {}, {}, {}", told.lost, told.repeated, told.out_of_order, told.altered)
        });
        row("milliseconds from when it was due", format!("{:>9} {:>9} {:>9} {:>9}", "p50", "p99", "p99.9", "max"));
        for (name, latency) in [
            ("  to the answer", &self.latency_ms.answer),
            ("  to each stream", &self.latency_ms.delivery),
            ("  to the sending (this program)", &self.latency_ms.lateness),
        ] {
            let Latency { p50, p99, p99_9, max, .. } = latency;
            row(name, format!("{p50:>9.2} {p99:>9.2} {p99_9:>9.2} {max:>9.2}"));
        }
        let streams = &self.streams;
        row(
            "streams",
            format!("{} open in {:.1} s, {} reconnects", streams.open, streams.opened_in, streams.reconnects),
        );
        if let Some(server) = &self.server {
            row("server: CPU seconds", format!("{:.2}", server.cpu_seconds));
            row("  per 1,000 sends", format!("{:.3}", server.cpu_seconds_per_1000_sends));
            row("  per million deliveries", format!("{:.1}", server.cpu_seconds_per_million_deliveries));
            row("server: memory", mebibytes(server.memory));
            row("  per stream", format!("{} KiB", server.memory_per_stream / 1024));
        }
        table
    }
}

impl Setup {
    fn sentence(&self) -> String {
        let pace = match (self.rate, self.senders) {
            (Some(rate), _) => format!("{rate}/s"),
            (None, senders) => format!("{} at once (closed loop)", senders.unwrap_or(0)),
        };
        format!(
            "{pace}, {} rooms of {}, {} bytes, {} % files, {} s after {} s, seed {}",
            self.rooms,
            self.members_per_room,
            self.message_bytes,
            self.attachments_percent,
            self.seconds,
            self.warmup_seconds,
            self.seed
        )
    }
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
    if all.is_empty() { "0".to_owned() } else { all.join(", ") }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

/// So many in so many seconds, per second; 0 if it took no time.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^53 of anything")]
pub fn per(count: u64, amount: f64) -> f64 {
    if amount > 0.0 { count as f64 / amount } else { 0.0 }
}

/// An amount by so many, in units of `unit`; 0 if there were none.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^53 of anything")]
pub fn each(amount: f64, count: u64, unit: f64) -> f64 {
    if count > 0 { amount * unit / count as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_shards_together() {
        let latencies = Latencies::new();
        for micros in 1..=1_000 {
            latencies.answer(micros * 1_000);
            latencies.delivery(usize::try_from(micros).unwrap(), micros * 100);
        }
        let [answers, deliveries, lateness] = latencies.summary();
        // Three digits: within a thousandth.
        let is = |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 0.001, "{value} for {expected}");
        assert_eq!((answers.count, deliveries.count, lateness.count), (1_000, 1_000, 0));
        for (latency, unit) in [(answers, 1.0), (deliveries, 0.1)] {
            is(latency.p50, 500.0 * unit);
            is(latency.p99, 990.0 * unit);
            is(latency.p99_9, 999.0 * unit);
            is(latency.max, 1_000.0 * unit);
        }
    }

    #[test]
    fn what_takes_too_long_counts_as_the_longest() {
        let latencies = Latencies::new();
        latencies.answer(u64::MAX);
        assert!(latencies.summary()[0].max >= millis(LONGEST));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!((per(5, 0.0), each(5.0, 0, 1_000.0)), (0.0, 0.0));
        assert_eq!((per(5, 2.0), each(2.0, 4_000, 1_000.0)), (2.5, 0.5));
    }

    #[test]
    fn the_table_and_the_json_hold_every_figure() {
        let report = Report {
            version: "1",
            finished_at: crate::cli::CLOCK.now(),
            setup: Setup {
                r#loop: "open",
                rate: Some(50.0),
                senders: None,
                rooms: 2,
                members_per_room: 3,
                message_bytes: 200,
                attachments_percent: 5,
                attachment_bytes: 10_000,
                seconds: 10,
                warmup_seconds: 2,
                seed: 1,
            },
            sends: Sends {
                sent: 500,
                acknowledged: 497,
                per_second: 49.7,
                refused: [("rate_limited".to_owned(), 2)].into(),
                errors: [("timeout".to_owned(), 1)].into(),
            },
            deliveries: Deliveries::new(
                &Verdict { expected: 1_491, heard: 1_490, lost: 1, ..Verdict::default() },
                149.0,
            ),
            latency_ms: LatencyMillis {
                answer: Latency { count: 497, p50: 1.25, p99: 2.5, p99_9: 3.75, max: 5.0 },
                delivery: Latency::default(),
                lateness: Latency::default(),
            },
            streams: Streams { open: 6, opened_in: 0.1, reconnects: 0, resyncs: 0 },
            server: Some(Server {
                cpu_seconds: 1.5,
                cpu_seconds_per_1000_sends: 3.018,
                cpu_seconds_per_million_deliveries: 1_006.7,
                memory_per_stream: 20_480,
                memory: 50 * 1024 * 1024,
            }),
        };
        insta::assert_snapshot!(report.table(), @r"
        load                                    50/s, 2 rooms of 3, 200 bytes, 5 % files, 10 s after 2 s, seed 1
        sends                                   497 of 500 acknowledged, 49.7/s
          refused                               2 rate_limited
          errors                                1 timeout
        deliveries                              1490 of 1491, 149.0/s
          lost, repeated, out of order, altered 1, 0, 0, 0
        milliseconds from when it was due             p50       p99     p99.9       max
          to the answer                              1.25      2.50      3.75      5.00
          to each stream                             0.00      0.00      0.00      0.00
          to the sending (this program)              0.00      0.00      0.00      0.00
        streams                                 6 open in 0.1 s, 0 reconnects
        server: CPU seconds                     1.50
          per 1,000 sends                       3.018
          per million deliveries                1006.7
        server: memory                          50 MiB
          per stream                            20 KiB
        ");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["sends"]["refused"]["rate_limited"], 2);
        assert_eq!(json["deliveries"]["lost"], 1);
        assert_eq!(json["latency_ms"]["answer"]["p99_9"], 3.75);
        assert_eq!(json["setup"]["loop"], "open");
    }
}
