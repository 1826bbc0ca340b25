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

pub mod effect;
pub mod limits;
pub mod saved;

pub use effect::{Desk, DropReason, Effect, Ending, Farewell, Owed, Receipt, Taken, Violation, Wanted};
pub use limits::Limits;
pub use saved::{Change, Options, OutState, Page, Queued, Saved, SavedOut, SavedSubscription};

use std::sync::Arc;

use crate::access::Permissions;
use crate::clock::{Moment, Now};
use crate::identity::{ClientId, Origin, Ticket};
use crate::message::Message;
use crate::mqtt::publish::Templates;
use crate::mqtt::{Packet, PacketId, Peer, PublishView, QoS, ReasonCode, Will};

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
pub struct Session {}

#[allow(unused_variables)]
impl Session {
    /// Begins, or resumes: what was unfinished goes out again with its identifiers and in its order [MQTT-4.4.0-1], then the queue is read.
    pub fn open(opening: Opening, limits: &Arc<Limits>, now: Now, desk: &mut Desk<'_>) -> Session {
        todo!()
    }

    /// A PUBLISH from the client.
    pub fn handle_publish(
        &mut self,
        packet: PublishView<'_>,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        todo!()
    }

    /// Any other packet from the client. `Err` ends the connection: call [`Session::end`] with it.
    pub fn handle_packet(
        &mut self,
        packet: Packet<'_>,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        todo!()
    }

    /// A message for the client. `templates` belongs to this message.
    pub fn handle_delivery(
        &mut self,
        delivery: Delivery<'_>,
        templates: &mut Templates,
        may: &Permissions,
        now: Now,
        desk: &mut Desk<'_>,
    ) {
        todo!()
    }

    /// An answer owed may leave: its ticket is durable and everything owed before has left.
    pub fn handle_durable(&mut self, owed: Owed, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        todo!()
    }

    /// The store refused what this answer waited for: PUBACK/PUBREC 0x97 in 5.0; `Err` where the standard leaves nothing but to close [MQTT3-4.8.0-2].
    pub fn handle_failed(&mut self, owed: Owed, now: Now, desk: &mut Desk<'_>) -> Result<(), Ending> {
        todo!()
    }

    /// The broker made the wanted subscriptions: remembers them, and says what is owed.
    pub fn handle_subscribed(&mut self, packet_id: PacketId, taken: Vec<Taken>) -> Owed {
        todo!()
    }

    /// The broker ended these subscriptions (`codes` per filter): forgets them, and says what is owed.
    pub fn handle_unsubscribed(&mut self, packet_id: PacketId, filters: &[Box<str>], codes: Vec<ReasonCode>) -> Owed {
        todo!()
    }

    /// The answer to [`Effect::ReadQueue`].
    pub fn handle_queue(&mut self, page: Page, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        todo!()
    }

    /// The answer to [`Effect::Reauthenticate`].
    pub fn handle_reauthentication(&mut self, answer: Reauthentication, desk: &mut Desk<'_>) -> Result<(), Ending> {
        todo!()
    }

    /// Bytes left the out buffer: go on where a slow client held things back.
    pub fn handle_drained(&mut self, may: &Permissions, now: Now, desk: &mut Desk<'_>) {
        todo!()
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Now, desk: &mut Desk<'_>) -> Result<(), Ending> {
        todo!()
    }

    /// When [`Session::handle_timeout`] wants to be called at the latest; it may move later unnoticed, never earlier.
    pub fn deadline(&self) -> Option<Moment> {
        todo!()
    }

    /// The connection is over. What has to be done now comes out; the session does not survive it.
    pub fn end(self, how: &Ending) -> Farewell {
        todo!()
    }

    /// The protocol spoken, and what bounds what is sent.
    pub fn peer(&self) -> &Peer {
        todo!()
    }

    /// Whether edits are saved and QoS 1 and 2 messages wait in the store.
    pub fn is_durable(&self) -> bool {
        todo!()
    }
}
