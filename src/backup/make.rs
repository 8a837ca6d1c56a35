//! Making a backup, beside a server that takes commands.

use std::fs::File;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::archive::{self, MANIFEST, Writer};
use super::contents::Held;
use super::{FILES_AT_ONCE, FORMAT, Failed, Manifest, Progress, Summary, Tell};
use crate::attachments::{FileStore, ReadError};
use crate::clock::Clock;
use crate::config::{DatabaseUrl, FilePlace};
use crate::domain::Epoch;
use crate::store::{Conn, beside, dump, log, meta};

/// What a backup is made of.
pub struct Source {
    /// The rows.
    pub database: DatabaseUrl,
    /// The bytes of files; none if they are kept safe in another way.
    pub files: Option<FilePlace>,
}

/// Writes a backup into an empty file. Everything that was acknowledged before this was called is in it, and when it
/// returns it is on the disk.
///
/// # Errors
/// A sentence: no database, one of another version, bytes that are gone or not those that were sent, a full disk.
pub async fn make(source: &Source, into: File, clock: &Clock, tell: Tell<'_>) -> Result<Summary, Failed> {
    let conn = beside::beside(&source.database).await?;
    let mut work = Work { archive: Writer::new(into, clock.now()), tell, rows: 0, held: Vec::new() };
    let copied = conn.read(async |conn| Ok(work.rows(conn, source.files.is_some(), clock).await)).await;
    let mut summary = copied??;
    drop(conn);
    if let Some(place) = &source.files {
        let store = FileStore::open(place, clock).await.map_err(Failed)?;
        work.files(&store, &mut summary).await?;
    }
    work.archive.finish()?;
    Ok(summary)
}

struct Work<'a> {
    archive: Writer,
    tell: Tell<'a>,
    rows: u64,
    held: Vec<Held>,
}

impl Work<'_> {
    /// What it is, and all rows, from one snapshot.
    async fn rows(&mut self, conn: &Conn, files: bool, clock: &Clock) -> Result<Summary, Failed> {
        let Some(epoch) = meta::get(conn, meta::EPOCH).await? else {
            return Err(Failed("no server has used this database yet: there is nothing to back up".to_owned()));
        };
        let position = log::head(conn).await?;
        let schema = beside::schema(conn).await?;
        let manifest = Manifest {
            format: FORMAT,
            haggle: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            made_at: clock.now(),
            epoch: epoch.clone(),
            position,
            files,
        };
        let text = serde_json::to_string_pretty(&manifest).map_err(|error| Failed(error.to_string()))?;
        self.archive.add(MANIFEST, format!("{text}\n").as_bytes())?;
        let mut summary = Summary { rooms: 0, messages: 0, files: 0, bytes: 0, cursor: cursor(&epoch, position)? };
        for &table in dump::TABLES {
            let rows = self.table(conn, table).await?;
            match table {
                "rooms" => summary.rooms = rows,
                "messages" => summary.messages = rows,
                _ => {}
            }
        }
        Ok(summary)
    }

    async fn table(&mut self, conn: &Conn, table: &str) -> Result<u64, Failed> {
        let (mut last, mut rows) = (None::<String>, 0);
        for page in 1.. {
            let mut lines = dump::page(conn, table, last.as_deref()).await?;
            if lines.is_empty() {
                break;
            }
            if table == "attachments" {
                for line in &lines {
                    self.held.push(Held::read(line).map_err(|error| Failed(error.to_string()))?);
                }
            }
            self.archive.add(&archive::rows_name(table, page), (lines.join("\n") + "\n").as_bytes())?;
            rows += lines.len() as u64;
            (self.tell)(Progress::Rows(self.rows + rows));
            last = lines.pop();
            // SQLite answers at once, always: whoever wants to interrupt this must get a turn.
            tokio::task::yield_now().await;
        }
        self.rows += rows;
        Ok(rows)
    }

    /// The bytes of all files that the rows name.
    async fn files(&mut self, store: &FileStore, summary: &mut Summary) -> Result<(), Failed> {
        let held = std::mem::take(&mut self.held);
        let all = held.iter().map(Held::bytes).sum();
        let fetched = stream::iter(held).map(async |file| fetch(store, file).await.map(|bytes| (file, bytes)));
        let mut fetched = fetched.buffered(FILES_AT_ONCE);
        while let Some((file, bytes)) = fetched.try_next().await? {
            let Some(bytes) = bytes else { continue };
            self.archive.add(&archive::file_name(file.object), &bytes)?;
            summary.files += 1;
            summary.bytes += bytes.len() as u64;
            (self.tell)(Progress::Files(summary.bytes, all));
        }
        Ok(())
    }
}

/// The bytes of a file; none if they were deleted since the snapshot, as happens to files that no message holds.
async fn fetch(store: &FileStore, file: Held) -> Result<Option<Vec<u8>>, Failed> {
    let failed = |why: &dyn std::fmt::Display| Failed(format!("the bytes of the file {}: {why}", file.id));
    let pieces = match store.read(file.object, None).await {
        Ok(pieces) => pieces,
        Err(ReadError::NotFound) if !file.attached => return Ok(None),
        Err(ReadError::NotFound) => return Err(failed(&"they are gone")),
        Err(ReadError::Store(why)) => return Err(failed(&why)),
    };
    let bytes = pieces.try_collect::<Vec<_>>().await.map_err(|error| failed(&error))?.concat();
    if file.is(&bytes) { Ok(Some(bytes)) } else { Err(failed(&"they are not those that were sent")) }
}

/// A cursor, as clients have it.
fn cursor(epoch: &str, position: i64) -> Result<String, Failed> {
    let epoch: Epoch = epoch.parse().map_err(|_| Failed("the epoch in the database cannot be read".to_owned()))?;
    Ok(epoch.at(position).to_string())
}
