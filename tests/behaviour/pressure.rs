//! A core that does not keep up with those that publish to its clients: they wait, and the broker's memory does not grow.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::support::broker::{self, Broker};
use crate::support::build::{Connect, PINGREQ, Publication, subscribe};
use crate::support::packet::Packet;
use crate::support::unique;
use crate::support::wire::Props;
use crate::support::wire::Version::{V3, V5};
use crate::{await_metric, no_panic, resident_bytes, serves};

const MIB: f64 = 1024.0 * 1024.0;
/// Publishers of each QoS. That all of them share the subscriber's core by chance happens once in four thousand times.
const PUBLISHERS: usize = 6;
const PAYLOAD: usize = 8 * 1024;
/// How long the core is kept busy.
const BUSY: Duration = Duration::from_secs(2);
const MESSAGES: usize = 2_000;

/// Sends messages as fast as they are taken, answers or not, and returns when the broker has handled the last one.
fn flood<'scope>(
    scope: &'scope Scope<'scope, '_>,
    addr: SocketAddr,
    topic: &str,
    qos: u8,
) -> ScopedJoinHandle<'scope, ()> {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.write_all(&Connect::new(V3, unique("p")).bytes()).expect("it reads");
    let mut answers = stream.try_clone().expect("a second handle");
    answers.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let payload = vec![b'x'; PAYLOAD];
    let one = |id: u16| match qos {
        0 => Publication::new(topic, &payload).bytes(V3),
        _ => Publication::new(topic, &payload).qos(qos, id).bytes(V3),
    };
    let messages: Vec<Vec<u8>> = (1..=64).map(one).collect();
    scope.spawn(move || {
        for message in messages.iter().cycle().take(MESSAGES) {
            stream.write_all(message).expect("it reads again");
        }
        stream.write_all(&PINGREQ).expect("it reads again");
    });
    scope.spawn(move || {
        let mut expected = 4 + 2 + if qos > 0 { 4 * MESSAGES } else { 0 };
        let mut bytes = vec![0; 64 * 1024];
        while expected > 0 {
            let count = answers.read(&mut bytes).expect("CONNACK, each PUBACK, and PINGRESP");
            assert!(count > 0, "it was closed");
            expected = expected.checked_sub(count).expect("and nothing else");
        }
    })
}

/// Fills the retained messages with topics of three levels.
fn retain_many(broker: &Broker) {
    let mut client = Connect::new(V3, unique("r")).open_at(broker.addr("mqtt"));
    for batch in 0..10 {
        let all = (0..500).map(|n| Publication::new(format!("retained/{batch}/{n}"), "r").retain().bytes(V3));
        client.send(&all.collect::<Vec<_>>().concat());
        client.ping();
    }
}

#[test]
fn publishers_wait_for_a_core_that_is_busy_and_memory_stays() {
    let broker = broker::with("[store]\nmode = \"memory\"\n");
    let addr = broker.addr("mqtt");
    let topic = unique("flood");
    retain_many(&broker);
    // It takes no message of this flood, so its line is free for what keeps its core busy, and no other: each search goes through
    // all retained messages and finds none.
    let mut busy = Connect::new(V5, unique("s")).packet_bytes_max(1024).open_at(addr);
    busy.subscribe(&topic, 0);
    let filters: Vec<String> = (0..16).map(|number| format!("+/+/+/none{number}")).collect();
    let filters: Vec<(&[u8], u8)> = filters.iter().map(|filter| (filter.as_bytes(), 0)).collect();
    let search = subscribe(V5, 9, &Props::new(), &filters);
    let before = resident_bytes(&broker);
    let (mut most, done) = (0.0_f64, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                busy.send(&search.repeat(4));
                for _ in 0..4 {
                    busy.await_packet("SUBACK", |packet| matches!(packet, Packet::Suback(_)).then_some(()));
                }
            }
        });
        let floods: Vec<_> = (0..2 * PUBLISHERS).map(|number| flood(scope, addr, &topic, (number % 2) as u8)).collect();
        let begun = Instant::now();
        while !floods.iter().all(ScopedJoinHandle::is_finished) {
            most = most.max(resident_bytes(&broker));
            // Long enough for publishers of other cores to send everything, if nobody stops them.
            if begun.elapsed() > BUSY {
                done.store(true, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
    });
    let growth = most - before;
    let all = (2 * PUBLISHERS * MESSAGES * PAYLOAD) as f64 / MIB;
    assert!(growth < 40.0 * MIB, "{} MiB of {all} MiB", growth / MIB);
    await_metric(&broker, "heraldmq_publishers_paused", 0.0);
    assert!(broker.metric("heraldmq_publisher_pauses_total") > 0.0, "nobody had to wait");
    serves(addr);
    no_panic(&broker);
}
