//! The machine: where processes run, and what they use.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use procfs::process::Process;
use rustix::time::{ClockId, clock_gettime};

/// What a process has used, and holds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Seconds of processors, user and system, to 10 ms.
    pub cpu_seconds: f64,
    /// Resident bytes of its own: files that are mapped, like a database, are in the system's cache once, however often.
    pub memory: u64,
}

/// What a process of this machine uses.
#[expect(clippy::cast_precision_loss, reason = "no process has run for 2^53 ticks")]
pub fn usage(pid: u32) -> Usage {
    let process = Process::new(i32::try_from(pid).expect("a process id")).expect("the process runs");
    let (stat, status) = (process.stat().expect("its stat"), process.status().expect("its status"));
    let cpu_seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    let memory = [status.rssanon, status.rssshmem].into_iter().flatten().sum::<u64>() * 1024;
    Usage { cpu_seconds, memory }
}

/// A command that runs on these processors only (`0`, or `0,1`).
pub fn pin(cpus: &str, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", cpus]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

/// Keeps this process, with all threads it has and will have, on these processors.
pub fn pin_self(cpus: &str) {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", cpus, &pid]).output();
    assert!(pinned.is_ok_and(|output| output.status.success()), "taskset (util-linux) pins this process to {cpus}");
}

/// Keeps this thread, and those it starts, on these processors.
pub fn pin_thread(cpus: &str) {
    let path = std::fs::read_link("/proc/thread-self").expect("/proc is there");
    let thread = path.file_name().expect("<process>/task/<thread>");
    let pinned = Command::new("taskset").args(["-c", "-p", cpus]).arg(thread).output();
    assert!(pinned.is_ok_and(|output| output.status.success()), "taskset (util-linux) pins this thread to {cpus}");
}

/// What this process has used of processors, threads that have ended included (`clock_gettime(2)`).
pub fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).expect("no past"), u32::try_from(time.tv_nsec).expect("below 10^9"))
}

/// Nanoseconds of processor that the threads of this name have used that run now (proc(5), schedstat).
pub fn processor_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten().map(|task| task.path());
    let is_meant = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let used = |task: PathBuf| {
        let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter(is_meant).filter_map(used).sum()
}

/// The machine in a line: processors, system.
pub fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown");
    // Of the machine, however few this process is kept on.
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} × {model}, Linux {}", kernel.trim())
}
