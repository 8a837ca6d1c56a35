//! Values that are valid by construction: whoever holds one need not check it again.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use utoipa::PartialSchema;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};

/// The longest `content` of a message, in characters (Unicode scalar values).
pub const CONTENT_CHARS: usize = 8_000;
/// The longest name of a person, company or campaign, in characters.
pub const NAME_CHARS: usize = 200;
/// The longest `logo_url`, in bytes: what every browser and proxy takes.
pub const URL_BYTES: usize = 2_048;
/// The longest file name, in bytes: what common file systems take.
pub const FILE_NAME_BYTES: usize = 255;
/// The longest media type, in bytes: two names of 127 and a slash (RFC 6838 §4.2).
pub const MEDIA_TYPE_BYTES: usize = 255;
/// The largest integer on the wire: 2^53 − 1, the largest that JavaScript holds exactly (RFC 8259 §6).
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Why a value was refused: a sentence for the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

fn invalid<T>(why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(why.into()))
}

/// U+0000 is refused on every database, since PostgreSQL cannot hold it.
fn no_nul(text: &str) -> Result<(), Invalid> {
    if text.contains('\0') { invalid("must not contain U+0000") } else { Ok(()) }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident($check:path) $(min $min:literal)? $(max $max:expr)?;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                no_nul(&text)?;
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    $(.min_length(Some($min)))?
                    $(.max_length(Some($max)))?
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    )+};
}

texts! {
    /// The text of a message: at most [`CONTENT_CHARS`] characters, maybe none.
    Content(check_content) max CONTENT_CHARS;
    /// The name of a person, company or campaign: 1 to [`NAME_CHARS`] characters.
    Name(check_name) min 1 max NAME_CHARS;
    /// Where a picture is: empty, or an absolute `http` or `https` URL.
    LogoUrl(check_logo) max URL_BYTES;
    /// A file's name as its sender gave it: 1 to [`FILE_NAME_BYTES`] bytes, one path segment, no control characters.
    FileName(check_file_name) min 1 max FILE_NAME_BYTES;
    /// The media type that a sender gives a file, maybe none: a hint of at most [`MEDIA_TYPE_BYTES`] bytes.
    MediaType(check_media_type) max MEDIA_TYPE_BYTES;
}

fn check_content(text: &str) -> Result<(), Invalid> {
    // Most texts are short: their length in bytes already says they fit.
    if text.len() > CONTENT_CHARS && text.chars().count() > CONTENT_CHARS {
        return invalid(format!("must have at most {CONTENT_CHARS} characters"));
    }
    Ok(())
}

fn check_name(text: &str) -> Result<(), Invalid> {
    match text.chars().count() {
        1..=NAME_CHARS => Ok(()),
        _ => invalid(format!("must have 1 to {NAME_CHARS} characters")),
    }
}

fn check_logo(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > URL_BYTES {
        return invalid(format!("must have at most {URL_BYTES} bytes"));
    }
    // The parser mends what it can (WHATWG URL §4.4), but a page takes `https:a.png` for a relative address.
    let spelled_out =
        text.split_once("://").is_some_and(|(scheme, rest)| !scheme.contains(':') && !rest.starts_with('/'));
    let mended = text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && spelled_out && !mended => Ok(()),
        _ => invalid("must be empty or an absolute http or https URL"),
    }
}

fn check_media_type(text: &str) -> Result<(), Invalid> {
    if text.len() > MEDIA_TYPE_BYTES {
        return invalid(format!("must have at most {MEDIA_TYPE_BYTES} bytes"));
    }
    Ok(())
}

fn check_file_name(name: &str) -> Result<(), Invalid> {
    if name.is_empty() || name.len() > FILE_NAME_BYTES {
        return invalid(format!("must have 1 to {FILE_NAME_BYTES} bytes"));
    }
    if name.contains(['/', '\\']) || name == "." || name == ".." {
        return invalid("must be a name, not a path");
    }
    // Bidirectional overrides make `gpj.exe` read as `exe.jpg` (Unicode TR 36 §2.8).
    let deceives = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if name.contains(deceives) {
        return invalid("must not contain control or bidirectional formatting characters");
    }
    Ok(())
}

