//! Credentials files: an operator, an account and a user, made as NATS' own tools make them.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use haggle::config::BusConfig;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::access::{pair, refusal};
use crate::harness::Database;
use crate::harness::nats::{self, Nats};

/// A JWT as NATS reads it: signed by `issuer`, about `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = json!({
        "jti": "T", "iat": 1_700_000_000, "name": "test", "iss": issuer.public_key(), "sub": subject.public_key(),
        "nats": claims,
    });
    let signed = format!("{header}.{}", part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A credentials file for `user`, who may use these subjects.
fn credentials(folder: &Path, account: &KeyPair, user: &KeyPair, subjects: &str) -> PathBuf {
    let allow = json!({"allow": [subjects]});
    let claims =
        json!({"type": "user", "version": 2, "pub": allow, "sub": allow, "subs": -1, "data": -1, "payload": -1});
    let user_jwt = jwt(account, user, &claims);
    let seed = user.seed().expect("a seed");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let path = folder.join(format!("{}.creds", user.public_key()));
    std::fs::write(&path, text).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_lets_in_with_no_more_than_the_prefix() {
    let folder = tempfile::tempdir().expect("a folder");
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let unlimited = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1});
    let account_jwt = jwt(&operator, &account, &json!({"type": "account", "version": 2, "limits": unlimited}));
    let config = folder.path().join("nats.conf");
    let operator_jwt = jwt(&operator, &operator, &json!({"type": "operator", "version": 2}));
    let text = format!(
        "operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt} }}\n",
        account.public_key()
    );
    std::fs::write(&config, text).expect("written");
    let Some(nats) = Nats::start(&["-c", config.to_str().expect("UTF-8")]).await else { return };
    let Some(database) = Database::postgres().await else { return };
    let with = |file: PathBuf| BusConfig { credentials: Some(file), ..nats::bus(&nats.url()) };

    let file = credentials(folder.path(), &account, &KeyPair::new_user(), "haggle.>");
    pair(&database, &with(file)).await;

    let stranger = credentials(folder.path(), &KeyPair::new_account(), &KeyPair::new_user(), "haggle.>");
    assert!(refusal(&database, &with(stranger)).await.contains("authorization violation"));
    let nobody = refusal(&database, &nats::bus(&nats.url())).await;
    assert!(nobody.contains("HAGGLE_BUS_CREDENTIALS"), "{nobody}");
    let garbage = folder.path().join("garbage.creds");
    std::fs::write(&garbage, "no credentials").expect("written");
    let why = refusal(&database, &with(garbage)).await;
    assert!(why.starts_with("HAGGLE_BUS_CREDENTIALS"), "{why}");
}
