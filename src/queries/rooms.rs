//! `GET /v1/rooms`: the caller's rooms, newest message first.

use std::fmt;
use std::str::FromStr;

use diesel::sql_types::BigInt;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, QueryDsl, QueryResult,
    QueryableByName, SelectableHelper, sql_query,
};
use diesel_async::RunQueryDsl;

use super::people::{People, people};
use super::{PAGE_DEFAULT, View};
use crate::domain::{Contract, Cursor, Invalid, Message, Number, Room, User, UserId};
use crate::error::{Error, Result};
use crate::on;
use crate::store::bulk::Keep;
use crate::store::rows::{AttachmentRow, ContractRow, MessageRow, RoomRow};
use crate::store::schema::{attachments, contracts, messages, participants, rooms};
use crate::store::types::sql;
use crate::store::{Conn, directory, log};
use crate::wire;

/// Where the next page begins: after the room whose last message stands at `after`. Carries the first page's cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    first: Cursor,
    after: i64,
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first, self.after)
    }
}

impl FromStr for PageCursor {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        let invalid = || Invalid("is not a page cursor of this server".to_owned());
        let (first, after) = text.rsplit_once('.').ok_or_else(invalid)?;
        let after = after.parse().ok().filter(|after| *after >= 0).ok_or_else(invalid)?;
        Ok(Self { first: first.parse().map_err(|_| invalid())?, after })
    }
}

/// Which page.
#[derive(Debug, Clone)]
pub struct RoomsPage {
    /// How many rooms.
    pub limit: usize,
    /// Where it begins; none for the first page.
    pub cursor: Option<PageCursor>,
}

impl Default for RoomsPage {
    fn default() -> Self {
        Self { limit: PAGE_DEFAULT, cursor: None }
    }
}

/// One page of the caller's rooms, in a constant number of queries on one snapshot.
///
/// # Errors
/// When the directory does not let the caller act, when the page cursor is of another epoch, or what the database
/// said.
pub async fn rooms(conn: &Conn, caller: UserId, page: RoomsPage, view: &View<'_>) -> Result<wire::Rooms> {
    if page.cursor.as_ref().is_some_and(|cursor| cursor.first.epoch != *view.epoch) {
        return Err(Error::field("/cursor", "is of another epoch; begin with the first page"));
    }
    conn.read(async |conn| {
        let caller = directory::active_user(conn, caller).await?;
        let after = page.cursor.as_ref().map_or(i64::MAX, |cursor| cursor.after);
        let mut found = newest(conn, &caller, after, page.limit + 1).await?;
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let rooms: Vec<Room> = found.iter().map(|found| found.room.clone()).collect();
        let authors: Vec<UserId> = found.iter().map(|found| found.last.from_user).collect();
        let people = people(conn, &rooms, &authors).await?;
        let position = match page.cursor {
            Some(cursor) => cursor.first,
            None => view.epoch.at(log::head(conn).await?),
        };
        let next =
            rooms.last().filter(|_| more).map(|room| PageCursor { first: position.clone(), after: room.last_position });
        Ok(wire::Rooms {
            new_messages_total: unseen(conn, &caller).await?,
            rooms: found.into_iter().filter_map(|found| show(found, caller.id, &people, view)).collect(),
            position: position.to_string(),
            next: next.map(|next| next.to_string()),
        })
    })
    .await
}

/// A room of the list with everything but its people.
struct Found {
    room: Room,
    last: Message,
    contract: Option<Contract>,
    seen_till: Number,
}

#[derive(Clone, Copy)]
enum As {
    Creator,
    Employee(crate::domain::CompanyId),
}

/// The newest rooms before a position: those the caller created and those of their company are two indexes.
async fn newest(conn: &Conn, caller: &User, before: i64, limit: usize) -> QueryResult<Vec<Found>> {
    let mut found = newest_as(conn, caller.id, As::Creator, before, limit).await?;
    if let Some(company) = caller.company_id {
        found.extend(newest_as(conn, caller.id, As::Employee(company), before, limit).await?);
        found.sort_unstable_by_key(|found| std::cmp::Reverse(found.room.last_position));
        found.truncate(limit);
    }
    Ok(found)
}

