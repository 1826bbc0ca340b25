//! One core: a thread's worth of clients and everything that happens to them.
//!
//! A connection lives and dies on the core that accepted it. In one [`Core::turn`] a core reads its mail, reads what is ready,
//! lets each client's threshold or session decide, performs what they ask for, and then writes to each touched
//! connection once. A turn is a function of what is ready, the mail and the time, so several cores can be driven
//! in one thread from a seed; `run.rs` drives one from a `mio` poll.
//!
//! *Architecture invariant:* no tokio, no blocking, no lock but the inboxes' and the broker's. What waits (passwords, a store on a
//! disk) is asked through a closure, and the answer is mail. Nothing of one client may stop the others: reads are bounded per
//! turn, and a panic ends one connection.
//!
//! Start here, then `receive.rs` (bytes in), `effects.rs` (what sessions ask for), `deliver.rs` (messages out), `flush.rs` (bytes out).

mod client;
mod counting;
mod deliver;
mod door;
mod effects;
mod ending;
mod entering;
mod flush;
mod guard;
mod inbox;
mod leaving;
mod letters;
mod outbox;
mod pool;
mod receive;
mod run;
mod slab;
mod wheel;

use std::net::IpAddr;
use std::sync::Arc;

use client::{Client, Held, Stage};
use leaving::Leaving;
use outbox::Post;
use pool::Pool;
use slab::Slab;
use wheel::Wheel;

pub use door::Door;
pub use inbox::{Inbox, Mail};
pub use run::{Cores, Options, start};

use crate::access::Permissions;
use crate::auth::Auth;
use crate::broker::Broker;
use crate::broker::plan::Plan;
use crate::broker::route::Routing;
use crate::broker::seat::Address;
use crate::clock::{Moment, Now};
use crate::metrics::{Board, Closed, Counters, Metric};
use crate::mqtt::publish::Templates;
use crate::net::{Layers, Transport};
use crate::session::{Desk, Effect, Ending, Sent, Session};
use crate::store::{Lost, Marks};

/// Bytes read from one connection in one turn.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Counters are shown to others this often.
const SHOW_MS: u64 = 1000;

/// What all cores share.
#[derive(Debug)]
pub struct Shared {
    /// Routing, sessions, retained messages, store.
    pub broker: Arc<Broker>,
    /// One inbox per core.
    pub inboxes: Vec<Arc<Inbox>>,
    /// Who checks credentials; without it only anonymous clients come in.
    pub auth: Option<Arc<Auth>>,
    /// Where counters are shown.
    pub board: Arc<Board>,
}

/// What is ready on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// Its slot.
    pub slot: u32,
    /// There is something to read.
    pub readable: bool,
    /// It takes bytes again.
    pub writable: bool,
    /// The peer sent its FIN.
    pub read_closed: bool,
}

/// What is done now and then.
#[derive(Debug)]
struct Chores {
    /// When counters were shown last.
    shown: Moment,
    /// Whether they are shown as they are: nothing has happened since.
    is_shown: bool,
    /// The first core only: when to publish the broker's figures.
    sys_due: Moment,
    /// The first core only: when to try again what the store refused.
    repair_due: Moment,
}

/// One core's clients and tools.
pub struct Core {
    id: u8,
    shared: Arc<Shared>,
    now: Now,
    clients: Slab<Client>,
    wheel: Wheel,
    pool: Pool,
    counters: Counters,
    /// Read into by every connection of this core.
    scratch: Vec<u8>,
    /// Opened layers' bytes, used in turn like the scratch.
    plain: Vec<u8>,
    templates: Templates,
    routing: Routing,
    /// Away while a message is routed; made anew if that ended in a panic.
    plan: Option<Box<Plan>>,
    /// Letters for the cores, posted at the end of the turn.
    post: Post,
    /// Connections to flush at the end of the turn.
    touched: Vec<u32>,
    /// Connections to read in the next turn without an edge.
    again: Vec<u32>,
    /// Clients that are owed something which waits for the store.
    waiting: Vec<Address>,
    /// QoS 2 messages that nobody is acknowledged for and which wait for their commit: wills, further copies.
    orphans: Vec<Held>,
    /// Clients that are gone, and keep their seat until what they published is delivered.
    leaving: Vec<Leaving>,
    /// The store's marks, as last looked at.
    marks: Marks,
    /// What the store has dropped and is counted. Only the first core counts it.
    store_lost: Lost,
    /// Empty effect lists, one per depth of nesting.
    spare_effects: Vec<Vec<Effect>>,
    chores: Chores,
    /// Filters of a SUBSCRIBE or UNSUBSCRIBE that the store has just refused, while the connection ends for it.
    doubtful: Vec<Arc<str>>,
    /// How often rules or users have changed.
    reloads: u32,
}

