//! Answers questions about sessions, beside the writer: a session that streams a million messages delays nobody's commit.
//!
//! While the store is opened again there is nothing to read: questions wait until there is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use super::batch::Families;
use super::intact;
use super::layout::{self, Row};
use super::shared::{Read, Shared, What};
use super::writer::Due;
use crate::identity::{SessionId, Ticket};
use crate::message::Message;
use crate::mqtt::QoS;
use crate::session::{OutState, Page, Queued, Saved, SavedOut, SavedSubscription};
use crate::store::record::{self, Unreadable};

/// Bytes of messages in one page; one message more than this is in it all the same.
const PAGE_BYTES: usize = 512 * 1024;

/// Questions about saved sessions that wait while the store is opened again. Clients that come back ask one with each attempt, give
/// up after a while and come again: what was asked before so many others is of somebody who has gone.
const WAITING_MAX: usize = 65_536;

pub(super) struct Reader {
    shared: Arc<Shared>,
    /// Asked by sessions that are open: one of each at most.
    pages: VecDeque<(Read, Ticket)>,
    saved: VecDeque<(Read, Ticket)>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, pages: VecDeque::new(), saved: VecDeque::new() }
    }

    /// Answers until the writer is gone.
    pub(super) fn run(mut self, due: &Receiver<Due>) {
        while let Ok(due) = due.recv() {
            self.handle(due);
        }
    }

    /// Answers everything that was asked, if there is a database to read.
    pub(super) fn handle(&mut self, due: Due) {
        match due {
            Due::Read(read, mark) if matches!(read.what, What::Page { .. }) => self.pages.push_back((read, mark)),
            Due::Read(read, mark) => self.saved.push_back((read, mark)),
            Due::Opened => {}
        }
        while let Some(db) = self.shared.db() {
            let Some((read, mark)) = self.saved.pop_front().or_else(|| self.pages.pop_front()) else { return };
            let view = View { shared: &self.shared, families: Families::of(&db), db: &db };
            match read.what {
                What::Saved(answer) => answer(view.saved(read.session)),
                What::Page { after, max, answer } => answer(view.page(read.session, after, max, mark)),
            }
        }
        if self.saved.len() > WAITING_MAX {
            self.saved.pop_front();
        }
    }
}

/// What lies in the database about one session.
struct View<'a> {
    shared: &'a Shared,
    families: Families<'a>,
    db: &'a DB,
}

/// An exchange as it is stored.
struct Stored {
    ticket: Ticket,
    exchange: record::Exchange,
}

