//! The network's side of an outbox: how a socket's task or a response's body takes the frames out.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::{Outbox, Parting, Phase, State};

/// The network's side of an [`Outbox`]. Dropping it says that the reader is gone, for whatever reason.
pub struct Drain {
    outbox: Arc<Outbox>,
}

impl Drain {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox }
    }

    /// The outbox that is drained.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Gives the stream a socket of its own, to which from now on the hub writes too.
    pub fn attach(&self, socket: Arc<TcpStream>) {
        let mut state = self.outbox.state.lock();
        if state.phase != Phase::Gone {
            state.socket = Some(socket);
        }
    }

    /// Writes to the attached socket; ready when the stream has ended and all of it has left.
    ///
    /// # Errors
    /// The socket's: the stream is over.
    pub fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outbox.state.lock();
        let written = state.poll_write(cx);
        state.keep_waker(cx);
        self.outbox.tell_room(state);
        written
    }

    /// The next event without chunk framing; `None` when the stream has ended.
    pub fn poll_payload(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.outbox.state.lock();
        let Some(payload) = state.queue.take_payload() else {
            if state.phase == Phase::Open {
                state.keep_waker(cx);
                return Poll::Pending;
            }
            return Poll::Ready(None);
        };
        self.outbox.tell_room(state);
        Poll::Ready(Some(payload).filter(|payload| !payload.is_empty()))
    }

    /// How long what waits may still take to leave, once the stream is ending.
    #[must_use]
    pub fn grace(&self) -> Option<Duration> {
        self.outbox.grace()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        let parting = std::mem::replace(&mut state.parting, Parting::Over);
        self.outbox.gone_now(state);
        if let Parting::Call(last) = parting {
            last();
        }
    }
}

impl Outbox {
    /// Waits for the end, and then at most the grace it allows; true if the network has let go by then.
    pub async fn gone_in_grace(&self) -> bool {
        self.closed().await;
        match self.grace() {
            Some(grace) => tokio::time::timeout(grace, self.gone()).await.is_ok(),
            None => true,
        }
    }

    fn grace(&self) -> Option<Duration> {
        match self.state.lock().phase {
            Phase::Ending(grace) => Some(grace),
            Phase::Open | Phase::Gone => None,
        }
    }
}

impl State {
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = false;
        while !self.write()? {
            let Some(socket) = &self.socket else { break };
            let Poll::Ready(ready) = socket.poll_write_ready(cx) else {
                self.blocked = true;
                return Poll::Pending;
            };
            ready?;
        }
        if self.phase == Phase::Open { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn keep_waker(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}
