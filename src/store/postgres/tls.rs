//! TLS to PostgreSQL, asked for as with libpq: `sslmode` and `sslrootcert` in the URL (PostgreSQL, "SSL Support").

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The value of `sslrootcert` for the authorities that the system knows.
const SYSTEM: &str = "system";

/// What is demanded of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server can; not verified.
    Prefer,
    /// Encrypted; verified only with a root, then as [`Mode::VerifyCa`].
    Require,
    /// Signed by an authority that is trusted.
    VerifyCa,
    /// That, and for the host in the URL.
    VerifyFull,
}

/// What the URL says about TLS.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsOptions {
    mode: Mode,
    root: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of a URL, which the driver does not know all of.
///
/// # Errors
/// A sentence about a mode that there is not.
pub fn take_options(url: &str) -> Result<(String, TlsOptions), String> {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut root, mut rest) = (None, None, Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "sslmode" => mode = Some(read_mode(&value)?),
            "sslrootcert" => root = Some(value.into_owned()),
            _ => rest.push(parameter),
        }
    }
    // As libpq: whoever trusts everybody's authorities must look at the name.
    let implied = if root.as_deref() == Some(SYSTEM) { Mode::VerifyFull } else { Mode::Prefer };
    let mode = match (mode.unwrap_or(implied), &root) {
        (Mode::Require, Some(_)) => Mode::VerifyCa,
        (mode, _) => mode,
    };
    if root.as_deref() == Some(SYSTEM) && mode != Mode::VerifyFull {
        return Err("sslrootcert=system needs sslmode=verify-full".to_owned());
    }
    let url = if rest.is_empty() { server.to_owned() } else { format!("{server}?{}", rest.join("&")) };
    Ok((url, TlsOptions { mode, root }))
}

fn read_mode(value: &str) -> Result<Mode, String> {
    match value {
        "disable" => Ok(Mode::Disable),
        "prefer" => Ok(Mode::Prefer),
        "require" => Ok(Mode::Require),
        "verify-ca" => Ok(Mode::VerifyCa),
        "verify-full" => Ok(Mode::VerifyFull),
        other => Err(format!("sslmode must be disable, prefer, require, verify-ca or verify-full, not {other:?}")),
    }
}

impl TlsOptions {
    /// What the driver is told.
    pub fn mode(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        }
    }

    /// What makes TLS of a connection.
    ///
    /// # Errors
    /// A sentence about a root certificate that cannot be read.
    pub fn connector(&self) -> Result<MakeRustlsConnect, String> {
        // Named, since a process with several providers has no default.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let verifier: Arc<dyn ServerCertVerifier> = match self.mode {
            Mode::Disable | Mode::Prefer | Mode::Require => Arc::new(Lenient { provider, chain: None }),
            Mode::VerifyCa => Arc::new(Lenient { provider: provider.clone(), chain: Some(self.chain(provider)?) }),
            Mode::VerifyFull => self.chain(provider)?,
        };
        let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    fn chain(&self, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
        let mut roots = RootCertStore::empty();
        match self.root.as_deref() {
            None | Some(SYSTEM) => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(path) => {
                let failed = |error: &dyn std::fmt::Display| format!("sslrootcert {path}: {error}");
                let read = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
                for certificate in read {
                    roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
                }
                if roots.is_empty() {
                    return Err(failed(&"there is no certificate in it"));
                }
            }
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("sslrootcert: {error}; name a file with the authority of the server"))
    }
}

/// Believes any certificate, or any that the chain leads to whatever name is in it, as libpq's weaker modes do.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when the chain is good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> Result<(String, Mode, Option<String>), String> {
        take_options(url).map(|(url, tls)| (url, tls.mode, tls.root))
    }

    #[test]
    fn options_are_those_of_libpq() {
        let plain = "postgres://u:p%40@a:1,b:2/d";
        let at = |parameters: &str| options(&format!("{plain}{parameters}"));
        assert_eq!(at(""), Ok((plain.to_owned(), Mode::Prefer, None)));
        assert_eq!(at("?sslmode=disable"), Ok((plain.to_owned(), Mode::Disable, None)));
        assert_eq!(at("?sslmode=require"), Ok((plain.to_owned(), Mode::Require, None)));
        let file = Some("/etc/ca file.pem".to_owned());
        let verified = at("?sslmode=require&sslrootcert=/etc/ca%20file.pem");
        assert_eq!(verified, Ok((plain.to_owned(), Mode::VerifyCa, file.clone())));
        let verified = at("?options=-c%20x&sslrootcert=%2Fetc%2Fca%20file.pem&sslmode=verify-full");
        assert_eq!(verified, Ok((format!("{plain}?options=-c%20x"), Mode::VerifyFull, file)));
        assert_eq!(at("?sslrootcert=system").map(|it| it.1), Ok(Mode::VerifyFull));
        assert!(at("?sslrootcert=system&sslmode=require").is_err());
        for wrong in ["allow", "", "verify_full", "REQUIRE"] {
            assert!(at(&format!("?sslmode={wrong}")).is_err_and(|why| why.contains("sslmode must be")), "{wrong}");
        }
    }
}
