//! The oldest messages of full queues, read several at a time: a queue at its bound loses one for each that comes, and a seek
//! for each would be the dearest part of a commit.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions};

use super::layout;
use crate::identity::{SessionId, Ticket};

/// Tickets read at a time.
const READ: usize = 64;
/// Bytes passed over for them, one message more at most: bodies lie beside the keys.
const READ_BYTES: usize = 64 * 1024;
/// Sessions whose oldest are remembered; beyond it all are forgotten, and read again when they are asked for.
const SESSIONS: usize = 1024;

/// What was read and not dropped yet. Forgotten for a session when anything else takes a message out of its queue.
#[derive(Debug, Default)]
pub(super) struct Oldest(HashMap<SessionId, VecDeque<Ticket>, RandomState>);

impl Oldest {
    pub(super) fn next(&mut self, session: SessionId) -> Option<Ticket> {
        self.0.get_mut(&session)?.pop_front()
    }

    pub(super) fn put(&mut self, session: SessionId, tickets: VecDeque<Ticket>) {
        if self.0.len() >= SESSIONS {
            self.0.clear();
        }
        self.0.insert(session, tickets);
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        if !self.0.is_empty() {
            self.0.remove(&session);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The first messages of a session's queue from `head` on that `may_go`; none if there is none.
///
/// # Errors
/// The database cannot be read: not the same as an empty queue.
pub(super) fn read(
    db: &DB,
    queue: &ColumnFamily,
    (session, head): (SessionId, Ticket),
    may_go: impl Fn(Ticket) -> bool,
) -> Result<VecDeque<Ticket>, rocksdb::Error> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::end_of(session));
    let from = layout::queue_key(session, head);
    let (mut tickets, mut bytes) = (VecDeque::new(), 0);
    for row in db.iterator_cf_opt(queue, options, IteratorMode::From(&from, Direction::Forward)) {
        let (key, value) = row?;
        let Some((_, ticket)) = layout::parse_queue_key(&key).filter(|(_, ticket)| may_go(*ticket)) else { continue };
        tickets.push_back(ticket);
        bytes = value.len().saturating_add(bytes);
        if tickets.len() >= READ || bytes > READ_BYTES {
            break;
        }
    }
    Ok(tickets)
}
