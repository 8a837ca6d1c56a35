//! Counting the instructions between marks in a test of this binary, by running it under callgrind.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::skip::or_skipped;

/// Names what is done from here to the next mark, so often; what is done under "" is not counted.
///
/// Callgrind writes down what it has counted whenever this is called.
#[inline(never)]
pub fn mark(what: &str, times: usize) {
    println!("mark {times} {what}");
}

/// Whether valgrind is here; says so when it is not, where that is allowed.
pub fn is_here() -> bool {
    let here = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|ran| ran.success());
    or_skipped("valgrind", here, "valgrind is not installed")
}

/// Runs an ignored test of this binary under callgrind; what each thing it marked takes at a time.
pub fn count(test: &str, variables: &[(&str, String)]) -> BTreeMap<String, f64> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("counted");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--dump-before=*callgrind::mark*", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    // What lies before the first mark is in the first file, and so on.
    let marks = said.lines().filter_map(|line| line.split_once("mark ")?.1.split_once(' ')).enumerate();
    let mut costs = BTreeMap::new();
    for (n, (times, what)) in marks.filter(|(_, (_, what))| !what.is_empty()) {
        let part = format!("{}.{}", out.display(), n + 2);
        let cost = total(&part).unwrap_or_else(|| panic!("{part} says what {what} took"));
        let earlier = costs.insert(what.to_owned(), cost / times.parse::<f64>().expect("a number"));
        assert!(earlier.is_none(), "{what} is counted twice");
    }
    costs
}

/// The sum in a file of callgrind's (callgrind format, "totals").
fn total(path: &str) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines().rev();
    lines.find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: "))?.trim().parse().ok())
}
