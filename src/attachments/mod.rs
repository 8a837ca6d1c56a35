//! Files: their bytes, their media types, the links that open them and how they are answered over HTTP.
//!
//! What is here knows neither the database nor the routes. A file takes this way: [`InFlight`] makes room for it,
//! [`FileStore::write`] stores its bytes and tells what they are, [`media_type`] names them, the write side commits
//! a [`StoredFile`](crate::domain::StoredFile), [`Links`] hands out addresses of it, and [`serve`] answers them.
//!
//! The bytes are in a folder, or in a bucket of an S3 store ([`FileStore::open`]). Writing is the same for both: the
//! bytes first, the message after. Reading differs: by [`Delivery`], readers of a bucket are sent to a link of the
//! store's that works for a minute, with the type and disposition fixed in its signature, or the bytes pass through
//! here. Either way it is this server that checks the link and the reader's access, at every request.
//!
//! Files come from strangers, so nothing a sender says is believed where it could do harm: types are read from the
//! bytes, and a browser is told to run none of it.

mod disposition;
mod in_flight;
mod link;
mod media;
mod response;
mod store;

pub use disposition::content_disposition;
pub use in_flight::{InFlight, Reservation};
pub use link::{Links, Reader};
pub use media::{is_inline, media_type, served_type};
pub use response::{Delivery, serve};
pub use store::{FileStore, Fixed, HEAD_BYTES, ReadError, WriteError, Written};

/// The largest file sent as base64 inside JSON, in decoded bytes: such a body is parsed in memory as a whole.
pub const BASE64_BYTES: u64 = 8 * 1024 * 1024;
/// The largest file sent as `multipart/form-data` or raw, in bytes: what mail systems take, too.
pub const STREAMED_BYTES: u64 = 25 * 1024 * 1024;
/// Files on their way in at once on one node, in bytes: the memory that uploads can take in the worst case.
pub const IN_FLIGHT_BYTES: u64 = 256 * 1024 * 1024;
