//! Certificates for servers of tests, in PEM.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority, and what it signed for a server.
pub struct Issued {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// A fresh authority, and a server's certificate for this host.
pub fn issue(host: &str) -> Issued {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    Issued { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}
