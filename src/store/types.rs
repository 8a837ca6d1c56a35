//! How each database stores the domain's values.

use std::io::Write;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::Pg;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Nullable, SingleValue, Text, Timestamptz};
use diesel::sqlite::Sqlite;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::{
    AttachmentId, CampaignId, CompanyId, ContractState, Fingerprint, MessageId, Number, ObjectId, Payout, RoomId, Side,
    Timestamp, UserId, Version,
};

/// SQL types that the two databases spell differently.
pub mod sql {
    use diesel::query_builder::QueryId;
    use diesel::sql_types::SqlType;

    /// `uuid` on PostgreSQL, a 16-byte `BLOB` on SQLite.
    #[derive(SqlType, QueryId, Debug, Clone, Copy)]
    #[diesel(postgres_type(oid = 2950, array_oid = 2951), sqlite_type(name = "Binary"))]
    pub struct Uuid;

    /// `timestamptz` on PostgreSQL, microseconds since 1970 as `INTEGER` on SQLite.
    #[derive(SqlType, QueryId, Debug, Clone, Copy)]
    #[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Long"))]
    pub struct Instant;

    /// `jsonb` on PostgreSQL, `TEXT` on SQLite.
    #[derive(SqlType, QueryId, Debug, Clone, Copy)]
    #[diesel(postgres_type(oid = 3802, array_oid = 3807), sqlite_type(name = "Text"))]
    pub struct Json;
}

/// Lets a type stand for a column of `$sql` in queries and rows; `ToSql` and `FromSql` are written beside it.
///
/// The domain's types cannot carry diesel's derives, since the domain names no database.
macro_rules! column {
    ($type:ty [$($generic:tt)*] as $sql:ty) => {
        impl<$($generic)*> AsExpression<$sql> for $type {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<$($generic)*> AsExpression<Nullable<$sql>> for $type {
            type Expression = Bound<Nullable<$sql>, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<'e, $($generic)*> AsExpression<$sql> for &'e $type {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<'e, $($generic)*> AsExpression<Nullable<$sql>> for &'e $type {
            type Expression = Bound<Nullable<$sql>, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<DB: Backend, $($generic)*> ToSql<Nullable<$sql>, DB> for $type
        where
            Self: ToSql<$sql, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                ToSql::<$sql, DB>::to_sql(self, out)
            }
        }

        impl<DB: Backend, ST: SingleValue, $($generic)*> Queryable<ST, DB> for $type
        where
            Self: FromSql<ST, DB>,
        {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
    };
}

macro_rules! ids {
    ($($name:ident),+) => {$(
        column!($name [] as sql::Uuid);

        impl ToSql<sql::Uuid, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<diesel::sql_types::Uuid, Pg>::to_sql(&self.0, out)
            }
        }

        impl ToSql<sql::Uuid, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.0.as_bytes().as_slice());
                Ok(IsNull::No)
            }
        }

        impl FromSql<sql::Uuid, Pg> for $name {
            fn from_sql(value: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                FromSql::<diesel::sql_types::Uuid, Pg>::from_sql(value).map(Self)
            }
        }

        impl FromSql<sql::Uuid, Sqlite> for $name {
            fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
                Ok(Self(uuid::Uuid::from_slice(&bytes)?))
            }
        }
    )+};
}
ids!(UserId, CompanyId, CampaignId, RoomId, MessageId, AttachmentId, ObjectId);

macro_rules! integers {
    ($($name:ident),+) => {$(
        column!($name [] as BigInt);

        impl ToSql<BigInt, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<BigInt, Pg>::to_sql(&self.get(), &mut out.reborrow())
            }
        }

        impl ToSql<BigInt, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.get());
                Ok(IsNull::No)
            }
        }

        impl<DB: Backend> FromSql<BigInt, DB> for $name
        where
            i64: FromSql<BigInt, DB>,
        {
            fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(Self::try_from(i64::from_sql(value)?)?)
            }
        }
    )+};
}
integers!(Number, Payout, Version);

macro_rules! words {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        column!($name [] as Text);

        impl<DB: Backend> ToSql<Text, DB> for $name
        where
            str: ToSql<Text, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                let text: &'static str = match self { $(Self::$variant => $text),+ };
                text.to_sql(out)
            }
        }

        impl<DB: Backend> FromSql<Text, DB> for $name
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
                match String::from_sql(value)?.as_str() {
                    $($text => Ok(Self::$variant),)+
                    other => Err(format!(concat!("unknown ", stringify!($name), " {:?}"), other).into()),
                }
            }
        }
    };
}
words!(Side { Company = "company", Creator = "creator" });
words!(ContractState {
    Proposed = "proposed",
    Accepted = "accepted",
    Withdrawn = "withdrawn",
    Cancelled = "cancelled",
    Finished = "finished",
    Approved = "approved",
});

/// What a row of the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// A room was opened with message 1.
    RoomCreated,
    /// A message stands in a room.
    Message,
    /// A reader looked further.
    LastView,
    /// A person may act, for the company of the row or for none.
    Granted,
    /// A person may not act any more.
    Revoked,
    /// Names changed.
    Directory,
}
words!(LogKind {
    RoomCreated = "room_created",
    Message = "message",
    LastView = "last_view",
    Granted = "granted",
    Revoked = "revoked",
    Directory = "directory",
});

column!(Timestamp [] as sql::Instant);

impl ToSql<sql::Instant, Pg> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Timestamptz, Pg>::to_sql(&self.get(), &mut out.reborrow())
    }
}

impl ToSql<sql::Instant, Sqlite> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.micros());
        Ok(IsNull::No)
    }
}

impl FromSql<sql::Instant, Pg> for Timestamp {
    fn from_sql(value: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        FromSql::<Timestamptz, Pg>::from_sql(value).map(Self::new)
    }
}

impl FromSql<sql::Instant, Sqlite> for Timestamp {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let micros = <i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?;
        Ok(Self::from_micros(micros)?)
    }
}

column!(Fingerprint [] as Binary);

impl<DB: Backend> ToSql<Binary, DB> for Fingerprint
where
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.as_slice().to_sql(out)
    }
}

impl<DB: Backend> FromSql<Binary, DB> for Fingerprint
where
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::<u8>::from_sql(value)?;
        let bytes = bytes.try_into().map_err(|bytes: Vec<u8>| format!("{} bytes, not 32", bytes.len()))?;
        Ok(Self(bytes))
    }
}

/// Any serde value: `jsonb` on PostgreSQL, JSON text on SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

column!(Json<T> [T: std::fmt::Debug] as sql::Json);

/// The version byte in front of `jsonb` on PostgreSQL's wire.
const JSONB_VERSION: u8 = 1;

impl<T: Serialize + std::fmt::Debug> ToSql<sql::Json, Pg> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        serde_json::to_writer(out, &self.0)?;
        Ok(IsNull::No)
    }
}

impl<T: Serialize + std::fmt::Debug> ToSql<sql::Json, Sqlite> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(serde_json::to_string(&self.0)?);
        Ok(IsNull::No)
    }
}

impl<T: DeserializeOwned> FromSql<sql::Json, Pg> for Json<T> {
    fn from_sql(value: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let json = value.as_bytes().split_first().map(|(_, json)| json).unwrap_or_default();
        Ok(Self(serde_json::from_slice(json)?))
    }
}

impl<T: DeserializeOwned> FromSql<sql::Json, Sqlite> for Json<T> {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
        Ok(Self(serde_json::from_str(&text)?))
    }
}
