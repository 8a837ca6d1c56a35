//! What the deployment remembers about itself.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult};
use diesel_async::RunQueryDsl;

use super::Conn;
use super::schema::meta;
use crate::on;

/// The key under which the epoch stands: which incarnation of the database cursors are about.
pub const EPOCH: &str = "epoch";
/// The key under which the generated signing key stands.
pub const SIGNING_KEY: &str = "signing_key";
/// The key under which the highest trimmed log position stands.
pub const TRIMMED: &str = "trimmed";

/// The value of `key`, if it was ever set.
///
/// # Errors
/// What the database said.
pub async fn get(conn: &Conn, key: &str) -> QueryResult<Option<String>> {
    on!(conn, |c| meta::table.find(key).select(meta::value).first(c)).optional()
}

/// Sets `key`.
///
/// # Errors
/// What the database said.
pub async fn set(conn: &Conn, key: &str, value: &str) -> QueryResult<()> {
    on!(conn, |c| diesel::insert_into(meta::table)
        .values((meta::key.eq(key), meta::value.eq(value)))
        .on_conflict(meta::key)
        .do_update()
        .set(meta::value.eq(value))
        .execute(c))?;
    Ok(())
}

/// The value of `key`, which is set to `fresh` if it was never set; of several nodes that ask at once, one decides.
///
/// # Errors
/// What the database said.
pub async fn get_or_set(conn: &Conn, key: &str, fresh: &str) -> QueryResult<String> {
    on!(conn, |c| diesel::insert_into(meta::table)
        .values((meta::key.eq(key), meta::value.eq(fresh)))
        .on_conflict_do_nothing()
        .execute(c))?;
    on!(conn, |c| meta::table.find(key).select(meta::value).first(c))
}

/// The highest trimmed log position; 0 if nothing was trimmed.
///
/// # Errors
/// What the database said.
pub async fn trimmed(conn: &Conn) -> QueryResult<i64> {
    let value = get(conn, TRIMMED).await?;
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
}
