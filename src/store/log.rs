//! The log: the one order of everything durable, read back complete enough to be told.

use std::collections::{HashMap, HashSet};

use diesel::dsl::max;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, QueryDsl, QueryResult,
    SelectableHelper,
};
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;

use super::rows::{AttachmentRow, ContractChangeRow, LogRow, MessageRow};
use super::schema::{attachments, contract_changes, log, messages};
use super::types::LogKind;
use super::{Conn, directory};
use crate::domain::{
    Company, CompanyId, Contract, Entry, EntryKind, Message, News, Profile, Side, Timestamp, User, UserId,
};
use crate::on;

/// Whose entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every entry, also those that are not told: for hubs and services.
    Everything,
    /// What is told to one person: as a creator, and as an employee.
    Of(UserId, Option<CompanyId>),
}

/// One index that an audience is read from.
#[derive(Clone, Copy)]
enum Index {
    All,
    Creator(UserId),
    Company(CompanyId),
}

impl Audience {
    fn indexes(self) -> Vec<Index> {
        match self {
            Self::Everything => vec![Index::All],
            Self::Of(user, company) => {
                std::iter::once(Index::Creator(user)).chain(company.map(Index::Company)).collect()
            }
        }
    }
}

/// The position of the newest entry; 0 if there is none.
///
/// # Errors
/// What the database said.
pub async fn head(conn: &Conn) -> QueryResult<i64> {
    let newest: Option<i64> = on!(conn, |c| log::table.select(max(log::position)).first(c))?;
    Ok(newest.unwrap_or(0))
}

/// The first `limit` entries of an audience in `(after, until]`, in order.
///
/// # Errors
/// What the database said.
pub async fn entries(conn: &Conn, audience: Audience, after: i64, until: i64, limit: usize) -> QueryResult<Vec<Entry>> {
    let read = audience.indexes().into_iter().map(|index| read_index(conn, index, after, until, limit));
    let mut rows = Vec::new();
    for found in join_all(read).await {
        rows.extend(found?);
    }
    rows.sort_unstable_by_key(|row| row.log.position);
    rows.truncate(limit);
    complete(conn, rows).await
}

/// How many entries an audience has after a position, counted up to `limit`.
///
/// # Errors
/// What the database said.
pub async fn count(conn: &Conn, audience: Audience, after: i64, limit: usize) -> QueryResult<usize> {
    let mut total = 0;
    for index in audience.indexes() {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let positions: Vec<i64> = on!(conn, |c| {
            let told = log::table.filter(log::position.gt(after)).filter(log::room_id.is_not_null()).into_boxed();
            let told = match index {
                Index::All => told,
                Index::Creator(id) => told.filter(log::creator_id.eq(id)),
                Index::Company(id) => told.filter(log::company_id.eq(id)),
            };
            told.order(log::position).limit(limit).select(log::position).load(c)
        })?;
        total += positions.len();
    }
    Ok(total.min(limit))
}

/// Deletes the oldest entries that are older than a moment, up to `limit`, and never the newest of all; returns how
/// many.
///
/// # Errors
/// What the database said.
pub async fn delete_oldest(conn: &Conn, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let head = head(conn).await?;
    let oldest: Vec<(i64, Timestamp)> = on!(conn, |c| log::table
        .filter(log::position.lt(head))
        .order(log::position)
        .limit(limit)
        .select((log::position, log::at))
        .load(c))?;
    let Some((last, _)) = oldest.into_iter().take_while(|(_, at)| *at < before).last() else { return Ok(0) };
    on!(conn, |c| diesel::delete(log::table.filter(log::position.le(last))).execute(c))
}

/// A row of the log with what is joined to it.
struct Joined {
    log: LogRow,
    message: Option<Message>,
    contract: Option<Contract>,
}

