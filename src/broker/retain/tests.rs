use super::*;
use crate::clock::Moment;
use crate::identity::Origin;
use crate::message::Parts;
use crate::mqtt::QoS;

const NOW: Now = Now { moment: Moment::from_ms(1_000), wall_ms: 0 };

fn later(ms: u64) -> Now {
    Now { moment: NOW.moment.plus_ms(ms), wall_ms: 0 }
}

fn message(topic: &str, payload: &str, expiry_s: Option<u32>) -> Arc<Message> {
    let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
    let payload = payload.as_bytes();
    Arc::new(Message::new(Parts { topic, properties: &[], payload, qos, retain: true, expiry_s, origin }, NOW))
}

const ENOUGH: Budget = Budget { messages: 10_000, nodes: 100_000 };

fn found(retained: &Retained, filter: &str, now: Now) -> Vec<String> {
    let mut found = Vec::new();
    let complete = retained.for_each_match(filter, now, &mut { ENOUGH }, |message| {
        found.push(format!("{}={}", message.topic(), String::from_utf8_lossy(message.payload())));
    });
    assert!(complete);
    found.sort();
    found
}

fn small(messages: usize, bytes: usize) -> Retained {
    Retained::new(Limits { messages, bytes })
}

#[test]
fn mqtt_3_3_1_5_a_retained_message_replaces_the_one_before() {
    let retained = Retained::default();
    for payload in ["first", "2"] {
        assert_eq!(retained.set(message("a/b", payload, None), NOW), Ok(()));
    }
    assert_eq!(found(&retained, "a/b", NOW), ["a/b=2"]);
    assert_eq!((retained.count(), retained.bytes()), (1, 4));
}

#[test]
fn mqtt_3_3_1_6_clearing_forgets_it_once() {
    let retained = Retained::default();
    retained.set(message("a/b", "1", None), NOW).unwrap();
    assert!(!retained.clear("a") && retained.clear("a/b") && !retained.clear("a/b"));
    assert_eq!(found(&retained, "#", NOW), [""; 0]);
    assert_eq!((retained.count(), retained.bytes()), (0, 0));
}

#[test]
fn mqtt_3_3_1_9_a_filter_finds_its_topics_in_all_shards() {
    let retained = Retained::default();
    let mut topics: Vec<String> = (0..200).map(|n| format!("user/{n}/state")).collect();
    topics.push("user/7".into());
    topics.push("$SYS/x".into());
    topics.iter().for_each(|topic| retained.load(message(topic, "x", None)));
    assert_eq!(found(&retained, "user/7/#", NOW), ["user/7/state=x", "user/7=x"]);
    assert_eq!(found(&retained, "user/+/state", NOW).len(), 200);
    assert_eq!(found(&retained, "#", NOW).len(), 201, "[MQTT-4.7.2-1]");
    assert_eq!(found(&retained, "$SYS/#", NOW), ["$SYS/x=x"]);
}

#[test]
fn the_brokers_own_take_nobodys_room_and_are_found_below_their_name_only() {
    let retained = small(1, 3);
    retained.set_own(message("$SYS/broker/x", "old", None));
    retained.set_own(message("$SYS/broker/x", "long", None));
    assert_eq!(retained.set(message("a", "1", None), NOW), Ok(()));
    assert_eq!((retained.count(), retained.bytes()), (1, 2));
    for filter in ["$SYS/#", "$SYS/broker/+", "$SYS/broker/x"] {
        assert_eq!(found(&retained, filter, NOW), ["$SYS/broker/x=long"]);
    }
    assert_eq!(found(&retained, "#", NOW), ["a=1"]);
    assert_eq!(found(&retained, "+/broker/x", NOW), [""; 0]);
}

