//! All rows of all tables, page by page, as text that both databases take back: one JSON object a line.

use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::Conn;
use super::bulk::Bulk;
use super::rows::{
    AttachmentRow, CampaignRow, CompanyRow, ContractChangeRow, ContractRow, LogRow, MessageRow, MetaRow,
    ParticipantRow, RoomRow, UploadRow, UserRow,
};
use super::schema::{
    attachments, campaigns, companies, contract_changes, contracts, log, messages, meta, participants, rooms, uploads,
    users,
};
use crate::domain::AttachmentId;
use crate::on;

/// Rows in a page at most: few enough for one statement of SQLite, which takes 32,766 values.
const PAGE_ROWS: i64 = 1_000;
/// How long PostgreSQL may take for a page.
pub const PAGE_WITHIN: Duration = Duration::from_mins(1);

/// For each table: its rows, what comes after a row, and the order that this is meant in, which is the primary key's.
macro_rules! tables {
    ($($table:ident: $row:ident, |$last:ident| $after:expr, $order:expr;)+) => {
        /// The names of all tables, each after those that it refers to.
        pub const TABLES: &[&str] = &[$(stringify!($table)),+];

        /// The rows that come after one, or the first ones, at most a thousand; none if there are no more.
        ///
        /// # Errors
        /// What the database said, or a table that is not there.
        pub async fn page(conn: &Conn, table: &str, after: Option<&str>) -> QueryResult<Vec<String>> {
            conn.limit(PAGE_WITHIN);
            match table {
                $(stringify!($table) => {
                    let all = $table::table.order($order).limit(PAGE_ROWS);
                    let rows: Vec<$row> = match after {
                        None => on!(conn, |c| all.select($row::as_select()).load(c))?,
                        Some(line) => {
                            let $last: $row = parse(line)?;
                            on!(conn, |c| all.filter($after).select($row::as_select()).load(c))?
                        }
                    };
                    rows.iter().map(|row| serde_json::to_string(row).map_err(unfit)).collect()
                })+
                _ => Err(DieselError::NotFound),
            }
        }

        /// Inserts a page of rows; returns how many.
        ///
        /// # Errors
        /// What the database said, or a row that cannot be.
        pub async fn insert(conn: &Conn, table: &str, lines: &str) -> QueryResult<usize> {
            conn.limit(PAGE_WITHIN);
            match table {
                $(stringify!($table) => {
                    let rows: Vec<$row> = lines.lines().map(parse).collect::<QueryResult<_>>()?;
                    on!(conn, |c| diesel::insert_into($table::table).values(Bulk(&rows)).execute(c))
                })+
                _ => Err(DieselError::NotFound),
            }
        }
    };
}

tables! {
    meta: MetaRow, |last| meta::key.gt(&last.key), meta::key;
    companies: CompanyRow, |last| companies::id.gt(last.id), companies::id;
    users: UserRow, |last| users::id.gt(last.id), users::id;
    campaigns: CampaignRow, |last| campaigns::id.gt(last.id), campaigns::id;
    rooms: RoomRow, |last| rooms::id.gt(last.id), rooms::id;
    attachments: AttachmentRow, |last| attachments::id.gt(last.id), attachments::id;
    uploads: UploadRow, |last| uploads::object.gt(last.object), uploads::object;
    messages: MessageRow,
        |last| messages::room_id.ge(last.room_id)
            .and(messages::room_id.gt(last.room_id).or(messages::number.gt(last.number))),
        (messages::room_id, messages::number);
    contracts: ContractRow,
        |last| contracts::room_id.ge(last.room_id)
            .and(contracts::room_id.gt(last.room_id).or(contracts::campaign_id.gt(last.campaign_id))),
        (contracts::room_id, contracts::campaign_id);
    contract_changes: ContractChangeRow,
        |last| contract_changes::room_id.ge(last.room_id).and(
            contract_changes::room_id.gt(last.room_id)
                .or(contract_changes::campaign_id.gt(last.campaign_id))
                .or(contract_changes::campaign_id.eq(last.campaign_id)
                    .and(contract_changes::version.gt(last.version)))),
        (contract_changes::room_id, contract_changes::campaign_id, contract_changes::version);
    participants: ParticipantRow,
        |last| participants::room_id.ge(last.room_id)
            .and(participants::room_id.gt(last.room_id).or(participants::user_id.gt(last.user_id))),
        (participants::room_id, participants::user_id);
    log: LogRow, |last| log::position.gt(last.position), log::position;
}

/// Forgets files whose bytes are gone.
///
/// # Errors
/// What the database said.
pub async fn forget_files(conn: &Conn, ids: &[AttachmentId]) -> QueryResult<()> {
    for ids in ids.chunks(1_000) {
        on!(conn, |c| diesel::delete(attachments::table.filter(attachments::id.eq_any(ids))).execute(c))?;
    }
    Ok(())
}

fn parse<R: serde::de::DeserializeOwned>(line: &str) -> QueryResult<R> {
    serde_json::from_str(line).map_err(unfit)
}

fn unfit(error: serde_json::Error) -> DieselError {
    DieselError::DeserializationError(Box::new(error))
}
