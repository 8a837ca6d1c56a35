//! Promise 18: a backup made under load restores on either database, and clients notice.
//!
//! Seen red with these faults planted: `put_rows` in `src/backup/restore.rs` keeps the epoch of the archive (cursors are
//! resumed); `make` in `src/backup/make.rs` reads each table in a snapshot of its own, by `conn.read` in `table` (rows
//! of several moments); it takes the list of files 0.2 s before the rows (bytes are missing); `compare` in `src/backup/contents.rs`
//! never finds a difference (damage is restored).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dice::Dice;
use crate::harness::{Actor, Cast, Database, Node, S3, eventually, haggle, id, is_full, position, tell};

/// Cursors that are tried after a restore, of all that were given out; `HAGGLE_TORTURE=full` tries all.
const CURSORS: usize = 60;

/// Where a deployment lives.
pub struct Home {
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Home {
    pub fn sqlite() -> Self {
        Self::on(None)
    }

    /// None if PostgreSQL is not installed.
    async fn postgres() -> Option<Self> {
        let Some(Database::Postgres(url)) = Database::postgres().await else { return None };
        Some(Self::on(Some(url)))
    }

    fn on(url: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let url = url.unwrap_or_else(|| format!("sqlite://{}", data.join("haggle.sqlite3").display()));
        let data = data.display().to_string();
        Self { folder, settings: vec![("HAGGLE_DATA_DIR", data), ("HAGGLE_DATABASE_URL", url)] }
    }

    fn with_bucket(mut self, s3: &S3) -> Self {
        self.settings.push(("HAGGLE_ATTACHMENTS_URL", "s3://files/team/files".to_owned()));
        self.settings.push(("HAGGLE_ATTACHMENTS_DELIVERY", "proxy".to_owned()));
        self.settings.extend(s3.environment(crate::harness::s3::KEY));
        self
    }

    async fn serve(&self) -> Node {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let node = Node::start_with(&self.settings[1].1, &settings).await;
        node.ready().await;
        node
    }

    /// A command on this deployment.
    pub async fn run(&self, args: &[&str]) -> Output {
        let mut command = haggle(args);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let run = move || command.output().expect("haggle runs");
        tokio::task::spawn_blocking(run).await.expect("no panic")
    }

    /// A command that succeeds; returns what it says.
    pub async fn done(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A command that is refused, with one sentence that holds this.
    async fn refused(&self, args: &[&str], said: &str) {
        let output = self.run(args).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.starts_with("haggle: ") && error.lines().count() == 1, "{args:?}: {error}");
        assert!(error.contains(said), "{args:?}: {said:?} is not in {error}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a backup in this folder.
    pub async fn backup(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.done(&["backup", text(&path)]).await;
        path
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The entries of an archive, in order.
pub fn entries(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(std::fs::File::open(archive).expect("an archive"));
    let entries = tar.entries().expect("a tar archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let (name, mut bytes) = (entry.path().expect("a name").display().to_string(), Vec::new());
        entry.read_to_end(&mut bytes).expect("its bytes");
        (name, bytes)
    });
    entries.collect()
}

pub fn write_archive(path: &Path, entries: &[(String, Vec<u8>)]) {
    let mut tar = tar::Builder::new(std::fs::File::create(path).expect("a file"));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, bytes.as_slice()).expect("written");
    }
    tar.finish().expect("written");
}

/// Everything in an archive but what differs between a deployment and its restored copy: the epoch, and when the
/// archive was made.
pub fn substance(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut entries: BTreeMap<_, _> = entries(archive).into_iter().collect();
    entries.remove("SHA256SUMS").expect("checksums");
    entries.remove("haggle-backup.json").expect("a manifest");
    let meta = entries.get_mut("rows/meta.000001.jsonl").expect("meta");
    let lines = String::from_utf8(std::mem::take(meta)).expect("UTF-8");
    *meta = lines.lines().filter(|line| !line.contains("\"epoch\"")).collect::<String>().into_bytes();
    entries
}

/// A message that was acknowledged.
#[derive(Debug, Clone)]
struct Acked {
    by: Uuid,
    room: Uuid,
    number: i64,
    key: Uuid,
    content: String,
    file: Option<Vec<u8>>,
    answered: Instant,
}

/// Sends to a room until told to stop: texts, files, and terms.
async fn write(
    sender: Actor,
    room: Uuid,
    campaign: Option<Uuid>,
    stop: CancellationToken,
    mut dice: Dice,
) -> Vec<Acked> {
    let mut acked = Vec::new();
    while !stop.is_cancelled() {
        let (key, content) = (dice.id(), format!("{} \u{1f91d} \"quoted\"\n", dice.id()));
        let mut body = json!({"content": content});
        let file = (dice.roll(4) == 0)
            .then(|| (0..dice.roll(5_000)).map(|_| u8::try_from(dice.roll(256)).expect("a byte")).collect::<Vec<u8>>());
        if let Some(bytes) = &file {
            let encoded = STANDARD.encode(bytes);
            body["attachment"] = json!({"name": "a b.bin", "content": encoded, "content_type": ""});
        }
        if let Some(campaign) = campaign.filter(|_| dice.roll(3) == 0) {
            let payout = dice.roll(1_000_000);
            body["contract_change"] = json!({"type": "proposed_by_company", "campaign_id": campaign, "payout": payout});
        }
        let answer = loop {
            let answer = sender.post_keyed(&format!("/v1/rooms/{room}/messages"), key, &body).await;
            if answer.status != 503 {
                break answer.expect(201);
            }
            // A disk that others keep busy: again, with the same key.
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let number = answer["id"].as_i64().expect("a number");
        acked.push(Acked { by: sender.id(), room, number, key, content, file, answered: Instant::now() });
    }
    acked
}

/// Collects the cursor of every event until told to stop.
async fn read(reader: Actor, path: &'static str, stop: CancellationToken) -> Vec<String> {
    let mut stream = reader.stream_at(path).await;
    let mut cursors = vec![stream.last_id.clone()];
    while let Some(event) = stop.run_until_cancelled(stream.next()).await {
        cursors.extend((!event.id.is_empty()).then_some(event.id));
    }
    cursors
}

/// A room in which nothing happens any more, with a contract in each state.
struct Quiet {
    room: Uuid,
    campaigns: Vec<Uuid>,
}

const STATES: [(&str, &[&str]); 6] = [
    ("proposed", &[]),
    ("accepted", &["accepted_by_creator"]),
    ("withdrawn", &["withdrawn_by_company"]),
    ("cancelled", &["accepted_by_creator", "cancelled_by_creator"]),
    ("finished", &["accepted_by_creator", "finished_by_creator"]),
    ("approved", &["accepted_by_creator", "finished_by_creator", "approved_by_company"]),
];

impl Quiet {
    async fn prepare(cast: &Cast) -> Self {
        let (room, mut campaigns) = (cast.kofi.open_room(cast.north, "Hello!").await, Vec::new());
        for (n, (_, steps)) in (0..).zip(STATES) {
            let campaign = id(0xcb00 + n);
            let body = json!({"company_id": cast.north, "name": format!("No. {n}"), "open": true});
            cast.service.put(&format!("/v1/campaigns/{campaign}"), &body).await.expect(201);
            cast.nora.propose(room, campaign, 100).await.expect(201);
            cast.ben.propose(room, campaign, 200 + i64::from(n)).await.expect(201);
            for step in steps {
                let who = if step.ends_with("company") { &cast.nora } else { &cast.kofi };
                who.change(room, &json!({"type": step})).await.expect(201);
            }
            campaigns.push(campaign);
        }
        cast.ben.see(room, 3).await.expect(200);
        Self { room, campaigns }
    }

    /// All that can be asked of it, without links and cursors.
    async fn told(&self, cast: &Cast) -> Vec<Value> {
        let mut told = Vec::new();
        for reader in [&cast.kofi, &cast.nora, &cast.ben, &cast.service] {
            told.push(reader.room(self.room).await);
            for campaign in &self.campaigns {
                let path = format!("/v1/rooms/{}/contracts/{campaign}/history", self.room);
                told.push(reader.get(&path).await.expect(200));
            }
        }
        told.push(cast.kofi.rooms().await);
        for path in [
            format!("/v1/users/{}", cast.ben.id()),
            format!("/v1/companies/{}", cast.lumen),
            format!("/v1/campaigns/{}", cast.studio),
        ] {
            told.push(cast.service.get(&path).await.expect(200));
        }
        for answer in &mut told {
            if let Some(position) = answer.get_mut("position") {
                position.take();
            }
        }
        told
    }
}

/// What was sent before a backup, and while it was made.
struct Load {
    acked: Vec<Acked>,
    cursors: BTreeSet<String>,
    /// When the backup began.
    began: Instant,
    archive: PathBuf,
}

/// Makes a backup while four write, in two rooms, and three read.
async fn backup_under_load(home: &Home, node: &Node, cast: &Cast, rooms: [Uuid; 2]) -> Load {
    let (stop, mut dice) = (CancellationToken::new(), Dice::seeded(18));
    let writers =
        [(&cast.ada, 0, None), (&cast.nora, 0, Some(cast.spring)), (&cast.ada, 1, None), (&cast.luca, 1, None)];
    let writers: Vec<_> = writers
        .map(|(who, room, campaign)| {
            tokio::spawn(write(who.clone(), rooms[room], campaign, stop.clone(), dice.split()))
        })
        .into();
    let readers = [(&cast.ada, "/v1/events"), (&cast.nora, "/v1/events"), (&cast.service, "/v1/events?all=true")];
    let readers: Vec<_> = readers.map(|(who, path)| tokio::spawn(read(who.clone(), path, stop.clone()))).into();
    let last = async || cast.ada.rooms().await["rooms"][0]["last_message"]["id"].as_i64().expect("a number");
    eventually("there are messages", async || last().await >= 120).await;
    let began = Instant::now();
    let archive = home.backup("backup.tar").await;
    let ended = Instant::now();
    let more = last().await + 20;
    eventually("there are more messages", async || last().await >= more).await;
    stop.cancel();
    let (mut acked, mut cursors) = (Vec::new(), BTreeSet::new());
    for writer in writers {
        acked.extend(writer.await.expect("every message is acknowledged"));
    }
    for reader in readers {
        cursors.extend(reader.await.expect("no panic"));
    }
    let meanwhile = acked.iter().filter(|sent| sent.answered > began && sent.answered < ended).count();
    let before = acked.iter().filter(|sent| sent.answered < began).count();
    let found = format!("{before} messages acknowledged before it, {meanwhile} meanwhile, {} in all", acked.len());
    tell("18", &format!("a backup of {:.1?} under load", ended - began), found);
    assert!(before > 100 && meanwhile > 0, "the load is not enough: {}", node.log());
    Load { acked, cursors, began, archive }
}

async fn a_backup_under_load_restores_and_clients_notice(from: &Home, to: &Home) {
    let node = from.serve().await;
    let cast = node.cast().await;
    let quiet = Quiet::prepare(&cast).await;
    let uploaded = id(0xf1);
    let upload = cast.ada.request(Method::PUT, &format!("/v1/attachments/{uploaded}?name=a.txt")).body("not yet sent");
    cast.ada.run(upload).await.expect(201);
    let rooms = [cast.ada.open_room(cast.north, "Hi!").await, cast.ada.open_room(cast.lumen, "Hi!").await];
    let truth = quiet.told(&cast).await;
    let load = backup_under_load(from, &node, &cast, rooms).await;

    drop(node);
    let said = to.done(&["restore", text(&load.archive)]).await;
    let again = to.backup("again.tar").await;
    assert!(substance(&again) == substance(&load.archive), "a backup of what was restored is the same");

    let node = to.serve().await;
    let at = |actor: &Actor| actor.at_url(&node.url);
    let cast = Cast {
        nora: at(&cast.nora),
        ben: at(&cast.ben),
        luca: at(&cast.luca),
        ada: at(&cast.ada),
        kofi: at(&cast.kofi),
        service: at(&cast.service),
        ..cast
    };
    assert_eq!(quiet.told(&cast).await, truth);
    for room in rooms {
        whole_room(&cast, room, &load).await;
    }
    cast.ada.message(rooms[0], &json!({"content": "", "attachment_id": uploaded})).await.expect(201);
    let last = &cast.ada.get(&format!("/v1/rooms/{}?message_qty=1", rooms[0])).await.expect(200)["messages"][0];
    assert_eq!(download(&cast.ada, last).await, b"not yet sent");
    clients_notice(&cast, rooms[0], &load.cursors, &said).await;
}

async fn download(reader: &Actor, message: &Value) -> Vec<u8> {
    let answer = reader.get(message["attachment"]["link"].as_str().expect("a link")).await;
    assert_eq!(answer.status, 200, "{message}");
    answer.bytes
}

/// What was acknowledged before is there with its bytes; there is nothing else but what was sent; it is of one moment.
async fn whole_room(cast: &Cast, room: Uuid, load: &Load) {
    let found = cast.ada.history(room).await;
    let numbers: Vec<_> = found.iter().map(|message| message["id"].as_i64().expect("a number")).collect();
    let count = i64::try_from(numbers.len()).expect("small");
    assert!(numbers.iter().copied().eq(1..=count), "numbers have holes: {numbers:?}");
    let sent: BTreeMap<i64, &Acked> =
        load.acked.iter().filter(|sent| sent.room == room).map(|sent| (sent.number, sent)).collect();
    let due = sent.values().filter(|sent| sent.answered < load.began).map(|sent| sent.number).max().expect("some");
    assert!(count >= due, "{due} was acknowledged before the backup began, and the last is {count}");
    let mut changes = 0;
    for message in &found[1..] {
        let number = message["id"].as_i64().expect("a number");
        let sent = sent[&number];
        assert_eq!((&message["message_id"], &message["content"]), (&json!(sent.key), &json!(sent.content)));
        assert_eq!(message["attachment"].is_object(), sent.file.is_some());
        if let Some(bytes) = &sent.file {
            assert!(download(&cast.ada, message).await == *bytes, "the bytes of {message}");
        }
        changes += i64::from(message["contract_change"].is_object());
    }
    let detailed = cast.ada.room(room).await;
    let versions = detailed["contracts"].as_array().expect("contracts").iter().map(|it| it["version"].as_i64());
    assert_eq!(versions.map(|version| version.expect("a number")).sum::<i64>(), changes, "{}", detailed["contracts"]);
    let again = sent[&due];
    let author = [&cast.ada, &cast.nora, &cast.luca].into_iter().find(|who| who.id() == again.by).expect("a writer");
    let other = json!({"content": "another request"});
    let answer = author.post_keyed(&format!("/v1/rooms/{room}/messages"), again.key, &other).await;
    answer.refused(422, "idempotency_key_reused");
}

/// Every cursor of the time before is answered `resync`; streams go on from there.
async fn clients_notice(cast: &Cast, room: Uuid, cursors: &BTreeSet<String>, said: &str) {
    let (_, begin) = said.split_once("Cursors begin at ").expect("the new cursor");
    let begin = begin.split(';').next().expect("a cursor");
    let mut tried = 0;
    let step = if is_full() { 1 } else { cursors.len().div_ceil(CURSORS) };
    for cursor in cursors.iter().step_by(step).chain(cursors.last()) {
        let mut stream = cast.ada.stream_after(cursor).await;
        assert_eq!(stream.hello.data["resumed"], false, "{cursor}: {:?}", stream.hello);
        assert_eq!(stream.next().await.data, json!({"type": "resync", "reason": "other_epoch"}), "{cursor}");
        tried += 1;
    }
    tell("18", "restored from a backup made under load", format!("{tried} older cursors tried, all told resync"));
    let mut resumed = cast.ada.stream_after(begin).await;
    assert_eq!(resumed.hello.data["resumed"], true, "{begin}: {:?}", resumed.hello);
    assert!(position(cast.ada.rooms().await["position"].as_str().expect("a cursor")) > position(begin));
    let number = cast.nora.say(room, "It goes on").await;
    while resumed.next_of("new_message").await["message"]["id"] != number {}
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_sqlite() {
    a_backup_under_load_restores_and_clients_notice(&Home::sqlite(), &Home::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_postgres() {
    if let (Some(from), Some(to)) = (Home::postgres().await, Home::postgres().await) {
        a_backup_under_load_restores_and_clients_notice(&from, &to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_postgres() {
    if let Some(to) = Home::postgres().await {
        a_backup_under_load_restores_and_clients_notice(&Home::sqlite(), &to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_sqlite_and_from_a_bucket_to_a_folder() {
    let s3 = S3::start().await;
    if let Some(from) = Home::postgres().await {
        a_backup_under_load_restores_and_clients_notice(&from.with_bucket(&s3), &Home::sqlite()).await;
    }
}

/// A room with a file, and a backup of it.
pub async fn small_backup(home: &Home) -> PathBuf {
    let node = home.serve().await;
    let cast = node.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let file = json!({"name": "a.txt", "content": STANDARD.encode([b'x'; 2_000]), "content_type": "text/plain"});
    cast.ada.message(room, &json!({"content": "A file", "attachment": file})).await.expect(201);
    home.backup("backup.tar").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_refused_and_nothing_is_restored() {
    let from = Home::sqlite();
    let archive = small_backup(&from).await;
    let (whole, bytes) = (entries(&archive), std::fs::read(&archive).expect("an archive"));
    let to = Home::sqlite();
    let damaged = to.path("damaged.tar");
    let refused = async |said| to.refused(&["restore", text(&damaged)], said).await;
    for length in [0, 100, 512, bytes.len() / 4, bytes.len() / 2, bytes.len() * 3 / 4] {
        std::fs::write(&damaged, &bytes[..length]).expect("written");
        refused("is damaged, or no backup of Haggle's").await;
    }
    std::fs::write(&damaged, vec![b'x'; 10_000]).expect("written");
    refused("is damaged, or no backup of Haggle's").await;
    for (n, (name, content)) in whole.iter().enumerate() {
        let mut changed = whole.clone();
        changed.remove(n);
        write_archive(&damaged, &changed);
        refused("is damaged, or no backup of Haggle's").await;
        changed = whole.clone();
        changed[n].1[content.len() / 2] ^= 1;
        write_archive(&damaged, &changed);
        refused(if name == "haggle-backup.json" { "" } else { "is damaged, or no backup of Haggle's" }).await;
    }
    let mut more = whole.clone();
    more.push(whole[1].clone());
    write_archive(&damaged, &more);
    refused("comes after its end").await;
    for (name, value) in [("format", json!(2)), ("schema", json!(["20261122000000", "20990101000000"]))] {
        let mut other = whole.clone();
        let mut manifest: Value = serde_json::from_slice(&other[0].1).expect("JSON");
        manifest[name] = value;
        other[0].1 = manifest.to_string().into_bytes();
        write_archive(&damaged, &other);
        refused("restore it with that version").await;
    }
    // Nothing of all this is left: the whole archive still finds the place empty.
    to.done(&["restore", text(&archive)]).await;
    assert!(substance(&to.backup("again.tar").await) == substance(&archive));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_was_flipped_is_noticed_or_does_not_matter() {
    let from = Home::sqlite();
    let archive = small_backup(&from).await;
    let (bytes, substance_of) = (std::fs::read(&archive).expect("an archive"), substance(&archive));
    let (mut dice, mut noticed) = (Dice::seeded(8), 0);
    for _ in 0..30 {
        let to = Home::sqlite();
        let (damaged, mut flipped) = (to.path("damaged.tar"), bytes.clone());
        let at =
            std::iter::repeat_with(|| dice.roll(bytes.len())).find(|at| bytes[*at] != 0).expect("not all is padding");
        flipped[at] ^= 1 << dice.roll(8);
        std::fs::write(&damaged, &flipped).expect("written");
        if to.run(&["restore", text(&damaged)]).await.status.success() {
            assert!(substance(&to.backup("again.tar").await) == substance_of, "the byte {at} of {}", bytes.len());
        } else {
            noticed += 1;
        }
    }
    eprintln!("{noticed} of 30 noticed; the others were between entries");
    assert!(noticed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_in_a_sentence() {
    let home = Home::sqlite();
    let missing = home.path("none.tar");
    home.refused(&["backup", text(&missing)], "there is no database").await;
    home.refused(&["epoch", "renew"], "there is no database").await;
    assert!(!home.path("data").exists() && !missing.exists(), "nothing is made");
    let archive = small_backup(&home).await;
    home.refused(&["backup", text(&archive)], "is there already and is not replaced").await;
    home.refused(&["backup", text(&home.path("no/such/folder.tar"))], "No such file").await;
    home.refused(&["restore", text(&missing)], "No such file").await;
    home.refused(&["restore", text(&archive)], "there are data in this database already").await;
    let mut homes = vec![home];
    homes.extend(Home::postgres().await);
    for home in &homes {
        let mut node = home.serve().await;
        for command in [&["epoch", "renew"][..], &["restore", text(&archive)]] {
            home.refused(command, "is in use by another Haggle").await;
        }
        let dated = home.done(&["backup", text(home.folder.path())]).await;
        assert!(dated.contains("/haggle-20") && dated.contains("Z.tar"), "{dated}");
        node.terminate();
    }
    let left: Vec<_> =
        homes[0].folder.path().read_dir().expect("a folder").map(|it| it.expect("an entry").path()).collect();
    assert_eq!(left.len(), 3, "a data folder and two archives: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_its_bytes_is_no_backup() {
    let home = Home::sqlite();
    small_backup(&home).await;
    let mut folders = vec![home.path("data/attachments")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert_eq!(files.len(), 1);
    let second = home.path("second.tar");
    std::fs::write(&files[0], [b'y'; 2_000]).expect("written");
    home.refused(&["backup", text(&second)], "they are not those that were sent").await;
    std::fs::remove_file(&files[0]).expect("removed");
    home.refused(&["backup", text(&second)], "they are gone").await;
    home.done(&["backup", "--without-files", text(&second)]).await;
    Home::sqlite().refused(&["restore", text(&second)], "1 of them are not at HAGGLE_ATTACHMENTS_URL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_a_bucket_may_stay_there() {
    let s3 = S3::start().await;
    let home = Home::sqlite().with_bucket(&s3);
    let whole = small_backup(&home).await;
    let rows = home.path("rows.tar");
    home.done(&["backup", "--without-files", text(&rows)]).await;
    assert!(!entries(&rows).iter().any(|(name, _)| name.starts_with("files/")));
    let to = Home::sqlite().with_bucket(&s3);
    to.done(&["restore", text(&rows)]).await;
    let node = to.serve().await;
    let ada = node.actor(id(0xa1));
    let room = ada.rooms().await["rooms"][0]["id"].as_str().expect("a room").parse().expect("an id");
    assert_eq!(download(&ada, &ada.history(room).await[1]).await, [b'x'; 2_000]);
    assert!(substance(&to.backup("again.tar").await) == substance(&whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_ends_all_cursors() {
    let mut homes = vec![Home::sqlite()];
    homes.extend(Home::postgres().await);
    for home in homes {
        let mut node = home.serve().await;
        let cast = node.cast().await;
        let room = cast.ada.open_room(cast.north, "Hi!").await;
        let cursor = cast.ada.rooms().await["position"].as_str().expect("a cursor").to_owned();
        assert!(node.terminate().success());
        let said = home.done(&["epoch", "renew"]).await;
        assert!(said.contains(cursor.split('-').next().expect("an epoch")), "{said}");
        let node = home.serve().await;
        let ada = cast.ada.at_url(&node.url);
        assert_eq!(ada.stream_after(&cursor).await.next().await.data["reason"], "other_epoch");
        assert_eq!(ada.say(room, "It goes on").await, 2);
        let now = ada.rooms().await["position"].as_str().expect("a cursor").to_owned();
        assert_eq!(ada.stream_after(&now).await.hello.data["resumed"], true);
    }
}
