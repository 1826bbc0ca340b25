//! The outbound window: exchanges that were begun and not finished, their Packet Identifiers and the send quota.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::Ticket;
use crate::message::Message;
use crate::mqtt::{PacketId, QoS};

use super::aside::Aside;
use super::saved::{OutState, SavedOut};

/// A window emptied keeps no more room than this many exchanges.
const KEPT: usize = 8;

/// How far an exchange is.
///
/// ```text
///  QoS 1:           Published ──PUBACK──▶ (done)
///  QoS 2:  Saving ─▶ Published ──PUBREC──▶ Releasing ─▶ Released ──PUBCOMP──▶ Finished ─▶ (done)
///  resumed:  Repeat ──window has room──▶ Published     Repeat ──PUBREC──▶ Releasing
///            Repeat ──dropped, QoS 2──▶ (set aside) ──PUBREC──▶ Releasing
/// ```
/// `Saving`, `Releasing` and `Finished` wait for the disk, and only in sessions that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Its identifier is being saved; PUBLISH follows.
    Saving,
    /// Unfinished on an earlier connection: PUBLISH goes out again, with DUP, as soon as the window has room.
    Repeat,
    /// PUBLISH went out.
    Published,
    /// PUBREC came and is being saved; PUBREL follows.
    Releasing,
    /// PUBREL went out.
    Released,
    /// PUBCOMP came and is being saved: its place in the window is free, its identifier is not. Were it used again and the save
    /// failed, a resume would release the wrong message.
    Finished,
}

/// One exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) packet_id: PacketId,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) progress: Progress,
    pub(super) ticket: Ticket,
    /// `None` once PUBREC came: PUBLISH is never sent again [MQTT-4.3.3-6].
    pub(super) message: Option<Arc<Message>>,
    pub(super) subscription_ids: SmallVec<[u32; 2]>,
}

impl Exchange {
    fn resumed(saved: SavedOut, progress: Progress) -> Self {
        Self {
            packet_id: saved.packet_id,
            qos: saved.qos,
            retain: saved.retain,
            progress,
            ticket: saved.ticket,
            message: saved.message,
            subscription_ids: saved.subscription_ids.into(),
        }
    }
}

/// Exchanges in the order of their first PUBLISH; those with PUBREC behind each other in the order of the PUBRECs.
#[derive(Debug)]
pub(super) struct Inflight {
    exchanges: VecDeque<Exchange>,
    /// Exchanges that take a place of the client's Receive Maximum. Like `repeats` some of all exchanges, each of which has an
    /// identifier of its own: neither goes beyond 65,535.
    taken: u16,
    /// The lower of the client's Receive Maximum and our own bound.
    window: u16,
    last_id: u16,
    /// So many identifiers behind `last_id` are known not to be in use, so that the window is not looked through for each.
    free_ids: u16,
    /// Exchanges in state `Repeat`.
    repeats: u16,
    /// Identifiers that are taken by no exchange. Nearly no session has any.
    aside: Option<Box<Aside>>,
}

impl Inflight {
    /// Continues with what was saved.
    pub(super) fn new(window: u16, saved: Vec<SavedOut>) -> Self {
        let (mut exchanges, mut aside) = (VecDeque::with_capacity(saved.len()), None::<Box<Aside>>);
        for out in saved {
            match out.state {
                OutState::Published => exchanges.push_back(Exchange::resumed(out, Progress::Repeat)),
                OutState::Released => exchanges.push_back(Exchange::resumed(out, Progress::Released)),
                OutState::SetAside => aside.get_or_insert_default().add(out.packet_id, out.ticket),
            }
        }
        let repeats = exchanges.iter().filter(|exchange| exchange.progress == Progress::Repeat).count();
        let last_id = exchanges.back().map_or(0, |exchange| exchange.packet_id.get());
        let taken = exchanges.len().saturating_sub(repeats);
        let (taken, repeats) = (bounded(taken), bounded(repeats));
        Self { exchanges, taken, window: window.max(1), last_id, free_ids: 0, repeats, aside }
    }

    /// Whether another PUBLISH above QoS 0 may be sent [MQTT-3.3.4-9].
    pub(super) fn has_quota(&self) -> bool {
        // Those whose end is being saved take no place but an identifier, and that may be the last one.
        let aside = self.aside.as_ref().map_or(0, |aside| aside.len());
        self.taken < self.window && self.exchanges.len().saturating_add(aside) < usize::from(u16::MAX)
    }

    /// Whether something from before has to go out again before anything new.
    pub(super) fn has_repeats(&self) -> bool {
        self.repeats > 0
    }

    /// The next exchange to go out again, marked as sent.
    pub(super) fn next_repeat(&mut self) -> Option<&mut Exchange> {
        let exchange = self.exchanges.iter_mut().find(|exchange| exchange.progress == Progress::Repeat)?;
        exchange.progress = Progress::Published;
        self.repeats = self.repeats.saturating_sub(1);
        self.taken = self.taken.saturating_add(1);
        Some(exchange)
    }

    /// A Packet Identifier that is not in use [MQTT-2.2.1-4]. There is one as long as there is quota.
    pub(super) fn fresh_id(&mut self) -> PacketId {
        loop {
            if self.free_ids == 0 {
                self.free_ids = self.free_behind(self.last_id);
            }
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(left) = self.free_ids.checked_sub(1) {
                self.free_ids = left;
                if let Some(id) = PacketId::new(self.last_id) {
                    return id;
                }
            }
        }
    }

