//! 6 MQTT over WebSocket.

use crate::support::broker;
use crate::support::build::{Connect, Publication, subscribe};
use crate::support::client::Client;
use crate::support::transport::{self, WebSocket, opcode};
use crate::support::unique;
use crate::support::wire::Props;
use crate::support::wire::Version::V3;

fn websocket() -> WebSocket {
    WebSocket::over(Box::new(transport::tcp(broker::own().addr("ws"))))
}

/// The answer to an upgrade request that offers these subprotocols.
fn upgraded(offer: Option<&str>) -> String {
    transport::upgrade(&mut transport::tcp(broker::own().addr("ws")), "/mqtt", offer)
}

fn subprotocols(head: &str) -> Vec<String> {
    let names = head.lines().filter_map(|line| line.split_once(':'));
    names
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// [MQTT3-6.0.0-1]
#[test]
fn mqtt3_6_0_0_1_a_text_frame_closes() {
    let mut fresh = websocket();
    fresh.send_frame(opcode::TEXT, &Connect::new(V3, unique("c")).bytes());
    fresh.expect_end();
    let mut connected = websocket();
    connected.send_frame(opcode::BINARY, &Connect::new(V3, unique("c")).bytes());
    assert_eq!(connected.expect_frame(opcode::BINARY), [0x20, 2, 0, 0], "answers are binary frames");
    connected.send_frame(opcode::TEXT, &[0xC0, 0]);
    connected.expect_end();
}

/// [MQTT3-6.0.0-2]
#[test]
fn mqtt3_6_0_0_2_a_packet_may_lie_in_several_frames() {
    let connect = Connect::new(V3, unique("c")).bytes();
    for size in [1, 5, connect.len() / 2] {
        let mut frames = websocket();
        for part in connect.chunks(size) {
            frames.send_frame(opcode::BINARY, part);
        }
        assert_eq!(frames.expect_frame(opcode::BINARY), [0x20, 2, 0, 0]);
        frames.send_frame(opcode::BINARY & !opcode::LAST, &[0xC0]);
        frames.send_frame(opcode::CONTINUATION, &[0]);
        assert_eq!(frames.expect_frame(opcode::BINARY), [0xD0, 0], "fragments of one message too");
    }
}

/// [MQTT3-6.0.0-2]
#[test]
fn mqtt3_6_0_0_2_a_frame_may_hold_several_packets() {
    let topic = unique("t");
    let mut client = Client::over(Box::new(websocket()), V3);
    let subscribe = subscribe(V3, 7, &Props::new(), &[(topic.as_bytes(), 1)]);
    let publish = Publication::new(&topic, "x").bytes(V3);
    client.send(&[Connect::new(V3, unique("c")).bytes(), subscribe, publish, vec![0xC0]].concat());
    assert_eq!(client.expect_connack().code, 0);
    client.expect_suback(7);
    client.receive_payload("x");
    client.send(&[0]);
    client.expect_pingresp();
}

/// [MQTT3-6.0.0-3]
#[test]
fn mqtt3_6_0_0_3_without_mqtt_no_subprotocol_is_selected() {
    for offer in [None, Some("x"), Some("x, y")] {
        let head = upgraded(offer);
        assert!(subprotocols(&head).is_empty(), "{offer:?} is answered {head}");
    }
}

/// [MQTT3-6.0.0-4]
#[test]
fn mqtt3_6_0_0_4_mqtt_is_selected_among_others() {
    for offer in ["mqtt", "x, mqtt", "mqtt,x", "x,mqtt ,y"] {
        let head = upgraded(Some(offer));
        assert!(head.starts_with("HTTP/1.1 101 "), "{offer} is answered {head}");
        assert_eq!(subprotocols(&head), ["mqtt"], "{head}");
    }
}
