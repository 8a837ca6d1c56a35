//! What a server must be like before it is trusted, and its migrations.

use std::time::Duration;

use diesel::sql_types::{Bool, Int4, Nullable, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Postgres;
use crate::config::StartError;

pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The oldest PostgreSQL that is tested.
const AT_LEAST: i32 = 150_000;
/// How long the checks of a server may take; it may be busy when everything starts at once.
const CHECKED_WITHIN: Duration = Duration::from_secs(10);
/// The lock under which one node migrates; arbitrary, the same on every node.
const MIGRATION_LOCK: i64 = 5_207_664_190_031;
/// How long a node waits for another that migrates, in seconds. A node that is paused meanwhile loses the lock sooner.
const WAIT_SECONDS: u32 = 15;
/// A server that is too old may not know every setting; it hears later that it is.
const SESSION: &str = "SET application_name = 'haggle start'; \
                       SELECT set_config(name, '10s', false) FROM pg_settings \
                       WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')";

type Checked = Result<(), StartError>;

fn refuse(why: impl Into<String>) -> Checked {
    Err(StartError(why.into()))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn asking(error: diesel::result::Error) -> StartError {
    StartError(format!("PostgreSQL: {error}"))
}

/// Checks the server, then migrates under a lock of its own, so that nodes starting at once wait for the first.
pub async fn prepare(server: &Postgres) -> Checked {
    let mut conn = tokio::time::timeout(CHECKED_WITHIN, check(server)).await.unwrap_or_else(|_| {
        Err(StartError("PostgreSQL does not answer; start it, or mend HAGGLE_DATABASE_URL".into()))
    })?;
    lock(server, &mut conn).await?;
    // The lock goes with the connection.
    AsyncMigrationHarness::new(conn)
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| StartError(format!("migration: {error}")))?;
    Ok(())
}

async fn connect(server: &Postgres) -> Result<AsyncPgConnection, StartError> {
    let connected = server.connect(SESSION).await;
    connected.map_err(|error| StartError(format!("PostgreSQL cannot be reached by HAGGLE_DATABASE_URL: {error}")))
}

async fn check(server: &Postgres) -> Result<AsyncPgConnection, StartError> {
    let mut conn = connect(server).await?;
    refuse_unfit(&mut conn).await?;
    refuse_unsafe(&mut conn).await?;
    refuse_pooler(&mut conn, &mut connect(server).await?).await?;
    Ok(conn)
}

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Int4)]
    version: i32,
    #[diesel(sql_type = Bool)]
    in_recovery: bool,
    #[diesel(sql_type = Bool)]
    read_only: bool,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Text)]
    database: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    #[diesel(sql_type = Bool)]
    may_create: bool,
}

/// What cannot work at all.
async fn refuse_unfit(conn: &mut AsyncPgConnection) -> Checked {
    let asked = sql_query(
        "SELECT current_setting('server_version_num')::int4 AS version, pg_is_in_recovery() AS in_recovery, \
         current_setting('default_transaction_read_only')::bool AS read_only, \
         current_setting('server_encoding') AS encoding, current_database()::text AS database, \
         current_user::text AS role, current_schema()::text AS schema, \
         coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create",
    );
    let it: Server = asked.get_result(conn).await.map_err(asking)?;
    if it.version < AT_LEAST {
        return refuse(format!("PostgreSQL {} is too old: 15 or newer is needed", it.version / 10_000));
    }
    if it.in_recovery {
        return refuse("this PostgreSQL is a standby and takes no writes: name the primary in HAGGLE_DATABASE_URL");
    }
    if it.read_only {
        return refuse(mend("default_transaction_read_only", "on", "takes no writes", "off", conn).await?);
    }
    let (database, role) = (it.database, it.role);
    if it.encoding != "UTF8" {
        return refuse(format!(
            "the database {database} is encoded in {}: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            it.encoding
        ));
    }
    match it.schema {
        None => refuse(format!(
            "the role {role} has no schema in the database {database}: mend its search_path, or CREATE SCHEMA"
        )),
        Some(schema) if !it.may_create => refuse(format!(
            "the role {role} may not make tables in the schema {schema}: GRANT CREATE ON SCHEMA {schema} TO {role}"
        )),
        Some(_) => Ok(()),
    }
}

/// A server that answers before its disk does would make every promise of ours a lie.
async fn refuse_unsafe(conn: &mut AsyncPgConnection) -> Checked {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let asked = sql_query(format!("SELECT current_setting('{setting}') AS value"));
        let row: Value = asked.get_result(conn).await.map_err(asking)?;
        if row.value == "off" {
            return refuse(mend(setting, "off", "would lose messages", "on", conn).await?);
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

/// The sentence about a setting, with what changes it where it was set.
async fn mend(
    setting: &str,
    is: &str,
    harm: &str,
    wanted: &str,
    conn: &mut AsyncPgConnection,
) -> Result<String, StartError> {
    let asked = sql_query(format!("SELECT source AS value FROM pg_settings WHERE name = '{setting}'"));
    let source: Value = asked.get_result(conn).await.map_err(asking)?;
    let how = match source.value.as_str() {
        "user" | "database user" => format!("ALTER ROLE … RESET {setting}"),
        "database" => format!("ALTER DATABASE … RESET {setting}"),
        "client" => format!("take {setting} out of HAGGLE_DATABASE_URL"),
        "command line" => format!("start PostgreSQL without {setting} = {is}"),
        _ => format!("ALTER SYSTEM SET {setting} = {wanted}; SELECT pg_reload_conf()"),
    };
    Ok(format!("PostgreSQL runs with {setting} = {is} and {harm}: {how}"))
}

/// Two of our connections that are one session of the server's: a pooler hands sessions out by the transaction, so
/// that limits, locks and prepared statements would be anybody's.
async fn refuse_pooler(one: &mut AsyncPgConnection, other: &mut AsyncPgConnection) -> Checked {
    let pid = || sql_query("SELECT pg_backend_pid()::text AS value");
    let first: Value = pid().get_result(one).await.map_err(asking)?;
    let second: Value = pid().get_result(other).await.map_err(asking)?;
    let again: Value = pid().get_result(one).await.map_err(asking)?;
    if first.value == second.value || first.value != again.value {
        return refuse(
            "HAGGLE_DATABASE_URL leads to a pooler that shares sessions by the transaction: set it to pool by the \
             session, or name PostgreSQL itself",
        );
    }
    Ok(())
}

async fn lock(server: &Postgres, conn: &mut AsyncPgConnection) -> Checked {
    let lock = format!("SET lock_timeout = '{WAIT_SECONDS}s'; SELECT pg_advisory_lock({MIGRATION_LOCK})");
    if conn.batch_execute(&lock).await.is_ok() {
        return conn.batch_execute("RESET lock_timeout").await.map_err(asking);
    }
    let who = sql_query(format!(
        "SELECT format('process %s of PostgreSQL, from %s, since %s UTC', a.pid, coalesce(host(a.client_addr), 'a socket'), \
         to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) AS value \
         FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted \
         AND (l.classid::int8 << 32 | l.objid::int8) = {MIGRATION_LOCK}"
    ));
    let who: Vec<Value> = who.load(&mut connect(server).await?).await.map_err(asking)?;
    let who = who.into_iter().next().map_or_else(|| "gone by now".to_owned(), |row| row.value);
    refuse(format!("another node is changing the database's tables ({who}): wait until it is done, then start again"))
}
