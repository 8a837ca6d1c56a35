//! Reading what is known of files.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::Conn;
use super::rows::AttachmentRow;
use super::schema::{attachments, uploads};
use crate::domain::{AttachmentId, ObjectId, StoredFile, Timestamp};
use crate::on;

/// A file.
///
/// # Errors
/// What the database said.
pub async fn file(conn: &Conn, id: AttachmentId) -> QueryResult<Option<StoredFile>> {
    let row = on!(conn, |c| attachments::table.find(id).select(AttachmentRow::as_select()).first(c)).optional()?;
    Ok(row.map(StoredFile::from))
}

/// Up to `limit` objects that no attachment names and that have been under way since before a moment.
///
/// # Errors
/// What the database said.
pub async fn overdue(conn: &Conn, before: Timestamp, limit: i64) -> QueryResult<Vec<ObjectId>> {
    on!(conn, |c| uploads::table.filter(uploads::at.lt(before)).limit(limit).select(uploads::object).load(c))
}
