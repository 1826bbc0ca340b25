use std::fmt::Debug;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::store::Recipient;

const EPOCH: Epoch = Epoch { wall_at_start_ms: 1_000_000 };
const KEY: &[u8] = b"key";

fn whole(topic: &str, expires: Option<u64>) -> Message {
    let (properties, payload) = (&[1, 1][..], &b"hi"[..]);
    let parts = Parts {
        topic,
        properties,
        payload,
        qos: QoS::ExactlyOnce,
        retain: true,
        expiry_s: None,
        origin: Origin(0x0a0b),
    };
    let mut message = Message::new(parts, Now::default());
    message.class = Class::P3;
    message.expires = expires.map(Moment::from_ms);
    message
}

fn recipient(subscription_ids: Vec<u32>) -> Recipient {
    Recipient { session: SessionId(7), qos: QoS::AtLeastOnce, retain: true, subscription_ids }
}

fn client() -> SessionRecord {
    let (client, owner) = (ClientId::new("meter-1"), Some(Arc::from("ann")));
    SessionRecord { session: SessionId(7), client, owner, expiry_s: 3600 }
}

fn later() -> LaterWill {
    let (topic, payload, properties) = ("w".into(), Bytes::from_static(b"gone"), Bytes::from_static(&[1, 0]));
    let will =
        Will { topic, payload, qos: QoS::AtLeastOnce, retain: false, delay_s: 30, expiry_s: Some(60), properties };
    LaterWill { will, due_wall_ms: 0x0102 }
}

fn exchange_of(state: OutState) -> Exchange {
    Exchange { order: 9, packet_id: PacketId::new(0x0102).unwrap(), state }
}

/// Compares with bytes written in words: numbers in hexadecimal, texts in quotation marks.
#[track_caller]
fn golden(bytes: &[u8], expected: &str) {
    let mut wanted = Vec::new();
    for word in expected.split_whitespace() {
        match word.strip_prefix('"') {
            Some(text) => wanted.extend_from_slice(text.trim_end_matches('"').as_bytes()),
            None => {
                wanted.extend((0..word.len()).step_by(2).map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap()))
            }
        }
    }
    assert_eq!(bytes, wanted, "{expected}");
}

const MESSAGE: &str = "02 01 03 01 00000000000f4245 0000000000000a0b 00000003 \"a/b\" 00000002 0101 00000002 \"hi\"";

#[test]
fn a_sealed_value_of_version_1() {
    let crc = crc32c::crc32c(b"key\x01body");
    golden(&seal(KEY, b"body"), &format!("01 {crc:08x} \"body\""));
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283, "the checksum is CRC-32C");
}

#[test]
fn a_message_and_a_queue_entry_of_version_1() {
    let message = whole("a/b", Some(5));
    golden(&message_body(&message, EPOCH), MESSAGE);
    let never = "02 01 03 00 0000000000000a0b 00000001 \"t\" 00000002 0101 00000002 \"hi\"";
    golden(&message_body(&whole("t", None), EPOCH), never);
    golden(&queue_body(&recipient(vec![]), Some(&message), EPOCH), &format!("01 01 0000 01 {MESSAGE}"));
    golden(&queue_body(&recipient(vec![1, 0x0fff_ffff]), None, EPOCH), "01 01 0002 00000001 0fffffff 00");
}

#[test]
fn the_rows_of_a_session_of_version_1() {
    golden(&session_body(&client()), "00000e10 00000007 \"meter-1\" 01 00000003 \"ann\"");
    golden(&session_body(&SessionRecord { owner: None, ..client() }), "00000e10 00000007 \"meter-1\" 00");
    golden(&leave_body(Some(0x0102)), "01 0000000000000102");
    golden(&leave_body(None), "00");
    golden(&expiry_body(3600), "00000e10");
    let options =
        Options { qos: QoS::ExactlyOnce, no_local: true, retain_as_published: true, subscription_id: Some(0x0102) };
    golden(&options_body(options), "02 03 00000102");
    golden(&options_body(Options { no_local: false, subscription_id: None, ..options }), "02 02 00000000");
    golden(&exchange_body(exchange_of(OutState::Published)), "0000000000000009 0102 00");
    golden(&exchange_body(exchange_of(OutState::Released)), "0000000000000009 0102 01");
    golden(&exchange_body(exchange_of(OutState::SetAside)), "0000000000000009 0102 02");
    golden(
        &will_body(&later()),
        "0000000000000102 01 00 0000001e 01 000000000000003c 00000001 \"w\" 00000002 0100 00000004 \"gone\"",
    );
}