impl Core {
    /// A core without clients. `id` is its place in `shared.inboxes`.
    pub fn new(id: u8, shared: Arc<Shared>, now: Now) -> Self {
        let cores = shared.inboxes.len();
        Self {
            id,
            now,
            clients: Slab::new(id),
            wheel: Wheel::new(id, now.moment),
            pool: Pool::default(),
            counters: Counters::default(),
            scratch: vec![0; SCRATCH_BYTES],
            plain: Vec::new(),
            templates: Templates::default(),
            routing: Routing::default(),
            plan: None,
            post: Post::new(cores),
            touched: Vec::new(),
            again: Vec::new(),
            waiting: Vec::new(),
            orphans: Vec::new(),
            leaving: Vec::new(),
            marks: shared.broker.store.marks(),
            store_lost: Lost::default(),
            spare_effects: Vec::new(),
            chores: Chores { shown: now.moment, is_shown: false, sys_due: now.moment, repair_due: now.moment },
            doubtful: Vec::new(),
            reloads: 0,
            shared,
        }
    }

    /// Takes a connection in and says its slot. Its bytes are read when the next turn says it is readable.
    pub fn admit(&mut self, transport: Transport, layers: Layers, door: &Arc<Door>, peer: IpAddr) -> u32 {
        let until = self.now.moment.plus_ms(door.connect_timeout_ms);
        let mut client = Client::new(transport, layers, door, peer, until);
        client.rules_of = self.reloads;
        let address = self.clients.insert(client);
        self.counters.add(Metric::ConnectionsOpened, 1);
        self.schedule(address.slot);
        address.slot
    }

    /// The transport in a slot, to be watched.
    pub fn transport(&mut self, slot: u32) -> Option<&mut Transport> {
        self.clients.get_mut(slot).map(|client| &mut client.transport)
    }

    /// Forgets a connection that cannot be watched.
    pub fn forget(&mut self, slot: u32) {
        self.count_closed(Closed::Lost);
        self.remove(slot);
    }

    /// Counts a connection that was closed because there are too many.
    pub fn turned_away(&mut self) {
        self.count_closed(Closed::Refused);
    }

    /// One round: mail, what is ready, timers, and then one write to each connection that has something to say; where somebody sent
    /// more than is read in one turn, one before his rest is read and one behind it.
    pub fn turn(&mut self, ready: &[Ready], mail: &mut Vec<Mail>, now: Now) {
        self.now = now;
        self.part_drained();
        // Letters first: what was committed here may have been published behind what they bring.
        for letter in mail.drain(..) {
            self.open_letter(letter);
        }
        self.look_at_the_store();
        let again = std::mem::take(&mut self.again);
        for event in ready {
            self.handle_ready(*event);
        }
        // Who sent more than is read in one turn comes behind everybody else, who is answered first.
        if !again.is_empty() {
            self.send_off();
        }
        for slot in again {
            self.read_again(slot);
        }
        self.handle_timers();
        self.send_off();
        self.clients.reuse();
        self.chores.is_shown = now.moment.ms_since(self.chores.shown) >= SHOW_MS;
        if self.chores.is_shown {
            self.show();
        }
    }

    /// What was decided so far leaves: to the clients, and to other cores.
    fn send_off(&mut self) {
        self.look_at_the_store();
        self.tell_what_is_early();
        self.flush_touched();
        self.post_all();
    }

