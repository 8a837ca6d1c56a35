//! Which keys of a JSON Web Key Set (RFC 7517) can check tokens, and with which algorithm (RFC 7518, RFC 8037).

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::token::TokenKey;

/// The RSA moduli that RS256 takes, in bytes: 2048 bits (RFC 7518 §3.3) to 8192 bits.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys of a set that can be used here; others are passed over (RFC 7517 §5).
///
/// A set without one is taken for a mistake, not for the wish to refuse everybody.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Arc<TokenKey>>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|_| "is no JSON Web Key Set".to_owned())?;
    let keys: Vec<_> = set.keys.into_iter().filter_map(usable).map(Arc::new).collect();
    if keys.is_empty() {
        return Err("holds no key for RS256, ES256 or EdDSA signatures".to_owned());
    }
    Ok(keys)
}

/// A key as one for signatures, bound to the algorithm of its type. A shared secret (`oct`) is never one: whoever can
/// read the set could sign with it.
fn usable(jwk: Value) -> Option<TokenKey> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let fits = common.key_algorithm.is_none_or(|algorithm| algorithm == named)
        && common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    (fits && has_right_size(algorithm, &decoding)).then(|| TokenKey::new(jwk.common.key_id, algorithm, decoding))
}

fn has_right_size(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (_, DecodingKeyKind::RsaModulusExponent { n, .. }) => RSA_MODULUS_BYTES.contains(&n.len()),
        // An uncompressed point: one byte, then two coordinates.
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (_, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::testing::{Signer, base64url, with};

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        let (rsa, ec, ed) = (Signer::rsa().jwk("1"), Signer::ec().jwk("1"), Signer::ed().jwk("1"));
        for good in [
            with(rsa.clone(), "alg", json!("RS256")),
            with(ec.clone(), "use", json!("sig")),
            with(ed.clone(), "key_ops", json!(["verify"])),
            with(ed.clone(), "x-unknown", json!({"a": []})),
        ] {
            assert!(usable(good.clone()).is_some(), "{good}");
        }
        for bad in [
            Signer::hmac("32 bytes that everybody can read").jwk("1"),
            with(rsa.clone(), "use", json!("enc")),
            with(rsa.clone(), "alg", json!("RS512")),
            with(rsa.clone(), "alg", json!("HS256")),
            with(rsa.clone(), "alg", json!("RSA-OAEP")),
            with(rsa.clone(), "n", json!(base64url([0xff; 128]))),
            with(rsa.clone(), "n", json!("AQ")),
            with(rsa.clone(), "kid", json!(1)),
            with(ec.clone(), "crv", json!("P-384")),
            with(ec.clone(), "crv", json!("secp256k1")),
            with(ec.clone(), "alg", json!("ES384")),
            with(ec.clone(), "x", json!("AQ")),
            with(ed.clone(), "crv", json!("X25519")),
            with(ed.clone(), "key_ops", json!(["sign"])),
            with(ed.clone(), "x", json!("not base64url!")),
            json!({"kty": "RSA"}),
            json!(null),
            json!([]),
        ] {
            assert!(usable(bad.clone()).is_none(), "{bad}");
        }
    }
}
