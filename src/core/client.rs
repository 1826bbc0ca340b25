//! One client of a core: its connection, what it is doing, and what it is owed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::access::Permissions;
use crate::auth::Exchange;
use crate::broker::later::Owned;
use crate::broker::plan::{Stored, Target};
use crate::broker::seat::Seat;
use crate::clock::Moment;
use crate::identity::{ClientId, Ticket};
use crate::message::Message;
use crate::mqtt::{Out, QoS};
use crate::net::{Layers, Transport};
use crate::session::{Owed, Receipt, Session};
use crate::store::{Level, Store};
use crate::threshold::{Claim, Claimed, Threshold};

use super::door::Door;

/// Answers owed to one client above which it is not read: it publishes faster than the store can promise.
const PENDING_MAX: usize = 4096;
/// Bytes of publications among them above which it is not read: 3.1.1 has no Receive Maximum to bound them.
const PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A client: the entry of a slot.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) transport: Transport,
    pub(super) layers: Layers,
    pub(super) stage: Stage,
    /// MQTT bytes that are not yet a whole packet, or may not be read yet.
    pub(super) partial: Vec<u8>,
    /// MQTT bytes to be written.
    pub(super) out: Out,
    /// Wire bytes to be written, where layers made others of them.
    pub(super) sealed: Option<Box<Out>>,
    /// Answers that wait for the disk or for each other, in arrival order [MQTT-4.6.0-2].
    pub(super) pending: VecDeque<Pending>,
    /// Bytes of the publications among them.
    pub(super) pending_bytes: usize,
    pub(super) seat: Option<Arc<Seat>>,
    pub(super) may: Arc<Permissions>,
    /// After which reload it was accepted: what it may do was found out since then.
    pub(super) rules_of: u32,
    /// A re-authentication that is under way.
    pub(super) exchange: Option<Box<Exchange>>,
    /// The authenticated user, to ask again what it may do.
    pub(super) user: Option<Arc<str>>,
    pub(super) door: Arc<Door>,
    pub(super) peer: IpAddr,
    /// The earliest timer of this client in the wheel.
    pub(super) timer: Option<Moment>,
    pub(super) flags: Flags,
}

/// What a core remembers of a client between two steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// The socket may have more to read than was taken.
    pub(super) readable: bool,
    /// Whole packets were kept, because there was enough work for one turn: they come before what the socket holds.
    pub(super) unfinished: bool,
    /// It was let in during this turn, and is not read on before the next: letters with what the same client published on another core
    /// may be here and not opened yet [MQTT-4.6.0-6].
    pub(super) fresh: bool,
    /// It is on the list to be read again without waiting for an edge.
    pub(super) listed: bool,
    /// The socket did not take everything: an edge will tell when it can.
    pub(super) blocked: bool,
    /// It is on the list to be flushed.
    pub(super) touched: bool,
    /// It is on the list of those who wait for the store.
    pub(super) waiting: bool,
    /// The peer has sent its FIN; after the next empty read it is over.
    pub(super) read_closed: bool,
    /// It has published more than another core takes in, and is on the list of those who wait for that core.
    pub(super) paused: bool,
    /// What is looked at now is the last that comes from it: it waits for nobody.
    pub(super) last_words: bool,
}

/// What a connection is doing.
///
/// ```text
///  Entering ──CONNACK 0──▶ Open ──▶ Closing ──▶ (gone)
///      └────────refused────────────────▲
/// ```
#[expect(clippy::large_enum_variant, reason = "nearly every client of a core is open")]
#[derive(Debug)]
pub(super) enum Stage {
    /// Not a session yet.
    Entering(Box<Entering>),
    /// A session.
    Open(Session),
    /// The last packet was said: what comes is thrown away until the peer closes or the time is up, so that
    /// a reset does not wipe the last packet out before it is read.
    Closing {
        /// When it ends at the latest.
        until: Moment,
        /// Whether our side was shut down for writing.
        shut: bool,
    },
}

/// A connection before its session.
#[derive(Debug)]
pub(super) struct Entering {
    pub(super) threshold: Threshold,
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) waits_for: WaitsFor,
    /// From accept to CONNACK.
    pub(super) until: Moment,
    /// Session Expiry Interval it asked for, once it has a seat.
    pub(super) session_expiry_s: u32,
    /// The will of its last connection, called off because it is coming back.
    pub(super) called_off: Option<Box<Owned>>,
}

/// What an entering connection waits for.
#[derive(Debug)]
pub(super) enum WaitsFor {
    /// A packet of the client.
    Client,
    /// Its credentials being checked.
    Identity,
    /// Its predecessor to leave the seat. The ticket is that of the end of a session which a Clean Start has replaced.
    Seat(Claim, Ticket),
    /// Its saved session to be read. The ticket is that of the record which says that its client is back.
    Saved(ClientId, Arc<Seat>, Ticket),
    /// Its new session record to be durable.
    Record(Ticket, Claimed),
}

