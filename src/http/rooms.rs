//! Rooms and messages: the commands and queries of a conversation.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{AnyCaller, Caller, Json, Path, Query};
use super::openapi::{MessageForm, Problems, RoomForm};
use super::submission::Submission;
use crate::app::App;
use crate::domain::{CampaignId, Command, CreateRoom, Number, Receipt, RoomId, SendMessage, UpdateLastSeen};
use crate::error::{Error, Result};
use crate::queries::{self, ContractPath, PAGE_DEFAULT, PAGE_MAX, PageCursor, RoomPage, RoomsPage};
use crate::wire::{
    ContractHistory, CreateChatRoom, CreateChatRoomResp, CurrentlyTypingUpdate, DetailedRoom, LastSeenInput,
    LastSeenResp, MessageInput, Rooms, SendMessageResp,
};

/// What makes a command's retries safe; `submission.rs` reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the header")]
struct RetryKey {
    /// A UUID that makes retries safe, and becomes the `message_id`. UUIDv7 advised; made by the server when absent.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
    )]
    key: Option<String>,
}

/// Create a chat room
///
/// Sends a message to the room of a company and a creator, which is opened if there is none. A creator writes to a
/// company (`user_to_company`), or an employee to a creator (`company_to_user`). A file may come along in base64, by
/// the id of an upload, or in a form.
#[utoipa::path(
    post, path = "/v1/rooms", operation_id = "create_chat_room", tag = "commands",
    params(RetryKey),
    request_body(content(
        (CreateChatRoom = "application/json"),
        (RoomForm = "multipart/form-data"),
    )),
    responses(
        (status = 201, description = "The room was opened", body = CreateChatRoomResp,
            headers(("Location" = String, description = "The room"))),
        (status = 200, description = "The pair had a room, and the message is in it", body = CreateChatRoomResp,
            headers(("Location" = String, description = "The room"))),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn create_chat_room(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Result<Response> {
    let Submission { body, key, fingerprint, draft, upload } =
        Submission::<CreateChatRoom>::read(&app, caller, None, request).await?;
    let create = CreateRoom {
        caller: caller.user,
        direction: body.direction.into(),
        room_id: RoomId(app.clock.new_id()),
        key,
        fingerprint,
        from_user_id: body.message.from_user_id,
        draft,
    };
    let receipt = app.submit(Command::CreateRoom(create), upload).await?;
    let Receipt::Sent { room_id, message_id, number: id, .. } = receipt else { return Err(unexpected()) };
    let first = id == Number::ZERO.next();
    let status = if first { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/v1/rooms/{room_id}"))];
    Ok((status, location, axum::Json(CreateChatRoomResp { room_id, message_id, id })).into_response())
}

/// Send a message
///
/// Text, a file, a contract change and a campaign switch, in any combination: all of it happens or nothing. A file may
/// come in base64, by the id of an upload, or in a form.
#[utoipa::path(
    post, path = "/v1/rooms/{room_id}/messages", operation_id = "send_message", tag = "commands",
    params(
        ("room_id" = RoomId, Path, description = "The room"),
        RetryKey,
    ),
    request_body(content(
        (MessageInput = "application/json"),
        (MessageForm = "multipart/form-data"),
    )),
    responses((status = 201, description = "The message is in the room", body = SendMessageResp), Problems),
    security(("bearer" = [])),
)]
pub async fn send_message(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(room_id): Path<RoomId>,
    request: Request,
) -> Result<Response> {
    let Submission { body, key, fingerprint, draft, upload } =
        Submission::<MessageInput>::read(&app, caller, Some(room_id), request).await?;
    let from_user_id = body.from_user_id;
    let send = SendMessage { caller: caller.user, room_id, key, fingerprint, from_user_id, draft };
    let receipt = app.submit(Command::SendMessage(send), upload).await?;
    let Receipt::Sent { message_id, number: id, .. } = receipt else { return Err(unexpected()) };
    Ok((StatusCode::CREATED, axum::Json(SendMessageResp { message_id, id })).into_response())
}

/// A receipt of another kind than the command's would be a fault of ours.
fn unexpected() -> Error {
    Error::Internal("the receipt does not fit the command".to_owned())
}

/// Update how far the caller has seen a room
///
/// Only moves forward, and never beyond the last message; anything else changes nothing and is told to nobody.
#[utoipa::path(
    put, path = "/v1/rooms/{room_id}/last-seen", operation_id = "update_last_seen", tag = "commands",
    params(("room_id" = RoomId, Path, description = "The room")),
    request_body = LastSeenInput,
    responses((status = 200, description = "The values now in force", body = LastSeenResp), Problems),
    security(("bearer" = [])),
)]
pub async fn update_last_seen(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(room_id): Path<RoomId>,
    request: Request,
) -> Result<axum::Json<LastSeenResp>> {
    let LastSeenInput { seen_till } = member_body(&app, caller, room_id, request).await?;
    let update = UpdateLastSeen { caller: caller.user, room_id, seen_till };
    match app.writer.last_seen(update).await? {
        Receipt::Seen { seen_till, new_messages } => Ok(axum::Json(LastSeenResp { seen_till, new_messages })),
        _ => Err(unexpected()),
    }
}

