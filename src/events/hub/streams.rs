//! The life of a stream in the hub: registered, placed, caught up, live, gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::ring::Listener;
use super::state::Stream;
use super::{HEARTBEAT, Hub, Turn};
use crate::domain::{CompanyId, ConnectionId, Timestamp, UserId};
use crate::events::frame::frame;
use crate::events::outbox::{Frame, Outbox};
use crate::wire::{GoodbyeReason, StreamEvent};

/// A stream that wants to be told.
pub struct Registration {
    /// Its name.
    pub connection: ConnectionId,
    /// Who listens; none for a service.
    pub user: Option<UserId>,
    /// Where its frames go.
    pub outbox: Arc<Outbox>,
    /// Whether its page is in view.
    pub viewing: bool,
    /// When its token expires.
    pub expires_at: Timestamp,
}

/// What stands between a stream's position and the present.
pub enum CatchUp {
    /// More than the hub remembers: read the log up to here first.
    ReadLog { until: i64 },
    /// These frames; then ask again from here.
    Frames(Vec<Frame>, i64),
    /// Nothing: from now on the hub tells it everything.
    Live,
    /// The stream has ended.
    Gone,
}

/// A stream that replays is handed this many frames at a time.
const FRAMES_AT_ONCE: usize = 256;

impl Hub {
    /// Registers a stream: from now on it counts for presence, and a change of access ends it. It is not told
    /// anything yet.
    ///
    /// # Errors
    /// Why it is not taken: too many streams, or the server is stopping.
    pub fn register(&self, registration: Registration) -> Result<(), GoodbyeReason> {
        let life = self.settings.stream_life.mul_f64(spread(registration.connection));
        self.turn(|turn| {
            let Registration { connection, user, outbox, viewing, expires_at } = registration;
            if let Some(reason) = turn.state.closing {
                return Err(reason);
            }
            if let Some(user) = user {
                let person = turn.state.people.entry(user).or_default();
                if person.streams.len() >= self.settings.max_streams_per_user {
                    return Err(GoodbyeReason::TooManyStreams);
                }
                // Hardly anybody has two.
                person.streams.reserve_exact(1);
                person.streams.push(connection);
                person.gone_at = None;
            } else {
                turn.state.services.insert(connection);
            }
            let stream = Stream {
                user,
                outbox,
                viewing,
                live_from: None,
                access_known: None,
                access_changed: 0,
                expires_at,
                rotates_at: turn.now.plus(life),
                due_at: turn.now,
            };
            turn.state.streams.insert(connection, stream);
            turn.schedule(connection);
            Ok(())
        })
    }

    /// Notes what the directory says of a stream's listener, as of log position `known`. Says whether the stream is
    /// still there.
    pub fn place(
        &self,
        connection: ConnectionId,
        user: UserId,
        company: Option<CompanyId>,
        creator_of: HashSet<CompanyId>,
        known: i64,
    ) -> bool {
        self.turn(|turn| {
            let Some(stream) = turn.state.streams.get_mut(&connection) else { return false };
            if stream.access_changed > known {
                turn.end(connection, GoodbyeReason::AccessChanged);
                return false;
            }
            stream.access_known = Some(known);
            turn.place(user, company, creator_of);
            turn.streams_changed(user);
            true
        })
    }

    /// Brings a stream that has been told everything up to `after` closer to the present, or makes it live.
    pub fn catch_up(&self, connection: ConnectionId, after: i64) -> CatchUp {
        self.turn(|turn| {
            let Some(stream) = turn.state.streams.get(&connection) else { return CatchUp::Gone };
            let user = stream.user;
            let company = user.and_then(|user| turn.state.people.get(&user)).and_then(|person| person.company);
            let listener = user.map_or(Listener::Service, |user| Listener::User(user, company));
            let position = turn.state.position;
            if after < position && !turn.state.ring.covers(after) {
                return CatchUp::ReadLog { until: position };
            }
            let missed: Vec<_> = turn.state.ring.after(after, listener).take(FRAMES_AT_ONCE).cloned().collect();
            if let Some(last) = missed.last() {
                let until = if missed.len() < FRAMES_AT_ONCE { position } else { last.entry.position };
                let frames = missed.iter().filter_map(|delivery| turn.frame_for(delivery, stream)).collect();
                return CatchUp::Frames(frames, until);
            }
            turn.go_live(connection, user, after.max(position));
            CatchUp::Live
        })
    }

    /// Forgets a stream that has ended, for whatever reason.
    pub fn unregister(&self, connection: ConnectionId) {
        self.turn(|turn| turn.detach(connection));
    }
}

/// A factor from 0.8 to 1.2, by the random name of a stream.
fn spread(connection: ConnectionId) -> f64 {
    0.8 + 0.4 * f64::from(connection.0.as_bytes()[15]) / 255.0
}

impl Turn<'_> {
    fn go_live(&mut self, id: ConnectionId, user: Option<UserId>, from: i64) {
        if let Some(stream) = self.state.streams.get_mut(&id) {
            stream.live_from = Some(from);
        }
        if let Some(user) = user {
            let presence = self.presence(user);
            self.push(id, frame(&presence, None));
        }
    }

    /// Takes a stream out; when it was somebody's last, they stop typing and their grace begins.
    pub(super) fn detach(&mut self, id: ConnectionId) {
        let Some(stream) = self.state.streams.remove(&id) else { return };
        self.state.due.remove(&(stream.due_at, id));
        self.state.services.remove(&id);
        stream.outbox.close();
        let Some(user) = stream.user else { return };
        let Some(person) = self.state.people.get_mut(&user) else { return };
        person.streams.retain(|other| *other != id);
        if person.streams.is_empty() && person.elsewhere.is_empty() {
            self.stop_typing_everywhere(user);
        }
        self.streams_changed(user);
    }

    /// Sets when something is due on a stream: its next heartbeat, or its end if that comes first.
    fn schedule(&mut self, id: ConnectionId) {
        let Some(stream) = self.state.streams.get_mut(&id) else { return };
        self.state.due.remove(&(stream.due_at, id));
        stream.due_at = self.now.plus(HEARTBEAT).min(stream.expires_at).min(stream.rotates_at);
        self.state.due.insert((stream.due_at, id));
    }

    /// Heartbeats, and the ends of streams whose time has come.
    pub(super) fn serve_due(&mut self) {
        while let Some((at, id)) = self.state.due.first().copied() {
            if at > self.now {
                return;
            }
            let Some(stream) = self.state.streams.get(&id) else {
                self.state.due.remove(&(at, id));
                continue;
            };
            if stream.expires_at <= self.now {
                self.end(id, GoodbyeReason::TokenExpired);
            } else if stream.rotates_at <= self.now {
                self.end(id, GoodbyeReason::Rotated);
            } else {
                let busy = stream.live_from.is_none() && stream.outbox.waiting_bytes() > 0;
                let heard = stream.live_from.map(|from| from.max(self.state.position));
                let cursor = heard.map(|position| self.hub.epoch.at(position).to_string());
                self.schedule(id);
                // A replay under way says enough, and its full queue is no fault of the reader's.
                if !busy {
                    self.push(id, frame(&StreamEvent::Heartbeat {}, cursor.as_deref()));
                }
            }
        }
    }
}

/// How often [`Hub::tick`] wants to be called: a fraction of the shortest thing that can be due.
pub const TICK: Duration = Duration::from_millis(200);
