//! How long a ticket is there already: from time to time it is written down how far tickets had got. A queue entry carries no
//! time of its own, so a bound on age costs no byte for a message.
//!
//! ```text
//!  key `ages` in `meta`:  (wall clock ms u64 · ticket u64) …, oldest first
//! ```

use std::collections::VecDeque;

use super::layout;
use crate::identity::Ticket;

/// The age at which messages go is kept to this part of it: one that is too old waits so much longer at most.
const STEPS: u64 = 64;
/// Marks kept, twice as many as there are steps. A mark stands for every ticket before it, so one that is left out makes messages younger, never older.
const MARKS: usize = 128;
const BYTES: usize = 16;

/// Up to this ticket everything was appended before this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    wall_ms: u64,
    last: Ticket,
}

/// What is known of the age of tickets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ages {
    marks: VecDeque<Mark>,
}

impl Ages {
    /// Reads what [`Ages::body`] wrote; `None` if it is not that.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mark = |bytes: &[u8]| {
            let (wall_ms, last) = bytes.split_first_chunk()?;
            Some(Mark { wall_ms: u64::from_be_bytes(*wall_ms), last: layout::ticket(last)? })
        };
        Some(Self { marks: body.chunks(BYTES).map(mark).collect::<Option<_>>()? })
    }

    pub(super) fn body(&self) -> Vec<u8> {
        self.marks.iter().flat_map(|mark| [mark.wall_ms.to_be_bytes(), mark.last.0.to_be_bytes()]).flatten().collect()
    }

    /// The highest ticket that is known to have been given out.
    pub(super) fn last(&self) -> Ticket {
        self.marks.back().map_or(Ticket::NONE, |mark| mark.last)
    }

    /// Puts down that tickets up to `last` are there at `wall_ms`, if it is time to; says whether it did.
    pub(super) fn note(&mut self, wall_ms: u64, last: Ticket, max_ms: u64) -> bool {
        let step = (max_ms / STEPS).max(1);
        let is_due = self.marks.back().is_none_or(|newest| {
            // A clock that was set back must not stop it.
            newest.last < last && wall_ms.checked_sub(newest.wall_ms).is_none_or(|passed| passed >= step)
        });
        if is_due {
            while self.marks.len() >= MARKS || self.marks.get(1).is_some_and(|next| next.is_over(wall_ms, max_ms)) {
                self.marks.pop_front();
            }
            self.marks.push_back(Mark { wall_ms, last });
        }
        is_due
    }

    /// Everything up to here is at least `max_ms` old.
    pub(super) fn over(&self, wall_ms: u64, max_ms: u64) -> Ticket {
        let over = self.marks.iter().filter(|mark| mark.is_over(wall_ms, max_ms));
        over.map(|mark| mark.last).max().unwrap_or(Ticket::NONE)
    }
}

impl Mark {
    fn is_over(&self, wall_ms: u64, max_ms: u64) -> bool {
        self.wall_ms.saturating_add(max_ms) <= wall_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 64_000;

    #[test]
    fn a_ticket_is_too_old_after_its_time_and_at_most_a_step_later() {
        let mut ages = Ages::default();
        for second in 0..1000 {
            let now = second * 1000;
            ages.note(now, Ticket(second + 1), MAX);
            let over = ages.over(now, MAX).0;
            // Ticket n + 1 was there at second n.
            assert!(over <= (second + 1).saturating_sub(64), "{over} at {second}");
            assert!(over >= (second + 1).saturating_sub(65), "{over} at {second}");
            assert!(ages.marks.len() <= 66);
        }
    }

    #[test]
    fn nothing_is_put_down_too_often_or_where_nothing_came() {
        let mut ages = Ages::default();
        assert!(ages.note(1000, Ticket(1), MAX));
        assert!(!ages.note(1999, Ticket(2), MAX), "before the step is over");
        assert!(!ages.note(9000, Ticket(1), MAX), "nothing came");
        assert!(ages.note(500, Ticket(2), MAX), "the clock was set back");
        assert_eq!(Ages::read(&ages.body()), Some(ages));
        assert_eq!(Ages::read(&[0; 17]), None);
    }

    #[test]
    fn with_a_clock_that_jumps_back_and_forth_messages_are_taken_for_younger_not_older() {
        let mut ages = Ages::default();
        for turn in 0..10_000 {
            ages.note(if turn % 2 == 0 { 1_000_000 } else { 0 }, Ticket(turn + 1), MAX);
        }
        assert!(ages.marks.len() <= MARKS);
        assert_eq!(ages.over(MAX - 1, MAX), Ticket::NONE);
    }
}
