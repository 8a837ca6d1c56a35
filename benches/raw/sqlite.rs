//! SQLite through its C API (rusqlite): one statement a row, each prepared once and kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use haggle::clock::Clock;
use rusqlite::{Connection, params};

use crate::support::{CLIENT_CPU, pin_thread};

use super::{Crowd, Message, Room, Rows, Send, people, rooms, side};

const TABLES: &str = include_str!("../../migrations/sqlite/2026-11-22-000000_init/up.sql");
/// The writer's own (`store/sqlite.rs`).
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                       PRAGMA trusted_schema = OFF; PRAGMA wal_autocheckpoint = 0; \
                       PRAGMA journal_size_limit = 268435456; PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456; \
                       PRAGMA temp_store = MEMORY;";

/// A connection to a database, which is checkpointed as Haggle's is (`store/sqlite.rs`): once a second, on a thread of
/// its own.
pub struct Raw {
    conn: Connection,
    /// Ends the thread when it is dropped.
    _checkpoints: mpsc::Sender<()>,
}

impl Raw {
    /// A new one, in a file.
    pub fn create(path: &Path, crowd: &Crowd) -> Self {
        let mut raw = Self::open(path);
        raw.conn.execute_batch(TABLES).expect("tables");
        raw.furnish(crowd);
        raw
    }

    /// One that has its tables.
    pub fn open(path: &Path) -> Self {
        let conn = Connection::open(path).expect("SQLite opens");
        conn.execute_batch(PRAGMAS).expect("pragmas");
        conn.set_prepared_statement_cache_capacity(32);
        let (checkpoints, dropped) = mpsc::channel();
        let path = path.to_owned();
        std::thread::spawn(move || keep_checkpointing(&path, &dropped));
        Self { conn, _checkpoints: checkpoints }
    }

    /// Puts everyone into it.
    pub fn furnish(&mut self, crowd: &Crowd) {
        let furnishing = self.conn.transaction().expect("a transaction");
        crowd.rooms.iter().for_each(|room| furnish(&furnishing, room));
        furnishing.commit().expect("a commit");
    }

    /// Reads and writes one batch in one transaction; the bytes it read, so that no read is left out.
    pub fn commit(&mut self, crowd: &Crowd, sends: &[Send]) -> usize {
        self.run("BEGIN IMMEDIATE");
        let (last, read) = self.read(crowd, sends);
        let rows = Rows::new(sends, &last, self.head());
        self.write(crowd, &rows);
        self.run("COMMIT");
        read
    }

    /// Writes one batch in one transaction and reads nothing but numbers.
    pub fn commit_unread(&mut self, crowd: &Crowd, sends: &[Send], last: &mut BTreeMap<usize, i64>, head: &mut i64) {
        let rows = Rows::new(sends, last, *head);
        self.run("BEGIN IMMEDIATE");
        self.write(crowd, &rows);
        self.run("COMMIT");
        last.extend(rows.rooms.iter().map(|(room, (number, _))| (*room, *number)));
        *head += i64::try_from(sends.len()).expect("a batch");
    }

