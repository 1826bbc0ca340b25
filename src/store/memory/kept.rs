//! One session as it is kept: what each record does to it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::identity::Ticket;
use crate::message::Message;
use crate::mqtt::{PacketId, QoS};
use crate::session::{Change, OutState, Page, Queued, Saved, SavedOut, SavedSubscription};
use crate::store::record::LaterWill;
use crate::store::{Bounds, Recipient, SessionRecord};

/// An empty queue gives its memory back above this many places.
const SPARE_PLACES: usize = 16;

/// A session: small when nothing waits.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    record: SessionRecord,
    /// Wall clock, ms; `None` while its client is there, or if it never ends.
    ends_wall_ms: Option<u64>,
    /// Its will, if that is to be published later.
    pub(super) will: Option<Box<LaterWill>>,
    subscriptions: Vec<SavedSubscription>,
    received: Vec<PacketId>,
    /// Has a Packet Identifier, in the order in which it is sent again.
    outgoing: Vec<SavedOut>,
    /// Has none, in the order of tickets.
    queue: VecDeque<Waiting>,
    queue_bytes: usize,
}

/// A message in the queue, and how this session gets it.
#[derive(Debug, Clone)]
struct Waiting {
    ticket: Ticket,
    message: Arc<Message>,
    subscription_ids: Box<[u32]>,
    qos: QoS,
    retain: bool,
}

impl Kept {
    pub(super) fn new(record: SessionRecord) -> Self {
        Self {
            record,
            ends_wall_ms: None,
            will: None,
            subscriptions: Vec::new(),
            received: Vec::new(),
            outgoing: Vec::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
        }
    }

    /// Its client is back: its end is called off.
    pub(super) fn reopen(&mut self, record: SessionRecord) {
        self.record = record;
        self.ends_wall_ms = None;
        self.will = None;
    }

    pub(super) fn leave(&mut self, ends_wall_ms: Option<u64>) {
        self.ends_wall_ms = ends_wall_ms;
    }

    /// Whether there is no room for another message of `bytes`.
    pub(super) fn is_full(&self, bytes: usize, bounds: Bounds) -> bool {
        bounds.is_full(self.queue.len() as u64, self.queue_bytes as u64, bytes)
    }

    /// Puts a message behind all others; returns how many fell out at the front for want of room.
    pub(super) fn enqueue(&mut self, ticket: Ticket, message: &Arc<Message>, to: Recipient, bounds: Bounds) -> u64 {
        self.queue_bytes += message.bytes();
        self.queue.push_back(Waiting {
            ticket,
            message: Arc::clone(message),
            subscription_ids: to.subscription_ids.into_boxed_slice(),
            qos: to.qos,
            retain: to.retain,
        });
        let mut dropped = 0;
        while self.queue.len() > 1 && (self.queue.len() > bounds.messages_max || self.queue_bytes > bounds.bytes_max) {
            self.take(0);
            dropped += 1;
        }
        dropped
    }

    fn take(&mut self, at: usize) -> Option<Waiting> {
        let waiting = self.queue.remove(at)?;
        self.queue_bytes -= waiting.message.bytes();
        if self.queue.is_empty() && self.queue.capacity() > SPARE_PLACES {
            self.queue = VecDeque::new();
        }
        Some(waiting)
    }

    /// Takes the message with this ticket out of the queue. One append may have put several there: one per share of which
    /// the session is a member.
    fn take_out(&mut self, ticket: Ticket) -> Option<Waiting> {
        let at = self.queue.partition_point(|waiting| waiting.ticket < ticket);
        self.queue.get(at).filter(|waiting| waiting.ticket == ticket)?;
        self.take(at)
    }

    pub(super) fn receive(&mut self, packet_id: PacketId) {
        if !self.received.contains(&packet_id) {
            self.received.push(packet_id);
        }
    }