#[test]
fn a_damaged_value_a_moved_one_and_a_cut_one_are_refused() {
    let value = seal(KEY, &message_body(&whole("a/b", Some(5)), EPOCH));
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut flipped = value.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(unseal(KEY, &flipped), Err(Unreadable::Checksum), "byte {at}, bit {bit}");
        }
        assert_eq!(unseal(KEY, &value[..at]), Err(Unreadable::Checksum), "cut at {at}");
    }
    assert_eq!(unseal(b"kez", &value), Err(Unreadable::Checksum), "the value of another key");
    assert_eq!(unseal(b"ke", &value), Err(Unreadable::Checksum));
}

#[test]
fn a_newer_version_is_named() {
    let mut value = vec![VERSION + 1];
    value.extend_from_slice(&checksum(KEY, VERSION + 1, b"body").to_be_bytes());
    value.extend_from_slice(b"body");
    assert_eq!(unseal(KEY, &value), Err(Unreadable::Version(VERSION + 1)));
}

#[test]
fn a_body_with_something_behind_it_or_less_than_all_of_it_is_refused() {
    #[track_caller]
    fn exact<T: Debug>(body: &[u8], read: impl Fn(&[u8]) -> Result<T, Unreadable>) {
        read(body).unwrap();
        assert_eq!(read(&[body, &[0]].concat()).unwrap_err(), Unreadable::Body);
        for cut in 0..body.len() {
            assert_eq!(read(&body[..cut]).unwrap_err(), Unreadable::Body, "cut at {cut}");
        }
    }
    let message_body = message_body(&whole("a/b", Some(5)), EPOCH);
    exact(&message_body, |body| message(body, EPOCH));
    exact(&queue_body(&recipient(vec![4]), None, EPOCH), |body| queue_entry(body, EPOCH));
    exact(&session_body(&client()), |body| session(SessionId(7), body));
    exact(&leave_body(Some(1)), leave);
    exact(&expiry_body(1), expiry);
    exact(
        &options_body(Options {
            qos: QoS::AtMostOnce,
            no_local: true,
            retain_as_published: false,
            subscription_id: None,
        }),
        options,
    );
    exact(&exchange_body(exchange_of(OutState::Published)), exchange);
    exact(&will_body(&later()), will);
}

#[test]
fn a_topic_longer_than_mqtt_allows_is_no_message() {
    let mut body = message_body(&whole("", None), EPOCH);
    let at = 4 + 8;
    body.splice(at..at + 4, [&70_000_u32.to_be_bytes()[..], &[b'x'; 70_000]].concat());
    assert_eq!(message(&body, EPOCH), Err(Unreadable::Body));
}

#[test]
fn an_expiry_keeps_its_wall_clock_time_over_a_restart() {
    let body = message_body(&whole("t", Some(60_000)), EPOCH);
    let later = Epoch { wall_at_start_ms: EPOCH.wall_at_start_ms + 45_000 };
    assert_eq!(message(&body, later).unwrap().expires, Some(Moment::from_ms(15_000)));
    let too_late = Epoch { wall_at_start_ms: EPOCH.wall_at_start_ms + 100_000 };
    assert_eq!(message(&body, too_late).unwrap().expires, Some(Moment::from_ms(0)), "it has expired, and is no newer");
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::P0), Just(Class::P1), Just(Class::P2), Just(Class::P3)]
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..80)
}

prop_compose! {
    fn any_message()(topic in "\\PC{1,40}", properties in octets(), payload in octets(), qos in qos(), retain: bool,
                     class in class(), origin: u64, expires in proptest::option::of(0..u64::from(u32::MAX))) -> Message {
        let parts = Parts { topic: &topic, properties: &properties, payload: &payload, qos, retain, expiry_s: None,
                            origin: Origin(origin) };
        let mut message = Message::new(parts, Now::default());
        (message.class, message.expires) = (class, expires.map(Moment::from_ms));
        message
    }
}

