//! One batch: decide each command on one in-memory state, insert in bulk, commit once, tell, answer.

use std::collections::{HashMap, HashSet};

use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::load;
use super::save::save;
use super::writer::WriterSettings;
use crate::domain::{Answered, Command, Entry, MessageId, Receipt, Refusal, World, decide};
use crate::error::{Error, Result};
use crate::store::{Conn, DbError};

/// A command and those who wait for its answer.
pub struct Waiting {
    pub command: Command,
    pub answer: Answer,
}

/// Where an answer goes.
pub enum Answer {
    One(oneshot::Sender<Result<Receipt>>),
    Many(Vec<oneshot::Sender<Result<Receipt>>>),
}

impl Answer {
    /// Answers all; whoever has gone away does not mind.
    pub fn send(self, result: impl Fn() -> Result<Receipt>) {
        match self {
            Self::One(one) => {
                let _ = one.send(result());
            }
            Self::Many(many) => {
                for one in many {
                    let _ = one.send(result());
                }
            }
        }
    }
}

/// The bytes of a command beside its text.
const COMMAND_BYTES: usize = 256;

impl Waiting {
    /// About how much this adds to a batch.
    pub fn bytes(&self) -> usize {
        let text = match &self.command {
            Command::SendMessage(send) => send.draft.content.as_str().len(),
            Command::CreateRoom(create) => create.draft.content.as_str().len(),
            _ => 0,
        };
        COMMAND_BYTES + text
    }

    /// Whether this must be a batch of its own.
    pub fn is_directory(&self) -> bool {
        matches!(self.command, Command::Directory(_))
    }
}

/// How a batch ended. Everyone has been answered but the unsure.
pub enum Outcome {
    /// The connection is good.
    Committed,
    /// The connection is not; these may or may not have been committed.
    ConnectionLost(Vec<Unsure>),
}

/// A command that may or may not have been committed.
pub struct Unsure {
    waiting: Waiting,
    decided: std::result::Result<Receipt, Refusal>,
}

impl Unsure {
    fn key(&self) -> Option<MessageId> {
        match (&self.waiting.command, &self.decided) {
            (Command::SendMessage(send), Ok(_)) => Some(send.key),
            (Command::CreateRoom(create), Ok(_)) => Some(create.key),
            _ => None,
        }
    }

    /// Answers, now that it is known (or not) which keys are in the database.
    pub fn answer(self, known: Option<&HashMap<MessageId, Answered>>) {
        let unknown = || Error::OutcomeUnknown("COMMIT was not answered".to_owned());
        let key = self.key();
        let Self { waiting, decided } = self;
        waiting.answer.send(|| match (&decided, key, known) {
            (Err(refusal), _, _) => Err(refusal.clone().into()),
            (Ok(Receipt::Sent { number, .. }), Some(key), Some(known))
                if known.get(&key).is_some_and(|answered| answered.number != *number) =>
            {
                // Another node has answered the same key meanwhile: asking again gives that answer.
                Err(unknown())
            }
            (Ok(receipt), Some(key), Some(known)) if known.contains_key(&key) => Ok(*receipt),
            (Ok(_), Some(_), Some(_)) => Err(Error::Unavailable("the commit did not take place".to_owned())),
            _ => Err(unknown()),
        });
    }
}

/// Which of these commands' messages are in the database.
///
/// The lock of the write transaction makes sure that the broken session is over.
pub async fn committed(conn: &Conn, unsure: &[Unsure]) -> std::result::Result<HashMap<MessageId, Answered>, DbError> {
    let keys: HashSet<MessageId> = unsure.iter().filter_map(Unsure::key).collect();
    conn.write(async |conn| load::answered(conn, &keys).await).await
}

/// What one transaction decided.
struct Decided {
    answers: Vec<std::result::Result<Receipt, Refusal>>,
    entries: Vec<Entry>,
}

