//! One client's side of the protocol, once it is connected. It decides; the caller acts.
//!
//! Call one `handle_*`, then perform the effects it left, in order, before the next call. Packets that may
//! leave at once are written straight into [`Desk::out`]; everything else is an [`Effect`]. An answer that must
//! not outrun the disk or an earlier answer is an [`Owed`]: the caller keeps what is owed in arrival order with its
//! ticket and hands it back by [`Session::handle_durable`] when its turn has come.
//!
//! *Architecture invariant:* no I/O, no clock, no lock, no other client. A session never learns what a store is:
//! it knows that some deliveries have a [`Ticket`] (they lie in this session's queue in the store, and
//! what this room holds of them is a window) and some have none (they live only here).
//!
//! Start with [`Effect`] and [`Owed`] in `effect.rs`, then `publish.rs` (in) and `deliver.rs` (out).

// Input decides nothing here by a panic or a lost bit. Lengths of what is in memory are added saturating: their sum never comes
// near the end of the numbers, and if it did, it would be longer than anything may be.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

mod acknowledged;
mod alias;
mod aside;
mod deliver;
pub mod effect;
mod ending;
mod feed;
mod filters;
mod inflight;
mod keep_alive;
pub mod limits;
mod proof;
mod publish;
mod received;
pub mod saved;
mod subscribe;
#[cfg(test)]
mod tests;

pub use effect::{Desk, DropReason, Effect, Ending, Farewell, Owed, Receipt, Sent, Taken, Violation, Wanted};
pub use limits::Limits;
pub use publish::{RESERVED, may_publish};
pub use saved::{Change, Options, OutState, Page, Queued, Saved, SavedOut, SavedSubscription};

use std::sync::Arc;

use alias::{AliasesIn, AliasesOut};
use deliver::Turn;
use feed::Feed;
use filters::Filters;
use inflight::Inflight;
use keep_alive::KeepAlive;
use proof::Proof;
use received::Received;

use crate::access::Permissions;
use crate::clock::{Moment, Now};
use crate::identity::{ClientId, Origin, Ticket};
use crate::message::Message;
use crate::mqtt::{Disconnect, Outgoing, Packet, Peer, QoS, ReasonCode, Will};

/// What a session is opened with, after CONNECT was accepted and the Client Identifier claimed.
#[derive(Debug)]
pub struct Opening {
    /// Its name.
    pub client: ClientId,
    /// Stands for the name in No Local.
    pub origin: Origin,
    /// Protocol, Maximum Packet Size, problem information.
    pub peer: Peer,
    /// The client's Receive Maximum.
    pub receive_maximum: u16,
    /// The client's Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Keep Alive in force, seconds; 0 = none.
    pub keep_alive_s: u16,
    /// Session Expiry Interval in force, seconds; 0 = ends with the connection, `u32::MAX` = never.
    pub session_expiry_s: u32,
    /// Whether edits are saved and QoS 1 and 2 messages wait in the store. True if the interval is above 0, and for a
    /// resumed session that asked for 0 this time.
    pub durable: bool,
    /// Its will.
    pub will: Option<Will>,
    /// Authentication Method of the CONNECT, for re-authentication.
    pub authentication_method: Option<Box<str>>,
    /// What was saved, if the session is resumed.
    pub saved: Option<Saved>,
}

/// One message on its way to this client.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The message.
    pub message: &'a Arc<Message>,
    /// Its place in this session's queue; `Ticket::NONE` if it lives only in memory.
    pub ticket: Ticket,
    /// The lower of published and granted QoS [MQTT-3.8.4-8].
    pub qos: QoS,
    /// RETAIN to send.
    pub retain: bool,
    /// Identifiers of the subscriptions that matched [MQTT-3.3.4-3].
    pub subscription_ids: &'a [u32],
}

/// How an authentication exchange on a live connection goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reauthentication {
    /// Ask the client for more.
    Continue(Box<[u8]>),
    /// Proved again, with data for the client.
    Done(Option<Box<[u8]>>),
    /// Not proved.
    Denied(ReasonCode),
}