/// A small body for a room; whoever is not in the room hears that first, whatever the body holds.
async fn member_body<T: serde::de::DeserializeOwned>(
    app: &Arc<App>,
    caller: Caller,
    room: RoomId,
    request: Request,
) -> Result<T> {
    use axum::extract::FromRequest;
    match Json::from_request(request, app).await {
        Ok(Json(body)) => Ok(body),
        Err(error) => {
            app.require_membership(caller.user, Some(room)).await?;
            Err(error)
        }
    }
}

/// Say that the caller is typing, or has stopped
///
/// Holds for 7 seconds; refresh it every 3. Sending a message ends it.
#[utoipa::path(
    put, path = "/v1/rooms/{room_id}/typing", operation_id = "update_typing", tag = "commands",
    params(("room_id" = RoomId, Path, description = "The room")),
    request_body = CurrentlyTypingUpdate,
    responses((status = 204, description = "Noted"), Problems),
    security(("bearer" = [])),
)]
pub async fn update_typing(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(room_id): Path<RoomId>,
    request: Request,
) -> Result<StatusCode> {
    let CurrentlyTypingUpdate { typing } = member_body(&app, caller, room_id, request).await?;
    let conn = app.store.reader().await?;
    let (room, _) = queries::readable_room(&conn, queries::Reader::User(caller.user), room_id).await?;
    app.hub.set_typing(room_id, (room.creator_id, room.company_id), caller.user, typing);
    Ok(StatusCode::NO_CONTENT)
}

/// Which page of the caller's rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomsParams {
    /// Rooms on a page.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// List the caller's rooms
///
/// Newest message first, on one snapshot; `position` is the stream cursor it is consistent with.
#[utoipa::path(
    get, path = "/v1/rooms", operation_id = "list_rooms", tag = "queries",
    params(RoomsParams),
    responses(
        (status = 200, description = "One page", body = Rooms,
            headers(("Link" = String, description = "The next page, `rel=\"next\"` (RFC 8288); absent on the last"))),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn list_rooms(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(params): Query<RoomsParams>,
) -> Result<Response> {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Error::field("/limit", format!("must be 1 to {PAGE_MAX}")));
    }
    let cursor = params.cursor.map(|text| text.parse::<PageCursor>()).transpose();
    let cursor = cursor.map_err(|why| Error::field("/cursor", why.to_string()))?;
    let conn = app.store.reader().await?;
    let page = RoomsPage { limit, cursor };
    let rooms = queries::rooms(&conn, caller.user, page, &app.view(Some(caller.user))).await?;
    let mut headers = HeaderMap::new();
    if let Some(next) = &rooms.next
        && let Ok(link) = HeaderValue::from_str(&format!("</v1/rooms?limit={limit}&cursor={next}>; rel=\"next\""))
    {
        headers.insert(header::LINK, link);
    }
    Ok((headers, axum::Json(rooms)).into_response())
}

/// Which page of a room's messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomParams {
    /// Messages on the page.
    #[param(minimum = 0, maximum = 200, default = 50, nullable = false)]
    message_qty: Option<usize>,
    /// Only messages with a lower number; absent for the newest page.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, nullable = false)]
    message_before: Option<i64>,
}

/// Query a room
///
/// The room with a page of its messages, oldest first, on one snapshot. Does not mark anything as read.
#[utoipa::path(
    get, path = "/v1/rooms/{room_id}", operation_id = "query_room", tag = "queries",
    params(("room_id" = RoomId, Path, description = "The room"), RoomParams),
    responses((status = 200, description = "The room", body = DetailedRoom), Problems),
    security(("bearer" = [])),
)]
pub async fn query_room(
    State(app): State<Arc<App>>,
    caller: AnyCaller,
    Path(room_id): Path<RoomId>,
    Query(params): Query<RoomParams>,
) -> Result<axum::Json<DetailedRoom>> {
    let quantity = params.message_qty.unwrap_or(PAGE_DEFAULT);
    if quantity > PAGE_MAX {
        return Err(Error::field("/message_qty", format!("must be 0 to {PAGE_MAX}")));
    }
    let before = params.message_before.map(message_number).transpose()?;
    let conn = app.store.reader().await?;
    let page = RoomPage { quantity, before };
    let room = queries::room(&conn, caller.reader(), room_id, page, &app.view(caller.user())).await?;
    Ok(axum::Json(room))
}

fn message_number(number: i64) -> Result<Number> {
    let number = Number::try_from(number).ok().filter(|number| *number > Number::ZERO);
    number.ok_or_else(|| Error::field("/message_before", "must be a message number, from 1"))
}

/// Query the history of a contract
///
/// Every change, oldest first: who, when, terms, message.
#[utoipa::path(
    get, path = "/v1/rooms/{room_id}/contracts/{campaign_id}/history", operation_id = "query_contract_history",
    tag = "queries",
    params(
        ("room_id" = RoomId, Path, description = "The room"),
        ("campaign_id" = CampaignId, Path, description = "The campaign"),
    ),
    responses((status = 200, description = "The changes", body = ContractHistory), Problems),
    security(("bearer" = [])),
)]
pub async fn query_contract_history(
    State(app): State<Arc<App>>,
    caller: AnyCaller,
    Path((room_id, campaign_id)): Path<(RoomId, CampaignId)>,
) -> Result<axum::Json<ContractHistory>> {
    let conn = app.store.reader().await?;
    let path = ContractPath { room_id, campaign_id };
    let history = queries::history(&conn, caller.reader(), path, &app.view(caller.user())).await?;
    Ok(axum::Json(history))
}
