//! Messages out: from a publication to its plan, its place in the store, and every session that gets it.

use std::sync::Arc;

use super::client::{Held, Pending, Stage};
use super::{Core, Mail};
use crate::broker::plan::{Plan, Stored, Target};
use crate::broker::seat::Address;
use crate::identity::Ticket;
use crate::message::Message;
use crate::metrics::{Dropped, Metric};
use crate::mqtt::{QoS, ReasonCode};
use crate::session::{Delivery, Owed, RESERVED, Receipt};
use crate::store::{Level, Publisher, Record};

/// What the same publisher sent earlier and is not delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Earlier {
    Nothing,
    Waits,
}

impl Earlier {
    fn waits(waits: bool) -> Self {
        if waits { Self::Waits } else { Self::Nothing }
    }
}

/// How a message is published.
#[derive(Debug, Clone, Copy)]
struct How {
    /// How safe it must be before it counts as kept.
    level: Level,
    publisher: Publisher,
    earlier: Earlier,
}

impl Core {
    /// A client's publication: routed, kept, delivered; and its answer is owed.
    pub(super) fn publish_from(&mut self, slot: u32, message: Message, receipt: Option<Receipt>) {
        let mut records = Vec::new();
        let of_topic = self.shared.broker.levels.topics.of(message.topic());
        let mut level = of_topic.map_or_else(|| self.level_of(slot), |level| self.held_back(level));
        if let (Some(receipt), Some(client)) = (&receipt, self.clients.get(slot))
            && receipt.qos() == QoS::ExactlyOnce
            && let Some(seat) = client.seat.as_ref().filter(|seat| seat.is_durable())
        {
            // The identifier and the fan-out are kept together or not at all, as safe as the more careful of the two asks.
            level = level.max(client.door.level);
            records.push(Record::Received { session: seat.session, packet_id: receipt.packet_id() });
        }
        let bytes = message.bytes();
        self.post.fed = None;
        let waits = self.clients.get(slot).is_some_and(|client| !client.pending.is_empty()) || !self.orphans.is_empty();
        let publisher = self.publisher(slot, receipt.as_ref(), level);
        let how = How { level, publisher, earlier: Earlier::waits(waits) };
        let ((first, ticket), reason, held) = self.publish(message, records, how);
        match receipt {
            Some(receipt) => {
                self.owe(slot, Pending { first, ticket, level, owed: Owed::Accepted { receipt, reason }, bytes, held });
            }
            // A retained message. It waits for the store like any other, so it counts like any other in what is waited for.
            None if !self.is_settled(ticket, level) => {
                self.owe(slot, Pending { first, ticket, level, owed: Owed::Nothing, bytes, held });
            }
            None => {}
        }
        self.pause_if_it_feeds_too_much(slot);
    }

    /// Whether a refusal of its message reaches the client [MQTT3-3.3.5-2]. One who waits for nothing has its answer before a disk
    /// could refuse.
    fn publisher(&self, slot: u32, receipt: Option<&Receipt>, level: Level) -> Publisher {
        if level == Level::Memory && self.shared.broker.store.level() > Level::Memory {
            return Publisher::CannotBeTold;
        }
        match self.clients.get(slot).map(|client| &client.stage) {
            Some(Stage::Open(session)) if receipt.is_some() && session.peer().version.is_v5() => Publisher::CanBeTold,
            Some(Stage::Open(_)) if receipt.is_some() => Publisher::SendsAgain { heard: self.marks.failures },
            _ => Publisher::CannotBeTold,
        }
    }

    /// Publishes a message nobody waits for an answer to: a will, the broker's own.
    pub(super) fn publish_alone(&mut self, message: Message, records: Vec<Record>) {
        let broker = &self.shared.broker;
        let level = broker.levels.topics.of(message.topic()).unwrap_or_else(|| broker.store.level());
        let earlier = Earlier::waits(!self.orphans.is_empty());
        let (_, _, held) = self.publish(message, records, How { level, publisher: Publisher::CannotBeTold, earlier });
        self.orphans.extend(held.map(|held| *held));
    }

    /// Routes `message`, appends it with records, and delivers it: QoS 0 and 1 at once, QoS 2 once it is as safe as
    /// that and what its publisher sent before it was delivered [MQTT-4.6.0-6] [MQTT3-4.6.0-6]. Says the first and the last ticket
    /// of its appends: one for the message, and one for each further copy of a session that gets it more than once.
    fn publish(
        &mut self,
        message: Message,
        mut records: Vec<Record>,
        how: How,
    ) -> ((Ticket, Ticket), ReasonCode, Option<Box<Held>>) {
        let message = Arc::new(message);
        let mut reason = ReasonCode::Success;
        if message.retain && !self.retain(&message, &mut records) {
            reason = ReasonCode::QuotaExceeded;
        }
        let mut plan = self.plan.take().unwrap_or_else(|| Box::new(Plan::new(self.shared.inboxes.len())));
        self.shared.broker.route(&message, &mut self.routing, &mut plan);
        if plan.matched == 0 {
            self.counters.add(Metric::MessagesUnmatched, 1);
            if reason == ReasonCode::Success {
                reason = ReasonCode::NoMatchingSubscribers;
            }
        }
        if plan.absent > 0 {
            self.count_dropped(Dropped::Absent, plan.absent);
        }
        if !plan.recipients.is_empty() {
            let recipients = std::mem::take(&mut plan.recipients);
            // Several copies are several appends, and one answer cannot speak for all.
            let publisher = match how.publisher {
                Publisher::CanBeTold if !plan.extra.is_empty() => Publisher::CannotBeTold,
                publisher => publisher,
            };
            records.push(Record::Enqueue { message: Arc::clone(&message), recipients, publisher });
        }
        let ticket = self.shared.broker.append(records, how.level);
        let mut held = None;
        if message.qos == QoS::ExactlyOnce && (how.earlier == Earlier::Waits || !self.is_settled(ticket, how.level)) {
            let by_core = plan.by_core.iter_mut().map(std::mem::take).collect();
            held = Some(Box::new(Held {
                message: Arc::clone(&message),
                ticket,
                level: how.level,
                behind: self.last_orphan(),
                by_core,
                stored: std::mem::take(&mut plan.stored),
            }));
        } else if message.qos < QoS::ExactlyOnce || !self.shared.broker.store.failed(ticket) {
            Plan::seat_stored(&mut plan.stored, &mut plan.by_core);
            self.deliver_plan(&message, ticket, &mut plan.by_core);
        }
        let mut last = ticket;
        for copy in plan.extra.drain(..) {
            last = last.max(self.publish_extra(&message, copy, how));
        }
        self.plan = Some(plan);
        ((ticket, last), reason, held)
    }

