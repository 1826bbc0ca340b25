//! Places where a test ends the process, one at each step of a commit.
//!
//! `HERALDMQ_TEST_FAIL_POINT=written` aborts when that step is reached for the first time, `written:7` at the seventh time;
//! `written:7:panic` panics there instead.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps of a commit, in order.
pub const ALL: [&str; 6] = ["gathered", "batched", "written", "synced", "marked", "answered"];

/// The variable that names one.
pub const VARIABLE: &str = "HERALDMQ_TEST_FAIL_POINT";

struct Wanted {
    step: String,
    left: AtomicU64,
    panics: bool,
}

fn wanted() -> Option<&'static Wanted> {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    let read = || {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.split(':');
        let step = parts.next().unwrap_or_default().to_owned();
        let count = parts.next().and_then(|count| count.parse().ok()).unwrap_or(1);
        Some(Wanted { step, left: AtomicU64::new(count), panics: parts.next() == Some("panic") })
    };
    WANTED.get_or_init(read).as_ref()
}

/// Says that a step was taken.
pub(super) fn reached(step: &'static str) {
    debug_assert!(ALL.contains(&step), "a step that the list does not have");
    if let Some(wanted) = wanted()
        && wanted.step == step
        && wanted.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        assert!(!wanted.panics, "as {VARIABLE} wants it");
        tracing::error!(step, "ended at the fail point that {VARIABLE} names");
        std::process::abort();
    }
}
