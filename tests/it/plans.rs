//! Queries cost what their answer costs: they are counted, and their plans asked of SQLite, over many rooms.

use std::sync::{Arc, Mutex};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use diesel_async::AsyncConnection;
use haggle::domain::{CampaignId, CompanyId, RoomId, UserId};
use haggle::queries::{self, ContractPath, Reader, RoomPage, RoomsPage};
use haggle::store::Conn;
use haggle::store::log::{self, Audience};

use crate::harness::{Cast, Database, Server};

/// 1,000 creators with a room at Northwind each, and Kofi with a room at each of 1,000 companies: 25 messages in each,
/// in turns, with a contract that was proposed and accepted.
const SEED: &str = r#"
    CREATE TEMP TABLE n AS WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1000) SELECT n FROM n;
    INSERT INTO users SELECT CAST(printf('creator%09d', n) AS BLOB), 'C', 'T', '', NULL, 1, 1 FROM n;
    INSERT INTO companies SELECT CAST(printf('company%09d', n) AS BLOB), 'C', '' FROM n;
    INSERT INTO campaigns SELECT CAST(printf('campaign%08d', n) AS BLOB), CAST(printf('company%09d', n) AS BLOB), 'C', 1 FROM n;
    CREATE TEMP TABLE pair AS
        SELECT n, CAST(printf('room-n%010d', n) AS BLOB) AS room, :north AS company, :spring AS campaign,
            CAST(printf('creator%09d', n) AS BLOB) AS creator, :nora AS employee FROM n
        UNION ALL
        SELECT 1000 + n, CAST(printf('room-k%010d', n) AS BLOB), CAST(printf('company%09d', n) AS BLOB),
            CAST(printf('campaign%08d', n) AS BLOB), :kofi, :nora FROM n;
    CREATE TEMP TABLE post AS
        SELECT pair.*, m.n AS number, 100 + (m.n - 1) * 2000 + pair.n AS position,
            iif(m.n % 2, 'creator', 'company') AS side, iif(m.n % 2, creator, employee) AS author
        FROM n AS m JOIN pair WHERE m.n <= 25;
    INSERT INTO rooms SELECT room, company, creator, campaign, 25, 25, 100 + 24 * 2000 + n FROM pair;
    INSERT INTO messages SELECT room, number, CAST(printf('message%09d', position) AS BLOB), author, side, 'Hi',
        iif(number IN (2, 3), '{"type":"accepted_by_creator"}', NULL), NULL, NULL, number, campaign, 2, zeroblob(32) FROM post;
    INSERT INTO contract_changes SELECT room, campaign, iif(number = 2, 'proposed', 'accepted'), 100, number - 1, author,
        number, 0 FROM post WHERE number IN (2, 3);
    INSERT INTO contracts SELECT room, campaign, 'accepted', 100, 2, creator, 3, 0 FROM pair;
    INSERT INTO participants SELECT room, creator, 25, 25, 0 FROM pair UNION ALL SELECT room, employee, 24, 24, 7 FROM pair;
    INSERT INTO log SELECT position, iif(number = 1, 'room_created', 'message'), room, creator, company, number, author, number
        FROM post;
"#;

/// Every table, and what it is called in our own statements.
const TABLES: [&str; 15] = [
    "meta",
    "companies",
    "users",
    "campaigns",
    "rooms",
    "attachments",
    "uploads",
    "messages",
    "contracts",
    "contract_changes",
    "participants",
    "log",
    "p",
    "r",
    "u",
];

/// A server on SQLite with a great deal in its database.
async fn crowded() -> (Server, Cast) {
    let server = Server::start(&Database::Sqlite).await;
    let cast = server.cast().await;
    let mut sql = SEED.to_owned();
    for (name, id) in
        [("north", cast.north), ("spring", cast.spring), ("nora", cast.nora.id()), ("kofi", cast.kofi.id())]
    {
        sql = sql.replace(&format!(":{name}"), &format!("x'{}'", id.simple()));
    }
    on_database(&server, |conn| conn.batch_execute(&sql).expect("the rows fit the tables"));
    (server, cast)
}

fn on_database<T>(server: &Server, work: impl FnOnce(&mut SqliteConnection) -> T) -> T {
    let path = server.app.config.data_dir.join("haggle.sqlite3");
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).expect("the file is a database");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("a setting");
    work(&mut conn)
}