async fn newest_as(conn: &Conn, caller: UserId, role: As, before: i64, limit: usize) -> QueryResult<Vec<Found>> {
    type Row = (RoomRow, MessageRow, Option<AttachmentRow>, Option<ContractRow>, Option<Number>);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<Row> = on!(conn, |c| {
        let joined = rooms::table
            .inner_join(
                messages::table.on(messages::room_id.eq(rooms::id).and(messages::number.eq(rooms::last_number))),
            )
            .left_join(attachments::table.on(attachments::id.nullable().eq(messages::attachment_id)))
            .left_join(contracts::table.on(
                contracts::room_id.eq(rooms::id).and(contracts::campaign_id.nullable().eq(rooms::selected_campaign_id)),
            ))
            .left_join(
                participants::table.on(participants::room_id.eq(rooms::id).and(participants::user_id.eq(caller))),
            )
            .filter(rooms::last_position.lt(before))
            .into_boxed();
        let joined = match role {
            As::Creator => joined.filter(rooms::creator_id.eq(caller)),
            As::Employee(company) => joined.filter(rooms::company_id.eq(company)),
        };
        joined
            .order(rooms::last_position.desc())
            .limit(limit)
            .select((
                RoomRow::as_select(),
                MessageRow::as_select(),
                Option::<AttachmentRow>::as_select(),
                Option::<ContractRow>::as_select(),
                participants::seen_till.nullable(),
            ))
            .load(c)
    })?;
    let found = |(room, message, file, contract, seen): Row| Found {
        room: room.into(),
        last: message.with(file),
        contract: contract.map(Contract::from),
        seen_till: seen.unwrap_or(Number::ZERO),
    };
    Ok(rows.into_iter().map(found).collect())
}

#[derive(QueryableByName)]
struct Total {
    #[diesel(sql_type = BigInt)]
    total: i64,
}

/// Unseen messages in all the caller's rooms.
async fn unseen(conn: &Conn, caller: &User) -> QueryResult<i64> {
    const TEXT: &str = "SELECT CAST(COALESCE(SUM(r.last_number - COALESCE(p.seen_till, 0)), 0) AS BIGINT) AS total \
                        FROM rooms r LEFT JOIN participants p ON p.room_id = r.id AND p.user_id = $1 ";
    let as_creator = format!("{TEXT} WHERE r.creator_id = $1");
    let created: Total = on!(conn, |c| sql_query(&as_creator).bind::<sql::Uuid, _>(caller.id).kept().get_result(c))?;
    let Some(company) = caller.company_id else { return Ok(created.total) };
    let as_employee = format!("{TEXT} WHERE r.company_id = $2");
    let employed: Total = on!(conn, |c| sql_query(&as_employee)
        .bind::<sql::Uuid, _>(caller.id)
        .bind::<sql::Uuid, _>(company)
        .kept()
        .get_result(c))?;
    Ok(created.total + employed.total)
}

fn show(found: Found, caller: UserId, people: &People, view: &View<'_>) -> Option<wire::Room> {
    let Found { room, last, contract, seen_till } = found;
    let users = people.listed(&room, Some(caller), Some(&last));
    let from = last.from_user;
    Some(wire::Room {
        id: room.id,
        users: users.into_iter().map(|profile| wire::UserInfo::new(profile, &view.status)).collect(),
        users_total: people.total(&room) - 1,
        company: people.company(room.company_id)?.into(),
        creator_id: room.creator_id,
        selected_campaign_id: room.selected_campaign_id,
        contract,
        last_message: wire::Message::new(last, from, &view.link),
        new_messages: room.last_number.get() - seen_till.get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn page_cursors_round_trip_and_never_panic(text in ".{0,60}") {
            if let Ok(cursor) = text.parse::<PageCursor>() {
                prop_assert!(cursor.to_string().parse::<PageCursor>().is_ok());
            }
        }
    }
}
