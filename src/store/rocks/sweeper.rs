//! Looks for waiting messages whose time is over while their sessions are away, beside the writer, and hands them to it.
//!
//! ```text
//!  queue, a few thousand rows at a time ──gone──▶ writer: still there, session away, not under way? ──▶ deleted, counted
//! ```
//! A pass is begun only when something can be over: the writer and each pass note the soonest expiry (`Shared::soonest`). It reads
//! behind a cursor, with a pause after each stretch, so that it holds no snapshot and takes a small part of one CPU. A commit
//! waits for one handful of deletions at most.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use super::batch::Families;
use super::intact;
use super::layout;
use super::reader::readable;
use super::shared::{Gone, Shared, Why};
use crate::clock::Moment;
use crate::identity::{SessionId, Ticket};
use crate::store::record::{self, Epoch, Expires, Written};

/// Rows looked at in one stretch.
const STRETCH: usize = 4096;
/// Messages handed to the writer at a time.
const HANDFUL: usize = 512;
/// Between two stretches: at most 40,000 rows a second, about 5 % of a CPU.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks whether a pass is due, and between two passes.
const LOOK_EVERY: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(1) };
const PASS_EVERY: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(10) };
/// Shared messages whose expiry is remembered.
const BODIES: usize = 4096;

pub(super) struct Sweeper {
    pub(super) shared: Arc<Shared>,
}

/// One way through all queues.
struct Pass {
    now: Moment,
    /// Everything up to here is too old.
    over: Ticket,
    /// The last row that was looked at.
    behind: Option<[u8; 16]>,
    /// The soonest expiry of what stays.
    soonest: Moment,
    /// Expiry of messages that lie there once for many queues.
    bodies: HashMap<Ticket, Option<Written>, RandomState>,
    epoch: Epoch,
}

const NEVER: Moment = Moment::from_ms(u64::MAX);

impl Sweeper {
    /// Looks until the store is closed.
    pub(super) fn run(self) {
        let (mut pass, mut begun, mut aged) = (None, None::<Instant>, Ticket::NONE);
        loop {
            if self.pause(if pass.is_some() { PAUSE } else { LOOK_EVERY }) {
                return;
            }
            if pass.is_none() && begun.is_none_or(|begun| begun.elapsed() >= PASS_EVERY) {
                pass = self.begin(&mut aged);
                begun = pass.is_some().then(Instant::now).or(begun);
            }
            let Some(current) = &mut pass else { continue };
            // While the store is opened again there is nothing to read.
            let Some(db) = self.shared.db() else { continue };
            let (gone, flow) = current.stretch(&db);
            drop(db);
            if flow.is_break() {
                self.shared.soonest.fetch_min(current.soonest.as_ms(), Ordering::AcqRel);
                pass = None;
            }
            if self.hand_over(gone) {
                return;
            }
        }
    }

    /// A pass, if there can be anything to find. `aged` is up to where the last one looked for what is too old.
    fn begin(&self, aged: &mut Ticket) -> Option<Pass> {
        let (now, over) = (self.shared.now(), self.shared.too_old());
        let soonest = self.shared.soonest.load(Ordering::Acquire);
        if soonest > now.as_ms() && over <= *aged {
            return None;
        }
        *aged = over;
        // What is committed from here on is noted by the writer, all else is seen by this pass.
        self.shared.soonest.store(u64::MAX, Ordering::Release);
        Some(Pass { now, over, behind: None, soonest: NEVER, bodies: HashMap::default(), epoch: self.shared.epoch })
    }

    /// Waits; `true` if the store is being closed.
    fn pause(&self, time: Duration) -> bool {
        let mut inbox = self.shared.inbox.lock();
        if !inbox.stop {
            self.shared.taken.wait_for(&mut inbox, time);
        }
        inbox.stop
    }

    /// Gives the writer what is over, and waits until it has taken it. `true` if the store is being closed.
    fn hand_over(&self, gone: Vec<Gone>) -> bool {
        if gone.is_empty() {
            return false;
        }
        self.shared.inbox.lock().gone = gone;
        self.shared.bell.notify_one();
        let mut inbox = self.shared.inbox.lock();
        while !inbox.gone.is_empty() && !inbox.stop {
            self.shared.taken.wait(&mut inbox);
        }
        inbox.stop
    }
}

impl Pass {
    /// Looks at some rows. Breaks behind the last one.
    fn stretch(&mut self, db: &DB) -> (Vec<Gone>, ControlFlow<()>) {
        let families = Families::of(db);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        let from = match &self.behind {
            Some(key) => IteratorMode::From(key, Direction::Forward),
            None => IteratorMode::Start,
        };
        let rows = db.iterator_cf_opt(families.queue, options, from);
        let (mut gone, mut key) = (Vec::new(), self.behind);
        for (seen, row) in rows.enumerate() {
            let (row, value) = intact(row);
            if seen >= STRETCH || gone.len() >= HANDFUL {
                self.behind = key;
                return (gone, ControlFlow::Continue(()));
            }
            let Some((session, ticket)) = layout::parse_queue_key(&row) else { continue };
            key = Some(layout::queue_key(session, ticket.following()));
            gone.extend(self.look(db, &families, (session, ticket), &value));
        }
        (gone, ControlFlow::Break(()))
    }

    /// Whether a message's time is over.
    fn look(
        &mut self,
        db: &DB,
        families: &Families<'_>,
        (session, ticket): (SessionId, Ticket),
        value: &[u8],
    ) -> Option<Gone> {
        let key = layout::queue_key(session, ticket);
        let expires = match readable(record::queue_expires(value), &key) {
            Expires::At(at) => at,
            Expires::WithBody => self.body_expires(db, families, ticket),
        };
        let why = match expires {
            Some(at) if at.of(self.epoch) <= self.now => Why::Expired,
            _ if ticket <= self.over => Why::TooOld,
            Some(at) => {
                self.soonest = self.soonest.min(at.of(self.epoch));
                return None;
            }
            None => return None,
        };
        // What is damaged is not deleted as if it had been read.
        readable(record::unseal(&key, value), &key);
        Some(Gone { session, ticket, why })
    }

    fn body_expires(&mut self, db: &DB, families: &Families<'_>, ticket: Ticket) -> Option<Written> {
        if let Some(known) = self.bodies.get(&ticket) {
            return *known;
        }
        if self.bodies.len() >= BODIES {
            self.bodies.clear();
        }
        let key = layout::body_key(ticket);
        // One that is gone went with the last queue that referred to it.
        let value = intact(db.get_pinned_cf(families.body, key))?;
        let expires = readable(record::unseal(&key, &value).and_then(record::message_expires), &key);
        self.bodies.insert(ticket, expires);
        expires
    }
}
