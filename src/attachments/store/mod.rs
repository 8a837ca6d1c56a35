//! Where the bytes of files are: an object store, which is a folder or a bucket of an S3 store.
//!
//! An object appears as a whole or not at all, and a write that has answered is durable: the message that names it
//! commits afterwards, so a message never points to nothing. The store keeps no list of what it holds; the rows of
//! the database do, and a row is there before the first byte. No wait for a bucket is without a limit: one that is
//! slow or away has failed after seconds.

mod s3;
mod upload;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::http::Method;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;
use url::Url;

pub use self::s3::Fixed;
use self::s3::{ANSWER_WITHIN, Trouble};
use self::upload::{Upload, no_answer, within};
use crate::clock::Clock;
use crate::config::FilePlace;
use crate::domain::ObjectId;

/// How much of a file's beginning is kept for [`media_type`](super::media_type), in bytes: as far as formats hide
/// what tells them apart.
pub const HEAD_BYTES: usize = 64 * 1024;

/// What is read from a local file at once, in bytes: each read is a hop to another thread.
const READ_BYTES: usize = 64 * 1024;

/// Files are spread over a folder for each hexadecimal digit: file systems find one among a million with ease, and a
/// new server starts at once.
const FOLDERS: &str = "0123456789abcdef";

/// The bytes of files; clones share it.
#[derive(Clone)]
pub struct FileStore {
    objects: Arc<dyn ObjectStore>,
    kind: Kind,
    /// What the names of objects begin with.
    prefix: Path,
    /// How long any wait for the store may last.
    answer_within: Duration,
}

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    Bucket(Arc<AmazonS3>),
}

impl fmt::Debug for FileStore {
    /// Without the keys that a bucket is opened with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.objects, f)
    }
}

/// What was learned of a file while it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub size: i64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// The first [`HEAD_BYTES`], or all if there are fewer.
    pub head: Vec<u8>,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum WriteError<E> {
    /// The body is longer than the limit.
    TooLarge,
    /// The body failed.
    Body(E),
    /// The store failed: no space, no permission, no connection.
    Store(String),
}

/// Why nothing can be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There is no such object.
    NotFound,
    /// The store failed.
    Store(String),
}

impl FileStore {
    /// The store in this place; a folder is made if it is not there, and a bucket is tried with an object named by the
    /// clock. A bucket that is away now may be back soon, so that is a warning.
    ///
    /// # Errors
    /// A sentence that says how to mend it: a folder that cannot be made, a bucket that is not there or refuses.
    pub async fn open(place: &FilePlace, clock: &Clock) -> Result<Self, String> {
        let (name, prefix, aws) = match place {
            FilePlace::Folder(folder) => {
                return Self::local(folder).map_err(|error| format!("{}: {error}", folder.display()));
            }
            FilePlace::S3 { bucket, prefix, aws } => (bucket, prefix, aws),
        };
        let prefix = Path::parse(prefix).map_err(|error| format!("HAGGLE_ATTACHMENTS_URL: {error}"))?;
        let bucket = Arc::new(s3::bucket(name, aws)?);
        let kind = Kind::Bucket(bucket.clone());
        let store = Self { objects: bucket.clone(), kind, prefix, answer_within: ANSWER_WITHIN };
        match s3::probe(&bucket, &store.place(ObjectId(clock.new_id()))).await {
            Ok(()) => {}
            Err(Trouble::Away(why)) => tracing::warn!(bucket = name, %why, "the file store is away"),
            Err(Trouble::Refused(mend)) => return Err(format!("bucket {name}: {mend}")),
        }
        Ok(store)
    }

    /// A store in `folder`, which is made if it is not there. Blocks for some milliseconds: for the start only.
    ///
    /// # Errors
    /// If the folder cannot be made or written to disk.
    pub fn local(folder: &std::path::Path) -> io::Result<Self> {
        let folder = prepare(folder)?;
        let files = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        // A disk answers or is broken; under load it may take its time.
        let answer_within = Duration::MAX;
        Ok(Self { objects: Arc::new(files), kind: Kind::Folder(folder), prefix: Path::default(), answer_within })
    }

