//! A disk under the files alone, full or failed: messages with files wait, all others go on (promise 12).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Disk, Site};
use crate::harness::{eventually, tell, uuid};

/// How long the disk is full, or has failed.
const LASTS: Duration = Duration::from_secs(1);
/// How soon files are taken again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// A file of some blocks, in base64.
const FILE: usize = 80_000;

fn with_file() -> Value {
    json!({"content": "", "attachment": {"name": "a.bin", "content": "A".repeat(FILE), "content_type": "text/plain"}})
}

/// A message with a file is answered 503 and is not there, not even without its file; texts are taken; with the disk
/// back all is well, and every file of an acknowledged message has its bytes.
///
/// To see it red: have `FileStore::write` of `src/attachments/store` pass over what `publish` says.
#[tokio::test(flavor = "multi_thread")]
async fn files_wait_for_their_disk_and_texts_do_not() {
    let Some(disk) = Disk::new(64) else { return };
    let data = tempfile::tempdir().expect("a folder");
    let place = format!("file://{}", disk.place().join("files").display());
    let mut site = Site::start(data.path(), None, &[("HAGGLE_ATTACHMENTS_URL", place)]).await;
    let cast = site.node.cast().await;
    let rig = "disk of files: 1 × full, 1 × EIO";
    let mut checker = site.load("12", rig, 45).await;
    checker.only_files_are_cut = true;
    let room = uuid(&cast.ada.rooms().await["rooms"][0]["id"]);
    let send = async |body: &Value| cast.ada.message(room, body).await;
    let mut longest = Duration::ZERO;
    for fails in [false, true] {
        eventually("files are taken", async || send(&with_file()).await.status == 201).await;
        let ballast = (!fails).then(|| disk.fill());
        if fails {
            disk.cut(&site.addresses.power);
            site.addresses.power.on();
        }
        let began = Instant::now();
        while began.elapsed() < LASTS {
            let answer = send(&with_file()).await;
            assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
            answer.refused(503, "unavailable");
            send(&json!({"content": "Texts go on"})).await.expect(201);
        }
        drop(ballast);
        if fails {
            repair(&disk, &mut site).await;
        }
        let healed = Instant::now();
        eventually("files are taken again", async || send(&with_file()).await.status == 201).await;
        longest = longest.max(healed.elapsed());
    }
    assert!(longest < BACK_WITHIN, "back after {longest:?}");
    tell("12", rig, format!("files were taken {longest:.1?} after it was well; texts went on"));
    checker.verify().await;
}

/// Mounts the disk anew while the server does nothing: what it wrote in between would not be on the disk.
async fn repair(disk: &Disk, site: &mut Site) {
    eventually("nobody has a file open", async || {
        site.node.pause();
        let restored = disk.try_restore();
        site.node.resume();
        restored
    })
    .await;
}
