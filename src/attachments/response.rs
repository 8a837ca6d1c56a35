//! A file as an HTTP answer: whole or one range of it, and never as something that runs.
//!
//! The headers assume the worst of the bytes. The type is sent from closed lists and must not be guessed again
//! (`nosniff`), what is not proven harmless is saved instead of shown, and should a browser render a file after all,
//! it does so in a sandbox that loads and runs nothing.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_range_header::{RangeUnsatisfiableError, parse_range_header};

use super::disposition::content_disposition;
use super::media::{is_inline, served_type};
use super::store::{FileStore, Fixed, ReadError};
use crate::domain::StoredFile;
use crate::error::{Error, Result};

/// How long bytes may be kept, and by whom: by the reader's browser.
const CACHED: &str = "private, max-age=3600, immutable";

/// How long a link of the store's works: time to follow a redirect, and hardly to pass it on. Whoever loses access
/// gets no new one.
const REDIRECT_LIFE: Duration = Duration::from_mins(1);

/// What every answer about a file says. A link works for at least an hour, and so long may its bytes be kept; they
/// never change.
const ALWAYS: [(HeaderName, &str); 6] = [
    (ACCEPT_RANGES, "bytes"),
    (CACHE_CONTROL, CACHED),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Bytes(Range<u64>),
    Unsatisfiable,
}

/// Who sends the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// This server.
    Proxy,
    /// The store, to which the reader is sent; this server, if the store is a folder.
    Redirect,
}

/// Answers a request for `file` that carried `headers`: 200, 206, 304 or 416 (RFC 9110 §13 and §14), or 302 to the store.
///
/// # Errors
/// [`Error::Unavailable`] if the bytes cannot be read: a file that is known has its bytes, so a later try may find
/// them.
pub async fn serve(
    store: &FileStore,
    delivery: Delivery,
    file: &StoredFile,
    headers: &HeaderMap,
    head_only: bool,
) -> Result<Response> {
    let tag = entity_tag(file);
    if is_known(headers, &tag) {
        return Ok(answer(StatusCode::NOT_MODIFIED, &tag, Body::empty()));
    }
    if delivery == Delivery::Redirect
        && let Some(response) = sent_to_store(store, file, head_only).await?
    {
        return Ok(response);
    }
    let size = file.size.unsigned_abs();
    // Ranges are defined for GET alone (RFC 9110 §14.2).
    match if head_only { Part::Whole } else { wanted(headers, &tag, size) } {
        Part::Unsatisfiable => {
            let mut response = answer(StatusCode::RANGE_NOT_SATISFIABLE, &tag, Body::empty());
            set(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
            Ok(response)
        }
        Part::Whole => {
            let body = if head_only {
                store.check(file.object).await.map_err(|error| unavailable(file, error))?;
                Body::empty()
            } else {
                open(store, file, None).await?
            };
            Ok(with_bytes(answer(StatusCode::OK, &tag, body), file, size))
        }
        Part::Bytes(range) => {
            let (first, last, length) = (range.start, range.end - 1, range.end - range.start);
            let body = open(store, file, Some(range)).await?;
            let mut response = with_bytes(answer(StatusCode::PARTIAL_CONTENT, &tag, body), file, length);
            set(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            Ok(response)
        }
    }
}

/// To a link of the store's, if it is one that has links. The store answers with the type and disposition that this
/// server would, and ranges are its business.
async fn sent_to_store(store: &FileStore, file: &StoredFile, head_only: bool) -> Result<Option<Response>> {
    let method = if head_only { Method::HEAD } else { Method::GET };
    let disposition = content_disposition(&file.name, is_inline(&file.content_type));
    let fixed = Fixed {
        content_type: served_type(&file.content_type),
        content_disposition: disposition.to_str().unwrap_or("attachment"),
        cache_control: CACHED,
    };
    let link = store.link(file.object, method, fixed, REDIRECT_LIFE).await;
    let Some(link) = link.map_err(|error| unavailable(file, error))? else { return Ok(None) };
    let mut response = (StatusCode::FOUND, ALWAYS).into_response();
    response.headers_mut().remove(ACCEPT_RANGES);
    set(&mut response, CACHE_CONTROL, "private, no-store");
    set(&mut response, LOCATION, link.as_str());
    Ok(Some(response))
}

async fn open(store: &FileStore, file: &StoredFile, range: Option<Range<u64>>) -> Result<Body> {
    store.read(file.object, range).await.map(Body::from_stream).map_err(|error| unavailable(file, error))
}

fn unavailable(file: &StoredFile, error: ReadError) -> Error {
    Error::Unavailable(match error {
        ReadError::NotFound => format!("the bytes of attachment {} are missing", file.id),
        ReadError::Store(why) => format!("attachment {}: {why}", file.id),
    })
}

/// A strong entity tag (RFC 9110 §8.8.3): the same bytes, the same tag.
fn entity_tag(file: &StoredFile) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.sha256))
}

