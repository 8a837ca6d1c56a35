//! Reading JSON and query strings, and saying what is wrong with them in our own words.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::error::{Error, Result};
use crate::wire::union::split_field;
use crate::wire::{FieldError, Object};

/// Reads a request body: a JSON object with exactly the fields of `T`.
///
/// # Errors
/// [`Error::Malformed`] for what is not JSON (also nested deeper than 128, or not UTF-8), [`Error::Invalid`] for JSON
/// with wrong values, with a pointer to the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(explain)?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Reads a query string.
///
/// # Errors
/// [`Error::Invalid`] with the parameter's name.
pub fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T> {
    let deserializer = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        wrong(&pointer, &error.inner().to_string())
    })
}

fn explain(error: serde_path_to_error::Error<serde_json::Error>) -> Error {
    let pointer = pointer(error.path());
    let inner = error.into_inner();
    match inner.classify() {
        Category::Data => wrong(&pointer, &inner.to_string()),
        Category::Syntax | Category::Eof | Category::Io => malformed(&inner),
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    Error::Malformed(format!("The body is not valid JSON (line {}, column {}).", error.line(), error.column()))
}

/// A JSON Pointer (RFC 6901) to where a path leads.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.extend(["/", &index.to_string()]),
            Segment::Map { key } => pointer.extend(["/", &escape(key)]),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The longest name of a field that is repeated to the sender, in characters.
const NAME_SHOWN: usize = 64;

/// Says what serde means. Our own checks speak for themselves; where they stand in the text is not interesting.
fn wrong(pointer: &str, message: &str) -> Error {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    if let Some((field, message)) = split_field(message) {
        return wrong(&format!("{pointer}/{}", escape(field)), message);
    }
    let named = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?;
        let name: String = rest.split('`').next()?.chars().take(NAME_SHOWN).collect();
        Some(format!("{pointer}/{}", escape(&name)))
    };
    let whole = |detail: &str| FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() };
    let error = if let Some(pointer) = named("unknown field `") {
        // serde's path ends at the unknown field's name already.
        let pointer = dedupe(pointer);
        FieldError { pointer, detail: "is not a field here".to_owned() }
    } else if let Some(pointer) = named("missing field `") {
        FieldError { pointer, detail: "is required".to_owned() }
    } else if let Some(pointer) = named("duplicate field `") {
        FieldError { pointer: dedupe(pointer), detail: "is there twice".to_owned() }
    } else if message.starts_with("unknown variant") {
        whole("is none of the values that are taken here")
    } else if message.starts_with("invalid type") || message.starts_with("invalid value") {
        whole("has the wrong type")
    } else if message.contains("UUID") {
        whole("must be a UUID")
    } else if message.starts_with("must ") || message.starts_with("is ") {
        whole(message)
    } else {
        whole("has a value that is not taken here")
    };
    Error::Invalid(vec![error])
}

