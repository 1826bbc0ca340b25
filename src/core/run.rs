//! The thread of a core: a `mio` poll, the clock, accepting, and the turn.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use super::{Core, Door, Inbox, Mail, Ready, Shared};
use crate::auth::Auth;
use crate::broker::Broker;
use crate::clock::{Moment, Now};
use crate::metrics::Board;
use crate::net::Listener;
use crate::net::Transport;
use crate::wake::Wake;

/// Events taken from the poll in one turn.
const EVENTS_MAX: usize = 512;
/// Connections accepted from one listener in one turn: a handshake costs more than a message.
const ACCEPTS_MAX: usize = 64;
/// How long a listener rests when it cannot accept: descriptors have run out, the store is behind with what clients have left, or
/// whatever else does not pass by asking again.
const REST: Duration = Duration::from_millis(100);
/// How long a stopping core waits for its connections to be told.
const STOP: Duration = Duration::from_secs(3);
/// The exit code of a process that lost a core (EX_SOFTWARE of sysexits.h).
const EXIT_SOFTWARE: i32 = 70;
/// Tokens from here up are not clients.
const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1024;

/// What the cores are started with.
#[derive(Debug)]
pub struct Options {
    /// The shared state.
    pub broker: Arc<Broker>,
    /// Who checks credentials.
    pub auth: Option<Arc<Auth>>,
    /// Where counters are shown.
    pub board: Arc<Board>,
    /// Per core: its own listener of each endpoint, with what the endpoint demands.
    pub listeners: Vec<Vec<(Listener, Arc<Door>)>>,
    /// Connections in all above which a new one is closed at once.
    pub connections_max: usize,
    /// When the process's clock began; every moment counts from here.
    pub started: Instant,
}

/// The running cores.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<JoinHandle<()>>,
    inboxes: Vec<Arc<Inbox>>,
}

impl Cores {
    /// Sends the same letter to every core, made anew for each.
    pub fn tell_all(&self, letter: impl Fn() -> Mail) {
        self.inboxes.iter().for_each(|inbox| inbox.post(letter()));
    }

    /// Something that wakes every core, for the store.
    pub fn wake_all(&self) -> Wake {
        let inboxes = self.inboxes.clone();
        Wake::new(move || inboxes.iter().for_each(|inbox| inbox.post_durable()))
    }

    /// Says good-bye to every client and waits until the cores have ended, at most a few seconds.
    pub fn stop(self) {
        self.tell_all(|| Mail::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a core ended by a panic");
            }
        }
    }
}

/// The process's clock.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment = Moment::from_ms(self.started.elapsed().as_millis() as u64);
        Now { moment, wall_ms: wall.as_millis() as u64 }
    }

    /// How long to sleep so as not to wake before `moment`.
    fn until(&self, moment: Moment) -> Duration {
        Duration::from_millis(moment.as_ms()).saturating_sub(self.started.elapsed())
    }
}

/// Starts one thread per entry of `options.listeners`.
///
/// # Errors
/// The system gives no poll or no thread.
pub fn start(options: Options) -> io::Result<Cores> {
    let mut polls = Vec::new();
    let mut inboxes = Vec::new();
    for _ in &options.listeners {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let wake = Wake::new(move || {
            if let Err(error) = waker.wake() {
                tracing::error!(%error, "could not wake a core");
            }
        });
        inboxes.push(Arc::new(Inbox::new(wake)));
        polls.push(poll);
    }
    let shared =
        Arc::new(Shared { broker: options.broker, inboxes: inboxes.clone(), auth: options.auth, board: options.board });
    let connections = Arc::new(Admission { max: options.connections_max, now: AtomicUsize::new(0) });
    let clock = Clock { started: options.started };
    let mut threads = Vec::new();
    for (id, (poll, listeners)) in polls.into_iter().zip(options.listeners).enumerate() {
        let mut runner = Runner::new(id, poll, listeners, Arc::clone(&shared), clock, Arc::clone(&connections))?;
        let thread =
            std::thread::Builder::new().name(format!("core-{id}")).spawn(move || outlive(id, || runner.run()))?;
        threads.push(thread);
    }
    Ok(Cores { threads, inboxes })
}

/// Runs a core to its end. One that ends in any other way would leave its clients connected and unheard, its part of the new
/// connections in the backlog, and letters for it without a reader: no process is better than that one, and who supervises it
/// starts a whole one. What was acknowledged is in the store.
fn outlive(id: usize, run: impl FnOnce() -> io::Result<()>) {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => tracing::error!(core = id, %error, "a core cannot poll: the process ends"),
        Err(_) => tracing::error!(core = id, "a core ended by a panic: the process ends"),
    }
    std::process::exit(EXIT_SOFTWARE)
}

/// How many connections there are in all, and may be.
#[derive(Debug)]
struct Admission {
    max: usize,
    now: AtomicUsize,
}

/// A listener on its core.
struct Entrance {
    listener: Listener,
    door: Arc<Door>,
    /// Somebody may be waiting: edge triggered, so it is remembered.
    ready: bool,
    rests_until: Option<Instant>,
}

