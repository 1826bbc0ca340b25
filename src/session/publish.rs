//! PUBLISH in: alias, limits, permission, and the right to acknowledge; PUBREL.

use super::effect::{Desk, DropReason, Effect, Ending, Owed, Place, Receipt};
use super::{Change, Session, broken};
use crate::access::Permissions;
use crate::clock::Now;
use crate::message::{Message, Parts};
use crate::mqtt::{Ack, Outgoing, PacketId, PublishView, QoS, ReasonCode};

/// How the names begin that belong to the broker: no client publishes there.
pub const RESERVED: &str = "$SYS/";

/// Whether a client with these permissions may publish to `topic`, by a PUBLISH or by its will.
pub fn may_publish(topic: &str, may: &Permissions) -> bool {
    !topic.starts_with(RESERVED) && may.may_publish(topic)
}

impl Session {
    /// A PUBLISH from the client.
    ///
    /// # Errors
    /// How the connection has to end, because the client broke a rule.
    pub fn handle_publish(
        &mut self,
        packet: PublishView<'_>,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        self.keep_alive.heard(now);
        self.check_what_was_announced(&packet)?;
        if let Some(alias) = packet.topic_alias {
            return self.publish_by_alias(packet, alias, may, now, desk);
        }
        self.publish(packet, may, now, desk)
    }

    /// The limits that CONNACK announced.
    fn check_what_was_announced(&self, packet: &PublishView<'_>) -> Result<(), Ending> {
        if packet.qos > self.limits.maximum_qos {
            return broken(ReasonCode::QoSNotSupported, "MQTT-3.2.2-11");
        }
        if packet.retain && !self.limits.retain_available {
            return broken(ReasonCode::RetainNotSupported, "MQTT-3.2.2-14");
        }
        if packet.topic_alias.is_some_and(|alias| alias > self.limits.topic_alias_maximum) {
            return broken(ReasonCode::TopicAliasInvalid, "MQTT-3.3.2-9");
        }
        Ok(())
    }

    fn publish_by_alias(
        &mut self,
        packet: PublishView<'_>,
        alias: u16,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        // The map is taken out while its topic is lent to the packet.
        let mut aliases = self.aliases_in.take().unwrap_or_default();
        if !packet.topic.is_empty() {
            aliases.learn(alias, packet.topic);
        }
        let result = match aliases.topic(alias) {
            Some(topic) => {
                let mut named: PublishView<'_> = packet;
                named.topic = topic;
                self.publish(named, may, now, desk)
            }
            None => broken(ReasonCode::ProtocolError, "3.3.4"),
        };
        self.aliases_in = Some(aliases);
        result
    }

