//! Panics: a defect ends as little as can be ended, and never leaves a core dead behind.
//!
//! What is done for one connection ends this connection; what is done for none (a letter, a will, a held message) is lost alone.
//! Each place here is one after which the core's own state is whole: lists are taken before they are walked, and tools that were
//! out of their place are made anew. Whatever panics outside of them is caught in `run.rs`, which ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Core, Mail};
use crate::metrics::Metric;
use crate::session::Ending;

impl Core {
    /// Does `work` for a connection: a panic ends this connection and no other.
    pub(super) fn guarded(&mut self, slot: u32, work: impl FnOnce(&mut Self)) {
        if self.caught("handling a connection, which was closed", work) {
            // What its end brings about may be what panicked: then it goes without.
            self.caught("ending a connection", |core| core.end(slot, Ending::Lost));
            self.remove(slot);
        }
    }

    /// Handles a letter. A panic takes no more than this letter with it.
    pub(super) fn open_letter(&mut self, letter: Mail) {
        self.caught("handling a letter", |core| core.handle_letter(letter));
    }

    /// Does `work`, and says whether it panicked.
    pub(super) fn caught(&mut self, what: &'static str, work: impl FnOnce(&mut Self)) -> bool {
        let panicked = catch_unwind(AssertUnwindSafe(|| work(self))).is_err();
        if panicked {
            self.panicked(what);
        }
        panicked
    }

    /// A panic was caught: counts it, and makes anew what was out of its place. `what` completes "a panic while".
    pub(super) fn panicked(&mut self, what: &'static str) {
        tracing::error!(core = self.id, "caught a panic while {what}");
        self.counters.add(Metric::CaughtPanics, 1);
        self.plan = None;
        self.post.fed = None;
    }
}
