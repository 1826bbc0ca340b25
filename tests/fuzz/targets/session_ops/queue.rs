//! What the store has of a session: its queue, its unfinished exchanges and the identifiers it received.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use heraldmq::identity::Ticket;
use heraldmq::message::Message;
use heraldmq::mqtt::PacketId;
use heraldmq::session::{Change, OutState, Page, Queued, Saved, SavedOut};

#[derive(Debug)]
struct Stored {
    message: Arc<Message>,
    packet_id: Option<PacketId>,
    /// The place of its PUBREC among all of them.
    released: Option<u64>,
}

/// One session's part of the store.
#[derive(Debug)]
pub struct Queue {
    last: u64,
    releases: u64,
    stored: BTreeMap<u64, Stored>,
    received: BTreeSet<PacketId>,
    mail: VecDeque<(Ticket, Arc<Message>)>,
    /// The read that was asked for, and its answer if the store looked at once: what happens until it arrives is not in it.
    asked: Option<(Ticket, usize, Option<Page>)>,
    page_max: usize,
    looks_at_once: bool,
}

impl Queue {
    /// An empty one that reads so many messages at a time, as they are when they are asked for or when they are handed out.
    pub fn new(page_max: usize, looks_at_once: bool) -> Self {
        let (stored, received, mail) = Default::default();
        Self { last: 0, releases: 0, stored, received, mail, asked: None, page_max, looks_at_once }
    }

    /// A publisher's message is kept; its mail is under way.
    pub fn append(&mut self, make: impl FnOnce(u64) -> Arc<Message>) {
        self.last += 1;
        let message = make(self.last);
        self.mail.push_back((Ticket(self.last), Arc::clone(&message)));
        self.stored.insert(self.last, Stored { message, packet_id: None, released: None });
    }

    /// The next letter; its message may have been read and finished before.
    pub fn next_mail(&mut self) -> Option<(Ticket, Arc<Message>)> {
        self.mail.pop_front()
    }

    /// The session asks for a part of it.
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

    fn read(&self, after: Ticket, max: usize) -> Page {
        let waiting: Vec<_> =
            self.stored.range(after.0 + 1..).filter(|(_, stored)| stored.packet_id.is_none()).collect();
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
        self.received.insert(id);
    }

    /// An edit.
    pub fn save(&mut self, change: &Change) {
        match *change {
            Change::Released(id) => {
                self.received.remove(&id);
            }
            Change::Sent { ticket, packet_id } => self.stored_at(ticket).packet_id = Some(packet_id),
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

    /// What is read when the client comes back; mail and reads under way went with the connection.
    pub fn saved(&mut self) -> Saved {
        self.mail.clear();
        self.asked = None;
        let mut unfinished: Vec<_> =
            self.stored.iter().filter_map(|(ticket, stored)| Some((*ticket, stored, stored.packet_id?))).collect();
        // PUBLISHs in the order of the queue, then PUBRELs in the order of the PUBRECs.
        unfinished.sort_by_key(|(ticket, stored, _)| (stored.released, *ticket));
        let outgoing = unfinished.into_iter().map(|(ticket, stored, packet_id)| SavedOut {
            packet_id,
            state: if stored.released.is_some() { OutState::Released } else { OutState::Published },
            ticket: Ticket(ticket),
            message: stored.released.is_none().then(|| Arc::clone(&stored.message)),
            qos: stored.message.qos,
            retain: false,
            subscription_ids: Vec::new(),
        });
        Saved {
            subscriptions: Vec::new(),
            outgoing: outgoing.collect(),
            received: self.received.iter().copied().collect(),
        }
    }

    /// Whether nothing is kept and nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        self.stored.is_empty() && self.mail.is_empty() && self.asked.is_none()
    }

    /// Everything arrived or was dropped for a reason.
    pub fn assert_empty(&self) {
        assert!(self.stored.is_empty(), "never done: {:?}", self.stored);
    }
}
