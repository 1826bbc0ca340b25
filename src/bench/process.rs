//! What the kernel knows about the broker's process (Linux, `/proc`), and the processor it runs on.

use std::fs;

use super::BenchError;

/// CPU time of all threads that live, nanoseconds.
///
/// # Errors
/// The process is gone, or somebody else's.
pub fn cpu_ns(pid: u32) -> Result<u64, BenchError> {
    let mut sum = 0;
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.map_err(|error| BenchError::Io(error).during(format!("process {pid}")))? {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// User and system time, in clock ticks: coarse, for their proportion only.
///
/// # Errors
/// The process is gone.
pub fn user_and_system(pid: u32) -> Result<(u64, u64), BenchError> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let Some((_, after_name)) = text.rsplit_once(')') else { return BenchError::broker("/proc/PID/stat has no name") };
    let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
    Ok((fields.next().unwrap_or(0), fields.next().unwrap_or(0)))
}

/// Resident memory, bytes.
///
/// # Errors
/// The process is gone, or somebody else's.
pub fn resident(pid: u32) -> Result<u64, BenchError> {
    Ok(1024 * field(&format!("/proc/{pid}/smaps_rollup"), "Rss:")?)
}

/// Bytes it sent to disks so far, those that still lie in the kernel's cache included.
///
/// # Errors
/// The process is gone, or somebody else's.
pub fn written(pid: u32) -> Result<u64, BenchError> {
    field(&format!("/proc/{pid}/io"), "write_bytes:")
}

fn field(file: &str, name: &str) -> Result<u64, BenchError> {
    let text = fs::read_to_string(file).map_err(|error| BenchError::Io(error).during(file))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_end_matches("kB").trim().parse().ok());
    value.ok_or_else(|| BenchError::Broker(format!("{file}: no {name}")))
}

/// Kernel, number of processors, and how many processes want one now, for the report.
pub fn machine() -> (String, usize, String) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    (kernel, processors.lines().filter(|line| line.starts_with("processor")).count(), load)
}
