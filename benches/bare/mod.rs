//! The statements behind a query and nothing else, on the same driver: what is left when Haggle is taken away.
//!
//! They are the statements that Haggle sends, in the same order and on one snapshot, kept prepared wherever the driver
//! can; the rows are loaded and dropped. Nobody is asked whether they may read, no members are put in order, no link is
//! signed, no answer is put together: one that was made before is serialised.

mod embedded;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, QueryDsl, QueryableByName,
    SelectableHelper, sql_query,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use haggle::domain::{CompanyId, Number, RoomId, UserId};
use haggle::store::bulk::{Keep, in_few_sizes};
use haggle::store::rows::{AttachmentRow, CompanyRow, ContractRow, MessageRow, RoomRow, UserRow};
use haggle::store::schema::{attachments, companies, contracts, log, messages, participants, rooms, users};
use haggle::store::types::sql;

pub use embedded::Embedded;
pub use haggle::store::SqliteConn as Sqlite;

/// What a page holds.
pub const PAGE: i64 = 50;

/// Whose rooms, as whom.
#[derive(Clone, Copy)]
pub struct Reader {
    pub user: UserId,
    pub company: Option<CompanyId>,
}

/// A connection to either database.
pub enum Bare {
    Sqlite(Box<Sqlite>),
    Postgres(Box<AsyncPgConnection>),
}

#[derive(QueryableByName)]
#[expect(dead_code, reason = "loaded, and dropped")]
struct Pair {
    #[diesel(sql_type = sql::Uuid)]
    of: RoomId,
    #[diesel(sql_type = sql::Uuid)]
    is: UserId,
}

#[derive(QueryableByName)]
struct Total {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    total: i64,
}

type Listed = (RoomRow, MessageRow, Option<AttachmentRow>, Option<ContractRow>, Option<Number>);

const UNSEEN: &str = "SELECT CAST(COALESCE(SUM(r.last_number - COALESCE(p.seen_till, 0)), 0) AS BIGINT) AS total \
                      FROM rooms r LEFT JOIN participants p ON p.room_id = r.id AND p.user_id = $1";

const ACTIVE: &str = "SELECT p.room_id AS of, p.user_id AS is FROM participants p CROSS JOIN rooms r \
                      CROSS JOIN users u WHERE p.room_id = $ AND r.id = p.room_id AND u.id = p.user_id \
                      AND (p.last_wrote > 0 OR p.last_viewed > 0) \
                      AND (u.id = r.creator_id OR (u.active = TRUE AND u.company_id = r.company_id)) \
                      ORDER BY p.last_wrote DESC, p.last_viewed DESC, p.user_id LIMIT 21";

const STAFF: &str = "SELECT company_id AS of, id AS is FROM users WHERE company_id = $ AND active = TRUE \
                     ORDER BY id LIMIT 42";

/// The same statement for each of some parameters.
fn union(count: usize, part: &str) -> String {
    let parts = (1..=count).map(|n| format!("SELECT * FROM ({}) AS part{n}", part.replace("= $", &format!("= ${n}"))));
    let parts: Vec<String> = parts.collect();
    parts.join(" UNION ALL ").replace(" AS of,", " AS \"of\",").replace(" AS is ", " AS \"is\" ")
}

