//! What a session says of the messages in its queue, and of those that are not in it any more.

use super::super::layout::{self, Row};
use super::super::ram::Open;
use super::Builder;
use crate::identity::{SessionId, Ticket};
use crate::mqtt::PacketId;
use crate::session::{Change, OutState};
use crate::store::record;

impl Builder<'_> {
    pub(super) fn edit(&mut self, session: SessionId, change: Change) {
        match change {
            Change::Released(id) => {
                self.delete_row(&layout::received_key(session, id));
                self.releases = true;
            }
            Change::Sent { ticket, packet_id } if !self.cancelled.contains(&(session, ticket)) => {
                self.sent(session, ticket, packet_id);
            }
            Change::Received { ticket } if !self.cancelled.contains(&(session, ticket)) => {
                let Some(open) = self.ram.exchange(session, ticket).filter(|open| !open.released) else { return };
                self.put_exchange(session, ticket, Open { released: true, ..open });
                if !open.gone {
                    self.take_out(session, ticket);
                }
            }
            Change::Sent { .. } | Change::Received { .. } => {}
            Change::Done { ticket } => self.done(session, ticket),
            Change::Expiry { expiry_s } => {
                self.put_row(&layout::row_key(session, Row::Expiry, &[]), &record::expiry_body(expiry_s));
            }
        }
    }

    fn sent(&mut self, session: SessionId, ticket: Ticket, packet_id: PacketId) {
        let before = self.ram.exchange(session, ticket);
        let gone = before.map_or_else(|| self.is_absent(session, ticket), |open| open.gone);
        // What cannot be sent again needs no identifier. Of QoS 2 it is another thing: that is about to be sent.
        if before.is_some() || !gone || !self.leaves {
            self.put_exchange(session, ticket, Open { packet_id, released: false, gone });
        }
    }

    /// Whether a message that has no identifier is not in the queue of the session that speaks of it.
    fn is_absent(&self, session: SessionId, ticket: Ticket) -> bool {
        if self.ram.has_left(session, ticket) {
            return true;
        }
        if !self.ram.is_unsure(session) {
            return false;
        }
        if ticket >= self.first {
            return self.refused.binary_search(&ticket).is_ok();
        }
        let key = layout::queue_key(session, ticket);
        self.done.contains(&(session, ticket))
            || super::super::intact(self.db.get_pinned_cf(self.families.queue, key)).is_none()
    }

    fn put_exchange(&mut self, session: SessionId, ticket: Ticket, open: Open) {
        self.ram.order = self.ram.order.saturating_add(1);
        let state = if open.released { OutState::Released } else { OutState::Published };
        let exchange = record::Exchange { order: self.ram.order, packet_id: open.packet_id, state };
        self.put_row(&layout::exchange_key(session, ticket), &record::exchange_body(exchange));
        self.ram.put_exchange(session, ticket, Some(open));
    }

    fn done(&mut self, session: SessionId, ticket: Ticket) {
        if self.cancelled.contains(&(session, ticket)) {
            return;
        }
        let is_there = match self.ram.exchange(session, ticket) {
            Some(open) => {
                self.delete_row(&layout::exchange_key(session, ticket));
                self.ram.put_exchange(session, ticket, None);
                !open.released && !open.gone
            }
            None => !self.is_absent(session, ticket),
        };
        if is_there {
            self.take_out(session, ticket);
        }
    }

    /// A session needs a message no more.
    pub(super) fn take_out(&mut self, session: SessionId, ticket: Ticket) {
        self.remove(session, ticket);
        self.ram.subtract(session);
        self.ram.oldest.forget(session);
        self.done.insert((session, ticket));
    }
}
