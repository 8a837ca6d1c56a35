//! PostgreSQL through tokio-postgres: `= ANY` and `UNNEST`, so that each statement is prepared once for every size.

use std::collections::BTreeMap;
use std::time::SystemTime;

use haggle::clock::Clock;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};
use uuid::Uuid;

use super::{Crowd, Rows, Send, people, rooms, side};

const TABLES: &str = include_str!("../../migrations/postgres/2026-11-22-000000_init/up.sql");
/// The lock of Haggle's writers (`store/conn.rs`).
pub const LOCK: i64 = 0x4841_4747_4c45;

/// A session with a database in which everyone is.
pub struct Raw {
    client: Client,
    reads: Reads,
    writes: Writes,
}

struct Reads {
    rooms: Statement,
    users: Statement,
    companies: Statement,
    keys: Statement,
    head: Statement,
}

struct Writes {
    rooms: Statement,
    messages: Statement,
    participants: Statement,
    log: Statement,
}

impl Raw {
    /// Makes the tables in an empty database and puts everyone into them.
    pub async fn create(url: &str, crowd: &Crowd) -> Self {
        let client = connect(url).await;
        client.batch_execute(TABLES).await.expect("tables");
        furnish(&client, crowd).await;
        let reads = Reads {
            rooms: prepare(&client, "SELECT * FROM rooms WHERE id = ANY($1)").await,
            users: prepare(&client, "SELECT * FROM users WHERE id = ANY($1)").await,
            companies: prepare(&client, "SELECT * FROM companies WHERE id = ANY($1)").await,
            keys: prepare(
                &client,
                "SELECT id, from_user, room_id, number, fingerprint FROM messages WHERE id = ANY($1)",
            )
            .await,
            head: prepare(&client, "SELECT coalesce(max(position), 0) FROM log").await,
        };
        let writes = Writes {
            rooms: prepare(
                &client,
                "UPDATE rooms SET last_number = new.number, last_at = $4, last_position = new.position \
                 FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS new (id, number, position) \
                 WHERE rooms.id = new.id",
            )
            .await,
            messages: prepare(
                &client,
                "INSERT INTO messages SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], \
                 $5::text[], $6::text[], $7::jsonb[], $8::uuid[], $9::uuid[], $10::timestamptz[], $11::uuid[], \
                 $12::bigint[], $13::bytea[])",
            )
            .await,
            participants: prepare(
                &client,
                "INSERT INTO participants SELECT room_id, user_id, number, number, 0 \
                 FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS new (room_id, user_id, number) \
                 ON CONFLICT (room_id, user_id) \
                 DO UPDATE SET seen_till = excluded.seen_till, last_wrote = excluded.last_wrote",
            )
            .await,
            log: prepare(
                &client,
                "INSERT INTO log SELECT * FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], \
                 $6::bigint[], $7::uuid[], $8::timestamptz[])",
            )
            .await,
        };
        Self { client, reads, writes }
    }

    /// Reads and writes one batch in one transaction under the lock; the values it read.
    pub async fn commit(&self, crowd: &Crowd, sends: &[Send]) -> usize {
        self.begin().await;
        let (last, head, read) = self.read(crowd, sends).await;
        self.write(crowd, &Rows::new(sends, &last, head)).await;
        self.client.batch_execute("COMMIT").await.expect("a commit");
        read
    }

    /// Writes one batch in one transaction under the lock and reads nothing but numbers.
    pub async fn commit_unread(&self, crowd: &Crowd, sends: &[Send], last: &mut BTreeMap<usize, i64>, head: &mut i64) {
        let rows = Rows::new(sends, last, *head);
        self.begin().await;
        self.write(crowd, &rows).await;
        self.client.batch_execute("COMMIT").await.expect("a commit");
        last.extend(rows.rooms.iter().map(|(room, (number, _))| (*room, *number)));
        *head += i64::try_from(sends.len()).expect("a batch");
    }

    /// Runs statements as they are.
    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn begin(&self) {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
        self.client.batch_execute(&begin).await.expect("the lock");
    }

    async fn read(&self, crowd: &Crowd, sends: &[Send]) -> (BTreeMap<usize, i64>, i64, usize) {
        let of: BTreeMap<Uuid, usize> = rooms(sends).into_iter().map(|room| (crowd.rooms[room].id, room)).collect();
        let ids: Vec<Id> = of.keys().copied().map(Id).collect();
        let found = self.client.query(&self.reads.rooms, &[&ids]).await.expect("rooms");
        let mut read = found.len();
        let last = found.iter().map(|row| {
            let Bytes(id) = row.get::<_, Bytes>(0);
            (of[&Uuid::from_bytes(id)], row.get::<_, i64>(4))
        });
        let last = last.collect();
        let ids: Vec<Id> = of.values().map(|room| Id(crowd.rooms[*room].company)).collect();
        for row in self.client.query(&self.reads.companies, &[&ids]).await.expect("companies") {
            read += (1..3).map(|column| row.get::<_, String>(column).len()).sum::<usize>();
        }
        let ids: Vec<Id> = people(sends).into_iter().map(|(room, seat)| Id(crowd.rooms[room].people[seat])).collect();
        for row in self.client.query(&self.reads.users, &[&ids]).await.expect("people") {
            read += (1..4).map(|column| row.get::<_, String>(column).len()).sum::<usize>();
        }
        let keys: Vec<Id> = sends.iter().map(|send| Id(send.key)).collect();
        read += self.client.query(&self.reads.keys, &[&keys]).await.expect("keys").len();
        let head = self.client.query_one(&self.reads.head, &[]).await.expect("the head").get(0);
        (last, head, read)
    }

