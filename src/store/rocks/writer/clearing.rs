//! Takes out of the database what nobody needs any more: rows of sessions that have ended, and messages whose time is over.
//!
//! None of it need be safe at once: what comes back after a crash goes again.

use std::sync::atomic::Ordering;

use rocksdb::{DB, WriteOptions};

use super::super::batch::Builder;
use super::super::layout::{self, Row};
use super::super::reader::rows;
use super::super::shared::Gone;
use super::Writer;
use crate::identity::{SessionId, Ticket};

/// Rows of ended sessions removed with one commit.
const SWEEP: usize = 512;
/// What is over and may not go yet, because its client is there or was sent it, is looked at again after so long.
const AGAIN_MS: u64 = 60_000;

impl Writer {
    /// Takes out what the sweeper found.
    pub(super) fn let_go(&mut self, gone: Vec<Gone>) {
        // It is found again when the store is open again.
        let Some(db) = self.shared.db() else { return };
        let mut ram = self.shared.ram.lock();
        let mut builder = Builder::new(&db, &mut ram, &self.shared);
        let mut stays = false;
        for gone in gone {
            stays |= !builder.let_go(gone);
        }
        let (batch, lost) = (builder.batch, builder.lost);
        // It need not be safe at once: what comes back after a crash goes again.
        match db.write_opt(batch, &WriteOptions::default()) {
            Ok(()) => ram.keep(),
            Err(error) => {
                ram.take_back();
                drop(ram);
                return self.give_up(&error.into());
            }
        }
        drop(ram);
        self.shared.count(lost);
        if stays {
            self.shared.soonest.fetch_min(self.shared.now().plus_ms(AGAIN_MS).as_ms(), Ordering::AcqRel);
        }
    }

    /// Removes some rows of a session that has ended. `true` when none is left.
    pub(super) fn sweep(&mut self, db: &DB, session: SessionId) -> bool {
        let mut ram = self.shared.ram.lock();
        let mut builder = Builder::new(db, &mut ram, &self.shared);
        let mut left: usize = SWEEP;
        let prefix = session.0.to_be_bytes();
        for (key, _) in rows(db, builder.families.queue, &prefix, session).take(SWEEP) {
            if let Some((_, ticket)) = layout::parse_queue_key(&key) {
                builder.remove(session, ticket);
                left = left.saturating_sub(1);
            }
        }
        let ended = layout::row_key(session, Row::Ended, &[]);
        for (key, _) in rows(db, builder.families.session, &prefix, session).take(left) {
            if *key == *ended {
                continue;
            }
            if let Some((_, Row::Exchange, rest)) = layout::parse_row_key(&key)
                && let Ok(ticket) = rest.try_into()
            {
                builder.ram.put_exchange(session, Ticket(u64::from_be_bytes(ticket)), None);
            }
            builder.batch.delete_cf(builder.families.session, &key);
            left = left.saturating_sub(1);
        }
        let is_last = left > 0;
        if is_last {
            builder.batch.delete_cf(builder.families.session, &ended);
        }
        let batch = builder.batch;
        // It need not be safe at once: what comes back after a crash is removed then.
        match db.write_opt(batch, &WriteOptions::default()) {
            Ok(()) => ram.keep(),
            Err(error) => {
                ram.take_back();
                drop(ram);
                // They are found again when the store is opened again.
                self.give_up(&error.into());
                return false;
            }
        }
        is_last
    }
}