impl View<'_> {
    fn saved(&self, session: SessionId) -> Saved {
        let mut saved = Saved::default();
        let mut exchanges = Vec::new();
        for (key, value) in rows(self.db, self.families.session, &session.0.to_be_bytes(), session) {
            let Some((_, row, rest)) = layout::parse_row_key(&key) else { continue };
            match row {
                Row::Subscription => {
                    let options = readable(record::unseal(&key, &value).and_then(record::options), &key);
                    let filter = std::str::from_utf8(rest).unwrap_or_default().into();
                    saved.subscriptions.push(SavedSubscription { filter, options });
                }
                Row::Received => {
                    readable(record::unseal(&key, &value), &key);
                    saved.received.extend(id(rest));
                }
                Row::Exchange => exchanges.extend(self.exchange(&key, rest, &value)),
                Row::Session | Row::Will | Row::Leave | Row::Expiry | Row::Ended => {}
            }
        }
        exchanges.sort_by_key(|stored: &Stored| stored.exchange.order);
        saved.outgoing = exchanges.iter().filter_map(|stored| self.outgoing(session, stored)).collect();
        saved
    }

    fn exchange(&self, key: &[u8], rest: &[u8], value: &[u8]) -> Option<Stored> {
        let exchange = readable(record::unseal(key, value).and_then(record::exchange), key);
        let ticket = layout::ticket(rest)?;
        Some(Stored { ticket, exchange })
    }

    /// An unfinished exchange; `None` if its message should be there and is not: it was lost from a damaged store.
    fn outgoing(&self, session: SessionId, stored: &Stored) -> Option<SavedOut> {
        let Stored { ticket, exchange } = *stored;
        let saved = SavedOut {
            packet_id: exchange.packet_id,
            state: exchange.state,
            ticket,
            message: None,
            qos: QoS::ExactlyOnce,
            retain: false,
            subscription_ids: Vec::new(),
        };
        if exchange.state != OutState::Published {
            return Some(saved);
        }
        let key = layout::queue_key(session, ticket);
        let value = intact(self.db.get_pinned_cf(self.families.queue, key))?;
        let Queued { message, qos, retain, subscription_ids, .. } = self.queued(ticket, &key, &value)?;
        Some(SavedOut { message: Some(message), qos, retain, subscription_ids, ..saved })
    }

    fn queued(&self, ticket: Ticket, key: &[u8], value: &[u8]) -> Option<Queued> {
        let epoch = self.shared.epoch;
        let entry = readable(record::unseal(key, value).and_then(|body| record::queue_entry(body, epoch)), key);
        let message = match entry.message {
            Some(message) => Arc::new(message),
            None => self.body(ticket)?,
        };
        let record::QueueEntry { qos, retain, subscription_ids, .. } = entry;
        Some(Queued { ticket, message, qos, retain, subscription_ids })
    }

    fn body(&self, ticket: Ticket) -> Option<Arc<Message>> {
        let key = layout::body_key(ticket);
        // A body goes with the last queue that refers to it: if it is gone, so is the row that was just read.
        let value = intact(self.db.get_pinned_cf(self.families.body, key))?;
        let epoch = self.shared.epoch;
        Some(Arc::new(readable(record::unseal(&key, &value).and_then(|body| record::message(body, epoch)), &key)))
    }

    /// Messages behind `after` that have no identifier, up to `mark`: what was committed later is told by mail, too.
    fn page(&self, session: SessionId, after: Ticket, max: usize, mark: Ticket) -> Page {
        let tally = self.shared.ram.lock().tally(session);
        if tally.messages == 0 {
            return Page { messages: Vec::new(), complete_up_to: Some(mark) };
        }
        let under_way = self.under_way(session);
        let from = after.following().max(tally.head);
        let (mut messages, mut bytes, mut head) = (Vec::new(), 0, None);
        for (key, value) in rows(self.db, self.families.queue, &layout::queue_key(session, from), session) {
            let Some((_, ticket)) = layout::parse_queue_key(&key).filter(|(_, ticket)| *ticket <= mark) else { break };
            head.get_or_insert(ticket);
            if under_way.contains(&ticket) {
                continue;
            }
            if messages.len() >= max || bytes > PAGE_BYTES {
                self.found_head(session, after, head);
                return Page { messages, complete_up_to: None };
            }
            let Some(queued) = self.queued(ticket, &key, &value) else { continue };
            bytes = queued.message.bytes().saturating_add(bytes);
            messages.push(queued);
        }
        self.found_head(session, after, head);
        Page { messages, complete_up_to: Some(mark) }
    }

    /// A read from the beginning has passed over what was removed: the next one need not.
    fn found_head(&self, session: SessionId, after: Ticket, head: Option<Ticket>) {
        if let Some(head) = head.filter(|_| after == Ticket::NONE) {
            self.shared.ram.lock().found_head(session, head);
        }
    }

    fn under_way(&self, session: SessionId) -> Vec<Ticket> {
        let from = layout::row_key(session, Row::Exchange, &[]);
        rows(self.db, self.families.session, &from, session)
            .map_while(|(key, value)| match layout::parse_row_key(&key) {
                Some((_, Row::Exchange, rest)) => Some(self.exchange(&key, rest, &value)),
                _ => None,
            })
            .flatten()
            .map(|stored| stored.ticket)
            .collect()
    }
}

fn id(rest: &[u8]) -> Option<crate::mqtt::PacketId> {
    crate::mqtt::PacketId::new(u16::from_be_bytes(rest.try_into().ok()?))
}

/// A record that was read. One that is damaged ends the process: what would be given out without it is less than was promised.
pub(super) fn readable<T>(read: Result<T, Unreadable>, key: &[u8]) -> T {
    match read {
        Ok(value) => value,
        Err(error) => super::damaged(&format!("{error} at key {key:02x?}")),
    }
}

type KeyValue = (Box<[u8]>, Box<[u8]>);

/// Rows of one session, from `from` on.
pub(super) fn rows<'a>(
    db: &'a DB,
    family: &'a rocksdb::ColumnFamily,
    from: &[u8],
    session: SessionId,
) -> impl Iterator<Item = KeyValue> + 'a {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::end_of(session));
    let rows = db.iterator_cf_opt(family, options, IteratorMode::From(from, Direction::Forward));
    rows.map(intact)
}
