//! Files: uploading one before its message, and reading one by its signed link.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{AnyCaller, Caller, Path, Query};
use super::openapi::{Bytes, Problems};
use crate::app::App;
use crate::app::files::FileInput;
use crate::attachments::{self, Delivery, Reader, STREAMED_BYTES};
use crate::domain::{AttachmentId, Command, FileName, Receipt, Upload};
use crate::error::{Error, Result};
use crate::queries;
use crate::wire::Attachment;

/// What an upload is called.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadParams {
    /// The file's name: one path segment of at most 255 bytes.
    #[param(inline, example = "brief.pdf")]
    name: FileName,
}

/// Upload a file
///
/// Raw bytes, streamed, at most 25 MiB, under an id of the client's making. Send the id as `attachment_id` in one
/// message; a file that no message holds within a day is deleted. The same bytes and name again are answered 200.
#[utoipa::path(
    put, path = "/v1/attachments/{attachment_id}", operation_id = "upload_attachment", tag = "commands",
    params(("attachment_id" = AttachmentId, Path, description = "Made by the client; UUIDv7 advised"), UploadParams),
    request_body(content = Bytes, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Stored", body = Attachment),
        (status = 200, description = "Stored before", body = Attachment),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn upload_attachment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
    Query(UploadParams { name }): Query<UploadParams>,
    request: Request,
) -> Result<Response> {
    app.require_membership(caller.user, None).await?;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > STREAMED_BYTES) {
        return Err(Error::TooLarge);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let input = FileInput {
        name,
        content_type: content_type.unwrap_or_default().to_owned(),
        reserved: length.unwrap_or(STREAMED_BYTES),
        limit: STREAMED_BYTES,
    };
    let body = request.into_body().into_data_stream();
    let upload = app.files.store(caller.user, input, body).await?.named(id);
    let sent = upload.file().clone();
    let receipt = app.submit(Command::Upload(Upload::Finish { file: sent.clone() }), Some(upload)).await?;
    let (status, file) = if receipt == (Receipt::Uploaded { created: true }) {
        (StatusCode::CREATED, sent)
    } else {
        let conn = app.store.reader().await?;
        (StatusCode::OK, queries::readable_file(&conn, queries::Reader::User(caller.user), id).await?)
    };
    let link = app.hub.link(&file, Some(caller.user));
    Ok((status, axum::Json(Attachment::new(file, link))).into_response())
}

/// Get a file's description
///
/// With a fresh link, for its uploader, the members of the room it is in, and services.
#[utoipa::path(
    get, path = "/v1/attachments/{attachment_id}", operation_id = "get_attachment", tag = "queries",
    params(("attachment_id" = AttachmentId, Path, description = "The file")),
    responses((status = 200, description = "The file", body = Attachment), Problems),
    security(("bearer" = [])),
)]
pub async fn get_attachment(
    State(app): State<Arc<App>>,
    caller: AnyCaller,
    Path(id): Path<AttachmentId>,
) -> Result<axum::Json<Attachment>> {
    let conn = app.store.reader().await?;
    let file = queries::readable_file(&conn, caller.reader(), id).await?;
    let link = app.hub.link(&file, caller.user());
    Ok(axum::Json(Attachment::new(file, link)))
}

/// What a signed link carries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinkParams {
    /// Whom the link was made for.
    u: String,
    /// When it expires, in seconds since 1970.
    exp: i64,
    /// The signature.
    sig: String,
}

/// Fetch a file by its link
///
/// The `link` of an attachment: needs no token, so that it works in an `<img>`, until it expires or its reader loses
/// access. Takes `Range` and `If-None-Match`. Where files are in an S3 store it may redirect to a URL of the store's that
/// works for a minute: follow it, and do not keep it.
#[utoipa::path(
    get, path = "/v1/attachments/{attachment_id}/{name}", operation_id = "download_attachment", tag = "queries",
    params(
        ("attachment_id" = AttachmentId, Path, description = "The file"),
        ("name" = String, Path, description = "Its name; for people, not looked at"),
        LinkParams,
    ),
    responses(
        (status = 200, description = "The bytes", content_type = "application/octet-stream", body = inline(Bytes)),
        (status = 206, description = "Some of the bytes", content_type = "application/octet-stream", body = inline(Bytes)),
        (status = 302, description = "Where the store has the bytes, for a minute", headers(("Location" = String))),
        (status = 304, description = "Not changed"),
        (status = 416, description = "No such bytes"),
        Problems,
    ),
    security(()),
)]
pub async fn download_attachment(
    State(app): State<Arc<App>>,
    method: Method,
    Path(path): Path<(AttachmentId, String)>,
    Query(LinkParams { u, exp, sig }): Query<LinkParams>,
    headers: HeaderMap,
) -> Result<Response> {
    let id = path.0;
    let void = || Error::Forbidden("link_expired");
    let reader = match app.links.verify(id, &u, exp, &sig).ok_or_else(void)? {
        Reader::User(user) => queries::Reader::User(user),
        Reader::Service => queries::Reader::Service,
    };
    let file = {
        let conn = app.store.reader().await?;
        queries::readable_file(&conn, reader, id).await.map_err(|error| match error {
            Error::Unavailable(_) | Error::Internal(_) => error,
            _ => void(),
        })?
    };
    let delivery = if app.config.redirect_to_files { Delivery::Redirect } else { Delivery::Proxy };
    attachments::serve(&app.files.bytes, delivery, &file, &headers, method == Method::HEAD).await
}
