//! Which web pages may speak to this server in their user's name.
//!
//! Browsers say where a page came from in `Origin` (RFC 6454 §7); programs do not. The server's own pages may always
//! speak to it, others only from the list in the settings.

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

/// Whether the origin of a request, if it names one, may speak to this server.
///
/// `authority` is the request's `:authority` (HTTP/2, RFC 9113 §8.3.1), which counts like `Host`; `allowed` are
/// serialized origins; `public_url` is where browsers reach this server.
#[must_use]
pub fn origin_allowed(
    headers: &HeaderMap,
    authority: Option<&str>,
    allowed: &[HeaderValue],
    public_url: Option<&str>,
) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => return true,
        (Some(origin), None) => origin,
        (Some(_), Some(_)) => return false,
    };
    if allowed.contains(origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.to_str().is_ok_and(|origin| is_own(origin, &[host, authority], public_url))
}

/// Whether an origin is this server's: the public one, or the one that the request was sent to.
fn is_own(origin: &str, hosts: &[Option<&str>], public_url: Option<&str>) -> bool {
    let Some((scheme, place)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let public = public_url.and_then(|url| Url::parse(url).ok()).map(|url| url.origin().ascii_serialization());
    if let Some((public_scheme, public_place)) = public.as_deref().and_then(|public| public.split_once("://"))
        && public_place.eq_ignore_ascii_case(place)
    {
        // `http://` in place of `https://` is not ours: whoever sits on the network could have written that page.
        return public_scheme == scheme;
    }
    // Browsers leave the default port out of both, others may write it in `Host`.
    let is_place = |host: &str| host.strip_suffix(default_port).unwrap_or(host).eq_ignore_ascii_case(place);
    hosts.iter().flatten().any(|host| is_place(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str, public_url: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let list = [HeaderValue::from_static("https://app.example"), HeaderValue::from_static("http://localhost:3000")];
        origin_allowed(&headers, None, &list, public_url)
    }

    #[test]
    fn programs_name_no_origin() {
        assert!(origin_allowed(&HeaderMap::new(), None, &[], None));
    }

    #[test]
    fn listed_origins_may_speak() {
        assert!(allowed("https://app.example", "chat.example", None));
        assert!(allowed("http://localhost:3000", "chat.example", None));
        for bad in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil.example",
        ] {
            assert!(!allowed(bad, "chat.example", None), "{bad}");
        }
    }

    #[test]
    fn the_own_origin_may_speak() {
        for (origin, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("https://chat.example", "chat.example"),
            ("https://chat.example", "Chat.Example"),
            ("https://chat.example", "chat.example:443"),
            ("http://chat.example", "chat.example:80"),
        ] {
            assert!(allowed(origin, host, None), "{origin} at {host}");
        }
    }

    #[test]
    fn another_port_or_host_is_not_the_own_origin() {
        for (origin, host) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("https://chat.example", "chat.example:80"),
            ("https://chat.example:444", "chat.example"),
            ("https://a.chat.example", "chat.example"),
            ("https://chat.example", "a.chat.example"),
            ("https://user@chat.example", "chat.example"),
            ("https://chat.example/", "chat.example"),
        ] {
            assert!(!allowed(origin, host, None), "{origin} at {host}");
        }
    }

    #[test]
    fn the_public_url_is_the_own_origin() {
        let public = Some("https://chat.example/haggle");
        assert!(allowed("https://chat.example", "10.0.0.7:8080", public));
        assert!(allowed("http://10.0.0.7:8080", "10.0.0.7:8080", public), "reached without the proxy");
        assert!(!allowed("https://evil.example", "10.0.0.7:8080", public));
        assert!(!allowed("https://evil.example", "10.0.0.7:8080", Some("not a url")));
    }

    #[test]
    fn the_public_host_without_tls_is_a_stranger() {
        assert!(!allowed("http://chat.example", "chat.example", Some("https://chat.example")));
    }

    #[test]
    fn null_and_nonsense_are_strangers() {
        for bad in [
            "null",
            "",
            "file://",
            "chat.example",
            "ftp://chat.example",
            "chrome-extension://chat.example",
            "://",
            "https://",
        ] {
            assert!(!allowed(bad, "chat.example", Some("https://chat.example")), "{bad}");
        }
    }

    #[test]
    fn unreadable_or_doubled_origins_are_strangers() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_bytes(b"https://\xff").unwrap());
        assert!(!origin_allowed(&headers, Some("chat.example"), &[], None));
        let own = HeaderValue::from_static("https://chat.example");
        headers.insert(header::ORIGIN, own.clone());
        assert!(origin_allowed(&headers, Some("chat.example"), &[], None), ":authority counts like Host");
        headers.append(header::ORIGIN, own);
        assert!(!origin_allowed(&headers, Some("chat.example"), &[], None));
    }
}
