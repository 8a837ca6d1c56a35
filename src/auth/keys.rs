//! The keys that Haggle signs with itself: for session cookies and for links to files.
//!
//! One signing key in the settings becomes one key per purpose (HKDF, RFC 5869), so that a signature made for one
//! purpose says nothing in another. Two generations are accepted, so that the key can be changed without breaking
//! cookies and links that are out already.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};

/// Separates Haggle's keys from others that may be derived from the same secret (RFC 5869 §3.1).
const SALT: &[u8] = b"haggle";
const SESSION_LABEL: &[u8] = b"haggle session cookie";
const LINKS_LABEL: &[u8] = b"haggle attachment link";

/// A key per purpose.
#[derive(Clone)]
pub struct SigningKeys {
    /// Signs the cookies of the event stream.
    pub session: Mac,
    /// Signs links to attachments.
    pub links: Mac,
}

impl SigningKeys {
    /// Derives the keys from the current signing key, which signs, and a previous one, which is still accepted.
    #[must_use]
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        let mac = |label| Mac { current: derive(current, label), previous: previous.map(|key| derive(key, label)) };
        Self { session: mac(SESSION_LABEL), links: mac(LINKS_LABEL) }
    }
}

fn derive(secret: &[u8], label: &[u8]) -> hmac::Key {
    let secret = Salt::new(HKDF_SHA256, SALT).extract(secret);
    secret.expand(&[label], HMAC_SHA256).expect("32 bytes are less than HKDF can give").into()
}

/// Signs and checks with HMAC-SHA256 (RFC 2104).
#[derive(Clone)]
pub struct Mac {
    current: hmac::Key,
    previous: Option<hmac::Key>,
}

impl Mac {
    /// Signs a list of parts with the current key. Where one part ends and the next begins is signed, too.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.current, &message(parts)).as_ref());
        signature
    }

    /// Whether this is the signature of these parts by the current or the previous key. Takes the same time wherever
    /// a wrong one differs.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        let message = message(parts);
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .any(|key| hmac::verify(key, &message, signature).is_ok())
    }
}

/// Every part with its length before it, so that no two lists give the same bytes.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"the old signing key, 32 bytes or so";
    const NEW: &[u8] = b"the new signing key, 32 bytes or so";

    #[test]
    fn a_signature_holds_for_its_parts_only() {
        let mac = SigningKeys::new(NEW, None).links;
        let signature = mac.sign(&[b"ab", b"c"]);
        assert!(mac.verify(&[b"ab", b"c"], &signature));
        for other in [&[b"a".as_slice(), b"bc"] as &[&[u8]], &[b"abc"], &[b"ab", b"c", b""], &[b"", b"ab", b"c"], &[]] {
            assert!(!mac.verify(other, &signature), "{other:?}");
        }
    }

    #[test]
    fn a_short_long_or_altered_signature_is_refused() {
        let mac = SigningKeys::new(NEW, None).links;
        let signature = mac.sign(&[b"x"]);
        let mut altered = signature;
        altered[31] ^= 1;
        let long = [signature.as_slice(), b"\0"].concat();
        for bad in [&[] as &[u8], &signature[..31], &signature[..16], &altered, &long, &[0; 32]] {
            assert!(!mac.verify(&[b"x"], bad), "{bad:?}");
        }
    }

    #[test]
    fn purposes_do_not_mix() {
        let keys = SigningKeys::new(NEW, None);
        assert!(!keys.links.verify(&[b"x"], &keys.session.sign(&[b"x"])));
        assert!(!keys.session.verify(&[b"x"], &keys.links.sign(&[b"x"])));
    }

    #[test]
    fn the_signing_key_can_be_changed() {
        let before = SigningKeys::new(OLD, None);
        let during = SigningKeys::new(NEW, Some(OLD));
        let after = SigningKeys::new(NEW, None);
        for (before, during, after) in
            [(&before.session, &during.session, &after.session), (&before.links, &during.links, &after.links)]
        {
            let old = before.sign(&[b"x"]);
            assert!(during.verify(&[b"x"], &old), "the previous key is still accepted");
            assert!(!after.verify(&[b"x"], &old), "a key that is gone is gone");
            let new = during.sign(&[b"x"]);
            assert!(after.verify(&[b"x"], &new), "the current key signs");
            assert!(!before.verify(&[b"x"], &new));
        }
    }

    #[test]
    fn derived_keys_stay_the_same() {
        // Cookies and links outlive an update. The figures come from RFC 5869 §2, computed by another program.
        let keys = SigningKeys::new(b"0123456789abcdef0123456789abcdef", None);
        let first_half = |mac: &Mac| u128::from_be_bytes(*mac.sign(&[b"a", b"bc"]).first_chunk().unwrap());
        assert_eq!(first_half(&keys.session), 0x3f9d_7077_3856_a0d2_4e7a_327a_4a96_ab7e);
        assert_eq!(first_half(&keys.links), 0xb81c_18db_a620_0cc8_fba8_3325_13e0_6b56);
    }
}
