//! Clients that are slow, silent, or do not read.

use std::time::{Duration, Instant};

use crate::support::broker;
use crate::support::build::{Connect, PINGREQ, Publication};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::unique;
use crate::support::wire::Version::{V3, V5};
use crate::support::wire::prop;
use crate::{VERSIONS, resident_bytes, sound_at};

#[test]
fn a_byte_now_and_then_buys_no_time() {
    const SOCKETS: usize = 20;
    let broker = broker::with("[limits]\nconnect_timeout_s = 2\n");
    let connect = Connect::new(V5, unique("c")).bytes();
    let begun = Instant::now();
    let mut slow: Vec<Client> = (0..SOCKETS).map(|_| Client::tcp(broker.addr("mqtt"), V5)).collect();
    let mut at = 0;
    while begun.elapsed() < Duration::from_millis(1_500) {
        for client in &mut slow {
            client.send(&connect[at..=at]);
        }
        at = (at + 1).min(connect.len() - 3);
        slow[0].expect_nothing_for(Duration::from_millis(100));
    }
    for client in &mut slow {
        client.send(&connect[at..=at]);
        client.expect_closed(CLOSE);
    }
    let closed = begun.elapsed();
    assert!(closed >= Duration::from_millis(1_900) && closed < Duration::from_millis(3_500), "after {closed:?}");
    sound_at(&broker);
}

#[test]
fn a_socket_that_says_nothing_is_closed_in_time() {
    let broker = broker::with("[limits]\nconnect_timeout_s = 1\n");
    let begun = Instant::now();
    let mut silent = Client::tcp(broker.addr("mqtt"), V5);
    let mut let_in = Connect::new(V5, unique("c")).open_at(broker.addr("mqtt"));
    silent.expect_closed(CLOSE);
    assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < Duration::from_millis(2_500));
    let_in.expect_nothing_for(Duration::from_millis(500));
    let_in.ping();
    sound_at(&broker);
}

#[test]
fn a_keep_alive_above_the_maximum_is_lowered() {
    let broker = broker::with("[limits]\nkeep_alive_s_max = 2\n");
    for asked in [0, 3, 65_535] {
        for version in VERSIONS {
            let begun = Instant::now();
            let mut client = Connect::new(version, unique("c")).keep_alive_s(asked).open_at(broker.addr("mqtt"));
            if version == V5 {
                assert_eq!(client.announced(prop::SERVER_KEEP_ALIVE), Some(2));
            }
            if asked == 0 {
                client.drain_to_close();
                let closed = begun.elapsed().as_millis();
                assert!((3_000..4_000).contains(&closed), "{version:?} after {closed} ms");
            }
        }
    }
    let client = Connect::new(V5, unique("c")).keep_alive_s(1).open_at(broker.addr("mqtt"));
    assert_eq!(client.announced(prop::SERVER_KEEP_ALIVE), None, "what is asked for is in force");
    sound_at(&broker);
}

#[test]
fn a_keep_alive_below_the_minimum_is_raised_where_that_can_be_said() {
    let broker = broker::with("[limits]\nkeep_alive_s_min = 30\n");
    let mut client = Connect::new(V5, unique("c")).keep_alive_s(1).open_at(broker.addr("mqtt"));
    assert_eq!(client.announced(prop::SERVER_KEEP_ALIVE), Some(30));
    client.expect_nothing_for(Duration::from_millis(2_000));
    let mut older = Connect::new(V3, unique("c")).keep_alive_s(1).open_at(broker.addr("mqtt"));
    older.expect_closed(CLOSE);
    sound_at(&broker);
}

#[test]
fn a_reader_that_never_reads_holds_up_nobody() {
    const MESSAGES: usize = 600;
    let broker = broker::with("");
    let addr = broker.addr("mqtt");
    let topic = unique("t");
    let mut deaf = Connect::new(V5, unique("c")).open_at(addr);
    deaf.subscribe(&topic, 0);
    let mut good = Connect::new(V5, unique("c")).open_at(addr);
    good.subscribe(&topic, 1);
    let mut publisher = Connect::new(V3, unique("c")).open_at(addr);
    let before = resident_bytes(&broker);
    let mut payload = vec![b'x'; 100_000];
    for number in 0..MESSAGES {
        payload[..8].copy_from_slice(format!("{number:08}").as_bytes());
        publisher.publish(&topic, 1, &payload);
        assert_eq!(good.receive().payload[..8], payload[..8]);
    }
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 32.0 * 1024.0 * 1024.0, "{growth} bytes for one deaf client");
    let mut last = None;
    let mut count = 0;
    while let Event::Packet(Packet::Publish(publish)) = deaf.poll(Duration::from_millis(500)) {
        let number = publish.payload[..8].to_vec();
        assert!(last.as_ref() < Some(&number), "in order, nothing twice");
        last = Some(number);
        count += 1;
    }
    assert!(count < MESSAGES, "QoS 0 was dropped, not hoarded");
    sound_at(&broker);
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_answered_without_bound() {
    let broker = broker::with("");
    let before = resident_bytes(&broker);
    let mut client = Connect::new(V3, unique("c")).open_at(broker.addr("mqtt"));
    let pings = PINGREQ.repeat(500_000);
    // The last of these writes end at their time limit once both directions are full.
    for _ in 0..8 {
        client.send(&pings);
    }
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 16.0 * 1024.0 * 1024.0, "{growth} bytes");
    sound_at(&broker);
}

#[test]
fn a_publisher_without_end_leaves_room_for_others() {
    let broker = broker::with("");
    let addr = broker.addr("mqtt");
    let mut busy = Connect::new(V3, unique("c")).open_at(addr);
    let flood = Publication::new(unique("t"), "x").bytes(V3).repeat(20_000);
    for _ in 0..5 {
        busy.send(&flood);
        let asked = Instant::now();
        sound_at(&broker);
        assert!(asked.elapsed() < Duration::from_secs(5), "others wait {:?}", asked.elapsed());
    }
    busy.ping();
}
