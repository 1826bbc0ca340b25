//! The closed list of what a session may ask for.

use std::sync::Arc;

use super::saved::{Change, Options};
use crate::identity::Ticket;
use crate::message::Message;
use crate::mqtt::{Auth, Out, PacketId, QoS, ReasonCode, RetainHandling, Will};

/// Where a session puts its answers: packets that may leave at once, and everything else.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Bytes for this client, in order.
    pub out: &'a mut Out,
    /// What the caller has to do, in order.
    pub effects: &'a mut Vec<Effect>,
    /// What was put into `out`, to be counted.
    pub sent: Sent,
}

impl<'a> Desk<'a> {
    /// A desk on which nothing lies that has to be counted.
    pub fn new(out: &'a mut Out, effects: &'a mut Vec<Effect>) -> Self {
        Self { out, effects, sent: Sent::default() }
    }
}

/// Packets that were put into an out buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// PUBLISH, by QoS.
    pub publishes: [u32; 3],
    /// All other packets, by packet type.
    pub others: [u16; 16],
    /// Whether there are any of those.
    pub any_others: bool,
}

impl Sent {
    /// A PUBLISH was put.
    pub(super) fn publish(&mut self, qos: QoS) {
        if let Some(count) = self.publishes.get_mut(qos as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// A packet of this type was put.
    pub(super) fn other(&mut self, packet_type: u8) {
        if let Some(count) = self.others.get_mut(usize::from(packet_type)) {
            *count = count.saturating_add(1);
            self.any_others = true;
        }
    }
}

/// The right to acknowledge one incoming PUBLISH. Made only where a PUBLISH is judged (`session/publish.rs`), used up by
/// [`super::Session::handle_durable`]: no receipt, no PUBACK.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) packet_id: PacketId,
    pub(super) qos: QoS,
    pub(super) place: Place,
}

/// What an unanswered PUBLISH counts as, of the Receive Maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// One that ends with its answer: QoS 1, or a QoS 2 message that is refused.
    Single,
    /// A QoS 2 message whose identifier is remembered until PUBREL.
    Exchange,
    /// None of its own: a QoS 2 message that was received before. Nothing changes.
    Repeated,
}

impl Receipt {
    /// The QoS of the PUBLISH: a QoS 2 message is delivered only after its commit.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// The Packet Identifier, to be stored in the same batch as a QoS 2 message.
    pub fn packet_id(&self) -> PacketId {
        self.packet_id
    }
}

/// Something the session wants done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Route this message. With a receipt: owe [`Owed::Accepted`] behind the ticket of the append (for a durable session
    /// and QoS 2, the identifier goes into the same batch).
    Publish {
        /// The message.
        message: Message,
        /// The right to acknowledge; `None` for QoS 0.
        receipt: Option<Receipt>,
    },
    /// Owe this answer behind everything owed before; it waits for no disk of its own.
    Owe(Owed),
    /// Save this edit; then, if there is an answer, owe it behind the edit's ticket.
    Save {
        /// The edit.
        change: Change,
        /// What waits for it.
        then: Option<Owed>,
    },
    /// Make these subscriptions, collect the retained messages, then call [`super::Session::handle_subscribed`].
    Subscribe {
        /// Identifier for the SUBACK.
        packet_id: PacketId,
        /// The filters, judged.
        wanted: Vec<Wanted>,
    },
    /// End these subscriptions, then call [`super::Session::handle_unsubscribed`].
    Unsubscribe {
        /// Identifier for the UNSUBACK.
        packet_id: PacketId,
        /// The filters, as written. One that is not valid matches no subscription.
        filters: Vec<Box<str>>,
    },
    /// Read this session's queue in the store behind `after`, at most `max` messages, then call
    /// [`super::Session::handle_queue`]. At most one read is under way.
    ReadQueue {
        /// Only messages behind this place.
        after: Ticket,
        /// At most this many.
        max: usize,
    },
    /// The client wants to prove itself again [MQTT-4.12.1-1]; answered by [`super::Session::handle_reauthentication`].
    Reauthenticate(Auth),
    /// A message was not delivered: count it.
    Dropped(DropReason),
}

