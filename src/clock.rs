//! The only way time enters a pure room.
//!
//! A pure room never asks what time it is: it is told, as [`Now`]. A [`Moment`] counts milliseconds
//! of a clock that never goes back, so a jump of the wall clock neither expires a message nor keeps
//! one alive. The wall clock is carried beside it for what people read and what is written to disk.
//!
//! *Architecture invariant:* nothing here reads a clock. `core::run` makes a [`Now`] once per turn.

// Input decides nothing here by a panic or a lost bit.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

/// A point on the process's monotonic clock, in milliseconds since an arbitrary start. Never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment `ms` milliseconds after the clock's start.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's start.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// This moment plus `ms` milliseconds; stays at the end of time instead of wrapping.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This moment plus `s` seconds; stays at the end of time instead of wrapping.
    pub const fn plus_s(self, s: u64) -> Self {
        self.plus_ms(s.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to this moment; 0 if `earlier` is later.
    pub const fn ms_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What time it is, as told to a pure room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The monotonic clock: deadlines are compared with this one.
    pub moment: Moment,
    /// The wall clock, milliseconds since 1970-01-01 UTC: for records and people.
    pub wall_ms: u64,
}

impl Now {
    /// `seconds` from now on the monotonic clock.
    pub const fn plus_s(self, seconds: u64) -> Moment {
        self.moment.plus_s(seconds)
    }
}