/// A core with its poll.
struct Runner {
    poll: Poll,
    entrances: Vec<Entrance>,
    inbox: Arc<Inbox>,
    core: Core,
    clock: Clock,
    admission: Arc<Admission>,
    /// Connections of this core as last counted into `admission`.
    counted: usize,
}

impl Runner {
    fn new(
        id: usize,
        poll: Poll,
        listeners: Vec<(Listener, Arc<Door>)>,
        shared: Arc<Shared>,
        clock: Clock,
        admission: Arc<Admission>,
    ) -> io::Result<Self> {
        let mut entrances = Vec::new();
        for (n, (mut listener, door)) in listeners.into_iter().enumerate() {
            poll.registry().register(listener.socket(), Token(FIRST_LISTENER + n), Interest::READABLE)?;
            entrances.push(Entrance { listener, door, ready: true, rests_until: None });
        }
        let inbox = Arc::clone(&shared.inboxes[id]);
        let core = Core::new(id as u8, shared, clock.now());
        Ok(Self { poll, entrances, inbox, core, clock, admission, counted: 0 })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut mail = Vec::new();
        let mut ready = Vec::new();
        let mut stop_at = None;
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.timeout())
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            self.inbox.take(&mut mail);
            if mail.iter().any(|letter| matches!(letter, Mail::Stop)) {
                stop_at = Some(Instant::now() + STOP);
                self.entrances.clear();
            }
            ready.clear();
            ready.extend(events.iter().filter_map(|event| self.sort_event(event)));
            self.core.turn(&ready, &mut mail, self.clock.now());
            self.accept();
            self.count();
            if stop_at.is_some_and(|at| self.core.connections() == 0 || Instant::now() >= at) {
                return Ok(());
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let resting = self.entrances.iter().filter_map(|entrance| entrance.rests_until).min();
        let waiting = self.entrances.iter().any(|entrance| entrance.ready && entrance.rests_until.is_none());
        if waiting || !self.inbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let turn = self.core.next_turn().map(|moment| self.clock.until(moment));
        let rest = resting.map(|at| at.saturating_duration_since(Instant::now()));
        [turn, rest].into_iter().flatten().min()
    }

    fn sort_event(&mut self, event: &Event) -> Option<Ready> {
        let Token(token) = event.token();
        if event.token() == WAKER {
            return None;
        }
        if let Some(entrance) = token.checked_sub(FIRST_LISTENER).and_then(|n| self.entrances.get_mut(n)) {
            entrance.ready = true;
            return None;
        }
        Some(Ready {
            slot: u32::try_from(token).ok()?,
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed() || event.is_error(),
        })
    }

    fn accept(&mut self) {
        for n in 0..self.entrances.len() {
            if self.rests(n) {
                continue;
            }
            for _ in 0..ACCEPTS_MAX {
                // The connection that panicked is closed by having been dropped on the way.
                let accepted = catch_unwind(AssertUnwindSafe(|| self.accept_one(n)));
                if accepted.is_err() {
                    self.core.panicked("accepting a connection");
                }
                if !accepted.unwrap_or(true) {
                    break;
                }
            }
        }
    }

    /// Whether a listener has nothing to do, or has to rest.
    fn rests(&mut self, n: usize) -> bool {
        let Some(entrance) = self.entrances.get_mut(n) else { return true };
        if entrance.rests_until.is_some_and(|until| Instant::now() < until) {
            return true;
        }
        entrance.rests_until = None;
        if entrance.ready && self.core.is_burdened() {
            // Who comes waits in the backlog.
            tracing::debug!(door = %entrance.door.name, "the store is behind with what clients have left: resting");
            entrance.rests_until = Some(Instant::now() + REST);
            return true;
        }
        !entrance.ready
    }

    /// Accepts one connection; `false` when there is none, or it has to rest.
    fn accept_one(&mut self, n: usize) -> bool {
        let Some(entrance) = self.entrances.get_mut(n) else { return false };
        let (stream, peer) = match entrance.listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                entrance.ready = false;
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, door = %entrance.door.name, "cannot accept: resting");
                // Readiness is told once: the listener stays ready, and would be asked again without a pause.
                entrance.rests_until = Some(Instant::now() + REST);
                return false;
            }
        };
        if self.admission.now.load(Ordering::Relaxed) >= self.admission.max {
            self.core.turned_away();
            return true; // dropping the stream closes it
        }
        let (layers, door) = (entrance.listener.layers(), Arc::clone(&entrance.door));
        let slot = self.core.admit(Transport::Tcp(stream), layers, &door, peer.ip());
        self.register(slot);
        self.count();
        true
    }

    /// Registered once for both directions: the kernel raises the write edge only after a send met a full buffer.
    fn register(&mut self, slot: u32) {
        let Some(stream) = self.core.transport(slot).and_then(Transport::tcp) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(stream, Token(slot as usize), interest) {
            tracing::warn!(%error, "cannot watch a connection: closed it");
            self.core.forget(slot);
        }
    }

    fn count(&mut self) {
        let connections = self.core.connections();
        if connections >= self.counted {
            self.admission.now.fetch_add(connections - self.counted, Ordering::Relaxed);
        } else {
            self.admission.now.fetch_sub(self.counted - connections, Ordering::Relaxed);
        }
        self.counted = connections;
    }
}

#[cfg(test)]
mod tests;