/// One filter of a SUBSCRIBE after the session judged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The filter as written, `$share/…` included.
    pub filter: Box<str>,
    /// What was judged: granted options, or the reason for a refusal.
    pub verdict: Result<Options, ReasonCode>,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// What became of one wanted subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The code for the SUBACK.
    pub code: ReasonCode,
    /// The filter, shared with the index, and its options, if the subscription stands.
    pub subscription: Option<(Arc<str>, Options)>,
    /// Whether this session did not have it before.
    pub new: bool,
    /// Retained messages to send behind the SUBACK, with the ticket of each (NONE where the session keeps it itself).
    pub retained: Vec<(Arc<Message>, Ticket)>,
    /// Tickets of those that were left out because another message took their topic's place while the SUBACK waited: that one was
    /// delivered as a new message, and what came before it must not come behind it.
    pub overtaken: Vec<Ticket>,
}

/// An answer that waits for its turn.
#[derive(Debug, PartialEq)]
pub enum Owed {
    /// PUBACK or PUBREC for an incoming PUBLISH.
    Accepted {
        /// The right to send it.
        receipt: Receipt,
        /// What to say.
        reason: ReasonCode,
    },
    /// SUBACK, and behind it the retained messages.
    Subscribed {
        /// Of the SUBSCRIBE.
        packet_id: PacketId,
        /// Per filter.
        taken: Vec<Taken>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// Of the UNSUBSCRIBE.
        packet_id: PacketId,
        /// The filters, as written.
        filters: Vec<Box<str>>,
        /// Per filter.
        codes: Vec<ReasonCode>,
    },
    /// PUBCOMP for an incoming QoS 2 exchange whose end is saved.
    Completed(PacketId),
    /// PUBCOMP for a PUBREL that has nothing to release. In its turn, like any other: the client may have said PUBREL twice, and uses
    /// the identifier again as soon as it has an answer, so the end of the exchange must be saved by then.
    NothingToRelease(PacketId),
    /// First PUBLISH of a QoS 2 message whose identifier is saved.
    Transmit(PacketId),
    /// PUBREL for an outgoing exchange whose PUBREC is saved.
    Release(PacketId),
    /// Nothing to send: the end of an outgoing QoS 2 exchange is saved.
    Finish(PacketId),
    /// Nothing to send: a retained message of QoS 0 is stored. It is owed so that its publisher is read no faster than that.
    Nothing,
}

/// Why a message was not delivered to this client. Each has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Its Message Expiry Interval passed [MQTT-3.3.2-5].
    Expired,
    /// Larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    TooLarge,
    /// QoS 0 to a client that does not read fast enough.
    SlowConsumer,
    /// The client's memory queue is full.
    QueueFull,
    /// The client may not (any longer) receive this topic.
    NotAuthorized,
    /// Published by a client that may not publish there (3.1.1 cannot be told).
    PublishNotAuthorized,
    /// The client's session ended with messages waiting.
    SessionEnded,
}

/// What the client did wrong, or why we end the connection. The caller answers with DISCONNECT (5.0) and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason:?} by [{statement}]")]
pub struct Violation {
    /// For the DISCONNECT.
    pub reason: ReasonCode,
    /// The normative statement, or a short name of our own rule.
    pub statement: &'static str,
}

/// How a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client said DISCONNECT.
    ByClient {
        /// 0x00 deletes the will, any other code publishes it.
        reason: ReasonCode,
        /// Session Expiry Interval of the DISCONNECT.
        session_expiry_s: Option<u32>,
    },
    /// The client broke a rule.
    Violation(Violation),
    /// The connection broke or ended without DISCONNECT.
    Lost,
    /// No packet for 1.5 × Keep Alive.
    KeepAlive,
    /// Somebody connected with the same Client Identifier.
    TakenOver {
        /// The newcomer wants a Clean Start: the session ends now.
        clean_start: bool,
    },
    /// We end it: shutdown, administrative action, overload.
    ByServer(ReasonCode),
}

/// What is left when a session's connection is over.
#[derive(Debug, PartialEq)]
pub struct Farewell {
    /// DISCONNECT to send before closing (5.0), if one is due.
    pub disconnect: Option<ReasonCode>,
    /// Seconds the session lives on; 0 = it ended with the connection. `u32::MAX` = never expires.
    pub session_expiry_s: u32,
    /// Edits to save before the session is left: the identifiers of what is unfinished.
    pub changes: Vec<Change>,
    /// The will that is to be published: at once if its delay or the session's life is 0, else after the smaller of the two [MQTT-3.1.2-8].
    pub will: Option<Will>,
    /// Subscriptions to take out of the index if the session ended.
    pub subscriptions: Vec<Arc<str>>,
    /// Messages that only this session's memory held, lost with it: to be counted.
    pub lost_messages: usize,
}
