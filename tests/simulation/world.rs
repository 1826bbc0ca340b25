//! Cores, store, wires and clients, and the steps that chance takes with them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use heraldmq::access::Permissions;
use heraldmq::broker::Broker;
use heraldmq::broker::directory::Directory;
use heraldmq::broker::index::Index;
use heraldmq::broker::later::Later;
use heraldmq::broker::repair::Repairs;
use heraldmq::broker::retain::Retained;
use heraldmq::clock::{Moment, Now};
use heraldmq::core::{Core, Door, Inbox, Ready, Shared};
use heraldmq::identity::Ticket;
use heraldmq::metrics::{Board, Metric};
use heraldmq::net::{Layers, Pipe, Transport, pipe};
use heraldmq::session::Limits;
use heraldmq::store::memory::Memory;
use heraldmq::store::{Bounds, Levels, Store};
use heraldmq::threshold::Rules;
use heraldmq::wake::Wake;

use crate::chance::Chance;
use crate::client::{Client, Kind, LASTING_S, State};
use crate::kinds::{kinds, late};
use crate::{lapses, oracle, subscriptions};

const CORES: usize = 3;
/// Bytes a wire holds: small, so that writers meet full buffers.
const WIRE: usize = 256;

/// What may go wrong in a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Connections break, clients leave and come back, also over their own old connection.
    pub breaks: bool,
    /// The process dies, and with it everything that was not committed.
    pub crashes: bool,
    /// The store refuses an append.
    pub refusals: bool,
    /// The clock jumps by seconds.
    pub lapses: bool,
}

/// A connection, from the kernel's side.
struct Line {
    client: usize,
    /// Which of the client's connections.
    connection: u64,
    core: usize,
    slot: u32,
    far: Pipe,
    /// Edges that the core has not been told of.
    readable: bool,
    writable: bool,
    read_closed: bool,
    /// The client has gone; what the broker still says is thrown away.
    abandoned: bool,
}

/// Everything.
pub struct World {
    chance: Chance,
    faults: Faults,
    pub now_ms: u64,
    step: u64,
    pub store: Arc<Memory>,
    board: Arc<Board>,
    pub shared: Arc<Shared>,
    /// When the first core, which looks after what comes due, has had its last turn.
    pub looked_ms: u64,
    cores: Vec<Core>,
    door: Arc<Door>,
    lines: Vec<Line>,
    pub clients: Vec<Client>,
    pub bytes: u64,
    pub crashed: bool,
    /// Appends that were gone after a crash.
    pub undone: u64,
    pub refused: bool,
}

