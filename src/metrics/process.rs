//! What the process costs, by the names every exporter uses, read from `/proc` at the time of a scrape.

use std::fmt::Write as _;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the system says about this process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    cpu_s: f64,
    resident_bytes: u64,
    threads: u64,
    /// `None` where the kernel does not count them for us (before Linux 6.2): counting half a million takes too long.
    open_descriptors: Option<u64>,
}

/// Appends the page's part about the process; nothing where the system has no `/proc`.
pub(super) fn render(page: &mut String, started: SystemTime) {
    let Some(cost) = read() else { return };
    let started_s = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut line = |name: &str, kind: &str, help: &str, value: f64| {
        // Writing to a string cannot fail.
        let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    };
    line("process_cpu_seconds_total", "counter", "Seconds of CPU used, in user and kernel.", cost.cpu_s);
    line("process_resident_memory_bytes", "gauge", "Bytes of memory in use.", cost.resident_bytes as f64);
    line("process_threads", "gauge", "Threads.", cost.threads as f64);
    if let Some(open) = cost.open_descriptors {
        line("process_open_fds", "gauge", "Open descriptors.", open as f64);
    }
    line("process_start_time_seconds", "gauge", "When the process began, seconds since 1970.", started_s as f64);
}

fn read() -> Option<Cost> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let open_descriptors = fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|open| *open > 0);
    let (ticks_per_s, page_bytes) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64);
    parse(&stat, &statm, ticks_per_s, page_bytes).map(|cost| Cost { open_descriptors, ..cost })
}

/// Fields by their numbers in proc(5).
fn parse(stat: &str, statm: &str, ticks_per_s: u64, page_bytes: u64) -> Option<Cost> {
    // The name in parentheses may hold spaces and parentheses; field 3 follows its last one.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    let resident_pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(Cost {
        cpu_s: ticks as f64 / ticks_per_s as f64,
        resident_bytes: resident_pages * page_bytes,
        threads: field(20)?,
        open_descriptors: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 100 1000 300";
        let expected = Cost { cpu_s: 2.0, resident_bytes: 300 * 4096, threads: 9, open_descriptors: None };
        assert_eq!(parse(stat, "500 300 10 1 0 60 0", 100, 4096), Some(expected));
        assert_eq!(parse("7 (a", "1 2", 100, 4096), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let mut page = String::new();
        render(&mut page, SystemTime::now());
        let value = |name: &str| -> f64 {
            page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_threads") >= 1.0);
        assert!(!page.contains("process_open_fds") || value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1_700_000_000.0);
    }
}
