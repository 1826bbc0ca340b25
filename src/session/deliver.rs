//! PUBLISH out: who is sent what and when.

use std::sync::Arc;

use super::effect::{Desk, DropReason, Effect, Owed, Taken};
use super::feed::{Bounds, Offered, Waiting};
use super::inflight::{Exchange, Progress};
use super::saved::{Change, Page};
use super::{Delivery, Session};
use crate::access::Permissions;
use crate::clock::Now;
use crate::identity::Ticket;
use crate::message::Message;
use crate::mqtt::publish::{Alias, Content, Shape, Templates, encoded_len, put_once};
use crate::mqtt::{Out, Outgoing, PacketId, Peer, QoS, ReasonCode, outgoing};

/// Retained messages of one SUBSCRIBE may wait beyond the bounds of the memory queue, up to this many: the client has had no
/// chance to read yet, and the messages are shared with the store of retained messages.
const RETAINED_WAITING_MAX: usize = 65_536;

impl Session {
    /// A message for the client. `templates` belongs to this message.
    pub fn handle_delivery(
        &mut self,
        delivery: Delivery<'_>,
        templates: &mut Templates,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) {
        let has_room = desk.out.len() <= self.limits.out_bytes_max;
        if delivery.qos == QoS::AtMostOnce {
            if !has_room {
                return desk.effects.push(Effect::Dropped(DropReason::SlowConsumer));
            }
        } else if !has_room
            || self.inflight.has_repeats()
            || !self.inflight.has_quota()
            || !self.feed.is_next(delivery.ticket)
        {
            return self.keep(Waiting::from(delivery), desk);
        }
        self.send(Waiting::from(delivery), Some(templates), Turn { may, now }, desk);
    }

    /// Lets a message wait: here, or in the store where it lies already.
    fn keep(&mut self, waiting: Waiting, desk: &mut Desk<'_>) {
        let bounds = Bounds { messages: self.limits.waiting_messages_max, bytes: self.limits.waiting_bytes_max };
        if self.feed.offer(waiting, bounds) == Offered::Full {
            desk.effects.push(Effect::Dropped(DropReason::QueueFull));
        }
        self.read_on(desk);
    }

    /// Retained messages that may be collected for this client now: what would have to wait beyond them is dropped anyway.
    pub fn retained_room(&self) -> usize {
        RETAINED_WAITING_MAX.saturating_sub(self.feed.len().saturating_add(self.retained_owed))
    }

    /// Retained messages go out behind their SUBACK, or wait like any others.
    pub(super) fn deliver_retained(&mut self, taken: Taken, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        self.retained_owed =
            self.retained_owed.saturating_sub(taken.retained.len().saturating_add(taken.overtaken.len()));
        for ticket in taken.overtaken {
            // What a page brought, or will bring, stands in its place before the other one.
            if self.feed.is_unseen(ticket) {
                self.save_done(ticket, desk);
            }
        }
        let Some((_, options)) = taken.subscription else { return };
        for (message, ticket) in taken.retained {
            let waiting = Waiting {
                qos: message.qos.min(options.qos),
                message,
                ticket,
                // A retained message sent because of a subscription has RETAIN 1 [MQTT-3.3.1-8].
                retain: true,
                subscription_ids: options.subscription_id.into_iter().collect(),
            };
            let bounds = Bounds { messages: RETAINED_WAITING_MAX, bytes: usize::MAX };
            if self.feed.offer(waiting, bounds) == Offered::Full {
                desk.effects.push(Effect::Dropped(DropReason::QueueFull));
            }
        }
        self.pump(Turn { may, now }, desk);
    }

    /// The answer to [`Effect::ReadQueue`].
    pub fn handle_queue(&mut self, page: Page, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        let inflight = &self.inflight;
        self.feed.take_page(page, |ticket| inflight.holds(ticket));
        self.pump(Turn { may, now }, desk);
    }

    /// Bytes left the out buffer: go on where a slow client held things back.
    pub fn handle_drained(&mut self, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        self.pump(Turn { may, now }, desk);
    }

    /// Sends what the window and the out buffer have room for: first what is repeated, then what waits.
    pub(super) fn pump(&mut self, turn: Turn<'_>, desk: &mut Desk<'_>) {
        while self.inflight.has_repeats() && self.inflight.has_quota() && self.has_room(desk.out) {
            self.repeat(turn, desk);
        }
        while self.may_send_next() && self.has_room(desk.out) {
            if let Some(waiting) = self.feed.pop() {
                self.send(waiting, None, turn, desk);
            }
        }
        self.read_on(desk);
    }

    /// Whether something waits that the window lets through.
    fn may_send_next(&self) -> bool {
        let lets_through = |qos| qos == QoS::AtMostOnce || !self.inflight.has_repeats() && self.inflight.has_quota();
        self.feed.front().is_some_and(|front| lets_through(front.qos))
    }

