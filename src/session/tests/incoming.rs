//! What a client sends: PUBLISH and its answers, SUBSCRIBE, AUTH.

use super::*;
use crate::mqtt::{Auth, Subscribe, Subscription};
use crate::session::{Change, DropReason, Options, Reauthentication, Taken, Wanted};
use ProtocolVersion::{V3_1_1, V5};

fn accepted(effects: Vec<Effect>) -> (super::super::Receipt, ReasonCode) {
    match effects.into_iter().next() {
        Some(Effect::Publish { receipt: Some(receipt), .. }) => (receipt, ReasonCode::Success),
        Some(Effect::Owe(Owed::Accepted { receipt, reason })) => (receipt, reason),
        other => panic!("no receipt in {other:?}"),
    }
}

#[test]
fn mqtt_4_3_2_4_qos_1_is_published_and_acknowledged_only_when_its_turn_has_come() {
    let mut bench = Bench::new(opening(V5));
    bench.packet(Packet::Publish(publish("t", QOS[1], 7))).unwrap();
    assert!(bench.bytes().is_empty(), "nothing leaves before the message is kept");
    let (receipt, reason) = accepted(bench.effects());
    bench.durable(Owed::Accepted { receipt, reason });
    assert_eq!(bench.bytes(), [0x40, 2, 0, 7]);
}

#[test]
fn mqtt_4_3_3_10_a_repeated_qos_2_publish_is_answered_and_not_published_again() {
    let mut bench = Bench::new(opening(V5));
    bench.packet(Packet::Publish(publish("t", QOS[2], 7))).unwrap();
    let (first, _) = accepted(bench.effects());
    // Known by its identifier: DUP is 0 in both.
    bench.packet(Packet::Publish(publish("t", QOS[2], 7))).unwrap();
    let effects = bench.effects();
    assert!(matches!(effects[..], [Effect::Owe(Owed::Accepted { .. })]), "{effects:?}");
    let (again, _) = accepted(effects);
    bench.durable(Owed::Accepted { receipt: first, reason: ReasonCode::Success });
    bench.durable(Owed::Accepted { receipt: again, reason: ReasonCode::Success });
    assert_eq!(bench.bytes(), [0x50, 2, 0, 7, 0x50, 2, 0, 7]);
    bench.ack(Packet::PubRel, 7, ReasonCode::Success);
    assert_eq!(bench.effects(), [Effect::Owe(Owed::Completed(id(7)))]);
    bench.packet(Packet::Publish(publish("t", QOS[2], 7))).unwrap();
    assert!(matches!(bench.effects()[..], [Effect::Publish { .. }]), "the identifier is free again");
}

#[test]
fn mqtt_4_3_3_11_a_durable_session_saves_the_release_before_pubcomp() {
    let mut bench = Bench::new(durable(V5));
    bench.packet(Packet::Publish(publish("t", QOS[2], 7))).unwrap();
    bench.effects();
    bench.ack(Packet::PubRel, 7, ReasonCode::Success);
    let then = Some(Owed::Completed(id(7)));
    assert_eq!(bench.effects(), [Effect::Save { change: Change::Released(id(7)), then }]);
    assert!(bench.bytes().is_empty());
    bench.durable(Owed::Completed(id(7)));
    assert_eq!(bench.bytes(), [0x70, 2, 0, 7]);
    bench.ack(Packet::PubRel, 7, ReasonCode::Success);
    let nothing = || Owed::NothingToRelease(id(7));
    assert_eq!(bench.effects(), [Effect::Owe(nothing())], "not before an end that is still being saved");
    bench.durable(nothing());
    assert_eq!(bench.bytes(), [0x70, 3, 0, 7, 0x92], "there is nothing to release");
}

#[test]
fn mqtt_3_3_4_7_more_than_receive_maximum_ends_the_connection() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut bench = Bench::with(opening(V5), limits.clone());
    bench.packet(Packet::Publish(publish("t", QOS[1], 1))).unwrap();
    bench.packet(Packet::Publish(publish("t", QOS[2], 2))).unwrap();
    bench.packet(Packet::Publish(publish("t", QOS[0], 0))).unwrap();
    let third = bench.packet(Packet::Publish(publish("t", QOS[1], 3)));
    assert_eq!(third, violation(ReasonCode::ReceiveMaximumExceeded, "MQTT-3.3.4-7"));
    let mut old = Bench::with(opening(V3_1_1), limits);
    for number in 1..100 {
        old.packet(Packet::Publish(publish("t", QOS[2], number))).unwrap();
    }
}

