//! The cursor of the event stream: `<epoch>-<position>`.
//!
//! The position is a place in the one order of the log; the epoch names the incarnation of the database that the
//! order belongs to, and changes when a backup is restored.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use super::{Invalid, MAX_INTEGER};

/// The longest epoch, in bytes; ours have 16.
const EPOCH_BYTES: usize = 64;

/// Which incarnation of the database a cursor belongs to: lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Epoch {
    /// A new epoch, which cursors of no other have.
    #[must_use]
    pub fn from_random(id: Uuid) -> Self {
        Self(format!("{:016x}", id.as_u128() >> 64).into())
    }

    /// The epoch as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cursor at `position`.
    #[must_use]
    pub fn at(&self, position: i64) -> Cursor {
        Cursor { epoch: self.clone(), position }
    }
}

impl FromStr for Epoch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=EPOCH_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid("is not an epoch".to_owned()))
        }
    }
}

/// A place in the order of all durable events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which order.
    pub epoch: Epoch,
    /// Which place in it; 0 is before everything.
    pub position: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.as_str(), self.position)
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid("is not a cursor of this server".to_owned());
        let (epoch, position) = text.split_once('-').ok_or_else(invalid)?;
        let plain = !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = plain && (position == "0" || !position.starts_with('0'));
        let position = position.parse::<i64>().ok().filter(|p| canonical && *p <= MAX_INTEGER).ok_or_else(invalid)?;
        Ok(Self { epoch: epoch.parse()?, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cursors_have_one_spelling() {
        for good in ["0a1b-0", "ff-12", "0-9007199254740991"] {
            assert_eq!(good.parse::<Cursor>().unwrap().to_string(), good);
        }
        for bad in
            ["", "-", "ff", "ff-", "-1", "ff--1", "ff-+1", "ff-01", "FF-1", "ff-1 ", "ff-9007199254740992", "é-1"]
        {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in ".{0,80}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