/// `/a/b/b` where the path and the message both name `b`.
fn dedupe(pointer: String) -> String {
    match pointer.rsplit_once('/') {
        Some((before, last)) if before.rsplit('/').next() == Some(last) => before.to_owned(),
        _ => pointer,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::wire::{CreateChatRoom, DirectoryBatch, LastSeenInput, MessageInput, PutUser};

    const FIELDS: [&str; 22] = [
        "attachment",
        "attachment_id",
        "campaign_id",
        "company_id",
        "content",
        "content_type",
        "contract_change",
        "direction",
        "expected_payout",
        "expected_version",
        "family_name",
        "given_name",
        "id",
        "logo_url",
        "message",
        "name",
        "open",
        "operations",
        "payout",
        "seen_till",
        "type",
        "a/b~c",
    ];
    const TEXTS: [&str; 11] = [
        "",
        "accepted_by_creator",
        "put_user",
        "delete_user",
        "put_campaign",
        "proposed_by_company",
        "user_to_company",
        "company_to_user",
        "0199c0de-0000-7000-8000-00000000c001",
        "at x: missing field `y`",
        "aGVsbG8=",
    ];

    /// Any JSON, most often such as is near to a body.
    fn bodies() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            let name = proptest::sample::select(&FIELDS[..]).prop_map(str::to_owned);
            let fields = proptest::collection::vec((name, inner.clone()), 0..8);
            let object = fields.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()));
            prop_oneof![4 => object, 1 => proptest::collection::vec(inner, 0..4).prop_map(Value::from)]
        })
    }

    /// What is wrong is there, or is missing where it should be.
    fn pointer_leads_somewhere<T: DeserializeOwned>(body: &Value) -> bool {
        match parse::<T>(body.to_string().as_bytes()) {
            Ok(_) | Err(Error::Malformed(_)) => true,
            Err(Error::Invalid(errors)) => errors.iter().all(|error| {
                let parent = error.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
                !error.detail.is_empty()
                    && (body.pointer(&error.pointer).is_some() || body.pointer(parent).is_some_and(Value::is_object))
            }),
            Err(_) => false,
        }
    }

    proptest! {
        #[test]
        fn every_pointer_leads_somewhere(body in bodies()) {
            let leads = [
                pointer_leads_somewhere::<MessageInput>,
                pointer_leads_somewhere::<CreateChatRoom>,
                pointer_leads_somewhere::<DirectoryBatch>,
                pointer_leads_somewhere::<LastSeenInput>,
                pointer_leads_somewhere::<PutUser>,
            ];
            for leads in leads {
                prop_assert!(leads(&body), "{}", body);
            }
        }

        #[test]
        fn no_bytes_make_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            near in r#"[{}\[\]":,\\ud8eE+.0-9 -]{0,60}"#,
            query in any::<String>(),
        ) {
            for bytes in [bytes.as_slice(), near.as_bytes()] {
                let _ = parse::<DirectoryBatch>(bytes);
                let _ = parse::<CreateChatRoom>(bytes);
            }
            let _ = parse_query::<PutUser>(&query);
        }
    }

    fn refused(body: &str) -> String {
        match parse::<MessageInput>(body.as_bytes()).unwrap_err() {
            Error::Invalid(errors) => format!("{} {}", errors[0].pointer, errors[0].detail),
            Error::Malformed(why) => why,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_named_by_pointer() {
        insta::assert_snapshot!(refused(r#"{"content": 5}"#), @"/content has the wrong type");
        insta::assert_snapshot!(refused(r"{}"), @"/content is required");
        insta::assert_snapshot!(refused(r#"{"content":"a","contnet":1}"#), @"/contnet is not a field here");
        insta::assert_snapshot!(refused(r#"{"content":"a","content":"b"}"#), @"/content is there twice");
        insta::assert_snapshot!(refused(r#"{"content":"a\u0000"}"#), @"/content must not contain U+0000");
        insta::assert_snapshot!(
            refused(r#"{"content":"","attachment":{"name":"a/b","content":"","content_type":""}}"#),
            @"/attachment/name must be a name, not a path"
        );
        insta::assert_snapshot!(refused(r#"{"content":"","attachment_id":"x"}"#), @"/attachment_id must be a UUID");
        insta::assert_snapshot!(
            refused(r#"{"content":"","contract_change":{"type":"accepted"}}"#),
            @"/contract_change/type is none of the values that are taken here"
        );
    }

    fn change_refused(change: &str) -> String {
        refused(&format!(r#"{{"content":"","contract_change":{change}}}"#))
    }

    #[test]
    fn pointers_go_on_into_unions() {
        insta::assert_snapshot!(
            change_refused(r#"{"type":"accepted_by_creator","expected_version":"1"}"#),
            @"/contract_change/expected_version has the wrong type"
        );
        insta::assert_snapshot!(
            change_refused(r#"{"expected_version":1,"expected_payout":-1,"type":"accepted_by_creator"}"#),
            @"/contract_change/expected_payout must be an integer from 0 to 9007199254740991"
        );
        insta::assert_snapshot!(
            change_refused(r#"{"type":"proposed_by_company","payout":"many","campaign_id":"x"}"#),
            @"/contract_change/payout has the wrong type"
        );
        insta::assert_snapshot!(
            change_refused(r#"{"type":"proposed_by_company","campaign_id":"x","payout":"many"}"#),
            @"/contract_change/campaign_id must be a UUID"
        );
        insta::assert_snapshot!(change_refused(r#"{"type":"proposed_by_company","payout":1}"#), @"/contract_change/campaign_id is required");
        insta::assert_snapshot!(change_refused(r#"{"type":"accepted_by_creator","x":1,"expected_version":""}"#), @"/contract_change/x is not a field here");
        insta::assert_snapshot!(change_refused(r#"{"type":"accepted_by_creator","at a: b":1}"#), @"/contract_change/at a: b is not a field here");
        insta::assert_snapshot!(
            change_refused(r#"{"type":"accepted_by_creator","expected_version":1,"expected_version":2}"#),
            @"/contract_change/expected_version is there twice"
        );
        insta::assert_snapshot!(change_refused(r#"{"type":1}"#), @"/contract_change/type has the wrong type");
        insta::assert_snapshot!(change_refused(r#"{"type":"at x: y"}"#), @"/contract_change/type is none of the values that are taken here");
        insta::assert_snapshot!(change_refused("{}"), @"/contract_change/type is required");
        insta::assert_snapshot!(change_refused("[]"), @"/contract_change has the wrong type");
        insta::assert_snapshot!(change_refused("true"), @"/contract_change has the wrong type");
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for body in ["", "{", "nope", r#"{"content":"\ud800"}"#, r#"{"content":1e999}"#, r#"{"content":"a"} x"#] {
            assert!(matches!(parse::<MessageInput>(body.as_bytes()), Err(Error::Malformed(_))), "{body:.40}");
        }
        assert!(matches!(parse::<MessageInput>(b"{\"content\":\"\xff\"}"), Err(Error::Malformed(_))));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", r#"{"content":"a","attachment":"#, "[".repeat(100_000));
        assert!(parse::<MessageInput>(deep.as_bytes()).is_err());
    }

    #[test]
    fn lists_are_not_objects() {
        assert!(parse::<MessageInput>(br#"["a"]"#).is_err());
        assert!(parse::<CreateChatRoom>(b"[]").is_err());
    }
}
