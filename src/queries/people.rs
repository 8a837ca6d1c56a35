//! Who is in rooms: the most active members, found by index, however large a company is.

use std::collections::{HashMap, HashSet};

use diesel::dsl::count_star;
use diesel::pg::Pg;
use diesel::sqlite::Sqlite;
use diesel::{ExpressionMethods, QueryDsl, QueryResult, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use futures_util::join;
use uuid::Uuid;

use super::{PAGE_DEFAULT, PAGE_MAX, USERS_LISTED};
use crate::domain::{Company, CompanyId, Message, Profile, Room, RoomId, Side, User, UserId};
use crate::on;
use crate::store::bulk::{Keep, in_few_sizes};
use crate::store::schema::users;
use crate::store::types::sql;
use crate::store::{Conn, directory};

/// Enough of a room's most active members to list [`USERS_LISTED`] without the caller.
const ACTIVE: usize = USERS_LISTED + 1;
/// Enough of a company's employees to fill up a list of which [`ACTIVE`] may be taken.
const FILL: usize = 2 * ACTIVE;

/// How many parameters the statements of [`union`] have, which are kept prepared: one for a room, and what pages there
/// are. Few, so that a connection keeps few.
const SIZES: [usize; 4] = [1, 10, PAGE_DEFAULT, PAGE_MAX];

/// The members of some rooms, most active first, and everybody's names.
pub struct People {
    active: HashMap<RoomId, Vec<UserId>>,
    employees: HashMap<CompanyId, Vec<UserId>>,
    totals: HashMap<CompanyId, i64>,
    users: HashMap<UserId, User>,
    companies: HashMap<CompanyId, Company>,
}

#[derive(QueryableByName)]
struct ActiveRow {
    #[diesel(sql_type = sql::Uuid)]
    room_id: RoomId,
    #[diesel(sql_type = sql::Uuid)]
    user_id: UserId,
}

#[derive(QueryableByName)]
struct EmployeeRow {
    #[diesel(sql_type = sql::Uuid)]
    company_id: CompanyId,
    #[diesel(sql_type = sql::Uuid)]
    id: UserId,
}

/// Loads the people of some rooms, and the authors of some messages, in five queries.
///
/// # Errors
/// What the database said.
pub async fn people(conn: &Conn, rooms: &[Room], also: &[UserId]) -> QueryResult<People> {
    let room_ids: Vec<RoomId> = rooms.iter().map(|room| room.id).collect();
    let company_ids: HashSet<CompanyId> = rooms.iter().map(|room| room.company_id).collect();
    let company_ids: Vec<CompanyId> = company_ids.into_iter().collect();
    let (active, employees, totals) =
        join!(most_active(conn, &room_ids), first_employees(conn, &company_ids), count_employees(conn, &company_ids),);
    let (active, employees, totals) = (active?, employees?, totals?);
    let creators = rooms.iter().map(|room| room.creator_id);
    let listed = active.values().chain(employees.values()).flatten().copied();
    let ids: HashSet<UserId> = listed.chain(creators).chain(also.iter().copied()).collect();
    let users = directory::users(conn, &ids).await?;
    let worked_for = users.values().filter_map(|user| user.company_id);
    let ids: HashSet<CompanyId> = worked_for.chain(company_ids).collect();
    let companies = directory::companies(conn, &ids).await?;
    Ok(People { active, employees, totals, users, companies })
}

impl People {
    /// The members of `room`, most active first: by latest message, latest view, id.
    fn members(&self, room: &Room) -> Vec<UserId> {
        let active = self.active.get(&room.id).into_iter().flatten().copied();
        let mut rest: Vec<UserId> = self.employees.get(&room.company_id).into_iter().flatten().copied().collect();
        rest.push(room.creator_id);
        rest.sort_unstable();
        let mut seen = HashSet::new();
        active.chain(rest).filter(|id| seen.insert(*id)).collect()
    }

    /// At most [`USERS_LISTED`] members but `caller`, always with the author of the last message.
    #[must_use]
    pub fn listed(&self, room: &Room, caller: Option<UserId>, last: Option<&Message>) -> Vec<Profile> {
        let mut ids = self.members(room);
        if let Some(last) = last {
            ids.retain(|id| *id != last.from_user);
            ids.insert(0, last.from_user);
        }
        ids.retain(|id| Some(*id) != caller);
        ids.truncate(USERS_LISTED);
        ids.into_iter().filter_map(|id| self.profile(room, id, last)).collect()
    }

    /// The same with the caller, and everyone who wrote one of `messages`.
    #[must_use]
    pub fn listed_with(&self, room: &Room, caller: Option<UserId>, messages: &[Message]) -> Vec<Profile> {
        let mut ids = self.members(room);
        ids.truncate(USERS_LISTED);
        let authors = messages.iter().rev().map(|message| message.from_user);
        for id in caller.into_iter().chain(authors) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let wrote = |id: UserId| messages.iter().rev().find(|message| message.from_user == id);
        ids.into_iter().filter_map(|id| self.profile(room, id, wrote(id))).collect()
    }

    /// How many members `room` has.
    #[must_use]
    pub fn total(&self, room: &Room) -> i64 {
        self.totals.get(&room.company_id).copied().unwrap_or(0) + 1
    }

    /// A company of these people and rooms.
    #[must_use]
    pub fn company(&self, id: CompanyId) -> Option<Company> {
        self.companies.get(&id).cloned()
    }

    /// How somebody is shown in `room`: an employee, also a former one, with the room's company.
    #[must_use]
    pub fn profile(&self, room: &Room, id: UserId, wrote: Option<&Message>) -> Option<Profile> {
        let user = self.users.get(&id)?;
        let spoke_for_company = wrote.is_some_and(|message| message.from_user == id && message.side == Side::Company);
        let side = if id != room.creator_id || spoke_for_company { Side::Company } else { Side::Creator };
        Some(user.profile_on(side, room.company_id, &self.companies))
    }
}

/// One statement with a limited part for each of some parameters: `$1` … are read alike by both databases.
fn union(count: usize, part: impl Fn(usize) -> String) -> String {
    let parts: Vec<String> = (1..=count).map(|i| format!("SELECT * FROM ({}) AS part{i}", part(i))).collect();
    parts.join(" UNION ALL ")
}

/// These ids, and as many that nobody has as make up one of [`SIZES`].
fn filled_up(ids: impl ExactSizeIterator<Item = Uuid>) -> Vec<Uuid> {
    let size = SIZES.into_iter().find(|size| *size >= ids.len()).unwrap_or(ids.len());
    let fill = size - ids.len();
    ids.chain(std::iter::repeat_n(Uuid::nil(), fill)).collect()
}

/// Loads what such a statement finds. It is kept prepared: a database takes longer to read it than to do it.
async fn load_union<Row>(conn: &Conn, ids: &[Uuid], part: impl Fn(usize) -> String) -> QueryResult<Vec<Row>>
where
    Row: QueryableByName<Pg> + QueryableByName<Sqlite> + Send + 'static,
{
    let text = union(ids.len(), part);
    on!(conn, |c| {
        let query = ids.iter().fold(sql_query(text).into_boxed(), |query, id| query.bind::<sql::Uuid, _>(UserId(*id)));
        query.kept().load(c)
    })
}

/// The most active current members of each room. (`CROSS JOIN` keeps SQLite on the index that gives the order.)
async fn most_active(conn: &Conn, rooms: &[RoomId]) -> QueryResult<HashMap<RoomId, Vec<UserId>>> {
    if rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = filled_up(rooms.iter().map(|room| room.0));
    let part = |i| {
        format!(
            "SELECT p.room_id, p.user_id FROM participants p CROSS JOIN rooms r CROSS JOIN users u \
             WHERE p.room_id = ${i} AND r.id = p.room_id AND u.id = p.user_id \
             AND (p.last_wrote > 0 OR p.last_viewed > 0) \
             AND (u.id = r.creator_id OR (u.active = TRUE AND u.company_id = r.company_id)) \
             ORDER BY p.last_wrote DESC, p.last_viewed DESC, p.user_id LIMIT {ACTIVE}"
        )
    };
    let rows: Vec<ActiveRow> = load_union(conn, &ids, part).await?;
    let mut of: HashMap<RoomId, Vec<UserId>> = HashMap::new();
    for row in rows {
        of.entry(row.room_id).or_default().push(row.user_id);
    }
    Ok(of)
}

/// The first active employees of each company, by id.
async fn first_employees(conn: &Conn, companies: &[CompanyId]) -> QueryResult<HashMap<CompanyId, Vec<UserId>>> {
    if companies.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = filled_up(companies.iter().map(|company| company.0));
    let part = |i| {
        format!("SELECT company_id, id FROM users WHERE company_id = ${i} AND active = TRUE ORDER BY id LIMIT {FILL}")
    };
    let rows: Vec<EmployeeRow> = load_union(conn, &ids, part).await?;
    let mut of: HashMap<CompanyId, Vec<UserId>> = HashMap::new();
    for row in rows {
        of.entry(row.company_id).or_default().push(row.id);
    }
    Ok(of)
}

async fn count_employees(conn: &Conn, companies: &[CompanyId]) -> QueryResult<HashMap<CompanyId, i64>> {
    if companies.is_empty() {
        return Ok(HashMap::new());
    }
    let companies = in_few_sizes(companies);
    let rows: Vec<(Option<CompanyId>, i64)> = on!(conn, |c| users::table
        .filter(users::company_id.eq_any(&companies))
        .filter(users::active.eq(true))
        .group_by(users::company_id)
        .select((users::company_id, count_star()))
        .kept_for(&companies)
        .load(c))?;
    Ok(rows.into_iter().filter_map(|(id, total)| Some((id?, total))).collect())
}
