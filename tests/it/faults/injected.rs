//! System calls of a running process that fail: strace answers them in the system's place.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{is_here, or_skipped};

/// While it is there, calls fail.
pub struct Injection(Child);

impl Injection {
    /// Has these calls (`fsync,write`) of processes, and of those that they start, fail with EIO: all, or those on a file.
    /// Says so where strace is not here, or may not look into processes.
    pub fn begin(processes: &[u32], calls: &str, file: Option<&Path>) -> Option<Self> {
        if !is_here("strace") {
            return None;
        }
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
        strace.arg(format!("inject={calls}:error=EIO"));
        for process in processes {
            strace.args(["-p", &process.to_string()]);
        }
        if let Some(file) = file {
            strace.arg("-P").arg(file);
        }
        let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace starts");
        let mut said = BufReader::new(strace.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let attached = said.by_ref().filter(|line| line.contains(" attached")).take(processes.len()).count();
        std::thread::spawn(move || said.for_each(drop));
        let injection = Self(strace);
        or_skipped("strace", attached > 0, "strace may not look into processes here").then_some(injection)
    }
}

impl Drop for Injection {
    /// SIGTERM has strace let go of the processes.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}
