//! What a message comes with: its body as JSON or multipart, its file, its idempotency key.
//!
//! The order of the wire contract is kept: membership is asked before the key and the values are looked at. For a
//! small body the writer asks it anyway, so it is asked here only when something else is wrong, or when there is much
//! to read.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use http_body_util::Limited;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::{self, FILE_BODY_BYTES};
use super::extract::{Caller, idempotency_key, media_type};
use super::json;
use crate::app::App;
use crate::app::files::{FileInput, StoredUpload};
use crate::attachments::{BASE64_BYTES, STREAMED_BYTES};
use crate::domain::{Change, Draft, DraftFile, Fingerprint, MessageId, RoomId};
use crate::error::{Error, Result};
use crate::wire::{AttachmentInput, CreateChatRoom, MessageInput};

/// Bodies up to this size, in bytes, are read before anything is asked of the database.
const READ_AT_ONCE: u64 = 64 * 1024;
/// The largest `message` or `room` part of a form, in bytes: the longest content in its longest spelling.
const JSON_PART_BYTES: usize = 256 * 1024;
/// The largest form, in bytes: both parts, and what is around them.
#[expect(clippy::cast_possible_truncation, reason = "a few MiB")]
const FORM_BYTES: usize = STREAMED_BYTES as usize + 2 * JSON_PART_BYTES;
/// A form has two parts; a few more are read so that the answer can say which one is not known.
const PARTS: usize = 8;

/// A body that holds a message.
pub trait HoldsMessage: DeserializeOwned + Serialize + Send {
    /// The name of the form part that holds all of it as JSON.
    const PART: &'static str;
    /// Where the message is in it, as a JSON Pointer.
    const POINTER: &'static str;

    /// The message.
    fn message(&mut self) -> &mut MessageInput;
}

impl HoldsMessage for MessageInput {
    const PART: &'static str = "message";
    const POINTER: &'static str = "";

    fn message(&mut self) -> &mut MessageInput {
        self
    }
}

impl HoldsMessage for CreateChatRoom {
    const PART: &'static str = "room";
    const POINTER: &'static str = "/message";

    fn message(&mut self) -> &mut MessageInput {
        &mut self.message
    }
}

/// A message as it was submitted, its file stored.
pub struct Submission<T> {
    /// The body.
    pub body: T,
    /// The idempotency key.
    pub key: MessageId,
    /// What makes another request the same.
    pub fingerprint: Fingerprint,
    /// The message.
    pub draft: Draft,
    /// The file that came with it; its bytes go again if the message is refused.
    pub upload: Option<StoredUpload>,
}

impl<T: HoldsMessage> Submission<T> {
    /// Reads a request for `room`, or for a room that may not exist yet.
    ///
    /// # Errors
    /// Everything that can be wrong with it, in the order of the wire contract.
    pub async fn read(app: &Arc<App>, caller: Caller, room: Option<RoomId>, request: Request) -> Result<Self> {
        let small = content_length(request.headers()).is_some_and(|length| length <= READ_AT_ONCE);
        let is_json = media_type(request.headers()).as_deref() == Some("application/json");
        if !(small && is_json) {
            app.require_membership(caller.user, room).await?;
            return Self::read_body(app, caller, room, request).await;
        }
        match Self::read_body(app, caller, room, request).await {
            Ok(read) => Ok(read),
            Err(error) => {
                app.require_membership(caller.user, room).await?;
                Err(error)
            }
        }
    }

