//! Links that open one file for one reader for an hour or two, without a token: an `<img>` cannot send one.
//!
//! `/v1/attachments/{id}/{name}?u=<reader>&exp=<unix seconds>&sig=<HMAC>`. The signature covers the id, the reader
//! and the end; the name is for people. That the reader may still read the file is asked when the link is opened.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::Mac;
use crate::clock::Clock;
use crate::domain::{AttachmentId, StoredFile, UserId};

/// Links end on this grid, in seconds, so the same link is given out for so long and a browser's cache knows it.
const GRID_SECONDS: i64 = 60 * 60;

/// A link made at this moment ends after so many ends of the grid: it works for 1 to 2 hours.
const GRID_STEPS: i64 = 2;

/// Everything but `unreserved` (RFC 3986 §2.3), so a name stays one path segment.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How services are named in links.
const SERVICE: &str = "service";

/// Whom a link was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person, whose access to the file's room must still hold.
    User(UserId),
    /// The host application's backend.
    Service,
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Service => f.write_str(SERVICE),
        }
    }
}

/// Makes links and knows its own again.
#[derive(Clone)]
pub struct Links {
    mac: Mac,
    public_url: Option<String>,
    clock: Clock,
}

impl Links {
    /// Links signed by `mac`, absolute below `public_url` (without a slash at the end) if there is one.
    #[must_use]
    pub fn new(mac: Mac, public_url: Option<String>, clock: Clock) -> Self {
        Self { mac, public_url, clock }
    }

    /// Where `reader` can fetch `file` for the next 1 to 2 hours.
    #[must_use]
    pub fn link(&self, file: &StoredFile, reader: Reader) -> String {
        let ends = (self.clock.now().seconds().div_euclid(GRID_SECONDS) + GRID_STEPS) * GRID_SECONDS;
        let origin = self.public_url.as_deref().unwrap_or_default();
        let id = file.id;
        let name = utf8_percent_encode(&file.name, NOT_UNRESERVED);
        let signature = self.mac.sign(&[id.0.as_bytes(), reader.to_string().as_bytes(), &ends.to_be_bytes()]);
        let signature = URL_SAFE_NO_PAD.encode(signature);
        format!("{origin}/v1/attachments/{id}/{name}?u={reader}&exp={ends}&sig={signature}")
    }

