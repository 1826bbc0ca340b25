//! What the writer holds in memory of what lies on disk: little for a session, nothing for a waiting message.
//!
//! Changes are made while a commit is put together and taken back if it fails: each is noted with what was there before.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::oldest::Oldest;
use crate::identity::{SessionId, Ticket};
use crate::mqtt::PacketId;
use crate::session::OutState;

/// A table gives memory back when less than an eighth of it is used, but not below this many places.
const SHRINK_ABOVE: usize = 4096;

type Map<K, V> = HashMap<K, V, RandomState>;

/// The waiting messages of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) messages: u32,
    /// An estimate: what leaves is taken to be of average size. Exact when nothing waits.
    pub(super) bytes: u64,
    /// No message waits before this place.
    pub(super) head: Ticket,
}

/// A session, with its tally: there may be millions, so it has no gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Known {
    head: Ticket,
    bytes: u64,
    messages: u32,
    /// Its client is there, or may be.
    here: bool,
    /// It may speak of messages that are not in its queue: they were delivered, and the store refused them, or dropped them when
    /// the queue was full.
    unsure: bool,
}

impl Known {
    fn tally(self) -> Tally {
        Tally { messages: self.messages, bytes: self.bytes, head: self.head }
    }

    fn with(self, Tally { messages, bytes, head }: Tally) -> Self {
        Self { messages, bytes, head, ..self }
    }
}

/// An outgoing exchange whose identifier is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) packet_id: PacketId,
    pub(super) state: OutState,
}

impl Open {
    /// Whether its message still lies in the queue.
    pub(super) fn has_message(self) -> bool {
        self.state == OutState::Published
    }
}

/// A change, as it has to be taken back.
#[derive(Debug)]
enum Undo {
    Session(SessionId, Option<Known>),
    Exchange((SessionId, Ticket), Option<Open>),
    Body(Ticket, Option<u32>),
}

/// Everything the writer knows without asking the disk.
#[derive(Debug, Default)]
pub(super) struct Ram {
    sessions: Map<SessionId, Known>,
    exchanges: Map<(SessionId, Ticket), Open>,
    /// Messages stored once for many queues, and how many queues still refer to each.
    bodies: Map<Ticket, u32>,
    /// The order in which exchanges are sent again.
    pub(super) order: u64,
    /// What full queues lose next.
    pub(super) oldest: Oldest,
    journal: Vec<Undo>,
}

impl Ram {
    pub(super) fn knows(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(super) fn tally(&self, session: SessionId) -> Tally {
        self.sessions.get(&session).map(|known| known.tally()).unwrap_or_default()
    }

    pub(super) fn exchange(&self, session: SessionId, ticket: Ticket) -> Option<Open> {
        self.exchanges.get(&(session, ticket)).copied()
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A session is read, and its client is away.
    pub(super) fn found_session(&mut self, session: SessionId) {
        self.sessions.entry(session).or_default();
    }

    /// A session begins, or its client is back.
    pub(super) fn begin(&mut self, session: SessionId) {
        let was = self.sessions.get(&session).copied();
        self.put_session(session, Some(Known { here: true, unsure: false, ..was.unwrap_or_default() }));
    }

    /// Its client is gone.
    pub(super) fn leave(&mut self, session: SessionId) {
        if let Some(was) = self.sessions.get(&session).copied().filter(|was| was.here) {
            self.put_session(session, Some(Known { here: false, unsure: false, ..was }));
        }
    }

    /// A message for this session is refused or dropped, and may have been delivered already.
    pub(super) fn refuse(&mut self, session: SessionId) {
        if let Some(was) = self.sessions.get(&session).copied().filter(|was| was.here && !was.unsure) {
            self.put_session(session, Some(Known { unsure: true, ..was }));
        }
    }

    /// Whether the session may speak of messages that never were in its queue.
    pub(super) fn is_unsure(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|known| known.unsure)
    }

    /// It is over, with everything that waits for it.
    pub(super) fn end(&mut self, session: SessionId) {
        self.oldest.forget(session);
        self.put_session(session, None);
    }

    /// Whether the session is there and its client is not.
    pub(super) fn is_away(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|known| !known.here)
    }

    fn put_session(&mut self, session: SessionId, known: Option<Known>) {
        let was = match known {
            Some(known) => self.sessions.insert(session, known),
            None => self.sessions.remove(&session),
        };
        self.journal.push(Undo::Session(session, was));
    }

    fn put_tally(&mut self, session: SessionId, tally: Tally) {
        if let Some(known) = self.sessions.get_mut(&session) {
            self.journal.push(Undo::Session(session, Some(*known)));
            *known = known.with(tally);
        }
    }

    pub(super) fn put_exchange(&mut self, session: SessionId, ticket: Ticket, open: Option<Open>) {
        let key = (session, ticket);
        let was = match open {
            Some(open) => self.exchanges.insert(key, open),
            None => self.exchanges.remove(&key),
        };
        self.journal.push(Undo::Exchange(key, was));
    }

    /// A message of this size begins to wait.
    pub(super) fn add(&mut self, session: SessionId, ticket: Ticket, bytes: usize) {
        let mut tally = self.tally(session);
        if tally.messages == 0 {
            tally.head = ticket;
        }
        tally.messages = tally.messages.saturating_add(1);
        tally.bytes = tally.bytes.saturating_add(bytes as u64);
        self.put_tally(session, tally);
    }

