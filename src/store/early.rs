//! Messages that everybody has acknowledged before they were written: nothing is owed to anybody any more, so their publisher need not
//! wait for a disk, and no disk has to see them.

use crate::identity::{SessionId, Ticket};
use crate::mqtt::QoS;
use crate::session::Change;
use crate::store::{Publisher, Recipient, Record};
use crate::sync::{AtomicU64, Ordering};

/// Tickets that are remembered. Who has not looked before so many others were settled waits for the marks.
const PLACES: usize = 4096;
/// A message for more sessions than this is left to the commit: each acknowledgement would have to be looked for among them.
pub const FEW: usize = 16;

/// Which appends were settled ahead of the marks.
#[derive(Debug)]
pub struct Early {
    count: AtomicU64,
    /// How many of them cores were told of.
    told: AtomicU64,
    /// Each ticket at its number modulo [`PLACES`]. A whole ticket and not a bit, so that the place need not be cleared for the next.
    places: Box<[AtomicU64]>,
}

impl Default for Early {
    fn default() -> Self {
        let places = std::iter::repeat_with(|| AtomicU64::new(0)).take(PLACES).collect();
        Self { count: AtomicU64::new(0), told: AtomicU64::new(0), places }
    }
}

impl Early {
    fn place(&self, ticket: Ticket) -> Option<&AtomicU64> {
        self.places.get(ticket.0 as usize % PLACES)
    }

    /// The append with this ticket is settled.
    pub fn settle(&self, ticket: Ticket) {
        if let Some(place) = self.place(ticket) {
            place.store(ticket.0, Ordering::Release);
        }
        // Who sees the new number finds the ticket.
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the append with this ticket is one of the latest.
    pub fn has(&self, ticket: Ticket) -> bool {
        self.place(ticket).is_some_and(|place| place.load(Ordering::Acquire) == ticket.0)
    }

    /// Whether there was another one since this was asked last.
    pub fn is_news(&self) -> bool {
        let count = self.count();
        self.told.load(Ordering::Acquire) != count && self.told.swap(count, Ordering::AcqRel) != count
    }
}

/// The message that these records say a session is done with, if they say nothing else.
pub fn done(records: &[Record]) -> Option<(SessionId, Ticket)> {
    match records {
        [Record::Edit(session, Change::Done { ticket })] => Some((*session, *ticket)),
        _ => None,
    }
}

/// What became of an append of which a session is done with the message.
#[derive(Debug, PartialEq)]
pub enum Struck {
    /// Nothing: more is to be kept than a message for a few sessions, or this session gets it at QoS 2, or not at all.
    Not,
    /// It waits for others.
    OthersWait,
    /// It waits for nobody. With its records, which it has no more: a message may be large, and is let go of without a lock.
    NobodyWaits(Vec<Record>),
}

/// Takes a session out of those for whom a message waits that is not written yet.
pub fn strike(records: &mut Vec<Record>, session: SessionId) -> Struck {
    let [Record::Enqueue { recipients, publisher, .. }] = &mut records[..] else { return Struck::Not };
    if recipients.len() > FEW {
        return Struck::Not;
    }
    // At QoS 2 more than the message is kept of an exchange.
    let is_it = |to: &Recipient| to.session == session && to.qos == QoS::AtLeastOnce;
    let Some(at) = recipients.iter().position(is_it) else { return Struck::Not };
    recipients.swap_remove(at);
    if recipients.is_empty() {
        return Struck::NobodyWaits(std::mem::take(records));
    }
    // A full queue does not refuse any more what somebody has. What is sent again behind a failure comes in its order then, so that
    // goes on to fail.
    if *publisher == Publisher::CanBeTold {
        *publisher = Publisher::CannotBeTold;
    }
    Struck::OthersWait
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Now;
    use crate::identity::Origin;
    use crate::message::{Message, Parts};

    #[test]
    fn mqtt3_4_6_0_6_what_some_have_still_fails_behind_a_failure_and_is_not_refused_by_a_full_queue() {
        let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
        let parts = Parts { topic: "t", properties: &[], payload: b"x", qos, retain: false, expiry_s: None, origin };
        let message = Arc::new(Message::new(parts, Now::default()));
        let sends_again = Publisher::SendsAgain { heard: 3 };
        for (before, after) in [(sends_again, sends_again), (Publisher::CanBeTold, Publisher::CannotBeTold)] {
            let to = |session| Recipient { session, qos, retain: false, subscription_ids: Vec::new() };
            let recipients = [1, 2].map(|session| to(SessionId(session))).to_vec();
            let message = Arc::clone(&message);
            let mut records = vec![Record::Enqueue { message, recipients, publisher: before }];
            assert_eq!(strike(&mut records, SessionId(1)), Struck::OthersWait);
            let [Record::Enqueue { recipients, publisher, .. }] = &records[..] else { panic!("a message") };
            assert_eq!((recipients.len(), *publisher), (1, after));
        }
    }

    #[test]
    fn a_ticket_is_found_until_another_takes_its_place_and_is_told_of_once() {
        let early = Early::default();
        assert!(!early.is_news() && !early.has(Ticket(5)));
        early.settle(Ticket(5));
        assert!(early.has(Ticket(5)) && !early.has(Ticket(5 + PLACES as u64)));
        assert!(early.is_news() && !early.is_news());
        early.settle(Ticket(5 + PLACES as u64));
        assert!(!early.has(Ticket(5)), "who did not look in time waits for the marks");
        assert!(early.is_news() && early.count() == 2);
    }
}
