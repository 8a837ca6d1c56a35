//! What the two queries that every client asks cost a processor (goal 7): 50 of a thousand rooms, and the newest 50 of
//! a million messages, on SQLite and PostgreSQL.
//!
//! Ours is `queries::rooms` or `queries::room` on a connection of the pool, with the answer serialised; then the same
//! over HTTP on a kept connection, where the whole server process is charged: HTTP, token, rate, routing, log line.
//! Theirs is `bare`: the same statements on the same driver, rows loaded and dropped, plus a finished answer
//! serialised. On SQLite there is a second comparison, told for its own sake: the same reads through SQLite's own
//! interface.
//!
//! Processor time is this process's, or the server's; PostgreSQL's own processes are not counted. The reader of rooms
//! is an employee of a company with a thousand, or a creator with a thousand at as many companies; the room that is
//! read is another each time, of 20,000. All of it is in the system's page cache.

mod bare;
mod support;

use std::time::{Duration, Instant};

use bare::{Bare, Embedded, Reader};
use diesel_async::SimpleAsyncConnection;
use haggle::app::App;
use haggle::clock::Clock;
use haggle::domain::{RoomId, UserId};
use haggle::queries::{self, RoomPage, RoomsPage};
use haggle::store::Conn;
use support::town::{self, CROWD, Town};
use support::{CLIENT_CPU, Client, Goal, Report, Row, SECRET, SERVER_CPU, Server, in_turn, is_short, median};
use support::{pin_self, postgres, rounds, usage};
use tokio::runtime::Runtime;

/// What is in the database.
const ROOMS: usize = 20_000;
const PER_ROOM: usize = 50;
/// How long one side is measured in a round: long beside the 10 ms to which a process's time is known, also when most
/// of it is waiting.
const ROUND: Duration = Duration::from_secs(1);
const ROUND_ON_POSTGRES: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    EmployeesRooms,
    CreatorsRooms,
    Room,
}

const ASKED: [(Ask, &str); 3] = [
    (Ask::EmployeesRooms, "list rooms, 50 of an employee's 1,000"),
    (Ask::CreatorsRooms, "list rooms, 50 of a creator's 1,000"),
    (Ask::Room, "query room, 50 of 1,000,000 messages"),
];

/// The URL, if it is a server's.
fn server(url: &str) -> Option<&str> {
    url.starts_with("postgres://").then_some(url)
}

/// A database with everything in it.
struct Place {
    town: Town,
    rooms: usize,
    folder: tempfile::TempDir,
    /// The file, or the server.
    url: String,
    runtime: Runtime,
}

impl Place {
    fn new(postgres: Option<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let rooms = if is_short() { 2 * CROWD } else { ROOMS };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = postgres.unwrap_or_else(|| folder.path().join("haggle.sqlite3").display().to_string());
        let mut town = Town::new();
        runtime.block_on(async {
            let store = town::open(&town::config(folder.path(), server(&url))).await;
            let conn = store.writer().await.expect("a connection");
            town.grow(&conn, 0..rooms, 0, PER_ROOM).await;
            // What PostgreSQL does by itself after a minute; nobody does it for SQLite.
            if let Conn::Postgres(session) = &conn {
                let mut conn = session.conn().expect("a session");
                conn.batch_execute("ANALYZE").await.expect("done");
            }
        });
        Self { town, rooms, folder, url, runtime }
    }

    fn postgres(&self) -> Option<&str> {
        server(&self.url)
    }

    fn round(&self) -> Duration {
        let round = if self.postgres().is_some() { ROUND_ON_POSTGRES } else { ROUND };
        if is_short() { round / 20 } else { round }
    }

    fn database(&self) -> &'static str {
        if self.postgres().is_some() { "PostgreSQL" } else { "SQLite" }
    }

    /// Who asks, and about which room: of every room its creator.
    fn next(&self, ask: Ask) -> (Reader, RoomId) {
        let room = if ask == Ask::Room { fastrand::usize(..self.rooms) } else { 0 };
        let user = match ask {
            Ask::EmployeesRooms => self.town.employee(0, 0),
            Ask::CreatorsRooms => self.town.creator(0),
            Ask::Room => self.town.creator(Town::pair(room).1),
        };
        let company = (ask == Ask::EmployeesRooms).then(|| self.town.company(0));
        (Reader { user, company }, self.town.room(room))
    }
}

/// The token of somebody who asks.
fn token(user: UserId) -> String {
    haggle::auth::mint(SECRET.as_bytes(), user, Duration::from_hours(1), Clock::System.now(), None, None)
}

/// Microseconds of processor that a process spends on each of some requests, one after the other.
fn per_request(round: Duration, pid: u32, mut request: impl FnMut()) -> f64 {
    let (began, before) = (Instant::now(), usage(pid).cpu_seconds);
    let mut requests = 0_u32;
    while began.elapsed() < round {
        request();
        requests += 1;
    }
    (usage(pid).cpu_seconds - before) * 1e6 / f64::from(requests)
}

/// One request in this process; the answer.
async fn ours(app: &App, ask: Ask, reader: Reader, room: RoomId) -> Vec<u8> {
    let conn = app.store.reader().await.expect("a connection");
    let view = app.view(Some(reader.user));
    if ask == Ask::Room {
        let found = queries::room(&conn, queries::Reader::User(reader.user), room, RoomPage::default(), &view).await;
        return serde_json::to_vec(&found.expect("a room")).expect("JSON");
    }
    let found = queries::rooms(&conn, reader.user, RoomsPage::default(), &view).await;
    serde_json::to_vec(&found.expect("rooms")).expect("JSON")
}

