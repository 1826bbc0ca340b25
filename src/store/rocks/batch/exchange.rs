//! What a session edits of its outgoing exchanges.

use super::super::layout;
use super::super::ram::Open;
use super::Builder;
use crate::identity::{SessionId, Ticket};
use crate::mqtt::{PacketId, QoS};
use crate::session::OutState;
use crate::store::record;

impl Builder<'_> {
    /// Said once more at the end of a connection, it only moves behind the others.
    pub(super) fn sent(&mut self, session: SessionId, ticket: Ticket, (packet_id, qos): (PacketId, QoS)) {
        let state = match self.ram.exchange(session, ticket) {
            Some(open) => open.state,
            None if !self.is_gone(session, ticket) => OutState::Published,
            // A full queue has dropped it while it was on its way to a client that may hold it then.
            None if qos == QoS::ExactlyOnce => OutState::SetAside,
            None => return,
        };
        self.put_exchange(session, ticket, Open { packet_id, state });
    }

    /// An exchange needs its message no more, and its identifier still.
    pub(super) fn leave_behind(&mut self, session: SessionId, ticket: Ticket, state: OutState) {
        let Some(open) = self.ram.exchange(session, ticket).filter(|open| open.state != OutState::Released) else {
            return;
        };
        self.put_exchange(session, ticket, Open { state, ..open });
        if open.has_message() {
            self.take_out(session, ticket);
        }
    }

    fn put_exchange(&mut self, session: SessionId, ticket: Ticket, open: Open) {
        self.ram.order += 1;
        let Open { packet_id, state } = open;
        let exchange = record::Exchange { order: self.ram.order, packet_id, state };
        self.put_row(&layout::exchange_key(session, ticket), &record::exchange_body(exchange));
        self.ram.put_exchange(session, ticket, Some(open));
    }

    pub(super) fn done(&mut self, session: SessionId, ticket: Ticket) {
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
}
