use crate::mqtt::reader::STRUCTURE;
use crate::mqtt::testing::{MALFORMED, PROTOCOL, V4, V5, connect, field, properties, read, refusal, valid};
use crate::mqtt::{Packet, ProtocolVersion};

#[test]
fn every_packet_of_the_list_is_valid() {
    for (version, first, body) in valid() {
        assert!(read(first, &body, version).is_ok(), "{first:x} {body:x?}: {:?}", read(first, &body, version));
    }
}

#[test]
fn mqtt_2_1_3_1_every_other_value_of_the_reserved_flags_is_malformed() {
    for (version, first, body) in valid().into_iter().filter(|(_, first, _)| first >> 4 != 3) {
        for flags in (0..16).filter(|flags| *flags != first & 0x0F) {
            let (reason, statement) = refusal(first & 0xF0 | flags, &body, version);
            let own = ["MQTT-2.1.3-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "MQTT-3.14.1-1", "MQTT-3.15.1-1"];
            assert!(reason == MALFORMED && own.contains(&statement), "{first:x} with {flags:x}: {statement}");
        }
    }
}

#[test]
fn no_valid_packet_but_publish_may_be_followed_by_a_byte() {
    for (version, first, mut body) in valid().into_iter().filter(|(_, first, _)| first >> 4 != 3) {
        // Behind a Reason Code of its own comes a Property Length, and 0 would be one.
        let short = version == V5 && [4, 5, 6, 7, 14].contains(&(first >> 4)) && body.len() < 4;
        body.push(if short { 0x7F } else { 0 });
        assert!(read(first, &body, version).is_err(), "{first:x} {body:x?}");
    }
}

#[test]
fn mqtt_3_1_0_1_before_connect_nothing_else_is_taken() {
    for (_, first, body) in valid().into_iter().filter(|(_, first, _)| first >> 4 != 1) {
        assert_eq!(refusal(first, &body, None), (PROTOCOL, "MQTT-3.1.0-1"));
    }
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_is_a_protocol_error() {
    let (_, first, body) = valid().swap_remove(0);
    assert_eq!(refusal(first, &body, V5), (PROTOCOL, "MQTT-3.1.0-2"));
}

#[test]
fn packets_only_a_server_sends_are_protocol_errors_and_unknown_types_malformed() {
    for first in [0x20, 0x90, 0xB0, 0xD0] {
        assert_eq!(refusal(first, &[0, 1, 0], V5), (PROTOCOL, STRUCTURE));
    }
    assert_eq!(refusal(0x00, &[], V5), (MALFORMED, STRUCTURE));
    assert_eq!(refusal(0xF0, &[], V4), (MALFORMED, STRUCTURE));
}

#[test]
fn mqtt_2_2_1_3_packet_identifier_0_is_refused() {
    let filter = [&field("a")[..], &[0]].concat();
    assert_eq!(refusal(0x82, &[&[0, 0, 0][..], &filter].concat(), V5), (PROTOCOL, "MQTT-2.2.1-3"));
    assert_eq!(refusal(0xA2, &[&[0, 0, 0][..], &field("a")].concat(), V5), (PROTOCOL, "MQTT-2.2.1-3"));
    assert_eq!(refusal(0x32, &[0, 1, b'a', 0, 0, 0], V5), (PROTOCOL, "MQTT-2.2.1-3"));
}

#[test]
fn mqtt_2_2_1_5_an_acknowledgement_of_packet_identifier_0_is_refused() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        assert_eq!(refusal(first, &[0, 0], V5), (PROTOCOL, "MQTT-2.2.1-5"));
        assert_eq!(refusal(first, &[0, 0], V4), (PROTOCOL, "MQTT-2.2.1-5"));
    }
}

#[test]
fn mqtt_3_4_2_1_acknowledgements_carry_only_their_own_reason_codes() {
    let allowed = |first, code| read(first, &[0, 1, code], V5).is_ok();
    for code in 0..=255_u8 {
        let received = matches!(code, 0 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99);
        let released = matches!(code, 0 | 0x92);
        assert_eq!((allowed(0x40, code), allowed(0x50, code)), (received, received), "{code:x}");
        assert_eq!((allowed(0x62, code), allowed(0x70, code)), (released, released), "{code:x}");
    }
    assert_eq!(refusal(0x40, &[0, 1, 3], V5), (PROTOCOL, "MQTT-3.4.2-1"));
    assert_eq!(refusal(0x40, &[0, 1, 0], V4), (MALFORMED, STRUCTURE));
}