/// One client's side of the protocol. See the room's description for how it is driven.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    limits: Arc<Limits>,
    /// Stands for the Client Identifier in what it publishes.
    origin: Origin,
    durable: bool,
    /// In force, seconds.
    session_expiry_s: u32,
    keep_alive: KeepAlive,
    will: Option<Box<Will>>,
    proof: Option<Box<Proof>>,
    aliases_in: Option<Box<AliasesIn>>,
    aliases_out: Option<Box<AliasesOut>>,
    /// Filters as the client wrote them, shared with the index.
    subscriptions: Filters,
    /// Incoming QoS 2 exchanges.
    received: Received,
    /// Those of them whose PUBLISH came on an earlier connection and was not repeated on this one.
    received_earlier: Received,
    /// Incoming PUBLISH packets that are not acknowledged yet and end with that. As below, each has a receipt in memory, which
    /// has no room for 2^32 of them.
    unanswered: u32,
    /// Incoming QoS 2 messages without their PUBREC. Their identifiers are in `received`, unless the client sent PUBREL early.
    unrecorded: u32,
    inflight: Inflight,
    feed: Feed,
    /// Retained messages behind SUBACKs that have not left.
    retained_owed: usize,
}

impl Session {
    /// Begins, or resumes: what was unfinished goes out again with its identifiers and in its order [MQTT-4.4.0-1], then the
    /// queue is read.
    pub fn open(opening: Opening, limits: &Arc<Limits>, now: Now, desk: &mut Desk<'_>) -> Session {
        let window = opening.receive_maximum.min(limits.inflight_max);
        let feed = match (opening.durable, &opening.saved) {
            (false, _) => Feed::in_memory(),
            (true, None) => Feed::live(),
            (true, Some(_)) => Feed::behind(),
        };
        let saved = opening.saved.unwrap_or_default();
        let filters: Vec<Arc<str>> = saved.subscriptions.into_iter().map(|saved| saved.filter).collect();
        let aliases_max = opening.topic_alias_maximum.min(limits.topic_alias_out_max);
        let mut session = Session {
            peer: opening.peer,
            limits: Arc::clone(limits),
            origin: opening.origin,
            durable: opening.durable,
            session_expiry_s: opening.session_expiry_s,
            keep_alive: KeepAlive::new(opening.keep_alive_s, now),
            will: opening.will.map(Box::new),
            proof: opening.authentication_method.map(|method| Box::new(Proof::new(method))),
            aliases_in: None,
            // None at all where the client allows none [MQTT-3.1.2-27].
            aliases_out: (aliases_max > 0).then(|| Box::new(AliasesOut::new(aliases_max))),
            subscriptions: filters.into(),
            received_earlier: saved.received.iter().copied().collect(),
            received: saved.received.into_iter().collect(),
            unanswered: 0,
            unrecorded: 0,
            inflight: Inflight::new(window, saved.outgoing),
            feed,
            retained_owed: 0,
        };
        session.repeat_pubrels(desk);
        session.free_surplus(desk);
        session.read_on(desk);
        session
    }

    /// Any other packet from the client.
    ///
    /// # Errors
    /// How the connection has to end: call [`Session::end`] with it.
    pub fn handle_packet(
        &mut self,
        packet: Packet<'_>,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        self.keep_alive.heard(now);
        match packet {
            Packet::Publish(packet) => return self.handle_publish(packet, may, now, desk),
            Packet::PubAck(ack) => self.handle_puback(ack, Turn { may, now }, desk),
            Packet::PubRec(ack) => self.handle_pubrec(ack, Turn { may, now }, desk),
            Packet::PubRel(ack) => self.handle_pubrel(ack, desk),
            Packet::PubComp(ack) => self.handle_pubcomp(ack, Turn { may, now }, desk),
            Packet::Subscribe(packet) => return self.handle_subscribe(packet, may, desk),
            Packet::Unsubscribe(packet) => return self.handle_unsubscribe(packet, desk),
            Packet::PingReq => self.put(&Outgoing::PingResp, desk), // [MQTT-3.12.4-1]
            Packet::Disconnect(packet) => return self.handle_disconnect(packet),
            Packet::Auth(packet) => return self.handle_auth(packet, desk),
            Packet::Connect(_) => return broken(ReasonCode::ProtocolError, "MQTT-3.1.0-2"),
        }
        Ok(())
    }

