//! What is in an archive, once all of it was found whole.

use std::collections::HashMap;

use super::archive::{self, MANIFEST, Reader, SUMS};
use super::{FORMAT, Failed, Manifest, Progress, Tell};
use crate::domain::{AttachmentId, Fingerprint, ObjectId};
use crate::store::rows::AttachmentRow;

/// A file, as its row has it.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Its public id.
    pub id: AttachmentId,
    /// Where its bytes are.
    pub object: ObjectId,
    /// Bytes.
    pub size: i64,
    /// Of the bytes.
    pub sha256: Fingerprint,
    /// Whether a message holds it: then its bytes are never deleted.
    pub attached: bool,
}

impl From<AttachmentRow> for Held {
    fn from(row: AttachmentRow) -> Self {
        let AttachmentRow { id, object, size, sha256, room_id, .. } = row;
        Self { id, object, size, sha256, attached: room_id.is_some() }
    }
}

impl Held {
    /// From its row, as an archive has it.
    pub fn read(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str::<AttachmentRow>(line).map(Self::from)
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    /// Whether these are its bytes.
    pub fn is(&self, bytes: &[u8]) -> bool {
        i64::try_from(bytes.len()) == Ok(self.size) && archive::sha256(bytes) == self.sha256.0
    }
}

/// What is in an archive.
pub struct Contents {
    pub manifest: Manifest,
    /// Rows of each table.
    pub rows: HashMap<String, u64>,
    /// Files whose bytes are in the archive.
    pub files: HashMap<ObjectId, Held>,
    /// Files whose bytes are not.
    pub absent: HashMap<ObjectId, Held>,
}

impl Contents {
    /// How many rows a table has.
    pub fn rows(&self, table: &str) -> u64 {
        self.rows.get(table).copied().unwrap_or(0)
    }

    /// Bytes of all files in the archive.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(Held::bytes).sum()
    }

    /// Reads the whole archive: every entry must have its checksum, and every file what its row says. Its tables must
    /// be those that `schema` makes.
    pub fn check(archive: &Reader, schema: &[String], tell: Tell<'_>) -> Result<Self, Failed> {
        let (mut sums, mut sums_found, mut seen) = (String::new(), false, 0);
        let mut tar = archive.tar()?;
        let mut entries = archive.entries(&mut tar, |_| true)?;
        let mut contents = Self::begin(archive, entries.next().transpose()?, schema, &mut sums)?;
        for entry in entries {
            let (name, bytes) = entry?;
            if sums_found {
                return Err(archive.damaged(format_args!("{name} comes after its end")));
            }
            if name == SUMS {
                sums_found = true;
                compare(archive, &bytes, &sums)?;
                continue;
            }
            sums.push_str(&archive::sum_line(&name, &bytes));
            contents.take(archive, &name, &bytes)?;
            seen += bytes.len() as u64;
            tell(Progress::Checked(seen, archive.length));
        }
        if !sums_found {
            return Err(archive.damaged("it ends too early"));
        }
        contents.require_files(archive)?;
        Ok(contents)
    }

    fn begin(
        archive: &Reader,
        first: Option<archive::Entry>,
        schema: &[String],
        sums: &mut String,
    ) -> Result<Self, Failed> {
        let Some((name, bytes)) = first.filter(|(name, _)| name == MANIFEST) else {
            return Err(archive.damaged(format_args!("it does not begin with {MANIFEST}")));
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| archive.damaged(error))?;
        if manifest.format != FORMAT || manifest.schema != schema {
            return Err(Failed(format!(
                "this backup was made by Haggle {}, whose tables were others: restore it with that version, then \
                 start this one",
                manifest.haggle
            )));
        }
        sums.push_str(&archive::sum_line(&name, &bytes));
        Ok(Self { manifest, rows: HashMap::new(), files: HashMap::new(), absent: HashMap::new() })
    }

    fn take(&mut self, archive: &Reader, name: &str, bytes: &[u8]) -> Result<(), Failed> {
        if let Some(table) = archive::table_of(name) {
            let lines = std::str::from_utf8(bytes).map_err(|error| archive.damaged(error))?.lines();
            if table == "attachments" {
                for line in lines.clone() {
                    let file = Held::read(line).map_err(|error| archive.damaged(error))?;
                    self.absent.insert(file.object, file);
                }
            }
            *self.rows.entry(table.to_owned()).or_default() += lines.count() as u64;
            return Ok(());
        }
        // The rows come first, so a file that is not known belongs to none.
        let known = archive::object_of(name).and_then(|object| self.absent.remove(&object));
        match known.filter(|file| file.is(bytes)) {
            Some(file) => {
                self.files.insert(file.object, file);
                Ok(())
            }
            None => Err(archive.damaged(format_args!("{name} is not what it should be"))),
        }
    }

    /// A file that no message held may have been deleted while the backup was made.
    fn require_files(&self, archive: &Reader) -> Result<(), Failed> {
        match self.absent.values().find(|file| file.attached && self.manifest.files) {
            None => Ok(()),
            Some(file) => Err(archive.damaged(format_args!("the bytes of the file {} are missing", file.id))),
        }
    }
}

/// That the checksums found are those of what was read.
fn compare(archive: &Reader, found: &[u8], sums: &str) -> Result<(), Failed> {
    let found = std::str::from_utf8(found).map_err(|error| archive.damaged(error))?;
    if found == sums {
        return Ok(());
    }
    let other = found.lines().zip(sums.lines()).find(|(found, sum)| found != sum).map(|(_, sum)| sum);
    let name = other.and_then(|line| line.split("  ").nth(1));
    Err(archive.damaged(match name {
        Some(name) => format!("{name} does not have its checksum"),
        None => "something in it is missing".to_owned(),
    }))
}
