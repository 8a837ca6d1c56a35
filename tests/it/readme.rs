//! The README works as written: its tour, its page script, its tables.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Actor, Database, Server, is_here};

const README: &str = include_str!("../../README.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The text under a heading of the second level, up to the next one.
pub fn section(heading: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The fenced blocks of some text: language and content.
pub fn blocks(text: &str) -> Vec<(&str, &str)> {
    let pieces: Vec<&str> = text.split("```").collect();
    assert!(pieces.len() % 2 == 1, "every fence is closed");
    let fenced = pieces.into_iter().skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a language, then lines")).collect()
}

/// The rows of the tables in some text, as cells; heads and rules are left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether a line is as documented; `…` stands for anything.
fn fits(line: &str, documented: &str) -> bool {
    let parts: Vec<&str> = documented.split('…').collect();
    let [first, .., last] = parts.as_slice() else { return line == documented };
    let Some(rest) = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    let middle = &parts[1..parts.len() - 1];
    middle.iter().try_fold(rest, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
}

#[track_caller]
fn assert_fits(printed: &str, documented: &str, step: &str) {
    let (printed, documented) = (printed.trim_end(), documented.trim_end());
    let lines: Vec<(&str, &str)> = printed.lines().zip(documented.lines()).collect();
    let same = printed.lines().count() == documented.lines().count();
    let fit = same && lines.iter().all(|(line, documented)| fits(line, documented));
    assert!(fit, "the step\n{step}\nprinted\n{printed}\nbut the README says\n{documented}");
}

/// Runs a script in a folder with `haggle` on the path, for two minutes at most.
fn run_bash(script: &str, folder: &Path) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_haggle")).parent().expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("timeout");
    bash.args(["--kill-after=10", "120", "bash", "-s"]).current_dir(folder).env("PATH", path).stdin(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HAGGLE_") || name.contains("proxy")) {
        bash.env_remove(name);
    }
    let mut bash = bash.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash starts");
    // Bash reads the script as it goes; what it starts must not read it in its place.
    let script = format!("{{\n{script}\n}} </dev/null\n");
    bash.stdin.take().expect("piped").write_all(script.as_bytes()).expect("bash reads");
    bash.wait_with_output().expect("bash ends")
}

/// How the output of one step is told from the next.
const MARK: &str = "=-=-= the next step";

#[test]
fn the_tour_prints_what_it_says() {
    if !is_here("curl") {
        return;
    }
    let blocks = blocks(section("Five-minute tour"));
    // Each step with the output documented after it, if there is any.
    let after = blocks.iter().skip(1).chain([&("", "")]);
    let steps: Vec<(&str, &str)> = (blocks.iter().zip(after))
        .filter(|((language, _), _)| *language == "bash")
        .map(|((_, step), (language, text))| (*step, if *language == "text" { *text } else { "" }))
        .collect();
    assert!(steps.len() >= 10, "the tour is here");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let begin = "set -euo pipefail\ntrap '[ -z \"${server:-}\" ] || kill \"$server\" 2>/dev/null || true' EXIT\n";
    let script = steps.iter().map(|(step, _)| *step).collect::<Vec<_>>().join(&format!("\necho '{MARK}'\n"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = run_bash(&format!("{begin}{}", script.replace("8080", &port.to_string())), folder.path());
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{complaints}\n{printed}", output.status);
    let printed: Vec<&str> = printed.split(&format!("{MARK}\n")).collect();
    assert_eq!(printed.len(), steps.len(), "every step was run");
    for ((step, documented), printed) in steps.into_iter().zip(printed) {
        assert_fits(printed, documented, step);
    }
}

/// Runs the script against a server: relative addresses are the server's, and somebody else writes meanwhile.
const PAGE: &str = r#"
const [url, user, token, other, room] = process.argv.slice(2);
const realFetch = globalThis.fetch;
globalThis.fetch = (path, options) => realFetch(url + path, options);
const bearer = (token) => ({ Authorization: `Bearer ${token}`, "Content-Type": "application/json" });
const write = (token, content) => fetch(`/v1/rooms/${room}/messages`, { method: "POST", headers: bearer(token), body: JSON.stringify({ content }) });
function check(what, holds) { if (!holds) { console.error(`not so: ${what}`); process.exit(1); } }
let next;
const changes = [];
const change = async () => { while (changes.length === 0) await new Promise((resolve) => { next = resolve; }); return changes.shift(); };
const stream = watchRooms(user, async () => token, (rooms) => { changes.push(structuredClone(rooms.get(room))); next?.(); });
let now = await change();
check("the rooms are there", now.content === "Hi!" && now.new_messages === 1);
await write(other, "News");
now = await change();
check("news are counted", now.content === "News" && now.new_messages === 2 && now.company.name === "Northwind");
await write(token, "Mine");
now = await change();
check("what I write I have seen", now.content === "Mine" && now.new_messages === 0);
stream.close();
process.exit(0);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_script_keeps_its_rooms() {
    if !is_here("node") {
        return;
    }
    let script = blocks(section("In the browser")).into_iter().find(|(language, _)| *language == "js").expect("it").1;
    let library = Path::new(ROOT).join("web/haggle.js").display().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("page.mjs");
    assert!(script.contains("\"/haggle.js\""));
    std::fs::write(&file, format!("{}\n{PAGE}", script.replace("/haggle.js", &library))).expect("written");
    let server = Server::start(&Database::Sqlite).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await.to_string();
    let token = |of: &Actor| of.token.clone().expect("a token");
    let args = [server.url.clone(), cast.nora.id().to_string(), token(&cast.nora), token(&cast.ada), room];
    let node = move || Command::new("timeout").args(["60", "node"]).arg(file).args(args).output();
    let output = tokio::task::spawn_blocking(node).await.expect("no panic").expect("node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_two_commands_to_begin_with_exist() {
    assert!(README.contains("\ncargo run --release -- demo "));
    assert!(README.contains("\nscripts/test "));
    for script in ["scripts/test", ".ci/run"] {
        let mode = std::fs::metadata(Path::new(ROOT).join(script)).expect(script).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is executable");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_haggle")).args(["demo", "--help"]).output().expect("it runs");
    assert!(help.status.success());
}

#[test]
fn the_settings_are_those_of_the_code() {
    let settings = include_str!("../../src/config/settings.rs");
    let between = |line: &str, before: &str, after: &str| {
        Some(line.split_once(before)?.1.split_once(after)?.0.replace(['"', '_'], ""))
    };
    let of_code: BTreeSet<(String, Option<String>)> = settings
        .lines()
        .filter_map(|line| {
            let name = line.split_once("env = \"")?.1.split_once('"')?.0.to_owned();
            let literal = between(line, "default_value = \"", "\"");
            let value = between(line, "default_value_t = ", ")").and_then(|it| Some(it.split(',').next()?.to_owned()));
            Some((name, literal.or(value)))
        })
        .collect();
    let of_readme: BTreeSet<(String, Option<String>)> = rows(section("Settings"))
        .into_iter()
        .filter(|row| row[0].starts_with("`HAGGLE_"))
        .map(|row| (quoted(row[0])[0].to_owned(), quoted(row[1]).first().map(|&value| value.to_owned())))
        .collect();
    assert_eq!(of_readme, of_code);
}

#[test]
fn the_codes_are_those_of_the_code() {
    let sources = [
        include_str!("../../src/error.rs"),
        include_str!("../../src/domain/refusal.rs"),
        include_str!("../../src/domain/contract.rs"),
        include_str!("../../src/domain/decide.rs"),
    ];
    let is_code = |word: &str| word.contains(|c: char| c.is_ascii_lowercase()) && !word.contains([' ', '.', '/']);
    let mut of_code = BTreeSet::new();
    for line in sources.iter().flat_map(|source| source.split("#[cfg(test)]").next().unwrap_or_default().lines()) {
        for marker in [" => \"", "what: \"", "\" => \""] {
            let word = line.split_once(marker).and_then(|(_, rest)| rest.split_once('"'));
            of_code.extend(word.map(|(word, _)| word).filter(|word| is_code(word)));
        }
        // The codes of `Error::Forbidden` stand on the left of their sentences.
        let left = line.trim_start().strip_prefix('"').and_then(|rest| rest.split_once("\" => "));
        of_code.extend(left.map(|(word, _)| word));
    }
    let of_readme: BTreeSet<&str> = rows(section("Errors")).iter().flat_map(|row| quoted(row[1])).collect();
    let elsewhere = BTreeSet::from(["contract", "Idempotency-Key", "host_not_allowed"]);
    let of_readme: BTreeSet<&str> = of_readme.difference(&elsewhere).copied().collect();
    assert_eq!(of_readme, of_code);
}

#[test]
fn the_list_of_calls_and_events_is_whole() {
    let (_, list) = README.split_once("## At a glance").expect("the chapter");
    let (list, _) = list.split_once("\n## ").expect("another chapter");
    let description = serde_json::to_value(haggle::http::description()).expect("JSON");
    let paths = description["paths"].as_object().expect("paths").keys();
    let tags = description["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"].as_object();
    for name in paths.chain(tags.expect("events").keys()) {
        assert!(list.contains(&format!("{name}`")), "{name} is not in the README's list");
    }
}

#[test]
fn the_files_it_names_are_there() {
    for path in quoted(&README.replace("```", "")) {
        let is_path = ["src/", "tests/", "scripts/", ".ci/", "web/"].iter().any(|folder| path.starts_with(folder));
        let file = path.split(' ').next().unwrap_or_default();
        assert!(!is_path || Path::new(ROOT).join(file).exists(), "{path}");
    }
}
