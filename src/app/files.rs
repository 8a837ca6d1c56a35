//! Files on their way: a row before the first byte, bytes before the message, nothing left behind.
//!
//! Whatever the object store holds is named by a row of `attachments` or of `uploads`, so the sweep is driven by rows
//! and never lists the store.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;

use crate::attachments::{FileStore, IN_FLIGHT_BYTES, InFlight, Reservation, WriteError, media_type};
use crate::clock::Clock;
use crate::commands::{Maintenance, Writer};
use crate::domain::{AttachmentId, Command, FileName, ObjectId, StoredFile, Upload, UserId};
use crate::error::{Error, Result};
use crate::store::{Store, files};

/// Files that no message has held for this long are deleted.
const UNATTACHED_FOR: Duration = Duration::from_hours(24);
/// Files deleted in one round of the sweep.
const SWEPT_AT_ONCE: i64 = 1_000;
/// Deletions that fail before a round of the sweep gives up: a store that is away takes seconds to say so, each time.
const FAILED_AT_ONCE: usize = 3;
/// Objects remembered for another try; those beyond are deleted after [`UNATTACHED_FOR`].
const REMEMBERED: usize = 10_000;

/// A file that is about to come.
pub struct FileInput {
    /// Its name.
    pub name: FileName,
    /// What its sender says it is.
    pub content_type: String,
    /// Bytes that are counted against its owner meanwhile.
    pub reserved: u64,
    /// The most bytes it may have.
    pub limit: u64,
}

/// Files and their bytes.
pub struct Files {
    /// Where the bytes are.
    pub bytes: FileStore,
    in_flight: InFlight,
    writer: Writer,
    clock: Clock,
    /// Unwanted, and the store would not delete them: until they are gone they count against their owners.
    undeleted: Mutex<HashSet<ObjectId>>,
}

impl Files {
    /// Files in this store.
    #[must_use]
    pub fn new(bytes: FileStore, writer: Writer, clock: Clock) -> Self {
        Self { bytes, in_flight: InFlight::new(IN_FLIGHT_BYTES), writer, clock, undeleted: Mutex::default() }
    }

    /// Takes part of the memory that bodies under way may use.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is not so much left.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        self.in_flight.try_reserve(bytes).ok_or_else(|| Error::Unavailable("too many bodies in flight".to_owned()))
    }

    /// Stores the bytes of a file. They go again unless a command attaches or names them.
    ///
    /// # Errors
    /// [`Error::TooLarge`], the owner's quota, or a store that fails.
    pub async fn store<S, E>(self: &Arc<Self>, owner: UserId, input: FileInput, body: S) -> Result<StoredUpload>
    where
        S: Stream<Item = std::result::Result<Bytes, E>>,
    {
        let _reserved = self.reserve(input.reserved)?;
        let object = ObjectId(self.clock.new_id());
        let reserved = i64::try_from(input.reserved).unwrap_or(i64::MAX);
        let guard = UploadGuard { object, files: self.clone(), armed: AtomicBool::new(true) };
        self.writer.submit(Command::Upload(Upload::Begin { owner, object, reserved })).await?;
        let written = self.bytes.write(object, body, input.limit).await.map_err(|error| match error {
            WriteError::TooLarge => Error::TooLarge,
            WriteError::Body(_) => Error::Malformed("The body broke off.".to_owned()),
            WriteError::Store(why) => Error::Unavailable(format!("file store: {why}")),
        })?;
        let file = StoredFile {
            id: AttachmentId(self.clock.new_id()),
            object,
            owner,
            name: input.name.into(),
            content_type: media_type(&written.head, &input.content_type),
            size: written.size,
            sha256: written.sha256,
            room_id: None,
        };
        Ok(StoredUpload { file, guard })
    }

    /// Deletes the bytes of an object, then its row. What fails here is done by the sweep.
    async fn discard(&self, object: ObjectId) {
        if let Err(error) = self.bytes.delete(object).await {
            tracing::warn!(%error, "a file could not be deleted yet");
            self.remember([object]);
            return;
        }
        let _ = self.writer.maintain(Maintenance::ForgetUploads(vec![object])).await;
    }

    fn remember(&self, objects: impl IntoIterator<Item = ObjectId>) {
        let mut undeleted = self.undeleted.lock();
        let room = REMEMBERED.saturating_sub(undeleted.len());
        undeleted.extend(objects.into_iter().take(room));
    }

    /// Deletes what no message has held for a day, and what could not be deleted before; returns how many files.
    ///
    /// # Errors
    /// What the database said.
    pub async fn sweep(&self, store: &Store) -> Result<usize> {
        let before = self.clock.now().minus(UNATTACHED_FOR);
        self.writer.maintain(Maintenance::ExpireFiles { before }).await?;
        // A set, whose order is another each time: objects that cannot be deleted do not keep others from it.
        let mut objects = std::mem::take(&mut *self.undeleted.lock());
        objects.extend(files::overdue(&store.reader().await?, before, SWEPT_AT_ONCE).await?);
        let objects: HashSet<_> = objects.into_iter().collect();
        let (mut deleted, mut failed) = (Vec::new(), Vec::new());
        let mut objects = objects.into_iter();
        while failed.len() < FAILED_AT_ONCE
            && let Some(object) = objects.next()
        {
            match self.bytes.delete(object).await {
                Ok(()) => deleted.push(object),
                Err(error) => {
                    tracing::warn!(%error, "a file could not be deleted yet");
                    failed.push(object);
                }
            }
        }
        self.remember(failed.into_iter().chain(objects));
        if deleted.is_empty() { Ok(0) } else { self.writer.maintain(Maintenance::ForgetUploads(deleted)).await }
    }
}

/// A file whose bytes are stored and whose fate is not decided.
pub struct StoredUpload {
    file: StoredFile,
    guard: UploadGuard,
}

impl StoredUpload {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &StoredFile {
        &self.file
    }

    /// The same bytes under an id of the client's.
    #[must_use]
    pub fn named(mut self, id: AttachmentId) -> Self {
        self.file.id = id;
        self
    }

    /// A command is about to decide: whatever becomes of this value, the bytes stay until [`StoredUpload::discard`].
    pub fn keep_until_known(&self) {
        self.guard.armed.store(false, Ordering::Relaxed);
    }

    /// The bytes are not wanted.
    pub async fn discard(self) {
        self.keep_until_known();
        self.guard.files.discard(self.guard.object).await;
    }
}

/// Discards an upload that nobody asks for any more: a request that was refused later on, or broke off.
struct UploadGuard {
    object: ObjectId,
    files: Arc<Files>,
    armed: AtomicBool,
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        if self.armed.load(Ordering::Relaxed) {
            let (files, object) = (self.files.clone(), self.object);
            tokio::spawn(async move { files.discard(object).await });
        }
    }
}
