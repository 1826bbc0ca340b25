//! What the store has of a session: its queue, its unfinished exchanges and the identifiers it received; as everything appended
//! has left it, and as a crash would.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use heraldmq::identity::Ticket;
use heraldmq::message::Message;
use heraldmq::mqtt::{PacketId, QoS};
use heraldmq::session::{Change, OutState, Page, Queued, Saved, SavedOut};

#[derive(Debug, Clone)]
struct Stored {
    message: Arc<Message>,
    packet_id: Option<PacketId>,
    /// The place of its PUBREC among all of them.
    released: Option<u64>,
    /// The message was dropped, its identifier was not.
    is_aside: bool,
}

/// What is kept.
#[derive(Debug, Clone, Default)]
struct Kept {
    releases: u64,
    stored: BTreeMap<u64, Stored>,
    received: BTreeSet<PacketId>,
}

/// One thing appended.
#[derive(Debug)]
enum Record {
    Message(u64, Arc<Message>),
    Received(PacketId),
    Edit(Change),
}

/// One session's part of the store.
#[derive(Debug)]
pub struct Queue {
    last: u64,
    live: Kept,
    /// What a crash leaves.
    durable: Kept,
    /// Appended and not durable.
    log: VecDeque<Record>,
    /// Records that are durable.
    mark: u64,
    /// Letters, each with the number of its record.
    mail: VecDeque<(Ticket, Arc<Message>, u64)>,
    /// The read that was asked for, and its answer if the store looked at once: what happens until it arrives is not in it.
    asked: Option<(Ticket, usize, Option<Page>)>,
    page_max: usize,
    looks_at_once: bool,
}

impl Kept {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Message(ticket, message) => {
                let stored = Stored { message: Arc::clone(message), packet_id: None, released: None, is_aside: false };
                self.stored.insert(*ticket, stored);
            }
            Record::Received(id) => {
                self.received.insert(*id);
            }
            Record::Edit(change) => self.edit(change),
        }
    }

    fn edit(&mut self, change: &Change) {
        match *change {
            Change::Released(id) => {
                self.received.remove(&id);
            }
            Change::SetAside { ticket } => {
                let stored = self.stored_at(ticket);
                assert!(stored.packet_id.is_some() && stored.released.is_none(), "sent, and not received");
                stored.is_aside = true;
            }
            Change::Sent { ticket, packet_id, .. } => self.stored_at(ticket).packet_id = Some(packet_id),
            Change::Received { ticket } => {
                self.releases += 1;
                let releases = self.releases;
                let stored = self.stored_at(ticket);
                assert!(stored.packet_id.is_some() && stored.released.is_none(), "sent, and received once");
                stored.released = Some(releases);
            }
            Change::Done { ticket } => assert!(self.stored.remove(&ticket.0).is_some(), "{ticket:?} is done once"),
            Change::Expiry { .. } => {}
        }
    }

    fn stored_at(&mut self, ticket: Ticket) -> &mut Stored {
        self.stored.get_mut(&ticket.0).expect("a message that is not done")
    }
}

impl Queue {
    /// An empty one that reads so many messages at a time, as they are when they are asked for or when they are handed out.
    pub fn new(page_max: usize, looks_at_once: bool) -> Self {
        let (live, durable, log, mail) = Default::default();
        Self { last: 0, live, durable, log, mark: 0, mail, asked: None, page_max, looks_at_once }
    }

    fn record(&mut self, record: Record) {
        self.live.apply(&record);
        self.log.push_back(record);
    }

    /// How many records there are.
    pub fn appended(&self) -> u64 {
        self.mark + self.log.len() as u64
    }

    /// So many records are durable.
    pub fn commit(&mut self, up_to: u64) {
        while self.mark < up_to
            && let Some(record) = self.log.pop_front()
        {
            self.durable.apply(&record);
            self.mark += 1;
        }
    }

    /// Some of what is not durable is now.
    pub fn commit_some(&mut self, choose: impl FnOnce(usize) -> usize) {
        self.commit(self.mark + choose(self.log.len() + 1) as u64);
    }

