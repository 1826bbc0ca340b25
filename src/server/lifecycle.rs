//! The phases of the process, and the signals that move it from one to the next.
//!
//! ```text
//!  Starting ──all rooms built──▶ Running ──SIGINT, SIGTERM──▶ Draining ──all told and saved──▶ Stopped
//!                                 │  ▲
//!                                 └──┘ SIGHUP: read the configuration again
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Rooms are being built.
    Starting,
    /// Clients are served.
    Running,
    /// Clients are told that it ends; none are taken.
    Draining,
    /// Everything is saved and closed.
    Stopped,
}

/// The phase in force, for whoever asks.
#[derive(Debug)]
pub(super) struct Lifecycle {
    phase: AtomicU8,
}

impl Lifecycle {
    pub(super) fn new() -> Self {
        Self { phase: AtomicU8::new(Phase::Starting as u8) }
    }

    /// Moves on. A phase never comes back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Running,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Read the configuration again.
    Reload,
    /// End.
    Stop,
}

/// The signals the process listens to.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_never_comes_back() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.phase(), Phase::Starting);
        lifecycle.enter(Phase::Draining);
        lifecycle.enter(Phase::Running);
        assert_eq!(lifecycle.phase(), Phase::Draining);
        lifecycle.enter(Phase::Stopped);
        assert_eq!(lifecycle.phase(), Phase::Stopped);
    }
}
