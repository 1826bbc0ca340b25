//! How many connections the process can have at all.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::store::rocks;

/// Descriptors that are not connections: listeners, polls, logs, operators; and the store's files, of which there may be so many when it is
/// large. Without one for a new file it takes nothing any more.
const RESERVED: u64 = 256 + rocks::FILES_MAX as u64;

/// Raises the process's descriptor limit as far as it may, and says how many of `wanted` connections fit below it.
pub(super) fn connections_max(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the descriptor limit stays as it was");
        }
    }
    fitting(wanted, getrlimit(Resource::Nofile).current)
}

/// `descriptors`: `None` = no limit.
fn fitting(wanted: usize, descriptors: Option<u64>) -> usize {
    // A process that may have few descriptors keeps half of them for itself.
    let room = descriptors.map_or(u64::MAX, |all| all.saturating_sub(RESERVED.min(all / 2)));
    let fitting = usize::try_from(room).unwrap_or(usize::MAX).min(wanted);
    if fitting < wanted {
        tracing::warn!(wanted, fitting, "the descriptor limit allows fewer connections than limits.connections_max");
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_for_what_is_no_connection() {
        assert_eq!(fitting(500_000, Some(20_000)), 19_232);
        assert_eq!(fitting(500_000, Some(100)), 50);
        assert_eq!(fitting(500, Some(1024)), 500);
        assert_eq!(fitting(500_000, None), 500_000);
    }

    #[test]
    fn the_limit_of_this_process_is_raised_as_far_as_it_may() {
        assert!(connections_max(usize::MAX) > 0);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