    async fn write(&self, crowd: &Crowd, rows: &Rows<'_>) {
        let now = SystemTime::from(Clock::System.now().get());
        let run = async |statement: &Statement, values: &[&(dyn ToSql + Sync)]| {
            self.client.execute(statement, values).await.expect("rows are written");
        };
        let ids: Vec<Id> = rows.rooms.keys().map(|room| Id(crowd.rooms[*room].id)).collect();
        let (numbers, positions): (Vec<i64>, Vec<i64>) = rows.rooms.values().copied().unzip();
        run(&self.writes.rooms, &[&ids, &numbers, &positions, &now]).await;

        let of = |send: &Send| &crowd.rooms[send.room];
        let sends: Vec<&Send> = rows.messages.iter().map(|message| message.send).collect();
        let ids: Vec<Id> = sends.iter().map(|send| Id(of(send).id)).collect();
        let users: Vec<Id> = sends.iter().map(|send| Id(of(send).people[send.seat])).collect();
        let numbers: Vec<i64> = rows.messages.iter().map(|message| message.number).collect();
        let keys: Vec<Id> = sends.iter().map(|send| Id(send.key)).collect();
        let sides: Vec<&str> = sends.iter().map(|send| side(send.seat)).collect();
        let contents: Vec<&str> = sends.iter().map(|send| send.content.as_str()).collect();
        let fingerprints: Vec<&[u8]> = sends.iter().map(|send| send.fingerprint.as_slice()).collect();
        let (no_step, none) = (vec![None::<Id>; sends.len()], vec![None::<Id>; sends.len()]);
        let (versions, times) = (vec![0_i64; sends.len()], vec![now; sends.len()]);
        run(
            &self.writes.messages,
            &[
                &ids,
                &numbers,
                &keys,
                &users,
                &sides,
                &contents,
                &no_step,
                &none,
                &none,
                &times,
                &none,
                &versions,
                &fingerprints,
            ],
        )
        .await;

        let seats = rows.participants.keys();
        let in_room: Vec<Id> = seats.clone().map(|(room, _)| Id(crowd.rooms[*room].id)).collect();
        let who: Vec<Id> = seats.map(|(room, seat)| Id(crowd.rooms[*room].people[*seat])).collect();
        let wrote: Vec<i64> = rows.participants.values().copied().collect();
        run(&self.writes.participants, &[&in_room, &who, &wrote]).await;

        let positions: Vec<i64> = rows.messages.iter().map(|message| message.position).collect();
        let kinds = vec!["message"; sends.len()];
        let creators: Vec<Id> = sends.iter().map(|send| Id(of(send).people[0])).collect();
        let companies: Vec<Id> = sends.iter().map(|send| Id(of(send).company)).collect();
        run(&self.writes.log, &[&positions, &kinds, &ids, &creators, &companies, &numbers, &users, &times]).await;
    }
}

async fn prepare(client: &Client, sql: &str) -> Statement {
    client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// What Haggle's sessions are told of plans, as libpq's options.
pub const PLANS: &str = "-c enable_seqscan=off -c jit=off";

/// A session.
pub async fn connect(url: &str) -> Client {
    let mut config: Config = url.parse().expect("a URL");
    let (client, connection) = config.options(PLANS).connect(NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// Puts everyone into a database that has its tables.
pub async fn furnish(client: &Client, crowd: &Crowd) {
    let rooms = &crowd.rooms;
    let ids: Vec<Id> = rooms.iter().map(|room| Id(room.id)).collect();
    let companies: Vec<Id> = rooms.iter().map(|room| Id(room.company)).collect();
    let creators: Vec<Id> = rooms.iter().map(|room| Id(room.people[0])).collect();
    let people = rooms.iter().flat_map(|room| {
        room.people.iter().enumerate().map(|(seat, person)| (Id(*person), (seat > 0).then_some(Id(room.company))))
    });
    let (people, employers): (Vec<Id>, Vec<Option<Id>>) = people.unzip();
    let run = async |sql: &str, values: &[&(dyn ToSql + Sync)]| {
        client.execute(sql, values).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    run("INSERT INTO companies SELECT id, 'Load 1-1', '' FROM unnest($1::uuid[]) AS new (id)", &[&companies]).await;
    run(
        "INSERT INTO users SELECT id, 'Seat', 'Load 1-1', '', employer, true, 1 \
         FROM unnest($1::uuid[], $2::uuid[]) AS new (id, employer)",
        &[&people, &employers],
    )
    .await;
    run(
        "INSERT INTO rooms SELECT id, company, creator, NULL, 1, now(), 0 \
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS new (id, company, creator)",
        &[&ids, &companies, &creators],
    )
    .await;
    client.batch_execute("ANALYZE").await.expect("statistics");
}

/// A UUID on PostgreSQL's wire: its 16 bytes. Stands for a null `jsonb`, too, of which none is written.
#[derive(Clone, Copy, Debug)]
struct Id(Uuid);

impl ToSql for Id {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + std::marker::Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::UUID | Type::JSONB)
    }

    to_sql_checked!();
}

/// The 16 bytes of a UUID, read.
struct Bytes([u8; 16]);

impl<'a> tokio_postgres::types::FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + std::marker::Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::UUID
    }
}
