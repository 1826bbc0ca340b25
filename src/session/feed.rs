//! What waits to be sent, and where more of it comes from.
//!
//! A session without a disk has all its waiting messages here, bounded. A durable one has them in its queue in the store, and
//! what lies here is a window on it: *live*, the window's end is the queue's end and mail is put behind it; *behind*, there is more in
//! the store than here, mail is only a hint, and the queue is read on once the window is empty.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::Ticket;
use crate::message::Message;
use crate::mqtt::QoS;

use super::saved::{Page, Queued};

/// Messages of the store's queue kept here at most.
const AHEAD: usize = 256;
/// Bytes of those; one message more than this is kept all the same.
const AHEAD_BYTES: usize = 512 * 1024;
/// A list emptied keeps no more room than this many messages.
const KEPT: usize = 8;

/// A message that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Arc<Message>,
    pub(super) ticket: Ticket,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_ids: SmallVec<[u32; 2]>,
}

impl From<Queued> for Waiting {
    fn from(queued: Queued) -> Self {
        Self {
            message: queued.message,
            ticket: queued.ticket,
            qos: queued.qos,
            retain: queued.retain,
            subscription_ids: queued.subscription_ids.into(),
        }
    }
}

/// Where the rest of the messages is.
#[derive(Debug)]
enum Source {
    /// Nowhere: what is not here does not exist.
    Memory,
    /// Everything up to `floor` was seen; everything above comes by mail.
    Live { floor: Ticket },
    /// There is more in the store behind `after`.
    Behind { after: Ticket },
    /// That is being read.
    Reading(Box<Reading>),
}

/// What happens while the queue is read.
#[derive(Debug, Default)]
struct Reading {
    /// What comes by mail is kept, unless it becomes too much.
    late: Vec<Waiting>,
    overflow: bool,
    /// What the client is done with may still be in the page: at most a window's worth, as nothing new is begun.
    finished: Vec<Ticket>,
}

/// Bounds of a queue in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// What became of a message that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It waits here.
    Kept,
    /// It waits in the store, or was seen before.
    InStore,
    /// There is no room for it.
    Full,
}

/// The waiting messages of one session.
#[derive(Debug)]
pub(super) struct Feed {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    source: Source,
}

impl Feed {
    /// Of a session that ends with its connection.
    pub(super) fn in_memory() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, source: Source::Memory }
    }

    /// Of a durable session that begins: its queue is empty.
    pub(super) fn live() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, source: Source::Live { floor: Ticket::NONE } }
    }

    /// Of a durable session that is resumed: its queue has to be read.
    pub(super) fn behind() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, source: Source::Behind { after: Ticket::NONE } }
    }

    /// Messages that wait here and nowhere else.
    pub(super) fn only_here(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.ticket == Ticket::NONE).count()
    }

    /// Messages that wait here.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a message in this place of the store's queue may be sent at once: it is new, and everything before it is here.
    pub(super) fn is_next(&self, ticket: Ticket) -> bool {
        self.waiting.is_empty()
            && match self.source {
                Source::Memory => true,
                Source::Live { floor } => ticket == Ticket::NONE || ticket > floor,
                Source::Behind { .. } | Source::Reading(_) => ticket == Ticket::NONE,
            }
    }

    /// Whether a message in this place of the store's queue is not here, was not here before, and will not come by a page.
    pub(super) fn is_unseen(&self, ticket: Ticket) -> bool {
        matches!(self.source, Source::Live { floor } if ticket > floor)
    }

    /// A message came by mail and cannot be sent at once.
    pub(super) fn offer(&mut self, waiting: Waiting, bounds: Bounds) -> Offered {
        let size = waiting.message.bytes();
        if waiting.ticket == Ticket::NONE {
            if self.waiting.len() >= bounds.messages || self.bytes.saturating_add(size) > bounds.bytes {
                return Offered::Full;
            }
            self.push(waiting);
            return Offered::Kept;
        }
        match &mut self.source {
            Source::Live { floor } if waiting.ticket <= *floor => Offered::InStore,
            Source::Live { floor } => {
                if self.waiting.len() < AHEAD && self.bytes < AHEAD_BYTES {
                    self.push(waiting);
                    return Offered::Kept;
                }
                self.source = Source::Behind { after: *floor };
                Offered::InStore
            }
            Source::Reading(reading) => {
                if reading.overflow || reading.late.len() >= AHEAD {
                    reading.overflow = true;
                    reading.late = Vec::new();
                } else {
                    reading.late.push(waiting);
                }
                Offered::InStore
            }
            Source::Behind { .. } | Source::Memory => Offered::InStore,
        }
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.message.bytes());
        self.waiting.push_back(waiting);
    }

    /// The message whose turn is next.
    pub(super) fn front(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        debug_assert!(self.bytes >= waiting.message.bytes(), "what waits was counted");
        self.bytes = self.bytes.saturating_sub(waiting.message.bytes());
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
        Some(waiting)
    }

    /// The read of the store's queue that is due, if one is: behind which ticket, and how many messages.
    pub(super) fn begin_reading(&mut self) -> Option<(Ticket, usize)> {
        let Source::Behind { after } = self.source else { return None };
        if !self.waiting.is_empty() {
            return None;
        }
        self.source = Source::Reading(Box::default());
        Some((after, AHEAD))
    }

    /// The client is done with the message in this place of the queue.
    pub(super) fn finished(&mut self, ticket: Ticket) {
        if let Source::Reading(reading) = &mut self.source {
            reading.finished.push(ticket);
        }
    }

    /// The part of the queue that was asked for. Messages for which `under_way` is true are being sent already.
    pub(super) fn take_page(&mut self, page: Page, under_way: impl Fn(Ticket) -> bool) {
        let Source::Reading(reading) = &mut self.source else { return };
        let Reading { late, overflow, finished } = std::mem::take(&mut **reading);
        let last = page.messages.last().map_or(Ticket::NONE, |queued| queued.ticket);
        for queued in page.messages {
            if !under_way(queued.ticket) && !finished.contains(&queued.ticket) {
                self.push(queued.into());
            }
        }
        self.source = match page.complete_up_to {
            Some(floor) if !overflow => {
                for waiting in late.into_iter().filter(|waiting| waiting.ticket > floor) {
                    self.push(waiting);
                }
                Source::Live { floor }
            }
            Some(after) => Source::Behind { after },
            None => Source::Behind { after: last },
        };
    }
}