    /// Writes a body of at most `limit` bytes under a fresh id and says what it was. Beside the chunk that the body
    /// hands over, memory stays within two parts (10 MiB).
    ///
    /// When this answers, the object is durable. If it is dropped before (a client has hung up), or fails, what the
    /// store was given is taken back, in the background where the store is what failed. What cannot be taken back
    /// then is deleted by the sweep.
    ///
    /// # Errors
    /// Says whose fault it is.
    pub async fn write<S, E>(&self, object: ObjectId, body: S, limit: u64) -> Result<Written, WriteError<E>>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut upload = Upload::new(self.objects.clone(), self.place(object), self.answer_within);
        let intake = match take(body, &mut upload, limit).await {
            Ok(intake) => intake,
            Err(error @ WriteError::Store(_)) => return Err(error),
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        self.publish(object, upload).await.map_err(WriteError::Store)?;
        intake.written()
    }

    /// Makes the object, even if nobody waits for it any more: half a request could take effect after the deletion
    /// that follows. What nobody waited for, or may be there or not, is deleted.
    async fn publish(&self, object: ObjectId, upload: Upload) -> Result<(), String> {
        let store = self.clone();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = upload.publish().await;
            let failed = outcome.is_err();
            if tell.send(outcome).is_err() || failed {
                store.delete(object).await.ok();
            }
        });
        told.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// The bytes of an object, or those in `range`, as they are read.
    ///
    /// # Errors
    /// If there is no such object, the range lies outside it, or the store fails.
    pub async fn read(
        &self,
        object: ObjectId,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, ReadError> {
        let options = GetOptions { range: range.map(Into::into), ..GetOptions::default() };
        let found = match timeout(self.answer_within, self.objects.get_opts(&self.place(object), options)).await {
            Ok(found) => found.map_err(|error| read_failed(&error))?,
            Err(_) => return Err(ReadError::Store(no_answer(self.answer_within))),
        };
        match found.payload {
            GetResultPayload::Stream(bytes) => Ok(in_time(bytes.map_err(io::Error::from).boxed(), self.answer_within)),
            GetResultPayload::File(file, _) => {
                let Range { start, end } = found.range;
                let mut file = tokio::fs::File::from_std(file);
                file.seek(SeekFrom::Start(start)).await.map_err(|error| ReadError::Store(error.to_string()))?;
                Ok(ReaderStream::with_capacity(file.take(end - start), READ_BYTES).boxed())
            }
        }
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// If it is not, or the store fails.
    pub async fn check(&self, object: ObjectId) -> Result<(), ReadError> {
        match timeout(self.answer_within, self.objects.head(&self.place(object))).await {
            Ok(found) => found.map(drop).map_err(|error| read_failed(&error)),
            Err(_) => Err(ReadError::Store(no_answer(self.answer_within))),
        }
    }

    /// Where the store itself hands out an object, for so long and with these headers, to whoever holds the URL; none
    /// if it is a folder. Asks the store nothing.
    ///
    /// # Errors
    /// If there are no keys to sign with.
    pub async fn link(
        &self,
        object: ObjectId,
        method: Method,
        fixed: Fixed<'_>,
        life: Duration,
    ) -> Result<Option<Url>, ReadError> {
        let Kind::Bucket(bucket) = &self.kind else { return Ok(None) };
        let link = within(self.answer_within, s3::link(bucket, &self.place(object), method, fixed, life)).await;
        link.map(Some).map_err(ReadError::Store)
    }

    /// Deletes an object, and what a crash has left of one that was being written. One that is not there is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, object: ObjectId) -> Result<(), String> {
        let place = self.place(object);
        match timeout(self.answer_within, self.objects.delete(&place)).await {
            Ok(Ok(()) | Err(object_store::Error::NotFound { .. })) => {}
            Ok(Err(error)) => return Err(said(&error)),
            Err(_) => return Err(no_answer(self.answer_within)),
        }
        // In a bucket such parts are left to its lifecycle rule: nothing here knows their upload.
        let Kind::Folder(folder) = &self.kind else { return Ok(()) };
        // A file that is being written bears the name of its object and `#1`.
        match tokio::fs::remove_file(folder.join(format!("{place}#1"))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// The path of an object: spread over [`FOLDERS`] by the id's end, since the beginning of a UUIDv7 is the time.
    fn place(&self, object: ObjectId) -> Path {
        let name = object.0.simple().to_string();
        self.prefix.clone().join(&name[name.len() - 1..]).join(format!("{name}.bin"))
    }
}

fn read_failed(error: &object_store::Error) -> ReadError {
    match error {
        object_store::Error::NotFound { .. } => ReadError::NotFound,
        error => ReadError::Store(said(error)),
    }
}

/// These bytes, or an error as soon as none have come for so long; a reader who takes their time is no error.
fn in_time(bytes: BoxStream<'static, io::Result<Bytes>>, limit: Duration) -> BoxStream<'static, io::Result<Bytes>> {
    stream::unfold(Some(bytes), move |bytes| async move {
        let mut bytes = bytes?;
        match timeout(limit, bytes.next()).await {
            Ok(next) => next.map(|next| (next, Some(bytes))),
            Err(elapsed) => Some((Err(elapsed.into()), None)),
        }
    })
    .boxed()
}

/// What a store says, for the log. The body of an answer stays out of it but for its code: it may quote signatures and
/// the names of keys.
fn said(error: &object_store::Error) -> String {
    const STATUS: &str = "status code: ";
    let text = error.to_string();
    let end = text.find(STATUS).map(|at| at + STATUS.len()).and_then(|at| Some(at + text[at..].find(": ")?));
    let end = end.or_else(|| text.find("error response: ")).or_else(|| text.find('<'));
    let Some((told, body)) = end.and_then(|end| text.split_at_checked(end)) else { return text };
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    match code {
        Some((code, _)) if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => format!("{told}, {code}"),
        _ => told.to_owned(),
    }
}

/// Makes the folder and those in it, and has them on disk before any file is. Made by uploads instead, a folder could
/// be seen by a second upload, which would then answer, before the first has it on disk.
fn prepare(folder: &std::path::Path) -> io::Result<PathBuf> {
    for digit in FOLDERS.chars() {
        fs::create_dir_all(folder.join(digit.to_string()))?;
    }
    let folder = folder.canonicalize()?;
    if cfg!(unix) {
        for changed in [Some(folder.as_path()), folder.parent()].into_iter().flatten() {
            File::open(changed)?.sync_all()?;
        }
    }
    Ok(folder)
}

/// What is known of a body so far.
struct Intake {
    size: u64,
    hash: digest::Context,
    head: Vec<u8>,
}

/// Passes a body on to the store, part by part: while the store takes one, the body waits.
async fn take<E>(
    body: impl Stream<Item = Result<Bytes, E>>,
    upload: &mut Upload,
    limit: u64,
) -> Result<Intake, WriteError<E>> {
    let mut body = pin!(body);
    let mut intake = Intake { size: 0, hash: digest::Context::new(&digest::SHA256), head: Vec::new() };
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(WriteError::Body)?;
        intake.add(&chunk);
        if intake.size > limit {
            return Err(WriteError::TooLarge);
        }
        upload.push(&chunk).await.map_err(WriteError::Store)?;
    }
    Ok(intake)
}

impl Intake {
    fn add(&mut self, chunk: &[u8]) {
        self.size += chunk.len() as u64;
        self.hash.update(chunk);
        let missing = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&chunk[..chunk.len().min(missing)]);
    }

    fn written<E>(self) -> Result<Written, WriteError<E>> {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.hash.finish().as_ref());
        let size = i64::try_from(self.size).map_err(|_| WriteError::TooLarge)?;
        Ok(Written { size, sha256, head: self.head })
    }
}

#[cfg(test)]
mod tests;
