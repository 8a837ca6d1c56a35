//! The same reads through SQLite's own interface, each statement prepared once: the floor under every driver.

use haggle::domain::RoomId;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::{PAGE, PRAGMAS, Reader};

/// One connection.
pub struct Embedded(Connection);

const PAGE_OF: &str = "SELECT r.*, m.*, c.*, p.seen_till FROM rooms r \
     JOIN messages m ON m.room_id = r.id AND m.number = r.last_number \
     LEFT JOIN attachments a ON a.id = m.attachment_id \
     LEFT JOIN contracts c ON c.room_id = r.id AND c.campaign_id = r.selected_campaign_id \
     LEFT JOIN participants p ON p.room_id = r.id AND p.user_id = ?1";

const MEMBERS: &str = "SELECT u.* FROM participants p CROSS JOIN rooms r CROSS JOIN users u \
     WHERE p.room_id = ?1 AND r.id = p.room_id AND u.id = p.user_id AND (p.last_wrote > 0 OR p.last_viewed > 0) \
     AND (u.id = r.creator_id OR (u.active = TRUE AND u.company_id = r.company_id)) \
     ORDER BY p.last_wrote DESC, p.last_viewed DESC, p.user_id LIMIT 21";

const UNSEEN: &str = "SELECT SUM(r.last_number - COALESCE(p.seen_till, 0)) FROM rooms r \
     LEFT JOIN participants p ON p.room_id = r.id AND p.user_id = ?1";

/// Every column of a row, as a program would take it: text and ids copied.
fn take(row: &Row<'_>) -> rusqlite::Result<Vec<rusqlite::types::Value>> {
    (0..row.as_ref().column_count()).map(|column| row.get(column)).collect()
}

impl Embedded {
    pub fn open(path: &str) -> Self {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database");
        conn.execute_batch(PRAGMAS).expect("settings");
        conn.set_prepared_statement_cache_capacity(64);
        Self(conn)
    }

    fn load(&self, text: &str, ids: &[&[u8]]) -> Vec<Vec<rusqlite::types::Value>> {
        let mut statement = self.0.prepare_cached(text).expect("a statement");
        let rows = statement.query_map(rusqlite::params_from_iter(ids), take).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }

    /// What `GET /v1/rooms` reads.
    pub fn rooms(&self, reader: Reader) -> usize {
        self.0.execute_batch("BEGIN").expect("BEGIN");
        let (user, company) = (*reader.user.0.as_bytes(), reader.company.map(|id| *id.0.as_bytes()));
        self.load("SELECT * FROM users WHERE id = ?1", &[&user]);
        let newest = format!("ORDER BY r.last_position DESC LIMIT {}", PAGE + 1);
        let mut found = self.load(&format!("{PAGE_OF} WHERE r.creator_id = ?1 {newest}"), &[&user]);
        self.load(&format!("{UNSEEN} WHERE r.creator_id = ?1"), &[&user]);
        if let Some(company) = company {
            found.extend(self.load(&format!("{PAGE_OF} WHERE r.company_id = ?2 {newest}"), &[&user, &company]));
            self.load(&format!("{UNSEEN} WHERE r.company_id = ?2"), &[&user, &company]);
        }
        found.truncate(PAGE.try_into().expect("small"));
        let id = |value: &rusqlite::types::Value| match value {
            rusqlite::types::Value::Blob(id) => id.clone(),
            _ => Vec::new(),
        };
        let mut firms: Vec<Vec<u8>> = found.iter().map(|row| id(&row[1])).collect();
        for room in &found {
            self.load(MEMBERS, &[&id(&room[0])]);
        }
        firms.sort_unstable();
        firms.dedup();
        for company in &firms {
            self.company(company);
        }
        self.load("SELECT max(position) FROM log", &[]);
        self.0.execute_batch("ROLLBACK").expect("ROLLBACK");
        found.len()
    }

    /// What `GET /v1/rooms/{room_id}` reads.
    pub fn room(&self, reader: Reader, room: RoomId) -> usize {
        self.0.execute_batch("BEGIN").expect("BEGIN");
        self.load("SELECT * FROM users WHERE id = ?1", &[reader.user.0.as_bytes()]);
        let id: &[u8] = room.0.as_bytes();
        let company: Vec<u8> = self
            .0
            .prepare_cached("SELECT company_id FROM rooms WHERE id = ?1")
            .and_then(|mut statement| statement.query_row(params![id], |row| row.get(0)))
            .expect("a room");
        let page = "SELECT * FROM messages m LEFT JOIN attachments a ON a.id = m.attachment_id \
                    WHERE m.room_id = ?1 ORDER BY number DESC LIMIT";
        let page = self.load(&format!("{page} {PAGE}"), &[id]);
        self.load(MEMBERS, &[id]);
        self.company(&company);
        self.load("SELECT * FROM participants WHERE room_id = ?1", &[id]);
        self.load("SELECT * FROM contracts WHERE room_id = ?1 ORDER BY campaign_id", &[id]);
        self.load("SELECT max(position) FROM log", &[]);
        self.0.execute_batch("ROLLBACK").expect("ROLLBACK");
        page.len()
    }

    fn company(&self, company: &[u8]) {
        self.load("SELECT * FROM users WHERE company_id = ?1 AND active = TRUE ORDER BY id LIMIT 42", &[company]);
        self.load("SELECT count(*) FROM users WHERE company_id = ?1 AND active = TRUE", &[company]);
        self.load("SELECT * FROM companies WHERE id = ?1", &[company]);
    }
}