#[test]
fn mqtt_4_9_0_1_exchanges_of_an_earlier_connection_take_no_place_before_they_are_repeated() {
    let saved = Some(Saved { received: vec![id(1), id(2)], ..Saved::default() });
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut bench = Bench::with(Opening { saved, ..opening(V5) }, limits);
    bench.packet(Packet::Publish(publish("t", QOS[2], 3))).unwrap();
    bench.packet(Packet::Publish(publish("t", QOS[2], 1))).unwrap();
    let exceeded = violation(ReasonCode::ReceiveMaximumExceeded, "MQTT-3.3.4-7");
    assert_eq!(bench.packet(Packet::Publish(publish("t", QOS[2], 2))), exceeded);
    for freed in [1, 2] {
        bench.ack(Packet::PubRel, freed, ReasonCode::Success);
    }
    bench.packet(Packet::Publish(publish("t", QOS[2], 4))).unwrap();
    assert_eq!(bench.packet(Packet::Publish(publish("t", QOS[2], 5))), exceeded);
}

#[test]
fn mqtt_3_3_4_7_a_pubrel_before_its_pubrec_gives_no_place_back() {
    let mut bench = Bench::with(opening(V5), Limits { receive_maximum: 2, ..Limits::default() });
    let mut receipts = Vec::new();
    for number in [1, 2] {
        bench.packet(Packet::Publish(publish("t", QOS[2], number))).unwrap();
        receipts.push(accepted(bench.effects()).0);
        bench.ack(Packet::PubRel, number, ReasonCode::Success);
        bench.effects();
    }
    let over = violation(ReasonCode::ReceiveMaximumExceeded, "MQTT-3.3.4-7");
    assert_eq!(bench.packet(Packet::Publish(publish("t", QOS[2], 3))), over);
    // Each PUBREC gives back its own place, and only that.
    for receipt in receipts {
        bench.durable(Owed::Accepted { receipt, reason: ReasonCode::Success });
    }
    for number in [3, 4] {
        bench.packet(Packet::Publish(publish("t", QOS[1], number))).unwrap();
    }
    assert_eq!(bench.packet(Packet::Publish(publish("t", QOS[1], 5))), over);
}

#[test]
fn a_refused_publish_gives_its_place_back() {
    let mut bench = Bench::with(opening(V5), Limits { receive_maximum: 1, ..Limits::default() });
    bench.restrict();
    for qos in [QOS[2], QOS[1], QOS[2]] {
        bench.packet(Packet::Publish(publish("secret/t", qos, 5))).unwrap();
        let mut effects = bench.effects();
        assert_eq!(effects.remove(0), Effect::Dropped(DropReason::PublishNotAuthorized));
        let (receipt, reason) = accepted(effects);
        assert_eq!(reason, ReasonCode::NotAuthorized);
        bench.durable(Owed::Accepted { receipt, reason });
        let bytes = bench.bytes();
        assert_eq!((bytes[0] >> 4, bytes[4]), (if qos == QOS[1] { 4 } else { 5 }, 0x87));
    }
}

#[test]
fn mqtt3_3_3_5_2_a_311_publish_without_permission_is_acknowledged_and_counted() {
    let mut bench = Bench::new(opening(V3_1_1));
    bench.restrict();
    bench.packet(Packet::Publish(publish("secret/t", QOS[0], 0))).unwrap();
    assert_eq!(bench.effects(), [Effect::Dropped(DropReason::PublishNotAuthorized)]);
    bench.packet(Packet::Publish(publish("secret/t", QOS[1], 3))).unwrap();
    let mut effects = bench.effects();
    assert_eq!(effects.remove(0), Effect::Dropped(DropReason::PublishNotAuthorized));
    let (receipt, reason) = accepted(effects);
    bench.durable(Owed::Accepted { receipt, reason });
    assert_eq!(bench.bytes(), [0x40, 2, 0, 3]);
}

#[test]
fn mqtt3_4_8_0_2_what_the_store_refuses_ends_a_311_connection_without_puback() {
    for (version, expected) in [(V5, Ok(())), (V3_1_1, Err(Ending::ByServer(ReasonCode::QuotaExceeded)))] {
        let mut bench = Bench::new(opening(version));
        bench.packet(Packet::Publish(publish("t", QOS[1], 7))).unwrap();
        let (receipt, reason) = accepted(bench.effects());
        let mut desk = Desk::new(&mut bench.out, &mut bench.effects);
        let result = bench.session.handle_failed(Owed::Accepted { receipt, reason }, bench.now, &mut desk);
        assert_eq!(result, expected);
        let (bytes, is_v5) = (bench.bytes(), version == V5);
        assert_eq!((bytes.is_empty(), bytes.get(4)), (!is_v5, is_v5.then_some(&0x97)), "{bytes:02X?}");
    }
}