    /// How many identifiers behind `id`, 0 among them, are not in use.
    fn free_behind(&self, id: u16) -> u16 {
        let aside = self.aside.iter().flat_map(|aside| aside.ids());
        let taken = self.exchanges.iter().map(|exchange| exchange.packet_id).chain(aside);
        let distances = taken.map(|taken| taken.get().wrapping_sub(id).wrapping_sub(1));
        distances.min().unwrap_or(u16::MAX)
    }

    /// Begins an exchange, for which there is quota: `taken` is below the window.
    pub(super) fn begin(&mut self, exchange: Exchange) {
        self.taken = self.taken.saturating_add(1);
        self.exchanges.push_back(exchange);
    }

    /// Where the exchange with this identifier is. Usually at the front: clients acknowledge in order.
    pub(super) fn find(&self, id: PacketId) -> Option<usize> {
        self.exchanges.iter().position(|exchange| exchange.packet_id == id)
    }

    /// The exchange with this identifier.
    pub(super) fn exchange(&mut self, id: PacketId) -> Option<&mut Exchange> {
        let at = self.find(id)?;
        self.exchanges.get_mut(at)
    }

    /// Whether the message in this place of the queue is under way.
    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.exchanges.iter().any(|exchange| exchange.ticket == ticket)
    }

    /// Ends the exchange at `at` and gives its place in the window back.
    pub(super) fn finish(&mut self, at: usize) -> Option<Exchange> {
        let exchange = self.exchanges.remove(at)?;
        match exchange.progress {
            Progress::Repeat => self.repeats = self.repeats.saturating_sub(1),
            Progress::Finished => {}
            _ => self.taken = self.taken.saturating_sub(1),
        }
        if self.exchanges.is_empty() && self.exchanges.capacity() > KEPT {
            self.exchanges = VecDeque::new();
        }
        Some(exchange)
    }

    /// Ends an exchange whose message was dropped; its identifier stays taken, without a place in the window.
    pub(super) fn set_aside(&mut self, id: PacketId) -> Option<Ticket> {
        let Exchange { ticket, .. } = self.find(id).and_then(|at| self.finish(at))?;
        self.aside.get_or_insert_default().add(id, ticket);
        Some(ticket)
    }

    /// Frees an identifier if too many are set aside: the place of its message in the queue.
    pub(super) fn free_surplus(&mut self) -> Option<Ticket> {
        self.aside.as_mut()?.free_surplus()
    }

    /// An identifier that was set aside is that of an exchange again, if it is one.
    pub(super) fn recall(&mut self, packet_id: PacketId) {
        let Some(ticket) = self.aside.as_mut().and_then(|aside| aside.remove(packet_id)) else { return };
        self.aside.take_if(|aside| aside.len() == 0);
        self.begin(Exchange {
            packet_id,
            qos: QoS::ExactlyOnce,
            retain: false,
            progress: Progress::Published,
            ticket,
            message: None,
            subscription_ids: SmallVec::new(),
        });
    }

    /// PUBCOMP came for the exchange at `at`: only its identifier is still taken.
    pub(super) fn completed(&mut self, at: usize) -> Option<&mut Exchange> {
        self.taken = self.taken.saturating_sub(1);
        let exchange = self.exchanges.get_mut(at)?;
        exchange.progress = Progress::Finished;
        Some(exchange)
    }

    /// PUBREC came for the exchange at `at`: it stands behind all others now, so that PUBRELs are repeated in the order of the
    /// PUBRECs [MQTT-4.6.0-4].
    pub(super) fn received(&mut self, at: usize) -> Option<&mut Exchange> {
        let mut exchange = self.exchanges.remove(at)?;
        if exchange.progress == Progress::Repeat {
            // It need not be repeated any more, and takes a place until PUBCOMP like any other.
            self.repeats = self.repeats.saturating_sub(1);
            self.taken = self.taken.saturating_add(1);
        }
        exchange.message = None;
        self.exchanges.push_back(exchange);
        self.exchanges.back_mut()
    }

    /// All exchanges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter()
    }
}

fn bounded(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exchange(packet_id: PacketId) -> Exchange {
        Exchange {
            packet_id,
            qos: QoS::AtLeastOnce,
            retain: false,
            progress: Progress::Published,
            ticket: Ticket::NONE,
            message: None,
            subscription_ids: SmallVec::new(),
        }
    }

    fn saved(id: u16) -> SavedOut {
        SavedOut {
            packet_id: PacketId::new(id).unwrap(),
            state: OutState::Published,
            ticket: Ticket::NONE,
            message: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Vec::new(),
        }
    }

    proptest! {
        /// Whatever a session comes back with, and in whatever order it is acknowledged, beyond the end of the numbers too.
        #[test]
        fn mqtt_2_2_1_4_an_identifier_in_use_is_never_given_out(
            resumed in proptest::collection::btree_set(prop_oneof![1..20_u16, 65_500..=u16::MAX], 0..20),
            last in prop_oneof![1..20_u16, 65_500..=u16::MAX],
            ends in proptest::collection::vec(proptest::option::of(0..100_usize), 0..300),
        ) {
            let mut resumed = resumed;
            resumed.remove(&last);
            let mut used: Vec<u16> = resumed.iter().copied().chain([last]).collect();
            let mut inflight = Inflight::new(u16::MAX, used.iter().map(|id| saved(*id)).collect());
            for end in ends {
                match end {
                    Some(at) if !used.is_empty() => {
                        let id = used.swap_remove(at % used.len());
                        let at = inflight.find(PacketId::new(id).unwrap()).unwrap();
                        inflight.finish(at).unwrap();
                    }
                    _ => {
                        let id = inflight.fresh_id();
                        prop_assert!(!used.contains(&id.get()));
                        used.push(id.get());
                        inflight.begin(exchange(id));
                    }
                }
            }
        }
    }
}
