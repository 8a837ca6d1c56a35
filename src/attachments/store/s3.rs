//! A bucket of an S3 store: how it is reached, what is tried at the start, and links that open one object.

use std::error::Error;
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{ClientConfigKey, HttpError};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig};
use tokio::time::timeout;
use url::Url;

use super::said;
use crate::config::AwsVariables;

/// A store in the same network accepts a connection in milliseconds; one that takes longer is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// What a store may take to answer a request, attempts included, and between two pieces of an answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Attempts after the first, for a store that stumbles; one that is down is found out within [`ANSWER_WITHIN`].
const RETRIES: usize = 2;

/// The bucket, with what the environment says of the store. Connects to nothing yet.
///
/// # Errors
/// A sentence that says which variable to mend.
pub fn bucket(name: &str, aws: &AwsVariables) -> Result<AmazonS3, String> {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_millis(500),
        ..BackoffConfig::default()
    };
    // Answers may be long, so there is no limit on a whole one; `ANSWER_WITHIN` bounds every wait.
    let client = ClientOptions::new().with_connect_timeout(CONNECT_WITHIN).with_timeout_disabled();
    let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: ANSWER_WITHIN };
    // Single deletes are what every store knows.
    let mut builder =
        AmazonS3Builder::new().with_client_options(client).with_retry(retry).with_disable_bulk_delete(true);
    for (name, value) in &aws.0 {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    let is_said = |variable: &str| aws.0.contains_key(variable);
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint);
    match endpoint.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint)) {
        Some(endpoint) => {
            let scheme = Url::parse(&endpoint).map(|url| url.scheme().to_owned()).unwrap_or_default();
            if !matches!(scheme.as_str(), "http" | "https") {
                return Err("AWS_ENDPOINT_URL must look like https://s3.example".to_owned());
            }
            if scheme == "http" && !is_said("AWS_ALLOW_HTTP") {
                builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
            }
        }
        // Amazon gives each bucket an origin of its own; its certificate does not cover names with dots.
        None if !is_said("AWS_VIRTUAL_HOSTED_STYLE_REQUEST") && !name.contains('.') => {
            builder = builder.with_virtual_hosted_style_request(true);
        }
        None => {}
    }
    builder.with_bucket_name(name).build().map_err(|error| format!("S3: {}; mend the AWS_… variables", said(&error)))
}

/// What trying the bucket showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The store cannot be reached at this moment.
    Away(String),
    /// It refuses: a sentence that says how to mend it.
    Refused(String),
}

/// Writes, reads and deletes `path`, which nobody else uses: what Haggle does with files, and nothing else.
pub async fn probe(bucket: &AmazonS3, path: &Path) -> Result<(), Trouble> {
    let keys = timeout(ANSWER_WITHIN, bucket.credentials().get_credential()).await;
    if !matches!(keys, Ok(Ok(_))) {
        let mend =
            "there are no keys for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role";
        return Err(Trouble::Refused(mend.to_owned()));
    }
    let tried = timeout(ANSWER_WITHIN, async {
        let permission = |name: &'static str| move |error| (name, error);
        bucket.put(path, Bytes::from_static(b"haggle").into()).await.map_err(permission("s3:PutObject"))?;
        let found = bucket.get(path).await.map_err(permission("s3:GetObject"))?;
        found.bytes().await.map_err(permission("s3:GetObject"))?;
        bucket.delete(path).await.map_err(permission("s3:DeleteObject"))
    });
    match tried.await {
        Err(_) => Err(Trouble::Away(super::upload::no_answer(ANSWER_WITHIN))),
        Ok(tried) => tried.map_err(|(permission, error)| trouble(&error, permission)),
    }
}

fn trouble(error: &object_store::Error, permission: &str) -> Trouble {
    let why = said(error);
    match error {
        object_store::Error::NotFound { .. } => {
            Trouble::Refused(format!("there is no such bucket: make it, or mend HAGGLE_ATTACHMENTS_URL ({why})"))
        }
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Trouble::Refused(format!(
                "the store refuses the keys: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and that they \
                 allow {permission} on this bucket and prefix ({why})"
            ))
        }
        error if is_transport(error) || why.contains("status code: 5") || why.contains("status code: 429") => {
            Trouble::Away(why)
        }
        _ => {
            Trouble::Refused(format!("the store does not take requests: check AWS_ENDPOINT_URL and AWS_REGION ({why})"))
        }
    }
}

/// Whether there was no answer at all.
fn is_transport(error: &object_store::Error) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Headers that the store is told to answer with, whatever it knows of an object.
#[derive(Debug, Clone, Copy)]
pub struct Fixed<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Content-Disposition`.
    pub content_disposition: &'a str,
    /// `Cache-Control`.
    pub cache_control: &'a str,
}

/// A presigned URL (AWS Signature Version 4, query parameters) that opens `path` for this method and time, with these
/// headers. Asks the store nothing.
///
/// # Errors
/// If there are no keys to sign with.
pub async fn link(
    bucket: &AmazonS3,
    path: &Path,
    method: Method,
    fixed: Fixed<'_>,
    life: Duration,
) -> object_store::Result<Url> {
    let options = SignedUrlOptions::new().with_query([
        ("response-cache-control", fixed.cache_control),
        ("response-content-disposition", fixed.content_disposition),
        ("response-content-type", fixed.content_type),
    ]);
    bucket.signed_url_opts(method, path, life, &options).await
}
