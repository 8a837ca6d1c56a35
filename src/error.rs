//! What can go wrong, the one mapping to problem details (RFC 9457) and the one log line.
//!
//! [`Refusal`] is the domain's closed set; [`Error`] is everything, refusals included. Internals are logged here and
//! never sent.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::Refusal;
use crate::wire::{FieldError, Problem};

/// A request that was not answered with success.
#[derive(Debug)]
pub enum Error {
    /// The rules refuse it.
    Refused(Refusal),
    /// The request cannot be read: 400.
    Malformed(String),
    /// No token, or not a good one: 401.
    Unauthenticated,
    /// Known, but not allowed: 403 with this code.
    Forbidden(&'static str),
    /// Not there, or not yours: 404.
    NotFound,
    /// No such method on this path: 405.
    MethodNotAllowed,
    /// The body, or a file in it, is too large: 413.
    TooLarge,
    /// The body is of a media type that is not taken here: 415.
    UnsupportedMediaType,
    /// Valid JSON with values that are not: 422.
    Invalid(Vec<FieldError>),
    /// Too many requests: 429, come back after so long.
    RateLimited(Duration),
    /// Nothing was done; try again: 503.
    Unavailable(String),
    /// Whether it was done is not known; try again with the same key only: 503.
    OutcomeUnknown(String),
    /// A fault of ours: 500.
    Internal(String),
}

/// What a fallible part of Haggle returns.
pub type Result<T> = std::result::Result<T, Error>;

/// When to come back after a 503: about how long a database takes to be back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// One wrong field.
    #[must_use]
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// The HTTP status (RFC 9110 §15, RFC 6585 §4).
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal_status(refusal),
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::OutcomeUnknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What programs switch on; never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Malformed(_) => "malformed_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden(code) => code,
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Invalid(_) => "invalid_value",
            Self::RateLimited(_) => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Internal(_) => "internal",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal_detail(refusal).to_owned(),
            Self::Malformed(why) => why.clone(),
            Self::Unauthenticated => "Send a valid token as `Authorization: Bearer …`.".to_owned(),
            Self::Forbidden(code) => forbidden_detail(code).to_owned(),
            Self::NotFound => "There is no such thing here, or it is not yours.".to_owned(),
            Self::MethodNotAllowed => "This path does not take that method.".to_owned(),
            Self::TooLarge => "The request is larger than is taken here; see GET /v1/config for the limits.".to_owned(),
            Self::UnsupportedMediaType => "Send application/json or what the API description names.".to_owned(),
            Self::Invalid(errors) => match errors.as_slice() {
                [one] if one.pointer.is_empty() => format!("The body {}.", one.detail),
                [one] => format!("{} {}.", one.pointer, one.detail),
                _ => "Some values are not valid; see errors.".to_owned(),
            },
            Self::RateLimited(after) => format!("Too many requests; try again in {} s.", seconds(*after)),
            Self::Unavailable(_) => "Nothing was done. Try again.".to_owned(),
            Self::OutcomeUnknown(_) => {
                "It is not known whether this was done. Try again with the same Idempotency-Key.".to_owned()
            }
            Self::Internal(_) => "A fault of the server's; its log has more under this request_id.".to_owned(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(errors) => errors.clone(),
            Self::Refused(refusal) => refusal_field(refusal, "").into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(after) => Some(*after),
            Self::Unavailable(_) | Self::OutcomeUnknown(_) => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// The body that is sent; the request's id is filled in at the edge.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let status = self.status();
        Problem {
            type_: format!("/problems/{}", self.code()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail(),
            code: self.code().to_owned(),
            errors: self.fields(),
            contract: if let Self::Refused(refusal) = self { refusal.contract() } else { None },
            request_id: String::new(),
        }
    }

    fn log(&self) {
        match self {
            Self::Internal(why) => tracing::error!(error = %why, "internal"),
            Self::Unavailable(why) => tracing::warn!(error = %why, "unavailable"),
            Self::OutcomeUnknown(why) => tracing::error!(error = %why, "outcome unknown"),
            other => tracing::debug!(code = other.code(), "refused"),
        }
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownUser
        | Refusal::Deactivated
        | Refusal::FromUserMismatch
        | Refusal::NotYourCompany
        | Refusal::WrongSide => StatusCode::FORBIDDEN,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::KeyReused
        | Refusal::SameSide
        | Refusal::Unknown { .. }
        | Refusal::CampaignMismatch
        | Refusal::NoSelectedCampaign
        | Refusal::CampaignClosed
        | Refusal::GuardRequired
        | Refusal::AttachmentUsed => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::TermsChanged { .. }
        | Refusal::NoProposal
        | Refusal::IllegalChange { .. }
        | Refusal::AttachmentConflict
        | Refusal::CompanyFixed
        | Refusal::IsCounterparty => StatusCode::CONFLICT,
        Refusal::UnattachedQuota => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Operation { refusal, .. } => refusal_status(refusal),
    }
}

fn refusal_detail(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownUser => "The token's user is not in the directory.",
        Refusal::Deactivated => "This user has been deactivated.",
        Refusal::NotFound => "There is no such thing here, or it is not yours.",
        Refusal::KeyReused => "This Idempotency-Key was used for another request.",
        Refusal::FromUserMismatch => "from_user_id is not the caller.",
        Refusal::NotYourCompany => "You do not work for that company.",
        Refusal::SameSide => "A room has a company on one side and a creator on the other.",
        Refusal::WrongSide => "This change is made by the other side.",
        Refusal::Unknown { .. } => "A value names something that is not known here; see errors.",
        Refusal::CampaignMismatch => "The proposal and change_selected_campaign_to name different campaigns.",
        Refusal::NoSelectedCampaign => "No campaign is selected in this room.",
        Refusal::CampaignClosed => "The campaign takes no new proposals.",
        Refusal::GuardRequired => "Contract changes must carry expected_version here.",
        Refusal::TermsChanged { .. } => "Other terms are in force than those you expected; see contract.",
        Refusal::NoProposal => "There is no proposal for this campaign.",
        Refusal::IllegalChange { .. } => "The contract's state does not allow this change; see contract.",
        Refusal::AttachmentUsed => "The file is in a message already.",
        Refusal::AttachmentConflict => "This attachment_id belongs to another file.",
        Refusal::UnattachedQuota => "You hold too many bytes in files that no message holds.",
        Refusal::CompanyFixed => "A campaign never moves to another company.",
        Refusal::IsCounterparty => "This user is the creator in a room of that company.",
        Refusal::Operation { refusal, .. } => refusal_detail(refusal),
    }
}

fn refusal_field(refusal: &Refusal, prefix: &str) -> Option<FieldError> {
    match refusal {
        Refusal::Unknown { pointer, .. } => {
            Some(FieldError { pointer: format!("{prefix}{pointer}"), detail: "is not known here".to_owned() })
        }
        Refusal::Operation { index, refusal } => {
            let prefix = format!("/operations/{index}");
            let whole = FieldError { pointer: prefix.clone(), detail: refusal_detail(refusal).to_owned() };
            Some(refusal_field(refusal, &prefix).unwrap_or(whole))
        }
        _ => None,
    }
}

fn forbidden_detail(code: &str) -> &'static str {
    match code {
        "service_only" => "This needs a token whose scope holds haggle:admin.",
        "user_only" => "A service token opens no user route.",
        "origin_not_allowed" => "Pages of this origin may not do that here.",
        "link_expired" => "This link has expired, or its reader has lost access; fetch a new one.",
        _ => "Not allowed.",
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let problem = self.problem();
        let mut response = self.status().into_response();
        if let Some(after) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(after).max(1)));
        }
        if matches!(self, Self::Unauthenticated) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The edge writes the body, since only it knows the request's id.
        response.extensions_mut().insert(problem);
        response
    }
}
