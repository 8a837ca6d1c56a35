//! Clients that strangers generate from the API description work against a server.

use std::process::{Command, Stdio};

use crate::harness::or_skipped;

/// Each client of `tests/clients` is generated and compiled or type-checked, opens a room, proposes, is refused, accepts,
/// sends files, and reads of it in the event stream.
#[test]
fn generated_clients_hold_a_conversation() {
    let run = Command::new("scripts/clients")
        .arg("--cached")
        .env("HAGGLE_BIN", env!("CARGO_BIN_EXE_haggle"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .expect("the script runs");
    let (said, failed) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if run.status.code() == Some(77) {
        or_skipped("clients", false, failed.trim_end());
        return;
    }
    assert!(run.status.success(), "{said}{failed}");
    for client in ["typescript", "python", "openapi-generator-python", "rust"] {
        let line = said.lines().find(|line| line.starts_with(&format!("{client}: "))).expect(client);
        assert!(line.contains("accepted at 125000") && line.ends_with("refused with terms_changed"), "{line}");
    }
}
