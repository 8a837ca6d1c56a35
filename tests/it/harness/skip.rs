//! What is not installed is skipped, in a sentence; `HAGGLE_TEST_REQUIRE` names what must be there.

/// Whether something is here. If not, says so in this sentence; where `name` is required the test fails with it.
#[track_caller]
pub fn or_skipped(name: &str, here: bool, missing: &str) -> bool {
    let required = std::env::var("HAGGLE_TEST_REQUIRE").is_ok_and(|what| what.contains(name));
    assert!(here || !required, "{name} is required: {missing}");
    if !here {
        eprintln!("skipped: {missing}");
    }
    here
}
