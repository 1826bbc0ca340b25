//! What a client is sent: exchanges of each QoS, the window, and why a message is dropped.

use super::*;
use crate::session::{Change, DropReason, OutState, Page, Queued, SavedOut};
use ProtocolVersion::{V3_1_1, V5};

fn save(change: Change, then: Option<Owed>) -> Effect {
    Effect::Save { change, then }
}

#[test]
fn mqtt_3_3_4_9_the_window_is_never_exceeded_and_moves_with_each_acknowledgement() {
    let mut bench = Bench::new(Opening { receive_maximum: 2, ..opening(V3_1_1) });
    for payload in [b"1", b"2", b"3", b"4"] {
        bench.deliver(&message("t", payload, QOS[1], None), 0, QOS[1]);
    }
    bench.deliver(&message("t", b"0", QOS[0], None), 0, QOS[0]);
    let sent: Vec<Sent> = vec![(0x32, 1, b"1".to_vec()), (0x32, 2, b"2".to_vec()), (0x30, 0, b"0".to_vec())];
    assert_eq!(bench.publishes(), sent, "QoS 0 is not held back [MQTT-3.3.4-10]");
    bench.ack(Packet::PubAck, 2, ReasonCode::Success);
    assert_eq!(bench.publishes(), [(0x32, 3, b"3".to_vec())]);
    bench.ack(Packet::PubAck, 1, ReasonCode::Success);
    assert_eq!(bench.publishes(), [(0x32, 4, b"4".to_vec())]);
}

#[test]
fn stray_acknowledgements_change_nothing() {
    let mut bench = Bench::new(Opening { receive_maximum: 1, ..opening(V5) });
    bench.deliver(&message("t", b"1", QOS[2], None), 0, QOS[2]);
    bench.deliver(&message("t", b"2", QOS[2], None), 0, QOS[2]);
    let first = bench.bytes();
    for number in [1, 2, 9] {
        bench.ack(Packet::PubAck, number, ReasonCode::Success);
        bench.ack(Packet::PubComp, number, ReasonCode::Success);
    }
    assert!(bench.bytes().is_empty(), "the window did not move");
    bench.ack(Packet::PubRec, 9, ReasonCode::Success);
    assert_eq!(bench.bytes(), [0x62, 3, 0, 9, 0x92], "PUBREL says that there is no such exchange");
    bench.ack(Packet::PubRec, 1, ReasonCode::Success);
    bench.ack(Packet::PubRec, 1, ReasonCode::Success);
    assert_eq!(bench.bytes(), [0x62, 2, 0, 1, 0x62, 2, 0, 1]);
    bench.ack(Packet::PubComp, 1, ReasonCode::Success);
    assert_eq!(bench.bytes().len(), first.len(), "only now the second goes out");
}

#[test]
fn mqtt_4_3_3_4_a_failing_pubrec_ends_the_exchange_without_pubrel() {
    let mut bench = Bench::new(durable(V5));
    bench.deliver(&message("t", b"1", QOS[2], None), 5, QOS[2]);
    let sent = Change::Sent { ticket: Ticket(5), packet_id: id(1), qos: QoS::ExactlyOnce };
    assert_eq!(bench.effects(), [save(sent, Some(Owed::Transmit(id(1))))]);
    bench.durable(Owed::Transmit(id(1)));
    bench.bytes();
    bench.ack(Packet::PubRec, 1, ReasonCode::QuotaExceeded);
    assert_eq!((bench.bytes().len(), bench.effects()), (0, vec![save(Change::Done { ticket: Ticket(5) }, None)]));
}

#[test]
fn mqtt_4_3_3_6_each_step_of_a_durable_qos_2_exchange_is_saved_before_it_is_taken() {
    let mut bench = Bench::new(durable(V3_1_1));
    bench.deliver(&message("t", b"1", QOS[2], None), 5, QOS[2]);
    bench.effects();
    assert!(bench.bytes().is_empty(), "no PUBLISH before its identifier is saved");
    bench.durable(Owed::Transmit(id(1)));
    assert_eq!(bench.publishes(), [(0x34, 1, b"1".to_vec())]);
    bench.ack(Packet::PubRec, 1, ReasonCode::Success);
    let received = save(Change::Received { ticket: Ticket(5) }, Some(Owed::Release(id(1))));
    assert_eq!((bench.bytes().len(), bench.effects()), (0, vec![received]));
    bench.durable(Owed::Release(id(1)));
    assert_eq!(bench.bytes(), [0x62, 2, 0, 1]);
    bench.ack(Packet::PubComp, 1, ReasonCode::Success);
    assert_eq!(bench.effects(), [save(Change::Done { ticket: Ticket(5) }, Some(Owed::Finish(id(1))))]);
    assert_eq!(bench.session.inflight.find(id(1)), Some(0), "not used again before that is saved");
    bench.durable(Owed::Finish(id(1)));
    assert_eq!(bench.session.inflight.find(id(1)), None);
}

