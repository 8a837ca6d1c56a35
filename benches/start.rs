//! How long it takes until a server is ready, and how large it is (goal 10).

mod support;

use support::{Goal, Report, Row};

fn main() {
    let mut report = Report::new("start");
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_haggle")).expect("the built binary");
    #[expect(clippy::cast_precision_loss, reason = "no binary has 2^53 bytes")]
    let megabytes = binary.len() as f64 / 1e6;
    report.row(Row {
        goal_number: "10",
        work: "size of the binary".to_owned(),
        against: String::new(),
        unit: "MB",
        ours: megabytes,
        theirs: None,
        goal: Goal::AtMost(40.0),
    });
    report.finish();
}
