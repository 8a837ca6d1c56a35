//! One stream's bounded outgoing queue: the hub fills it, the network drains it.
//!
//! The hub pushes all frames of its turn and then flushes each outbox once, so that whatever waits leaves in one write,
//! made by the hub's own thread if the socket takes it. Only a socket that is full costs the waking of a task. A reader
//! whose queue is full is told so and cut; it resumes with its cursor, and nobody else notices.
//!
//! ```text
//! hub ── push, flush ──▶ Outbox ◀── Drain ── socket task (HTTP/1.1) or response body (all else)
//! ```

mod drain;
mod frame;
mod queue;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub use self::drain::Drain;
pub use self::frame::Frame;
use self::queue::Queue;
pub use self::queue::{MAX_WAITING_BYTES, MAX_WAITING_FRAMES};

/// How long a reader that was too slow may take to hear why before its connection is cut: it has a full queue's worth of
/// bytes on the way already, and others need the memory.
pub const CUT_GRACE: Duration = Duration::from_secs(1);

/// How long the last frames of a stream may take to leave: less than a server has to stop (5 s).
pub const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// Frames that leave in one system call; Linux takes up to 1,024, but a turn of the hub rarely has more.
const MAX_SLICES: usize = 64;

/// What became of a pushed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits, and is the first since the last flush: put the outbox on the list of those to flush.
    First,
    /// It waits; the outbox is on that list already.
    Again,
    /// It did not fit: the reader is being cut, as too slow.
    Full,
    /// The stream has ended.
    Closed,
}

/// The stream has ended; nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// One stream's outgoing queue.
pub struct Outbox {
    state: Mutex<State>,
    /// Told when a sender may find room.
    room: Notify,
    /// Told at each step towards the end.
    ended: Notify,
}

struct State {
    queue: Queue,
    phase: Phase,
    /// Pushed to since the last flush.
    dirty: bool,
    /// Somebody waits for room.
    room_wanted: bool,
    /// The task on the network's side sleeps until the socket takes more; only the end need wake it.
    blocked: bool,
    /// Where to write to, once the stream has a socket of its own.
    socket: Option<Arc<TcpStream>>,
    /// The task on the network's side.
    waker: Option<Waker>,
    /// What is left to do when the network has let go.
    parting: Parting,
    /// The last words to a reader that was too slow.
    too_slow: Frame,
}

enum Parting {
    /// Nothing yet.
    None,
    Call(Box<dyn FnOnce() + Send>),
    /// The drain is gone; whatever comes now is late.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Takes nothing more; what waits has so long to leave.
    Ending(Duration),
    /// The network has let go.
    Gone,
}

impl Outbox {
    /// An empty outbox; `too_slow` is the last thing its reader hears if it cannot keep up.
    #[must_use]
    pub fn new(too_slow: Frame) -> Arc<Self> {
        let state = State {
            queue: Queue::default(),
            phase: Phase::Open,
            dirty: false,
            room_wanted: false,
            blocked: false,
            socket: None,
            waker: None,
            parting: Parting::None,
            too_slow,
        };
        Arc::new(Self { state: Mutex::new(state), room: Notify::new(), ended: Notify::new() })
    }

    /// The network's side, for exactly one socket or body. The stream is over when it is dropped.
    #[must_use]
    pub fn drain(self: &Arc<Self>) -> Drain {
        Drain::new(Arc::clone(self))
    }