#[test]
fn dropped_messages_are_counted_and_leave_the_store() {
    let mut bench = Bench::new(Opening {
        peer: Peer { version: V5, maximum_packet_size: 20, problem_information: true },
        ..durable(V5)
    });
    bench.restrict();
    bench.now = at(5_000);
    bench.deliver(&message("t", b"late", QOS[1], Some(5)), 1, QOS[1]);
    bench.deliver(&message("secret/t", b"x", QOS[1], None), 2, QOS[1]);
    bench.deliver(&message("t", &[0; 20], QOS[1], None), 3, QOS[1]);
    let reasons = [DropReason::Expired, DropReason::NotAuthorized, DropReason::TooLarge];
    let expected: Vec<Effect> = (1..)
        .zip(reasons)
        .flat_map(|(ticket, reason)| [Effect::Dropped(reason), save(Change::Done { ticket: Ticket(ticket) }, None)])
        .collect();
    assert_eq!((bench.effects(), bench.bytes().len()), (expected, 0));
    bench.deliver(&message("t", b"ok", QOS[1], None), 4, QOS[1]);
    assert_eq!(bench.bytes(), [0x32, 8, 0, 1, b't', 0, 2, 0, b'o', b'k'], "no window slot was lost [MQTT-3.1.2-25]");
}

#[test]
fn a_slow_consumer_loses_qos_0_and_keeps_qos_1_up_to_its_bounds() {
    let limits = Limits { out_bytes_max: 10, waiting_messages_max: 1, ..Limits::default() };
    let mut bench = Bench::with(opening(V3_1_1), limits);
    for payload in [b"0123456789", b"aaaaaaaaaa"] {
        bench.deliver(&message("t", payload, QOS[0], None), 0, QOS[0]);
    }
    bench.deliver(&message("t", b"b", QOS[1], None), 0, QOS[1]);
    bench.deliver(&message("t", b"c", QOS[1], None), 0, QOS[1]);
    assert_eq!(bench.effects(), [Effect::Dropped(DropReason::SlowConsumer), Effect::Dropped(DropReason::QueueFull)]);
    bench.publishes();
    let mut desk = Desk::new(&mut bench.out, &mut bench.effects);
    bench.session.handle_drained(&bench.may, bench.now, &mut desk);
    assert_eq!(bench.publishes(), [(0x32, 1, b"b".to_vec())]);
}

fn saved_out(packet_id: u16, ticket: u64, qos: QoS, state: OutState) -> SavedOut {
    let text = format!("{ticket}");
    let message = (state == OutState::Published).then(|| message("t", text.as_bytes(), qos, None));
    let packet_id = id(packet_id);
    SavedOut { packet_id, state, ticket: Ticket(ticket), message, qos, retain: false, subscription_ids: Vec::new() }
}

#[test]
fn mqtt_4_4_0_1_unfinished_exchanges_come_first_with_their_identifiers_and_dup() {
    let outgoing = vec![
        saved_out(7, 3, QOS[1], OutState::Published),
        saved_out(2, 4, QOS[2], OutState::Published),
        saved_out(9, 1, QOS[2], OutState::Released),
    ];
    let mut bench = Bench::new(resumed(Saved { outgoing, ..Saved::default() }));
    assert_eq!(bench.bytes(), [0x62, 2, 0, 9]);
    assert!(matches!(bench.effects()[..], [Effect::ReadQueue { after: Ticket::NONE, .. }]));
    bench.deliver(&message("t", b"6", QOS[1], None), 6, QOS[1]);
    assert!(bench.bytes().is_empty(), "what is new waits for what is old");
    let queued = |ticket: u64| Queued {
        ticket: Ticket(ticket),
        message: message("t", ticket.to_string().as_bytes(), QOS[1], None),
        qos: QOS[1],
        retain: false,
        subscription_ids: Vec::new(),
    };
    bench.page(Page { messages: vec![queued(5)], complete_up_to: Some(Ticket(5)) });
    let sent = [(0x3A, 7, b"3"), (0x3C, 2, b"4"), (0x32, 10, b"5"), (0x32, 11, b"6")];
    assert_eq!(bench.publishes(), sent.map(|(first, id, payload)| (first, id, payload.to_vec())));
}

