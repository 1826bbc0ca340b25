//! How connections end: the last packet, the will, the seat, and what is kept.

use std::sync::Arc;

use super::client::{Client, Stage};
use super::leaving::Parting;
use super::{Core, Mail};
use crate::broker::later::{Due, Owned};
use crate::broker::seat::{Address, Seat};
use crate::clock::Moment;
use crate::identity::{Identity, Origin, Ticket};
use crate::message::{Message, Parts};
use crate::metrics::{Closed, Dropped, Metric};
use crate::mqtt::{Outgoing, ReasonCode, Will, outgoing};
use crate::session::{Change, Ending, Farewell, Owed, may_publish};
use crate::store::record::LaterWill;
use crate::store::{Level, Record};

/// How long a closing connection is read and its bytes thrown away, so that the last packet is not wiped out by a reset.
const LINGER_MS: u64 = 2_000;
/// What the store refused is tried again this often.
const REPAIR_MS: u64 = 200;

impl Core {
    /// Ends a connection at whatever stage it is.
    pub(super) fn end(&mut self, slot: u32, how: Ending) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match &client.stage {
            Stage::Open(_) => {
                self.end_session(slot, &how);
                match how {
                    Ending::Lost => self.remove(slot),
                    _ => self.close_after_flush(slot),
                }
            }
            Stage::Entering(_) if how == Ending::Lost => {
                self.count_closed(Closed::Lost);
                self.leave_seat_entering(slot);
                self.remove(slot);
            }
            Stage::Entering(_) => {
                self.count_ending(&how);
                self.tell_who_lost_its_place(slot, &how);
                self.leave_seat_entering(slot);
                self.close_after_flush(slot);
            }
            Stage::Closing { .. } => {}
        }
    }

    /// Its CONNACK still waited for the store when another client came with its Client Identifier. It was not let in, so a
    /// CONNACK says so: a DISCONNECT may not come first [MQTT-3.2.0-1].
    fn tell_who_lost_its_place(&mut self, slot: u32, how: &Ending) {
        let Some(Client { stage: Stage::Entering(entering), out, .. }) = self.clients.get_mut(slot) else { return };
        if matches!(how, Ending::TakenOver { .. }) {
            self.pool.lend_to(out);
            let before = out.plain().len();
            let why = "another connection has taken over this Client Identifier";
            entering.threshold.refuse(ReasonCode::SessionTakenOver, Some(why), out);
            self.count_behind(slot, before);
        }
    }

    /// The store refused an edit of these subscriptions, and the connection ends for it.
    pub(super) fn fail(&mut self, slot: u32, owed: Owed) {
        self.doubtful = edited(&owed);
        self.decide(slot, |session, _, now, desk| session.handle_failed(owed, now, desk));
    }

    /// Ends the session of a connection, which is then closing.
    fn end_session(&mut self, slot: u32, how: &Ending) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let until = self.now.moment.plus_ms(LINGER_MS);
        let stage = std::mem::replace(&mut client.stage, Stage::Closing { until, shut: false });
        let Stage::Open(session) = stage else { return };
        let peer = *session.peer();
        let farewell = session.end(how);
        self.note_ending(slot, how, &farewell);
        let Some(client) = self.clients.get_mut(slot) else { return };
        if let Some(reason) = farewell.disconnect {
            self.pool.lend_to(&mut client.out);
            let before = client.out.plain().len();
            outgoing::put(&Outgoing::Disconnect { reason, reason_string: None }, &peer, &mut client.out);
            self.count_behind(slot, before);
        }
        let Some(client) = self.clients.get_mut(slot) else { return };
        let edits = client.pending.iter().flat_map(|pending| edited(&pending.owed));
        let mut doubtful = std::mem::take(&mut self.doubtful);
        doubtful.extend(edits);
        // What it was owed can no longer be said; a QoS 2 message that waits for its commit is still delivered.
        let held = client.pending.drain(..).filter_map(|pending| pending.held).map(|held| *held).collect();
        client.pending_bytes = 0;
        client.forget_kept();
        let may_publish_will = farewell.will.as_ref().is_none_or(|will| may_publish(&will.topic, &client.may));
        let (seat, owner, level) = (client.seat.take(), client.user.take(), client.door.level);
        if let (Some(seat), Some(address)) = (seat, self.clients.address(slot)) {
            self.leave(Parting { seat, address, owner, level, farewell, may_publish_will, doubtful }, held);
        }
    }

    /// What becomes of the session, its will and its seat.
    pub(super) fn part(&mut self, parting: Parting) -> Ticket {
        let Parting { seat, address, owner, level, farewell, may_publish_will, mut doubtful } = parting;
        let (seat, broker) = (&seat, Arc::clone(&self.shared.broker));
        let lives = farewell.session_expiry_s > 0 && seat.is_durable();
        let will = farewell.will.filter(|_| {
            if !may_publish_will {
                self.count_dropped(Dropped::PublishNotAuthorized, 1);
            }
            may_publish_will
        });
        let (listener, level) = (level, self.held_back(level));
        if lives {
            let ends = self.session_end(farewell.session_expiry_s);
            let ends_wall_ms = ends.map(|at| self.now.wall_ms + at.ms_since(self.now.moment));
            let mut changes = farewell.changes;
            changes.push(Change::Expiry { expiry_s: farewell.session_expiry_s });
            let edits = changes.into_iter().map(|change| Record::Edit(seat.session, change));
            broker.append(edits.chain([Record::Leave { session: seat.session, ends_wall_ms }]).collect(), level);
            // What was acknowledged without waiting may not have been written, and nobody was told.
            let unsure = listener == Level::Memory && broker.store.has_failed();
            doubtful.extend(farewell.subscriptions.into_iter().filter(|_| unsure));
            broker.doubt(seat, doubtful);
            // Before the seat is free: whoever takes it calls off what was planned, and cannot do so too early.
            self.plan_ending(seat, will.map(|will| (owner, will)), ends, level);
            self.leave_seat(seat, address, lives);
            Ticket::NONE
        } else {
            broker.forget_subscriptions(seat, farewell.subscriptions.iter().map(|filter| &**filter));
            let ended = if seat.is_durable() { broker.append_end(seat.session, level) } else { Ticket::NONE };
            if let Some(will) = will {
                self.publish_will(will, seat.origin);
            }
            self.leave_seat(seat, address, lives);
            ended
        }
    }

    /// From here on somebody else may sit there and publish, on any core: what this client published comes first, its will too
    /// [MQTT-4.6.0-6] [MQTT3-4.6.0-6].
    fn leave_seat(&mut self, seat: &Arc<Seat>, address: Address, keep: bool) {
        self.post_deliveries();
        self.shared.broker.directory.leave(seat, address, keep);
    }

    /// When so many seconds have passed for sure: the present moment was cut to the millisecond.
    fn not_before(&self, seconds: u32) -> Moment {
        self.now.plus_s(u64::from(seconds)).plus_ms(1)
    }

    fn session_end(&self, expiry_s: u32) -> Option<Moment> {
        (expiry_s != u32::MAX).then(|| self.not_before(expiry_s))
    }

    /// A session lives on without a connection: its end, and its will if that is delayed, are put down for later.
    fn plan_ending(
        &mut self,
        seat: &Arc<Seat>,
        will: Option<(Option<Arc<str>>, Will)>,
        ends: Option<Moment>,
        level: Level,
    ) {
        let broker = Arc::clone(&self.shared.broker);
        match will {
            Some((owner, will)) if will.delay_s > 0 => {
                // At its delay or at the session's end, whichever comes first [MQTT-3.1.2-8].
                let delayed = self.not_before(will.delay_s);
                let at = ends.map_or(delayed, |ends| ends.min(delayed));
                let due_wall_ms = self.now.wall_ms + at.ms_since(self.now.moment);
                let will = LaterWill { will, due_wall_ms };
                let record = Record::Will { session: seat.session, will: Box::new(will.clone()) };
                broker.append(vec![record], level);
                broker.later.add(at, Due::Will { seat: Arc::clone(seat), owner, will });
            }
            Some((_, will)) => self.publish_will(will, seat.origin),
            None => {}
        }
        if let Some(ends) = ends {
            broker.later.add(ends, Due::SessionEnds { seat: Arc::clone(seat) });
        }
        if self.id != 0 {
            self.stage(0, Mail::Nudge);
        }
    }

    /// Ends a saved session that nobody sits in: its will first, if that was still to come.
    pub(super) fn drop_session(&mut self, seat: &Arc<Seat>) {
        let broker = Arc::clone(&self.shared.broker);
        if let Some(will) = broker.later.ended(seat.session) {
            self.publish_delayed(will, seat);
        }
        broker.end_session(Arc::clone(seat));
    }

    /// What has come due beyond connections. Only the first core asks.
    pub(super) fn handle_later(&mut self) {
        let broker = Arc::clone(&self.shared.broker);
        let expired = broker.retained.take_expired().into_iter();
        let expired = expired.map(|topic| Record::Expired(topic, self.now.moment)).collect();
        broker.append(expired, broker.store.level());
        for due in broker.later.due(self.now.moment) {
            self.caught("handling a will or the end of a session", |core| core.handle_due(due));
        }
        if broker.repairs.any() && self.now.moment >= self.chores.repair_due {
            self.chores.repair_due = self.now.moment.plus_ms(REPAIR_MS);
            self.caught("comparing sessions with the store", |core| core.shared.broker.repair());
        }
        if self.now.moment >= self.chores.sys_due {
            self.caught("publishing the broker's own figures", Self::publish_sys);
        }
    }

    fn handle_due(&mut self, due: Due) {
        match due {
            Due::Will { seat, owner, will } => {
                self.publish_delayed((owner, will), &seat);
            }
            Due::SessionEnds { seat } => {
                self.drop_session(&seat);
            }
        }
    }

    /// A will that was put down for later goes out, and is not put down any more: both or nothing. Its client is long gone: what
    /// counts is what its user may do now, not what he was allowed then.
    pub(super) fn publish_delayed(&mut self, (owner, later): Owned, seat: &Seat) {
        let LaterWill { will, due_wall_ms } = later;
        let over = Record::NoWill { session: seat.session, due_wall_ms };
        let records = if seat.is_durable() { vec![over] } else { Vec::new() };
        let may = self.shared.auth.as_ref().map(|auth| {
            // As for those that are connected: rules for anonymous clients know no Client Identifier.
            let client = owner.as_ref().map_or("", |_| seat.client.as_str());
            auth.permissions(&Identity { user: owner.clone() }, client)
        });
        if may.is_none_or(|may| may_publish(&will.topic, &may)) {
            return self.publish_will_and(will, seat.origin, records);
        }
        self.count_dropped(Dropped::PublishNotAuthorized, 1);
        let broker = &self.shared.broker;
        broker.append(records, broker.store.level());
    }

    pub(super) fn publish_will(&mut self, will: Will, origin: Origin) {
        self.publish_will_and(will, origin, Vec::new());
    }

    /// Publishes a will, and stores `records` with what it leaves behind, as one.
    fn publish_will_and(&mut self, will: Will, origin: Origin, records: Vec<Record>) {
        self.counters.add(Metric::WillsPublished, 1);
        let parts = Parts {
            topic: &will.topic,
            properties: &will.properties,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            expiry_s: will.expiry_s,
            origin,
        };
        self.publish_alone(Message::new(parts, self.now), records);
    }

    /// A claimant wants the Client Identifier of one of ours. Says when the end of a saved session is as safe as the claimant's
    /// listener wants it, if a Clean Start has ended it: the claimant is to hear of nothing before that.
    pub(super) fn take_over(&mut self, at: Address, clean_start: bool, level: Level) -> Ticket {
        let Some(client) = self.clients.at(at) else { return Ticket::NONE };
        let is_open = matches!(client.stage, Stage::Open(_));
        let saved = client.seat.as_ref().filter(|seat| is_open && clean_start && seat.is_durable());
        let saved = saved.map(|seat| seat.session);
        self.end(at.slot, Ending::TakenOver { clean_start });
        // Said once more for its ticket: it was said at the level of the listener that it came through.
        saved.map_or(Ticket::NONE, |session| self.shared.broker.append(vec![Record::End(session)], level))
    }

    /// A deadline of this client has come.
    pub(super) fn handle_deadline(&mut self, slot: u32) {
        match self.clients.get(slot).map(|client| &client.stage) {
            Some(Stage::Entering(_)) => {
                self.count_closed(Closed::ConnectTimeout);
                self.leave_seat_entering(slot);
                self.remove(slot);
            }
            Some(Stage::Open(_)) => self.handle_silence(slot),
            Some(Stage::Closing { .. }) => self.remove(slot),
            None => {}
        }
    }

    /// Nothing was heard for longer than the Keep Alive allows. A client that is not read for now is not silent, and neither
    /// is one whose bytes have arrived while this core was busy: the socket is asked first [MQTT-3.1.2-22] [MQTT3-3.1.2-24].
    fn handle_silence(&mut self, slot: u32) {
        if self.clients.get(slot).is_some_and(Client::listens) {
            self.read(slot);
        }
        let Some(client) = self.clients.get(slot) else { return };
        if !client.listens() || client.flags.readable || client.flags.unfinished {
            self.with_session(slot, |session, _, now, _| session.excuse_silence(now));
            return;
        }
        self.decide(slot, |session, _, now, desk| session.handle_timeout(now, desk));
    }

    /// Everything was said: closes as soon as it is written.
    pub(super) fn close_after_flush(&mut self, slot: u32) {
        let until = self.now.moment.plus_ms(LINGER_MS);
        if let Some(client) = self.clients.get_mut(slot) {
            client.stage = Stage::Closing { until, shut: false };
            client.forget_kept();
        }
        self.schedule(slot);
        self.touch(slot);
    }

    /// The layers are over, closed by the client or broken. They may still have something to say (a Close in answer, an
    /// alert, an HTTP refusal); for the session it is a lost connection.
    pub(super) fn end_layers(&mut self, slot: u32, entering: Closed) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match &client.stage {
            Stage::Open(_) => self.end_session(slot, &Ending::Lost),
            Stage::Entering(_) => {
                self.count_closed(entering);
                self.leave_seat_entering(slot);
            }
            Stage::Closing { .. } => return,
        }
        self.close_after_flush(slot);
    }

    /// Forgets a connection. Its socket closes.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(mut client) = self.clients.remove(slot) {
            let left = client.out.len();
            client.out.advance(left);
            self.pool.take_back(client.out.take_buffer());
        }
    }

    fn note_ending(&mut self, slot: u32, how: &Ending, farewell: &Farewell) {
        self.count_ending(how);
        if farewell.lost_messages > 0 {
            self.count_dropped(Dropped::SessionEnded, farewell.lost_messages);
        }
        if let Ending::Violation(violation) = how {
            let client = self.clients.get(slot).map_or("-", Client::name);
            tracing::debug!(client, reason = ?violation.reason, statement = violation.statement, "closed a client that broke a rule");
        }
    }

    /// Says good-bye to everybody.
    pub(super) fn stop(&mut self) {
        for slot in self.clients.slots() {
            match self.clients.get(slot).map(|client| &client.stage) {
                Some(Stage::Open(_)) => self.end(slot, Ending::ByServer(ReasonCode::ServerShuttingDown)),
                Some(Stage::Entering(_)) => self.refuse(slot, ReasonCode::ServerShuttingDown, None),
                _ => {}
            }
        }
    }
}

/// The subscriptions whose edit an answer is about.
fn edited(owed: &Owed) -> Vec<Arc<str>> {
    match owed {
        Owed::Subscribed { taken, .. } => {
            taken.iter().filter_map(|taken| Some(Arc::clone(&taken.subscription.as_ref()?.0))).collect()
        }
        Owed::Unsubscribed { filters, .. } => filters.iter().map(|filter| Arc::from(&**filter)).collect(),
        _ => Vec::new(),
    }
}