impl Content {
    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An integer as JSON Schema means it: 12.0 is one too (2020-12 core, §4.2.3).
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNumber;
        impl de::Visitor<'_> for AnyNumber {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Integer, E> {
                Ok(Integer(i64::try_from(value).unwrap_or(i64::MAX)))
            }

            #[expect(clippy::cast_possible_truncation, reason = "what does not fit becomes the largest or the least")]
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Integer, E> {
                if value.fract() == 0.0 {
                    Ok(Integer(value as i64))
                } else {
                    Err(E::invalid_type(de::Unexpected::Float(value), &self))
                }
            }
        }
        deserializer.deserialize_i64(AnyNumber)
    }
}

macro_rules! integers {
    ($($(#[$doc:meta])* $name:ident from $min:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "Integer", into = "i64")]
        pub struct $name(i64);

        impl TryFrom<Integer> for $name {
            type Error = Invalid;

            fn try_from(Integer(value): Integer) -> Result<Self, Invalid> {
                Self::try_from(value)
            }
        }

        impl $name {
            /// The integer.
            #[must_use]
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = Invalid;

            fn try_from(value: i64) -> Result<Self, Invalid> {
                if ($min..=MAX_INTEGER).contains(&value) {
                    Ok(Self(value))
                } else {
                    invalid(format!("must be an integer from {} to {MAX_INTEGER}", $min))
                }
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> i64 {
                value.0
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                    .minimum(Some($min))
                    .maximum(Some(MAX_INTEGER))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    )+};
}

integers! {
    /// Money in cents of the deployment's one currency.
    Payout from 0;
    /// A message's place in its room, dense from 1; 0 stands for "before the first".
    Number from 0;
    /// How often a contract has changed, from 1; 0 stands for "no contract yet".
    Version from 0;
}

impl Number {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Version {
    /// No contract yet.
    pub const ZERO: Self = Self(0);

    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A moment in UTC, to the microsecond (the precision both databases keep).
///
/// Written as RFC 3339 §5.6 with six digits of the second, always: the texts sort as the moments do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(#[serde(serialize_with = "write_moment", deserialize_with = "read_moment")] OffsetDateTime);

fn write_moment<S: Serializer>(at: &OffsetDateTime, to: S) -> Result<S::Ok, S::Error> {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    at.to_offset(UtcOffset::UTC).format(form).map_err(ser::Error::custom)?.serialize(to)
}

fn read_moment<'de, D: Deserializer<'de>>(from: D) -> Result<OffsetDateTime, D::Error> {
    let at = time::serde::rfc3339::deserialize(from)?.checked_to_offset(UtcOffset::UTC);
    at.map(|at| Timestamp::new(at).0).ok_or_else(|| de::Error::custom("is out of range"))
}

impl Timestamp {
    /// A moment, cut to whole microseconds.
    ///
    /// # Panics
    /// Never: a microsecond below a million is a nanosecond below a billion.
    #[must_use]
    pub fn new(at: OffsetDateTime) -> Self {
        let nanos = at.microsecond() * 1_000;
        Self(at.replace_nanosecond(nanos).expect("microseconds are below a million"))
    }

    /// From microseconds since 1970.
    ///
    /// # Errors
    /// If the year is beyond what a calendar date can say.
    pub fn from_micros(micros: i64) -> Result<Self, Invalid> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
            .map(Self)
            .map_err(|_| Invalid("is out of range".to_owned()))
    }

    /// Microseconds since 1970.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "years up to 9999 fit in 64 bits of microseconds")]
    pub fn micros(self) -> i64 {
        (self.0.unix_timestamp_nanos() / 1_000) as i64
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// The calendar date and time.
    #[must_use]
    pub fn get(self) -> OffsetDateTime {
        self.0
    }

    /// This moment moved forward.
    #[must_use]
    pub fn plus(self, by: std::time::Duration) -> Self {
        Self(self.0 + by)
    }

    /// This moment moved back.
    #[must_use]
    pub fn minus(self, by: std::time::Duration) -> Self {
        Self(self.0 - by)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok<T: TryFrom<String>>(text: &str) -> bool {
        T::try_from(text.to_owned()).is_ok()
    }

    #[test]
    fn content_counts_characters_not_bytes() {
        assert!(ok::<Content>(&"é".repeat(CONTENT_CHARS)));
        assert!(!ok::<Content>(&"é".repeat(CONTENT_CHARS + 1)));
        assert!(ok::<Content>(""));
        assert!(!ok::<Content>("a\0b"));
    }

    #[test]
    fn file_names_are_one_harmless_segment() {
        for good in ["brief.pdf", "Ünïcode 名.txt", "a b.txt", ".hidden"] {
            assert!(ok::<FileName>(good), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "a\r\nb", "a\u{202e}gpj.exe", &"x".repeat(300)] {
            assert!(!ok::<FileName>(bad), "{bad}");
        }
    }

    #[test]
    fn logos_are_absolute_web_addresses() {
        for good in ["", "https://example.com/a.png", "http://localhost:8080/x", "HTTPS://a/b?u=http://c"] {
            assert!(ok::<LogoUrl>(good), "{good}");
        }
        for bad in ["a.png", "/a.png", "javascript:alert(1)", "data:text/html,x", "ftp://a/b", "https://"] {
            assert!(!ok::<LogoUrl>(bad), "{bad}");
        }
        for mended in [
            "https:a.png",
            "https:a?://b",
            "https:/a.png",
            "https:///a/b",
            "https:\\\\a\\b",
            " https://a/b",
            "http://a\n/b",
        ] {
            assert!(!ok::<LogoUrl>(mended), "{mended}");
        }
    }

    /// Red with `time::serde::rfc3339`, which leaves out zeros at the end: `…:00Z` sorts after `…:00.1Z`.
    #[test]
    fn moments_sort_as_their_texts() {
        let micros =
            [0, 1, 10, 99, 100, 120_000, 123_000, 123_456, 999_999, 1_000_000, 1_100_000, 1_764_000_000_000_000];
        let moments = micros.map(|micros| Timestamp::from_micros(micros).expect("a moment"));
        let texts = moments.map(|moment| serde_json::to_string(&moment).expect("JSON"));
        assert!(texts.is_sorted(), "{texts:?}");
        let read = texts.each_ref().map(|text| serde_json::from_str::<Timestamp>(text).expect("a moment"));
        assert_eq!(read, moments);
        let elsewhere: Timestamp = serde_json::from_str("\"2026-01-01T01:30:00.5+01:30\"").expect("a moment");
        assert_eq!(serde_json::to_string(&elsewhere).expect("JSON"), "\"2026-01-01T00:00:00.500000Z\"");
        assert!(serde_json::from_str::<Timestamp>("\"9999-12-31T23:59:59-01:00\"").is_err());
    }

    #[test]
    fn integers_stay_within_what_javascript_holds() {
        assert!(Payout::try_from(0).is_ok());
        assert!(Payout::try_from(MAX_INTEGER).is_ok());
        assert!(Payout::try_from(-1).is_err());
        assert!(Payout::try_from(MAX_INTEGER + 1).is_err());
    }

    #[test]
    fn an_integer_may_be_written_with_a_fraction_of_zero() {
        let read = |json: &str| serde_json::from_str::<Payout>(json).ok().map(Payout::get);
        for (json, value) in [("12", 12), ("12.0", 12), ("1.2e1", 12), ("-0.0", 0), ("9007199254740991.0", MAX_INTEGER)]
        {
            assert_eq!(read(json), Some(value), "{json}");
        }
        for json in ["12.5", "-1.0", "9007199254740992.0", "1e300", "18446744073709551615", "\"12\"", "null", "true"] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
