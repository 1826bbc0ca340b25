//! Where each core puts a copy of its counters for others to read.

use std::sync::Mutex;

use super::Counters;

/// One slot per core.
#[derive(Debug)]
pub struct Board {
    /// Each lock guards one core's copy. It is taken by that core once a second and by a scrape, for the time of a
    /// memory copy of about a kilobyte; a core never waits for another core.
    slots: Box<[Mutex<Counters>]>,
}

impl Board {
    /// A board for this many cores, all zero.
    pub fn new(cores: usize) -> Self {
        Self { slots: (0..cores).map(|_| Mutex::new(Counters::new())).collect() }
    }

    /// Replaces what `core` showed before. A core that the board has no slot for is not shown.
    pub fn show(&self, core: usize, counters: &Counters) {
        if let Some(slot) = self.slots.get(core) {
            slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).copy_from(counters);
        }
    }

    /// The sum over all cores.
    pub fn sum(&self) -> Counters {
        let mut sum = Counters::new();
        for slot in &self.slots {
            sum.add_all(&slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metric, Qos};

    #[test]
    fn the_sum_is_over_what_each_core_showed_last() {
        let board = Board::new(2);
        let mut counters = Counters::new();
        counters.add(Metric::MessagesReceived(Qos::of(1)), 3);
        counters.add(Metric::Connections, 2);
        board.show(0, &counters);
        board.show(1, &counters);
        counters.subtract(Metric::Connections, 1);
        board.show(1, &counters);
        board.show(2, &counters);
        assert_eq!(board.sum().value(Metric::MessagesReceived(Qos::AtLeastOnce)), 6);
        assert_eq!(board.sum().value(Metric::Connections), 3);
        assert_eq!(board.sum().value(Metric::MessagesReceived(Qos::AtMostOnce)), 0);
    }
}
