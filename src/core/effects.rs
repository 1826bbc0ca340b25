//! Performs what sessions ask for: publishing, saving, subscribing, reading queues, and keeping what is owed in order.

use std::sync::Arc;

use super::client::{Client, Held, Pending, Stage};
use super::counting::counted_as;
use super::{Core, Mail};
use crate::broker::index::Interest;
use crate::broker::retain::Budget;
use crate::broker::seat::{Address, Seat};
use crate::identity::Ticket;
use crate::message::Message;
use crate::metrics::Dropped;
use crate::mqtt::{Auth, PacketId, QoS, ReasonCode, RetainHandling};
use crate::session::{Change, Effect, Owed, Reauthentication, SavedSubscription, Taken, Wanted};
use crate::store::{Level, Publisher, Recipient, Record};
use crate::threshold::Challenge;
use crate::topic::filter::TopicFilter;

/// Levels of retained topics that one SUBSCRIBE may look at: twice as many as there are topics by default.
const RETAINED_NODES_MAX: usize = 1 << 21;

impl Core {
    /// Performs `effects` in order and leaves the list empty.
    pub(super) fn perform(&mut self, slot: u32, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Publish { message, receipt } => self.publish_from(slot, message, receipt),
                Effect::Owe(owed) => self.owe(slot, Pending::new(Ticket::NONE, Level::Memory, owed)),
                Effect::Save { change, then } => self.save(slot, change, then),
                Effect::Subscribe { packet_id, wanted } => self.subscribe(slot, packet_id, wanted),
                Effect::Unsubscribe { packet_id, filters } => self.unsubscribe(slot, packet_id, filters),
                Effect::ReadQueue { after, max } => self.read_queue(slot, after, max),
                Effect::Reauthenticate(auth) => self.reauthenticate(slot, auth),
                Effect::Dropped(reason) => self.count_dropped(counted_as(reason), 1),
            }
        }
    }

    fn seat(&self, slot: u32) -> Option<Arc<Seat>> {
        self.clients.get(slot)?.seat.clone()
    }

    fn save(&mut self, slot: u32, change: Change, then: Option<Owed>) {
        let Some(session) = self.clients.get(slot).and_then(|client| Some(client.seat.as_ref()?.session)) else {
            return;
        };
        let level = self.level_of(slot);
        let ticket = self.shared.broker.append(vec![Record::Edit(session, change)], level);
        if let Some(owed) = then {
            self.owe(slot, Pending::new(ticket, level, owed));
        }
    }

    /// What a client's session state is kept at.
    pub(super) fn level_of(&self, slot: u32) -> Level {
        let level = self.clients.get(slot).map_or_else(|| self.shared.broker.store.level(), |client| client.door.level);
        self.held_back(level)
    }

    /// The level itself, but for who waits for nothing while too much waits to be written.
    pub(super) fn held_back(&self, level: Level) -> Level {
        if level == Level::Memory && self.shared.broker.store.is_behind() { Level::Os } else { level }
    }

    /// Whether an append has become as safe as it asked to be, or has failed.
    pub(super) fn is_settled(&self, ticket: Ticket, level: Level) -> bool {
        self.marks.reached(ticket, level) || self.shared.broker.store.marks().reached(ticket, level)
    }

    /// Keeps an answer until its ticket is as safe as it must be and everything owed before it has left; at once if that is so
    /// already.
    pub(super) fn owe(&mut self, slot: u32, pending: Pending) {
        let Some(client) = self.clients.get(slot) else {
            self.orphans.extend(pending.held.map(|held| *held));
            return;
        };
        if client.pending.is_empty()
            && self.orphans_let_go(pending.held.as_deref())
            && self.is_settled(pending.ticket, pending.level)
        {
            return self.settle(slot, pending);
        }
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.pending_bytes += pending.bytes;
        client.pending.push_back(pending);
        self.wait_for_store(slot);
    }

    /// Of all orphans, the highest ticket. Each knows it of those before it.
    pub(super) fn last_orphan(&self) -> Ticket {
        self.orphans.last().map_or(Ticket::NONE, |last| last.ticket.max(last.behind))
    }

    /// A QoS 2 message does not overtake orphans that were there before it, among which may be its client's own will. It does not
    /// wait for later ones: those might never end.
    pub(super) fn orphans_let_go(&self, held: Option<&Held>) -> bool {
        held.is_none_or(|held| self.orphans.first().is_none_or(|first| first.ticket > held.behind))
    }

    /// An answer's turn has come.
    fn settle(&mut self, slot: u32, pending: Pending) {
        if let Some(held) = pending.held {
            self.post.fed = None;
            self.deliver_held(*held);
            self.pause_if_it_feeds_too_much(slot);
        }
        if self.shared.broker.store.any_failed(pending.first, pending.ticket) {
            return self.fail(slot, pending.owed);
        }
        self.with_session(slot, |session, may, now, desk| session.handle_durable(pending.owed, may, now, desk));
    }

    pub(super) fn wait_for_store(&mut self, slot: u32) {
        let Some(address) = self.clients.address(slot) else { return };
        if let Some(client) = self.clients.get_mut(slot)
            && !client.flags.waiting
        {
            client.flags.waiting = true;
            self.waiting.push(address);
        }
    }

    /// Lets go of everything whose ticket has become as safe as it must be.
    pub(super) fn look_at_the_store(&mut self) {
        let marks = self.shared.broker.store.marks();
        if marks == self.marks {
            return;
        }
        let before = std::mem::replace(&mut self.marks, marks);
        let waiting = if marks.differ_in_early_alone(before) {
            self.who_waits_no_more()
        } else {
            self.let_orphans_go();
            self.deliver_leaving();
            std::mem::take(&mut self.waiting)
        };
        for address in waiting {
            let Some(client) = self.clients.at(address) else { continue };
            client.flags.waiting = false;
            self.guarded(address.slot, |core| core.give_what_is_durable(address.slot));
            if self.clients.at(address).is_some_and(|client| client.waits_for_store()) {
                self.wait_for_store(address.slot);
            }
        }
    }

    /// Takes those off the list whose next answer waits for nobody, and half of what they are owed with it: this comes more often
    /// than a commit, a few answers at a time would cost a write each, and the commit brings all of them.
    fn who_waits_no_more(&mut self) -> Vec<Address> {
        let (clients, store) = (&self.clients, &*self.shared.broker.store);
        let is_early = |address: &mut Address| {
            let Some(client) = clients.look_at(*address) else { return true };
            let half = client.pending.len().saturating_sub(1) / 2;
            [0, half].into_iter().all(|at| client.pending.get(at).is_some_and(|pending| pending.is_early(store)))
        };
        self.waiting.extract_if(.., is_early).collect()
    }

    /// Tells everybody who waits for the store if something was settled ahead of its marks.
    pub(super) fn tell_what_is_early(&self) {
        let store = &self.shared.broker.store;
        if !store.has_settled_early() {
            return;
        }
        for (id, inbox) in self.shared.inboxes.iter().enumerate() {
            // Another core's news may be among it.
            if id != usize::from(self.id) || store.marks() != self.marks {
                inbox.post_durable();
            }
        }
    }

    fn give_what_is_durable(&mut self, slot: u32) {
        if self.clients.get(slot).is_some_and(|client| matches!(client.stage, Stage::Entering(_))) {
            self.recorded(slot);
        }
        self.settle_durable(slot);
        self.resume_reading(slot);
    }

    fn settle_durable(&mut self, slot: u32) {
        loop {
            let Some(client) = self.clients.get(slot) else { return };
            let Some(first) = client.pending.front() else { return };
            let is_settled =
                self.marks.reached(first.ticket, first.level) || first.is_early(&*self.shared.broker.store);
            if !is_settled || !self.orphans_let_go(first.held.as_deref()) {
                return;
            }
            let Some(client) = self.clients.get_mut(slot) else { return };
            if let Some(mut pending) = client.pending.pop_front() {
                client.pending_bytes -= pending.bytes;
                if let Owed::Subscribed { taken, .. } = &mut pending.owed {
                    taken.iter_mut().for_each(|taken| self.leave_out_overtaken(taken));
                }
                self.settle(slot, pending);
            }
        }
    }

    /// In their order, whatever their levels are: two of them may be of one publisher.
    fn let_orphans_go(&mut self) {
        let settled = self.orphans.iter().take_while(|held| self.marks.reached(held.ticket, held.level)).count();
        for held in self.orphans.drain(..settled).collect::<Vec<_>>() {
            self.caught("delivering a message whose publisher is gone", |core| core.deliver_orphan(held));
        }
    }

    /// Makes a SUBSCRIBE's subscriptions: record, index, and then the retained messages, so that nothing published in
    /// between is missed.
    fn subscribe(&mut self, slot: u32, packet_id: PacketId, wanted: Vec<Wanted>) {
        let Some(seat) = self.seat(slot) else { return };
        let mut records = Vec::new();
        let room = self.with_session(slot, |session, _, _, _| session.retained_room()).unwrap_or(0);
        let mut search = Budget { messages: room, nodes: RETAINED_NODES_MAX };
        let mut taken = Vec::with_capacity(wanted.len());
        for one in wanted {
            taken.push(self.subscribe_one(&seat, one, &mut search, &mut records));
        }
        let level = self.level_of(slot);
        let first = self.shared.broker.append(records, level);
        let (mut ticket, mut answer) = (first, taken);
        if seat.is_durable() {
            for one in &mut answer {
                ticket = ticket.max(self.enqueue_retained(&seat, level, one));
            }
        }
        if let Some(owed) = self.with_session(slot, |session, _, _, _| session.handle_subscribed(packet_id, answer)) {
            self.owe(slot, Pending::new(ticket, level, owed).since(first));
        }
    }

    fn subscribe_one(
        &mut self,
        seat: &Arc<Seat>,
        wanted: Wanted,
        search: &mut Budget,
        records: &mut Vec<Record>,
    ) -> Taken {
        let refused =
            |code| Taken { code, subscription: None, new: false, retained: Vec::new(), overtaken: Vec::new() };
        let options = match wanted.verdict {
            Ok(options) => options,
            Err(code) => return refused(code),
        };
        let Ok(filter) = TopicFilter::parse(&wanted.filter, usize::MAX) else {
            return refused(ReasonCode::TopicFilterInvalid);
        };
        let broker = Arc::clone(&self.shared.broker);
        let Some(added) = broker.index.subscribe(&filter, seat, Interest::from(options)) else {
            return refused(ReasonCode::QuotaExceeded);
        };
        if seat.is_durable() {
            let saved = SavedSubscription { filter: Arc::clone(&added.filter), options };
            records.push(Record::Subscribe(seat.session, saved));
        }
        // No retained messages for Shared Subscriptions; else Retain Handling decides [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11].
        let retained = match wanted.retain_handling {
            _ if filter.share.is_some() => Vec::new(),
            RetainHandling::Always => self.collect_retained(filter.filter, search),
            RetainHandling::IfNew if added.new => self.collect_retained(filter.filter, search),
            RetainHandling::IfNew | RetainHandling::Never => Vec::new(),
        };
        let code = match options.qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        };
        Taken { code, subscription: Some((added.filter, options)), new: added.new, retained, overtaken: Vec::new() }
    }

    /// A SUBACK has waited for the store, and nothing that was published meanwhile waited with it: a retained message whose place
    /// was taken is older than what the client has.
    fn leave_out_overtaken(&self, taken: &mut Taken) {
        let retained = &self.shared.broker.retained;
        let overtaken = taken.retained.extract_if(.., |(message, _)| !retained.is_current(message));
        taken.overtaken.extend(overtaken.map(|(_, ticket)| ticket));
    }

    /// What is beyond the search's budget counts as one message: to count all would cost what the budget saves.
    fn collect_retained(&mut self, filter: &str, search: &mut Budget) -> Vec<(Arc<Message>, Ticket)> {
        let mut found = Vec::new();
        let complete = self.shared.broker.retained.for_each_match(filter, self.now, search, |message| {
            found.push((Arc::clone(message), Ticket::NONE));
        });
        if !complete {
            self.count_dropped(Dropped::QueueFull, 1);
            tracing::debug!(filter, "not all retained messages of a subscription could be collected");
        }
        found
    }

    /// A durable session owns its retained messages above QoS 0 like any others: they go into its queue.
    fn enqueue_retained(&mut self, seat: &Seat, level: Level, taken: &mut Taken) -> Ticket {
        let Some((_, options)) = &taken.subscription else { return Ticket::NONE };
        let mut last = Ticket::NONE;
        for (message, ticket) in &mut taken.retained {
            let qos = message.qos.min(options.qos);
            if qos == QoS::AtMostOnce {
                continue;
            }
            let recipient = Recipient {
                session: seat.session,
                qos,
                retain: true,
                subscription_ids: options.subscription_id.into_iter().collect(),
            };
            let (recipients, publisher) = (vec![recipient], Publisher::CannotBeTold);
            let record = Record::Enqueue { message: Arc::clone(message), recipients, publisher };
            *ticket = self.shared.broker.append(vec![record], level);
            last = *ticket;
        }
        last
    }

    fn unsubscribe(&mut self, slot: u32, packet_id: PacketId, filters: Vec<Box<str>>) {
        let Some(seat) = self.seat(slot) else { return };
        let mut records = Vec::new();
        let mut codes = Vec::with_capacity(filters.len());
        for text in &filters {
            let there = TopicFilter::parse(text, usize::MAX)
                .is_ok_and(|filter| self.shared.broker.index.unsubscribe(&filter, &seat));
            // Whether or not it is there: the store may have refused to forget it before.
            if seat.is_durable() {
                records.push(Record::Unsubscribe(seat.session, Arc::from(&**text)));
            }
            codes.push(if there { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        let level = self.level_of(slot);
        let ticket = self.shared.broker.append(records, level);
        let owed = self.with_session(slot, |session, _, _, _| session.handle_unsubscribed(packet_id, filters, codes));
        if let Some(owed) = owed {
            self.owe(slot, Pending::new(ticket, level, owed));
        }
    }

    fn read_queue(&mut self, slot: u32, after: Ticket, max: usize) {
        let (Some(seat), Some(at)) = (self.seat(slot), self.clients.address(slot)) else { return };
        let inbox = self.inbox();
        let answer = Box::new(move |page| inbox.post(Mail::Page { at, page }));
        self.shared.broker.store.read_queue(seat.session, after, max, self.now, answer);
    }

    fn reauthenticate(&mut self, slot: u32, auth: Auth) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let mut exchange = client.exchange.take();
        let name = client.seat.as_ref().map(|seat| seat.client.clone());
        let name = name.as_ref().map_or("", |name| name.as_str());
        let answer = match &self.shared.auth {
            Some(service) => {
                service.exchange(&mut exchange, auth.method.as_deref().unwrap_or_default(), auth.data.as_deref(), name)
            }
            None => Challenge::Denied(ReasonCode::BadAuthenticationMethod),
        };
        let answer = match answer {
            Challenge::Continue(data) => Reauthentication::Continue(data),
            // The session stays its owner's: proving to be somebody else does not do.
            Challenge::Done(identity, _, _) if identity.user != client.user => {
                Reauthentication::Denied(ReasonCode::NotAuthorized)
            }
            Challenge::Done(_, may, data) => {
                client.may = may;
                Reauthentication::Done(data)
            }
            Challenge::Denied(reason) => Reauthentication::Denied(reason),
        };
        client.exchange = exchange;
        self.decide(slot, |session, _, _, desk| session.handle_reauthentication(answer, desk));
    }
}

impl Client {
    fn waits_for_store(&self) -> bool {
        !self.pending.is_empty()
            || matches!(&self.stage, Stage::Entering(e) if matches!(e.waits_for, super::client::WaitsFor::Record(..)))
    }
}
