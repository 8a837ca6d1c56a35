//! What became of the events.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What streams and senders count.
pub(super) struct Tally {
    /// Streams that are open.
    pub(super) open: usize,
    pub(super) published: u64,
    pub(super) deliveries: u64,
    pub(super) repeated: u64,
    /// Events that a stream has missed although it heard later ones.
    pub(super) skipped: u64,
    pub(super) bytes: u64,
    /// From when an event was due until a stream heard it, and until it was answered, microseconds.
    latencies: Histogram<u64>,
    answers: Histogram<u64>,
}

/// What one load has shown.
#[derive(Debug)]
pub struct Found {
    /// Events, and how often they were heard.
    pub published: u64,
    pub deliveries: u64,
    /// Deliveries a second while there was load.
    pub per_second: f64,
    pub lost: u64,
    pub repeated: u64,
    /// Bytes of an event on the wire.
    pub bytes: f64,
    /// Milliseconds from when an event was due until a stream heard it: in half of all cases, in 99 of 100.
    pub delivery: [f64; 2],
    /// The same until its publisher had the answer.
    pub answer: [f64; 2],
}

impl Tally {
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that hold");
        let (open, published, deliveries, repeated, skipped, bytes) = (0, 0, 0, 0, 0, 0);
        Self { open, published, deliveries, repeated, skipped, bytes, latencies: histogram(), answers: histogram() }
    }

    /// Begins anew; streams stay open.
    pub(super) fn begin(&mut self) {
        *self = Self { open: self.open, ..Self::new() };
    }

    pub(super) fn heard(&mut self, latency: u64) {
        self.deliveries += 1;
        let _ = self.latencies.record(latency.max(1));
    }

    pub(super) fn answered(&mut self, latency: u64) {
        let _ = self.answers.record(latency.max(1));
    }

    /// The result of a load that lasted so long, in which so much was heard.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 of anything")]
    pub(super) fn found(&self, (time, heard): (Duration, u64), lost: u64) -> Found {
        let millis = |of: &Histogram<u64>| [0.5, 0.99].map(|part| of.value_at_quantile(part) as f64 / 1e3);
        Found {
            published: self.published,
            deliveries: self.deliveries,
            per_second: heard as f64 / time.as_secs_f64(),
            lost,
            repeated: self.repeated,
            bytes: self.bytes as f64 / self.deliveries.max(1) as f64,
            delivery: millis(&self.latencies),
            answer: millis(&self.answers),
        }
    }
}
