//! What a session says of the messages in its queue, of those that are not in it any more, and of its exchanges.

use super::super::layout::{self, Row};
use super::super::ram::Open;
use super::Builder;
use crate::identity::{SessionId, Ticket};
use crate::mqtt::{PacketId, QoS};
use crate::session::{Change, OutState};
use crate::store::record;

impl Builder<'_> {
    pub(super) fn edit(&mut self, session: SessionId, change: &Change) {
        match *change {
            Change::Released(id) => {
                self.delete_row(&layout::received_key(session, id));
                self.releases = true;
            }
            Change::Sent { ticket, .. } | Change::SetAside { ticket } | Change::Received { ticket }
                if self.cancelled.contains(&(session, ticket)) => {}
            Change::Sent { ticket, packet_id, qos } => self.sent(session, ticket, (packet_id, qos)),
            Change::SetAside { ticket } => self.leave_behind(session, ticket, OutState::SetAside),
            Change::Received { ticket } => self.leave_behind(session, ticket, OutState::Released),
            Change::Done { ticket } => self.done(session, ticket),
            Change::Expiry { expiry_s } => {
                self.put_row(&layout::row_key(session, Row::Expiry, &[]), &record::expiry_body(expiry_s));
            }
        }
    }

    /// Said once more at the end of a connection, it only moves behind the others.
    fn sent(&mut self, session: SessionId, ticket: Ticket, (packet_id, qos): (PacketId, QoS)) {
        let state = match self.ram.exchange(session, ticket) {
            Some(open) => open.state,
            None if !self.is_absent(session, ticket) => OutState::Published,
            // Refused or dropped while it was on its way to a client that may hold it then.
            None if qos == QoS::ExactlyOnce => OutState::SetAside,
            None => return,
        };
        self.put_exchange(session, ticket, Open { packet_id, state });
    }

    /// An exchange needs its message no more, and its identifier still.
    fn leave_behind(&mut self, session: SessionId, ticket: Ticket, state: OutState) {
        let Some(open) = self.ram.exchange(session, ticket).filter(|open| open.state != OutState::Released) else {
            return;
        };
        self.put_exchange(session, ticket, Open { state, ..open });
        if open.has_message() {
            self.take_out(session, ticket);
        }
    }

    fn put_exchange(&mut self, session: SessionId, ticket: Ticket, open: Open) {
        self.ram.order = self.ram.order.saturating_add(1);
        let Open { packet_id, state } = open;
        let exchange = record::Exchange { order: self.ram.order, packet_id, state };
        self.put_row(&layout::exchange_key(session, ticket), &record::exchange_body(exchange));
        self.ram.put_exchange(session, ticket, Some(open));
    }

    fn done(&mut self, session: SessionId, ticket: Ticket) {
        if self.cancelled.contains(&(session, ticket)) {
            return;
        }
        let open = self.ram.exchange(session, ticket);
        if open.is_some() {
            self.delete_row(&layout::exchange_key(session, ticket));
            self.ram.put_exchange(session, ticket, None);
        }
        if open.is_none_or(Open::has_message) {
            self.take_out(session, ticket);
        }
    }

    /// A session needs a message no more.
    pub(super) fn take_out(&mut self, session: SessionId, ticket: Ticket) {
        if self.is_absent(session, ticket) {
            return;
        }
        self.remove(session, ticket);
        self.ram.subtract(session);
        self.ram.oldest.forget(session);
        self.done.insert((session, ticket));
    }

    /// Whether a message of which a session speaks is not in its queue: it was delivered, and was refused, or dropped when the queue
    /// was full. To take it out all the same would count it twice, and hide one that waits, or take what is stored once for many
    /// queues from one that still waits for it.
    fn is_absent(&self, session: SessionId, ticket: Ticket) -> bool {
        if !self.ram.is_unsure(session) {
            return false;
        }
        if self.done.contains(&(session, ticket)) {
            return true;
        }
        if ticket >= self.first {
            return self.refused.binary_search(&ticket).is_ok();
        }
        let key = layout::queue_key(session, ticket);
        super::super::intact(self.db.get_pinned_cf(self.families.queue, key)).is_none()
    }
}
