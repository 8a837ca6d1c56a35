//! Stands in for `auth::Mac` and `auth::SigningKeys` until they are here: the same names and signatures, no more.

use aws_lc_rs::hmac;

/// The keys that Haggle signs with.
#[derive(Clone)]
pub struct SigningKeys {
    /// Signs links to attachments.
    pub links: Mac,
}

impl SigningKeys {
    /// From the current signing key, which signs, and a previous one, which is still accepted.
    #[must_use]
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        let key = |secret: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self { links: Mac { current: key(current), previous: previous.map(key) } }
    }
}

/// Signs and checks with HMAC-SHA256 (RFC 2104).
#[derive(Clone)]
pub struct Mac {
    current: hmac::Key,
    previous: Option<hmac::Key>,
}

impl Mac {
    /// Signs a list of parts with the current key.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.current, &message(parts)).as_ref());
        signature
    }

    /// Whether this is the signature of these parts by the current or the previous key, in constant time.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| hmac::verify(key, &message(parts), signature).is_ok())
    }
}

/// Every part with its length before it, so that no two lists give the same bytes.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat()).collect()
}