    /// When the next turn is due if nothing becomes ready and no mail comes: `now` if work was left over.
    pub fn next_turn(&self) -> Option<Moment> {
        if !self.again.is_empty() || !self.touched.is_empty() || self.has_drained() {
            return Some(self.now.moment);
        }
        let mut next = self.wheel.next();
        if self.id == 0 {
            let later = self.shared.broker.later.next_deadline();
            let repair = self.shared.broker.repairs.any().then_some(self.chores.repair_due);
            next = [next, later, repair, Some(self.chores.sys_due)].into_iter().flatten().min();
        }
        // What the last client did is shown, too; the first core shows what all of them share.
        let show = (self.id == 0 || self.clients.len() > 0 || !self.chores.is_shown)
            .then(|| self.chores.shown.plus_ms(SHOW_MS));
        [next, show].into_iter().flatten().min()
    }

    /// Connections of this core, and clients that are gone and not done with.
    pub fn connections(&self) -> usize {
        self.clients.len() + self.leaving.len()
    }

    fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.shared.inboxes[usize::from(self.id)])
    }

    /// Makes sure somebody looks at the client when its deadline comes.
    fn schedule(&mut self, slot: u32) {
        let (Some(address), Some(client)) = (self.clients.address(slot), self.clients.get_mut(slot)) else { return };
        let Some(deadline) = client.deadline() else { return };
        if client.timer.is_none_or(|timer| deadline < timer) {
            client.timer = Some(deadline);
            self.wheel.add(deadline, address);
        }
    }

    fn handle_timers(&mut self) {
        let mut due = Vec::new();
        self.wheel.due(self.now.moment, |address| self.clients.has(address), &mut due);
        for (promised, address) in due {
            let Some(client) = self.clients.at(address) else { continue };
            if client.timer != Some(promised) {
                continue; // an earlier timer took its place
            }
            client.timer = None;
            if client.deadline().is_some_and(|deadline| deadline <= self.now.moment) {
                self.guarded(address.slot, |core| core.handle_deadline(address.slot));
            }
            self.schedule(address.slot);
        }
        if self.id == 0 {
            self.handle_later();
        }
    }

    /// Runs `decide` on a client's session, performs what it asked for, and marks the connection to be flushed.
    fn with_session<R>(
        &mut self,
        slot: u32,
        decide: impl FnOnce(&mut Session, &Permissions, Now, &mut Desk<'_>) -> R,
    ) -> Option<R> {
        let mut effects = self.spare_effects.pop().unwrap_or_default();
        let now = self.now;
        let mut sent = Sent::default();
        let result = match self.clients.get_mut(slot) {
            Some(client) => match &mut client.stage {
                Stage::Open(session) => {
                    self.pool.lend_to(&mut client.out);
                    let mut desk = Desk::new(&mut client.out, &mut effects);
                    let result = decide(session, &client.may, now, &mut desk);
                    sent = desk.sent;
                    if !client.flags.touched {
                        client.flags.touched = true;
                        self.touched.push(slot);
                    }
                    Some(result)
                }
                _ => None,
            },
            None => None,
        };
        self.count_sent(&sent);
        if !effects.is_empty() {
            self.perform(slot, &mut effects);
        }
        self.spare_effects.push(effects);
        result
    }

    /// Runs `decide`, and ends the connection if it says so.
    fn decide(
        &mut self,
        slot: u32,
        decide: impl FnOnce(&mut Session, &Permissions, Now, &mut Desk<'_>) -> Result<(), Ending>,
    ) {
        if let Some(Err(ending)) = self.with_session(slot, decide) {
            self.end(slot, ending);
        }
    }

    fn touch(&mut self, slot: u32) {
        if let Some(client) = self.clients.get_mut(slot)
            && !client.flags.touched
        {
            client.flags.touched = true;
            self.touched.push(slot);
        }
    }

    /// Shows the counters to whoever asks for metrics.
    fn show(&mut self) {
        self.chores.shown = self.now.moment;
        self.counters.set(Metric::Connections, self.clients.len() as u64);
        self.counters.set(Metric::PublishersPaused, self.paused() as u64);
        self.counters.set(Metric::InboxBytes, self.inbox().waiting_bytes() as u64);
        if self.id == 0 {
            let broker = &self.shared.broker;
            self.counters.set(Metric::Subscriptions, broker.index.subscriptions() as u64);
            self.counters.set(Metric::RetainedMessages, broker.retained.count() as u64);
            self.counters.set(Metric::Sessions, broker.directory.len() as u64);
            self.count_store_lost(broker.store.lost());
        }
        self.shared.board.show(usize::from(self.id), &self.counters);
    }
}

#[cfg(test)]
mod tests;