/// Something owed to a client.
#[derive(Debug)]
pub(super) struct Pending {
    /// The first append it speaks for: an answer may speak for several, and counts as failed if one of them did.
    pub(super) first: Ticket,
    /// The last of them, and of all that wait for it.
    pub(super) ticket: Ticket,
    /// How safe the ticket must be. [`Level::Memory`] waits for nothing but what is owed before it.
    pub(super) level: Level,
    pub(super) owed: Owed,
    /// Bytes of the publication it answers, which the store holds until then.
    pub(super) bytes: usize,
    /// A QoS 2 message, delivered only once it is durable.
    pub(super) held: Option<Box<Held>>,
}

/// A message whose delivery waits for its commit.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Arc<Message>,
    pub(super) ticket: Ticket,
    pub(super) level: Level,
    /// The highest ticket of the core's orphans when it was published: they leave before it.
    pub(super) behind: Ticket,
    pub(super) by_core: Vec<Vec<Target>>,
    pub(super) stored: Vec<Stored>,
}

impl Held {
    /// Bytes it counts for.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.message.bytes()
    }
}

impl Pending {
    /// Whether it is owed for one append, whose message nobody waits for any more. What is asked for in another way than by a message
    /// of QoS 1 is more than a message.
    pub(super) fn is_early(&self, store: &dyn Store) -> bool {
        let is_of_qos_1 = |receipt: &Receipt| receipt.qos() == QoS::AtLeastOnce;
        self.first == self.ticket
            && matches!(&self.owed, Owed::Accepted { receipt, .. } if is_of_qos_1(receipt))
            && store.is_early(self.ticket)
    }

    /// An answer to anything but a publication.
    pub(super) fn new(ticket: Ticket, level: Level, owed: Owed) -> Self {
        Self { first: ticket, ticket, level, owed, bytes: 0, held: None }
    }

    /// The same, and it speaks for the append with this ticket, too.
    pub(super) fn since(self, first: Ticket) -> Self {
        if first == Ticket::NONE { self } else { Self { first, ..self } }
    }
}

impl Client {
    /// A connection just accepted.
    pub(super) fn new(transport: Transport, layers: Layers, door: &Arc<Door>, peer: IpAddr, until: Moment) -> Self {
        let threshold = Threshold::new(&door.rules.load_full(), &door.limits.load_full());
        let waits_for = WaitsFor::Client;
        let entering = Entering { threshold, exchange: None, waits_for, until, session_expiry_s: 0, called_off: None };
        Self {
            transport,
            layers,
            stage: Stage::Entering(Box::new(entering)),
            partial: Vec::new(),
            out: Out::default(),
            sealed: None,
            pending: VecDeque::new(),
            pending_bytes: 0,
            seat: None,
            may: Arc::clone(&door.nothing),
            rules_of: 0,
            exchange: None,
            user: None,
            door: Arc::clone(door),
            peer,
            timer: None,
            flags: Flags::default(),
        }
    }

    /// When somebody has to look at this client at the latest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Entering(entering) => Some(entering.until),
            Stage::Open(session) => session.deadline(),
            Stage::Closing { until, .. } => Some(*until),
        }
    }

    /// Whether packets of the client may be read now.
    pub(super) fn listens(&self) -> bool {
        self.listens_below(self.unsent_max())
    }

    /// Whether they may be, `unsent_max` being [`Client::unsent_max`].
    pub(super) fn listens_below(&self, unsent_max: usize) -> bool {
        match &self.stage {
            Stage::Entering(entering) => matches!(entering.waits_for, WaitsFor::Client),
            Stage::Open(_) => {
                !self.flags.fresh
                    && !self.flags.paused
                    && self.pending.len() < PENDING_MAX
                    && self.pending_bytes < PENDING_BYTES_MAX
                    && self.unsent_bytes() <= unsent_max
            }
            Stage::Closing { .. } => false,
        }
    }

    /// Bytes waiting to be written above which nothing more is read.
    pub(super) fn unsent_max(&self) -> usize {
        self.door.limits.load().out_bytes_max.saturating_mul(2)
    }

    /// What it sent and was not looked at yet does not count any more.
    pub(super) fn forget_kept(&mut self) {
        self.partial = Vec::new();
        self.flags.unfinished = false;
    }

    /// Bytes that wait to be written.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.out.len() + self.sealed.as_ref().map_or(0, |sealed| sealed.len())
    }

    /// The identity under which it entered, for logs.
    pub(super) fn name(&self) -> &str {
        self.seat.as_ref().map_or("-", |seat| seat.client.as_str())
    }
}