proptest! {
    #[test]
    fn what_was_written_of_a_message_is_read(given in any_message(), ids in proptest::collection::vec(any::<u32>(), 0..5),
                                             qos in qos(), retain: bool) {
        prop_assert_eq!(&message(&message_body(&given, EPOCH), EPOCH).unwrap(), &given);
        let to = Recipient { session: SessionId(1), qos, retain, subscription_ids: ids.clone() };
        for message in [None, Some(given)] {
            let body = queue_body(&to, message.as_ref(), EPOCH);
            let expected = QueueEntry { qos, retain, subscription_ids: ids.clone(), message };
            prop_assert_eq!(queue_entry(&body, EPOCH).unwrap(), expected);
        }
    }

    #[test]
    fn what_was_written_of_a_session_is_read(expiry_s: u32, client in "\\PC{0,30}", owner in proptest::option::of("\\PC{0,30}"),
                                             ends: Option<u64>, number: u64) {
        let session_id = SessionId(number);
        let record = SessionRecord {
            session: session_id, client: ClientId::new(&client), owner: owner.map(Arc::from), expiry_s,
        };
        prop_assert_eq!(session(session_id, &session_body(&record)).unwrap(), record);
        prop_assert_eq!(leave(&leave_body(ends)).unwrap(), ends);
        prop_assert_eq!(expiry(&expiry_body(expiry_s)).unwrap(), expiry_s);
    }

    #[test]
    fn what_was_written_of_options_exchanges_and_wills_is_read(
        qos in qos(), no_local: bool, retain: bool, id in proptest::option::of(1..=u32::MAX), order: u64,
        packet_id in 1..=u16::MAX, state in prop_oneof![Just(OutState::Published), Just(OutState::Released), Just(OutState::SetAside)], topic in "\\PC{0,30}", payload in octets(), properties in octets(),
        delay_s: u32, expiry_s: Option<u32>, due_wall_ms: u64,
    ) {
        let wanted = Options { qos, no_local, retain_as_published: retain, subscription_id: id };
        prop_assert_eq!(options(&options_body(wanted)).unwrap(), wanted);
        let sent = Exchange { order, packet_id: PacketId::new(packet_id).unwrap(), state };
        // Behind the highest order there must be another one.
        let read = if order < 1 << 63 { Ok(sent) } else { Err(Unreadable::Body) };
        prop_assert_eq!(exchange(&exchange_body(sent)), read);
        let (payload, properties) = (Bytes::from(payload), Bytes::from(properties));
        let given = Will { topic: topic.into(), payload, qos, retain, delay_s, expiry_s, properties };
        let later = LaterWill { will: given, due_wall_ms };
        prop_assert_eq!(will(&will_body(&later)).unwrap(), later);
    }

    #[test]
    fn t_k2_arbitrary_bytes_are_no_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (unseal(KEY, &bytes), unseal(&bytes, &bytes));
        if let Ok(message) = message(&bytes, EPOCH) {
            let _ = (message.topic().len(), message.properties().len(), message.payload().len());
        }
        let _ = (queue_entry(&bytes, EPOCH), session(SessionId(1), &bytes), leave(&bytes), expiry(&bytes));
        let _ = (options(&bytes), exchange(&bytes), will(&bytes));
    }

    /// Bytes that are nearly right get further into a reader than bytes by chance.
    #[test]
    fn t_k2_records_with_a_few_changed_bytes_are_no_reason_to_panic(
        given in any_message(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let change = |mut body: Vec<u8>| {
            for (at, byte) in &changes {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            body
        };
        if let Ok(message) = message(&change(message_body(&given, EPOCH)), EPOCH) {
            let _ = (message.topic().len(), message.properties().len(), message.payload().len());
        }
        let _ = queue_entry(&change(queue_body(&recipient(vec![1, 2]), Some(&given), EPOCH)), EPOCH);
        let _ = session(SessionId(7), &change(session_body(&client())));
        let _ = will(&change(will_body(&later())));
    }
}

#[test]
fn the_expiry_is_found_without_reading_the_message() {
    for expires in [None, Some(7)] {
        let message = whole("t", expires);
        for ids in [vec![], vec![1, 2, 3]] {
            let to = recipient(ids);
            let value = seal(KEY, &queue_body(&to, Some(&message), EPOCH));
            let found = queue_expires(&value).unwrap();
            assert!(matches!(found, Expires::At(at) if at.map(|at| at.of(EPOCH)) == message.expires));
            assert_eq!(queue_expires(&seal(KEY, &queue_body(&to, None, EPOCH))), Ok(Expires::WithBody));
        }
        let found = message_expires(&message_body(&message, EPOCH)).unwrap();
        assert_eq!(found.map(|at| at.of(EPOCH)), message.expires);
    }
    assert_eq!(queue_expires(&[1; 7]), Err(Unreadable::Body));
}
