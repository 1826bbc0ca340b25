//! What the kernel knows about a process, and which cores it may use.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Puts this process, and what it starts from now on, on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("core {core}"))
}

/// CPU time of all threads that live, nanoseconds.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the broker is gone")? {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// User and system time, in clock ticks: coarse, for their proportion only.
pub fn user_and_system(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = text.rsplit_once(')').context("/proc/PID/stat")?.1;
    let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
    Ok((fields.next().unwrap_or(0), fields.next().unwrap_or(0)))
}

/// Resident memory, bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("smaps_rollup")?;
    Ok(1024 * line.trim_end_matches("kB").trim().parse::<u64>()?)
}

/// For `perf` to attach itself.
const ATTACH: Duration = Duration::from_millis(200);

/// System calls of a process from here on, counted by `perf`.
pub struct Syscalls(Child);

impl Syscalls {
    /// `None` where there is no `perf`.
    pub fn count(pid: u32) -> Option<Syscalls> {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p"]).arg(pid.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        thread::sleep(ATTACH);
        Some(Syscalls(child))
    }

    /// How many there were; `None` where `perf` may not count them.
    pub fn finish(self) -> Option<u64> {
        kill_process(Pid::from_child(&self.0), Signal::INT).ok()?;
        let output = self.0.wait_with_output().ok()?;
        String::from_utf8_lossy(&output.stderr).lines().find_map(|line| line.split(',').next()?.parse().ok())
    }
}

/// Kernel and number of processors, for the report.
pub fn machine() -> (String, usize) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    (kernel, processors.lines().filter(|line| line.starts_with("processor")).count())
}