    fn handle_disconnect(&self, packet: Disconnect) -> Result<(), Ending> {
        let Disconnect { reason, session_expiry_s } = packet;
        // A session that was to end with its connection cannot be kept now.
        if self.session_expiry_s == 0 && session_expiry_s.is_some_and(|wish| wish > 0) {
            return broken(ReasonCode::ProtocolError, "3.14.2.2.2");
        }
        Err(Ending::ByClient { reason, session_expiry_s })
    }

    /// An answer owed may leave: its ticket is durable and everything owed before has left.
    pub fn handle_durable(&mut self, owed: Owed, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        match owed {
            Owed::Accepted { receipt, reason } => self.acknowledge(receipt, reason, desk),
            Owed::Subscribed { packet_id, taken } => {
                self.put_suback(packet_id, &taken, desk);
                for one in taken {
                    self.deliver_retained(one, may, now, desk);
                }
            }
            Owed::Unsubscribed { packet_id, codes, .. } => self.put(&Outgoing::UnsubAck { packet_id, codes }, desk),
            Owed::Completed(packet_id) => {
                self.put(&Outgoing::PubComp { packet_id, reason: ReasonCode::Success }, desk);
            }
            Owed::NothingToRelease(packet_id) => {
                // 3.1.1 has no way to say so: PUBCOMP all the same.
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.put(&Outgoing::PubComp { packet_id, reason }, desk);
            }
            Owed::Transmit(packet_id) => self.transmit_saved(packet_id, Turn { may, now }, desk),
            Owed::Release(packet_id) => self.release_saved(packet_id, desk),
            Owed::Finish(packet_id) => {
                self.finish_saved(packet_id);
                self.pump(Turn { may, now }, desk);
            }
            Owed::Nothing => {}
        }
    }

    /// The store refused what this answer waited for: PUBACK or PUBREC 0x97 in 5.0.
    ///
    /// # Errors
    /// Where the standard leaves nothing but to close: 3.1.1 has no failing acknowledgement, and an edit that is not saved
    /// cannot be taken back [MQTT3-4.8.0-2].
    pub fn handle_failed(&mut self, owed: Owed, _now: Now, desk: &mut Desk<'_>) -> Result<(), Ending> {
        match owed {
            Owed::Accepted { receipt, .. } if self.peer.version.is_v5() => {
                self.acknowledge(receipt, ReasonCode::QuotaExceeded, desk);
                Ok(())
            }
            // At most once.
            Owed::Nothing => Ok(()),
            _ => Err(Ending::ByServer(ReasonCode::QuotaExceeded)),
        }
    }

    /// A deadline may have passed.
    ///
    /// # Errors
    /// The client was silent for too long [MQTT-3.1.2-22] [MQTT3-3.1.2-24].
    pub fn handle_timeout(&mut self, now: Now, _desk: &mut Desk<'_>) -> Result<(), Ending> {
        if self.keep_alive.is_over(now) { Err(Ending::KeepAlive) } else { Ok(()) }
    }

    /// The client was not read until now: what was not heard does not count against it.
    pub fn excuse_silence(&mut self, now: Now) {
        self.keep_alive.heard(now);
    }

    /// When [`Session::handle_timeout`] wants to be called at the latest; it may move later unnoticed, never earlier.
    pub fn deadline(&self) -> Option<Moment> {
        self.keep_alive.deadline()
    }

    /// The protocol spoken, and what bounds what is sent.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether edits are saved and QoS 1 and 2 messages wait in the store.
    pub fn is_durable(&self) -> bool {
        self.durable
    }
}

/// The client broke a rule.
fn broken<T>(reason: ReasonCode, statement: &'static str) -> Result<T, Ending> {
    Err(Ending::Violation(Violation { reason, statement }))
}
