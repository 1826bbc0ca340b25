//! What all clients of a run share: where the broker is, whether to go on, and what went wrong.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// More of one kind says nothing new.
const WRONGS_MAX: usize = 40;

/// The broker comes and goes; clients ask here where it is.
#[derive(Default)]
pub struct World {
    addr: Mutex<Option<SocketAddr>>,
    publishing: AtomicBool,
    over: AtomicBool,
    /// Clients that have nothing unfinished, while nothing new is begun.
    settled: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    /// A crash may take what was acknowledged last, so clients may know more than the broker.
    pub forgetful: bool,
}

impl World {
    pub fn new(forgetful: bool) -> Self {
        Self { forgetful, ..Self::default() }
    }

    pub fn moved(&self, addr: Option<SocketAddr>) {
        *self.addr.lock().expect("nobody panics with it") = addr;
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        *self.addr.lock().expect("nobody panics with it")
    }

    pub fn begin(&self) {
        self.publishing.store(true, Ordering::Release);
    }

    /// Nothing new from now on; what was begun is finished.
    pub fn settle(&self) {
        self.publishing.store(false, Ordering::Release);
    }

    pub fn publishing(&self) -> bool {
        self.publishing.load(Ordering::Acquire)
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub fn over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub fn one_settled(&self) {
        self.settled.fetch_add(1, Ordering::AcqRel);
    }

    pub fn settled(&self) -> usize {
        self.settled.load(Ordering::Acquire)
    }

    /// Notes what must not be.
    pub fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().expect("nobody panics with it");
        if wrong.len() < WRONGS_MAX {
            wrong.push(what);
        }
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.wrong.lock().expect("nobody panics with it").clone()
    }

    /// Calls `session` with the broker's address again and again, until it is content or the run is over.
    pub fn keep_trying(&self, mut session: impl FnMut(SocketAddr) -> Result<(), super::link::Gone>) {
        while !self.over() {
            if let Some(addr) = self.addr()
                && session(addr).is_ok()
            {
                return;
            }
            // A broker that is down is asked again soon, not at once.
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}
