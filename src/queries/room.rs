//! `GET /v1/rooms/{room_id}`: one room with a page of its messages.

use diesel::{ExpressionMethods, JoinOnDsl, NullableExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::people::people;
use super::{PAGE_DEFAULT, Reader, View, readable_room};
use crate::domain::{Contract, Message, Number, Room, RoomId, UserId};
use crate::error::{Error, Result};
use crate::on;
use crate::store::bulk::{Keep, in_few_sizes};
use crate::store::rows::{AttachmentRow, ContractRow, MessageRow};
use crate::store::schema::{attachments, contracts, messages, participants};
use crate::store::{Conn, log};
use crate::wire;

/// Which messages.
#[derive(Debug, Clone, Copy)]
pub struct RoomPage {
    /// How many.
    pub quantity: usize,
    /// Only messages with a lower number; none for the newest page.
    pub before: Option<Number>,
}

impl Default for RoomPage {
    fn default() -> Self {
        Self { quantity: PAGE_DEFAULT, before: None }
    }
}

/// One room as its reader sees it, on one snapshot. Does not mark anything read.
///
/// # Errors
/// As [`readable_room`], or what the database said.
pub async fn room(
    conn: &Conn,
    reader: Reader,
    room_id: RoomId,
    page: RoomPage,
    view: &View<'_>,
) -> Result<wire::DetailedRoom> {
    conn.read(async |conn| {
        let (room, caller) = readable_room(conn, reader, room_id).await?;
        let caller = caller.map(|user| user.id);
        let newest = page.before.map_or(room.last_number, |before| room.last_number.min(previous(before)));
        let messages = messages_until(conn, &room, newest, page.quantity).await?;
        let authors: Vec<UserId> = messages.iter().map(|message| message.from_user).chain(caller).collect();
        let people = people(conn, std::slice::from_ref(&room), &authors).await?;
        let users = people.listed_with(&room, caller, &messages);
        let seen = last_seen(conn, &room, &users.iter().map(|user| user.id).collect::<Vec<_>>()).await?;
        let seen_till = caller.and_then(|id| seen.iter().find(|seen| seen.user_id == id)).map(|seen| seen.seen_till);
        let company =
            people.company(room.company_id).ok_or_else(|| Error::Internal("a room without company".into()))?;
        let loaded = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        Ok(wire::DetailedRoom {
            id: room.id,
            users: users.into_iter().map(|profile| wire::UserInfo::new(profile, &view.status)).collect(),
            users_total: people.total(&room),
            company: company.into(),
            creator_id: room.creator_id,
            has_more: loaded < newest.get(),
            messages: messages.into_iter().map(|message| show(message, view)).collect(),
            new_messages: seen_till.map_or(0, |seen| room.last_number.get() - seen.get()),
            last_seen: seen,
            selected_campaign_id: room.selected_campaign_id,
            contracts: contracts_of(conn, &room).await?,
            position: view.epoch.at(log::head(conn).await?).to_string(),
        })
    })
    .await
}

fn previous(number: Number) -> Number {
    Number::try_from(number.get() - 1).unwrap_or(Number::ZERO)
}

fn show(message: Message, view: &View<'_>) -> wire::Message {
    let from = message.from_user;
    wire::Message::new(message, from, &view.link)
}

/// The last `quantity` messages up to `newest`, oldest first.
async fn messages_until(conn: &Conn, room: &Room, newest: Number, quantity: usize) -> QueryResult<Vec<Message>> {
    let limit = i64::try_from(quantity).unwrap_or(i64::MAX);
    let rows: Vec<(MessageRow, Option<AttachmentRow>)> = on!(conn, |c| messages::table
        .left_join(attachments::table.on(attachments::id.nullable().eq(messages::attachment_id)))
        .filter(messages::room_id.eq(room.id))
        .filter(messages::number.le(newest))
        .order(messages::number.desc())
        .limit(limit)
        .select((MessageRow::as_select(), Option::<AttachmentRow>::as_select()))
        .load(c))?;
    Ok(rows.into_iter().rev().map(|(message, file)| message.with(file)).collect())
}

/// How far these people have seen; 0 for whoever has seen nothing.
async fn last_seen(conn: &Conn, room: &Room, ids: &[UserId]) -> QueryResult<Vec<wire::LastSeen>> {
    let asked = in_few_sizes(ids);
    let rows: Vec<(UserId, Number)> = on!(conn, |c| participants::table
        .filter(participants::room_id.eq(room.id))
        .filter(participants::user_id.eq_any(&asked))
        .select((participants::user_id, participants::seen_till))
        .kept_for(&asked)
        .load(c))?;
    let seen_by = |id: UserId| rows.iter().find(|row| row.0 == id).map_or(Number::ZERO, |row| row.1);
    Ok(ids.iter().map(|id| wire::LastSeen { user_id: *id, seen_till: seen_by(*id) }).collect())
}

async fn contracts_of(conn: &Conn, room: &Room) -> QueryResult<Vec<Contract>> {
    let rows: Vec<ContractRow> = on!(conn, |c| contracts::table
        .filter(contracts::room_id.eq(room.id))
        .order(contracts::campaign_id)
        .select(ContractRow::as_select())
        .load(c))?;
    Ok(rows.into_iter().map(Contract::from).collect())
}
