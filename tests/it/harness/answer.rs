//! What a server answered.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, with its body as JSON where it is that.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub body: Value,
    pub request: String,
}

impl Answer {
    pub async fn of(request: String, response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("a whole answer").to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status, headers, bytes, body, request }
    }

    /// The body, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} answered {}", self.request, String::from_utf8_lossy(&self.bytes));
        self.body
    }

    /// The problem, if it has this status and code and the documented form.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let body = &self.body;
        assert_eq!(
            (self.status, body["code"].as_str()),
            (status, Some(code)),
            "{} answered {}",
            self.request,
            String::from_utf8_lossy(&self.bytes)
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        for field in ["type", "title", "detail", "request_id"] {
            assert!(body[field].is_string(), "{field} in {body}");
        }
        self.body
    }

    /// A header, "" if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