#[test]
fn mqtt_3_14_2_1_disconnect_carries_only_a_clients_reason_codes() {
    for code in 0..=255_u8 {
        let own = matches!(code, 0 | 4 | 0x80..=0x83 | 0x90 | 0x93..=0x99);
        assert_eq!(read(0xE0, &[code], V5).is_ok(), own, "{code:x}");
        assert_eq!(read(0xE0, &[code, 0], V5).is_ok(), own, "{code:x}");
    }
    assert_eq!(refusal(0xE0, &[3], V5), (PROTOCOL, "MQTT-3.14.2-1"));
    assert_eq!(refusal(0xE0, &[0], V4), (MALFORMED, STRUCTURE));
}

#[test]
fn mqtt_3_15_2_1_auth_continues_or_begins_again_and_names_its_method() {
    let method = properties(&[&[0x15, 0, 1, b'm']]);
    let auth = |code: u8| [&[code][..], &method].concat();
    for code in 0..=255_u8 {
        assert_eq!(read(0xF0, &auth(code), V5).is_ok(), matches!(code, 0x18 | 0x19), "{code:x}");
    }
    assert_eq!(refusal(0xF0, &[], V5), (PROTOCOL, "MQTT-3.15.2-1"));
    assert_eq!(refusal(0xF0, &[0x18, 0], V5), (PROTOCOL, "MQTT-4.12.0-5"));
}

#[test]
fn mqtt_3_8_3_2_a_subscribe_without_filters_is_a_protocol_error() {
    assert_eq!(refusal(0x82, &[0, 1, 0], V5), (PROTOCOL, "MQTT-3.8.3-2"));
    assert_eq!(refusal(0x82, &[0, 1], V4), (PROTOCOL, "MQTT-3.8.3-2"));
}

#[test]
fn mqtt_3_10_3_2_an_unsubscribe_without_filters_is_a_protocol_error() {
    assert_eq!(refusal(0xA2, &[0, 1, 0], V5), (PROTOCOL, "MQTT-3.10.3-2"));
    assert_eq!(refusal(0xA2, &[0, 1], V4), (PROTOCOL, "MQTT-3.10.3-2"));
}

fn subscribing(filter: &str, options: u8, version: Option<ProtocolVersion>) -> Vec<u8> {
    let head: &[u8] = if version == V5 { &[0, 1, 0] } else { &[0, 1] };
    [head, &field(filter), &[options]].concat()
}

#[test]
fn mqtt_3_8_3_5_reserved_subscription_options_are_malformed() {
    for options in [0x40, 0x80, 0xC1] {
        assert_eq!(refusal(0x82, &subscribing("a", options, V5), V5), (MALFORMED, "MQTT-3.8.3-5"));
    }
    for options in 3..=255 {
        assert_eq!(refusal(0x82, &subscribing("a", options, V4), V4), (MALFORMED, "MQTT3-3.8.3-4"));
    }
}

#[test]
fn qos_3_and_retain_handling_3_in_subscribe_are_protocol_errors() {
    assert_eq!(refusal(0x82, &subscribing("a", 0x03, V5), V5), (PROTOCOL, STRUCTURE));
    assert_eq!(refusal(0x82, &subscribing("a", 0x30, V5), V5), (PROTOCOL, STRUCTURE));
}

#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    assert_eq!(refusal(0x82, &subscribing("$share/g/t", 4, V5), V5), (PROTOCOL, "MQTT-3.8.3-4"));
    assert!(read(0x82, &subscribing("$shared/t", 4, V5), V5).is_ok());
}

#[test]
fn mqtt_3_8_3_1_filters_are_strings() {
    let body = [&[0, 1, 0][..], &field([0xFF]), &[0]].concat();
    assert_eq!(refusal(0x82, &body, V5), (MALFORMED, "MQTT-1.5.4-1"));
    let body = [&[0, 1, 0][..], &field("a\0b")].concat();
    assert_eq!(refusal(0xA2, &body, V5), (MALFORMED, "MQTT-1.5.4-2"));
}

#[test]
fn mqtt_3_1_2_1_another_protocol_name_is_malformed() {
    let body = [&field("MQTX")[..], &[5, 2, 0, 0, 0], &field("a")].concat();
    assert_eq!(refusal(0x10, &body, None), (MALFORMED, "MQTT-3.1.2-1"));
}

#[test]
fn mqtt_3_1_2_2_another_level_is_an_unsupported_version() {
    for level in (0..=255).filter(|level| ![4, 5].contains(level)) {
        let statement = if level > 5 { "MQTT-3.1.2-2" } else { "MQTT3-3.1.2-2" };
        assert_eq!(refusal(0x10, &connect(level, 2, &[]), None), (0x84, statement));
    }
    let body = [&field("MQIsdp")[..], &[4, 2, 0, 0], &field("a")].concat();
    assert_eq!(refusal(0x10, &body, None), (0x84, "MQTT3-3.1.2-2"));
}

/// A CONNECT of either version with these flags is malformed by `statement`.
#[track_caller]
fn flags_break(flags: u8, statement: &str) {
    assert_eq!(refusal(0x10, &connect(5, flags, &[&[0], &field("a")]), None), (MALFORMED, statement));
    assert_eq!(refusal(0x10, &connect(4, flags, &[&field("a")]), None), (MALFORMED, statement));
}