#[test]
fn mqtt_3_3_2_12_aliases_are_learned_and_used() {
    let mut bench = Bench::new(opening(V5));
    let with = |topic, alias| PublishView { topic_alias: Some(alias), ..publish(topic, QOS[0], 0) };
    bench.packet(Packet::Publish(with("a/b", 16))).unwrap();
    bench.packet(Packet::Publish(with("", 16))).unwrap();
    let topics: Vec<String> = bench
        .effects()
        .iter()
        .map(|effect| match effect {
            Effect::Publish { message, .. } => message.topic().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["a/b", "a/b"]);
    assert_eq!(bench.packet(Packet::Publish(with("", 15))), violation(ReasonCode::ProtocolError, "3.3.4"));
    let beyond = bench.packet(Packet::Publish(with("a", 17)));
    assert_eq!(beyond, violation(ReasonCode::TopicAliasInvalid, "MQTT-3.3.2-9"));
}

#[test]
fn mqtt_3_2_2_11_and_14_announced_limits_are_enforced() {
    let limits = Limits { maximum_qos: QOS[1], retain_available: false, ..Limits::default() };
    let mut bench = Bench::with(opening(V5), limits);
    let qos = bench.packet(Packet::Publish(publish("t", QOS[2], 1)));
    assert_eq!(qos, violation(ReasonCode::QoSNotSupported, "MQTT-3.2.2-11"));
    let retain = bench.packet(Packet::Publish(PublishView { retain: true, ..publish("t", QOS[0], 0) }));
    assert_eq!(retain, violation(ReasonCode::RetainNotSupported, "MQTT-3.2.2-14"));
}

fn subscription(filter: &str) -> Subscription {
    Subscription {
        filter: filter.into(),
        qos: QOS[1],
        no_local: false,
        retain_as_published: false,
        retain_handling: Default::default(),
    }
}

fn subscribe(filters: &[&str]) -> Packet<'static> {
    let subscriptions = filters.iter().map(|filter| subscription(filter)).collect();
    Packet::Subscribe(Subscribe { packet_id: id(4), subscription_id: Some(3), subscriptions })
}

#[test]
fn mqtt_3_8_4_6_each_filter_gets_its_own_verdict() {
    let mut bench = Bench::with(opening(V5), Limits { subscriptions_max: 1, ..Limits::default() });
    bench.restrict();
    bench.packet(subscribe(&["a", "a/#/b", "secret/x", "b"])).unwrap();
    let [Effect::Subscribe { packet_id, wanted }] = &bench.effects()[..] else { panic!() };
    let verdicts: Vec<_> = wanted.iter().map(|wanted| wanted.verdict.map(|options| options.subscription_id)).collect();
    assert_eq!(*packet_id, id(4));
    let (invalid, denied) = (Err(ReasonCode::TopicFilterInvalid), Err(ReasonCode::NotAuthorized));
    assert_eq!(verdicts, [Ok(Some(3)), invalid, denied, Err(ReasonCode::QuotaExceeded)]);
}

#[test]
fn what_a_session_has_already_takes_no_room_and_a_packet_may_name_it_only_so_often() {
    let mut bench = Bench::with(opening(V5), Limits { subscriptions_max: 3, ..Limits::default() });
    let options = Options { qos: QOS[0], no_local: false, retain_as_published: false, subscription_id: None };
    let taken = |filter: &str| Taken {
        code: ReasonCode::Success,
        subscription: Some((filter.into(), options)),
        new: true,
        retained: Vec::new(),
        overtaken: Vec::new(),
    };
    bench.session.handle_subscribed(id(1), vec![taken("b"), taken("a")]);
    for (filters, granted) in [
        (&["a", "b", "c"][..], [true, true, true].as_slice()),
        (&["c", "d", "a"], &[true, false, true]),
        (&["a", "a", "a", "a", "b"], &[true, true, true, false, false]),
    ] {
        bench.packet(subscribe(filters)).unwrap();
        let [Effect::Subscribe { wanted, .. }] = &bench.effects()[..] else { panic!() };
        assert_eq!(wanted.iter().map(|wanted| wanted.verdict.is_ok()).collect::<Vec<_>>(), granted, "{filters:?}");
    }
}

#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    let mut bench = Bench::new(opening(V5));
    let subscriptions = vec![Subscription { no_local: true, ..subscription("$share/g/t") }];
    let result = bench.packet(Packet::Subscribe(Subscribe { packet_id: id(1), subscription_id: None, subscriptions }));
    assert_eq!(result, violation(ReasonCode::ProtocolError, "MQTT-3.8.3-4"));
}

#[test]
fn mqtt3_4_8_0_1_a_311_client_with_an_invalid_filter_is_closed() {
    let mut bench = Bench::new(opening(V3_1_1));
    assert_eq!(bench.packet(subscribe(&["a#"])), violation(ReasonCode::TopicFilterInvalid, "MQTT-4.7.1-1"));
}

