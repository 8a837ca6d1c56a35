//! Backups: everything that a deployment must not lose, in one file that either database takes back.
//!
//! The file is a tar archive: what it is, the rows of all tables as JSON lines, the bytes of files, and the checksums
//! of all of these, last, as `sha256sum` writes them. It is the same whatever it was made from, so it is also the way
//! from SQLite to PostgreSQL and from a folder to S3.
//!
//! It is made beside a server that takes commands. All rows are of one snapshot. The bytes come after, from the store
//! itself: those of a message were there before it was committed and are never deleted.

mod archive;
mod contents;
mod make;
mod restore;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use make::{Source, make};
pub use restore::{renew_epoch, restore};

use crate::config::StartError;
use crate::domain::Timestamp;
use crate::error::Error;

/// What form archives have; another form gets another number.
const FORMAT: u32 = 1;
/// Files read or written at once. Each is in memory as a whole: 25 MiB at most.
const FILES_AT_ONCE: usize = 8;

/// Why it came to nothing: a sentence for whoever gave the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed(pub String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        Self(error.0)
    }
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        Self(format!("database: {error}"))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) | Error::Internal(why) => Self(format!("database: {why}")),
            other => Self(format!("database: {}", other.problem().detail)),
        }
    }
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many rows.
    Rows(u64),
    /// So many bytes of files, of so many.
    Files(u64, u64),
    /// So many bytes of the archive, of so many, are found whole.
    Checked(u64, u64),
}

/// Hears how far the work is.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Sync);

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows of `rooms`.
    pub rooms: u64,
    /// Rows of `messages`.
    pub messages: u64,
    /// Files whose bytes are in the archive.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last event in it, as a cursor: of the epoch that it was made in, or was restored to.
    pub cursor: String,
}

/// The first entry of an archive: what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The version of Haggle that made it.
    haggle: String,
    /// The migrations that had made the tables.
    schema: Vec<String>,
    made_at: Timestamp,
    epoch: String,
    /// The last position of the log.
    position: i64,
    /// Whether the bytes of files are in it.
    files: bool,
}