async fn read_index(conn: &Conn, index: Index, after: i64, until: i64, limit: usize) -> QueryResult<Vec<Joined>> {
    type Row = (LogRow, Option<MessageRow>, Option<AttachmentRow>, Option<ContractChangeRow>);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<Row> = on!(conn, |c| {
        let joined = log::table
            .left_join(
                messages::table.on(messages::room_id
                    .nullable()
                    .eq(log::room_id)
                    .and(messages::number.nullable().eq(log::number))
                    .and(log::kind.ne(LogKind::LastView))),
            )
            .left_join(attachments::table.on(attachments::id.nullable().eq(messages::attachment_id)))
            .left_join(
                contract_changes::table.on(contract_changes::room_id
                    .eq(messages::room_id)
                    .and(contract_changes::campaign_id.nullable().eq(messages::selected_campaign_id))
                    .and(contract_changes::version.eq(messages::contract_version))),
            )
            .filter(log::position.gt(after))
            .filter(log::position.le(until))
            .into_boxed();
        let joined = match index {
            Index::All => joined,
            Index::Creator(id) => joined.filter(log::creator_id.eq(id)).filter(log::room_id.is_not_null()),
            Index::Company(id) => joined.filter(log::company_id.eq(id)).filter(log::room_id.is_not_null()),
        };
        joined
            .order(log::position)
            .limit(limit)
            .select((
                LogRow::as_select(),
                Option::<MessageRow>::as_select(),
                Option::<AttachmentRow>::as_select(),
                Option::<ContractChangeRow>::as_select(),
            ))
            .load(c)
    })?;
    let joined = |(log, message, attachment, contract): Row| Joined {
        log,
        message: message.map(|message| message.with(attachment)),
        contract: contract.map(Contract::from),
    };
    Ok(rows.into_iter().map(joined).collect())
}

/// The people and companies that the entries speak of.
struct Cast {
    users: HashMap<UserId, User>,
    companies: HashMap<CompanyId, Company>,
    employees: HashMap<CompanyId, Vec<User>>,
}

impl Cast {
    fn profile(&self, id: UserId, side: Side, company_id: CompanyId) -> Option<Profile> {
        Some(self.users.get(&id)?.profile_on(side, company_id, &self.companies))
    }

    fn everyone(&self, creator_id: UserId, company_id: CompanyId) -> Vec<Profile> {
        let company = self.companies.get(&company_id);
        let employees = self.employees.get(&company_id).into_iter().flatten();
        let employees = employees.map(|user| user.profile(company.cloned()));
        self.profile(creator_id, Side::Creator, company_id).into_iter().chain(employees).collect()
    }
}

async fn complete(conn: &Conn, rows: Vec<Joined>) -> QueryResult<Vec<Entry>> {
    let cast = cast(conn, &rows).await?;
    Ok(rows.into_iter().map(|row| entry(row, &cast)).collect())
}

async fn cast(conn: &Conn, rows: &[Joined]) -> QueryResult<Cast> {
    let authors = rows.iter().filter_map(|row| row.message.as_ref()).map(|message| message.from_user);
    let created = || rows.iter().filter(|row| row.log.kind == LogKind::RoomCreated);
    let creators = created().filter_map(|row| row.log.creator_id);
    let ids: HashSet<UserId> = authors.chain(creators).collect();
    let users = directory::users(conn, &ids).await?;
    let spoken_for = rows.iter().filter(|row| row.message.is_some()).filter_map(|row| row.log.company_id);
    let worked_for = users.values().filter_map(|user| user.company_id);
    let ids: HashSet<CompanyId> = spoken_for.chain(worked_for).collect();
    let companies = directory::companies(conn, &ids).await?;
    let ids: HashSet<CompanyId> = created().filter_map(|row| row.log.company_id).collect();
    let employees = directory::employees(conn, &ids).await?;
    Ok(Cast { users, companies, employees })
}

fn entry(row: Joined, cast: &Cast) -> Entry {
    let LogRow { position, at, kind, .. } = row.log;
    let kind = match kind {
        LogKind::Granted | LogKind::Revoked => row.log.user_id.map(|user_id| EntryKind::Access {
            user_id,
            company_id: row.log.company_id,
            active: kind == LogKind::Granted,
        }),
        LogKind::RoomCreated | LogKind::Message | LogKind::LastView => told(row, cast),
        LogKind::Directory => None,
    };
    Entry { position, at, kind: kind.unwrap_or(EntryKind::Directory) }
}

fn told(row: Joined, cast: &Cast) -> Option<EntryKind> {
    let LogRow { kind, room_id, creator_id, company_id, number, user_id, .. } = row.log;
    let (room_id, creator_id, company_id) = (room_id?, creator_id?, company_id?);
    let news = match kind {
        LogKind::LastView => News::NewLastView { user_id: user_id?, seen_till: number? },
        LogKind::RoomCreated => {
            let message = row.message?;
            let mut users = cast.everyone(creator_id, company_id);
            // Who opened the room may have left since.
            if users.iter().all(|user| user.id != message.from_user) {
                users.extend(cast.profile(message.from_user, message.side, company_id));
            }
            let company = cast.companies.get(&company_id)?.clone();
            News::RoomCreated { message: Box::new(message), contract: row.contract, company, users }
        }
        _ => {
            let message = row.message?;
            let author = cast.profile(message.from_user, message.side, company_id)?;
            News::NewMessage { message: Box::new(message), author, contract: row.contract }
        }
    };
    Some(EntryKind::Told { room_id, creator_id, company_id, news: Box::new(news) })
}
