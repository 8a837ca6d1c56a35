//! Tidying up, which writes and therefore is the writer's too.

use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use crate::domain::{ObjectId, Timestamp};
use crate::on;
use crate::store::bulk::Bulk;
use crate::store::rows::{AttachmentRow, UploadRow};
use crate::store::schema::{attachments, uploads};
use crate::store::{Conn, DbError, log, meta};

/// Rows that one tidying transaction deletes at most: about as long as a full batch takes.
const ROWS_AT_ONCE: i64 = 1_000;

/// What there is to tidy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maintenance {
    /// Forget log entries older than this; cursors before them get `resync`. Never the newest entry.
    TrimLog { before: Timestamp },
    /// Files that no message has held since this moment can no longer be attached; their bytes may go.
    ExpireFiles { before: Timestamp },
    /// The bytes of these objects are gone.
    ForgetUploads(Vec<ObjectId>),
    /// Nothing: shows that the database takes writes.
    Probe,
}

/// Does one piece of it in a transaction; returns how many rows it touched.
pub async fn run(conn: &Conn, what: Maintenance) -> Result<usize, DbError> {
    conn.write(async |conn| match what {
        Maintenance::TrimLog { before } => trim(conn, before).await,
        Maintenance::ExpireFiles { before } => expire(conn, before).await,
        Maintenance::ForgetUploads(objects) => {
            on!(conn, |c| diesel::delete(uploads::table.filter(uploads::object.eq_any(&objects))).execute(c))
        }
        Maintenance::Probe => Ok(0),
    })
    .await
}

async fn trim(conn: &Conn, before: Timestamp) -> QueryResult<usize> {
    let deleted = log::delete_oldest(conn, before, ROWS_AT_ONCE).await?;
    if deleted > 0 {
        let trimmed = meta::trimmed(conn).await? + i64::try_from(deleted).unwrap_or(0);
        meta::set(conn, meta::TRIMMED, &trimmed.to_string()).await?;
    }
    Ok(deleted)
}

async fn expire(conn: &Conn, before: Timestamp) -> QueryResult<usize> {
    let rows: Vec<AttachmentRow> = on!(conn, |c| attachments::table
        .filter(attachments::room_id.is_null().and(attachments::at.lt(before)))
        .limit(ROWS_AT_ONCE)
        .select(AttachmentRow::as_select())
        .load(c))?;
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let uploads: Vec<UploadRow> = rows
        .into_iter()
        .map(|row| UploadRow { object: row.object, owner: row.owner, reserved: row.size, at: row.at })
        .collect();
    on!(conn, |c| diesel::insert_into(uploads::table).values(Bulk(&uploads)).execute(c))?;
    on!(conn, |c| diesel::delete(attachments::table.filter(attachments::id.eq_any(&ids))).execute(c))
}