    /// Whether something waits for nothing but room in the out buffer: then [`Session::handle_drained`] is to be called
    /// once there is some.
    pub fn waits_for_room(&self) -> bool {
        self.inflight.has_repeats() && self.inflight.has_quota() || self.may_send_next()
    }

    fn has_room(&self, out: &Out) -> bool {
        out.len() <= self.limits.out_bytes_max
    }

    /// Asks for the next part of the queue, if it is time.
    pub(super) fn read_on(&mut self, desk: &mut Desk<'_>) {
        if let Some((after, max)) = self.feed.begin_reading() {
            desk.effects.push(Effect::ReadQueue { after, max });
        }
    }

    /// Sends a message for the first time, or drops it for a reason.
    fn send(&mut self, waiting: Waiting, templates: Option<&mut Templates>, turn: Turn<'_>, desk: &mut Desk<'_>) {
        let Some(expiry_s) = waiting.message.life_left_s(turn.now) else {
            return self.drop_waiting(&waiting, DropReason::Expired, desk);
        };
        let content = content(&waiting.message);
        if !turn.may.may_receive(content.topic) {
            return self.drop_waiting(&waiting, DropReason::NotAuthorized, desk);
        }
        let mut shape = Shape {
            version: self.peer.version,
            qos: waiting.qos,
            retain: waiting.retain,
            dup: false,
            packet_id: None,
            expiry_s,
            alias: self.aliases_out.as_ref().and_then(|aliases| aliases.look_up(content.topic)),
            subscription_ids: &waiting.subscription_ids,
        };
        if waiting.qos > QoS::AtMostOnce {
            shape.packet_id = Some(self.inflight.fresh_id());
        }
        if !fits(&content, &mut shape, &self.peer) {
            // As if it had been sent and acknowledged [MQTT-3.1.2-25].
            return self.drop_waiting(&waiting, DropReason::TooLarge, desk);
        }
        let saving = waiting.qos == QoS::ExactlyOnce && waiting.ticket != Ticket::NONE;
        if !saving {
            self.transmit(&content, &shape, templates, desk);
        }
        if let Some(packet_id) = shape.packet_id {
            let progress = if saving { Progress::Saving } else { Progress::Published };
            let Waiting { message, ticket, qos, retain, subscription_ids } = waiting;
            let message = Some(message);
            self.inflight.begin(Exchange { packet_id, qos, retain, progress, ticket, message, subscription_ids });
            if saving {
                let change = Change::Sent { ticket, packet_id, qos };
                desk.effects.push(Effect::Save { change, then: Some(Owed::Transmit(packet_id)) });
            }
        }
    }

    fn transmit(
        &mut self,
        content: &Content<'_>,
        shape: &Shape<'_>,
        templates: Option<&mut Templates>,
        desk: &mut Desk<'_>,
    ) {
        match templates {
            Some(templates) => templates.put(content, shape, desk.out),
            None => put_once(content, shape, desk.out),
        }
        desk.sent.publish(shape.qos);
        if let (Some(Alias::Teach(_)), Some(aliases)) = (shape.alias, &mut self.aliases_out) {
            aliases.taught(content.topic);
        }
    }

    /// The identifier of a QoS 2 message is saved: its first PUBLISH, unless it has expired meanwhile [MQTT-3.3.2-5].
    pub(super) fn transmit_saved(&mut self, id: PacketId, turn: Turn<'_>, desk: &mut Desk<'_>) {
        let saving = |exchange: &&mut Exchange| exchange.progress == Progress::Saving;
        let Some(exchange) = self.inflight.exchange(id).filter(saving) else { return };
        if exchange.message.as_ref().is_some_and(|message| message.life_left_s(turn.now).is_none()) {
            desk.effects.push(Effect::Dropped(DropReason::Expired));
            self.finish(id, desk);
        } else {
            self.transmit_exchange(id, false, turn.now, desk);
        }
        if self.inflight.exchange(id).is_none() {
            // It was dropped: what waits behind it has its place.
            self.pump(turn, desk);
        }
    }

    /// Sends an unfinished exchange's PUBLISH again [MQTT-4.4.0-1] [MQTT3-4.4.0-1], unless the client may no longer have it.
    fn repeat(&mut self, turn: Turn<'_>, desk: &mut Desk<'_>) {
        let Some(exchange) = self.inflight.next_repeat() else { return };
        let id = exchange.packet_id;
        let allowed = exchange.message.as_ref().is_some_and(|message| turn.may.may_receive(message.topic()));
        if allowed {
            // A repeat has DUP 1 [MQTT-3.3.1-1].
            self.transmit_exchange(id, true, turn.now, desk);
        } else {
            self.drop_repeat(id, DropReason::NotAuthorized, desk);
        }
    }

