//! CPU time and memory of this process.

use std::time::Duration;

/// CPU time of the process at some moment.
pub struct Cpu(Duration);

impl Cpu {
    pub fn now() -> Self {
        Self(used())
    }

    /// CPU time used since, by all threads: the store's, too.
    pub fn since(&self) -> Duration {
        used().saturating_sub(self.0)
    }
}

fn used() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Resident memory of this process, bytes, once what was freed has gone back to the system.
pub fn resident() -> usize {
    give_back();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// The allocator gives back on its own, in ten seconds.
fn give_back() {
    std::thread::sleep(Duration::from_secs(if std::env::args().any(|word| word == "--bench") { 12 } else { 0 }));
}

/// Waits until the threads of a store that was dropped are gone.
pub fn store_threads_off() {
    give_back();
}
