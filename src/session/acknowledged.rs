//! The client's answers to PUBLISH: PUBACK, PUBREC and PUBCOMP, each of which takes its exchange one step further.

use super::Session;
use super::deliver::{Turn, pubrel};
use super::effect::{Desk, Effect, Owed};
use super::inflight::{Exchange, Progress};
use super::saved::Change;
use crate::identity::Ticket;
use crate::mqtt::{Ack, PacketId, QoS, ReasonCode};

impl Session {
    /// PUBACK ends a QoS 1 exchange, whatever it says [MQTT-4.4.0-2]. One that answers nothing changes nothing.
    pub(super) fn handle_puback(&mut self, ack: Ack, turn: Turn<'_>, desk: &mut Desk<'_>) {
        let answers =
            |exchange: &mut Exchange| exchange.qos == QoS::AtLeastOnce && exchange.progress == Progress::Published;
        if self.inflight.exchange(ack.packet_id).is_some_and(answers) {
            self.finish(ack.packet_id, desk);
            self.pump(turn, desk);
        }
    }

    /// PUBREC: from now on only PUBREL [MQTT-4.3.3-3] [MQTT-4.3.3-6]; with a failure the exchange is over [MQTT-4.3.3-4].
    pub(super) fn handle_pubrec(&mut self, ack: Ack, turn: Turn<'_>, desk: &mut Desk<'_>) {
        let id = ack.packet_id;
        // The client does hold a message that was dropped: it is released like any other.
        self.inflight.recall(id);
        let found = self.inflight.exchange(id).filter(|exchange| exchange.qos == QoS::ExactlyOnce);
        match found.map(|exchange| exchange.progress) {
            // In `Repeat` it answers the PUBLISH of an earlier connection. To say that there is no such exchange would make the
            // client forget the identifier, and take the PUBLISH that is still to be repeated for a new message.
            Some(Progress::Published | Progress::Repeat) if ack.reason.is_failure() => {
                self.finish(id, desk);
                self.pump(turn, desk);
            }
            Some(Progress::Published | Progress::Repeat) => self.begin_release(id, desk),
            Some(Progress::Released) => self.put(&pubrel(id, ReasonCode::Success), desk),
            Some(Progress::Releasing | Progress::Finished) => {}
            Some(Progress::Saving) | None if ack.reason.is_failure() => {}
            Some(Progress::Saving) | None => {
                self.put(&pubrel(id, ReasonCode::PacketIdentifierNotFound), desk);
            }
        }
    }

    fn begin_release(&mut self, id: PacketId, desk: &mut Desk<'_>) {
        let Some(exchange) = self.inflight.find(id).and_then(|at| self.inflight.received(at)) else { return };
        if exchange.ticket == Ticket::NONE {
            exchange.progress = Progress::Released;
            return self.put(&pubrel(id, ReasonCode::Success), desk);
        }
        exchange.progress = Progress::Releasing;
        let change = Change::Received { ticket: exchange.ticket };
        desk.effects.push(Effect::Save { change, then: Some(Owed::Release(id)) });
    }

    /// The PUBREC is saved: PUBREL.
    pub(super) fn release_saved(&mut self, id: PacketId, desk: &mut Desk<'_>) {
        if let Some(exchange) = self.inflight.exchange(id)
            && exchange.progress == Progress::Releasing
        {
            exchange.progress = Progress::Released;
            self.put(&pubrel(id, ReasonCode::Success), desk);
        }
    }

    /// PUBCOMP ends a QoS 2 exchange.
    pub(super) fn handle_pubcomp(&mut self, ack: Ack, turn: Turn<'_>, desk: &mut Desk<'_>) {
        let id = ack.packet_id;
        match self.inflight.exchange(id) {
            Some(exchange) if exchange.progress != Progress::Released => return,
            Some(exchange) if exchange.ticket == Ticket::NONE => self.finish(id, desk),
            Some(_) => self.begin_finish(id, desk),
            None => return,
        }
        self.pump(turn, desk);
    }

    fn begin_finish(&mut self, id: PacketId, desk: &mut Desk<'_>) {
        let Some(exchange) = self.inflight.find(id).and_then(|at| self.inflight.completed(at)) else { return };
        let ticket = exchange.ticket;
        self.feed.finished(ticket);
        desk.effects.push(Effect::Save { change: Change::Done { ticket }, then: Some(Owed::Finish(id)) });
    }

    /// The end of a QoS 2 exchange is saved: its identifier may be used again.
    pub(super) fn finish_saved(&mut self, id: PacketId) {
        if let Some(at) = self.inflight.find(id) {
            self.inflight.finish(at);
        }
    }
}
