//! One event stream from opening to live: hello, replay, presence, and from then on the hub.
//!
//! The seam between replay and live is closed by order, not by locks: the stream is registered first, its listener is
//! looked up after that, the log is read until the hub's memory covers the rest, and the step from "nothing missed"
//! to "live" is one turn of the hub (promise 7).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;

use super::frame::{encode_entry, frame, frame_with_retry};
use super::hub::{CatchUp, HEARTBEAT, Hub, Registration};
use super::outbox::Outbox;
use crate::domain::{CompanyId, ConnectionId, Cursor, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::store::log::{self, Audience};
use crate::store::{Conn, Store, directory, meta};
use crate::wire::{GoodbyeReason, ResyncReason, StreamEvent};

/// Entries that a replay reads from the log at once.
const ENTRIES_AT_ONCE: usize = 200;
/// A stream further behind than this fetches anew instead: it is cheaper for both.
const REPLAY_ENTRIES: usize = 10_000;
/// How long a stream waits before it looks for a lost database again.
const RETRY_DATABASE: Duration = Duration::from_millis(500);
/// How long a client waits before coming back, at least and at most, in milliseconds: spread, so that all do not come
/// at once.
const RETRY_MILLIS: (u64, u64) = (1_000, 5_000);
/// How long a client with too many streams, or requests, waits, in milliseconds.
const RETRY_TOO_MANY: u64 = 60_000;

/// Who opens a stream, and from where.
pub struct Opening {
    /// The stream's name, random.
    pub connection: ConnectionId,
    /// Who listens; none for a service.
    pub user: Option<UserId>,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// Whether the page is in view.
    pub viewing: bool,
    /// The cursor to resume after, as the client sent it.
    pub cursor: Option<String>,
}

/// Opens a stream into `outbox` and leaves it to the hub; ends when the stream is live, or over before that.
pub async fn serve(hub: Arc<Hub>, store: Arc<Store>, outbox: Arc<Outbox>, opening: Opening) {
    let connection = opening.connection;
    let registration = Registration {
        connection,
        user: opening.user,
        outbox: outbox.clone(),
        viewing: opening.viewing,
        expires_at: opening.expires_at,
    };
    if let Err(reason) = hub.register(registration) {
        refuse(&outbox, reason);
        return;
    }
    metrics::counter!("haggle_streams_opened_total").increment(1);
    let stream = OpenStream { hub: hub.clone(), store, outbox: outbox.clone(), opening };
    let begun = tokio::select! {
        () = outbox.closed() => Err(Ended),
        // Boxed, so that a stream that waits for its turn needs no room for it.
        begun = Box::pin(stream.begin()) => begun,
    };
    match begun {
        Ok(()) => outbox.at_parting(move || hub.unregister(connection)),
        Err(Ended) => hub.unregister(connection),
    }
}

/// Ends a stream before it has begun, saying why: an `EventSource` comes back from this, but not from a status.
pub fn refuse(outbox: &Outbox, reason: GoodbyeReason) {
    let goodbye = StreamEvent::Goodbye { reason };
    outbox.close_with(match reason {
        GoodbyeReason::TooManyStreams => frame_with_retry(&goodbye, None, RETRY_TOO_MANY),
        _ => frame(&goodbye, None),
    });
}

/// The stream has ended; there is nobody to tell.
struct Ended;

struct OpenStream {
    hub: Arc<Hub>,
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    opening: Opening,
}

/// What the directory says of a stream's listener, and where its stream begins.
struct Place {
    company: Option<CompanyId>,
    creator_of: HashSet<CompanyId>,
    known: i64,
    start: Start,
}

enum Start {
    /// At the present.
    Fresh,
    /// After a cursor.
    Resumed(i64),
    /// At the present, since the cursor cannot be resumed.
    Resync(ResyncReason),
}

impl OpenStream {
    async fn begin(&self) -> std::result::Result<(), Ended> {
        let place = self.find_place().await?;
        if let Some(user) = self.opening.user
            && !self.hub.place(self.opening.connection, user, place.company, place.creator_of, place.known)
        {
            return Err(Ended);
        }
        let present = self.hub.position();
        let position = match place.start {
            Start::Resumed(position) => position,
            // The client fetches after `hello`, and what it fetches is at least as new as what was just read.
            Start::Fresh | Start::Resync(_) => present.max(place.known),
        };
        self.hello(&place.start, position).await?;
        let audience = self.opening.user.map_or(Audience::Everything, |user| Audience::Of(user, place.company));
        self.replay(audience, position).await
    }

    /// Looks up the listener, for as long as the database is away; heartbeats go on meanwhile.
    async fn find_place(&self) -> std::result::Result<Place, Ended> {
        loop {
            match self.look_up().await {
                Ok(place) => return Ok(place),
                Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY_DATABASE).await,
                Err(Error::Refused(_)) => {
                    let goodbye = StreamEvent::Goodbye { reason: GoodbyeReason::AccessChanged };
                    self.outbox.close_with(frame(&goodbye, None));
                    return Err(Ended);
                }
                Err(error) => {
                    tracing::error!(?error, "a stream could not be opened");
                    self.outbox.close();
                    return Err(Ended);
                }
            }
        }
    }

    async fn look_up(&self) -> Result<Place> {
        let conn = self.store.reader().await?;
        conn.read(async |conn| {
            let known = log::head(conn).await?;
            let (company, creator_of, access_since) = match self.opening.user {
                None => (None, HashSet::new(), 0),
                Some(id) => {
                    let user = directory::active_user(conn, id).await?;
                    (user.company_id, directory::creator_of(conn, id).await?, user.access_position)
                }
            };
            let audience = self.opening.user.map_or(Audience::Everything, |user| Audience::Of(user, company));
            let start = self.start(conn, audience, known, access_since).await?;
            Ok(Place { company, creator_of, known, start })
        })
        .await
    }

    /// Whether the cursor that the client sent can be resumed; silence is not an answer.
    async fn start(&self, conn: &Conn, audience: Audience, head: i64, access_since: i64) -> QueryResult<Start> {
        let Some(text) = &self.opening.cursor else { return Ok(Start::Fresh) };
        let Ok(cursor) = text.parse::<Cursor>() else { return Ok(Start::Resync(ResyncReason::UnknownCursor)) };
        let reason = if cursor.epoch != self.hub.epoch {
            ResyncReason::OtherEpoch
        } else if cursor.position > head {
            ResyncReason::FutureCursor
        } else if cursor.position < meta::trimmed(conn).await? {
            ResyncReason::Trimmed
        } else if cursor.position < access_since {
            ResyncReason::MembershipChanged
        } else if is_far_behind(conn, audience, cursor.position, head).await? {
            ResyncReason::TooFarBehind
        } else {
            return Ok(Start::Resumed(cursor.position));
        };
        Ok(Start::Resync(reason))
    }

    async fn hello(&self, start: &Start, position: i64) -> std::result::Result<(), Ended> {
        let cursor = self.hub.epoch.at(position).to_string();
        let hello = StreamEvent::Hello {
            connection_id: self.opening.connection,
            user_id: self.opening.user,
            position: cursor.clone(),
            resumed: matches!(start, Start::Resumed(_)),
            heartbeat_seconds: HEARTBEAT.as_secs(),
        };
        let retry = retry_millis(self.opening.connection);
        self.send(frame_with_retry(&hello, Some(&cursor), retry)).await?;
        if let Start::Resync(reason) = start {
            self.send(frame(&StreamEvent::Resync { reason: *reason }, Some(&cursor))).await?;
        }
        Ok(())
    }

    /// Replays what lies between `position` and the present, then hands over to the hub.
    async fn replay(&self, audience: Audience, mut position: i64) -> std::result::Result<(), Ended> {
        loop {
            // What going live pushes must find room.
            self.outbox.drained().await.map_err(|_| Ended)?;
            match self.hub.catch_up(self.opening.connection, position) {
                CatchUp::Live => return Ok(()),
                CatchUp::Gone => return Err(Ended),
                CatchUp::Frames(frames, until) => {
                    for frame in frames {
                        self.send(frame).await?;
                    }
                    position = until;
                }
                CatchUp::ReadLog { until } => match self.replay_log(audience, position, until).await {
                    Ok(reached) => position = reached,
                    Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY_DATABASE).await,
                    Err(error) => {
                        tracing::error!(?error, "a replay failed");
                        self.outbox.close();
                        return Err(Ended);
                    }
                },
            }
        }
    }

    /// Sends one page of the log; returns the position that was reached.
    async fn replay_log(&self, audience: Audience, after: i64, until: i64) -> Result<i64> {
        let entries = {
            let conn = self.store.reader().await?;
            log::entries(&conn, audience, after, until, ENTRIES_AT_ONCE).await?
        };
        let whole = entries.len() < ENTRIES_AT_ONCE;
        let reached = entries.last().filter(|_| !whole).map_or(until, |entry| entry.position);
        for entry in &entries {
            if let Some(encoded) = encode_entry(entry, &self.hub.epoch, |user| self.hub.status(user)) {
                let frame = encoded.frame(|file| self.hub.link(file, self.opening.user));
                if self.send(frame).await.is_err() {
                    return Ok(until);
                }
            }
        }
        Ok(reached)
    }

    async fn send(&self, frame: super::outbox::Frame) -> std::result::Result<(), Ended> {
        self.outbox.send(frame).await.map_err(|_| Ended)
    }
}

/// Whether there is more to replay than is worth it. Most who come back have missed little: there is nothing to count.
async fn is_far_behind(conn: &Conn, audience: Audience, after: i64, head: i64) -> QueryResult<bool> {
    let behind = usize::try_from(head - after).unwrap_or(0);
    Ok(behind > REPLAY_ENTRIES && log::count(conn, audience, after, REPLAY_ENTRIES + 1).await? > REPLAY_ENTRIES)
}

/// When to come back: spread by the random name of the stream, over every millisecond.
fn retry_millis(connection: ConnectionId) -> u64 {
    let (least, most) = RETRY_MILLIS;
    let [.., high, low] = *connection.0.as_bytes();
    least + (most - least) * u64::from(u16::from_be_bytes([high, low])) / u64::from(u16::MAX)
}
