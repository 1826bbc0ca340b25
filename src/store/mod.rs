//! Durability: what must outlive a connection, or the process.
//!
//! Work is appended at a [`Level`] and gets a [`Ticket`]; it is as safe as it asked to be when that level's mark of
//! [`Store::marks`] has reached the ticket. Reads are answered through a closure, at once or later, so that a store on a disk never
//! blocks a core.
//!
//! *Architecture invariant:* the store knows records, not MQTT: it never decides who gets a message, and never learns who
//! waits for it (it rings a bell it was given).
//!
//! Start with [`Store`] and [`Record`]; `memory` shows what each record means.

pub mod early;
mod level;
pub mod memory;
pub mod record;
pub mod rocks;

use std::path::Path;
use std::sync::Arc;

pub use level::{Level, Levels, Marks, TopicLevels};

use crate::clock::{Moment, Now};
use crate::identity::{ClientId, SessionId, Ticket};
use crate::message::Message;
use crate::mqtt::{PacketId, QoS};
use crate::session::{Change, Page, Saved, SavedSubscription};
use crate::wake::Wake;
use record::LaterWill;

/// What happens when a session's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// A message for this session alone is refused if its publisher can be told; of other messages the full queue loses its
    /// oldest: one client that never comes back must not keep a broadcast from the others, nor a publisher that cannot be
    /// told from publishing at all.
    #[default]
    Reject,
    /// The oldest message that is not under way is dropped, and counted.
    DropOldest,
}

/// Whether the publisher of a message learns that a full queue refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// By a reason code: a client of 5.0 that waits for an acknowledgement.
    CanBeTold,
    /// A client of 3.1.1, for which there is nothing but to be closed, and which would send the message again; a will; the
    /// broker itself; a retained message on its way to a new subscription. Its message is never refused.
    CannotBeTold,
    /// A client of 3.1.1 that waits for an acknowledgement: it is closed when its message could not be written, comes back, and
    /// sends everything again that was not acknowledged. What it had sent behind that message before its core heard of the failure
    /// must fail, too, or it would be given out first and its order be lost [MQTT3-4.6.0-6].
    SendsAgain {
        /// [`Marks::failures`] as its core knew it.
        heard: u64,
    },
}

impl Publisher {
    /// Whether it sends again what failed, and its core had not heard of the last of so many failures.
    pub fn has_not_heard_of(self, failures: u64) -> bool {
        matches!(self, Self::SendsAgain { heard } if heard < failures)
    }
}

/// Bounds of one session's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages that wait.
    pub messages_max: usize,
    /// Bytes of those: topics, properties and payloads. One message always fits.
    pub bytes_max: usize,
    /// What happens beyond.
    pub when_full: WhenFull,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 16 * 1024 * 1024, when_full: WhenFull::default() }
    }
}

