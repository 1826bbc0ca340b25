//! From accept to CONNACK: carries out what the threshold asks for.

use std::sync::Arc;

use super::client::{Client, Entering, Stage, WaitsFor};
use super::leaving::Parting;
use super::{Core, Mail};
use crate::broker::directory::{Claim as Seating, Room, Wish};
use crate::broker::seat::{Address, Seat};
use crate::identity::{ClientId, Ticket};
use crate::mqtt::{DecodeError, Out, Packet, ReasonCode};
use crate::session::{Desk, Farewell, Saved};
use crate::store::{Level, Record, SessionRecord};
use crate::threshold::{Claim, Claimed, Refused, Step};

impl Core {
    pub(super) fn handle_entering_packet(&mut self, slot: u32, packet: Packet<'_>) {
        self.with_entering(slot, |entering, out| entering.threshold.handle_packet(packet, out));
    }

    pub(super) fn refuse_malformed(&mut self, slot: u32, error: DecodeError) {
        self.with_entering(slot, |entering, out| Err(entering.threshold.handle_malformed(error, out)));
    }

    /// Refuses a connection for a reason that lies outside its own packets.
    pub(super) fn refuse(&mut self, slot: u32, reason: ReasonCode, why: Option<&str>) {
        self.with_entering(slot, |entering, out| Err(entering.threshold.refuse(reason, why, out)));
    }

