//! Where the bytes of files are: an object store, which is a folder unless the settings say otherwise.
//!
//! An object appears as a whole or not at all, and a write that has answered is on disk: the message that names it
//! commits afterwards, so a message never points to nothing. The store keeps no list of what it holds; the rows of
//! the database do, and a row is there before the first byte.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;

use crate::domain::ObjectId;

/// How much of a file's beginning is kept for [`media_type`](super::media_type), in bytes: as far as formats hide
/// what tells them apart.
pub const HEAD_BYTES: usize = 64 * 1024;

/// What is handed to the store at once, in bytes: the least that S3 takes as a part.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// What is read from a local file at once, in bytes: each read is a hop to another thread.
const READ_BYTES: usize = 64 * 1024;

/// Files are spread over a folder for each hexadecimal digit: file systems find one among a million with ease, and a
/// new server starts at once.
const FOLDERS: &str = "0123456789abcdef";

/// The bytes of files; clones share it.
#[derive(Debug, Clone)]
pub struct FileStore {
    objects: Arc<dyn ObjectStore>,
    /// The folder, when the store is one.
    folder: Option<PathBuf>,
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
    /// A store in `folder`, which is made if it is not there. Blocks for some milliseconds: for the start only.
    ///
    /// # Errors
    /// If the folder cannot be made or written to disk.
    pub fn local(folder: &Path) -> io::Result<Self> {
        let folder = prepare(folder)?;
        let files = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self { objects: Arc::new(files), folder: Some(folder) })
    }

    /// Writes a body of at most `limit` bytes under a fresh id and says what it was. Beside the chunk that the body
    /// hands over, memory stays within two parts (10 MiB).
    ///
    /// When this answers, the object is on disk. If it is dropped before (a client has hung up), or fails, there is
    /// no object; only one dropped while it publishes a complete body may leave it to the sweep.
    ///
    /// # Errors
    /// Says whose fault it is; nothing is left behind.
    pub async fn write<S, E>(&self, object: ObjectId, body: S, limit: u64) -> Result<Written, WriteError<E>>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let upload = self.objects.put_multipart(&place(object)).await.map_err(store_failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let written = match take(body, &mut upload, limit).await {
            Ok(intake) => upload.finish().await.map_err(store_failed).and_then(|_| intake.written()),
            Err(error) => {
                // Should this fail, the object's row still has the sweep try again.
                upload.abort().await.ok();
                Err(error)
            }
        };
        if written.is_err() {
            self.delete(object).await.ok();
        }
        written
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
        let found = self.objects.get_opts(&place(object), options).await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => ReadError::NotFound,
            error => ReadError::Store(error.to_string()),
        })?;
        match found.payload {
            GetResultPayload::Stream(bytes) => Ok(bytes.map_err(io::Error::from).boxed()),
            GetResultPayload::File(file, _) => {
                let Range { start, end } = found.range;
                let mut file = tokio::fs::File::from_std(file);
                file.seek(SeekFrom::Start(start)).await.map_err(|error| ReadError::Store(error.to_string()))?;
                Ok(ReaderStream::with_capacity(file.take(end - start), READ_BYTES).boxed())
            }
        }
    }

    /// Deletes an object, and what a crash has left of one that was being written. One that is not there is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, object: ObjectId) -> Result<(), String> {
        match self.objects.delete(&place(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        // A file that is being written bears the name of its object and `#1`.
        match tokio::fs::remove_file(folder.join(format!("{}#1", place(object)))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

/// The path of an object: spread over [`FOLDERS`] by the id's end, since the beginning of a UUIDv7 is the time.
fn place(object: ObjectId) -> object_store::path::Path {
    let name = object.0.simple().to_string();
    object_store::path::Path::from(format!("{}/{name}.bin", &name[name.len() - 1..]))
}

/// Makes the folder and those in it, and has them on disk before any file is. Made by uploads instead, a folder could
/// be seen by a second upload, which would then answer, before the first has it on disk.
fn prepare(folder: &Path) -> io::Result<PathBuf> {
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

#[expect(clippy::needless_pass_by_value, reason = "what map_err calls takes its error by value")]
fn store_failed<E>(error: object_store::Error) -> WriteError<E> {
    WriteError::Store(error.to_string())
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
    upload: &mut WriteMultipart,
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
        upload.wait_for_capacity(1).await.map_err(store_failed)?;
        // Copies, since a kept chunk would hold on to the connection's whole read buffer.
        upload.write(&chunk);
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
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use futures_util::stream;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::attachments::STREAMED_BYTES;

    const OBJECT: ObjectId = ObjectId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_00ab));

    fn store() -> (TempDir, FileStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::local(&folder.path().join("new/attachments")).unwrap();
        (folder, store)
    }

    fn body(chunks: &[&[u8]]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        stream::iter(chunks)
    }

    async fn bytes(store: &FileStore, range: Option<Range<u64>>) -> Result<Vec<u8>, ReadError> {
        Ok(store.read(OBJECT, range).await?.try_collect::<Vec<_>>().await.unwrap().concat())
    }

    /// Every file in the store, whatever its name.
    fn files(store: &FileStore) -> Vec<PathBuf> {
        let folders = fs::read_dir(store.folder.as_ref().unwrap()).unwrap();
        folders
            .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    }

    /// Lets what was handed to other threads end.
    async fn until_empty(store: &FileStore) {
        for _ in 0..1_000 {
            if files(store).is_empty() {
                return;
            }
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
        panic!("left behind: {:?}", files(store));
    }

    #[tokio::test]
    async fn what_was_written_is_read() {
        let (_folder, store) = store();
        let written = store.write(OBJECT, body(&[b"hel", b"", b"lo"]), 5).await.unwrap();
        assert_eq!((written.size, written.head.as_slice()), (5, b"hello".as_slice()));
        assert_eq!(written.sha256, digest::digest(&digest::SHA256, b"hello").as_ref());
        assert_eq!(bytes(&store, None).await.unwrap(), b"hello");
        assert_eq!(bytes(&store, Some(1..3)).await.unwrap(), b"el");
        assert_eq!(files(&store).len(), 1);
        assert!(files(&store)[0].ends_with("b/019900000000700080000000000000ab.bin"));
    }

    #[tokio::test]
    async fn an_empty_file_is_a_file() {
        let (_folder, store) = store();
        let written = store.write(OBJECT, body(&[]), 5).await.unwrap();
        assert_eq!((written.size, written.head.len()), (0, 0));
        assert_eq!(bytes(&store, None).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn large_files_pass_in_parts() {
        let (_folder, store) = store();
        let all: Vec<u8> = (0..2 * PART_BYTES + 12_345).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let chunks: Vec<_> = all.chunks(70_001).collect();
        let written = store.write(OBJECT, body(&chunks), STREAMED_BYTES).await.unwrap();
        assert_eq!(written.size, i64::try_from(all.len()).unwrap());
        assert_eq!(written.head, all[..HEAD_BYTES]);
        assert_eq!(written.sha256, digest::digest(&digest::SHA256, &all).as_ref());
        assert!(bytes(&store, None).await.unwrap() == all);
        let middle = PART_BYTES - 5..PART_BYTES + 100_000;
        let range = middle.start as u64..middle.end as u64;
        assert!(bytes(&store, Some(range)).await.unwrap() == all[middle]);
    }

    #[tokio::test]
    async fn over_the_limit_nothing_is_left() {
        let (_folder, store) = store();
        let part = vec![7; PART_BYTES];
        let limit = PART_BYTES as u64 + 1;
        let outcome = store.write(OBJECT, body(&[&part, b"ab"]), limit).await;
        assert!(matches!(outcome, Err(WriteError::TooLarge)));
        assert!(files(&store).is_empty());
        assert_eq!(bytes(&store, None).await, Err(ReadError::NotFound));
    }

    #[tokio::test]
    async fn a_broken_body_leaves_nothing() {
        let (_folder, store) = store();
        let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err("reset")]);
        assert!(matches!(store.write(OBJECT, broken, 100).await, Err(WriteError::Body("reset"))));
        assert!(files(&store).is_empty());
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_leaves_nothing() {
        let (_folder, store) = store();
        let part = vec![7; PART_BYTES + 1];
        let endless = body(&[&part]).chain(stream::pending());
        let mut write = Box::pin(store.write(OBJECT, endless, STREAMED_BYTES));
        while files(&store).is_empty() {
            assert!(write.as_mut().now_or_never().is_none());
        }
        drop(write);
        until_empty(&store).await;
        assert_eq!(bytes(&store, None).await, Err(ReadError::NotFound));
    }

    #[tokio::test]
    async fn what_a_crash_left_goes_with_the_object() {
        let (_folder, store) = store();
        store.write(OBJECT, body(&[b"whole"]), 5).await.unwrap();
        std::mem::forget(store.objects.put_multipart(&place(OBJECT)).await.unwrap());
        assert_eq!(files(&store).len(), 2);
        store.delete(OBJECT).await.unwrap();
        assert!(files(&store).is_empty());
        store.delete(OBJECT).await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_fails_says_so() {
        let (_folder, store) = store();
        let folder = store.folder.as_ref().unwrap().join("b");
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        assert!(matches!(store.write(OBJECT, body(&[b"x"]), 5).await, Err(WriteError::Store(_))));
        assert!(matches!(bytes(&store, None).await, Err(ReadError::Store(_))));
    }
}
