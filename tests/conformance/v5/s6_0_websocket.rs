//! 6 MQTT over WebSocket (RFC 6455), with and without TLS.

use std::io::{Read as _, Write as _};

use crate::support::broker;
use crate::support::build::{Connect, PINGREQ, Publication, subscribe};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::transport::{WebSocket, Wire, masked, opcode, tcp, tls, upgrade};
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat};
use crate::support::{WAIT, unique};

/// An upgraded connection to the shared broker.
#[track_caller]
fn websocket() -> WebSocket {
    WebSocket::over(Box::new(tcp(broker::own().addr("ws"))))
}

fn connect() -> Connect {
    Connect::new(V5, unique("c"))
}

/// A client that was let in over a WebSocket.
#[track_caller]
fn client() -> Client {
    let mut client = Client::over(Box::new(websocket()), V5);
    connect().attempt_over(&mut client);
    assert_eq!(client.expect_connack().code, 0);
    client
}

/// [MQTT-6.0.0-1]
#[test]
fn mqtt_6_0_0_1_packets_travel_in_binary_frames_both_ways() {
    let topic = unique("t");
    let mut client = client();
    client.subscribe(&topic, 2);
    for qos in 0..=2 {
        client.publish(&topic, qos, "x");
        assert_eq!(client.receive_payload("x").qos, qos);
    }
    client.ping();
}

/// [MQTT-6.0.0-1]: frames with a length of one, two and eight bytes.
#[test]
fn mqtt_6_0_0_1_large_packets_travel_as_well_as_small_ones() {
    let topic = unique("t");
    let mut client = client();
    client.subscribe(&topic, 1);
    for size in [0, 100, 125, 126, 127, 65_500, 65_536, 300_000] {
        let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
        client.publish(&topic, 1, &payload);
        client.receive_payload(&payload);
    }
}

/// [MQTT-6.0.0-1]
#[test]
fn mqtt_6_0_0_1_a_text_frame_ends_the_connection() {
    let mut stranger = websocket();
    stranger.send_frame(opcode::TEXT, &connect().bytes());
    assert!([None, Some(1002), Some(1003)].contains(&stranger.expect_end()));
    let mut socket = websocket();
    socket.send_frame(opcode::BINARY, &connect().bytes());
    assert_eq!(socket.expect_frame(opcode::BINARY)[0], 0x20);
    socket.send_frame(opcode::TEXT, &PINGREQ);
    end_after_disconnect(&mut socket);
}

/// The end of a connection that was let in: at most a DISCONNECT, and a Close, before it.
#[track_caller]
fn end_after_disconnect(socket: &mut WebSocket) {
    socket.limit_read(WAIT);
    for _ in 0..3 {
        match socket.read_frame() {
            Ok(None) => return,
            Ok(Some((opcode::BINARY, payload))) => assert_eq!(payload[0], 0xE0),
            Ok(Some((opcode::CLOSE, _))) => {}
            other => panic!("expected the end of the connection, got {other:02X?}"),
        }
    }
    panic!("expected the end of the connection");
}

/// [MQTT-6.0.0-1] What RFC 6455 forbids a client ends the connection too.
#[test]
fn mqtt_6_0_0_1_frames_a_client_may_not_send_end_the_connection() {
    let whole = connect().bytes();
    let unmasked = concat(&[&[opcode::BINARY, whole.len() as u8], &whole]);
    let reserved = masked(opcode::BINARY | 0x40, &whole);
    let unknown = masked(0x83, &whole);
    let stray = masked(opcode::CONTINUATION, &whole);
    let large_control = masked(opcode::PING, &[0; 126]);
    let split_control = masked(opcode::PING & !opcode::LAST, b"x");
    let inside = concat(&[&masked(opcode::BINARY & !opcode::LAST, &whole[..3]), &masked(opcode::BINARY, &whole[3..])]);
    for bytes in [unmasked, reserved, unknown, stray, large_control, split_control, inside] {
        println!("{bytes:02X?}");
        let mut socket = websocket();
        socket.send_raw(&bytes);
        assert!([None, Some(1002), Some(1003)].contains(&socket.expect_end()));
    }
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt_6_0_0_2_a_packet_may_lie_in_several_frames() {
    let whole = connect().bytes();
    let (first, rest) = whole.split_at(1);
    let (second, third) = rest.split_at(rest.len() / 2);
    let mut socket = websocket();
    for part in [first, second, &[], third] {
        socket.send_frame(opcode::BINARY, part);
    }
    let mut client = Client::over(Box::new(socket), V5);
    assert_eq!(client.expect_connack().code, 0);
    client.ping();
}

/// [MQTT-6.0.0-2]: byte by byte.
#[test]
fn mqtt_6_0_0_2_every_byte_may_have_its_frame() {
    let mut socket = websocket();
    let frames: Vec<u8> = connect().bytes().iter().flat_map(|byte| masked(opcode::BINARY, &[*byte])).collect();
    socket.send_raw(&frames);
    let mut client = Client::over(Box::new(socket), V5);
    assert_eq!(client.expect_connack().code, 0);
    client.ping();
}

/// [MQTT-6.0.0-2]: one message in several frames, with a ping between them.
#[test]
fn mqtt_6_0_0_2_a_message_may_be_fragmented_around_a_ping() {
    let whole = connect().bytes();
    let (first, second) = whole.split_at(5);
    let mut socket = websocket();
    socket.send_frame(opcode::BINARY & !opcode::LAST, first);
    socket.send_frame(opcode::PING, b"still there?");
    assert_eq!(socket.expect_frame(opcode::PONG), b"still there?");
    socket.send_frame(opcode::CONTINUATION, second);
    assert_eq!(socket.expect_frame(opcode::BINARY)[0], 0x20);
}

/// [MQTT-6.0.0-2]
#[test]
fn mqtt_6_0_0_2_a_frame_may_hold_several_packets() {
    let topic = unique("t");
    let mut client = Client::over(Box::new(websocket()), V5);
    client.send(&concat(&[
        &connect().bytes(),
        &subscribe(V5, 1, &Props::new(), &[(topic.as_bytes(), 0)]),
        &Publication::new(&topic, "x").bytes(V5),
        &PINGREQ,
    ]));
    assert_eq!(client.expect_connack().code, 0);
    client.expect_suback(1);
    client.receive_payload("x");
    client.expect_pingresp();
}

/// [MQTT-6.0.0-2]: the frame itself arrives in pieces.
#[test]
fn mqtt_6_0_0_2_a_frame_may_arrive_byte_by_byte() {
    let mut socket = websocket();
    for byte in masked(opcode::BINARY, &connect().bytes()) {
        socket.send_raw(&[byte]);
    }
    assert_eq!(socket.expect_frame(opcode::BINARY)[0], 0x20);
}

/// [MQTT-6.0.0-3]: refused, with an answer that says so.
#[test]
fn mqtt_6_0_0_3_an_offer_without_mqtt_is_refused() {
    for offer in [None, Some("x"), Some("MQTT"), Some("mqttx, chat")] {
        let mut stream = tcp(broker::own().addr("ws"));
        let head = upgrade(&mut stream, "/mqtt", offer);
        assert!(head.starts_with("HTTP/1.1 400 "), "{offer:?}: {head}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the broker closes");
    }
}

/// [MQTT-6.0.0-4]
#[test]
fn mqtt_6_0_0_4_the_subprotocol_mqtt_is_selected_and_returned() {
    for offer in ["mqtt", "x, mqtt", "mqtt,x", "mqttv3.1, mqtt"] {
        let mut stream = tcp(broker::own().addr("ws"));
        let head = upgrade(&mut stream, "/mqtt", Some(offer));
        assert!(head.starts_with("HTTP/1.1 101 "), "{offer}: {head}");
        let name = "sec-websocket-protocol:";
        let selected: Vec<&str> = head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name)).collect();
        assert_eq!(selected.len(), 1, "{head}");
        assert_eq!(selected[0][name.len()..].trim(), "mqtt");
    }
}

