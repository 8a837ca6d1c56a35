//! TLS to PostgreSQL, asked for as with libpq.

use std::path::Path;

use crate::harness::issued::{Issued, issue};
use crate::harness::{Node, Postgres, free_port, put_private};

/// A server that takes connections over TLS only, with a certificate for this host.
fn server_with(issued: &Issued) -> Option<Postgres> {
    let server = Postgres::prepare(free_port(), &["-c", "ssl=on"])?;
    put_private(&server, "server.crt", &issued.certificate);
    put_private(&server, "server.key", &issued.key);
    let rules = "hostssl all all 127.0.0.1/32 trust\nlocal all all trust\nhost postgres haggle 127.0.0.1/32 trust\n";
    put_private(&server, "pg_hba.conf", rules);
    server.run();
    Some(server)
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("written");
    path.display().to_string()
}

/// What a node says that does not start with these parameters.
async fn refused(database: &str, parameters: &str) -> String {
    match Node::try_start(&format!("{database}{parameters}"), &[]).await {
        Ok(_) => panic!("{parameters} was accepted"),
        Err((status, log)) => {
            assert_eq!(status.code(), Some(1), "{log}");
            log
        }
    }
}

/// To see it red: give `verify-full` the lenient verifier in `src/store/postgres/tls.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_and_verified_as_asked() {
    let issued = issue("127.0.0.1");
    let server = tokio::task::spawn_blocking(move || server_with(&issued).map(|server| (server, issued)));
    let Some((server, issued)) = server.await.expect("PostgreSQL starts") else { return Postgres::say_skipped() };
    let database = server.database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let right = write(folder.path(), "right ca.pem", &issued.authority).replace(' ', "%20");
    let wrong = write(folder.path(), "wrong.pem", &issue("127.0.0.1").authority);
    let empty = write(folder.path(), "empty.pem", "");

    for parameters in [
        String::new(),
        "?sslmode=prefer".to_owned(),
        "?sslmode=require".to_owned(),
        format!("?sslmode=require&sslrootcert={right}"),
        format!("?sslmode=verify-ca&sslrootcert={right}"),
        format!("?sslmode=verify-full&sslrootcert={right}"),
    ] {
        let node = Node::start(&format!("{database}{parameters}")).await;
        node.ready().await;
        node.cast().await.ada.rooms().await;
        let plain = "SELECT application_name AS value FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                     WHERE application_name LIKE 'haggle%' AND NOT ssl";
        assert_eq!(server.ask(plain).await, Vec::<String>::new(), "{parameters}");
    }
    for (parameters, why) in [
        ("?sslmode=disable".to_owned(), "no pg_hba.conf entry"),
        (format!("?sslmode=require&sslrootcert={wrong}"), "certificate"),
        (format!("?sslmode=verify-ca&sslrootcert={wrong}"), "certificate"),
        (format!("?sslmode=verify-full&sslrootcert={wrong}"), "certificate"),
        ("?sslmode=verify-full".to_owned(), "certificate"),
        ("?sslmode=allow".to_owned(), "sslmode must be disable, prefer, require, verify-ca or verify-full"),
        (format!("?sslmode=verify-full&sslrootcert={empty}"), "there is no certificate in it"),
        ("?sslmode=verify-full&sslrootcert=/nowhere.pem".to_owned(), "sslrootcert /nowhere.pem"),
    ] {
        let said = refused(&database, &parameters).await;
        assert!(said.contains(why), "{parameters}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_counts_with_verify_full_only() {
    let issued = issue("elsewhere.example");
    let server = tokio::task::spawn_blocking(move || server_with(&issued).map(|server| (server, issued)));
    let Some((server, issued)) = server.await.expect("PostgreSQL starts") else { return Postgres::say_skipped() };
    let database = server.database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "ca.pem", &issued.authority);
    Node::start(&format!("{database}?sslmode=verify-ca&sslrootcert={root}")).await.ready().await;
    let said = refused(&database, &format!("?sslmode=verify-full&sslrootcert={root}")).await;
    assert!(said.contains("not valid for name"), "{said}");
}