    async fn read_body(app: &Arc<App>, caller: Caller, room: Option<RoomId>, request: Request) -> Result<Self> {
        let key = idempotency_key(request.headers(), app)?;
        let (mut body, file): (T, _) = match media_type(request.headers()).as_deref() {
            Some("application/json") => (read_json(app, request).await?, None),
            Some("multipart/form-data") => read_form(app, caller, request).await?,
            _ => return Err(Error::UnsupportedMediaType),
        };
        let inline = body.message().attachment.take();
        check_files::<T>(body.message(), inline.is_some(), file.is_some())?;
        let upload = match inline {
            Some(inline) => {
                // A stranger's file is not even stored.
                app.require_membership(caller.user, room).await?;
                Some(store_inline(app, caller, inline).await?)
            }
            None => file,
        };
        check_content::<T>(body.message(), upload.is_some())?;
        let fingerprint = fingerprint(&body, room, upload.as_ref());
        let draft = draft(body.message(), upload.as_ref());
        Ok(Self { body, key, fingerprint, draft, upload })
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read_json<T: DeserializeOwned>(app: &App, request: Request) -> Result<T> {
    let length = content_length(request.headers());
    if length.is_some_and(|length| length > FILE_BODY_BYTES as u64) {
        return Err(Error::TooLarge);
    }
    // The body, what is decoded from it, and the store's buffer are in memory together.
    let weight = 2 * length.unwrap_or(FILE_BODY_BYTES as u64);
    let _reserved = if weight > READ_AT_ONCE { Some(app.files.reserve(weight)?) } else { None };
    let bytes = body::read(request.into_body(), FILE_BODY_BYTES).await?;
    json::parse(&bytes)
}

/// Reads a form: its JSON part and its file, in any order, the file straight into the store.
async fn read_form<T: HoldsMessage>(
    app: &Arc<App>,
    caller: Caller,
    request: Request<Body>,
) -> Result<(T, Option<StoredUpload>)> {
    let broken = |()| Error::Malformed("The form cannot be read.".to_owned());
    let length = content_length(request.headers()).unwrap_or(STREAMED_BYTES);
    let request = request.map(|body| Body::new(Limited::new(body, FORM_BYTES)));
    let mut form = Multipart::from_request(request, app).await.map_err(|_| broken(()))?;
    let (mut body, mut file) = (None, None);
    for _ in 0..PARTS {
        let Some(part) = form.next_field().await.map_err(|_| broken(()))? else { break };
        let name = part.name().unwrap_or_default().to_owned();
        if name == T::PART && body.is_none() {
            body = Some(json::parse(&read_part(part).await?)?);
        } else if name == "attachment" && file.is_none() {
            let input = FileInput {
                name: file_name(part.file_name())?,
                content_type: part.content_type().unwrap_or_default().to_owned(),
                reserved: length.min(STREAMED_BYTES),
                limit: STREAMED_BYTES,
            };
            file = Some(app.files.store(caller.user, input, part).await?);
        } else {
            return Err(Error::field(format!("/{name}"), "is not a part here, or is there twice"));
        }
    }
    let body = body.ok_or_else(|| Error::field(format!("/{}", T::PART), "is required"))?;
    Ok((body, file))
}

async fn read_part(mut part: axum::extract::multipart::Field<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let broken = |_| Error::Malformed("The form broke off.".to_owned());
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > JSON_PART_BYTES {
            return Err(Error::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The name of a file in a form; browsers send one, others may not.
fn file_name(name: Option<&str>) -> Result<crate::domain::FileName> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("file").to_owned();
    name.try_into().map_err(|why: crate::domain::Invalid| Error::field("/attachment/name", why.to_string()))
}

async fn store_inline(app: &Arc<App>, caller: Caller, inline: AttachmentInput) -> Result<StoredUpload> {
    let bytes = inline.content.0;
    let size = bytes.len() as u64;
    if size > BASE64_BYTES {
        return Err(Error::TooLarge);
    }
    let input =
        FileInput { name: inline.name, content_type: inline.content_type.into(), reserved: size, limit: BASE64_BYTES };
    let body = tokio_stream::once(Ok::<_, std::io::Error>(bytes.into()));
    app.files.store(caller.user, input, body).await
}

fn check_files<T: HoldsMessage>(message: &MessageInput, inline: bool, part: bool) -> Result<()> {
    let files = usize::from(inline) + usize::from(part) + usize::from(message.attachment_id.is_some());
    if files > 1 {
        return Err(Error::field(format!("{}/attachment", T::POINTER), "is one of several files; a message holds one"));
    }
    Ok(())
}

fn check_content<T: HoldsMessage>(message: &MessageInput, has_file: bool) -> Result<()> {
    let beside = has_file
        || message.attachment_id.is_some()
        || message.contract_change.is_some()
        || message.change_selected_campaign_to.is_some();
    if message.content.is_empty() && !beside {
        let pointer = format!("{}/content", T::POINTER);
        return Err(Error::field(
            pointer,
            "must not be empty without an attachment, contract change or campaign change",
        ));
    }
    Ok(())
}

fn draft(message: &MessageInput, upload: Option<&StoredUpload>) -> Draft {
    let fresh = upload.map(|upload| DraftFile::Fresh(upload.file().clone()));
    Draft {
        content: message.content.clone(),
        change: message.contract_change.as_ref().map(Change::from),
        file: fresh.or(message.attachment_id.map(DraftFile::Uploaded)),
        switch_to: message.change_selected_campaign_to,
    }
}

/// SHA-256 over route, body and file, the file by its name and bytes: the same for JSON and for a form.
fn fingerprint<T: HoldsMessage>(body: &T, room: Option<RoomId>, upload: Option<&StoredUpload>) -> Fingerprint {
    let file = upload.map(|upload| (&upload.file().name, &upload.file().sha256));
    let whole = serde_json::to_vec(&(T::PART, room, body, file)).unwrap_or_default();
    let mut fingerprint = Fingerprint::default();
    fingerprint.0.copy_from_slice(digest(&SHA256, &whole).as_ref());
    fingerprint
}
