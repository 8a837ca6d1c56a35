//! The source keeps its shape: which module may know which, what stays pure, and how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules a module may name. What is not listed may name nothing of the crate.
///
/// `http → app → {commands, queries, events} → {store, attachments, auth, wire} → domain`, and what all stand on.
const ARROWS: [(&str, &[&str]); 15] = [
    ("domain", &[]),
    ("wire", &["domain"]),
    ("error", &["domain", "wire"]),
    ("clock", &["domain"]),
    ("config", &[]),
    ("store", &["config", "domain", "error"]),
    ("auth", &["clock", "config", "domain", "error"]),
    ("attachments", &["auth", "clock", "config", "domain", "error"]),
    ("backup", &["attachments", "clock", "config", "domain", "error", "store"]),
    ("commands", &["clock", "domain", "error", "store"]),
    ("queries", &["domain", "error", "store", "wire"]),
    ("events", &["attachments", "clock", "config", "domain", "error", "store", "wire"]),
    (
        "app",
        &[
            "attachments",
            "auth",
            "clock",
            "commands",
            "config",
            "domain",
            "error",
            "events",
            "queries",
            "store",
            "wire",
        ],
    ),
    (
        "http",
        &["app", "attachments", "auth", "commands", "config", "domain", "error", "events", "queries", "store", "wire"],
    ),
    ("cli", &[]),
];
/// The longest a file may be, in lines of code without tests, comments and blanks. Shorter is better; this is what the
/// longest subjects that are one need today: the ledger of a batch, the decisions.
const LONGEST: usize = 300;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder with this extension, by its path from there.
fn files(folder: &Path, extension: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(folder).expect("it is below").display().to_string();
                found.insert(name, std::fs::read_to_string(&path).expect("text"));
            }
        }
    }
    found
}

/// The lines of code in `src` that are not for tests: comments and blank lines are left out.
fn code() -> BTreeMap<String, Vec<String>> {
    let for_tests = |name: &str| name.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs"));
    let lines = |text: &str| {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"));
        code.map(str::to_owned).collect()
    };
    let sources = files(&root().join("src"), "rs").into_iter().filter(|(name, _)| !for_tests(name));
    sources.map(|(name, text)| (name, lines(&text))).collect()
}

/// The first name after every `crate::`, whether one or several in braces.
fn named_modules(line: &str) -> Vec<&str> {
    let names = line.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(several) => several.split('}').next().unwrap_or_default().split(", ").collect(),
        None => vec![rest],
    });
    let word = |text| {
        let text: &str = text;
        text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    };
    names.map(word).filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_know_only_what_lies_beneath_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into();
    for (file, lines) in code() {
        let module = file.split(['/', '.']).next().expect("a module");
        let Some(allowed) = arrows.get(module) else {
            assert!(["lib", "main"].contains(&module), "src/{file} is in no known module");
            continue;
        };
        for line in &lines {
            for named in named_modules(line) {
                // `on!` runs one query text on either database; the macro is exported at the root.
                let known = named == module || named == "on" || allowed.contains(&named);
                assert!(known, "src/{file} must not know {named}: {line}");
            }
        }
    }
}

#[test]
fn the_arrows_make_no_circle() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into();
    let mut sorted: BTreeSet<&str> = BTreeSet::new();
    while let Some((next, _)) = arrows
        .iter()
        .find(|(module, allowed)| !sorted.contains(*module) && allowed.iter().all(|named| sorted.contains(named)))
    {
        sorted.insert(next);
    }
    assert_eq!(sorted.len(), arrows.len(), "only these can be put in order: {sorted:?}");
}

#[test]
fn the_domain_is_pure() {
    for (file, lines) in code().into_iter().filter(|(file, _)| file.starts_with("domain/")) {
        for line in &lines {
            for word in ["async ", ".await", "diesel", "tracing", "tokio", "SystemTime", "Instant", "std::fs", "rand::"]
            {
                assert!(!line.contains(word), "src/{file} holds {word}: {line}");
            }
        }
    }
}

#[test]
fn files_are_short_and_finished() {
    for (file, lines) in code() {
        assert!(lines.len() <= LONGEST, "src/{file} has {} lines of code", lines.len());
        for line in &lines {
            for word in ["TODO", "FIXME", "XXX", "dbg!(", "todo!(", "unimplemented!(", ".unwrap()", "unsafe "] {
                assert!(!line.contains(word), "src/{file} holds {word}: {line}");
            }
        }
    }
    for folder in ["src", "tests"] {
        for (file, text) in files(&root().join(folder), "rs") {
            assert!(text.starts_with("//!"), "{folder}/{file} does not begin with what it is");
        }
    }
}

/// One schema serves both databases only if their migrations make the same tables.
#[test]
fn migrations_come_in_pairs() {
    let [sqlite, postgres] = ["sqlite", "postgres"].map(|kind| files(&root().join("migrations").join(kind), "sql"));
    let names = |migrations: &BTreeMap<String, String>| migrations.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&sqlite), names(&postgres));
    for (name, text) in &sqlite {
        for made in ["CREATE TABLE ", "DROP TABLE ", "INDEX "] {
            assert_eq!(after(text, made), after(&postgres[name], made), "{made}in {name}");
        }
    }
    let tables: BTreeSet<String> = sqlite.values().flat_map(|text| after(text, "CREATE TABLE ")).collect();
    let schema = std::fs::read_to_string(root().join("src/store/schema.rs")).expect("the schema");
    for table in &tables {
        assert!(schema.contains(&format!("    {table} (")), "{table} is not in schema.rs");
    }
}

/// The names that follow some words.
fn after(text: &str, words: &str) -> BTreeSet<String> {
    let name =
        |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    text.split(words).skip(1).map(name).collect()
}
