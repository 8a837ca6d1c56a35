//! `INSERT INTO t (…) VALUES (…), (…), …` as one statement on both databases, and statements worth keeping prepared.

use diesel::backend::Backend;
use diesel::insertable::{CanInsertInSingleQuery, InsertValues, Insertable};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId, UndecoratedInsertRecord, ValuesClause};
use diesel::{QueryResult, Table};

/// The most rows of one statement. Longer ones gain nothing, and what they are bound to outgrows the allocator's pools.
pub const BULK_ROWS: usize = 128;
/// Statements of up to this many rows are kept prepared: small batches are what a lone sender waits for, and each
/// size is a statement of its own. Those of [`BULK_ROWS`] are kept, too: large batches consist of them.
const KEPT_ROWS: usize = 8;

/// Rows to insert in one statement: `insert_into(t).values(Bulk(&rows))`.
///
/// diesel's own `&[Row]` does not compile for SQLite under diesel-async (`weiznich/diesel_async#277`).
pub struct Bulk<'a, R>(pub &'a [R]);

/// The rows after the column list: `a, b), (c, d), (e, f`.
pub struct Rows<V>(Vec<V>);

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, R, V, T> Insertable<T> for Bulk<'a, R>
where
    &'a R: Insertable<T, Values = ValuesClause<V, T>>,
{
    type Values = ValuesClause<Rows<V>, T>;

    fn values(self) -> Self::Values {
        let mut clause = Self::Values::default();
        clause.values = Rows(self.0.iter().map(|row| row.values().values).collect());
        clause
    }
}

impl<V, T, DB> InsertValues<DB, T> for Rows<V>
where
    DB: Backend,
    T: Table,
    V: InsertValues<DB, T>,
{
    fn column_names(&self, out: AstPass<'_, '_, DB>) -> QueryResult<()> {
        self.0.first().map_or(Ok(()), |row| row.column_names(out))
    }
}

impl<V: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for Rows<V> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        for (i, row) in self.0.iter().enumerate() {
            if i > 0 {
                out.push_sql("), (");
            }
            row.walk_ast(out.reborrow())?;
        }
        Ok(())
    }
}

impl<V, DB: Backend> CanInsertInSingleQuery<DB> for Rows<V> {
    fn rows_to_insert(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

impl<V, T> UndecoratedInsertRecord<T> for Rows<V> where V: UndecoratedInsertRecord<T> {}

impl<V> QueryId for Rows<V> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// A statement with its own word on whether it is kept prepared.
///
/// diesel never keeps those of UPDATE, ON CONFLICT DO UPDATE or bulk INSERT, since their SQL may vary.
pub struct Kept<Q>(Q, bool);

/// Says whether a statement is kept prepared.
pub trait Keep: Sized {
    /// Keep it if it is for few `rows`, or for as many as there may be.
    fn kept_for(self, rows: usize) -> Kept<Self> {
        Kept(self, rows <= KEPT_ROWS || rows == BULK_ROWS)
    }
}

impl<Q: QueryId> Keep for Q {}

impl<Q: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(self.1)
    }
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> QueryId for Kept<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