    /// Runs `decide` on an entering connection and carries out the step it wants.
    pub(super) fn with_entering(
        &mut self,
        slot: u32,
        decide: impl FnOnce(&mut Entering, &mut Out) -> Result<Step, Refused>,
    ) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Stage::Entering(entering) = &mut client.stage else { return };
        self.pool.lend_to(&mut client.out);
        let before = client.out.plain().len();
        let step = decide(entering, &mut client.out);
        self.count_behind(slot, before);
        self.touch(slot);
        match step {
            Ok(Step::Wait) => self.wait_for(slot, WaitsFor::Client),
            Ok(Step::Authenticate(credentials)) => self.authenticate(slot, credentials),
            Ok(Step::Challenge { method, data }) => self.challenge(slot, &method, data.as_deref()),
            Ok(Step::Claim(claim)) => self.claim(slot, claim, Room::Needed, Ticket::NONE),
            Err(refused) => self.turn_away(slot, refused),
        }
    }

    fn turn_away(&mut self, slot: u32, refused: Refused) {
        self.count_refused(refused.reason);
        if let Some(client) = self.clients.get_mut(slot) {
            tracing::debug!(peer = %client.peer, door = %client.door.name, reason = ?refused.reason, why = refused.why, "refused a connection");
        }
        self.leave_seat_entering(slot);
        self.close_after_flush(slot);
    }

    fn wait_for(&mut self, slot: u32, what: WaitsFor) {
        if let Some(Client { stage: Stage::Entering(entering), .. }) = self.clients.get_mut(slot) {
            entering.waits_for = what;
        }
    }

    fn authenticate(&mut self, slot: u32, credentials: crate::threshold::Credentials) {
        let Some(auth) = self.shared.auth.clone() else {
            return self.refuse(slot, ReasonCode::NotAuthorized, None);
        };
        let Some(at) = self.clients.address(slot) else { return };
        self.wait_for(slot, WaitsFor::Identity);
        let inbox = self.inbox();
        auth.authenticate(credentials, Box::new(move |answer| inbox.post(Mail::Identity { at, answer })));
    }

    fn challenge(&mut self, slot: u32, method: &str, data: Option<&[u8]>) {
        let Some(auth) = self.shared.auth.clone() else {
            return self.refuse(slot, ReasonCode::BadAuthenticationMethod, None);
        };
        self.with_entering(slot, |entering, out| {
            let client = entering.threshold.client_id().unwrap_or_default();
            let answer = auth.exchange(&mut entering.exchange, method, data, client);
            entering.threshold.handle_challenge(answer, out)
        });
    }

    /// Takes the seat of a Client Identifier, or makes whoever sits there leave first. `ended`: the end of a session that the client
    /// is to hear of only once it is durable.
    fn claim(&mut self, slot: u32, claim: Claim, room: Room, ended: Ticket) {
        let Some(address) = self.clients.address(slot) else { return };
        let broker = Arc::clone(&self.shared.broker);
        let client = claim.client.clone().unwrap_or_else(|| broker.directory.assign());
        let (owner, clean_start, durable) = (claim.owner.as_ref(), claim.clean_start, claim.session_expiry_s > 0);
        match broker.directory.claim(Wish { client: &client, owner, clean_start, durable, room }, address) {
            Seating::Fresh(seat) => self.begin(slot, seat, &claim, ended),
            Seating::Replaced { old, fresh } => {
                self.drop_session(&old);
                // Its end waits for its subscriptions to be read; that its time is over need not.
                let over = Record::Leave { session: old.session, ends_wall_ms: Some(self.now.wall_ms) };
                let ended = broker.append(vec![over], self.level_of(slot));
                self.begin(slot, fresh, &claim, ended);
            }
            Seating::Resumed(seat) => self.load(slot, address, client, seat, &claim),
            Seating::Busy { at, seat } => {
                let level = self.level_of(slot);
                self.stage(at.core, Mail::TakeOver { at, seat, clean_start, claimant: address, level });
                let claim = Claim { client: Some(client), ..claim };
                self.wait_for(slot, WaitsFor::Seat(claim, ended));
            }
            Seating::NotYours => self.refuse(slot, ReasonCode::NotAuthorized, None),
            // 3.1.1 has no word for it but that the server is unavailable, return code 3.
            Seating::Full => self.refuse(slot, ReasonCode::QuotaExceeded, Some("there is no room for another session")),
        }
    }

    /// A new session: recorded first if it is to outlive its connection.
    fn begin(&mut self, slot: u32, seat: Arc<Seat>, claim: &Claim, ended: Ticket) {
        let durable = seat.is_durable();
        let level = self.level_of(slot);
        let ticket = if durable { self.record_open(&seat, claim, level) } else { ended };
        let claimed = Claimed { client: seat.client.clone(), origin: seat.origin, durable, saved: None };
        self.sit(slot, seat, claim);
        let is_settled = self.is_settled(ticket, level);
        if is_settled && !self.shared.broker.store.failed(ticket) {
            return self.open_session(slot, claimed);
        }
        self.wait_for(slot, WaitsFor::Record(ticket, claimed));
        if is_settled {
            // Refused already: a store that is closed is quick to say so.
            return self.recorded(slot);
        }
        self.wait_for_store(slot);
    }

    /// Records that a session begins, or that its client is back.
    fn record_open(&self, seat: &Seat, claim: &Claim, level: Level) -> Ticket {
        let record = SessionRecord {
            session: seat.session,
            client: seat.client.clone(),
            owner: claim.owner.clone(),
            expiry_s: claim.session_expiry_s,
        };
        self.shared.broker.append(vec![Record::Open(record)], level)
    }

    fn sit(&mut self, slot: u32, seat: Arc<Seat>, claim: &Claim) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.seat = Some(seat);
            client.user = claim.owner.clone();
            if let Stage::Entering(entering) = &mut client.stage {
                entering.session_expiry_s = claim.session_expiry_s;
            }
        }
    }

    fn load(&mut self, slot: u32, at: Address, client: ClientId, seat: Arc<Seat>, claim: &Claim) {
        let broker = Arc::clone(&self.shared.broker);
        let called_off = broker.later.returned(seat.session).map(Box::new);
        if let Some(Client { stage: Stage::Entering(entering), .. }) = self.clients.get_mut(slot) {
            entering.called_off = called_off;
        }
        let (session, inbox) = (seat.session, self.inbox());
        let ticket = self.record_open(&seat, claim, self.level_of(slot));
        self.sit(slot, Arc::clone(&seat), claim);
        self.wait_for(slot, WaitsFor::Saved(client, seat, ticket));
        broker.store.load(session, Box::new(move |saved| inbox.post(Mail::Loaded { at, saved })));
    }

    /// The saved session was read.
    pub(super) fn loaded(&mut self, slot: u32, saved: Saved) {
        let Some(Client { stage: Stage::Entering(entering), .. }) = self.clients.get_mut(slot) else { return };
        if let WaitsFor::Saved(client, seat, ticket) = std::mem::replace(&mut entering.waits_for, WaitsFor::Client) {
            if self.shared.broker.store.failed(ticket) {
                return self.refuse(slot, ReasonCode::ServerUnavailable, None);
            }
            self.shared.broker.compare(&seat, &saved);
            let origin = seat.origin;
            self.open_session(slot, Claimed { client, origin, durable: true, saved: Some(saved) });
        }
    }

    /// The predecessor has left: claims again.
    pub(super) fn vacated(&mut self, slot: u32, ended: Ticket) {
        let Some(Client { stage: Stage::Entering(entering), .. }) = self.clients.get_mut(slot) else { return };
        match std::mem::replace(&mut entering.waits_for, WaitsFor::Client) {
            WaitsFor::Seat(claim, before) => self.claim(slot, claim, Room::Promised, ended.max(before)),
            other => entering.waits_for = other,
        }
    }

    /// A session record may be durable now.
    pub(super) fn recorded(&mut self, slot: u32) {
        let marks = self.marks;
        let Some(Client { stage: Stage::Entering(entering), door, .. }) = self.clients.get_mut(slot) else { return };
        match std::mem::replace(&mut entering.waits_for, WaitsFor::Client) {
            WaitsFor::Record(ticket, _) if self.shared.broker.store.failed(ticket) => {
                // There is no such session in the store, so there must be none to come back to.
                entering.session_expiry_s = 0;
                self.refuse(slot, ReasonCode::ServerUnavailable, None);
            }
            WaitsFor::Record(ticket, claimed) if marks.reached(ticket, door.level) => self.open_session(slot, claimed),
            other => entering.waits_for = other,
        }
    }

    /// CONNACK, and the session begins.
    fn open_session(&mut self, slot: u32, claimed: Claimed) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let until = self.now.moment;
        let stage = std::mem::replace(&mut client.stage, Stage::Closing { until, shut: false });
        let Stage::Entering(entering) = stage else {
            client.stage = stage;
            return;
        };
        if let Some(may) = entering.threshold.permissions() {
            client.may = Arc::clone(may);
        }
        self.pool.lend_to(&mut client.out);
        let mut effects = self.spare_effects.pop().unwrap_or_default();
        let mut desk = Desk::new(&mut client.out, &mut effects);
        let before = desk.out.plain().len();
        let session = entering.threshold.open(claimed, self.now, &mut desk);
        let sent = desk.sent;
        client.stage = Stage::Open(session);
        if client.rules_of != self.reloads {
            self.ask_permissions_of(slot);
        }
        self.count_behind(slot, before);
        self.count_sent(&sent);
        self.touch(slot);
        self.perform(slot, &mut effects);
        self.spare_effects.push(effects);
        self.schedule(slot);
        if let Some(client) = self.clients.get_mut(slot) {
            client.flags.fresh = true;
            self.list(slot);
        }
    }

    /// Gives back a seat that was taken while entering. A session that was to be resumed waits on for its client; the will of its last
    /// connection was called off too early, and is put down again.
    pub(super) fn leave_seat_entering(&mut self, slot: u32) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Stage::Entering(entering) = &mut client.stage else { return };
        let session_expiry_s = entering.session_expiry_s;
        let (owner, will) = entering.called_off.take().map_or((None, None), |owned| (owned.0, Some(owned.1)));
        let Some(seat) = client.seat.take() else { return };
        if seat.is_durable() && session_expiry_s == 0 {
            if let Some(will) = will {
                self.publish_delayed((owner, will), &seat);
            }
            // Only the store knows the subscriptions of a session that was to be resumed.
            self.shared.broker.end_session(Arc::clone(&seat));
            if let Some(address) = self.clients.address(slot) {
                seat.release(address);
            }
            return;
        }
        let farewell = Farewell {
            disconnect: None,
            session_expiry_s,
            changes: Vec::new(),
            will: will.map(|later| later.will),
            subscriptions: Vec::new(),
            lost_messages: 0,
        };
        let (level, doubtful) = (client.door.level, Vec::new());
        if let Some(address) = self.clients.address(slot) {
            self.part(Parting { seat, address, owner, level, farewell, may_publish_will: true, doubtful });
        }
    }
}
