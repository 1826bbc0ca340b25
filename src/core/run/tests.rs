//! The loop where something goes wrong that is not one client's.

use std::net::Shutdown;

use socket2::SockRef;

use super::*;
use crate::access::Permissions;
use crate::broker::directory::Directory;
use crate::broker::index::Index;
use crate::broker::later::Later;
use crate::broker::repair::Repairs;
use crate::broker::retain::Retained;
use crate::core::client::Held;
use crate::core::tests::passes_on;
use crate::identity::{SessionId, Ticket};
use crate::message::{Message, Parts};
use crate::mqtt::QoS;
use crate::net::{Kind, ListenerOptions, listener};
use crate::session::{Limits, Page, Saved};
use crate::store::memory::Memory;
use crate::store::{Bounds, Level, Levels, Lost, Marks, Record, Recovered, Store};
use crate::threshold::Rules;

/// A store whose mark cannot be looked at, once there is something in it: every turn looks.
struct Broken(Memory);

impl Store for Broken {
    fn marks(&self) -> Marks {
        assert!(self.0.appended() == Ticket::NONE, "as it was told to");
        Marks::default()
    }

    passes_on!(0: append_at failed load read_queue level recover lost);
}

fn broker(store: Arc<dyn Store>) -> Arc<Broker> {
    Arc::new(Broker {
        index: Index::new(),
        retained: Retained::default(),
        directory: Directory::new(),
        later: Later::new(),
        repairs: Repairs::default(),
        store,
        levels: Levels::default(),
    })
}

/// One core with one listener.
fn runner() -> Runner {
    let options = ListenerOptions {
        name: "test".into(),
        addr: "127.0.0.1:0".parse().unwrap(),
        kind: Kind::Mqtt,
        tls: None,
        path: String::new(),
    };
    let listener = listener::bind(&options, 1).unwrap().remove(0);
    let nothing = Arc::new(Permissions::new(Vec::new(), false));
    let rules = Rules { allow_anonymous: true, methods: Vec::new(), anonymous_may: nothing };
    let door = Arc::new(Door::new("test", Arc::new(rules), Arc::new(Limits::default()), 10_000, 8192));
    let inboxes = vec![Arc::new(Inbox::new(Wake::silent()))];
    let store = Arc::new(Memory::instant(Bounds::default()));
    let shared = Arc::new(Shared { broker: broker(store), inboxes, auth: None, board: Arc::new(Board::new(1)) });
    let admission = Arc::new(Admission { max: 10, now: AtomicUsize::new(0) });
    let clock = Clock { started: Instant::now() };
    Runner::new(0, Poll::new().unwrap(), vec![(listener, door)], shared, clock, admission).unwrap()
}

#[test]
fn a_listener_that_cannot_accept_is_not_asked_again_without_a_pause() {
    let mut runner = runner();
    let now = runner.clock.now();
    runner.core.turn(&[], &mut Vec::new(), now);
    runner.accept();
    assert_ne!(runner.timeout(), Some(Duration::ZERO), "nobody waits");
    // Accepting fails from now on, with no error that has to do with descriptors.
    SockRef::from(&*runner.entrances[0].listener.socket()).shutdown(Shutdown::Both).unwrap();
    runner.entrances[0].ready = true;
    runner.accept();
    let rests = runner.timeout().expect("it is asked again");
    assert!(rests > Duration::from_millis(50) && rests <= REST, "{rests:?}");
    // A reader that comes back early finds it resting.
    runner.accept();
    assert!(runner.timeout().is_some_and(|left| left > Duration::ZERO && left <= rests));
}

#[test]
fn nobody_is_let_in_while_much_waits_that_clients_have_left() {
    let mut runner = runner();
    let held = |size: usize| {
        let (payload, origin) = (vec![0; size], Default::default());
        let (qos, retain, expiry_s) = (QoS::ExactlyOnce, false, None);
        let parts = Parts { topic: "t", properties: &[], payload: &payload, qos, retain, expiry_s, origin };
        let message = Arc::new(Message::new(parts, Now::default()));
        let (ticket, level, behind) = (Ticket(1), Level::Sync, Ticket::NONE);
        Held { message, ticket, level, behind, by_core: Vec::new(), stored: Vec::new() }
    };
    let now = runner.clock.now();
    runner.core.turn(&[], &mut Vec::new(), now);
    runner.core.orphans.extend([1 << 23, 1 << 23].map(held));
    let addr = SockRef::from(&*runner.entrances[0].listener.socket()).local_addr().unwrap().as_socket().unwrap();
    let _client = std::net::TcpStream::connect(addr).unwrap();
    runner.entrances[0].ready = true;
    runner.accept();
    assert_eq!((runner.core.connections(), runner.entrances[0].ready), (0, true), "it waits");
    assert!(runner.timeout().is_some_and(|rest| rest > Duration::ZERO && rest <= REST), "and is let in soon");
    // The store has come so far with one of them.
    runner.core.orphans.pop();
    runner.accept();
    assert_eq!(runner.core.connections(), 0, "it rests");
    runner.entrances[0].rests_until = Some(Instant::now());
    runner.accept();
    assert_eq!(runner.core.connections(), 1);
}

/// Not a test: what [`a_core_that_is_lost_ends_the_process`] starts as a process of its own.
#[test]
#[ignore = "ends the process it runs in"]
fn loses_a_core() {
    let store = Arc::new(Broken(Memory::instant(Bounds::default())));
    let broker = broker(Arc::clone(&store) as Arc<dyn Store>);
    let (board, started) = (Arc::new(Board::new(1)), Instant::now());
    let listeners = vec![Vec::new()];
    let cores = start(Options { broker, auth: None, board, listeners, connections_max: 1, started }).unwrap();
    store.append(vec![Record::End(SessionId(1))]);
    cores.wake_all().ring();
    std::thread::sleep(Duration::from_secs(30));
}

#[test]
fn a_core_that_is_lost_ends_the_process() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", "core::run::tests::loses_a_core"];
    let ended = std::process::Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(EXIT_SOFTWARE), "{said}");
}