    fn publish(
        &mut self,
        packet: PublishView<'_>,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        let Some(packet_id) = packet.packet_id else {
            match self.judge(&packet, may) {
                Ok(()) => desk.effects.push(self.effect(&packet, None, now)),
                Err(reason) => self.refuse_unanswerable(reason, desk)?,
            }
            return Ok(());
        };
        // A QoS 2 message is known by its identifier, never by DUP [MQTT-4.3.3-10].
        if packet.qos == QoS::ExactlyOnce && self.received.contains(packet_id) {
            if self.received_earlier.contains(packet_id) {
                self.take_place()?;
                self.received_earlier.remove(packet_id);
            }
            let receipt = Receipt { packet_id, qos: QoS::ExactlyOnce, place: Place::Repeated };
            desk.effects.push(Effect::Owe(Owed::Accepted { receipt, reason: ReasonCode::Success }));
            return Ok(());
        }
        self.take_place()?;
        let verdict = self.judge(&packet, may);
        let place = if packet.qos == QoS::ExactlyOnce && verdict.is_ok() {
            self.received.insert(packet_id);
            self.unrecorded = self.unrecorded.saturating_add(1);
            Place::Exchange
        } else {
            self.unanswered = self.unanswered.saturating_add(1);
            Place::Single
        };
        let receipt = Receipt { packet_id, qos: packet.qos, place };
        match verdict {
            Ok(()) => desk.effects.push(self.effect(&packet, Some(receipt), now)),
            Err(reason) => self.refuse(receipt, reason, desk)?,
        }
        Ok(())
    }

    /// One more unfinished PUBLISH of the client, within what CONNACK allowed it. The quota begins anew with each
    /// connection: an exchange of an earlier one counts once its PUBLISH is repeated [MQTT-4.9.0-1]. 3.1.1 knows no such
    /// bound: there, the connection is read only as fast as answers leave.
    fn take_place(&self) -> Result<(), Ending> {
        let here = self.received.len().saturating_sub(self.received_earlier.len());
        // An exchange counts until PUBREL, and until its PUBREC even if the client did not wait for that.
        let unfinished = here.max(self.unrecorded as usize).saturating_add(self.unanswered as usize);
        if self.peer.version.is_v5() && unfinished >= usize::from(self.limits.receive_maximum) {
            return broken(ReasonCode::ReceiveMaximumExceeded, "MQTT-3.3.4-7");
        }
        Ok(())
    }

    /// Whether this topic may be published to, by its form and by its publisher.
    fn judge(&self, packet: &PublishView<'_>, may: &Permissions) -> Result<(), ReasonCode> {
        let limits = &self.limits;
        if packet.topic.len() > limits.topic_bytes_max || levels(packet.topic) > limits.topic_levels_max {
            return Err(ReasonCode::TopicNameInvalid);
        }
        if !may_publish(packet.topic, may) {
            return Err(ReasonCode::NotAuthorized);
        }
        Ok(())
    }

    fn effect(&self, packet: &PublishView<'_>, receipt: Option<Receipt>, now: Now) -> Effect {
        let mut spare = Vec::new();
        let parts = Parts {
            topic: packet.topic,
            properties: packet.forwardable(&mut spare),
            payload: packet.payload,
            qos: packet.qos,
            retain: packet.retain,
            expiry_s: packet.expiry_s,
            origin: self.origin,
        };
        Effect::Publish { message: Message::new(parts, now), receipt }
    }

    /// A refusal that has no packet to be told in: a topic that is too long ends the connection, a missing right only the message.
    fn refuse_unanswerable(&self, reason: ReasonCode, desk: &mut Desk<'_>) -> Result<(), Ending> {
        if reason == ReasonCode::TopicNameInvalid {
            return broken(reason, "topic too long");
        }
        desk.effects.push(Effect::Dropped(DropReason::PublishNotAuthorized));
        Ok(())
    }

    /// Refuses a PUBLISH above QoS 0: by its acknowledgement in 5.0; 3.1.1 can only acknowledge [MQTT3-3.3.5-2].
    fn refuse(&self, receipt: Receipt, reason: ReasonCode, desk: &mut Desk<'_>) -> Result<(), Ending> {
        if !self.peer.version.is_v5() {
            self.refuse_unanswerable(reason, desk)?;
        } else if reason == ReasonCode::NotAuthorized {
            desk.effects.push(Effect::Dropped(DropReason::PublishNotAuthorized));
        }
        desk.effects.push(Effect::Owe(Owed::Accepted { receipt, reason }));
        Ok(())
    }

    /// A PUBLISH's turn to be answered has come: PUBACK or PUBREC [MQTT-3.3.4-1]. The only place where one is made.
    pub(super) fn acknowledge(&mut self, receipt: Receipt, reason: ReasonCode, desk: &mut Desk<'_>) {
        let Receipt { packet_id, qos, place } = receipt;
        match place {
            Place::Single => self.unanswered = self.unanswered.saturating_sub(1),
            Place::Exchange => {
                self.unrecorded = self.unrecorded.saturating_sub(1);
                // The exchange ends with a failing PUBREC; the identifier is free again.
                if reason.is_failure() && self.release(packet_id) && self.durable {
                    desk.effects.push(Effect::Save { change: Change::Released(packet_id), then: None });
                }
            }
            Place::Repeated => {}
        }
        let reason_string = reason_string(reason);
        let packet = match qos {
            QoS::ExactlyOnce => Outgoing::PubRec { packet_id, reason, reason_string },
            _ => Outgoing::PubAck { packet_id, reason, reason_string },
        };
        self.put(&packet, desk);
    }

    /// Frees the identifier of an incoming QoS 2 exchange; `false` if there is none.
    fn release(&mut self, packet_id: PacketId) -> bool {
        self.received_earlier.remove(packet_id);
        self.received.remove(packet_id)
    }

    /// PUBREL: the identifier is free again, and PUBCOMP says so once that is saved [MQTT-4.3.3-11].
    pub(super) fn handle_pubrel(&mut self, ack: Ack, desk: &mut Desk<'_>) {
        let packet_id = ack.packet_id;
        if !self.release(packet_id) {
            return desk.effects.push(Effect::Owe(Owed::NothingToRelease(packet_id)));
        }
        let owed = Owed::Completed(packet_id);
        desk.effects.push(if self.durable {
            Effect::Save { change: Change::Released(packet_id), then: Some(owed) }
        } else {
            Effect::Owe(owed)
        });
    }
}

fn levels(topic: &str) -> usize {
    topic.bytes().filter(|byte| *byte == b'/').count().saturating_add(1)
}

fn reason_string(reason: ReasonCode) -> Option<&'static str> {
    match reason {
        ReasonCode::NotAuthorized => Some("not allowed to publish to this topic"),
        ReasonCode::TopicNameInvalid => Some("the Topic Name is too long or has too many levels"),
        ReasonCode::QuotaExceeded => Some("no room to keep this message now"),
        _ => None,
    }
}