/// [MQTT-6.0.0-4]: another path is not MQTT.
#[test]
fn mqtt_6_0_0_4_another_path_is_not_upgraded() {
    let mut stream = tcp(broker::own().addr("ws"));
    assert!(upgrade(&mut stream, "/other", Some("mqtt")).starts_with("HTTP/1.1 404 "));
}

/// [MQTT-6.0.0-1] A Close of the client is answered, and is the end of the connection for the session.
#[test]
fn mqtt_6_0_0_1_a_close_is_answered_by_a_close() {
    let mut socket = websocket();
    socket.send_frame(opcode::BINARY, &connect().bytes());
    assert_eq!(socket.expect_frame(opcode::BINARY)[0], 0x20);
    socket.send_frame(opcode::CLOSE, &1000u16.to_be_bytes());
    assert_eq!(socket.expect_end(), Some(1000));
}

/// [MQTT-6.0.0-1] A message from a WebSocket client reaches a TCP client and back.
#[test]
fn mqtt_6_0_0_1_it_is_the_same_broker_on_every_transport() {
    let topic = unique("t");
    let broker = broker::with(broker::SECURE);
    let ca = broker.place().join("certs/dev/ca.pem");
    let wires: [Box<dyn Wire>; 4] = [
        Box::new(tcp(broker.addr("mqtt"))),
        Box::new(tls(broker.addr("mqtts"), &ca)),
        Box::new(WebSocket::over(Box::new(tcp(broker.addr("ws"))))),
        Box::new(WebSocket::over(Box::new(tls(broker.addr("wss"), &ca)))),
    ];
    let mut clients: Vec<Client> = wires.into_iter().map(|wire| Client::over(wire, V5)).collect();
    for client in &mut clients {
        connect().attempt_over(client);
        assert_eq!(client.expect_connack().code, 0);
        client.subscribe(&topic, 1);
    }
    let payload = vec![b'x'; 50_000];
    for publisher in 0..clients.len() {
        clients[publisher].publish(&topic, 1, &payload);
        for client in &mut clients {
            client.receive_payload(&payload);
        }
    }
}

/// [MQTT-4.2.0-1] [MQTT-6.0.0-1] What is wrong on TCP is wrong on a WebSocket, with the same reason.
#[test]
fn mqtt_6_0_0_1_an_error_ends_a_websocket_with_its_reason() {
    let mut client = client();
    client.send(&[0xD0, 0x00]);
    client.expect_disconnect(&[0x81, 0x82]);
    connected(V5).ping();
}

/// [MQTT-4.2.0-1] Bytes that are neither TLS nor an upgrade end the connection, and harm nobody else.
#[test]
fn mqtt_4_2_0_1_mqtt_on_the_wrong_port_ends_the_connection() {
    let broker = broker::with(broker::SECURE);
    for listener in ["mqtts", "wss", "ws"] {
        let mut stream = tcp(broker.addr(listener));
        stream.write_all(&connect().bytes()).expect("it is a socket");
        let mut answer = Vec::new();
        // A reset is an end too; the end of our patience is not.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "on {listener}");
        }
        assert_ne!(answer.first(), Some(&0x20), "no CONNACK on {listener}");
    }
    connect().open_at(broker.addr("mqtt")).ping();
}
