//! A store in a folder; one in a bucket is played by `tests/it/s3.rs`.

use std::convert::Infallible;

use futures_util::FutureExt;
use futures_util::stream;
use tempfile::TempDir;
use uuid::Uuid;

use super::upload::PART_BYTES;
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

fn folder(store: &FileStore) -> &std::path::Path {
    match &store.kind {
        Kind::Folder(folder) => folder,
        Kind::Bucket(_) => unreachable!(),
    }
}

/// Every file in the store, whatever its name.
fn files(store: &FileStore) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder(store)).unwrap();
    folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
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
    std::mem::forget(store.objects.put_multipart(&store.place(OBJECT)).await.unwrap());
    assert_eq!(files(&store).len(), 2);
    store.delete(OBJECT).await.unwrap();
    assert!(files(&store).is_empty());
    store.delete(OBJECT).await.unwrap();
}

#[tokio::test]
async fn a_store_that_fails_says_so() {
    let (_folder, store) = store();
    let folder = folder(&store).join("b");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    assert!(matches!(store.write(OBJECT, body(&[b"x"]), 5).await, Err(WriteError::Store(_))));
    assert!(matches!(bytes(&store, None).await, Err(ReadError::Store(_))));
}
