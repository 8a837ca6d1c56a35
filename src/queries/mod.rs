//! The read side: each query is one snapshot of the database and carries the stream cursor it is consistent with.

mod history;
mod people;
mod room;
mod rooms;

pub use history::{ContractPath, history};
pub use room::{RoomPage, room};
pub use rooms::{PageCursor, RoomsPage, rooms};

use crate::domain::{AttachmentId, Epoch, Refusal, Room, RoomId, StoredFile, User, UserId};
use crate::error::Result;
use crate::on;
use crate::store::rows::RoomRow;
use crate::store::schema::rooms as room_table;
use crate::store::{Conn, directory, files};
use crate::wire::ActivityState;

use diesel::{OptionalExtension, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

/// Messages or rooms on a page when the caller does not say: a screen or two.
pub const PAGE_DEFAULT: usize = 50;
/// The most messages or rooms on a page: bounds what one query reads.
pub const PAGE_MAX: usize = 200;
/// The most members that are listed with a room.
pub const USERS_LISTED: usize = 20;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person: only their own rooms.
    User(UserId),
    /// The host application: any room.
    Service,
}

/// What an answer needs beside the database: the epoch of its cursor, live statuses, links for its reader.
pub struct View<'a> {
    /// Which incarnation of the database this is.
    pub epoch: &'a Epoch,
    /// Whether somebody is there now.
    pub status: Box<dyn Fn(UserId) -> ActivityState + Send + Sync + 'a>,
    /// The reader's link to a file.
    pub link: Box<dyn Fn(&StoredFile) -> String + Send + Sync + 'a>,
}

/// The room, if the reader may read it; to others it does not exist.
///
/// # Errors
/// [`Refusal::NotFound`]; for callers whom the directory does not let act, [`Refusal::UnknownUser`] or
/// [`Refusal::Deactivated`].
pub async fn readable_room(conn: &Conn, reader: Reader, room_id: RoomId) -> Result<(Room, Option<User>)> {
    let user = match reader {
        Reader::User(id) => Some(directory::active_user(conn, id).await?),
        Reader::Service => None,
    };
    let row = on!(conn, |c| room_table::table.find(room_id).select(RoomRow::as_select()).first(c)).optional()?;
    let room = row.map(Room::from).ok_or(Refusal::NotFound)?;
    match &user {
        Some(user) if room.side_of(user).is_none() => Err(Refusal::NotFound.into()),
        _ => Ok((room, user)),
    }
}

/// The file, if the reader may read it: its uploader until a message holds it, then the members of the room.
///
/// # Errors
/// As [`readable_room`].
pub async fn readable_file(conn: &Conn, reader: Reader, id: AttachmentId) -> Result<StoredFile> {
    if let Reader::User(user) = reader {
        directory::active_user(conn, user).await?;
    }
    let file = files::file(conn, id).await?.ok_or(Refusal::NotFound)?;
    match (file.room_id, reader) {
        (_, Reader::Service) => Ok(file),
        (Some(room), reader) => readable_room(conn, reader, room).await.map(|_| file),
        (None, Reader::User(user)) if user == file.owner => Ok(file),
        (None, Reader::User(_)) => Err(Refusal::NotFound.into()),
    }
}
