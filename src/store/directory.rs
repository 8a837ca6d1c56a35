//! Reading the directory.

use std::collections::{HashMap, HashSet};

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::Conn;
use super::bulk::{Keep, in_few_sizes};
use super::rows::{CampaignRow, CompanyRow, UserRow};
use super::schema::{campaigns, companies, rooms, users};
use crate::domain::{Campaign, CampaignId, Company, CompanyId, Refusal, User, UserId};
use crate::error::Error;
use crate::on;

/// A person.
///
/// # Errors
/// What the database said.
pub async fn user(conn: &Conn, id: UserId) -> QueryResult<Option<User>> {
    let row = on!(conn, |c| users::table.find(id).select(UserRow::as_select()).first(c)).optional()?;
    Ok(row.map(User::from))
}

/// The caller, if the directory lets them act.
///
/// # Errors
/// [`Refusal::UnknownUser`] or [`Refusal::Deactivated`], or what the database said.
pub async fn active_user(conn: &Conn, id: UserId) -> Result<User, Error> {
    match user(conn, id).await? {
        None => Err(Refusal::UnknownUser.into()),
        Some(user) if !user.active => Err(Refusal::Deactivated.into()),
        Some(user) => Ok(user),
    }
}

/// Those of these people that there are.
///
/// # Errors
/// What the database said.
pub async fn users<'a>(conn: &Conn, ids: impl IntoIterator<Item = &'a UserId>) -> QueryResult<HashMap<UserId, User>> {
    let ids = in_few_sizes(ids);
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<UserRow> =
        on!(conn, |c| users::table.filter(users::id.eq_any(&ids)).select(UserRow::as_select()).kept_for(&ids).load(c))?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

/// A company.
///
/// # Errors
/// What the database said.
pub async fn company(conn: &Conn, id: CompanyId) -> QueryResult<Option<Company>> {
    let row = on!(conn, |c| companies::table.find(id).select(CompanyRow::as_select()).first(c)).optional()?;
    Ok(row.map(Company::from))
}

/// Those of these companies that there are.
///
/// # Errors
/// What the database said.
pub async fn companies<'a>(
    conn: &Conn,
    ids: impl IntoIterator<Item = &'a CompanyId>,
) -> QueryResult<HashMap<CompanyId, Company>> {
    let ids = in_few_sizes(ids);
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<CompanyRow> = on!(conn, |c| companies::table
        .filter(companies::id.eq_any(&ids))
        .select(CompanyRow::as_select())
        .kept_for(&ids)
        .load(c))?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

/// A campaign.
///
/// # Errors
/// What the database said.
pub async fn campaign(conn: &Conn, id: CampaignId) -> QueryResult<Option<Campaign>> {
    let row = on!(conn, |c| campaigns::table.find(id).select(CampaignRow::as_select()).first(c)).optional()?;
    Ok(row.map(Campaign::from))
}

/// Those of these campaigns that there are.
///
/// # Errors
/// What the database said.
pub async fn campaigns<'a>(
    conn: &Conn,
    ids: impl IntoIterator<Item = &'a CampaignId>,
) -> QueryResult<HashMap<CampaignId, Campaign>> {
    let ids = in_few_sizes(ids);
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<CampaignRow> = on!(conn, |c| campaigns::table
        .filter(campaigns::id.eq_any(&ids))
        .select(CampaignRow::as_select())
        .kept_for(&ids)
        .load(c))?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

/// The active employees of these companies, by id.
///
/// # Errors
/// What the database said.
pub async fn employees<'a>(
    conn: &Conn,
    ids: impl IntoIterator<Item = &'a CompanyId>,
) -> QueryResult<HashMap<CompanyId, Vec<User>>> {
    let ids = in_few_sizes(ids);
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<UserRow> = on!(conn, |c| users::table
        .filter(users::company_id.eq_any(&ids))
        .filter(users::active.eq(true))
        .order(users::id)
        .select(UserRow::as_select())
        .kept_for(&ids)
        .load(c))?;
    let mut of: HashMap<CompanyId, Vec<User>> = HashMap::new();
    for user in rows.into_iter().map(User::from) {
        if let Some(company) = user.company_id {
            of.entry(company).or_default().push(user);
        }
    }
    Ok(of)
}

/// Who and what there is, oldest ids first, at most `limit` of each.
///
/// # Errors
/// What the database said.
pub async fn listing(conn: &Conn, limit: i64) -> QueryResult<(Vec<User>, Vec<Company>, Vec<Campaign>)> {
    let people: Vec<UserRow> = on!(conn, |c| users::table
        .filter(users::active.eq(true))
        .order(users::id)
        .limit(limit)
        .select(UserRow::as_select())
        .load(c))?;
    let firms: Vec<CompanyRow> =
        on!(conn, |c| companies::table.order(companies::id).limit(limit).select(CompanyRow::as_select()).load(c))?;
    let offers: Vec<CampaignRow> =
        on!(conn, |c| campaigns::table.order(campaigns::id).limit(limit).select(CampaignRow::as_select()).load(c))?;
    Ok((
        people.into_iter().map(User::from).collect(),
        firms.into_iter().map(Company::from).collect(),
        offers.into_iter().map(Campaign::from).collect(),
    ))
}

/// The companies that somebody has rooms with, as a creator.
///
/// # Errors
/// What the database said.
pub async fn creator_of(conn: &Conn, creator: UserId) -> QueryResult<HashSet<CompanyId>> {
    let ids: Vec<CompanyId> =
        on!(conn, |c| rooms::table.filter(rooms::creator_id.eq(creator)).select(rooms::company_id).load(c))?;
    Ok(ids.into_iter().collect())
}
