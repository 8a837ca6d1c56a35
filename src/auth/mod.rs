//! Who is calling: tokens of the host application, the cookie of the event stream, web origins and rates.
//!
//! A request is believed for one of two reasons. It carries a token that the host application signed ([`Verifier`]),
//! or, on the event stream only, a cookie that Haggle made from such a token ([`SessionCookies`]). Nothing here knows
//! the database: whether a user exists, or may do what is asked, is decided later.

mod claims;
mod jwk;
mod jwks;
mod keys;
mod mint;
mod origin;
mod rate;
mod session;
#[cfg(test)]
mod testing;
mod token;

use crate::domain::{Timestamp, UserId};

pub use claims::{LEEWAY, SERVICE_SCOPE};
pub use keys::{Mac, SigningKeys};
pub use mint::{mint, mint_service};
pub use origin::origin_allowed;
pub use rate::Limits;
pub use session::{SESSION_PATH, SessionCookies, SessionProblem};
pub use token::{MAX_TOKEN_BYTES, Verifier};

/// What a good token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The user who is calling; none for a service, whatever its `sub` says, so that no service passes for a user.
    pub user: Option<UserId>,
    /// Whether the host application's backend is calling: the `scope` claim holds [`SERVICE_SCOPE`].
    pub service: bool,
    /// When the token ends (`exp`, without the leeway), and with it everything that was opened with it.
    pub expires_at: Timestamp,
}