#[test]
fn mqtt_3_8_4_1_the_suback_goes_out_before_the_retained_messages() {
    let mut bench = Bench::new(opening(V3_1_1));
    let options = Options { qos: QOS[1], no_local: false, retain_as_published: false, subscription_id: None };
    let retained =
        vec![(message("t", b"r", QOS[2], None), Ticket::NONE), (message("t", b"s", QOS[0], None), Ticket::NONE)];
    let (subscription, overtaken) = (Some(("t".into(), options)), Vec::new());
    let taken = Taken { code: ReasonCode::GrantedQoS1, subscription, new: true, retained, overtaken };
    let owed = bench.session.handle_subscribed(id(4), vec![taken]);
    bench.durable(owed);
    let bytes = bench.bytes();
    assert_eq!(bytes[..5], [0x90, 3, 0, 4, 1]);
    assert_eq!(bytes[5..], [0x33, 6, 0, 1, b't', 0, 1, b'r', 0x31, 4, 0, 1, b't', b's']);
}

#[test]
fn a_filter_is_remembered_once_and_forgotten() {
    let mut bench = Bench::new(opening(V5));
    let options = Options { qos: QOS[0], no_local: false, retain_as_published: false, subscription_id: None };
    let taken = |new| {
        let (retained, overtaken) = (Vec::new(), Vec::new());
        vec![Taken { code: ReasonCode::Success, subscription: Some(("t".into(), options)), new, retained, overtaken }]
    };
    for new in [true, false] {
        let owed = bench.session.handle_subscribed(id(1), taken(new));
        bench.durable(owed);
    }
    assert_eq!(bench.session.subscriptions.len(), 1);
    let owed = bench.session.handle_unsubscribed(id(2), vec!["t".into()], vec![ReasonCode::Success]);
    let (filters, codes) = (vec!["t".into()], vec![ReasonCode::Success]);
    assert_eq!(owed, Owed::Unsubscribed { packet_id: id(2), filters, codes });
    assert_eq!(bench.session.subscriptions.len(), 0);
}

#[test]
fn mqtt_4_12_1_1_reauthentication_keeps_the_method_of_the_connect() {
    let auth = |reason, method: &str| Packet::Auth(Auth { reason, method: Some(method.into()), data: None });
    let mut plain = Bench::new(opening(V5));
    let result = plain.packet(auth(ReasonCode::ReAuthenticate, "M"));
    assert_eq!(result, violation(ReasonCode::ProtocolError, "MQTT-4.12.0-7"));
    let mut bench = Bench::new(Opening { authentication_method: Some("M".into()), ..opening(V5) });
    let early = bench.packet(auth(ReasonCode::ContinueAuthentication, "M"));
    assert_eq!(early, violation(ReasonCode::ProtocolError, "MQTT-4.12.0-3"));
    let other = bench.packet(auth(ReasonCode::ReAuthenticate, "N"));
    assert_eq!(other, violation(ReasonCode::ProtocolError, "MQTT-4.12.1-1"));
    bench.packet(auth(ReasonCode::ReAuthenticate, "M")).unwrap();
    assert!(matches!(bench.effects()[..], [Effect::Reauthenticate(_)]));
    let mut desk = Desk::new(&mut bench.out, &mut bench.effects);
    let denied = Reauthentication::Denied(ReasonCode::BadUserNameOrPassword);
    let result = bench.session.handle_reauthentication(denied, &mut desk);
    assert_eq!(result, Err(Ending::ByServer(ReasonCode::NotAuthorized)), "[MQTT-4.12.1-2]");
}

#[test]
fn mqtt_3_1_2_24_a_challenge_the_client_does_not_take_ends_the_connection() {
    let mut opening = Opening { authentication_method: Some("M".into()), ..opening(V5) };
    opening.peer.maximum_packet_size = 20;
    let mut bench = Bench::new(opening);
    for (bytes, expected) in [(8, Ok(())), (13, Err(Ending::ByServer(ReasonCode::PacketTooLarge)))] {
        let mut desk = Desk::new(&mut bench.out, &mut bench.effects);
        let challenge = Reauthentication::Continue(vec![0; bytes].into());
        assert_eq!(bench.session.handle_reauthentication(challenge, &mut desk), expected, "{bytes} bytes of data");
    }
}

#[test]
fn wanted_subscriptions_carry_the_filter_as_written() {
    let mut bench = Bench::new(opening(V5));
    bench.packet(subscribe(&["$share/g/a/+"])).unwrap();
    let [Effect::Subscribe { wanted, .. }] = &bench.effects()[..] else { panic!() };
    assert!(matches!(&wanted[..], [Wanted { filter, verdict: Ok(_), .. }] if **filter == *"$share/g/a/+"));
}
