//! Restoring a backup where there is nothing yet, and telling clients that their cursors mean nothing any more.

use std::path::Path;

use bytes::Bytes;
use diesel::QueryResult;
use diesel::result::Error as DieselError;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::archive::{self, Reader};
use super::contents::{Contents, Held};
use super::{FILES_AT_ONCE, Failed, Progress, Summary, Tell};
use crate::attachments::{FileStore, ReadError, WriteError};
use crate::clock::Clock;
use crate::config::{DatabaseUrl, FilePlace};
use crate::domain::{AttachmentId, Epoch};
use crate::store::{Conn, beside, dump, meta};

/// Objects that a store is asked for at once.
const ASKED_AT_ONCE: usize = 32;

/// Restores a backup into an empty database, and its files into their place. Nothing happens unless the whole archive
/// is sound; the database gets all rows, under a new epoch, or none.
///
/// # Errors
/// A sentence: a server runs, there are data already, the archive is damaged or of another version, a disk is full.
pub async fn restore(
    archive: &Path,
    database: &DatabaseUrl,
    files: &FilePlace,
    clock: &Clock,
    tell: Tell<'_>,
) -> Result<Summary, Failed> {
    let archive = Reader::open(archive)?;
    let alone = beside::alone(database).await?;
    require_empty(&alone.conn).await?;
    let schema = beside::schema(&alone.conn).await?;
    let contents = Contents::check(&archive, &schema, tell)?;
    let store = FileStore::open(files, clock).await.map_err(Failed)?;
    if contents.manifest.files {
        put_files(&archive, &contents, &store, tell).await?;
    } else {
        require_files(&contents, &store).await?;
    }
    let epoch = Epoch::from_random(clock.random_id());
    alone.conn.limit(dump::PAGE_WITHIN);
    let written = alone.conn.write(async |conn| put_rows(conn, &archive, &contents, &epoch, tell).await).await;
    written.map_err(|failed| Failed::from(failed.error))?;
    Ok(Summary {
        rooms: contents.rows("rooms"),
        messages: contents.rows("messages"),
        files: contents.files.len() as u64,
        bytes: contents.bytes(),
        cursor: epoch.at(contents.manifest.position).to_string(),
    })
}

/// Gives a database that was brought back in another way a new epoch, so that cursors which may be about another past
/// are answered `resync`. Returns the old epoch and the new one.
///
/// # Errors
/// A sentence: a server runs, or there is nothing to renew.
pub async fn renew_epoch(database: &DatabaseUrl, clock: &Clock) -> Result<(String, Epoch), Failed> {
    if let DatabaseUrl::Sqlite(path) = database {
        beside::require_file(path)?;
    }
    let alone = beside::alone(database).await?;
    let Some(old) = meta::get(&alone.conn, meta::EPOCH).await? else {
        return Err(Failed("no server has used this database yet: there is no epoch to renew".to_owned()));
    };
    let new = Epoch::from_random(clock.random_id());
    let written = alone.conn.write(async |conn| meta::set(conn, meta::EPOCH, new.as_str()).await).await;
    written.map_err(|failed| Failed::from(failed.error))?;
    Ok((old, new))
}

async fn require_empty(conn: &Conn) -> Result<(), Failed> {
    for table in dump::TABLES {
        if !dump::page(conn, table, None).await?.is_empty() {
            return Err(Failed(
                "there are data in this database already: a backup is restored into an empty one only".to_owned(),
            ));
        }
    }
    Ok(())
}

async fn put_files(archive: &Reader, contents: &Contents, store: &FileStore, tell: Tell<'_>) -> Result<(), Failed> {
    let mut tar = archive.tar()?;
    let entries = archive.entries(&mut tar, |name| archive::object_of(name).is_some())?;
    let writes = stream::iter(entries).map(async |entry| {
        let (name, bytes) = entry?;
        let file = archive::object_of(&name).and_then(|object| contents.files.get(&object));
        let file = file.ok_or_else(|| archive.damaged(format_args!("{name} has changed")))?;
        put_file(store, file, bytes).await
    });
    let mut writes = writes.buffer_unordered(FILES_AT_ONCE);
    let (mut done, all) = (0, contents.bytes());
    while let Some(bytes) = writes.try_next().await? {
        done += bytes;
        tell(Progress::Files(done, all));
    }
    Ok(())
}

async fn put_file(store: &FileStore, file: &Held, bytes: Vec<u8>) -> Result<u64, Failed> {
    let failed = |why: &str| Failed(format!("the file {} cannot be written: {why}", file.id));
    let size = bytes.len() as u64;
    let body = stream::iter([Ok::<_, Failed>(Bytes::from(bytes))]);
    match store.write(file.object, body, size).await {
        Ok(written) if (written.size, written.sha256) == (file.size, file.sha256.0) => Ok(size),
        Ok(_) => Err(failed("the archive has changed")),
        Err(WriteError::Store(why)) => Err(failed(&why)),
        Err(WriteError::Body(why)) => Err(why),
        Err(WriteError::TooLarge) => Err(failed("it is too large")),
    }
}

/// That files which are not in the archive are in their place already.
async fn require_files(contents: &Contents, store: &FileStore) -> Result<(), Failed> {
    let held = stream::iter(contents.absent.values().filter(|file| file.attached));
    let asked = held.map(async |file| match store.check(file.object).await {
        Ok(()) => Ok(0_u64),
        Err(ReadError::NotFound) => Ok(1),
        Err(ReadError::Store(why)) => Err(Failed(format!("the file {}: {why}", file.id))),
    });
    let missing: u64 = asked.buffer_unordered(ASKED_AT_ONCE).try_fold(0, async |sum, one| Ok(sum + one)).await?;
    if missing == 0 {
        return Ok(());
    }
    Err(Failed(format!(
        "this backup was made without files, and {missing} of them are not at HAGGLE_ATTACHMENTS_URL: bring them there \
         first"
    )))
}

async fn put_rows(
    conn: &Conn,
    archive: &Reader,
    contents: &Contents,
    epoch: &Epoch,
    tell: Tell<'_>,
) -> QueryResult<()> {
    let mut tar = archive.tar().map_err(undo)?;
    let mut rows = 0;
    for entry in archive.entries(&mut tar, |name| archive::table_of(name).is_some()).map_err(undo)? {
        let (name, lines) = entry.map_err(undo)?;
        let lines = String::from_utf8(lines).map_err(|error| undo(archive.damaged(error)))?;
        let table = archive::table_of(&name).unwrap_or_default();
        rows += dump::insert(conn, table, &lines).await? as u64;
        tell(Progress::Rows(rows));
    }
    if rows != contents.rows.values().sum::<u64>() {
        return Err(undo(archive.damaged("it has changed")));
    }
    // What no message held, and was deleted while the backup was made; without files in it nothing is known of them.
    if contents.manifest.files {
        let lost: Vec<AttachmentId> = contents.absent.values().map(|file| file.id).collect();
        dump::forget_files(conn, &lost).await?;
    }
    meta::set(conn, meta::EPOCH, epoch.as_str()).await?;
    beside::check(conn).await.map_err(|error| undo(error.into()))
}

/// What makes the transaction undo everything.
fn undo(failed: Failed) -> DieselError {
    DieselError::QueryBuilderError(Box::new(failed))
}
