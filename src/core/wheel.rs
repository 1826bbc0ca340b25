//! Timers of one core: lazy, and exact to the millisecond.
//!
//! A timer is a promise to look at a slot no later than at its deadline. Whoever is looked at may turn out to have
//! moved its deadline (keep alive moves with each packet): it is then put in again, so moving a deadline costs
//! nothing. Far deadlines lie unsorted in buckets of about a second; when a bucket's time comes near, its entries move into
//! a small heap that gives the exact order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::broker::seat::Address;
use crate::clock::Moment;

/// Width of a bucket in milliseconds.
const BUCKET_MS: u64 = 1024;
/// Buckets in the ring: deadlines further away wait in the last one and are put in again.
const BUCKETS: u64 = 128;

/// One timer: whom to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at_ms: u64,
    slot: u32,
    generation: u32,
}

impl Timer {
    fn whom(self, core: u8) -> Address {
        Address { core, slot: self.slot, generation: self.generation }
    }
}

/// The timers of one core.
#[derive(Debug)]
pub(super) struct Wheel {
    core: u8,
    near: BinaryHeap<Reverse<Timer>>,
    ring: Vec<Vec<Timer>>,
    /// First bucket (counted from the clock's start) that still lies in the ring.
    next_bucket: u64,
    in_ring: usize,
}

impl Wheel {
    /// An empty wheel that starts at `now`.
    pub(super) fn new(core: u8, now: Moment) -> Self {
        Self {
            core,
            near: BinaryHeap::new(),
            ring: vec![Vec::new(); BUCKETS as usize],
            next_bucket: now.as_ms() / BUCKET_MS + 1,
            in_ring: 0,
        }
    }

    /// Promises to look at `whom` at `deadline`.
    pub(super) fn add(&mut self, deadline: Moment, whom: Address) {
        self.place(Timer { at_ms: deadline.as_ms(), slot: whom.slot, generation: whom.generation });
    }

    fn place(&mut self, timer: Timer) {
        let bucket = timer.at_ms / BUCKET_MS;
        if bucket < self.next_bucket {
            self.near.push(Reverse(timer));
            return;
        }
        let bucket = bucket.min(self.next_bucket + BUCKETS - 1);
        if let Some(ring) = self.ring.get_mut((bucket % BUCKETS) as usize) {
            ring.push(timer);
            self.in_ring += 1;
        }
    }

    /// When to call [`Wheel::due`] next; `None` if there is no timer.
    pub(super) fn next(&self) -> Option<Moment> {
        if let Some(Reverse(first)) = self.near.peek() {
            return Some(Moment::from_ms(first.at_ms));
        }
        if self.in_ring == 0 {
            return None;
        }
        let filled = |n: &u64| self.ring.get((n % BUCKETS) as usize).is_some_and(|b| !b.is_empty());
        (self.next_bucket..self.next_bucket + BUCKETS).find(filled).map(|n| Moment::from_ms(n * BUCKET_MS))
    }

    /// Everybody whose moment has come, with the deadline that was promised. Who is not `there` any more may be left out:
    /// the far deadlines of those that have gone are forgotten when the ring comes by them.
    pub(super) fn due(&mut self, now: Moment, there: impl Fn(Address) -> bool, found: &mut Vec<(Moment, Address)>) {
        let current = now.as_ms() / BUCKET_MS;
        let core = self.core;
        while self.next_bucket <= current {
            self.open_bucket(current, |timer| there(timer.whom(core)));
        }
        while let Some(Reverse(timer)) = self.near.peek().copied() {
            if timer.at_ms > now.as_ms() {
                break;
            }
            self.near.pop();
            found.push((Moment::from_ms(timer.at_ms), timer.whom(core)));
        }
    }

    /// Moves the next bucket's timers into the heap, or back into the ring if they were only parked there.
    fn open_bucket(&mut self, current: u64, there: impl Fn(&Timer) -> bool) {
        let index = (self.next_bucket % BUCKETS) as usize;
        let timers = self.ring.get_mut(index).map(std::mem::take).unwrap_or_default();
        self.in_ring -= timers.len();
        // After a long sleep with nothing in the ring there is no need to walk bucket by bucket.
        self.next_bucket = if self.in_ring == 0 { current + 1 } else { self.next_bucket + 1 };
        for timer in timers.into_iter().filter(there) {
            self.place(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(slot: u32) -> Address {
        Address { core: 0, slot, generation: 1 }
    }

    #[test]
    fn each_timer_comes_at_its_millisecond_in_order() {
        let deadlines = [0, 1, 5, 1023, 1024, 1025, 45_000, 45_001, 131_071, 131_072, 500_000, 3_600_000, 98_302_500];
        let mut wheel = Wheel::new(0, Moment::from_ms(0));
        for (slot, at) in deadlines.iter().enumerate().rev() {
            wheel.add(Moment::from_ms(*at), whom(slot as u32));
        }
        let mut seen = Vec::new();
        let mut rounds = 0;
        while let Some(next) = wheel.next() {
            let mut found = Vec::new();
            wheel.due(next, |_| true, &mut found);
            for (promised, address) in found {
                assert_eq!(promised, next, "neither early nor late");
                assert_eq!(promised.as_ms(), deadlines[address.slot as usize]);
                seen.push(promised.as_ms());
            }
            rounds += 1;
            assert!(rounds < 5_000, "an idle wheel hardly turns");
        }
        assert_eq!(seen, deadlines);
    }

    #[test]
    fn a_late_look_finds_everything_that_was_due() {
        let mut wheel = Wheel::new(0, Moment::from_ms(10_000));
        for slot in 0..1000 {
            wheel.add(Moment::from_ms(10_000 + u64::from(slot) * 400), whom(slot));
        }
        let mut found = Vec::new();
        wheel.due(Moment::from_ms(10_000 + 200_000), |_| true, &mut found);
        assert_eq!(found.len(), 501);
        wheel.due(Moment::from_ms(10_000 + 400_000), |_| true, &mut found);
        assert_eq!(found.len(), 1000);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn the_far_deadlines_of_those_that_have_gone_do_not_pile_up() {
        let mut wheel = Wheel::new(0, Moment::from_ms(0));
        for slot in 0..1000 {
            wheel.add(Moment::from_ms(98_000_000), whom(slot));
        }
        let mut found = Vec::new();
        wheel.due(Moment::from_ms(BUCKETS * BUCKET_MS), |address| address.slot == 7, &mut found);
        assert_eq!((wheel.in_ring, found.len()), (1, 0));
        wheel.due(Moment::from_ms(98_000_000), |_| true, &mut found);
        assert_eq!(found, [(Moment::from_ms(98_000_000), whom(7))]);
    }
}
