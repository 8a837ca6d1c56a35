//! The server that is measured: the built binary, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{CLIENT_CPU, pin};

/// What tokens are signed with.
pub const SECRET: &str = "benches-sign-with-this-and-nobody-else";

/// A running `haggle serve`; killed when it is dropped.
pub struct Server {
    pub url: String,
    child: Child,
    /// The data folder.
    pub folder: tempfile::TempDir,
}

impl Server {
    /// Starts one on these processors, with an empty database or the one at `HAGGLE_DATABASE_URL`, and waits until it
    /// listens. Rates per user do not limit what is measured.
    pub fn start(cpus: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), cpus, settings)
    }

    /// Starts one on a data folder that may hold something already.
    pub fn start_in(folder: tempfile::TempDir, cpus: &str, settings: &[(&str, &str)]) -> Self {
        let mut serve = haggle();
        serve.arg("serve").env("HAGGLE_LISTEN", "127.0.0.1:0").env("HAGGLE_DATA_DIR", folder.path());
        serve.env("HAGGLE_JWT_SECRET", SECRET).env("HAGGLE_LOG", "haggle::cli=info,warn");
        serve.env("HAGGLE_RATE_PER_SECOND", "1000000").env("HAGGLE_RATE_BURST", "1000000");
        serve.env("HAGGLE_MAX_CONNECTIONS_PER_ADDRESS", "100000").envs(settings.iter().copied());
        let mut child =
            pin(cpus, &serve).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("taskset (util-linux) runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let url = lines.by_ref().find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()));
        let url = url.expect("the server starts");
        std::thread::spawn(move || lines.for_each(|line| eprintln!("server: {line}")));
        Self { url, child, folder }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        // taskset has become the server: it calls exec.
        self.child.id()
    }

    /// Runs `haggle load` against it from the other processor; what it found.
    pub fn load(&self, args: &[&str]) -> Value {
        let mut load = haggle();
        load.args(["load", "--json", "--url", &self.url, "--server-pid", &self.pid().to_string()]).args(args);
        load.env("HAGGLE_JWT_SECRET", SECRET);
        let output = pin(CLIENT_CPU, &load).stdin(Stdio::null()).output().expect("haggle load runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "haggle load {args:?}:\n{said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Ends it, and keeps its data folder.
    pub fn stop(mut self) -> tempfile::TempDir {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()), "kill runs");
        assert!(self.child.wait().expect("it ends").success(), "the server ends well");
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The built `haggle`, with none of this process's settings.
fn haggle() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haggle"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HAGGLE_")) {
        command.env_remove(name);
    }
    command
}
