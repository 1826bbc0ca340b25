use super::*;
use crate::mqtt::testing::{MALFORMED, PROTOCOL, properties};

fn refused(place: Place, list: &[&[u8]]) -> (u8, &'static str) {
    let wire = properties(list);
    let error = read(&mut Reader::new(&wire), place, |_, _| {}).expect_err("it must be refused");
    (error.reason as u8, error.statement)
}

fn accepted(place: Place, list: &[&[u8]]) {
    let wire = properties(list);
    let read = read(&mut Reader::new(&wire), place, |_, _| {});
    assert_eq!(read, Ok(&wire[1..]), "{place:?} {list:x?}");
}

const PLACES: [Place; 9] = [
    Place::Connect,
    Place::Will,
    Place::Publish,
    Place::PubAck,
    Place::PubComp,
    Place::Subscribe,
    Place::Unsubscribe,
    Place::Disconnect,
    Place::Auth,
];

/// Every property with a value in range, and where a client may send it, written out once more from the
/// standard.
const SAMPLES: &[(&[u8], &[Place])] = &[
    (&[0x01, 1], &[Place::Publish, Place::Will]),
    (&[0x02, 0, 0, 0, 0], &[Place::Publish, Place::Will]),
    (&[0x03, 0, 1, b'c'], &[Place::Publish, Place::Will]),
    (&[0x08, 0, 1, b'r'], &[Place::Publish, Place::Will]),
    (&[0x09, 0, 1, 0], &[Place::Publish, Place::Will]),
    (&[0x0B, 1], &[Place::Subscribe]),
    (&[0x11, 0, 0, 0, 0], &[Place::Connect, Place::Disconnect]),
    (&[0x12, 0, 1, b'i'], &[]),
    (&[0x13, 0, 1], &[]),
    (&[0x15, 0, 1, b'm'], &[Place::Connect, Place::Auth]),
    (&[0x17, 0], &[Place::Connect]),
    (&[0x18, 0, 0, 0, 0], &[Place::Will]),
    (&[0x19, 1], &[Place::Connect]),
    (&[0x1A, 0, 1, b'i'], &[]),
    (&[0x1C, 0, 1, b's'], &[]),
    (&[0x1F, 0, 1, b'r'], &[Place::PubAck, Place::PubComp, Place::Disconnect, Place::Auth]),
    (&[0x21, 0, 1], &[Place::Connect]),
    (&[0x22, 0, 0], &[Place::Connect]),
    (&[0x23, 0, 1], &[Place::Publish]),
    (&[0x24, 0], &[]),
    (&[0x25, 1], &[]),
    (&[0x26, 0, 1, b'k', 0, 0], &PLACES),
    (&[0x27, 0, 0, 0, 1], &[Place::Connect]),
    (&[0x28, 1], &[]),
    (&[0x29, 1], &[]),
    (&[0x2A, 1], &[]),
];

#[test]
fn each_property_is_taken_where_a_client_may_send_it_and_nowhere_else() {
    for (sample, places) in SAMPLES {
        for place in PLACES {
            if places.contains(&place) {
                accepted(place, &[sample]);
            } else {
                refused(place, &[sample]);
            }
        }
    }
}

#[test]
fn another_packets_property_is_malformed_and_a_servers_is_a_protocol_error() {
    assert_eq!(refused(Place::Subscribe, &[&[0x23, 0, 1]]), (MALFORMED, STRUCTURE));
    assert_eq!(refused(Place::Publish, &[&[0x7E]]), (MALFORMED, STRUCTURE));
    assert_eq!(refused(Place::Publish, &[&[0xFF]]), (MALFORMED, STRUCTURE));
    assert_eq!(refused(Place::Disconnect, &[&[0x1C, 0, 0]]), (PROTOCOL, STRUCTURE));
}

#[test]
fn mqtt_3_3_4_6_a_subscription_identifier_in_a_clients_publish_is_a_protocol_error() {
    assert_eq!(refused(Place::Publish, &[&[0x0B, 1]]), (PROTOCOL, "MQTT-3.3.4-6"));
}

#[test]
fn a_property_that_comes_twice_is_a_protocol_error_but_for_user_property() {
    for (sample, places) in SAMPLES {
        for place in places.iter() {
            if sample[0] == 0x26 {
                accepted(*place, &[sample, sample]);
            } else {
                assert_eq!(refused(*place, &[sample, sample]), (PROTOCOL, STRUCTURE), "{sample:x?}");
            }
        }
    }
}

#[test]
fn values_out_of_range_are_protocol_errors() {
    for (place, property) in [
        (Place::Publish, &[0x01, 2][..]),
        (Place::Subscribe, &[0x0B, 0]),
        (Place::Connect, &[0x17, 2]),
        (Place::Connect, &[0x19, 2]),
        (Place::Connect, &[0x21, 0, 0]),
        (Place::Connect, &[0x27, 0, 0, 0, 0]),
    ] {
        assert_eq!(refused(place, &[property]), (PROTOCOL, STRUCTURE), "{property:x?}");
    }
}

#[test]
fn mqtt_3_3_2_8_topic_alias_0_is_answered_0x94() {
    assert_eq!(refused(Place::Publish, &[&[0x23, 0, 0]]), (0x94, "MQTT-3.3.2-8"));
}

#[test]
fn mqtt_3_3_2_14_a_response_topic_has_no_wildcard() {
    assert_eq!(refused(Place::Publish, &[&[8, 0, 3, b'a', b'/', b'#']]), (PROTOCOL, "MQTT-3.3.2-14"));
    assert_eq!(refused(Place::Will, &[&[8, 0, 1, b'+']]), (PROTOCOL, "MQTT-3.3.2-14"));
}

#[test]
fn mqtt_1_5_7_1_both_halves_of_a_user_property_are_strings() {
    assert_eq!(refused(Place::Publish, &[&[0x26, 0, 1, 0xFF, 0, 0]]), (MALFORMED, "MQTT-1.5.4-1"));
    assert_eq!(refused(Place::Publish, &[&[0x26, 0, 0, 0, 1, 0]]), (MALFORMED, "MQTT-1.5.4-2"));
}

#[test]
fn authentication_data_needs_a_method() {
    assert_eq!(refused(Place::Connect, &[&[0x16, 0, 1, 0]]), (PROTOCOL, STRUCTURE));
    accepted(Place::Auth, &[&[0x16, 0, 1, 0], &[0x15, 0, 1, b'm']]);
}

#[test]
fn no_value_runs_over_the_length_that_was_announced() {
    // The string says three bytes, the Property Length ends after one, and there are bytes to be eaten.
    let wire = [4, 0x03, 0, 3, b'a', b'b', b'c', b'd'];
    let error = read(&mut Reader::new(&wire), Place::Publish, |_, _| {}).expect_err("it runs over");
    assert_eq!((error.reason as u8, error.statement), (MALFORMED, STRUCTURE));
    let wire = [9, 0x01, 1];
    assert!(read(&mut Reader::new(&wire), Place::Publish, |_, _| {}).is_err());
}

#[test]
fn mqtt_3_3_2_18_what_is_forwarded_keeps_its_order_and_loses_only_what_belongs_to_one_hop() {
    let user = [0x26, 0, 1, b'k', 0, 0];
    let wire = [&user[..], &[2, 0, 0, 0, 5], &[9, 0, 1, 0], &[0x23, 0, 1], &user, &[1, 1]].concat();
    let mut kept = Vec::new();
    keep_forwardable(&wire, &mut kept);
    assert_eq!(kept, [&user[..], &[9, 0, 1, 0], &user, &[1, 1]].concat());
}
