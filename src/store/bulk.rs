//! Many rows or ids in one statement on both databases, and statements worth keeping prepared.

use diesel::backend::Backend;
use diesel::insertable::{CanInsertInSingleQuery, InsertValues, Insertable};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId, UndecoratedInsertRecord, ValuesClause};
use diesel::{QueryResult, Table};

/// The most rows of one statement. Longer ones gain nothing, and what they are bound to outgrows the allocator's pools.
const BULK_ROWS: usize = 128;

/// Cuts rows into pieces of 128, 64, … 1: so few sizes that the statement for each is kept prepared.
pub fn pieces<R>(mut rows: &[R]) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let size = 1 << rows.len().min(BULK_ROWS).checked_ilog2()?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// The longest list that is filled up and whose statement is kept: what a statement is kept in grows with the list, and
/// SQLite takes 32,766 parameters.
const LONG: usize = 4_096;

/// These, and the last of them again until there are 1, 2, 4, …: for `eq_any`, so few sizes that the statement for each
/// is kept prepared, since SQLite takes longer to read one than to do it.
pub fn in_few_sizes<'a, T: Copy + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.into_iter().copied().collect();
    if let Some(last) = ids.last().copied().filter(|_| ids.len() <= LONG) {
        ids.resize(ids.len().next_power_of_two(), last);
    }
    ids
}

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

/// A statement that is kept prepared.
///
/// diesel never keeps those of UPDATE, ON CONFLICT DO UPDATE, bulk INSERT or, on SQLite, IN, since their SQL may vary.
pub struct Kept<Q> {
    query: Q,
    keep: bool,
}

/// Statements worth keeping prepared.
pub trait Keep: Sized {
    /// Keeps it prepared. Its SQL must be one of few.
    fn kept(self) -> Kept<Self> {
        Kept { query: self, keep: true }
    }

    /// Keeps it prepared unless the list in it is long: [`in_few_sizes`].
    fn kept_for<T>(self, ids: &[T]) -> Kept<Self> {
        Kept { query: self, keep: ids.len() <= LONG }
    }
}

impl<Q: QueryId> Keep for Q {}

impl<Q: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(self.keep)
    }
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> QueryId for Kept<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

#[cfg(test)]
mod tests {
    use super::{LONG, in_few_sizes, pieces};

    #[test]
    fn lists_come_in_few_sizes_and_with_nothing_new() {
        for (count, size) in [(0, 0), (1, 1), (3, 4), (4, 4), (LONG - 1, LONG), (LONG + 1, LONG + 1)] {
            let ids: Vec<usize> = (0..count).collect();
            let list = in_few_sizes(&ids);
            assert_eq!((list.len(), &list[..count]), (size, &ids[..]));
            assert!(list[count..].iter().all(|id| Some(id) == ids.last()));
        }
    }

    #[test]
    fn rows_are_cut_into_few_sizes_and_none_is_left_out() {
        for count in [0, 1, 2, 3, 127, 128, 129, 1_000] {
            let rows: Vec<usize> = (0..count).collect();
            let cut: Vec<&[usize]> = pieces(&rows).collect();
            assert_eq!(cut.concat(), rows);
            assert!(cut.iter().all(|piece| piece.len().is_power_of_two() && piece.len() <= 128), "{count}");
        }
    }
}