#[test]
fn mqtt_3_1_2_3_the_reserved_connect_flag_is_0() {
    flags_break(0x03, "MQTT-3.1.2-3");
}

#[test]
fn mqtt_3_1_2_11_without_a_will_its_qos_is_0() {
    flags_break(0x0A, "MQTT-3.1.2-11");
    flags_break(0x12, "MQTT-3.1.2-11");
}

#[test]
fn mqtt_3_1_2_12_a_wills_qos_is_not_3() {
    flags_break(0x1E, "MQTT-3.1.2-12");
}

#[test]
fn mqtt_3_1_2_13_without_a_will_it_is_not_retained() {
    flags_break(0x22, "MQTT-3.1.2-13");
}

/// A CONNECT of 5.0 with these flags and these fields behind the Client Identifier ends where it must not.
#[track_caller]
fn fields_break(flags: u8, fields: &[&[u8]]) {
    let body = connect(5, flags, &[&[0], &field("a"), &fields.concat()]);
    assert_eq!(refusal(0x10, &body, None), (MALFORMED, STRUCTURE));
}

#[test]
fn mqtt_3_1_2_9_a_will_that_is_announced_is_there() {
    fields_break(0x06, &[]);
    fields_break(0x06, &[&[0], &field("w")]);
}

#[test]
fn mqtt_3_1_2_16_no_user_name_that_is_not_announced() {
    fields_break(0x02, &[&field("u")]);
}

#[test]
fn mqtt_3_1_2_17_a_user_name_that_is_announced_is_there() {
    fields_break(0x82, &[]);
}

#[test]
fn mqtt_3_1_2_18_no_password_that_is_not_announced() {
    fields_break(0x82, &[&field("u"), &field("p")]);
}

#[test]
fn mqtt_3_1_2_19_a_password_that_is_announced_is_there() {
    fields_break(0x42, &[]);
    fields_break(0xC2, &[&field("u")]);
}

#[test]
fn mqtt_3_1_3_3_the_client_identifier_is_there() {
    assert_eq!(refusal(0x10, &connect(5, 2, &[&[0]]), None), (MALFORMED, STRUCTURE));
    assert_eq!(refusal(0x10, &connect(4, 2, &[]), None), (MALFORMED, STRUCTURE));
}

#[test]
fn mqtt3_3_1_2_22_a_password_without_a_user_name_is_refused_in_3_1_1_and_legal_in_5() {
    let parts = [&field("a")[..], &field("p")].concat();
    assert_eq!(refusal(0x10, &connect(4, 0x42, &[&parts]), None), (MALFORMED, "MQTT3-3.1.2-22"));
    let body = connect(5, 0x42, &[&[0], &parts]);
    let Ok(Packet::Connect(connect)) = read(0x10, &body, None) else { panic!("it is legal") };
    assert_eq!((connect.user_name.as_deref(), connect.password.as_deref()), (None, Some(&b"p"[..])));
}

#[test]
fn mqtt_4_7_0_1_a_will_topic_has_no_wildcard_and_is_not_empty() {
    let with = |topic: &str| connect(5, 0x06, &[&[0], &field("a"), &[0], &field(topic), &field("")]);
    assert_eq!(refusal(0x10, &with("a/#"), None), (0x90, "MQTT-4.7.0-1"));
    assert_eq!(refusal(0x10, &with(""), None), (0x90, "MQTT-4.7.3-1"));
    let ill_formed = connect(5, 0x06, &[&[0], &field("a"), &[0], &field([0xED, 0xA0, 0x80]), &field("")]);
    assert_eq!(refusal(0x10, &ill_formed, None), (MALFORMED, "MQTT-1.5.4-1"));
}

#[test]
fn mqtt_3_1_3_4_and_3_1_3_12_client_identifier_and_user_name_are_strings() {
    assert_eq!(refusal(0x10, &connect(5, 2, &[&[0], &field([0xFF])]), None), (MALFORMED, "MQTT-1.5.4-1"));
    let body = connect(5, 0x82, &[&[0], &field("a"), &field([0xFF])]);
    assert_eq!(refusal(0x10, &body, None), (MALFORMED, "MQTT-1.5.4-1"));
}

#[test]
fn mqtt_3_1_4_1_a_clients_connect_has_its_own_properties_only() {
    let with = |list: &[&[u8]]| connect(5, 2, &[&properties(list), &field("a")]);
    assert_eq!(refusal(0x10, &with(&[&[0x23, 0, 1]]), None), (MALFORMED, STRUCTURE));
    assert_eq!(refusal(0x10, &with(&[&[0x21, 0, 0]]), None), (PROTOCOL, STRUCTURE));
}
