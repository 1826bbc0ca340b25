//! Hostile WebSocket clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::broker::{self, Broker};
use crate::support::build::{Connect, PINGREQ};
use crate::support::client::CLOSE;
use crate::support::transport::{self, WebSocket, Wire as _, masked, opcode};
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::{resident_bytes, sound, sound_at};

fn websocket() -> WebSocket {
    WebSocket::over(Box::new(transport::tcp(broker::own().addr("ws"))))
}

/// A WebSocket over which a client was let in.
fn connected() -> WebSocket {
    let mut websocket = websocket();
    websocket.send_frame(opcode::BINARY, &Connect::new(V5, unique("c")).bytes());
    assert_eq!(websocket.expect_frame(opcode::BINARY)[0], 0x20);
    websocket
}

/// Sends bytes and reads to the end of the connection; what was answered.
fn answer(stream: &mut TcpStream, bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes);
    stream.limit_read(CLOSE);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn compression_is_not_agreed_to() {
    let mut stream = transport::tcp(broker::own().addr("ws"));
    let offers = ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame"];
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
         Sec-WebSocket-Extensions: {}\r\n\r\n",
        offers.join(", ")
    );
    stream.write_all(request.as_bytes()).expect("it is read");
    stream.limit_read(CLOSE);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    // RSV1 set: a frame that claims to be compressed.
    let mut compressed = connected();
    compressed.send_frame(opcode::BINARY | 0x40, &PINGREQ);
    assert_eq!(compressed.expect_end(), Some(1002));
    sound();
}

#[test]
fn frame_lengths_that_cannot_be_meant_end_the_connection() {
    for length in [1_u64 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX] {
        for first in [opcode::BINARY, opcode::TEXT, opcode::CONTINUATION, opcode::PING] {
            for mut websocket in [websocket(), connected()] {
                let head = [&[first, 0xFF][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
                websocket.send_raw(&head);
                websocket.send_raw(&[0; 64]);
                // A long frame may still carry small packets; what is in this one is none.
                websocket.expect_end();
            }
        }
    }
    sound();
}

#[test]
fn a_length_that_is_not_the_shortest_is_refused_or_read() {
    for head in [&[opcode::PING, 0xFE, 0, 1, 0, 0, 0, 0, b'x'][..], &[0xFF; 20]] {
        let mut websocket = connected();
        websocket.send_raw(head);
        websocket.expect_end();
    }
    sound();
}

#[test]
fn frames_of_no_and_of_one_byte_are_frames() {
    let mut websocket = websocket();
    let connect = Connect::new(V5, unique("c")).bytes();
    websocket.send_frame(opcode::BINARY, &[]);
    for byte in &connect {
        websocket.send_frame(opcode::BINARY, &[*byte]);
        websocket.send_frame(opcode::BINARY, &[]);
    }
    assert_eq!(websocket.expect_frame(opcode::BINARY)[0], 0x20);
    websocket.send_frame(opcode::BINARY & !opcode::LAST, &[]);
    websocket.send_frame(opcode::CONTINUATION & !opcode::LAST, &PINGREQ[..1]);
    websocket.send_frame(opcode::PING, b"between");
    websocket.send_frame(opcode::CONTINUATION, &PINGREQ[1..]);
    assert_eq!(websocket.expect_frame(opcode::PONG), b"between");
    assert_eq!(websocket.expect_frame(opcode::BINARY), [0xD0, 0]);
    sound();
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let mut websocket = connected();
    for byte in masked(opcode::BINARY, &PINGREQ) {
        websocket.send_raw(&[byte]);
    }
    assert_eq!(websocket.expect_frame(opcode::BINARY), [0xD0, 0]);
    sound();
}

#[test]
fn control_frames_are_short_and_whole() {
    let long = masked(opcode::PING, &[0; 126]);
    let pieces = masked(opcode::PING & !opcode::LAST, b"x");
    for bytes in [long, pieces] {
        let mut websocket = connected();
        websocket.send_raw(&bytes);
        assert_eq!(websocket.expect_end(), Some(1002));
    }
    let mut longest = connected();
    longest.send_frame(opcode::PING, &[7; 125]);
    assert_eq!(longest.expect_frame(opcode::PONG), [7; 125]);
    sound();
}

#[test]
fn frames_no_client_sends_end_the_connection() {
    for bytes in [
        vec![opcode::BINARY, 2, 0xC0, 0],
        masked(0x83, b"x"),
        masked(0x8F, b"x"),
        masked(opcode::BINARY | 0x10, b"x"),
        masked(opcode::CONTINUATION, b"x"),
        [masked(opcode::BINARY & !opcode::LAST, &[0xC0]), masked(opcode::BINARY, &[0])].concat(),
    ] {
        let mut websocket = connected();
        websocket.send_raw(&bytes);
        assert_eq!(websocket.expect_end(), Some(1002), "{bytes:02X?}");
    }
    let mut text = connected();
    text.send_frame(opcode::TEXT, b"\xFF");
    text.expect_end();
    sound();
}

#[test]
fn close_is_answered_with_close() {
    for payload in [&[][..], &[0x03, 0xE8], &[0x03, 0xE8, b'b', b'y', b'e']] {
        let mut websocket = connected();
        websocket.send_frame(opcode::CLOSE, payload);
        assert_eq!(websocket.expect_frame(opcode::CLOSE).get(..2), payload.get(..2));
        assert_eq!(websocket.expect_end(), None);
    }
    for wrong in [&[0x03][..], &[0, 0], &[0x03, 0xED], &[0x03, 0xE8, 0xFF]] {
        let mut websocket = connected();
        websocket.send_frame(opcode::CLOSE, wrong);
        websocket.expect_end();
    }
    sound();
}

#[test]
fn requests_that_are_no_upgrade_are_refused() {
    let addr = broker::own().addr("ws");
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /mqtt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "GET /mqtt HTTP/1.0\r\n\r\n",
        "nonsense\r\n\r\n",
        "\r\n\r\n\r\n\r\n",
    ] {
        let answer = answer(&mut transport::tcp(addr), request.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?} is answered {answer}");
    }
    let mqtt = answer(&mut transport::tcp(addr), &Connect::new(V5, unique("c")).bytes());
    assert!(!mqtt.contains("101"), "plain MQTT is no upgrade: {mqtt}");
    sound();
}

fn bombed(broker: &Broker, line: &str, times: usize) {
    let mut stream = transport::tcp(broker.addr("ws"));
    let bomb = format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{}", line.repeat(times));
    let answer = answer(&mut stream, bomb.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[test]
fn header_bombs_are_cut_short() {
    let broker = broker::with("");
    sound_at(&broker);
    let before = resident_bytes(&broker);
    bombed(&broker, "X: y\r\n", 10_000);
    bombed(&broker, &format!("X-{}: y\r\n", "a".repeat(10_000)), 100);
    bombed(&broker, "a", 1024 * 1024);
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 16.0 * 1024.0 * 1024.0, "{growth} bytes");
    sound_at(&broker);
}

#[test]
fn an_upgrade_that_never_ends_is_closed_in_time() {
    let broker = broker::with("[limits]\nconnect_timeout_s = 1\n");
    let begun = Instant::now();
    let said = answer(&mut transport::tcp(broker.addr("ws")), b"GET /mqtt HTTP/1.1\r\nHost: x\r\n");
    assert!(!said.contains(" 101 "), "{said}");
    let mut upgraded = WebSocket::over(Box::new(transport::tcp(broker.addr("ws"))));
    upgraded.expect_end();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    sound_at(&broker);
}
