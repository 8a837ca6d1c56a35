//! What a connection is doing, and how long it may do so.
//!
//! hyper's own header timeout counts the time between requests too, so it cannot be short for heads and long for idle
//! connections. Here bytes read, requests begun and answers ended are noted, and one timer per connection follows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::GOAWAY_GRACE;

/// How often the timer of a busy connection fires to no purpose.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What a connection is doing.
pub(super) struct Activity {
    head_timeout: Duration,
    state: Mutex<State>,
}

struct State {
    /// Requests whose answers have not left yet.
    in_flight: usize,
    /// Since when there has been no request.
    idle_since: Instant,
    /// How long that may last.
    idle_timeout: Duration,
    /// Since when a head is awaited; never for HTTP/2, whose pings are bytes too.
    head_since: Option<Instant>,
    /// HTTP/1.1: what is read between requests is the next one's head.
    sends_heads: bool,
}

/// A request whose answer has not left yet.
pub(super) struct InFlight(Arc<Activity>);

/// Why a connection is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head does not come.
    Head,
    /// There has been no request for long.
    Idle,
}

impl Activity {
    /// A connection that was opened then.
    pub(super) fn new(opened: Instant, sends_heads: bool, head_timeout: Duration, idle_timeout: Duration) -> Arc<Self> {
        let head_since = sends_heads.then_some(opened);
        let state = State { in_flight: 0, idle_since: opened, idle_timeout, head_since, sends_heads };
        Arc::new(Self { head_timeout, state: Mutex::new(state) })
    }

    /// Notes that bytes have come.
    pub(super) fn read(&self) {
        let mut state = self.state.lock();
        if state.sends_heads && state.in_flight == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Notes that a request's head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.head_since = None;
        InFlight(Arc::clone(self))
    }

    /// When the connection is overdue, and why, unless something happens.
    fn deadline(&self) -> Option<(Instant, Overdue)> {
        let state = self.state.lock();
        match state.head_since {
            _ if state.in_flight > 0 => None,
            Some(since) => Some((since + self.head_timeout, Overdue::Head)),
            None => Some((state.idle_since + state.idle_timeout, Overdue::Idle)),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}

/// A connection's one timer. A deadline that moves away costs nothing: the timer finds out when it fires.
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    fires: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        let fires = Box::pin(sleep_until(Instant::now() + activity.head_timeout));
        Self { activity, fires }
    }

    /// The connection has been told to close: from now on it is idle only for [`GOAWAY_GRACE`].
    pub(super) fn closing(&self) {
        let mut state = self.activity.state.lock();
        state.idle_since = Instant::now();
        state.idle_timeout = GOAWAY_GRACE;
    }

    /// Ready when the connection is overdue. To be polled after whatever may have changed the activity.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        loop {
            let deadline = self.activity.deadline();
            if let Some((at, _)) = deadline
                && at < self.fires.deadline()
            {
                self.fires.as_mut().reset(at);
            }
            ready!(self.fires.as_mut().poll(cx));
            let now = Instant::now();
            match deadline {
                Some((at, why)) if at <= now => return Poll::Ready(why),
                Some((at, _)) => self.fires.as_mut().reset(at),
                None => self.fires.as_mut().reset(now + LOOK_AGAIN),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    async fn overdue(watchdog: &mut Watchdog) -> (Overdue, Duration) {
        let began = Instant::now();
        let why = poll_fn(|cx| watchdog.poll(cx)).await;
        (why, began.elapsed())
    }

    fn roughly(found: (Overdue, Duration), why: Overdue, after: Duration) {
        assert_eq!(found.0, why);
        assert!(found.1 >= after && found.1 < after + Duration::from_millis(10), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_must_come_soon() {
        let opened = Instant::now();
        tokio::time::sleep(HEAD / 4).await;
        let mut watchdog = Watchdog::new(Activity::new(opened, true, HEAD, IDLE));
        roughly(overdue(&mut watchdog).await, Overdue::Head, HEAD / 4 * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_there_is_more_time_until_a_head_begins() {
        let activity = Activity::new(Instant::now(), true, HEAD, IDLE);
        let mut watchdog = Watchdog::new(Arc::clone(&activity));
        let request = activity.begin();
        activity.read();
        assert!(tokio::time::timeout(IDLE * 9, poll_fn(|cx| watchdog.poll(cx))).await.is_err());
        drop(request);
        roughly(overdue(&mut watchdog).await, Overdue::Idle, IDLE);

        drop(activity.begin());
        assert!(poll_fn(|cx| watchdog.poll(cx)).now_or_never().is_none());
        activity.read();
        roughly(overdue(&mut watchdog).await, Overdue::Head, HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_has_no_heads_to_wait_for() {
        let activity = Activity::new(Instant::now(), false, HEAD, IDLE);
        activity.read();
        roughly(overdue(&mut Watchdog::new(activity)).await, Overdue::Idle, IDLE);
    }
}
