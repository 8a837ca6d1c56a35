//! `haggle backup`, `haggle restore` and `haggle epoch renew`.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use haggle::backup::{Progress, Source, Summary, make, renew_epoch, restore};
use haggle::config::Place;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;
use time::macros::format_description;

use super::serve::{start_log, stop_on_signal};
use super::{CLOCK, Failed, say};

/// What is backed up, and where to.
#[derive(Args)]
pub struct BackupArgs {
    /// The archive to write, or a folder to write one into, named by the time; a file that is there is never replaced
    into: PathBuf,
    /// Leave the bytes of files out: their folder or bucket is kept safe in another way
    #[arg(long)]
    without_files: bool,
    #[command(flatten)]
    place: Place,
}

/// What is restored, and where to.
#[derive(Args)]
pub struct RestoreArgs {
    /// The archive
    archive: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// What is done with the epoch.
#[derive(Args)]
pub struct EpochArgs {
    #[command(subcommand)]
    command: EpochCommand,
}

#[derive(Subcommand)]
enum EpochCommand {
    /// Make every cursor given out so far be answered `resync`, after a database was brought back by other means than
    /// `haggle restore`
    Renew(Place),
}

/// Writes a backup. It gets its name when it is whole.
pub async fn backup(args: BackupArgs) -> Result<(), Failed> {
    start_log("warn", "text")?;
    let target = target(args.into)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", target.display());
    let files = if args.without_files { None } else { Some(args.place.files()?) };
    let source = Source { database: args.place.database()?, files };
    let unnamed = tempfile::Builder::new().prefix(".haggle-backup-").tempfile_in(folder);
    let unnamed = unnamed.map_err(|error| failed(&error))?;
    let (bar, stop) = (Bar::new(), stop_on_signal()?);
    let into = unnamed.reopen().map_err(|error| failed(&error))?;
    let tell = |progress| bar.show(progress);
    let made = stop.run_until_cancelled(Box::pin(make(&source, into, &CLOCK, &tell))).await;
    bar.end();
    let summary = made.unwrap_or_else(|| Err(haggle::backup::Failed("interrupted; there is no backup".to_owned())))?;
    name(unnamed, &target).map_err(|error| failed(&error))?;
    say(&format!("Backed up to {}: {}, up to {}.", target.display(), what(&summary), summary.cursor));
    Ok(())
}

/// Restores a backup.
pub async fn put_back(args: RestoreArgs) -> Result<(), Failed> {
    start_log("warn", "text")?;
    let (database, files) = (args.place.database()?, args.place.files()?);
    args.place.make_folder()?;
    let bar = Bar::new();
    let restored = restore(&args.archive, &database, &files, &CLOCK, &|progress| bar.show(progress)).await;
    bar.end();
    let summary = restored?;
    say(&format!(
        "Restored {}. Cursors begin at {}; all older ones will be answered resync.",
        what(&summary),
        summary.cursor
    ));
    Ok(())
}

/// Does something with the epoch.
pub async fn epoch(args: EpochArgs) -> Result<(), Failed> {
    let EpochCommand::Renew(place) = args.command;
    let (old, new) = renew_epoch(&place.database()?, &CLOCK).await?;
    say(&format!("The epoch was {old} and is {new}: all cursors given out so far will be answered resync."));
    Ok(())
}

/// The file to make.
fn target(into: PathBuf) -> Result<PathBuf, Failed> {
    let target = if into.is_dir() {
        let name = format_description!("haggle-[year]-[month]-[day]T[hour][minute][second]Z.tar");
        into.join(CLOCK.now().get().format(name)?)
    } else {
        into
    };
    if target.exists() {
        return Err(format!("{} is there already and is not replaced", target.display()).into());
    }
    Ok(target)
}

/// Gives a file that is on the disk its name, and waits until that is on the disk too.
fn name(unnamed: NamedTempFile, target: &Path) -> std::io::Result<()> {
    let folder = unnamed.path().parent().map(Path::to_owned).unwrap_or_default();
    unnamed.persist_noclobber(target).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn what(summary: &Summary) -> String {
    let some = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let [rooms, messages, files] = [(summary.rooms, "room"), (summary.messages, "message"), (summary.files, "file")]
        .map(|(n, what)| some(n, what));
    format!("{rooms}, {messages}, {files} ({})", HumanBytes(summary.bytes))
}

/// How far it is, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {msg}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn show(&self, progress: Progress) {
        let bar = &self.0;
        let of = |what: &str, done: u64, all: u64| {
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(format!("{what}, {} of {}", HumanBytes(done), HumanBytes(all)));
        };
        match progress {
            Progress::Rows(rows) => {
                bar.unset_length();
                bar.set_message(format!("{rows} rows"));
            }
            Progress::Files(done, all) => of("files", done, all),
            Progress::Checked(done, all) => of("checking", done, all),
        }
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
