//! The archive as a file: entries in, entries out, and the checksums at its end.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aws_lc_rs::digest;

use super::Failed;
use crate::domain::{ObjectId, Timestamp};

/// What it is; the first entry.
pub const MANIFEST: &str = "haggle-backup.json";
/// The checksums of all others, in the form of `sha256sum`; the last entry.
pub const SUMS: &str = "SHA256SUMS";
/// The largest entry there can be, in bytes, so that a mangled size does not fill the memory: a thousand rows with
/// 8,000 characters, each escaped, are below it, and so is a file.
const MAX_ENTRY: u64 = 256 * 1024 * 1024;
/// The longest name of an entry, in bytes: what fits in its header.
const MAX_NAME: usize = 100;
/// What is written at once, in bytes.
const BUFFER: usize = 1024 * 1024;

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

/// The line of an entry among the checksums.
pub fn sum_line(name: &str, bytes: &[u8]) -> String {
    format!("{}  {name}\n", hex::encode(sha256(bytes)))
}

/// The name of a page of rows.
pub fn rows_name(table: &str, page: usize) -> String {
    format!("rows/{table}.{page:06}.jsonl")
}

/// The table whose rows are in the entry of this name.
pub fn table_of(name: &str) -> Option<&str> {
    Some(name.strip_prefix("rows/")?.split_once('.')?.0)
}

/// The name of a file's bytes.
pub fn file_name(object: ObjectId) -> String {
    format!("files/{}.bin", object.0.simple())
}

/// The object whose bytes are in the entry of this name.
pub fn object_of(name: &str) -> Option<ObjectId> {
    name.strip_prefix("files/")?.strip_suffix(".bin")?.parse().ok()
}

/// Whether a name is as ours are. In what is damaged a name may be anything that an archive holds, even a key, and
/// names are told in sentences.
fn is_name(name: &str) -> bool {
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
    name.len() <= MAX_NAME && name.bytes().all(is_ours)
}

/// An archive that is being written.
pub struct Writer {
    tar: tar::Builder<BufWriter<File>>,
    sums: String,
    at: u64,
}

impl Writer {
    /// Into an empty file; the entries are of this moment.
    pub fn new(file: File, at: Timestamp) -> Self {
        let tar = tar::Builder::new(BufWriter::with_capacity(BUFFER, file));
        Self { tar, sums: String::new(), at: u64::try_from(at.seconds()).unwrap_or(0) }
    }

    /// Adds an entry.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failed> {
        self.sums.push_str(&sum_line(name, bytes));
        self.append(name, bytes).map_err(|error| Failed(format!("the archive cannot be written: {error}")))
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        self.tar.append_data(&mut header, name, bytes)
    }

    /// Adds the checksums. When this has returned, all of it is on the disk.
    pub fn finish(mut self) -> Result<(), Failed> {
        let sums = std::mem::take(&mut self.sums);
        let written = self.append(SUMS, sums.as_bytes()).and_then(|()| {
            let mut file = self.tar.into_inner()?;
            file.flush()?;
            file.get_ref().sync_all()
        });
        written.map_err(|error| Failed(format!("the archive cannot be written: {error}")))
    }
}

/// An archive that is read, as often as needed.
pub struct Reader {
    file: File,
    name: String,
    /// Bytes.
    pub length: u64,
}

/// An entry: its name and content.
pub type Entry = (String, Vec<u8>);

impl Reader {
    /// Opens an archive.
    pub fn open(path: &Path) -> Result<Self, Failed> {
        let name = path.display().to_string();
        let failed = |error: io::Error| Failed(format!("{name}: {error}"));
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self { file, name, length })
    }

    /// A sentence about what is wrong with it.
    pub fn damaged(&self, why: impl std::fmt::Display) -> Failed {
        Failed(format!("{} is damaged, or no backup of Haggle's: {why}", self.name))
    }

    /// From its beginning.
    pub fn tar(&self) -> Result<tar::Archive<&File>, Failed> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(|error| self.damaged(error))?;
        Ok(tar::Archive::new(file))
    }

    /// The entries of some names, in order; what lies between is skipped.
    pub fn entries<'a>(
        &'a self,
        tar: &'a mut tar::Archive<&'a File>,
        wanted: fn(&str) -> bool,
    ) -> Result<impl Iterator<Item = Result<Entry, Failed>>, Failed> {
        let entries = tar.entries_with_seek().map_err(|error| self.damaged(error))?;
        let named = entries.map(|entry| {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if is_name(&name) { Ok((name, entry)) } else { Err(io::Error::other("it has an entry with an odd name")) }
        });
        let wanted = named.filter(move |entry: &io::Result<_>| entry.as_ref().map_or(true, |(name, _)| wanted(name)));
        Ok(wanted.map(|entry| {
            let (name, mut entry) = entry.map_err(|error| self.damaged(error))?;
            let size = entry.size();
            if !entry.header().entry_type().is_file() || size > MAX_ENTRY {
                return Err(self.damaged(format_args!("{name} cannot be part of one")));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| self.damaged(error))?;
            if bytes.len() as u64 != size {
                return Err(self.damaged(format_args!("it ends in the middle of {name}")));
            }
            Ok((name, bytes))
        }))
    }
}