    /// Drops a message whose PUBLISH may have reached the client on an earlier connection. At QoS 2 its identifier stays taken.
    fn drop_repeat(&mut self, id: PacketId, reason: DropReason, desk: &mut Desk<'_>) {
        desk.effects.push(Effect::Dropped(reason));
        if self.inflight.exchange(id).is_none_or(|exchange| exchange.qos < QoS::ExactlyOnce) {
            return self.finish(id, desk);
        }
        if let Some(ticket) = self.inflight.set_aside(id) {
            desk.effects.push(Effect::Save { change: Change::SetAside { ticket }, then: None });
            self.free_surplus(desk);
        }
    }

    /// Frees the identifiers that were set aside first, if there are too many.
    pub(super) fn free_surplus(&mut self, desk: &mut Desk<'_>) {
        while let Some(ticket) = self.inflight.free_surplus() {
            self.save_done(ticket, desk);
        }
    }

    fn transmit_exchange(&mut self, id: PacketId, dup: bool, now: Now, desk: &mut Desk<'_>) {
        let Some(exchange) = self.inflight.exchange(id) else { return };
        let Some(message) = exchange.message.clone() else { return };
        exchange.progress = Progress::Published;
        let content = content(&message);
        let subscription_ids = exchange.subscription_ids.clone();
        let mut shape = Shape {
            version: self.peer.version,
            qos: exchange.qos,
            retain: exchange.retain,
            dup,
            packet_id: Some(id),
            // Its delivery had begun before it expired: 0 seconds are left of it.
            expiry_s: message.life_left_s(now).unwrap_or(Some(0)),
            alias: self.aliases_out.as_ref().and_then(|aliases| aliases.look_up(content.topic)),
            subscription_ids: &subscription_ids,
        };
        if fits(&content, &mut shape, &self.peer) {
            self.transmit(&content, &shape, None, desk);
        } else if dup {
            self.drop_repeat(id, DropReason::TooLarge, desk);
        } else {
            desk.effects.push(Effect::Dropped(DropReason::TooLarge));
            self.finish(id, desk);
        }
    }

    fn drop_waiting(&mut self, waiting: &Waiting, reason: DropReason, desk: &mut Desk<'_>) {
        desk.effects.push(Effect::Dropped(reason));
        self.save_done(waiting.ticket, desk);
    }

    fn save_done(&self, ticket: Ticket, desk: &mut Desk<'_>) {
        if ticket != Ticket::NONE {
            desk.effects.push(Effect::Save { change: Change::Done { ticket }, then: None });
        }
    }

    /// Ends an exchange: its place in the window and its identifier are free again.
    pub(super) fn finish(&mut self, id: PacketId, desk: &mut Desk<'_>) {
        if let Some(exchange) = self.inflight.find(id).and_then(|at| self.inflight.finish(at)) {
            self.feed.finished(exchange.ticket);
            self.save_done(exchange.ticket, desk);
        }
    }

    /// PUBRELs that were owed when the last connection ended go out again [MQTT-4.4.0-1]; PUBLISHs follow with the first page.
    pub(super) fn repeat_pubrels(&self, desk: &mut Desk<'_>) {
        let released = self.inflight.iter().filter(|exchange| exchange.progress == Progress::Released);
        for exchange in released {
            self.put(&pubrel(exchange.packet_id, ReasonCode::Success), desk);
        }
    }

    pub(super) fn put(&self, packet: &Outgoing, desk: &mut Desk<'_>) {
        let before = desk.out.len();
        outgoing::put(packet, &self.peer, desk.out);
        if desk.out.len() > before {
            desk.sent.other(packet.packet_type());
        }
    }
}

/// What every step of sending needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    /// What the client may receive: asked for each delivery, so that a right taken away stops what waits, too.
    pub(super) may: &'a Permissions,
    pub(super) now: Now,
}

impl From<Delivery<'_>> for Waiting {
    fn from(delivery: Delivery<'_>) -> Self {
        Self {
            message: Arc::clone(delivery.message),
            ticket: delivery.ticket,
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_ids: delivery.subscription_ids.into(),
        }
    }
}

fn content(message: &Message) -> Content<'_> {
    let (properties, payload) = (message.properties(), message.payload());
    Content { topic: message.topic(), properties, payload, body: Some(message.body()) }
}

/// Whether the packet is within the client's Maximum Packet Size [MQTT-3.1.2-24]; leaves out a new alias if that helps.
fn fits(content: &Content<'_>, shape: &mut Shape<'_>, peer: &Peer) -> bool {
    if peer.maximum_packet_size == u32::MAX {
        return true;
    }
    let max = peer.maximum_packet_size as usize;
    if encoded_len(content, shape) <= max {
        return true;
    }
    let taught = matches!(shape.alias, Some(Alias::Teach(_)));
    if taught {
        shape.alias = None;
    }
    taught && encoded_len(content, shape) <= max
}

pub(super) fn pubrel(packet_id: PacketId, reason: ReasonCode) -> Outgoing {
    Outgoing::PubRel { packet_id, reason }
}