    fn run(&self, sql: &str) {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute(())).expect(sql);
    }

    fn head(&self) -> i64 {
        let mut head = self.conn.prepare_cached("SELECT max(position) FROM log").expect("a query");
        let head: Option<i64> = head.query_row((), |row| row.get(0)).expect("a row");
        head.unwrap_or(0)
    }

    fn read(&self, crowd: &Crowd, sends: &[Send]) -> (BTreeMap<usize, i64>, usize) {
        let prepare = |sql| self.conn.prepare_cached(sql).expect("a query");
        let mut of_room = prepare(
            "SELECT id, company_id, creator_id, selected_campaign_id, last_number, last_at, last_position \
             FROM rooms WHERE id = ?1",
        );
        let mut of_user = prepare(
            "SELECT id, given_name, family_name, logo_url, company_id, active, access_position \
             FROM users WHERE id = ?1",
        );
        let mut of_company = prepare("SELECT id, name, logo_url FROM companies WHERE id = ?1");
        let mut of_key = prepare("SELECT id, from_user, room_id, number, fingerprint FROM messages WHERE id = ?1");
        let (mut last, mut read) = (BTreeMap::new(), 0);
        for room in rooms(sends) {
            let found = of_room.query_row([crowd.rooms[room].id.as_bytes()], |row| {
                let ids: ([u8; 16], [u8; 16], [u8; 16], Option<[u8; 16]>) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let numbers: (i64, i64, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
                Ok((numbers, ids))
            });
            let (numbers, ids) = found.expect("a room");
            last.insert(room, numbers.0);
            read += size_of_val(&ids);
            let company = of_company.query_row([crowd.rooms[room].company.as_bytes()], texts::<2>);
            read += company.expect("a company");
        }
        for (room, seat) in people(sends) {
            let person = of_user.query_row([crowd.rooms[room].people[seat].as_bytes()], |row| {
                let rest: (Option<[u8; 16]>, bool, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
                Ok(texts::<3>(row)? + size_of_val(&rest))
            });
            read += person.expect("a person");
        }
        for send in sends {
            read += usize::from(of_key.exists([send.key.as_bytes()]).expect("an answer"));
        }
        (last, read)
    }

    fn write(&self, crowd: &Crowd, rows: &Rows<'_>) {
        let now = Clock::System.now().micros();
        let prepare = |sql| self.conn.prepare_cached(sql).expect("a statement");
        let mut room_row = prepare("UPDATE rooms SET last_number = ?2, last_at = ?3, last_position = ?4 WHERE id = ?1");
        let mut message_row =
            prepare("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
        let mut participant_row = prepare(
            "INSERT INTO participants VALUES (?1, ?2, ?3, ?3, 0) ON CONFLICT (room_id, user_id) \
             DO UPDATE SET seen_till = excluded.seen_till, last_wrote = excluded.last_wrote",
        );
        let mut log_row = prepare("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
        let none = None::<[u8; 16]>;
        for (room, (number, position)) in &rows.rooms {
            room_row.execute(params![crowd.rooms[*room].id.as_bytes(), number, now, position]).expect("a room");
        }
        for Message { send, number, .. } in &rows.messages {
            let (room, user) = (&crowd.rooms[send.room], crowd.rooms[send.room].people[send.seat].as_bytes());
            let (room, key, side) = (room.id.as_bytes(), send.key.as_bytes(), side(send.seat));
            let (step, content, version) = (None::<&str>, &send.content, 0);
            let row =
                params![room, number, key, user, side, content, step, none, none, now, none, version, send.fingerprint];
            message_row.execute(row).expect("a message");
        }
        for ((room, seat), number) in &rows.participants {
            let room = &crowd.rooms[*room];
            participant_row.execute(params![room.id.as_bytes(), room.people[*seat].as_bytes(), number]).expect("a row");
        }
        for Message { send, number, position } in &rows.messages {
            let room = &crowd.rooms[send.room];
            let (creator, user) = (room.people[0].as_bytes(), room.people[send.seat].as_bytes());
            let (id, company) = (room.id.as_bytes(), room.company.as_bytes());
            log_row.execute(params![position, "message", id, creator, company, number, user, now]).expect("a log row");
        }
    }
}

fn keep_checkpointing(path: &Path, dropped: &mpsc::Receiver<()>) {
    pin_thread(CLIENT_CPU);
    let wal = path.with_extension("db-wal");
    let conn = Connection::open(path).expect("SQLite opens");
    let run = |sql| conn.execute_batch(sql).expect(sql);
    run("PRAGMA busy_timeout = 100; PRAGMA synchronous = FULL");
    while dropped.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
        run("PRAGMA wal_checkpoint(PASSIVE)");
        if std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > 64 * 1024 * 1024) {
            run("PRAGMA wal_checkpoint(RESTART)");
        }
    }
}

/// The bytes of the texts from column 1 on, each read as a value of its own.
fn texts<const COLUMNS: usize>(row: &rusqlite::Row<'_>) -> rusqlite::Result<usize> {
    (1..=COLUMNS).map(|column| Ok(row.get::<_, String>(column)?.len())).sum()
}

fn furnish(conn: &Connection, room: &Room) {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        conn.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).expect(sql);
    };
    run("INSERT INTO companies VALUES (?1, 'Load 1-1', '')", &[room.company.as_bytes()]);
    for (seat, person) in room.people.iter().enumerate() {
        let employer = (seat > 0).then_some(room.company.as_bytes());
        run("INSERT INTO users VALUES (?1, 'Seat', 'Load 1-1', '', ?2, 1, 1)", &[person.as_bytes(), &employer]);
    }
    let (id, company, creator) = (room.id.as_bytes(), room.company.as_bytes(), room.people[0].as_bytes());
    run("INSERT INTO rooms VALUES (?1, ?2, ?3, NULL, 1, 0, 0)", &[id, company, creator]);
}
