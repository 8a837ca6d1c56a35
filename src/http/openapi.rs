//! The API description: OpenAPI 3.1 from the router itself, spelled the way every generator understands.
//!
//! What utoipa derives is changed in three places: variants of unions become components of their own with a
//! discriminator, aliases of plain strings and integers are written out where they are used, and a 3.0.3 twin is made
//! for generators that know no newer version.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::wire::{FieldError, Problem, StreamEvent};

/// What the description says beside the operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Haggle",
        description = "A chat server on which creators and companies negotiate campaign contracts. Commands and queries \
                       are REST; notifications are server-sent events. Errors are problem details (RFC 9457): switch on \
                       `code`. Ids are UUIDs, money is in cents, time is RFC 3339 in UTC. An optional field without a \
                       value is absent, never null; unknown input fields are refused.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(name = "The Haggle team"),
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "commands", description = "What changes a conversation"),
        (name = "queries", description = "What a conversation looks like; each answer is one snapshot"),
        (name = "events", description = "What has just happened"),
        (name = "directory", description = "The host application's users, companies and campaigns (service scope)"),
        (name = "server", description = "The server itself"),
    ),
    components(schemas(StreamEvent, Problem, FieldError)),
    modifiers(&Schemes),
)]
pub struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A token of the host application: `sub` is the user, or `scope` holds `haggle:admin`."))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description(
            "haggle_{user_id}",
            "Set by `POST /v1/events/session`; opens the event stream only. `__Secure-haggle_{user_id}` over TLS.",
        );
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// What any operation may answer instead, listed once.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the derive only")]
pub enum Problems {
    /// Malformed: cannot be read
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// No token, or not a good one
    #[response(status = 401, content_type = "application/problem+json",
        headers(("WWW-Authenticate" = String, description = "Bearer")))]
    Unauthorized(Problem),
    /// Known, but not allowed
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// Not there, or not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// In conflict with the current state, which it carries
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// Too large; nothing is stored
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Of a media type that is not taken here
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// Valid JSON with values that are not
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
    /// Too many requests
    #[response(status = 429, content_type = "application/problem+json",
        headers(("Retry-After" = i32, description = "Seconds")))]
    TooManyRequests(Problem),
    /// A fault of the server's
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// `unavailable`: nothing was done; `outcome_unknown`: retry with the same key only
    #[response(status = 503, content_type = "application/problem+json",
        headers(("Retry-After" = i32, description = "Seconds")))]
    Unavailable(Problem),
}

/// Bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct Bytes(Vec<u8>);

/// A message with a file, as a form; parts in any order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct MessageForm {
    /// A `MessageInput` as JSON text.
    #[schema(value_type = String, content_media_type = "application/json", example = r#"{"content":"See the file"}"#)]
    message: String,
    /// The file, at most 25 MiB.
    #[schema(value_type = Option<String>, nullable = false, format = Binary, content_media_type = "application/octet-stream")]
    attachment: Option<Vec<u8>>,
}

/// A new room with a file, as a form; parts in any order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct RoomForm {
    /// A `CreateChatRoom` as JSON text.
    #[schema(value_type = String, content_media_type = "application/json",
        example = r#"{"message":{"content":"See the file"},"direction":{"type":"user_to_company","company_id":"0199c0de-0000-7000-8000-00000000c001"}}"#)]
    room: String,
    /// The file, at most 25 MiB.
    #[schema(value_type = Option<String>, nullable = false, format = Binary, content_media_type = "application/octet-stream")]
    attachment: Option<Vec<u8>>,
}

/// The description as JSON, of what utoipa collected from the router.
#[must_use]
pub fn finish(mut document: Document) -> Value {
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    name_variants(&mut document);
    inline_aliases(&mut document);
    document
}