fn shared(store: &Arc<Memory>, board: &Arc<Board>, now: Now) -> Arc<Shared> {
    let broker = Arc::new(Broker {
        index: Index::new(),
        retained: Retained::default(),
        directory: Directory::new(),
        later: Later::new(),
        repairs: Repairs::default(),
        store: Arc::clone(store) as Arc<dyn Store>,
        levels: Levels::default(),
    });
    broker.recover(now);
    let inboxes = (0..CORES).map(|_| Arc::new(Inbox::new(Wake::silent()))).collect();
    Arc::new(Shared { broker, inboxes, auth: None, board: Arc::clone(board) })
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let mut chance = Chance::new(seed);
        let store = Arc::new(Memory::manual(Bounds::default()));
        let board = Arc::new(Board::new(CORES));
        let everything = Arc::new(Permissions::everything());
        let rules = Rules { allow_anonymous: true, methods: Vec::new(), anonymous_may: everything };
        let limits = Limits { out_bytes_max: 512, ..Limits::default() };
        let door = Arc::new(Door::new("simulated", Arc::new(rules), Arc::new(limits), 10_000, 8192));
        let now = Now { moment: Moment::from_ms(1), wall_ms: 1 };
        let shared = shared(&store, &board, now);
        let cores = (0..CORES).map(|id| Core::new(id as u8, Arc::clone(&shared), now)).collect();
        let clients = kinds(&mut chance).into_iter().map(Client::new).collect();
        Self {
            chance,
            faults,
            now_ms: 1,
            step: 0,
            store,
            board,
            shared,
            looked_ms: 1,
            cores,
            door,
            lines: Vec::new(),
            clients,
            bytes: 0,
            crashed: false,
            undone: 0,
            refused: false,
        }
    }

    fn now(&self) -> Now {
        Now { moment: Moment::from_ms(self.now_ms), wall_ms: self.now_ms }
    }

    /// Takes steps by chance.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.begin_step();
            match self.chance.below(100) {
                0..35 => self.turn(),
                35..50 => self.client_writes(),
                50..65 => self.client_reads(),
                65..75 => self.client_publishes(),
                75..84 => self.client_answers(),
                84 => self.client_wavers(),
                85..90 => self.commit(),
                90..94 => self.client_enters(),
                94..96 => self.now_ms += self.chance.below(50) as u64,
                _ => self.fault(),
            }
        }
    }

    fn begin_step(&mut self) {
        self.step += 1;
        self.clients.iter_mut().for_each(|client| client.now_ms = self.now_ms);
    }

    fn turn(&mut self) {
        let core = self.chance.below(CORES);
        self.turn_of(core, true);
    }

    fn turn_of(&mut self, core: usize, partly: bool) {
        let mut ready = Vec::new();
        for line in self.lines.iter_mut().filter(|line| line.core == core) {
            if partly && self.chance.once_in(3) {
                continue;
            }
            if line.readable || line.writable || line.read_closed {
                let Line { slot, readable, writable, read_closed, .. } = *line;
                ready.push(Ready { slot, readable, writable, read_closed });
                (line.readable, line.writable, line.read_closed) = (false, false, false);
            }
        }
        let mut mail = Vec::new();
        self.shared.inboxes[core].take(&mut mail);
        let now = self.now();
        self.cores[core].turn(&ready, &mut mail, now);
        if core == 0 {
            self.looked_ms = self.now_ms;
        }
    }

    fn line_of(&self, client: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.client == client && !line.abandoned)
    }

    fn client_writes(&mut self) {
        let client = self.chance.below(self.clients.len());
        let most = 1 + self.chance.below(200);
        self.write(client, most);
    }

    /// Moves bytes from a client to its wire, as many as fit and at most `most`.
    fn write(&mut self, client: usize, most: usize) -> bool {
        let Some(at) = self.line_of(client) else { return false };
        let line = &mut self.lines[at];
        let chunk: Vec<u8> = self.clients[client].to_send.iter().take(most).copied().collect();
        let Ok(count) = line.far.write(&chunk) else { return false };
        self.clients[client].to_send.drain(..count);
        line.readable |= count > 0;
        self.bytes += count as u64;
        if self.clients[client].state == State::Leaving && self.clients[client].to_send.is_empty() {
            line.far.close_write();
            line.read_closed = true;
        }
        count > 0
    }

    fn client_reads(&mut self) {
        let line = self.chance.below(self.lines.len());
        let most = 1 + self.chance.below(300);
        self.read(line, most);
    }

    /// Moves bytes from a wire to its client. `true` if anything happened.
    fn read(&mut self, line: usize, most: usize) -> bool {
        let Some(wire) = self.lines.get_mut(line) else { return false };
        let mut chunk = vec![0; most];
        match wire.far.read(&mut chunk) {
            Ok(0) => {
                self.close(line);
                true
            }
            Ok(count) => {
                wire.writable = true;
                self.bytes += count as u64;
                if !wire.abandoned {
                    self.clients[wire.client].receive(&chunk[..count], self.step);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// The broker has closed a connection.
    fn close(&mut self, line: usize) {
        let line = self.lines.remove(line);
        if !line.abandoned {
            self.end_of(line.client);
        }
        let (now_ms, noticed_at) = (self.now_ms, self.store.appended());
        let client = &mut self.clients[line.client];
        client.closed_ms = now_ms;
        if let Some(connection) = client.connections.get_mut(&line.connection) {
            (connection.noticed_ms, connection.noticed_at) = (Some(now_ms), noticed_at);
        }
    }

    fn end_of(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let Some(connection) = client.connections.get_mut(&client.connection) {
            connection.said_goodbye = client.state == State::Leaving;
            connection.ended_at = Some(self.step);
            connection.ended_ms = Some(self.now_ms);
            client.there_until_ms = match client.kind.kept_s {
                LASTING_S => u64::MAX,
                // The broker may have ended it as soon as it was told to.
                kept_s if client.state == State::Leaving => client.left_ms + u64::from(kept_s) * 1000,
                kept_s => self.now_ms + u64::from(kept_s) * 1000,
            };
        }
        client.lost();
    }

    fn client_publishes(&mut self) {
        let client = self.chance.below(self.clients.len());
        self.clients[client].publish(&mut self.chance, self.step);
    }

    fn client_wavers(&mut self) {
        let client = self.chance.below(self.clients.len());
        self.clients[client].waver(self.step);
    }

    fn client_answers(&mut self) {
        let client = self.chance.below(self.clients.len());
        self.clients[client].answer(&mut self.chance);
    }

    fn commit(&mut self) {
        let (durable, appended) = (self.store.durable().0, self.store.appended().0);
        let up_to = durable + self.chance.below((appended - durable + 1) as usize) as u64;
        self.store.commit(Ticket(up_to));
    }

    fn client_enters(&mut self) {
        let client = self.chance.below(self.clients.len());
        if self.clients[client].state == State::Away {
            self.enter(client);
        }
    }

    fn enter(&mut self, client: usize) {
        let core = self.chance.below(CORES);
        let (near, far) = pipe(WIRE);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let slot = self.cores[core].admit(Transport::Pipe(near), Layers::Plain, &self.door, peer);
        self.note_entry(client);
        let connection = self.clients[client].connection;
        let (readable, writable, read_closed, abandoned) = (true, true, false, false);
        self.lines.push(Line { client, connection, core, slot, far, readable, writable, read_closed, abandoned });
    }

    /// What is sure of its session and of its wills when a client comes.
    fn note_entry(&mut self, at: usize) {
        let has_line = self.lines.iter().any(|line| line.client == at);
        let client = &mut self.clients[at];
        let over_ms = client.closed_ms + u64::from(client.kind.kept_s) * 1000 + 1;
        client.surely_gone = !has_line && client.kind.durable() && !client.kind.rival && self.looked_ms >= over_ms;
        client.clean = client.kind.rival && self.chance.once_in(2);
        client.entered_ms = self.now_ms;
        for connection in client.connections.values_mut() {
            connection.looked_ms.get_or_insert(self.looked_ms);
        }
        client.enter();
    }

    fn fault(&mut self) {
        let client = self.chance.below(self.clients.len());
        match self.chance.below(14) {
            0..3 if self.faults.breaks => self.vanish(client),
            3..5 if self.faults.breaks && self.clients[client].state == State::Connected => {
                self.clients[client].leave()
            }
            5 if self.faults.crashes => self.crash(),
            6 if self.faults.refusals => {
                self.refused = true;
                self.store.fail_next();
            }
            7..10 if self.faults.lapses => self.now_ms += self.chance.below(3000) as u64,
            _ => {}
        }
    }

    /// A client's network breaks: the broker learns it from the end of the stream, or from the client's next connection.
    fn vanish(&mut self, client: usize) {
        let Some(at) = self.line_of(client) else { return };
        if self.clients[client].state == State::Leaving {
            return; // its DISCONNECT is to arrive
        }
        let line = &mut self.lines[at];
        line.abandoned = true;
        if self.chance.once_in(2) {
            line.far.close_write();
            line.read_closed = true;
        }
        self.end_of(client);
    }

    fn crash(&mut self) {
        self.crashed = true;
        self.lines.clear();
        let durable = self.store.durable();
        self.undone += self.store.appended().0 - durable.0;
        for client in 0..self.clients.len() {
            if self.clients[client].state != State::Away {
                self.end_of(client);
            }
            self.clients[client].closed_ms = self.now_ms;
            for connection in self.clients[client].connections.values_mut() {
                connection.forgotten |= connection.noticed_ms.is_none() || connection.noticed_at > durable;
            }
        }
        self.cores.clear();
        self.store.crash();
        self.shared = shared(&self.store, &self.board, self.now());
        let now = self.now();
        self.cores = (0..CORES).map(|id| Core::new(id as u8, Arc::clone(&self.shared), now)).collect();
    }

    /// No more faults: everybody comes, and everything owed arrives.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            self.begin_step();
            quiet = if self.calm_step() { 0 } else { quiet + 1 };
            if quiet > 20 {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// One round without faults. `true` if anything happened.
    fn calm_step(&mut self) -> bool {
        let mut busy = false;
        for client in 0..self.clients.len() {
            let is_up = |client: &Client| client.kind.rival && client.state != State::Away;
            // Of the rivals one: they would take each other's place for ever.
            let comes = !self.clients[client].kind.rival || !self.clients.iter().any(is_up);
            if self.clients[client].state == State::Away && comes {
                self.enter(client);
                busy = true;
            }
            busy |= self.write(client, 200);
            self.clients[client].answer(&mut self.chance);
            busy |= self.clients[client].owes();
        }
        for line in (0..self.lines.len()).rev() {
            if self.lines[line].abandoned {
                self.lines[line].far.close_write();
                self.lines[line].read_closed = true;
            }
            busy |= self.read(line, 300);
        }
        let before = self.store.durable();
        self.store.commit(self.store.appended());
        busy |= self.store.durable() != before;
        for core in 0..CORES {
            self.turn_of(core, false);
        }
        self.now_ms += 1;
        busy
    }

    pub fn deliveries(&self) -> usize {
        self.clients.iter().map(|client| client.seen.len()).sum()
    }

    /// Holds what was seen against what was promised.
    pub fn judge(&mut self) {
        self.now_ms += 2_000;
        (0..CORES).for_each(|core| self.turn_of(core, false));
        assert_eq!(self.board.sum().value(Metric::CaughtPanics), 0, "a panic was caught");
        oracle::judge(self);
        lapses::judge(self);
        subscriptions::judge(self);
        let retained = self.late_comer();
        oracle::judge_retained(self, &retained);
    }

    /// A newcomer subscribes to everything retained.
    fn late_comer(&mut self) -> Client {
        let kind: Kind = late();
        self.clients.push(Client::new(kind));
        self.settle();
        self.clients.pop().expect("it was pushed")
    }
}
