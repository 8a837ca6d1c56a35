//! `GET /v1/rooms/{room_id}/contracts/{campaign_id}/history`: every change of one contract.

use diesel::{BoolExpressionMethods, ExpressionMethods, JoinOnDsl, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::people::people;
use super::{Reader, View, readable_room};
use crate::domain::{CampaignId, Contract, Message, Refusal, RoomId, UserId};
use crate::error::Result;
use crate::on;
use crate::store::rows::{ContractChangeRow, MessageRow};
use crate::store::schema::{contract_changes, messages};
use crate::store::{Conn, log};
use crate::wire;

/// Which contract.
#[derive(Debug, Clone, Copy)]
pub struct ContractPath {
    /// The room.
    pub room_id: RoomId,
    /// The campaign.
    pub campaign_id: CampaignId,
}

/// Every change with who, when, terms and message, oldest first, on one snapshot.
///
/// # Errors
/// [`Refusal::NotFound`] if there was never a contract, or the room is not the reader's.
pub async fn history(
    conn: &Conn,
    reader: Reader,
    path: ContractPath,
    view: &View<'_>,
) -> Result<wire::ContractHistory> {
    conn.read(async |conn| {
        let (room, _) = readable_room(conn, reader, path.room_id).await?;
        let changes = changes(conn, path).await?;
        if changes.is_empty() {
            return Err(Refusal::NotFound.into());
        }
        let authors: Vec<UserId> = changes.iter().map(|(_, message)| message.from_user).collect();
        let people = people(conn, std::slice::from_ref(&room), &authors).await?;
        let record = |(contract, message): (Contract, Message)| {
            let author = people.profile(&room, message.from_user, Some(&message))?;
            Some(wire::ContractRecord {
                contract,
                change: message.step?.into(),
                message_id: message.id,
                timestamp: message.at,
                from_user: wire::UserInfo::new(author, &view.status),
            })
        };
        Ok(wire::ContractHistory {
            changes: changes.into_iter().filter_map(record).collect(),
            position: view.epoch.at(log::head(conn).await?).to_string(),
        })
    })
    .await
}

async fn changes(conn: &Conn, path: ContractPath) -> QueryResult<Vec<(Contract, Message)>> {
    let rows: Vec<(ContractChangeRow, MessageRow)> =
        on!(conn, |c| contract_changes::table
            .inner_join(messages::table.on(
                messages::room_id.eq(contract_changes::room_id).and(messages::number.eq(contract_changes::changed_in))
            ))
            .filter(contract_changes::room_id.eq(path.room_id))
            .filter(contract_changes::campaign_id.eq(path.campaign_id))
            .order(contract_changes::version)
            .select((ContractChangeRow::as_select(), MessageRow::as_select()))
            .load(c))?;
    Ok(rows.into_iter().map(|(change, message)| (change.into(), message.with(None))).collect())
}
