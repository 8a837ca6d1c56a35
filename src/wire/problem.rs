//! Errors on the wire: problem details (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Contract;

/// Problem details (RFC 9457). Switch on `code`; `detail` is for people and may change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A relative URI that names the kind of problem.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/terms_changed")]
    pub type_: String,
    /// The same for every problem with this status.
    #[schema(example = "Conflict")]
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 409)]
    pub status: u16,
    /// What is wrong, for a person.
    pub detail: String,
    /// What is wrong, for a program: stable `snake_case`.
    #[schema(example = "terms_changed")]
    pub code: String,
    /// The fields that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// Conflicts about a contract carry the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub contract: Option<Contract>,
    /// Finds the request in the server's log.
    pub request_id: String,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where, as a JSON Pointer (RFC 6901) into the request body; "" is the whole body.
    #[schema(example = "/content")]
    pub pointer: String,
    /// What is wrong there, for a person.
    pub detail: String,
}