    /// A further copy for a session that gets the message already.
    fn publish_extra(&mut self, message: &Arc<Message>, copy: Stored, how: How) -> Ticket {
        let (recipients, publisher) = (vec![copy.recipient()], Publisher::CannotBeTold);
        let record = Record::Enqueue { message: Arc::clone(message), recipients, publisher };
        let ticket = self.shared.broker.append(vec![record], how.level);
        let by_core = vec![Vec::new(); self.shared.inboxes.len()];
        let (level, behind) = (how.level, self.last_orphan());
        let held = Held { message: Arc::clone(message), ticket, level, behind, by_core, stored: vec![copy] };
        let waits = how.earlier == Earlier::Waits || !self.orphans.is_empty();
        if message.qos == QoS::ExactlyOnce && (waits || !self.is_settled(ticket, level)) {
            self.orphans.push(held);
        } else {
            self.deliver_held(held);
        }
        ticket
    }

    /// Keeps or clears the retained message of a topic [MQTT-3.3.1-5] [MQTT-3.3.1-6]. `false` if there is no room for another.
    fn retain(&mut self, message: &Arc<Message>, records: &mut Vec<Record>) -> bool {
        let retained = &self.shared.broker.retained;
        if message.topic().starts_with(RESERVED) {
            retained.set_own(Arc::clone(message));
            return true;
        }
        if message.payload().is_empty() {
            // Whether or not one is there: the store may have refused to forget it before.
            retained.clear(message.topic());
            records.push(Record::Unretain(message.topic().into()));
            return true;
        }
        let kept = retained.set(Arc::clone(message), self.now).is_ok();
        if kept {
            records.push(Record::Retain(Arc::clone(message)));
        } else {
            self.count_dropped(Dropped::RetainedFull, 1);
        }
        kept
    }

    pub(super) fn deliver_held(&mut self, mut held: Held) {
        if self.shared.broker.store.failed(held.ticket) {
            return; // its publisher is not acknowledged and sends it again
        }
        Plan::seat_stored(&mut held.stored, &mut held.by_core);
        self.deliver_plan(&held.message, held.ticket, &mut held.by_core);
    }

    /// A message that nobody will send again: what the store refused is lost to those in whose queues it was to lie, and to nobody else.
    pub(super) fn deliver_orphan(&mut self, mut held: Held) {
        if self.shared.broker.store.failed(held.ticket) {
            self.count_dropped(Dropped::Unwritten, held.stored.len());
            return self.deliver_plan(&held.message, Ticket::NONE, &mut held.by_core);
        }
        self.deliver_held(held);
    }

    /// Delivers to this core's clients, and puts the rest into letters for their cores.
    fn deliver_plan(&mut self, message: &Arc<Message>, ticket: Ticket, by_core: &mut [Vec<Target>]) {
        for (core, targets) in by_core.iter_mut().enumerate() {
            if targets.is_empty() {
                continue;
            }
            if core == usize::from(self.id) {
                self.deliver(message, ticket, targets);
                targets.clear();
            } else {
                let letter = Mail::Deliver { message: Arc::clone(message), ticket, targets: std::mem::take(targets) };
                self.stage_delivery(core as u8, letter);
            }
        }
    }

    /// Delivers to clients of this core.
    pub(super) fn deliver(&mut self, message: &Arc<Message>, ticket: Ticket, targets: &[Target]) {
        let mut templates = std::mem::take(&mut self.templates);
        templates.clear();
        for target in targets {
            let address = Address { core: self.id, slot: target.slot, generation: target.generation };
            let open = self.clients.at(address).is_some_and(|client| matches!(client.stage, Stage::Open(_)));
            if !open {
                // What is stored waits in the queue; the rest had a connection when it was routed and has none now.
                if !target.stored {
                    self.count_dropped(Dropped::Left, 1);
                }
                continue;
            }
            let delivery = Delivery {
                message,
                ticket: if target.stored { ticket } else { Ticket::NONE },
                qos: target.qos,
                retain: target.retain,
                subscription_ids: &target.subscription_ids,
            };
            self.with_session(target.slot, |session, may, now, desk| {
                session.handle_delivery(delivery, &mut templates, may, now, desk);
            });
        }
        self.templates = templates;
    }
}
