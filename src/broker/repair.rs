//! What the store refused or left unanswered, to be brought in order once it works again.
//!
//! A store without space refuses what is appended, and answers no question until it was opened again. Three things must not
//! stay as they are then: subscriptions of which index and store say different things, sessions that are to be ended and
//! whose subscriptions nobody could be asked for, and ends that were refused.

use std::sync::Arc;

use super::Broker;
use super::index::Interest;
use super::seat::Seat;
use crate::identity::{SessionId, Ticket};
use crate::session::Saved;
use crate::store::{Level, Record};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::topic::filter::TopicFilter;

/// What is tried at once: while the store takes nothing, all of it is in vain.
const TRIES_MAX: usize = 256;

/// Something to be brought in order.
#[derive(Debug)]
enum Repair {
    /// The session lives, and the index may not have these subscriptions as the store does.
    Compare(Arc<Seat>, Vec<Arc<str>>),
    /// The session is to be ended.
    End(Arc<Seat>),
    /// The end of this session was appended; the store may refuse it.
    Ended(SessionId, Ticket),
}

/// What is to be brought in order. Bounded by the sessions there are and by what their clients had pending.
#[derive(Debug, Default)]
pub struct Repairs {
    /// A mutex: touched where something failed, and where a session ends.
    open: Mutex<Vec<Repair>>,
    any: AtomicBool,
}

impl Repairs {
    fn add(&self, repair: Repair) {
        self.open.lock().push(repair);
        self.any.store(true, Ordering::Release);
    }

    /// Whether [`Broker::repair`] has something to do.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The filters to be compared for a session, taken off the list.
    fn take_compare(&self, session: SessionId) -> Vec<Arc<str>> {
        if !self.any() {
            return Vec::new();
        }
        let mut open = self.open.lock();
        let of_session = |repair: &mut Repair| matches!(repair, Repair::Compare(seat, _) if seat.session == session);
        let taken = open.extract_if(.., of_session);
        taken.flat_map(|repair| if let Repair::Compare(_, filters) = repair { filters } else { Vec::new() }).collect()
    }
}

/// A question to the store. It is asked again if it is dropped without an answer.
struct Asked {
    broker: Arc<Broker>,
    repair: Option<Repair>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(repair) = self.repair.take() {
            self.broker.repairs.add(repair);
        }
    }
}

impl Asked {
    fn answer(mut self, saved: &Saved) {
        match self.repair.take() {
            // Its client is coming back, and will compare by itself before it does anything.
            Some(Repair::Compare(seat, filters)) if seat.address().is_some() => {
                self.repair = Some(Repair::Compare(seat, filters));
            }
            Some(Repair::Compare(seat, filters)) => self.broker.make_as_saved(&seat, &filters, saved),
            Some(Repair::End(seat)) => {
                let doubtful = self.broker.repairs.take_compare(seat.session);
                let known = saved.subscriptions.iter().map(|saved| &*saved.filter);
                self.broker.forget_subscriptions(&seat, known.chain(doubtful.iter().map(|filter| &**filter)));
                self.broker.append_end(seat.session, self.broker.store.level());
            }
            Some(Repair::Ended(..)) | None => {}
        }
    }
}

impl Broker {
    /// Ends a durable session that has no connection: its subscriptions, its queue, its name. The name is free at once,
    /// the rest as soon as the store has said what the subscriptions were.
    pub fn end_session(self: &Arc<Self>, seat: Arc<Seat>) {
        self.directory.remove(&seat);
        self.ask(Repair::End(seat));
    }

    /// Records that a session has ended, and again, at the store's own level, if the store refuses. That is looked at once the store
    /// is done with the record, whatever the level is. The ticket says when it is as safe as `level`.
    pub fn append_end(&self, session: SessionId, level: Level) -> Ticket {
        let ticket = self.append(vec![Record::End(session)], level);
        if ticket > self.store.durable() || self.store.failed(ticket) {
            self.repairs.add(Repair::Ended(session, ticket));
        }
        ticket
    }

    /// The store has refused to make or end subscriptions with these filters, or nobody will learn whether it did. Called before the
    /// seat is left.
    pub fn doubt(&self, seat: &Arc<Seat>, filters: Vec<Arc<str>>) {
        if !filters.is_empty() {
            self.repairs.add(Repair::Compare(Arc::clone(seat), filters));
        }
    }

    /// The client of a session is back, and this is what was saved: the index says the same from now on.
    pub fn compare(&self, seat: &Arc<Seat>, saved: &Saved) {
        let filters = self.repairs.take_compare(seat.session);
        self.make_as_saved(seat, &filters, saved);
    }

    /// Tries everything again that is to be brought in order. What cannot be done yet is there again afterwards.
    pub fn repair(self: &Arc<Self>) {
        self.repairs.any.store(false, Ordering::Release);
        let open = std::mem::take(&mut *self.repairs.open.lock());
        let mut tries = 0..TRIES_MAX;
        for repair in open {
            match repair {
                Repair::Ended(_, ticket) if ticket > self.store.durable() => self.repairs.add(repair),
                Repair::Ended(_, ticket) if !self.store.failed(ticket) => {}
                _ if tries.next().is_none() => self.repairs.add(repair),
                Repair::Ended(session, _) => {
                    self.append_end(session, self.store.level());
                }
                Repair::Compare(..) | Repair::End(_) => self.ask(repair),
            }
        }
    }

    fn ask(self: &Arc<Self>, repair: Repair) {
        let (Repair::Compare(seat, _) | Repair::End(seat)) = &repair else { return };
        let session = seat.session;
        let asked = Asked { broker: Arc::clone(self), repair: Some(repair) };
        self.store.load(session, Box::new(move |saved| asked.answer(&saved)));
    }

    fn make_as_saved(&self, seat: &Arc<Seat>, filters: &[Arc<str>], saved: &Saved) {
        for text in filters {
            let Ok(filter) = TopicFilter::parse(text, usize::MAX) else { continue };
            match saved.subscriptions.iter().find(|saved| saved.filter == *text) {
                Some(saved) => {
                    self.index.subscribe(&filter, seat, Interest::from(saved.options));
                }
                None => {
                    self.index.unsubscribe(&filter, seat);
                }
            }
        }
    }
}
