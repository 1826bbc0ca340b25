//! The durable part of a session, as plain data, and the edits that are made to it.

use std::sync::Arc;

use crate::identity::Ticket;
use crate::message::Message;
use crate::mqtt::{PacketId, QoS};

/// Options of a subscription that outlive the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Granted QoS.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Subscription Identifier, if any.
    pub subscription_id: Option<u32>,
}

/// One subscription of a saved session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSubscription {
    /// The filter as the client wrote it, `$share/…` included.
    pub filter: Arc<str>,
    /// Its options.
    pub options: Options,
}

/// How far an outgoing QoS 1 or 2 exchange got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutState {
    /// PUBLISH went out; PUBACK or PUBREC is awaited.
    Published,
    /// PUBREC came; PUBREL went out; PUBCOMP is awaited. No PUBLISH any more [MQTT-4.3.3-6].
    Released,
    /// Its message was dropped while the client may hold it as received: nothing is sent, and the identifier stays taken, until
    /// a PUBREC comes for it.
    SetAside,
}

/// One outgoing exchange that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedOut {
    /// Its Packet Identifier, to be used again on resume.
    pub packet_id: PacketId,
    /// How far it got.
    pub state: OutState,
    /// The message's place in the queue.
    pub ticket: Ticket,
    /// The message; `None` once released or set aside.
    pub message: Option<Arc<Message>>,
    /// QoS it is delivered with.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers of the delivery.
    pub subscription_ids: Vec<u32>,
}

/// What outlives the connection of a session with an expiry above 0. Its queue is not here: it is read as
/// it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// Subscriptions.
    pub subscriptions: Vec<SavedSubscription>,
    /// Unfinished outgoing exchanges, in the order of their first PUBLISH.
    pub outgoing: Vec<SavedOut>,
    /// Packet Identifiers of incoming QoS 2 messages that were received and not released.
    pub received: Vec<PacketId>,
}

/// One edit of a saved session. Only sessions that outlive their connection make any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An incoming QoS 2 identifier was released by PUBREL.
    Released(PacketId),
    /// A queued message was given a Packet Identifier and goes out.
    Sent {
        /// Its place in the queue.
        ticket: Ticket,
        /// Its identifier from now on.
        packet_id: PacketId,
        /// QoS it is delivered with. At QoS 2 the identifier is taken even if the message has fallen out of a full queue: it is sent
        /// all the same.
        qos: QoS,
    },
    /// The message is dropped, and its identifier stays taken: [`OutState::SetAside`].
    SetAside {
        /// Its place in the queue.
        ticket: Ticket,
    },
    /// PUBREC came for this one: only PUBREL from now on.
    Received {
        /// Its place in the queue.
        ticket: Ticket,
    },
    /// The client is done with this message (PUBACK, PUBCOMP, failing PUBREC), or it was dropped for a counted reason.
    Done {
        /// Its place in the queue.
        ticket: Ticket,
    },
    /// The session will end this many seconds after its connection (DISCONNECT may change it).
    Expiry {
        /// Session Expiry Interval.
        expiry_s: u32,
    },
}

/// One waiting message as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its place.
    pub ticket: Ticket,
    /// The message.
    pub message: Arc<Message>,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers of the delivery.
    pub subscription_ids: Vec<u32>,
}

/// A part of a session's queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In order. Messages that were given a Packet Identifier before are left out.
    pub messages: Vec<Queued>,
    /// If the queue's end was reached: everything appended up to this ticket has been seen.
    pub complete_up_to: Option<Ticket>,
}