    pub(super) fn subscribe(&mut self, new: SavedSubscription) {
        match self.subscriptions.iter_mut().find(|there| there.filter == new.filter) {
            Some(there) => *there = new,
            None => self.subscriptions.push(new),
        }
    }

    pub(super) fn unsubscribe(&mut self, filter: &str) {
        self.subscriptions.retain(|there| &*there.filter != filter);
    }

    /// Makes an edit. What it speaks of may be gone: a queue that was full dropped it.
    pub(super) fn edit(&mut self, change: Change) {
        match change {
            Change::Released(packet_id) => self.received.retain(|there| *there != packet_id),
            Change::Sent { ticket, packet_id, qos } => self.send(ticket, packet_id, qos),
            Change::SetAside { ticket } => self.leave_behind(ticket, OutState::SetAside),
            Change::Received { ticket } => self.leave_behind(ticket, OutState::Released),
            Change::Done { ticket } => self.finish(ticket),
            Change::Expiry { expiry_s } => self.record.expiry_s = expiry_s,
        }
    }

    fn send(&mut self, ticket: Ticket, packet_id: PacketId, qos: QoS) {
        // Said again at the end of a connection: the order in which it is said is the order in which it is sent again.
        if let Some(at) = self.outgoing.iter().position(|out| out.ticket == ticket) {
            let out = self.outgoing.remove(at);
            return self.outgoing.push(out);
        }
        let gone = SavedOut {
            packet_id,
            state: OutState::SetAside,
            ticket,
            message: None,
            qos,
            retain: false,
            subscription_ids: Vec::new(),
        };
        match self.take_out(ticket) {
            Some(waiting) => self.outgoing.push(SavedOut {
                state: OutState::Published,
                message: Some(waiting.message),
                qos: waiting.qos,
                retain: waiting.retain,
                subscription_ids: waiting.subscription_ids.into_vec(),
                ..gone
            }),
            None if qos == QoS::ExactlyOnce => self.outgoing.push(gone),
            None => {}
        }
    }

    /// The message is not needed any more, its identifier is. Behind all others, so that PUBRELs are repeated in the order of the
    /// PUBRECs.
    fn leave_behind(&mut self, ticket: Ticket, state: OutState) {
        if let Some(at) = self.outgoing.iter().position(|out| out.ticket == ticket) {
            let out = self.outgoing.remove(at);
            self.outgoing.push(SavedOut { state, message: None, ..out });
        }
    }

    fn finish(&mut self, ticket: Ticket) {
        match self.outgoing.iter().position(|out| out.ticket == ticket) {
            Some(at) => {
                self.outgoing.remove(at);
            }
            None => {
                self.take_out(ticket);
            }
        }
    }

    pub(super) fn saved(&self) -> Saved {
        Saved {
            subscriptions: self.subscriptions.clone(),
            outgoing: self.outgoing.clone(),
            received: self.received.clone(),
        }
    }

    /// The queue behind `after`; `last` is the last ticket given out.
    pub(super) fn page(&self, after: Ticket, max: usize, last: Ticket) -> Page {
        let from = self.queue.partition_point(|waiting| waiting.ticket <= after);
        let messages: Vec<Queued> = self.queue.range(from..).take(max).map(Waiting::queued).collect();
        let complete = from + messages.len() == self.queue.len();
        Page { messages, complete_up_to: complete.then_some(last) }
    }

    pub(super) fn recovered(&self) -> (SessionRecord, Vec<SavedSubscription>, Option<u64>) {
        (self.record.clone(), self.subscriptions.clone(), self.ends_wall_ms)
    }

    /// Messages its client is not done with and that still have something to deliver.
    pub(super) fn undelivered(&self) -> u64 {
        let published = self.outgoing.iter().filter(|out| out.state == OutState::Published).count();
        (self.queue.len() + published) as u64
    }
}

impl Waiting {
    fn queued(&self) -> Queued {
        Queued {
            ticket: self.ticket,
            message: Arc::clone(&self.message),
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.subscription_ids.to_vec(),
        }
    }
}