macro_rules! bare {
    ($name:ident, $conn:ty, $begin:literal) => {
        mod $name {
            use super::*;

            /// The statements of `GET /v1/rooms`.
            pub async fn rooms(c: &mut $conn, reader: Reader) -> usize {
                c.batch_execute($begin).await.expect("BEGIN");
                let _: UserRow =
                    users::table.find(reader.user).select(UserRow::as_select()).first(c).await.expect("one");
                macro_rules! page {
                    ($of:expr) => {{
                        let page: Vec<Listed> = rooms::table
                            .inner_join(
                                messages::table
                                    .on(messages::room_id.eq(rooms::id).and(messages::number.eq(rooms::last_number))),
                            )
                            .left_join(attachments::table.on(attachments::id.nullable().eq(messages::attachment_id)))
                            .left_join(
                                contracts::table.on(contracts::room_id
                                    .eq(rooms::id)
                                    .and(contracts::campaign_id.nullable().eq(rooms::selected_campaign_id))),
                            )
                            .left_join(
                                participants::table
                                    .on(participants::room_id.eq(rooms::id).and(participants::user_id.eq(reader.user))),
                            )
                            .filter(rooms::last_position.lt(i64::MAX))
                            .filter($of)
                            .order(rooms::last_position.desc())
                            .limit(PAGE + 1)
                            .select((
                                RoomRow::as_select(),
                                MessageRow::as_select(),
                                Option::<AttachmentRow>::as_select(),
                                Option::<ContractRow>::as_select(),
                                participants::seen_till.nullable(),
                            ))
                            .load(c)
                            .await
                            .expect("a page");
                        page
                    }};
                }
                let mut found = page!(rooms::creator_id.eq(reader.user));
                if let Some(company) = reader.company {
                    found.extend(page!(rooms::company_id.eq(company)));
                }
                found.truncate(PAGE.try_into().expect("small"));
                let ids: Vec<RoomId> = found.iter().map(|row| row.0.id).collect();
                let mut firms: Vec<CompanyId> = found.iter().map(|row| row.0.company_id).collect();
                firms.sort_unstable();
                firms.dedup();
                let authors = found.iter().flat_map(|row| [row.0.creator_id, row.1.from_user]);
                people(c, &ids, &firms, authors.collect()).await;
                head(c).await;
                let as_creator = format!("{UNSEEN} WHERE r.creator_id = $1");
                let query = sql_query(as_creator).bind::<sql::Uuid, _>(reader.user).kept();
                let mut unseen = query.get_result::<Total>(c).await.expect("a sum").total;
                if let Some(company) = reader.company {
                    let as_employee = format!("{UNSEEN} WHERE r.company_id = $2");
                    let query = sql_query(as_employee).bind::<sql::Uuid, _>(reader.user).bind::<sql::Uuid, _>(company);
                    unseen += query.kept().get_result::<Total>(c).await.expect("a sum").total;
                }
                assert!(unseen > 0);
                c.batch_execute("ROLLBACK").await.expect("ROLLBACK");
                found.len()
            }

            /// The statements of `GET /v1/rooms/{room_id}`.
            pub async fn room(c: &mut $conn, reader: Reader, room: RoomId) -> usize {
                c.batch_execute($begin).await.expect("BEGIN");
                let _: UserRow =
                    users::table.find(reader.user).select(UserRow::as_select()).first(c).await.expect("one");
                let room: RoomRow = rooms::table.find(room).select(RoomRow::as_select()).first(c).await.expect("one");
                let page: Vec<(MessageRow, Option<AttachmentRow>)> = messages::table
                    .left_join(attachments::table.on(attachments::id.nullable().eq(messages::attachment_id)))
                    .filter(messages::room_id.eq(room.id))
                    .filter(messages::number.le(room.last_number))
                    .order(messages::number.desc())
                    .limit(PAGE)
                    .select((MessageRow::as_select(), Option::<AttachmentRow>::as_select()))
                    .load(c)
                    .await
                    .expect("a page");
                let ids = people(c, &[room.id], &[room.company_id], vec![room.creator_id]).await;
                let _: Vec<(UserId, Number)> = participants::table
                    .filter(participants::room_id.eq(room.id))
                    .filter(participants::user_id.eq_any(in_few_sizes(&ids)))
                    .select((participants::user_id, participants::seen_till))
                    .kept()
                    .load(c)
                    .await
                    .expect("marks");
                let _: Vec<ContractRow> = contracts::table
                    .filter(contracts::room_id.eq(room.id))
                    .order(contracts::campaign_id)
                    .select(ContractRow::as_select())
                    .load(c)
                    .await
                    .expect("contracts");
                head(c).await;
                c.batch_execute("ROLLBACK").await.expect("ROLLBACK");
                page.len()
            }

            async fn people(c: &mut $conn, rooms: &[RoomId], firms: &[CompanyId], mut ids: Vec<UserId>) -> Vec<UserId> {
                let text = union(rooms.len(), ACTIVE);
                let query =
                    rooms.iter().fold(sql_query(text).into_boxed(), |query, id| query.bind::<sql::Uuid, _>(*id));
                let active: Vec<Pair> = query.kept().load(c).await.expect("members");
                let text = union(firms.len(), STAFF);
                let query =
                    firms.iter().fold(sql_query(text).into_boxed(), |query, id| query.bind::<sql::Uuid, _>(*id));
                let staff: Vec<Pair> = query.kept().load(c).await.expect("employees");
                let _: Vec<(Option<CompanyId>, i64)> = users::table
                    .filter(users::company_id.eq_any(in_few_sizes(firms)))
                    .filter(users::active.eq(true))
                    .group_by(users::company_id)
                    .select((users::company_id, diesel::dsl::count_star()))
                    .kept()
                    .load(c)
                    .await
                    .expect("totals");
                ids.extend(active.iter().chain(&staff).map(|pair| pair.is));
                ids.sort_unstable();
                ids.dedup();
                let known = users::table.filter(users::id.eq_any(in_few_sizes(&ids))).select(UserRow::as_select());
                let _: Vec<UserRow> = known.kept().load(c).await.expect("people");
                let known =
                    companies::table.filter(companies::id.eq_any(in_few_sizes(firms))).select(CompanyRow::as_select());
                let _: Vec<CompanyRow> = known.kept().load(c).await.expect("companies");
                ids
            }

            async fn head(c: &mut $conn) {
                let head: Option<i64> = log::table.select(diesel::dsl::max(log::position)).first(c).await.expect("one");
                assert!(head.is_some());
            }
        }
    };
}
bare!(sqlite, Sqlite, "BEGIN");
bare!(postgres, AsyncPgConnection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");

impl Bare {
    /// A connection set up as Haggle sets up its own: to a server, or to a file.
    pub async fn open(url: &str) -> Self {
        if url.starts_with("postgres://") {
            return Self::Postgres(Box::new(AsyncPgConnection::establish(url).await.expect("a session")));
        }
        let mut conn = Sqlite::establish(url).await.expect("a database");
        conn.batch_execute(PRAGMAS).await.expect("settings");
        Self::Sqlite(Box::new(conn))
    }

    /// See [`sqlite::rooms`].
    pub async fn rooms(&mut self, reader: Reader) -> usize {
        match self {
            Self::Sqlite(conn) => sqlite::rooms(conn, reader).await,
            Self::Postgres(conn) => postgres::rooms(conn, reader).await,
        }
    }

    /// See [`sqlite::room`].
    pub async fn room(&mut self, reader: Reader, room: RoomId) -> usize {
        match self {
            Self::Sqlite(conn) => sqlite::room(conn, reader, room).await,
            Self::Postgres(conn) => postgres::room(conn, reader, room).await,
        }
    }
}

/// As Haggle's readers are set up.
const PRAGMAS: &str = "PRAGMA busy_timeout = 250; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
                       PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456;";
