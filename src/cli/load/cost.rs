//! What the server's process costs, from `/proc` (Linux only).

/// What a process has used up to now.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds of processors, user and system.
    pub cpu_seconds: f64,
    /// Resident bytes.
    pub memory: u64,
}

/// Reads what a process of this machine uses.
///
/// # Errors
/// A sentence, if there is no such process or it is another user's.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "no process has run for 2^53 ticks")]
pub fn usage(pid: u32) -> Result<Usage, String> {
    let read = || {
        let process = procfs::process::Process::new(i32::try_from(pid).unwrap_or(i32::MAX))?;
        let (stat, status) = (process.stat()?, process.status()?);
        let ticks = (stat.utime + stat.stime) as f64;
        let cpu_seconds = ticks / procfs::ticks_per_second() as f64;
        Ok(Usage { cpu_seconds, memory: status.vmrss.unwrap_or(0) * 1024 })
    };
    read().map_err(|error: procfs::ProcError| format!("--server-pid {pid}: {error}"))
}

/// Other systems have no `/proc`.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn usage(pid: u32) -> Result<Usage, String> {
    Err(format!("--server-pid {pid}: only Linux tells what a process costs"))
}