/// The statements that `work` runs, as they were sent.
async fn statements(server: &Server, work: impl AsyncFnOnce(&Conn)) -> Vec<String> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let conn = server.app.store.reader().await.expect("a connection");
    let Conn::Sqlite(inner) = &conn else { panic!("SQLite was asked for") };
    let record = sent.clone();
    inner.lock().await.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            record.lock().unwrap().push(query.to_string());
        }
    });
    work(&conn).await;
    inner.lock().await.set_instrumentation(|_: InstrumentationEvent<'_>| {});
    let sent = sent.lock().unwrap();
    sent.iter().map(|sql| sql.split(" -- binds:").next().unwrap_or(sql).to_owned()).collect()
}

async fn list(server: &Server, user: UserId, limit: usize) -> (Vec<String>, usize) {
    let mut found = 0;
    let statements = statements(server, async |conn| {
        let page = RoomsPage { limit, cursor: None };
        let rooms = queries::rooms(conn, user, page, &server.app.view(Some(user))).await.expect("a page");
        found = rooms.rooms.len();
    });
    (statements.await, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_rooms_takes_as_many_statements_for_one_room_as_for_a_thousand() {
    let (server, cast) = crowded().await;
    cast.ada.open_room(cast.lumen, "Hi!").await;
    for (few, many) in [(&cast.ada, &cast.kofi), (&cast.luca, &cast.nora)] {
        let (one, found) = list(&server, UserId(few.id()), 200).await;
        assert_eq!(found, 1);
        for limit in [1, 50, 200] {
            let (thousand, found) = list(&server, UserId(many.id()), limit).await;
            assert_eq!((thousand.len(), found), (one.len(), limit), "{thousand:#?}");
        }
    }
    let rooms = cast.nora.rooms().await;
    assert_eq!((rooms["rooms"].as_array().unwrap().len(), &rooms["new_messages_total"]), (50, &1_000.into()));
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

fn plan(conn: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let steps: Vec<Step> = sql_query(format!("EXPLAIN QUERY PLAN {statement}")).load(conn).expect("a plan");
    steps.into_iter().map(|step| step.detail).collect()
}

/// Whether a step reads a whole table, or sorts what an index should have given in order.
fn is_costly(step: &str) -> bool {
    let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
    scanned.is_some_and(|name| TABLES.contains(&name)) || step.starts_with("USE TEMP B-TREE FOR")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_reads_a_whole_table_or_sorts() {
    let (server, cast) = crowded().await;
    let (nora, kofi, north) = (UserId(cast.nora.id()), UserId(cast.kofi.id()), CompanyId(cast.north));
    let id = |text: &[u8; 16]| uuid::Uuid::from_bytes(*text);
    let room = RoomId(id(b"room-n0000000007"));
    let view = server.app.view(Some(nora));
    let mut all = list(&server, nora, 200).await.0;
    all.extend(list(&server, kofi, 200).await.0);
    let rest = statements(&server, async |conn| {
        for before in [None, Some(20_i64.try_into().unwrap())] {
            let page = RoomPage { quantity: 10, before };
            let room = queries::room(conn, Reader::User(nora), room, page, &view).await.expect("a room");
            assert_eq!(room.messages.len(), 10);
        }
        let path = ContractPath { room_id: room, campaign_id: CampaignId(cast.spring) };
        let history = queries::history(conn, Reader::Service, path, &view).await.expect("a history");
        assert_eq!(history.changes.len(), 2);
        for audience in [Audience::Everything, Audience::Of(nora, Some(north)), Audience::Of(kofi, None)] {
            let entries = log::entries(conn, audience, 5_000, 40_000, 200).await.expect("entries");
            assert_eq!(entries.len(), 200);
            assert_eq!(log::count(conn, audience, 5_000, 10_001).await.expect("a count"), 10_001);
        }
    });
    all.extend(rest.await);
    let selects: Vec<&String> = all.iter().filter(|sql| sql.starts_with("SELECT")).collect();
    assert!(selects.len() > 30, "{all:#?}");
    let costly = on_database(&server, |conn| {
        assert!(plan(conn, "SELECT * FROM log ORDER BY at").iter().all(|step| is_costly(step)), "the test can see");
        let steps = |sql: &&String| (plan(conn, sql), (*sql).clone());
        selects.iter().map(steps).filter(|(steps, _)| steps.iter().any(|step| is_costly(step))).collect::<Vec<_>>()
    });
    assert!(costly.is_empty(), "{costly:#?}");
}
