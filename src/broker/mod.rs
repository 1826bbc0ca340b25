//! The only shared state: who sits where, who wants what, what is retained, what comes due.
//!
//! A core asks the [`Broker`] and carries out the answer; nothing here has a thread of its own. Everything that is published, by
//! clients, wills, HTTP or the broker itself, is routed by [`Broker::route`]: there is no side door.
//!
//! *Architecture invariant:* this room knows no socket and no packet. Its locks guard single maps, are held for single
//! operations, and no function holds two.
//!
//! Start with `route.rs`, then `index.rs` (who wants what; `subscribers.rs` and `share.rs` hold one filter's),
//! `directory.rs` and `seat.rs` (who sits where).

pub mod directory;
pub mod index;
pub mod later;
pub mod plan;
pub mod recover;
pub mod repair;
pub mod retain;
pub mod route;
pub mod seat;
mod share;
mod subscribers;
pub mod sys;

use std::sync::Arc;

use crate::identity::Ticket;
use crate::store::{Level, Levels, Record, Store};
use crate::topic::filter::TopicFilter;

/// Everything that cores share.
pub struct Broker {
    /// Who wants what.
    pub index: index::Index,
    /// The last retained message of each topic.
    pub retained: retain::Retained,
    /// Which Client Identifier sits where.
    pub directory: directory::Directory,
    /// Delayed wills and session expiry.
    pub later: later::Later,
    /// What the store refused, to be brought in order.
    pub repairs: repair::Repairs,
    /// What must outlive a connection or the process.
    pub store: Arc<dyn Store>,
    /// How safe what is published to a topic, or comes in at a listener, must be.
    pub levels: Levels,
}

impl Broker {
    /// Takes a session's subscriptions out of the index. `filters` as the client wrote them.
    pub fn forget_subscriptions<'a>(&self, seat: &Arc<seat::Seat>, filters: impl Iterator<Item = &'a str>) {
        for text in filters {
            if let Ok(filter) = TopicFilter::parse(text, usize::MAX) {
                self.index.unsubscribe(&filter, seat);
            }
        }
    }

    /// Appends records, if there are any, to be as safe as `level` says.
    pub fn append(&self, records: Vec<Record>, level: Level) -> Ticket {
        if records.is_empty() { Ticket::NONE } else { self.store.append_at(records, level) }
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("subscriptions", &self.index.subscriptions()).finish_non_exhaustive()
    }
}
