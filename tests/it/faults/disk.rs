//! A disk of a test's own: an ext4 file system in a file, which can lose its power.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::checker::Power;
use crate::harness::or_skipped;

/// See the module; unmounted when it is dropped.
pub struct Disk {
    folder: tempfile::TempDir,
}

/// Ends a file system at once, without writing out even its journal: `FS_IOC_SHUTDOWN`, `NOLOGFLUSH` (linux/fs.h).
/// Whatever was not synced is gone, and who uses it gets EIO.
const SHUT_DOWN: &str = "import fcntl, os, struct, sys; disk = os.open(sys.argv[1], os.O_RDONLY); \
    print('ready', flush=True); sys.stdin.readline(); fcntl.ioctl(disk, 0x8004587D, struct.pack('I', 2))";

impl Disk {
    /// A disk of this size; says so where mounting is not allowed, unless `HAGGLE_TEST_REQUIRE` forbids skipping.
    pub fn new(megabytes: u64) -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(disk.place()).expect("a folder to mount on");
        std::fs::File::create(disk.image()).and_then(|file| file.set_len(megabytes << 20)).expect("a file");
        let made = run("mkfs.ext4", &["-q", "-F", "-m", "0", &disk.image()]) && disk.mount();
        or_skipped("disk", made, "only root may mount a disk, where the system lets it").then_some(disk)
    }

    /// Where it is mounted.
    pub fn place(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Writes out everything.
    pub fn sync(&self) {
        assert!(run("sync", &["-f", &self.place().to_string_lossy()]), "sync");
    }

    /// Cuts the power of a machine whose disk this is.
    pub fn cut(&self, power: &Power) {
        let mut knife = Command::new("python3")
            .args(["-c", SHUT_DOWN, &self.place().to_string_lossy()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut ready = [0; 6];
        knife.stdout.take().expect("piped").read_exact(&mut ready).expect("it is ready");
        power.off();
        knife.stdin.take().expect("piped").write_all(b"now\n").expect("it listens");
        assert!(knife.wait().is_ok_and(|status| status.success()), "the ioctl");
    }

    /// Gives it power again: unmounts what is left and mounts anew, which replays the file system's journal. Nobody may
    /// use it any more.
    pub fn restore(&self) {
        assert!(self.try_restore(), "nobody uses the disk");
    }

    /// The same, unless somebody uses it now. Who writes to its place meanwhile would write elsewhere.
    pub fn try_restore(&self) -> bool {
        let unmounted = self.unmount();
        assert!(!unmounted || self.mount(), "the disk is mounted again");
        unmounted
    }

    /// Fills it to the last block, until what is returned is dropped.
    pub fn fill(&self) -> Ballast {
        let ballast = Ballast(self.place().join("ballast"));
        let mut file = std::fs::File::create(&ballast.0).expect("a file");
        for piece in [1 << 20, 4 << 10] {
            while file.write_all(&vec![1; piece]).and_then(|()| file.sync_data()).is_ok() {}
        }
        ballast
    }

    fn image(&self) -> String {
        self.folder.path().join("image").to_string_lossy().into_owned()
    }

    fn mount(&self) -> bool {
        run("mount", &["-o", "loop", &self.image(), &self.place().to_string_lossy()])
    }

    fn unmount(&self) -> bool {
        run("umount", &[&self.place().to_string_lossy()])
    }
}

/// What fills a disk.
pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("the ballast goes");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", &self.place().to_string_lossy()]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program).args(args).env("PATH", path()).output();
    output.is_ok_and(|output| output.status.success())
}

/// mkfs is not in everybody's path.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
