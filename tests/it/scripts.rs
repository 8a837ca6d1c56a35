//! What is in `scripts/` does what it says.

use std::process::{Command, Stdio};

use crate::harness::or_skipped;

/// A deployment of PostgreSQL, NATS, three nodes and a proxy comes up, and nobody notices that a node is killed.
#[test]
fn a_cluster_comes_up_and_loses_nothing_with_a_node() {
    let installed = |program: &str| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<_> = std::env::split_paths(&folders).collect();
        folders.push("/usr/sbin".into());
        folders.iter().any(|folder| folder.join(program).exists())
    };
    for (program, package) in [("pg_ctlcluster", "postgres"), ("nats-server", "nats"), ("haproxy", "haproxy")] {
        if !or_skipped(package, installed(program), &format!("{program} is not installed")) {
            return;
        }
    }
    // The script takes twelve ports from here.
    let port = 30_000 + std::process::id() % 2_000;
    let run = Command::new("scripts/cluster")
        .arg("--check")
        .env("HAGGLE_BIN", env!("CARGO_BIN_EXE_haggle"))
        .env("HAGGLE_CLUSTER_PORT", port.to_string())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .expect("the script runs");
    let (said, failed) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}{failed}");
    assert_eq!(said.matches("before 5,after 1").count(), 3, "{said}");
}
