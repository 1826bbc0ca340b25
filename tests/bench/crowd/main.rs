//! Half a million persistent sessions in one process: what each weighs, what its timers cost, and what a message to one of them
//! or to all of them costs.
//!
//! As many of them as descriptors allow are loopback sockets; the others are pipes in this process that go through the same code
//! from the transport on. Everything is driven by one thread, so that CPU time is the broker's plus that of the clients' ends,
//! which only move bytes.
//!
//! `cargo bench --bench crowd` prints it; `-- --sessions 50000 --store memory` for less. Without `--bench` the crowd is small: it only
//! shows that it runs.

mod measured;
mod packet;
mod world;

use std::time::{Duration, Instant};

use measured::{Cpu, resident, store_threads_off};
use world::{Kind, World};

/// The program's allocator, so that memory means the same.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Sessions of the first, small crowd: what a message to one user costs among them is what the others are compared with.
const FEW: usize = 1_000;
/// Messages of one measurement.
const MESSAGES: usize = 50_000;
/// Simulated seconds that pass for the timers: two keep-alive periods.
const SECONDS: u64 = 2 * world::KEEP_ALIVE_S as u64;

struct Arguments {
    sessions: usize,
    store: Kind,
}

impl Arguments {
    fn read() -> Self {
        let given: Vec<String> = std::env::args().collect();
        let value = |name: &str| given.iter().position(|word| word == name).and_then(|at| given.get(at + 1));
        let whole = given.iter().any(|word| word == "--bench");
        let sessions = value("--sessions").map(|text| text.parse().expect("a number"));
        let store = match value("--store").map(String::as_str) {
            None | Some("sync") => Kind::Sync,
            Some("memory") => Kind::Memory,
            Some(other) => panic!("no store {other}: sync or memory"),
        };
        Self { sessions: sessions.unwrap_or(if whole { 500_000 } else { 2 * FEW }), store }
    }
}

fn main() {
    let Arguments { sessions, store } = Arguments::read();
    let folder = tempfile::tempdir().expect("a directory");
    let mut world = World::open(store, folder.path());
    let sockets = world.sockets_allowed().min(sessions / 4);
    println!(
        "{sessions} sessions, {sockets} of them over sockets; store: {}; one thread for the broker and all clients",
        store.name()
    );

    world.connect(FEW.min(sessions), 0);
    let few = unicast(&mut world, FEW.min(sessions));
    let before = resident();
    let wires = world.lay_wires(sessions - FEW.min(sessions) - sockets);
    let of_wires = resident().saturating_sub(before);
    let cpu = Cpu::now();
    let began = Instant::now();
    world.connect_over(wires);
    world.connect(sockets, sockets);
    let added = sessions - FEW.min(sessions);
    let connecting = cpu.since().as_nanos() as f64 / added as f64 / 1e3;
    let bytes = resident().saturating_sub(before + of_wires);
    println!("memory: {} B for a session with one subscription, connected", bytes / added);
    println!("connect and subscribe: {connecting:.1} µs CPU each; {:.1} s for all", began.elapsed().as_secs_f64());

    timers(&mut world, sessions);
    let many = unicast(&mut world, sessions);
    println!(
        "message to one user, QoS 1: {few:.2} µs CPU among {FEW} sessions, {many:.2} µs among {sessions}: {:.2} times",
        many / few
    );
    broadcast(&mut world, sessions);
    world.forget_connections();
    restart(world, sessions, folder.path(), store);
}

/// Microseconds of CPU for one QoS 1 message from one publisher to one of the users in turn.
fn unicast(world: &mut World, users: usize) -> f64 {
    world.push(MESSAGES / 10, users);
    let best = (0..3).map(|_| {
        let cpu = Cpu::now();
        world.push(MESSAGES, users);
        cpu.since()
    });
    best.min().unwrap_or_default().as_nanos() as f64 / MESSAGES as f64 / 1e3
}

fn timers(world: &mut World, sessions: usize) {
    let cpu = Cpu::now();
    let pings = world.pass(Duration::from_secs(SECONDS));
    let spent = cpu.since();
    println!(
        "timers: {:.2} µs CPU for a session and keep-alive period of {} s, with the PINGREQ and its answer ({pings} of them); \
         {:.2} % of one core in real time",
        spent.as_nanos() as f64 / pings as f64 / 1e3,
        world::KEEP_ALIVE_S,
        100.0 * spent.as_secs_f64() / SECONDS as f64,
    );
    assert_eq!(world.connections(), sessions + 1, "nobody was closed");
}

fn broadcast(world: &mut World, sessions: usize) {
    world.subscribe_all("tag/all");
    for qos in [0, 1] {
        let (cpu, began) = (Cpu::now(), Instant::now());
        let got = world.broadcast("tag/all", qos);
        let spent = cpu.since();
        assert_eq!(got, sessions, "everybody has it");
        println!(
            "broadcast to all, QoS {qos}: {:.2} µs CPU for each; {:.2} s until everybody has it",
            spent.as_nanos() as f64 / sessions as f64 / 1e3,
            began.elapsed().as_secs_f64()
        );
    }
}

/// The broker goes away and comes back with its store.
fn restart(world: World, sessions: usize, folder: &std::path::Path, store: Kind) {
    drop(world);
    if store == Kind::Memory {
        return;
    }
    store_threads_off();
    let before = resident();
    let began = Instant::now();
    let world = World::open(store, folder);
    let took = began.elapsed().as_secs_f64();
    assert_eq!(world.sessions(), sessions + 1, "all sessions are back, and the publisher's");
    let bytes = resident().saturating_sub(before) / sessions;
    println!("restart: {took:.2} s until {sessions} sessions are back; {bytes} B each while away");
}