impl Bounds {
    /// Whether a queue of so many messages and bytes has no room for another of `bytes`.
    pub fn is_full(&self, messages: u64, waiting: u64, bytes: usize) -> bool {
        messages > 0 && (messages >= self.messages_max as u64 || waiting + bytes as u64 > self.bytes_max as u64)
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
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A message waits for these sessions. Its place in their queues is the ticket of the append.
    Enqueue {
        /// The message.
        message: Arc<Message>,
        /// Who waits for it.
        recipients: Vec<Recipient>,
        /// Whether it may be refused. Not stored.
        publisher: Publisher,
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
    /// The retained message of this topic has expired: it goes if its time was over by this moment, and stays if it is one that
    /// has taken its place in the meantime.
    Expired(Box<str>, Moment),
    /// A session begins; or, for a number that is known, its client is back: its end is called off.
    Open(SessionRecord),
    /// A session's connection ended; without a return it ends at this wall clock time (ms), `None` = never.
    Leave {
        /// Which.
        session: SessionId,
        /// When it ends.
        ends_wall_ms: Option<u64>,
    },
    /// A will that is to be published later. Called off when its client is back or its session ends.
    Will {
        /// Whose.
        session: SessionId,
        /// The will, and when it is due.
        will: Box<LaterWill>,
    },
    /// A will is being published, and is not to come later any more.
    NoWill {
        /// Whose.
        session: SessionId,
        /// When it was due: its client may have been back since then, and have left another one behind, which stays.
        due_wall_ms: u64,
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

impl Record {
    /// Whether it says what is retained. A store that refuses an append makes such a record true all the same, as soon as it can: what
    /// is retained is handed out from memory.
    pub fn is_retained(&self) -> bool {
        matches!(self, Self::Retain(_) | Self::Unretain(_))
    }
}

/// What a start finds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Sessions with their subscriptions, and when they end (wall clock, ms).
    pub sessions: Vec<(SessionRecord, Vec<SavedSubscription>, Option<u64>)>,
    /// Retained messages.
    pub retained: Vec<Arc<Message>>,
    /// Wills that were to be published later.
    pub wills: Vec<(SessionId, LaterWill)>,
    /// The highest number of a session of which anything is left, ended ones included: none up to it may be given out again.
    pub last_session: SessionId,
}

/// Messages that a store let go of without anybody being done with them, since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Dropped because a session's queue was full: its oldest, or one whose publisher had its answer already.
    pub queue_full: u64,
    /// In the queue of a session that ended, unfinished ones included.
    pub session_ended: u64,
    /// Acknowledged at [`Level::Memory`], and then it could not be written. Counted for each session it was for.
    pub unwritten: u64,
    /// Their Message Expiry Interval passed while their sessions were away.
    pub expired: u64,
    /// They waited longer than a message may wait for a session that is away.
    pub too_old: u64,
}

impl Lost {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Lost) -> Lost {
        Lost {
            queue_full: self.queue_full + other.queue_full,
            session_ended: self.session_ended + other.session_ended,
            expired: self.expired + other.expired,
            unwritten: self.unwritten + other.unwritten,
            too_old: self.too_old + other.too_old,
        }
    }
}

/// A store: `memory`, or RocksDB.
pub trait Store: Send + Sync {
    /// Appends records as one, to be as safe as `level` says. Returns their ticket, higher than every ticket before.
    ///
    /// Of an append that fails nothing is kept but what [`Record::is_retained`], as soon as that can be written; a store that is
    /// in working order again also writes state that nobody waited for, at [`Level::Memory`].
    ///
    /// Who waits for the ticket waits for the mark of `level` or of a weaker one, never of a stronger.
    fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket;
    /// Appends records at the store's own level.
    fn append(&self, records: Vec<Record>) -> Ticket {
        self.append_at(records, self.level())
    }
    /// How far it has come.
    fn marks(&self) -> Marks;
    /// Everything up to this ticket is as safe as it asked to be, or has failed.
    fn durable(&self) -> Ticket {
        self.marks().synced
    }
    /// Whether the append with this ticket is settled ahead of the marks: it was a message and nothing else, and every session that it
    /// was for has said that it is done with it before it was written. A store may have forgotten; then the marks tell.
    fn is_early(&self, _ticket: Ticket) -> bool {
        false
    }
    /// Whether an append was settled ahead of the marks since somebody asked last: who asks tells whoever waits. It wakes nobody,
    /// since it happens in an append, and a core makes many of those before others have to look.
    fn has_settled_early(&self) -> bool {
        false
    }
    /// Whether so much waits to be written that no append should be made at [`Level::Memory`]: acknowledged without waiting, its
    /// publisher would send more, and nothing would bound what waits. Level `os` holds it back.
    fn is_behind(&self) -> bool {
        false
    }
    /// Whether a commit has failed since it was opened, so that what was appended at [`Level::Memory`] may not be there though it was
    /// acknowledged. A store that cannot know says yes.
    fn has_failed(&self) -> bool {
        true
    }
    /// Whether the append with this ticket failed: nobody may be acknowledged for it.
    fn failed(&self, ticket: Ticket) -> bool;
    /// Whether one of the appends with these tickets failed, `first` to `last`.
    fn any_failed(&self, first: Ticket, last: Ticket) -> bool {
        (first.0..=last.0).any(|ticket| self.failed(Ticket(ticket)))
    }
    /// The saved part of a session, through `answer`, as everything appended ahead of this call left it.
    fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>);
    /// Waiting messages of a session behind `after`, at most `max`, through `answer`: only what is durable, and not before
    /// everything appended ahead of this call is. So a page that is complete is complete at least up to there, and a message whose
    /// delivery found its session still coming back is in it.
    fn read_queue(&self, session: SessionId, after: Ticket, max: usize, now: Now, answer: Box<dyn FnOnce(Page) + Send>);
    /// What is waited for where nobody asked for another level.
    fn level(&self) -> Level;
    /// Everything a broker must know before it listens.
    fn recover(&self) -> Recovered;
    /// What was dropped so far, to be counted.
    fn lost(&self) -> Lost;
    /// Whom to wake when a mark moves. A store where every append is durable at once wakes nobody.
    fn wake_with(&self, _wake: Wake) {}
    /// Copies everything that is durable to a folder that is not there yet, while the store is in use.
    ///
    /// # Errors
    /// In words for an operator.
    fn backup(&self, _to: &Path) -> Result<(), String> {
        Err("this mode keeps nothing that could be copied".to_owned())
    }
    /// Nothing follows: what was appended is made durable, and the store is left in order.
    fn close(&self) {}
}