    /// Adds a frame without waiting. It leaves with the next [`Outbox::flush`], or at once with all before it if the
    /// queue is full: a turn may have more for a healthy reader than may wait.
    pub fn push(&self, frame: Frame) -> Pushed {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Pushed::Closed;
        }
        if !state.queue.has_room(&frame) && state.write().is_err() {
            self.gone_now(state);
            return Pushed::Closed;
        }
        if state.queue.has_room(&frame) {
            state.queue.add(frame);
            return if std::mem::replace(&mut state.dirty, true) { Pushed::Again } else { Pushed::First };
        }
        state.queue.forget();
        let too_slow = state.too_slow.clone();
        self.end(state, Some(too_slow), CUT_GRACE);
        Pushed::Full
    }

    /// Adds a frame, waiting for room; for what may be longer than the queue, like a replay. It leaves with the next
    /// [`Outbox::flush`], or when a later frame must wait.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn send(&self, frame: Frame) -> Result<(), Closed> {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.state.lock();
                if state.phase != Phase::Open {
                    return Err(Closed);
                }
                if state.queue.has_room(&frame) {
                    state.queue.add(frame);
                    return Ok(());
                }
                state.room_wanted = true;
            }
            self.flush();
            room.await;
        }
    }

    /// Sends what waits and returns when all of it has left.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn drained(&self) -> Result<(), Closed> {
        loop {
            self.flush();
            let room = self.room.notified();
            {
                let mut state = self.state.lock();
                if state.phase != Phase::Open {
                    return Err(Closed);
                }
                if state.queue.is_empty() {
                    return Ok(());
                }
                state.room_wanted = true;
            }
            room.await;
        }
    }

    /// Sends what waits: in one write by this thread if there is a socket that takes it, else by waking the network's
    /// side.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        state.dirty = false;
        match state.write() {
            Ok(true) => self.tell_room(state),
            Ok(false) if state.blocked => self.tell_room(state),
            Ok(false) => {
                let waker = state.waker.take();
                self.tell_room(state);
                waker.into_iter().for_each(Waker::wake);
            }
            Err(_) => self.gone_now(state),
        }
    }

    /// Ends the stream after what waits has left, or after [`CLOSE_GRACE`].
    pub fn close(&self) {
        self.end(self.state.lock(), None, CLOSE_GRACE);
    }

    /// Ends the stream after what waits and then `last` has left, or after [`CLOSE_GRACE`].
    pub fn close_with(&self, last: Frame) {
        self.end(self.state.lock(), Some(last), CLOSE_GRACE);
    }

    /// Has `last` called when the network has let go; at once if it has. An open stream needs no task for its end.
    pub fn at_parting(&self, last: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        if matches!(state.parting, Parting::Over) {
            drop(state);
            return last();
        }
        state.parting = Parting::Call(Box::new(last));
    }

    /// Whether the stream takes no more frames.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.lock().phase != Phase::Open
    }

    /// Waits until the stream takes no more frames: closed by us, cut as too slow, or left by its reader.
    pub async fn closed(&self) {
        self.until(|phase| phase != Phase::Open).await;
    }

    /// Waits until the network has let go of the stream, and with it of the socket.
    pub async fn gone(&self) {
        self.until(|phase| phase == Phase::Gone).await;
    }

    /// Bytes that wait to leave.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.state.lock().queue.bytes()
    }

    async fn until(&self, reached: impl Fn(Phase) -> bool) {
        loop {
            let ended = self.ended.notified();
            if reached(self.state.lock().phase) {
                return;
            }
            ended.await;
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>, last: Option<Frame>, grace: Duration) {
        if state.phase != Phase::Open {
            return;
        }
        state.phase = Phase::Ending(grace);
        last.into_iter().chain([Frame::end()]).for_each(|frame| state.queue.add(frame));
        self.tell_end(state);
    }

    fn gone_now(&self, mut state: MutexGuard<'_, State>) {
        state.phase = Phase::Gone;
        state.queue = Queue::default();
        state.socket = None;
        self.tell_end(state);
    }

    fn tell_end(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        self.room.notify_waiters();
        self.ended.notify_waiters();
    }

    fn tell_room(&self, mut state: MutexGuard<'_, State>) {
        let wanted = state.queue.has_shrunk() && std::mem::take(&mut state.room_wanted);
        drop(state);
        if wanted {
            self.room.notify_waiters();
        }
    }
}

impl State {
    /// Writes until nothing waits (true) or until it must be tried again later (false).
    fn write(&mut self) -> io::Result<bool> {
        let Some(socket) = &self.socket else {
            return Ok(self.queue.is_empty());
        };
        while !self.queue.is_empty() {
            let sent = if let Some(bytes) = self.queue.only() {
                socket.try_write(bytes)
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let used = self.queue.slices(&mut slices);
                socket.try_write_vectored(&slices[..used])
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.queue.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
