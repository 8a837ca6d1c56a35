//! The directory: the host application's users, companies and campaigns. Service scope throughout.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json, Path, Query, Service};
use super::openapi::Problems;
use crate::app::App;
use crate::domain::{CampaignId, Command, CompanyId, DirectoryOperation, Receipt, UserId};
use crate::error::{Error, Result};
use crate::store::directory;
use crate::wire::{CampaignInfo, Company, DirectoryBatch, DirectoryUser, PutCampaign, PutCompany, PutUser};

/// The most operations in a batch: what one transaction takes without holding others up.
const BATCH_OPERATIONS: usize = 1_000;

/// Applies operations; says whether the first made a new entry.
async fn apply(app: &App, operations: Vec<DirectoryOperation>) -> Result<bool> {
    match app.writer.submit(Command::Directory(operations)).await? {
        Receipt::Directory { created } => Ok(created),
        _ => Err(Error::Internal("the receipt does not fit the command".to_owned())),
    }
}

fn put(created: bool, entry: impl Serialize) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    (status, axum::Json(entry)).into_response()
}

/// Create or replace a user
///
/// Brings a deactivated one back. Without a company they are a creator. A change of company ends the user's streams.
#[utoipa::path(
    put, path = "/v1/users/{user_id}", operation_id = "put_user", tag = "directory",
    params(("user_id" = UserId, Path, description = "The user: `sub` of their tokens")),
    request_body = PutUser,
    responses(
        (status = 201, description = "Created", body = DirectoryUser),
        (status = 200, description = "Replaced", body = DirectoryUser),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn put_user(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<UserId>,
    Json(body): Json<PutUser>,
) -> Result<Response> {
    let PutUser { given_name, family_name, logo_url, company_id } = body;
    let entry = DirectoryUser {
        id,
        given_name: given_name.as_str().to_owned(),
        family_name: family_name.as_str().to_owned(),
        logo_url: logo_url.as_str().to_owned(),
        company_id,
        active: true,
    };
    let operation = DirectoryOperation::PutUser { id, given_name, family_name, logo_url, company_id };
    Ok(put(apply(&app, vec![operation]).await?, entry))
}

/// How a user is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteParams {
    /// Replace the name by "Deleted user".
    #[serde(default)]
    #[param(default = false)]
    erase: bool,
}

/// Deactivate a user
///
/// From now on their tokens are answered 403 and their streams end; messages and name stay, unless erased.
#[utoipa::path(
    delete, path = "/v1/users/{user_id}", operation_id = "delete_user", tag = "directory",
    params(("user_id" = UserId, Path, description = "The user"), DeleteParams),
    responses((status = 204, description = "Deactivated"), Problems),
    security(("bearer" = [])),
)]
pub async fn delete_user(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<UserId>,
    Query(DeleteParams { erase }): Query<DeleteParams>,
) -> Result<StatusCode> {
    apply(&app, vec![DirectoryOperation::DeleteUser { id, erase }]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a user
///
/// The directory's entry, as it was last put, deactivated ones included.
#[utoipa::path(
    get, path = "/v1/users/{user_id}", operation_id = "get_user", tag = "directory",
    params(("user_id" = UserId, Path, description = "The user")),
    responses((status = 200, description = "The entry", body = DirectoryUser), Problems),
    security(("bearer" = [])),
)]
pub async fn get_user(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<UserId>,
) -> Result<axum::Json<DirectoryUser>> {
    let user = directory::user(&app.store.reader().await?, id).await?;
    user.map(|user| axum::Json(user.into())).ok_or(Error::NotFound)
}

/// Create or replace a company
///
/// Name and picture are shown from the next answer on; events that were sent keep the old ones.
#[utoipa::path(
    put, path = "/v1/companies/{company_id}", operation_id = "put_company", tag = "directory",
    params(("company_id" = CompanyId, Path, description = "The company")),
    request_body = PutCompany,
    responses(
        (status = 201, description = "Created", body = Company),
        (status = 200, description = "Replaced", body = Company),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn put_company(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<CompanyId>,
    Json(body): Json<PutCompany>,
) -> Result<Response> {
    let PutCompany { name, logo_url } = body;
    let entry = Company { id, name: name.as_str().to_owned(), logo_url: logo_url.as_str().to_owned() };
    Ok(put(apply(&app, vec![DirectoryOperation::PutCompany { id, name, logo_url }]).await?, entry))
}

/// Get a company
///
/// The directory's entry, as it was last put.
#[utoipa::path(
    get, path = "/v1/companies/{company_id}", operation_id = "get_company", tag = "directory",
    params(("company_id" = CompanyId, Path, description = "The company")),
    responses((status = 200, description = "The entry", body = Company), Problems),
    security(("bearer" = [])),
)]
pub async fn get_company(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<CompanyId>,
) -> Result<axum::Json<Company>> {
    let company = directory::company(&app.store.reader().await?, id).await?;
    company.map(|company| axum::Json(company.into())).ok_or(Error::NotFound)
}

/// Create or replace a campaign
///
/// Its company never changes. Closing it stops only new proposals.
#[utoipa::path(
    put, path = "/v1/campaigns/{campaign_id}", operation_id = "put_campaign", tag = "directory",
    params(("campaign_id" = CampaignId, Path, description = "The campaign")),
    request_body = PutCampaign,
    responses(
        (status = 201, description = "Created", body = CampaignInfo),
        (status = 200, description = "Replaced", body = CampaignInfo),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn put_campaign(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<CampaignId>,
    Json(body): Json<PutCampaign>,
) -> Result<Response> {
    let PutCampaign { company_id, name, open } = body;
    let entry = CampaignInfo { id, company_id, name: name.as_str().to_owned(), open };
    let operation = DirectoryOperation::PutCampaign { id, company_id, name, open };
    Ok(put(apply(&app, vec![operation]).await?, entry))
}

/// Get a campaign
///
/// The directory's entry, as it was last put.
#[utoipa::path(
    get, path = "/v1/campaigns/{campaign_id}", operation_id = "get_campaign", tag = "directory",
    params(("campaign_id" = CampaignId, Path, description = "The campaign")),
    responses((status = 200, description = "The entry", body = CampaignInfo), Problems),
    security(("bearer" = [])),
)]
pub async fn get_campaign(
    State(app): State<Arc<App>>,
    _: Service,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CampaignInfo>> {
    let campaign = directory::campaign(&app.store.reader().await?, id).await?;
    campaign.map(|campaign| axum::Json(campaign.into())).ok_or(Error::NotFound)
}

/// How much of a batch was applied: all of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DirectoryBatchResp {
    /// How many operations that were.
    applied: usize,
}

/// Change many entries at once
///
/// In order, all or nothing; a refusal names the operation by its pointer.
#[utoipa::path(
    post, path = "/v1/directory/batch", operation_id = "change_directory", tag = "directory",
    request_body = DirectoryBatch,
    responses((status = 200, description = "All applied", body = DirectoryBatchResp), Problems),
    security(("bearer" = [])),
)]
pub async fn change_directory(
    State(app): State<Arc<App>>,
    _: Service,
    Json(batch): Json<DirectoryBatch>,
) -> Result<axum::Json<DirectoryBatchResp>> {
    let applied = batch.operations.len();
    if applied > BATCH_OPERATIONS {
        return Err(Error::field("/operations", format!("must have at most {BATCH_OPERATIONS} entries")));
    }
    if applied > 0 {
        apply(&app, batch.operations.into_iter().map(DirectoryOperation::from).collect()).await?;
    }
    Ok(axum::Json(DirectoryBatchResp { applied }))
}
