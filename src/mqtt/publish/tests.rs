use super::*;
use crate::mqtt::Packet;
use crate::mqtt::testing::{MALFORMED, PROTOCOL, V4, V5, field, properties, read, refusal};

#[test]
fn a_publish_is_read_in_place() {
    let list = properties(&[&[0x23, 0, 3], &[1, 1], &[2, 0, 0, 0, 30]]);
    let body = [&field("a/é")[..], &[1, 2], &list, b"hi"].concat();
    let Ok(Packet::Publish(publish)) = read(0x3D, &body, V5) else { panic!("a PUBLISH") };
    let expected = PublishView {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: "a/é",
        packet_id: PacketId::new(0x102),
        topic_alias: Some(3),
        expiry_s: Some(30),
        properties: &list[1..],
        payload: b"hi",
    };
    assert_eq!(publish, expected);
    let mut spare = vec![9];
    assert_eq!(publish.forwardable(&mut spare), [1, 1]);
}

#[test]
fn properties_that_are_all_forwarded_are_not_copied() {
    let body = [&field("a")[..], &[2, 1, 1]].concat();
    let Ok(Packet::Publish(publish)) = read(0x30, &body, V5) else { panic!("a PUBLISH") };
    let mut spare = Vec::new();
    let forwardable = publish.forwardable(&mut spare);
    assert!(std::ptr::eq(forwardable, publish.properties));
}

#[test]
fn mqtt_3_3_1_4_qos_3_is_malformed() {
    assert_eq!(refusal(0x36, &[0, 1, b'a', 0, 1, 0], V5), (MALFORMED, "MQTT-3.3.1-4"));
    assert_eq!(refusal(0x36, &[0, 1, b'a', 0, 1], V4), (MALFORMED, "MQTT-3.3.1-4"));
}

#[test]
fn mqtt_3_3_1_2_dup_with_qos_0_is_malformed() {
    assert_eq!(refusal(0x38, &[0, 1, b'a', 0], V5), (MALFORMED, "MQTT-3.3.1-2"));
}

#[test]
fn mqtt_3_3_2_2_a_topic_name_with_a_wildcard_is_answered_0x90() {
    for topic in ["a/+", "a/#", "#"] {
        assert_eq!(refusal(0x30, &[&field(topic)[..], &[0]].concat(), V5), (0x90, "MQTT-3.3.2-2"));
        assert_eq!(refusal(0x30, &field(topic), V4), (0x90, "MQTT-3.3.2-2"));
    }
}

#[test]
fn mqtt_3_3_2_1_a_topic_name_is_a_string() {
    assert_eq!(refusal(0x30, &[0, 1, 0xFF, 0], V5), (MALFORMED, "MQTT-1.5.4-1"));
    assert_eq!(refusal(0x30, &[&field("a\0b")[..], &[0]].concat(), V5), (MALFORMED, "MQTT-1.5.4-2"));
}

#[test]
fn mqtt_4_7_3_1_only_an_alias_stands_for_an_empty_topic() {
    assert_eq!(refusal(0x30, &[0, 0, 0], V5), (PROTOCOL, "MQTT-4.7.3-1"));
    assert_eq!(refusal(0x30, &[0, 0], V4), (PROTOCOL, "MQTT-4.7.3-1"));
    assert!(read(0x30, &[0, 0, 3, 0x23, 0, 1], V5).is_ok());
}

#[test]
fn mqtt_2_2_2_1_a_publish_of_5_without_a_property_length_is_malformed_at_once() {
    assert_eq!(refusal(0x30, &field("a"), V5), (MALFORMED, crate::mqtt::reader::STRUCTURE));
}