/// Commits a batch and answers everyone in it.
pub async fn commit(conn: &Conn, settings: &WriterSettings, batch: Vec<Waiting>) -> Outcome {
    let (commands, answers): (Vec<Command>, Vec<Answer>) = batch.into_iter().map(|w| (w.command, w.answer)).unzip();
    let (failed, decided) = transact(conn, settings, &commands).await;
    let Some(failed) = failed else {
        settle(settings, answers, decided);
        return Outcome::Committed;
    };
    if failed.is_about_data() && commands.len() > 1 {
        return one_by_one(conn, settings, commands, answers).await;
    }
    tracing::warn!(error = %failed.error, in_commit = failed.in_commit, "batch failed");
    settings.stop_on_disk_failure(&failed);
    let waiting = commands.into_iter().zip(answers).map(|(command, answer)| Waiting { command, answer });
    if failed.in_commit && (matches!(conn, Conn::Postgres(_)) || failed.is_disk_failure()) {
        let decided = decided.answers.into_iter();
        return Outcome::ConnectionLost(
            waiting.zip(decided).map(|(waiting, decided)| Unsure { waiting, decided }).collect(),
        );
    }
    let about_data = failed.is_about_data();
    for one in waiting {
        one.answer.send(|| Err(nothing_done(about_data, &failed)));
    }
    let lost = matches!(conn, Conn::Postgres(_)) && !about_data;
    if lost { Outcome::ConnectionLost(Vec::new()) } else { Outcome::Committed }
}

fn nothing_done(about_data: bool, failed: &DbError) -> Error {
    if about_data { Error::Internal(failed.error.to_string()) } else { Error::Unavailable(failed.error.to_string()) }
}

/// A batch that the database refuses for its data is retried one by one, so that only the culprit fails.
async fn one_by_one(conn: &Conn, settings: &WriterSettings, commands: Vec<Command>, answers: Vec<Answer>) -> Outcome {
    let mut waiting = commands.into_iter().zip(answers);
    while let Some((command, answer)) = waiting.next() {
        let outcome = Box::pin(commit(conn, settings, vec![Waiting { command, answer }])).await;
        if let Outcome::ConnectionLost(unsure) = outcome {
            for (_, answer) in waiting {
                answer.send(|| Err(Error::Unavailable("the connection broke".to_owned())));
            }
            return Outcome::ConnectionLost(unsure);
        }
    }
    Outcome::Committed
}

/// Tells and answers. First the hub, then the sender: both are told of what is committed.
fn settle(settings: &WriterSettings, answers: Vec<Answer>, decided: Decided) {
    if !decided.entries.is_empty() {
        (settings.deliver)(decided.entries);
    }
    for (answer, decided) in answers.into_iter().zip(decided.answers) {
        answer.send(|| decided.clone().map_err(Error::from));
    }
}

/// The transaction. The decisions are returned also when it failed, for when COMMIT was not answered.
async fn transact(conn: &Conn, settings: &WriterSettings, commands: &[Command]) -> (Option<DbError>, Decided) {
    let mut decided = Decided { answers: Vec::new(), entries: Vec::new() };
    let slot = &mut decided;
    let loaded = async |conn: &Conn| load::world(conn, commands).await;
    let written = conn.write_after(loaded, async |conn, (mut world, head)| {
        let (answers, ledger) = decide_all(&mut world, head, settings, commands);
        slot.answers = answers;
        save(conn, &ledger, &world).await?;
        slot.entries = ledger.entries;
        Ok(())
    });
    (written.await.err(), decided)
}

fn decide_all(
    world: &mut World,
    head: i64,
    settings: &WriterSettings,
    commands: &[Command],
) -> (Vec<std::result::Result<Receipt, Refusal>>, Ledger) {
    let now = settings.clock.now();
    let mut ledger = Ledger::new(head, now);
    let decided = commands.iter().map(|command| {
        let (receipt, events) = decide(world, settings.rules, command, now)?;
        for event in &events {
            world.apply(event);
        }
        ledger.record(world, events);
        Ok(receipt)
    });
    (decided.collect(), ledger)
}
