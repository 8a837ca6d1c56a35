//! Whether a request was addressed to this very machine.

use axum::http::{HeaderMap, Uri, header};

/// Whether `Host` names this machine: `localhost`, `127.0.0.1` or `[::1]`, with any port.
#[must_use]
pub fn is_loopback(headers: &HeaderMap) -> bool {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(names_loopback)
}

/// The same, also for HTTP/2, where the authority is part of the URI.
#[must_use]
pub fn request_is_loopback(headers: &HeaderMap, uri: &Uri) -> bool {
    is_loopback(headers) || uri.authority().is_some_and(|authority| names_loopback(authority.as_str()))
}

fn names_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_counts() {
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert!(names_loopback(good), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", ":80", "::1"] {
            assert!(!names_loopback(bad), "{bad}");
        }
    }
}