    /// Whom a link was made for, by the values of its path and query; `None` if it has expired or is not ours.
    #[must_use]
    pub fn verify(&self, id: AttachmentId, u: &str, exp: i64, sig: &str) -> Option<Reader> {
        let reader = if u == SERVICE { Reader::Service } else { Reader::User(u.parse().ok()?) };
        let signature = URL_SAFE_NO_PAD.decode(sig).ok()?;
        let reader_name = reader.to_string();
        let ours = self.mac.verify(&[id.0.as_bytes(), reader_name.as_bytes(), &exp.to_be_bytes()], &signature);
        (ours && self.clock.now().seconds() < exp).then_some(reader)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::auth::SigningKeys;
    use crate::domain::ObjectId;

    const READER: Reader = Reader::User(UserId(Uuid::from_u128(3)));

    fn mac() -> Mac {
        SigningKeys::new(b"a signing key of 32 bytes or more", None).links
    }

    fn links(clock: &Clock) -> Links {
        Links::new(mac(), None, clock.clone())
    }

    fn file(name: &str) -> StoredFile {
        StoredFile {
            id: AttachmentId(Uuid::from_u128(1)),
            object: ObjectId(Uuid::from_u128(2)),
            owner: UserId(Uuid::from_u128(3)),
            name: name.to_owned(),
            content_type: "image/png".to_owned(),
            size: 1,
            sha256: [0; 32],
            room_id: None,
        }
    }

    /// What a server reads from a link: id, `u`, `exp` and `sig`.
    fn open(link: &str) -> (AttachmentId, String, i64, String) {
        let url = url::Url::parse("http://localhost").unwrap().join(link).unwrap();
        let id = url.path_segments().unwrap().nth(2).unwrap().parse().unwrap();
        let value = |key: &str| url.query_pairs().find(|(name, _)| name == key).unwrap().1.into_owned();
        (id, value("u"), value("exp").parse().unwrap(), value("sig"))
    }

    #[test]
    fn a_link_opens_its_file_for_its_reader() {
        let links = links(&Clock::shifted());
        for reader in [READER, Reader::Service] {
            let link = links.link(&file("a b.png"), reader);
            assert!(link.starts_with("/v1/attachments/00000000-0000-0000-0000-000000000001/a%20b.png?u="), "{link}");
            let (id, u, exp, sig) = open(&link);
            assert_eq!(links.verify(id, &u, exp, &sig), Some(reader));
        }
    }

    #[test]
    fn links_are_absolute_where_the_server_is_public() {
        let url = Some("https://chat.example/haggle".to_owned());
        let links = Links::new(mac(), url, Clock::System);
        assert!(links.link(&file("a"), READER).starts_with("https://chat.example/haggle/v1/attachments/"));
    }

    #[test]
    fn a_link_lasts_one_to_two_hours_and_stays_the_same_meanwhile() {
        let clock = Clock::shifted();
        let links = links(&clock);
        // To the beginning of an hour, so that the test does not depend on when it runs.
        let since = clock.now().seconds().rem_euclid(GRID_SECONDS);
        clock.advance(Duration::from_secs(u64::try_from(GRID_SECONDS - since).unwrap()));

        let link = links.link(&file("a"), READER);
        let (id, u, exp, sig) = open(&link);
        assert_eq!(exp % GRID_SECONDS, 0);
        clock.advance(Duration::from_mins(59));
        assert_eq!(links.link(&file("a"), READER), link);
        clock.advance(Duration::from_mins(1));
        assert_ne!(links.link(&file("a"), READER), link);
        clock.advance(Duration::from_mins(59));
        assert_eq!(links.verify(id, &u, exp, &sig), Some(READER));
        clock.advance(Duration::from_mins(1));
        assert_eq!(links.verify(id, &u, exp, &sig), None);
    }

    #[test]
    fn altered_links_open_nothing() {
        let links = links(&Clock::shifted());
        let (id, u, exp, sig) = open(&links.link(&file("a"), READER));
        let other_id = AttachmentId(Uuid::from_u128(9));
        let other_user = Uuid::from_u128(9).to_string();
        assert_eq!(links.verify(other_id, &u, exp, &sig), None);
        assert_eq!(links.verify(id, &other_user, exp, &sig), None);
        assert_eq!(links.verify(id, SERVICE, exp, &sig), None);
        assert_eq!(links.verify(id, "", exp, &sig), None);
        assert_eq!(links.verify(id, &u, exp + 3_600, &sig), None);
        assert_eq!(links.verify(id, &u, i64::MAX, &sig), None);
        for forged in ["", "A", &sig[1..], &format!("{sig}="), &format!("{sig}A"), &sig.to_lowercase(), "\u{e9}"] {
            assert_eq!(links.verify(id, &u, exp, forged), None, "{forged}");
        }
        let others = Links::new(SigningKeys::new(b"another signing key of 32 bytes", None).links, None, Clock::System);
        assert_eq!(others.verify(id, &u, exp, &sig), None);
    }

    proptest! {
        /// Nothing but the link itself opens anything, and nothing makes a panic.
        #[test]
        fn no_other_link_opens_anything(
            id in any::<u128>(),
            u in prop_oneof![any::<String>(), Just(READER.to_string()), Just(SERVICE.to_owned())],
            later in prop_oneof![any::<i64>(), -2..2_i64],
            sig in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,90}"],
            (at, other) in (0..43_usize, "[A-Za-z0-9_=-]?"),
        ) {
            let links = links(&Clock::shifted());
            let (right, reader, exp, signature) = open(&links.link(&file("a"), READER));
            prop_assert_eq!(links.verify(AttachmentId(Uuid::from_u128(id)), &u, exp.wrapping_add(later), &sig), None);
            if (u.as_str(), later) != (reader.as_str(), 0) {
                prop_assert_eq!(links.verify(right, &u, exp.wrapping_add(later), &signature), None);
            }
            let mut altered = signature.clone();
            altered.replace_range(at..=at, &other);
            if altered != signature {
                prop_assert_eq!(links.verify(right, &reader, exp, &altered), None);
            }
        }

        #[test]
        fn every_name_is_one_path_segment(name in "[^/\\\\\\p{Cc}]{1,60}") {
            prop_assume!(name != "." && name != "..");
            let links = links(&Clock::System);
            let link = links.link(&file(&name), READER);
            let url = url::Url::parse("http://localhost").unwrap().join(&link).unwrap();
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 4);
            let decoded = percent_encoding::percent_decode_str(segments[3]).decode_utf8().unwrap();
            prop_assert_eq!(decoded, name.as_str());
            let (id, u, exp, sig) = open(&link);
            prop_assert_eq!(links.verify(id, &u, exp, &sig), Some(READER));
        }
    }
}