    /// A message has left the queue of a session.
    pub(super) fn subtract(&mut self, session: SessionId) {
        let tally = self.tally(session);
        let left = match (tally.messages.saturating_sub(1), tally.bytes.checked_div(u64::from(tally.messages))) {
            (0, _) | (_, None) => Tally::default(),
            (messages, Some(each)) => Tally { messages, bytes: tally.bytes.saturating_sub(each), ..tally },
        };
        self.put_tally(session, left);
    }

    /// The oldest message was dropped for want of room. A client that is there may have it, or be sent it, all the same.
    pub(super) fn drop_oldest(&mut self, session: SessionId) {
        self.subtract(session);
        self.refuse(session);
    }

    /// Nothing waits before this place: found by reading. No part of a commit.
    pub(super) fn found_head(&mut self, session: SessionId, head: Ticket) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.head = known.head.max(head);
        }
    }

    /// The store was opened again and read, and the sessions went on: what is known of them and lies on no disk stays.
    pub(super) fn inherit(&mut self, before: Ram) {
        for session in before.sessions.iter().filter(|(_, known)| known.here).map(|(session, _)| session) {
            if let Some(known) = self.sessions.get_mut(session) {
                // What could not be written had been delivered.
                (known.here, known.unsure) = (true, true);
            }
        }
    }

    pub(super) fn add_body(&mut self, ticket: Ticket, refers: u32) {
        let was = self.bodies.insert(ticket, refers);
        self.journal.push(Undo::Body(ticket, was));
    }

    /// A queue no longer refers to a body: `Some(true)` if it was the last one, `None` if there is no such body.
    pub(super) fn release_body(&mut self, ticket: Ticket) -> Option<bool> {
        let was = *self.bodies.get(&ticket)?;
        match was.saturating_sub(1) {
            0 => self.bodies.remove(&ticket),
            left => self.bodies.insert(ticket, left),
        };
        self.journal.push(Undo::Body(ticket, Some(was)));
        Some(was <= 1)
    }

    #[cfg(test)]
    pub(super) fn refers_to(&self, ticket: Ticket) -> bool {
        self.bodies.contains_key(&ticket)
    }

    /// The commit succeeded.
    pub(super) fn keep(&mut self) {
        self.journal.clear();
        self.journal.shrink_to(SHRINK_ABOVE);
        shrink(&mut self.sessions);
        shrink(&mut self.exchanges);
        shrink(&mut self.bodies);
    }

    /// The commit failed: everything is as it was before it.
    pub(super) fn take_back(&mut self) {
        self.oldest.clear();
        while let Some(undo) = self.journal.pop() {
            match undo {
                Undo::Session(session, was) => restore(&mut self.sessions, session, was),
                Undo::Exchange(key, was) => restore(&mut self.exchanges, key, was),
                Undo::Body(ticket, was) => restore(&mut self.bodies, ticket, was),
            }
        }
    }
}

/// Gives back what a peak has left.
fn shrink<K: std::hash::Hash + Eq, V>(map: &mut Map<K, V>) {
    if map.capacity() > SHRINK_ABOVE && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len().saturating_mul(2));
    }
}

fn restore<K: std::hash::Hash + Eq, V>(map: &mut Map<K, V>, key: K, was: Option<V>) {
    match was {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId(1);

    #[test]
    fn a_failed_commit_leaves_no_trace() {
        let mut ram = Ram::default();
        ram.begin(ONE);
        ram.add(ONE, Ticket(1), 10);
        ram.add_body(Ticket(1), 2);
        ram.keep();
        let before = (ram.tally(ONE), ram.exchange(ONE, Ticket(1)), ram.refers_to(Ticket(1)));
        ram.add(ONE, Ticket(2), 30);
        ram.put_exchange(
            ONE,
            Ticket(1),
            PacketId::new(4).map(|packet_id| Open { packet_id, state: OutState::Published }),
        );
        ram.release_body(Ticket(1));
        ram.release_body(Ticket(1));
        ram.drop_oldest(ONE);
        ram.leave(ONE);
        ram.end(ONE);
        ram.take_back();
        assert_eq!((ram.tally(ONE), ram.exchange(ONE, Ticket(1)), ram.refers_to(Ticket(1))), before);
        assert!(ram.knows(ONE) && !ram.is_away(ONE) && !ram.is_unsure(ONE));
    }

    #[test]
    fn a_session_takes_little_however_much_waits_for_it() {
        assert!(size_of::<(SessionId, Known)>() <= 32, "{} bytes for each session", size_of::<(SessionId, Known)>());
    }

    #[test]
    fn only_who_is_there_speaks_of_what_was_lost() {
        let mut ram = Ram::default();
        ram.begin(ONE);
        ram.add(ONE, Ticket(1), 10);
        ram.drop_oldest(ONE);
        assert!(ram.is_unsure(ONE));
        ram.leave(ONE);
        ram.add(ONE, Ticket(2), 10);
        ram.drop_oldest(ONE);
        assert!(!ram.is_unsure(ONE));
        ram.begin(ONE);
        assert!(!ram.is_unsure(ONE), "it reads what is there now");
    }
}