#[test]
fn mqtt_3_3_2_5_an_expired_message_is_not_found_and_soon_forgotten() {
    let retained = Retained::default();
    for n in 0..1000 {
        retained.set(message(&format!("a/{n}"), "x", Some(2)), NOW).unwrap();
    }
    retained.set(message("a/b", "y", None), NOW).unwrap();
    assert_eq!(found(&retained, "a/+", later(1_999)).len(), 1001);
    assert_eq!(found(&retained, "a/+", later(2_000)), ["a/b=y"]);
    let left = retained.count();
    assert!(left < 1001, "a search clears up");
    // So does a publication, in the shard of its topic.
    let cleared_up = (0..1_000).any(|n| {
        let topic = format!("b/{n}");
        retained.set(message(&topic, "z", None), later(2_000)).unwrap();
        assert!(retained.clear(&topic));
        retained.count() < left
    });
    assert!(cleared_up);
    while retained.count() > 1 {
        let before = retained.count();
        assert_eq!(found(&retained, "#", later(2_000)), ["a/b=y"]);
        assert!(retained.count() < before, "it goes on until nothing is left");
    }
    assert_eq!(retained.bytes(), 4);
}

#[test]
fn a_search_does_not_forget_what_was_published_anew() {
    let retained = Retained::default();
    retained.set(message("a", "old", Some(1)), NOW).unwrap();
    retained.set(message("a", "new", None), later(5_000)).unwrap();
    assert_eq!(found(&retained, "+", later(5_000)), ["a=new"]);
}

#[test]
fn a_search_costs_no_more_than_it_may() {
    let retained = Retained::default();
    (0..1000).for_each(|n| retained.load(message(&format!("a/{n}/b"), "x", None)));
    let search = |filter: &str, mut budget: Budget| {
        let mut count = 0;
        let complete = retained.for_each_match(filter, NOW, &mut budget, |_| count += 1);
        (count, complete)
    };
    assert_eq!(search("a/#", Budget { messages: 10, ..ENOUGH }), (10, false));
    assert_eq!(search("a/#", Budget { messages: 1000, ..ENOUGH }), (1000, true), "none was left out");
    assert_eq!(search("+/+/c", Budget { nodes: 500, ..ENOUGH }), (0, false));
    assert_eq!(search("+/+/c", ENOUGH), (0, true));
    assert_eq!(search("a/7/b", Budget { messages: 0, ..ENOUGH }), (0, false));
}

#[test]
fn there_is_room_for_so_many_topics() {
    let retained = small(2, 1_000);
    assert_eq!(retained.set(message("a", "1", None), NOW), Ok(()));
    assert_eq!(retained.set(message("b", "1", Some(1)), NOW), Ok(()));
    assert_eq!(retained.set(message("c", "1", None), NOW), Err(Full));
    assert_eq!(retained.set(message("a", "2", None), NOW), Ok(()), "a topic that has one may always have another");
    assert_eq!(found(&retained, "#", NOW), ["a=2", "b=1"]);
    assert!(retained.clear("a") && retained.set(message("c", "1", None), NOW).is_ok());
    retained.load(message("d", "1", None));
    assert_eq!(retained.count(), 3, "what was stored is kept even when the limit is lower by now");
    assert_eq!(small(0, 1_000).set(message("a", "1", None), NOW), Err(Full));
}

#[test]
fn there_is_room_for_so_many_bytes() {
    let retained = small(10, 10);
    assert_eq!(retained.set(message("a", "12345", None), NOW), Ok(()));
    assert_eq!(retained.set(message("b", "12345", None), NOW), Err(Full));
    assert_eq!(retained.set(message("a", "123456789", None), NOW), Ok(()));
    assert_eq!(retained.set(message("a", "1234567890", None), NOW), Err(Full));
    assert_eq!(found(&retained, "#", NOW), ["a=123456789"]);
    assert_eq!((retained.count(), retained.bytes()), (1, 10));
}

#[test]
fn expired_messages_make_room_in_their_shard() {
    let retained = small(1, 1_000);
    retained.set(message("a", "1", Some(1)), NOW).unwrap();
    assert_eq!(retained.set(message("a/b", "1", None), NOW), Err(Full));
    let fits = (0..1_000).any(|n| retained.set(message(&format!("b/{n}"), "1", None), later(1_000)).is_ok());
    assert!(fits, "some topic lies in the same shard");
}