/// Whether the client has these bytes already: `If-None-Match`, compared weakly (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = values.flat_map(|value| value.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The part that `Range` asks for. One that cannot be read, asks for several parts, or is meant for other bytes
/// (`If-Range`, compared strongly, RFC 9110 §13.1.5) counts as none.
fn wanted(headers: &HeaderMap, tag: &str, size: u64) -> Part {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else { return Part::Whole };
    if headers.get(IF_RANGE).is_some_and(|value| value.as_bytes() != tag.as_bytes()) {
        return Part::Whole;
    }
    let Ok(range) = parse_range_header(range) else { return Part::Whole };
    if range.len() > 1 {
        return Part::Whole;
    }
    match range.validate(size) {
        Ok(ranges) => ranges.first().map_or(Part::Whole, |range| Part::Bytes(*range.start()..*range.end() + 1)),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Part::Unsatisfiable,
        Err(_) => Part::Whole,
    }
}

fn answer(status: StatusCode, tag: &str, body: Body) -> Response {
    let mut response = (status, ALWAYS, body).into_response();
    set(&mut response, ETAG, tag);
    response
}

fn with_bytes(mut response: Response, file: &StoredFile, length: u64) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(served_type(&file.content_type)));
    headers.insert(CONTENT_DISPOSITION, content_disposition(&file.name, is_inline(&file.content_type)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Sets a header to a value of ours, which is always ASCII.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::attachments::media_type;
    use crate::domain::{AttachmentId, ObjectId, UserId};

    struct Fixture {
        _folder: TempDir,
        store: FileStore,
        file: StoredFile,
    }

    /// What a client sees: status, headers and body.
    struct Seen {
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
    }

    impl Fixture {
        async fn new(name: &str, bytes: &'static [u8], declared: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = FileStore::local(folder.path()).unwrap();
            let object = ObjectId(Uuid::from_u128(2));
            let body = stream::iter([Ok::<_, Infallible>(Bytes::from_static(bytes))]);
            let written = store.write(object, body, 1_000).await.unwrap();
            let file = StoredFile {
                id: AttachmentId(Uuid::from_u128(1)),
                object,
                owner: UserId(Uuid::from_u128(3)),
                name: name.to_owned(),
                content_type: media_type(&written.head, declared),
                size: written.size,
                sha256: written.sha256,
                room_id: None,
            };
            Self { _folder: folder, store, file }
        }

        async fn ask(&self, headers: &[(HeaderName, &str)], head_only: bool) -> Seen {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            let response = serve(&self.store, Delivery::Redirect, &self.file, &headers, head_only).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            Seen { status: parts.status.as_u16(), headers: parts.headers, body }
        }

        async fn get(&self, headers: &[(HeaderName, &str)]) -> Seen {
            self.ask(headers, false).await
        }
    }

    impl Seen {
        fn header(&self, name: &HeaderName) -> &str {
            self.headers.get(name).map_or("", |value| value.to_str().unwrap())
        }
    }

    #[tokio::test]
    async fn a_file_comes_whole_with_every_header() {
        let file = Fixture::new("notes.txt", b"0123456789", "text/plain").await;
        let seen = file.get(&[]).await;
        assert_eq!((seen.status, seen.body.as_slice()), (200, b"0123456789".as_slice()));
        let mut headers: Vec<_> =
            seen.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        headers.sort();
        insta::assert_snapshot!(headers.join("\n"), @r#"
accept-ranges: bytes
cache-control: private, max-age=3600, immutable
content-disposition: attachment; filename="notes.txt"; filename*=UTF-8''notes.txt
content-length: 10
content-security-policy: default-src 'none'; sandbox
content-type: text/plain; charset=utf-8
cross-origin-resource-policy: cross-origin
etag: "hNiYd_DUBB77a_kaFvAkjy_Vc-avBcGflr7bn4gveII"
referrer-policy: no-referrer
x-content-type-options: nosniff
"#);
    }

    #[tokio::test]
    async fn head_tells_the_same_without_the_bytes() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        let get = file.get(&[]).await;
        let head = file.ask(&[(RANGE, "bytes=2-4")], true).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.headers, get.headers);
    }

    #[tokio::test]
    async fn one_range_is_answered() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        for (range, expected, told) in [
            ("bytes=2-4", "234", "bytes 2-4/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=0-99", "0123456789", "bytes 0-9/10"),
            ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ] {
            let seen = file.get(&[(RANGE, range)]).await;
            assert_eq!((seen.status, seen.body.as_slice()), (206, expected.as_bytes()), "{range}");
            assert_eq!(seen.header(&CONTENT_RANGE), told);
            assert_eq!(seen.header(&CONTENT_LENGTH), expected.len().to_string());
            assert_eq!(seen.header(&X_CONTENT_TYPE_OPTIONS), "nosniff");
        }
    }

    #[tokio::test]
    async fn a_range_beyond_the_end_is_416() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            let seen = file.get(&[(RANGE, range)]).await;
            assert_eq!((seen.status, seen.body.len()), (416, 0), "{range}");
            assert_eq!(seen.header(&CONTENT_RANGE), "bytes */10");
            assert_eq!(seen.header(&CONTENT_DISPOSITION), "");
        }
        let empty = Fixture::new("empty", b"", "").await;
        assert_eq!(empty.get(&[(RANGE, "bytes=0-")]).await.status, 416);
        assert_eq!(empty.get(&[]).await.status, 200);
    }

    #[tokio::test]
    async fn ranges_that_are_not_understood_count_for_nothing() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        for range in ["bytes=0-1,4-5", "bytes=0-1,50-", "bytes=5-2", "bytes=a-b", "lines=1-2", "", "bytes="] {
            let seen = file.get(&[(RANGE, range)]).await;
            assert_eq!((seen.status, seen.body.len()), (200, 10), "{range}");
        }
    }

    /// One range as RFC 9110 §14.1.2 means it, read in the simplest way; none for what is not one.
    fn meant(range: &str, size: u64) -> Option<Part> {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        let (start, end) = match (first, last) {
            // The last bytes of nothing are all of it.
            ("", suffix) if size == 0 && number(suffix)? > 0 => return Some(Part::Whole),
            ("", suffix) => (size.saturating_sub(number(suffix)?), size),
            (first, "") => (number(first)?, size),
            (first, last) if number(first)? <= number(last)? => {
                (number(first)?, number(last)?.saturating_add(1).min(size))
            }
            _ => return None,
        };
        Some(if start < end { Part::Bytes(start..end) } else { Part::Unsatisfiable })
    }

    proptest! {
        #[test]
        fn ranges_are_within_the_file_and_what_they_mean(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            near in "(bytes|Bytes|lines) ?= ?([0-9]{0,21} ?- ?[0-9]{0,21},? ?){0,3}",
            one in "bytes=[0-9]{0,2}-[0-9]{0,2}",
            large in "bytes=[0-9]{18,20}-[0-9]{0,20}",
            size in prop_oneof![0..100_u64, any::<u64>()],
        ) {
            let size = size.min(i64::MAX.unsigned_abs());
            for text in [value.as_slice(), near.as_bytes(), one.as_bytes(), large.as_bytes()] {
                let Ok(value) = HeaderValue::from_bytes(text) else { continue };
                let part = wanted(&HeaderMap::from_iter([(RANGE, value)]), "\"tag\"", size);
                if let Part::Bytes(range) = &part {
                    prop_assert!(range.start < range.end && range.end <= size, "{:?} of {}", range, size);
                }
                let text = String::from_utf8_lossy(text);
                if let Some(meant) = meant(&text, size) {
                    prop_assert_eq!(&part, &meant, "{} of {}", text, size);
                }
            }
        }

        #[test]
        fn only_the_right_tag_is_known(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            near in "((W/)?\"?[tag,]{0,4}\"?[, ]{0,3}){0,5}",
        ) {
            for text in [value.as_slice(), near.as_bytes()] {
                let Ok(value) = HeaderValue::from_bytes(text) else { continue };
                let known = is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, value)]), "\"tag\"");
                let text = String::from_utf8_lossy(text);
                prop_assert!(!known || text.contains("\"tag\"") || text.contains('*'), "{}", text);
            }
        }
    }

    #[tokio::test]
    async fn what_is_known_is_not_sent_again() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        let tag = file.get(&[]).await.header(&ETAG).to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let seen = file.get(&[(IF_NONE_MATCH, &known), (RANGE, "bytes=50-")]).await;
            assert_eq!((seen.status, seen.body.len()), (304, 0), "{known}");
            assert_eq!(seen.header(&ETAG), tag);
            assert_eq!(seen.header(&CACHE_CONTROL), "private, max-age=3600, immutable");
        }
        assert_eq!(file.get(&[(IF_NONE_MATCH, "\"other\"")]).await.status, 200);
    }

    #[tokio::test]
    async fn if_range_holds_for_the_same_bytes_only() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        let tag = file.get(&[]).await.header(&ETAG).to_owned();
        let range = (RANGE, "bytes=2-4");
        assert_eq!(file.get(&[range.clone(), (IF_RANGE, &tag)]).await.status, 206);
        for other in [format!("W/{tag}"), "\"other\"".to_owned(), "Sat, 29 Oct 1994 19:43:31 GMT".to_owned()] {
            assert_eq!(file.get(&[range.clone(), (IF_RANGE, &other)]).await.status, 200, "{other}");
        }
    }

    #[tokio::test]
    async fn hostile_files_are_saved_and_never_shown() {
        for (name, bytes, declared) in [
            ("x.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".as_slice(), "image/svg+xml"),
            ("x.png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/png"),
            ("x.html", b"<!doctype html><script>alert(1)</script>", "text/html"),
            ("x.html", b"<script>alert(1)</script>", "text/html;charset=utf-7"),
            ("x.js", b"alert(1)", "text/javascript"),
            ("x.xml", b"<?xml version='1.0'?><?xml-stylesheet type='text/xsl' href='x.xml'?><a/>", "text/xml"),
        ] {
            let seen = Fixture::new(name, bytes, declared).await.get(&[]).await;
            assert!(seen.header(&CONTENT_DISPOSITION).starts_with("attachment; "), "{name}");
            assert_eq!(seen.header(&CONTENT_TYPE), "application/octet-stream", "{name} as {declared}");
            assert_eq!(seen.header(&CONTENT_SECURITY_POLICY), "default-src 'none'; sandbox");
            assert_eq!(seen.header(&X_CONTENT_TYPE_OPTIONS), "nosniff");
        }
    }

    #[tokio::test]
    async fn a_polyglot_is_a_picture_and_nothing_else() {
        let file = Fixture::new("x.html", b"GIF89a/*<script>alert(1)</script>*/=1;alert(2)", "text/html").await;
        let seen = file.get(&[]).await;
        assert_eq!(seen.header(&CONTENT_TYPE), "image/gif");
        assert!(seen.header(&CONTENT_DISPOSITION).starts_with("inline; "));
        assert_eq!(seen.header(&X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(seen.header(&CONTENT_SECURITY_POLICY), "default-src 'none'; sandbox");
    }

    #[tokio::test]
    async fn missing_bytes_are_not_there_yet() {
        let file = Fixture::new("notes.txt", b"0123456789", "").await;
        file.store.delete(file.file.object).await.unwrap();
        for head_only in [false, true] {
            let outcome = serve(&file.store, Delivery::Redirect, &file.file, &HeaderMap::new(), head_only).await;
            assert!(matches!(outcome, Err(Error::Unavailable(_))));
        }
    }
}
