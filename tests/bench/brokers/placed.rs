//! Which cores a process may use, and how many system calls it makes.

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
