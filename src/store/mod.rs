//! Durability: what must outlive a connection, or the process.
//!
//! Work is appended and gets a [`Ticket`]; it is safe when [`Store::durable`] has reached that ticket. Reads are answered
//! through a closure, at once or later, so that a store on a disk never blocks a core.
//!
//! *Architecture invariant:* the store knows records, not MQTT: it never decides who gets a message, and never learns who
//! waits for it (it rings a bell it was given).
//!
//! Start with [`Store`] and [`Record`]; `memory.rs` shows what each record means.

pub mod memory;
pub mod record;
pub mod rocks;

use std::sync::Arc;

use crate::clock::Now;
use crate::identity::{ClientId, SessionId, Ticket};
use crate::message::Message;
use crate::mqtt::{PacketId, QoS};
use crate::session::{Change, Page, Saved, SavedSubscription};

/// Bounds of one session's queue. What is beyond drops the oldest message that was not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages that wait.
    pub messages_max: usize,
    /// Bytes of those: topics, properties and payloads. One message always fits.
    pub bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 16 * 1024 * 1024 }
    }
}

/// One message in one session's queue: how this session gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Whose queue.
    pub session: SessionId,
    /// QoS of the delivery, 1 or 2.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers of the delivery.
    pub subscription_ids: Vec<u32>,
}

/// A session record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its number.
    pub session: SessionId,
    /// Its Client Identifier.
    pub client: ClientId,
    /// The user it belongs to; nobody else may take it over.
    pub owner: Option<Arc<str>>,
    /// Session Expiry Interval, seconds; `u32::MAX` = never.
    pub expiry_s: u32,
}

/// One durable fact. Records appended together are kept together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A message waits for these sessions. Its place in their queues is the ticket of the append.
    Enqueue {
        /// The message.
        message: Arc<Message>,
        /// Who waits for it.
        recipients: Vec<Recipient>,
    },
    /// A session owns an incoming QoS 2 message: its identifier is taken until `Change::Released`.
    Received {
        /// Whose.
        session: SessionId,
        /// The identifier.
        packet_id: PacketId,
    },
    /// The retained message of its topic is now this one.
    Retain(Arc<Message>),
    /// This topic has no retained message any more.
    Unretain(Box<str>),
    /// A session begins; or, for a number that is known, its client is back: its end is called off.
    Open(SessionRecord),
    /// A session's connection ended; without a return it ends at this wall clock time (ms), `None` = never.
    Leave {
        /// Which.
        session: SessionId,
        /// When it ends.
        ends_wall_ms: Option<u64>,
    },
    /// A session ends: its queue and everything of it goes.
    End(SessionId),
    /// A subscription was made or replaced.
    Subscribe(SessionId, SavedSubscription),
    /// A subscription was ended.
    Unsubscribe(SessionId, Arc<str>),
    /// An edit made by the session itself.
    Edit(SessionId, Change),
}

/// What a start finds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Sessions with their subscriptions, and when they end (wall clock, ms).
    pub sessions: Vec<(SessionRecord, Vec<SavedSubscription>, Option<u64>)>,
    /// Retained messages.
    pub retained: Vec<Arc<Message>>,
}

/// Messages that a store let go of without anybody being done with them, since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// The oldest in a session's queue, dropped because the queue was full.
    pub queue_full: u64,
    /// In the queue of a session that ended, unfinished ones included.
    pub session_ended: u64,
}

/// A store: `memory`, or RocksDB.
pub trait Store: Send + Sync {
    /// Appends records as one. Returns their ticket, higher than every ticket before.
    fn append(&self, records: Vec<Record>) -> Ticket;
    /// Everything up to this ticket is safe.
    fn durable(&self) -> Ticket;
    /// Whether the append with this ticket failed: nobody may be acknowledged for it.
    fn failed(&self, ticket: Ticket) -> bool;
    /// The saved part of a session, through `answer`, as everything appended ahead of this call left it.
    fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>);
    /// Waiting messages of a session behind `after`, at most `max`, through `answer`: only what is durable, and not before
    /// everything appended ahead of this call is. So a page that is complete is complete at least up to there, and a message whose
    /// delivery found its session still coming back is in it.
    fn read_queue(&self, session: SessionId, after: Ticket, max: usize, now: Now, answer: Box<dyn FnOnce(Page) + Send>);
    /// What an acknowledgement survives: `memory`, `os` or `sync`.
    fn mode(&self) -> &'static str;
    /// Everything a broker must know before it listens.
    fn recover(&self) -> Recovered;
    /// What was dropped so far, to be counted.
    fn lost(&self) -> Lost;
}