/// An answer that is serialised on the other side.
enum Answer {
    Rooms(haggle::wire::Rooms),
    Room(haggle::wire::DetailedRoom),
}

impl Answer {
    fn read(ask: Ask, body: &[u8]) -> Self {
        match ask {
            Ask::Room => Self::Room(serde_json::from_slice(body).expect("a room")),
            _ => Self::Rooms(serde_json::from_slice(body).expect("rooms")),
        }
    }

    fn write(&self) -> usize {
        let body = match self {
            Self::Rooms(rooms) => serde_json::to_vec(rooms),
            Self::Room(room) => serde_json::to_vec(room),
        };
        std::hint::black_box(body.expect("JSON")).len()
    }
}

/// One request without Haggle.
fn theirs(place: &Place, bare: &mut Bare, answer: &Answer, ask: Ask) {
    let (reader, room) = place.next(ask);
    let found = place
        .runtime
        .block_on(async { if ask == Ask::Room { bare.room(reader, room).await } else { bare.rooms(reader).await } });
    assert_eq!(found, PER_ROOM);
    answer.write();
}

fn compare(report: &mut Report, work: String, against: &str, goal: Goal, (ours, theirs): (Vec<f64>, Vec<f64>)) {
    // The first round warms up.
    let middle = |figures: &[f64]| median(&figures[1..]);
    report.row(Row {
        goal_number: "7",
        work,
        against: against.to_owned(),
        unit: "µs of processor",
        ours: middle(&ours),
        theirs: Some(middle(&theirs)),
        goal,
    });
}

const BARE: &str = "the same statements on the same driver, and JSON";

/// Without HTTP; one answer of each kind.
fn in_process(report: &mut Report, place: &Place) -> Vec<Answer> {
    let config = town::config(place.folder.path(), place.postgres());
    let app = place.runtime.block_on(Box::pin(App::start(config, Clock::System))).expect("it starts");
    let mut bare = place.runtime.block_on(Bare::open(&place.url));
    let embedded = place.postgres().is_none().then(|| Embedded::open(&place.url));
    let me = std::process::id();
    let mut answers = Vec::new();
    for (ask, what) in ASKED {
        let request = || {
            let (reader, room) = place.next(ask);
            place.runtime.block_on(ours(&app, ask, reader, room))
        };
        let answer = Answer::read(ask, &request());
        let measure = || per_request(place.round(), me, || drop(std::hint::black_box(request())));
        let both = in_turn(1 + rounds(4), measure, || {
            per_request(place.round(), me, || theirs(place, &mut bare, &answer, ask))
        });
        compare(report, format!("{what}, {}", place.database()), BARE, Goal::AtMost(1.5), both);
        if let Some(embedded) = &embedded {
            let floor = || {
                let (reader, room) = place.next(ask);
                let found = if ask == Ask::Room { embedded.room(reader, room) } else { embedded.rooms(reader) };
                assert_eq!(found, PER_ROOM);
                answer.write();
            };
            let both = in_turn(1 + rounds(3), measure, || per_request(place.round(), me, floor));
            let work = format!("{what}, {}", place.database());
            compare(report, work, "SQLite's own interface, and JSON", Goal::None, both);
        }
        answers.push(answer);
    }
    place.runtime.block_on(app.stop());
    answers
}

fn over_http(report: &mut Report, mut place: Place, answers: &[Answer]) {
    let url = place.postgres().map(str::to_owned);
    let settings: Vec<(&str, &str)> = url.iter().map(|url| ("HAGGLE_DATABASE_URL", url.as_str())).collect();
    let folder = std::mem::replace(&mut place.folder, tempfile::tempdir().expect("a temporary folder"));
    let server = Server::start_in(folder, SERVER_CPU, &settings);
    let mut client = Client::connect(&server.url).expect("it listens");
    let mut bare = place.runtime.block_on(Bare::open(&place.url));
    for ((ask, what), answer) in ASKED.into_iter().zip(answers) {
        let request = || {
            let (reader, room) = place.next(ask);
            let path = if ask == Ask::Room { format!("/v1/rooms/{room}") } else { "/v1/rooms".to_owned() };
            let (status, body) = client.get(&path, Some(&token(reader.user)));
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
        };
        let mut request = request;
        let both = in_turn(
            1 + rounds(4),
            || per_request(place.round(), server.pid(), &mut request),
            || per_request(place.round(), std::process::id(), || theirs(&place, &mut bare, answer, ask)),
        );
        compare(report, format!("{what}, {}, over HTTP", place.database()), BARE, Goal::AtMost(3.0), both);
    }
    drop(server);
}

fn main() {
    pin_self(CLIENT_CPU);
    let mut report = Report::new("queries");
    let server = Runtime::new().expect("a runtime").block_on(postgres::fresh_database());
    for postgres in std::iter::once(None).chain(server.map(Some)) {
        let place = Place::new(postgres);
        let answers = in_process(&mut report, &place);
        over_http(&mut report, place, &answers);
    }
    report.finish();
}
