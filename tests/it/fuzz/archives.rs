//! Archives that were spoilt on purpose, with checksums that fit, so that what is behind them is asked.

use std::io::Write;

use aws_lc_rs::digest::{SHA256, digest};

use super::NASTY;
use crate::backup::{Home, entries, small_backup, substance, text};
use crate::dice::Dice;
use crate::harness::{is_full, tell};

/// Archives in the short form, and in the full one.
const ARCHIVES: (usize, usize) = (40, 1_000);

/// `haggle restore` puts all of an archive back or refuses it in one sentence, whatever is in it, and after a refusal
/// the place is as empty as before.
///
/// To see it red: `expect` the text of rows in `Contents::take` in `src/backup/contents.rs`; or put the rows in without
/// a transaction in `restore` in `src/backup/restore.rs` (`conn.read` in place of `conn.write`); or let every name pass
/// in `is_name` in `src/backup/archive.rs`, and failures be told as they are in `run` in `src/cli/mod.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_archive_is_restored_or_refused_in_a_sentence() {
    let from = Home::sqlite();
    let archive = small_backup(&from).await;
    let whole = entries(&archive);
    let (mut dice, mut to) = (Dice::seeded(18), Home::sqlite());
    let (mut refused, mut restored) = (0, 0);
    let archives = if is_full() { ARCHIVES.1 } else { ARCHIVES.0 };
    for n in 0..archives {
        let spoilt = to.path("spoilt.tar");
        std::fs::write(&spoilt, spoil(whole.clone(), &mut dice)).expect("written");
        let output = to.run(&["restore", text(&spoilt)]).await;
        let error = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {
                restored += 1;
                to = Home::sqlite();
            }
            Some(1) => {
                refused += 1;
                assert!(error.starts_with("haggle: ") && error.lines().count() == 1, "archive {n}: {error}");
            }
            other => panic!("archive {n} ended it with {other:?}: {error}"),
        }
    }
    // The whole one still finds the place empty.
    to.done(&["restore", text(&archive)]).await;
    assert!(substance(&to.backup("again.tar").await) == substance(&archive));
    tell(
        "10 18",
        &format!("{archives} spoilt archives (seed 18)"),
        format!("{refused} refused in a sentence, {restored} whole"),
    );
    assert!(refused > archives / 2, "they are not spoilt well: {refused}");
}

/// An archive of these entries with some of them spoilt, and sometimes what holds them together.
fn spoil(mut entries: Vec<(String, Vec<u8>)>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.roll(2) {
        let at = dice.roll(entries.len());
        match dice.roll(8) {
            0 => drop(entries.remove(at)),
            1 => entries.insert(dice.roll(entries.len()), entries[at].clone()),
            2 => {
                let other = dice.roll(entries.len());
                entries.swap(at, other);
            }
            3 => (*dice.pick(&NAMES)).clone_into(&mut entries[at].0),
            _ => spoil_content(&mut entries[at].1, dice),
        }
        if entries.is_empty() {
            break;
        }
    }
    let sums: String = entries.iter().filter(|(name, _)| name != "SHA256SUMS").map(sum).collect();
    if let Some((_, old)) = entries.iter_mut().find(|(name, _)| name == "SHA256SUMS") {
        *old = sums.into_bytes();
    }
    let mut archive = tar(&entries, dice);
    match dice.roll(8) {
        0 => archive.truncate(dice.roll(archive.len())),
        1 => {
            let at = dice.roll(archive.len() / 512) * 512;
            archive.splice(at..at, vec![0; 512 * (1 + dice.roll(3))]);
        }
        _ => {}
    }
    archive
}

/// Names that lead elsewhere, or to nothing, or to what is another thing.
const NAMES: [&str; 12] = [
    "../../evil",
    "/etc/passwd",
    "rows/",
    "rows/rooms",
    "rows/nothing.000001.jsonl",
    "rows/meta.000002.jsonl",
    "rows/log.x.jsonl",
    "files/../../x.bin",
    "files/.bin",
    "files/00000000000000000000000000000000.bin",
    "SHA256SUMS",
    "haggle-backup.json",
];

/// What rows and manifests trip over, beside what requests do.
const VALUES: [&str; 12] = [
    "null",
    "true",
    "-9223372036854775808",
    "9223372036854775807",
    "1e999",
    "[]",
    "{}",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"ffffffff-ffff-ffff-ffff-ffffffffffff\"",
    "\"\\ud83d\\ude00\"",
];

fn spoil_content(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return bytes.push(b'{');
    }
    let at = dice.roll(bytes.len());
    let until = at + dice.roll((bytes.len() - at).min(24));
    match dice.roll(6) {
        0 => bytes[at] ^= 1 << dice.roll(8),
        1 => drop(bytes.drain(at..until)),
        2 => drop(bytes.splice(at..until, dice.pick(&NASTY).iter().copied())),
        3 => {
            // A line again: the same key twice, or a file that is there twice.
            let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
            bytes.extend(line);
        }
        _ => {
            // One value of a row by another.
            let colons: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b':').collect();
            if !colons.is_empty() {
                let from = dice.pick(&colons) + 1;
                let value = bytes[from..].iter().position(|byte| matches!(byte, b',' | b'}')).unwrap_or(0);
                bytes.splice(from..from + value, dice.pick(&VALUES).bytes());
            }
        }
    }
}

fn sum((name, bytes): &(String, Vec<u8>)) -> String {
    format!("{}  {name}\n", hex::encode(digest(&SHA256, bytes)))
}

/// A tar archive, some of its headers odd: other kinds of entries, sizes that are none, names that are too long.
fn tar(entries: &[(String, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        let field = &mut header.as_old_mut().name;
        field[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        if dice.roll(60) == 0 {
            let kinds =
                [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory, tar::EntryType::Char];
            header.set_entry_type(*dice.pick(&kinds));
        }
        match dice.roll(80) {
            0 => header.set_size(*dice.pick(&[0, 1, 1 << 40, u64::MAX])),
            1 => header.as_old_mut().size = *b"-0000000001\0",
            2 => header.as_old_mut().size = [0xff; 12],
            3 => header.set_entry_type(*dice.pick(&[tar::EntryType::XHeader, tar::EntryType::GNULongName])),
            4 => header.set_entry_type(*dice.pick(&[tar::EntryType::GNUSparse, tar::EntryType::XGlobalHeader])),
            _ => {}
        }
        header.set_cksum();
        if dice.roll(100) == 0 {
            header.as_mut_bytes()[148 + dice.roll(6)] ^= 1;
        }
        archive.write_all(header.as_bytes()).expect("a buffer");
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend_from_slice(&[0; 1_024]);
    archive
}