    /// The power fails.
    pub fn crash(&mut self) {
        self.live = self.durable.clone();
        self.log.clear();
    }

    /// A publisher's message is kept; its mail is under way.
    pub fn append(&mut self, make: impl FnOnce(u64) -> Arc<Message>) {
        self.last += 1;
        let message = make(self.last);
        self.record(Record::Message(self.last, Arc::clone(&message)));
        self.mail.push_back((Ticket(self.last), message, self.appended()));
    }

    /// The next letter; its message may have been read and finished before. A QoS 2 message is durable by then.
    pub fn next_mail(&mut self) -> Option<(Ticket, Arc<Message>)> {
        let (ticket, message, number) = self.mail.pop_front()?;
        if message.qos == QoS::ExactlyOnce {
            self.commit(number);
        }
        Some((ticket, message))
    }

    /// The session asks for a part of it, of what is durable by then.
    pub fn ask(&mut self, after: Ticket, max: usize) {
        assert!(self.asked.is_none(), "one read at a time");
        let page = self.looks_at_once.then(|| self.read(after, max));
        self.asked = Some((after, max, page));
    }

    /// That part.
    pub fn answer(&mut self) -> Option<Page> {
        let (after, max, page) = self.asked.take()?;
        Some(page.unwrap_or_else(|| self.read(after, max)))
    }

    fn read(&mut self, after: Ticket, max: usize) -> Page {
        self.commit(self.appended());
        let waiting: Vec<_> =
            self.durable.stored.range(after.0 + 1..).filter(|(_, stored)| stored.packet_id.is_none()).collect();
        let max = max.min(self.page_max);
        let messages = waiting.iter().take(max).map(|(ticket, stored)| Queued {
            ticket: Ticket(**ticket),
            message: Arc::clone(&stored.message),
            qos: stored.message.qos,
            retain: false,
            subscription_ids: Vec::new(),
        });
        let complete_up_to = (waiting.len() <= max).then_some(Ticket(self.last));
        Page { messages: messages.collect(), complete_up_to }
    }

    /// An incoming QoS 2 message is kept with its identifier.
    pub fn received(&mut self, id: PacketId) {
        self.record(Record::Received(id));
    }

    /// An edit.
    pub fn save(&mut self, change: Change) {
        self.record(Record::Edit(change));
    }

    /// What is read when the client comes back; mail and reads under way went with the connection.
    pub fn saved(&mut self) -> Saved {
        self.mail.clear();
        self.asked = None;
        self.commit(self.appended());
        let mut unfinished: Vec<_> = self
            .durable
            .stored
            .iter()
            .filter_map(|(ticket, stored)| Some((*ticket, stored, stored.packet_id?)))
            .collect();
        // PUBLISHs in the order of the queue, then PUBRELs in the order of the PUBRECs.
        unfinished.sort_by_key(|(ticket, stored, _)| (stored.released, *ticket));
        let outgoing = unfinished.into_iter().map(|(ticket, stored, packet_id)| SavedOut {
            packet_id,
            state: match stored.released {
                Some(_) => OutState::Released,
                None if stored.is_aside => OutState::SetAside,
                None => OutState::Published,
            },
            ticket: Ticket(ticket),
            message: (stored.released.is_none() && !stored.is_aside).then(|| Arc::clone(&stored.message)),
            qos: stored.message.qos,
            retain: false,
            subscription_ids: Vec::new(),
        });
        Saved {
            subscriptions: Vec::new(),
            outgoing: outgoing.collect(),
            received: self.durable.received.iter().copied().collect(),
        }
    }

    /// Messages that are still to come, or to be finished.
    fn waiting(&self) -> impl Iterator<Item = &Stored> {
        self.live.stored.values().filter(|stored| !stored.is_aside || stored.released.is_some())
    }

    /// Whether nothing is kept and nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        self.waiting().next().is_none() && self.mail.is_empty() && self.asked.is_none()
    }

    /// Everything arrived or was dropped for a reason.
    pub fn assert_empty(&self) {
        assert!(self.waiting().next().is_none(), "never done: {:?}", self.live.stored);
    }
}