#[test]
fn mqtt_3_3_4_9_repeats_stay_within_a_smaller_window_too() {
    let outgoing = (1..=4).map(|n| saved_out(n, u64::from(n), QOS[1], OutState::Published)).collect();
    let opening = resumed(Saved { outgoing, ..Saved::default() });
    let mut bench = Bench::new(Opening { receive_maximum: 2, ..opening });
    bench.page(Page { messages: Vec::new(), complete_up_to: Some(Ticket(9)) });
    assert_eq!(bench.publishes().len(), 2);
    bench.ack(Packet::PubAck, 1, ReasonCode::Success);
    assert_eq!(bench.publishes(), [(0x3A, 3, b"3".to_vec())]);
}

#[test]
fn mqtt_4_3_3_6_a_pubrec_before_the_repeat_ends_the_repeating() {
    let outgoing = (1..=3).map(|n| saved_out(n, u64::from(n), QOS[2], OutState::Published)).collect();
    let opening = resumed(Saved { outgoing, ..Saved::default() });
    let mut bench = Bench::new(Opening { receive_maximum: 1, ..opening });
    bench.effects();
    // One that ends the exchange, and one that goes on with it.
    bench.ack(Packet::PubRec, 1, ReasonCode::UnspecifiedError);
    assert_eq!(bench.effects(), [save(Change::Done { ticket: Ticket(1) }, None)]);
    assert_eq!(bench.publishes(), [(0x3C, 2, b"2".to_vec())]);
    bench.ack(Packet::PubRec, 3, ReasonCode::Success);
    assert_eq!(bench.effects(), [save(Change::Received { ticket: Ticket(3) }, Some(Owed::Release(id(3))))]);
    bench.durable(Owed::Release(id(3)));
    assert_eq!(bench.bytes(), [0x62, 2, 0, 3]);
    bench.ack(Packet::PubComp, 3, ReasonCode::Success);
    assert_eq!(bench.effects(), [save(Change::Done { ticket: Ticket(3) }, Some(Owed::Finish(id(3))))]);
    bench.durable(Owed::Finish(id(3)));
    bench.page(Page { messages: Vec::new(), complete_up_to: Some(Ticket(9)) });
    assert!(bench.bytes().is_empty(), "nothing is left to be repeated, and the window is full");
    bench.deliver(&message("t", b"10", QOS[1], None), 10, QOS[1]);
    assert!(bench.bytes().is_empty(), "2 still takes the only place");
    bench.ack(Packet::PubRec, 2, ReasonCode::UnspecifiedError);
    assert_eq!(bench.publishes(), [(0x32, 4, b"10".to_vec())]);
}

#[test]
fn mqtt_2_2_1_4_identifiers_in_use_are_passed_over() {
    let mut bench = Bench::with(opening(V3_1_1), Limits { inflight_max: 3, ..Limits::default() });
    for round in 0..70_000_u32 {
        bench.deliver(&message("t", b"x", QOS[1], None), 0, QOS[1]);
        let sent = bench.publishes();
        assert_eq!(sent.len(), 1);
        if round == 0 {
            continue; // identifier 1 is never acknowledged
        }
        assert!(sent[0].1 > 1, "0 is none, and 1 is in use");
        bench.ack(Packet::PubAck, sent[0].1, ReasonCode::Success);
        bench.effects();
    }
}

#[test]
fn mqtt_2_2_1_4_a_new_message_waits_while_every_identifier_is_taken() {
    let limits = Limits { inflight_max: u16::MAX, ..Limits::default() };
    let ids = std::iter::once(u16::MAX).chain(1..u16::MAX);
    let outgoing = ids.map(|id| saved_out(id, u64::from(id), QOS[2], OutState::Released)).collect();
    let mut bench = Bench::with(resumed(Saved { outgoing, ..Saved::default() }), limits);
    bench.page(Page { messages: Vec::new(), complete_up_to: Some(Ticket(70_000)) });
    bench.ack(Packet::PubComp, 65_535, ReasonCode::Success);
    bench.effects();
    bench.bytes();
    // There is a place in the window, but its identifier is being saved.
    bench.deliver(&message("t", b"x", QOS[1], None), 70_001, QOS[1]);
    assert!(bench.publishes().is_empty());
    bench.durable(Owed::Finish(id(65_535)));
    assert_eq!(bench.publishes(), [(0x32, 65_535, b"x".to_vec())]);
}
