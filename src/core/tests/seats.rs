//! Seats: taking over, leaving, coming back.

use super::*;
use crate::metrics::Reason;

fn slow() -> Bench {
    Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16)
}

#[test]
fn a_session_that_ends_while_its_client_comes_back_leaves_no_subscription() {
    let mut bench = slow();
    let mut line = bench.open(0, "c", 60);
    line.send(&subscribe("t", 1));
    bench.settle(&[&line]);
    bench.vanish(line);
    bench.settle(&[]);
    assert_eq!(bench.shared.broker.index.subscriptions(), 1);
    // It asks for a session that ends with the connection, and gives up before it is let in.
    let line = bench.enter(1, "c", 0);
    bench.turn(1, &[&line]);
    bench.now_ms += 10_001;
    bench.turn(1, &[&line]);
    bench.settle(&[]);
    assert_eq!(bench.count(Metric::ConnectionsClosed(Closed::ConnectTimeout)), 1);
    assert_eq!(bench.shared.broker.directory.len(), 0);
    assert_eq!(bench.shared.broker.index.subscriptions(), 0);
    assert!(bench.store.recover().sessions.is_empty());
}

#[test]
fn of_three_that_come_at_once_the_last_stays_and_each_end_is_counted() {
    let mut bench = slow();
    let lines = [bench.enter(0, "c", 60), bench.enter(1, "c", 60), bench.enter(0, "c", 60)];
    for _ in 0..8 {
        for core in 0..2 {
            bench.turn(core, &lines.each_ref());
        }
    }
    bench.settle(&lines.each_ref());
    let mut lines = lines;
    let mut codes = lines.each_mut().map(|line| line.read()[..4].try_into().unwrap());
    codes.sort_by_key(|[_, _, _, code]: &[u8; 4]| *code);
    assert!(codes.iter().all(|connack| connack[0] == 0x20), "{codes:?}");
    assert_eq!(codes.map(|connack| connack[3]), [0, 0x80, 0x80]);
    assert_eq!(bench.count(Metric::ConnectionsClosed(Closed::TakenOver)), 2);
    assert_eq!(bench.shared.broker.directory.len(), 1);
}

#[test]
fn a_claimant_that_is_gone_before_its_turn_leaves_the_seat_free() {
    let mut bench = slow();
    let first = bench.open(0, "c", 60);
    let second = bench.enter(1, "c", 60);
    bench.turn(1, &[&second]);
    bench.now_ms += 10_001;
    bench.turn(1, &[&second]);
    drop(second);
    bench.settle(&[&first]);
    let mut third = bench.open(1, "c", 60);
    assert!(third.read().is_empty(), "nothing else happens to it");
}

/// CONNECT of 3.1.1 with Clean Session 1.
fn connect_v3(client: &str) -> Vec<u8> {
    packet(0x10, &[&field("MQTT")[..], &[4, 2, 0, 0], &field(client)].concat())
}

#[test]
fn where_there_is_no_room_for_a_session_who_has_one_comes_in_and_nobody_else() {
    let mut bench = Bench::bounded(2);
    let kept = bench.open(0, "kept", 60);
    let brief = bench.open(1, "brief", 0);
    for core in [0, 1] {
        let mut line = bench.enter(core, "new", 60);
        bench.settle(&[&line]);
        assert!(matches!(line.read()[..], [0x20, _, 0, 0x97, ..]), "5.0: Quota exceeded");
        let mut line = bench.connect_over(core, Layers::Plain);
        line.send(&connect_v3("new"));
        bench.settle(&[&line]);
        assert_eq!(line.read(), [0x20, 2, 0, 3], "3.1.1: Server unavailable");
    }
    assert_eq!(bench.count(Metric::ConnectsRefused(Reason::QuotaExceeded)), 4);
    // Taken over on another core, resumed, and replaced by a Clean Start.
    let again = bench.open(0, "brief", 0);
    assert_eq!(bench.count(Metric::ConnectionsClosed(Closed::TakenOver)), 1);
    bench.vanish(kept);
    let kept = bench.open(1, "kept", 60);
    bench.vanish(kept);
    let mut line = bench.connect_over(1, Layers::Plain);
    line.send(&connect_v3("kept"));
    bench.settle(&[&line]);
    assert_eq!(line.read(), [0x20, 2, 0, 0]);
    assert_eq!(bench.shared.broker.directory.len(), 2);
    // Each session that ends makes room for one.
    bench.vanish(again);
    drop(brief);
    bench.open(0, "new", 60);
    assert_eq!(bench.shared.broker.directory.len(), 2);
}

#[test]
fn what_the_last_client_of_a_core_did_is_shown_soon() {
    let mut bench = Bench::plain();
    bench.turn(1, &[]);
    let line = bench.open(1, "c", 0);
    bench.vanish(line);
    let until = bench.now_ms + SHOW_MS;
    while let Some(due) = bench.cores[1].next_turn().filter(|due| due.as_ms() <= until) {
        bench.now_ms = bench.now_ms.max(due.as_ms());
        bench.turn(1, &[]);
    }
    let shown = bench.shared.board.sum();
    assert_eq!(shown.value(Metric::Connections), 0);
    assert_eq!(shown.value(Metric::ConnectionsClosed(Closed::Lost)), 1);
}
