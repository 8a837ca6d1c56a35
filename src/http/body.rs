//! Reading bodies within their limits.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::attachments::BASE64_BYTES;
use crate::error::{Error, Result};

/// The largest body without a file, in bytes: 8,000 characters of 4 bytes, each spelled `\uXXXX\uXXXX`, and a batch of
/// 1,000 directory entries, with room to spare.
pub const SMALL_BODY_BYTES: usize = 2 * 1024 * 1024;
/// The largest JSON body with a file in base64, in bytes: 4/3 of the file, and the message beside it.
#[expect(clippy::cast_possible_truncation, reason = "a few MiB")]
pub const FILE_BODY_BYTES: usize = (BASE64_BYTES / 3 * 4) as usize + 512 * 1024;

/// Reads a body that holds no file.
///
/// # Errors
/// [`Error::TooLarge`], or [`Error::Malformed`] if it breaks off.
pub async fn read_small(body: Body) -> Result<Bytes> {
    read(body, SMALL_BODY_BYTES).await
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`Error::TooLarge`], or [`Error::Malformed`] if it breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
        Err(_) => Err(Error::Malformed("The body broke off.".to_owned())),
    }
}