fn schemas(document: &mut Value) -> Option<&mut Map<String, Value>> {
    document.pointer_mut("/components/schemas")?.as_object_mut()
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// Unions in request bodies: their variants take no unknown fields, which utoipa does not see.
const INPUT_UNIONS: [&str; 3] = ["ContractChangeInput", "CreateChatRoomDirection", "DirectoryChange"];

/// Gives each variant of a union that is told apart by `type` a name, and the union a discriminator.
fn name_variants(document: &mut Value) {
    let Some(schemas) = schemas(document) else { return };
    let mut named = Map::new();
    for (name, schema) in schemas.iter_mut() {
        let Some(variants) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { continue };
        let tags: Option<Vec<String>> = variants.iter().map(tag).collect();
        let Some(tags) = tags else { continue };
        let mut mapping = Map::new();
        for (variant, tag) in variants.iter_mut().zip(tags) {
            let variant_name = format!("{name}{}", pascal(&tag));
            let by_reference = json!({ "$ref": reference(&variant_name) });
            mapping.insert(tag, by_reference["$ref"].clone());
            if INPUT_UNIONS.contains(&name.as_str()) {
                variant["additionalProperties"] = json!(false);
            }
            named.insert(variant_name, std::mem::replace(variant, by_reference));
        }
        schema["discriminator"] = json!({ "propertyName": "type", "mapping": mapping });
    }
    schemas.extend(named);
}

/// The one value that a variant's `type` may have.
fn tag(variant: &Value) -> Option<String> {
    match variant.pointer("/properties/type/enum")?.as_array()?.as_slice() {
        [one] => one.as_str().map(str::to_owned),
        _ => None,
    }
}

fn pascal(snake: &str) -> String {
    let capital = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    snake.split('_').map(capital).collect::<Vec<String>>().concat()
}

/// Writes out ids, numbers and times where they are used: generators make odd classes of aliases.
fn inline_aliases(document: &mut Value) {
    let Some(schemas) = schemas(document) else { return };
    let is_alias =
        |schema: &Value| schema["type"].is_string() && schema["type"] != "object" && schema.get("enum").is_none();
    let names: Vec<String> =
        schemas.iter().filter(|(_, schema)| is_alias(schema)).map(|(name, _)| name.clone()).collect();
    let aliases: Map<String, Value> =
        names.into_iter().filter_map(|name| Some((reference(&name), schemas.remove(&name)?))).collect();
    replace(document, &aliases);
}

fn replace(value: &mut Value, aliases: &Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(alias) = fields.get("$ref").and_then(Value::as_str).and_then(|name| aliases.get(name)) {
                let mut alias = alias.as_object().cloned().unwrap_or_default();
                fields.remove("$ref");
                alias.append(fields);
                *fields = alias;
            }
            fields.values_mut().for_each(|field| replace(field, aliases));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, aliases)),
        _ => {}
    }
}

/// The same as OpenAPI 3.0.3, for generators that know no newer version.
#[must_use]
pub fn down_to_3_0(document: &Value) -> Value {
    let mut document = document.clone();
    document["openapi"] = json!("3.0.3");
    if let Some(license) = document.pointer_mut("/info/license").and_then(Value::as_object_mut) {
        license.remove("identifier");
    }
    simplify(&mut document);
    if let Some(schemas) = schemas(&mut document) {
        for form in ["MessageForm", "RoomForm"] {
            schemas.remove(form);
        }
    }
    document
}

/// Takes out what 3.0 does not know: forms with typed parts, content encodings, lists of examples, words beside a
/// reference. Discriminators go too, since some generators for Rust that want 3.0 take `type` away from the variants
/// where there is one; the variants' one-valued `type` tells them apart. And patterns, of which they make types that need a
/// library for regular expressions, and refusals without a body, since they take one type of error per operation.
fn simplify(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("contentMediaType");
            fields.remove("contentEncoding");
            fields.remove("discriminator");
            if fields.get("pattern").is_some_and(Value::is_string) {
                fields.remove("pattern");
            }
            if let Some(content) = fields.get_mut("content").and_then(Value::as_object_mut)
                && content.len() > 1
            {
                content.remove("multipart/form-data");
            }
            if let Some(Value::Array(examples)) = fields.get_mut("examples")
                && let Some(example) = examples.pop()
            {
                fields.remove("examples");
                fields.insert("example".to_owned(), example);
            }
            if let Some(responses) = fields.get_mut("responses").and_then(Value::as_object_mut) {
                responses.retain(|status, response| !status.starts_with('4') || response.get("content").is_some());
            }
            if fields.contains_key("$ref") {
                fields.retain(|name, _| name == "$ref");
            }
            fields.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}
