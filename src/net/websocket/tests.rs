use bytes::Bytes;

use super::frame::tests::{binary, client_frame};
use super::*;

const FIN: u8 = 0x80;
const PING: u8 = FIN | 9;
const CLOSE: u8 = FIN | 8;

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

fn fresh() -> WebSocket {
    WebSocket::new("/mqtt".into())
}

/// A connection whose upgrade has been answered.
fn upgraded() -> WebSocket {
    let mut socket = fresh();
    assert_eq!(open(&mut socket, REQUEST), (vec![], Ok(false)));
    assert!(sealed(&mut socket, b"").starts_with(b"HTTP/1.1 101 "));
    socket
}

fn open(socket: &mut WebSocket, bytes: &[u8]) -> (Vec<u8>, Result<bool, LayerError>) {
    let mut wire = bytes.to_vec();
    let (plain, result) = socket.open(&mut wire);
    (wire[..plain].to_vec(), result)
}

fn bytes_of(out: &Out) -> Vec<u8> {
    let mut all = Vec::new();
    out.slices(|piece| all.extend_from_slice(piece));
    all
}

fn sealed(socket: &mut WebSocket, bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut sealed) = (Out::default(), Out::default());
    out.put(bytes);
    socket.seal(&mut out, &mut sealed);
    bytes_of(&sealed)
}

#[test]
fn every_cut_of_the_request_and_what_follows_it_gives_the_same() {
    let bytes = [REQUEST, &binary(b"\x10connect"), &binary(b"")].concat();
    for cut in 0..=bytes.len() {
        let mut socket = fresh();
        let (mut plain, first) = open(&mut socket, &bytes[..cut]);
        let (rest, second) = open(&mut socket, &bytes[cut..]);
        plain.extend(rest);
        assert_eq!((first, second), (Ok(false), Ok(false)), "cut at {cut}");
        assert_eq!(plain, b"\x10connect");
        assert!(socket.is_open());
    }
}

#[test]
fn a_request_byte_by_byte_is_answered_once() {
    let mut socket = fresh();
    for byte in REQUEST {
        assert!(!socket.wants_seal());
        assert_eq!(open(&mut socket, &[*byte]), (vec![], Ok(false)));
    }
    assert!(socket.wants_seal());
    assert!(sealed(&mut socket, b"").ends_with(b"\r\n\r\n"));
    assert!(!socket.wants_seal());
}

#[test]
fn a_head_without_an_end_is_refused_at_its_limit_and_nothing_more_is_kept() {
    let mut socket = fresh();
    let mut bomb = b"GET /mqtt HTTP/1.1\r\n".to_vec();
    bomb.resize(1 << 20, b'a');
    let (_, result) = open(&mut socket, &bomb);
    assert_eq!(result, Err(LayerError::Upgrade(Refusal::TooLarge)));
    assert!(sealed(&mut socket, b"lost").starts_with(b"HTTP/1.1 431 "));
    assert_eq!(sealed(&mut socket, b"lost"), b"", "nothing follows a refusal");
    // In pieces, the limit is the same.
    let mut socket = fresh();
    let results: Vec<_> = bomb.chunks(1000).take(9).map(|piece| open(&mut socket, piece).1).collect();
    assert_eq!(results.iter().position(Result::is_err), Some(8));
}

#[test]
fn something_else_than_http_is_refused_at_its_first_byte() {
    for other in [&b"\x10\x00"[..], b"\x16\x03\x01", b"get /", b"\r\n"] {
        let (_, result) = open(&mut fresh(), other);
        assert_eq!(result, Err(LayerError::Upgrade(Refusal::NotHttp)));
    }
}

#[test]
fn bytes_for_the_client_wait_until_the_upgrade_is_done() {
    let mut socket = fresh();
    let (mut out, mut wire) = (Out::default(), Out::default());
    out.put(b"early");
    socket.seal(&mut out, &mut wire);
    assert_eq!((out.len(), wire.len()), (5, 0));
}

#[test]
fn mqtt_6_0_0_2_packets_split_over_frames_and_many_in_a_frame_are_one_stream() {
    let mut socket = upgraded();
    let frames = [binary(b"\x10\x0c\x00"), binary(b"\x04MQ"), binary(b"TT\x05....\x82\x00\xc0\x00")].concat();
    assert_eq!(open(&mut socket, &frames), (b"\x10\x0c\x00\x04MQTT\x05....\x82\x00\xc0\x00".to_vec(), Ok(false)));
}

#[test]
fn mqtt3_6_0_0_2_packets_split_over_reads_are_one_stream() {
    let mut socket = upgraded();
    let frame = binary(b"\x10\x0c\x00\x04MQTT\x04");
    let plain: Vec<u8> = frame.iter().flat_map(|byte| open(&mut socket, &[*byte]).0).collect();
    assert_eq!(plain, b"\x10\x0c\x00\x04MQTT\x04");
}

#[test]
fn mqtt_6_0_0_1_what_is_sent_is_one_binary_frame() {
    let mut socket = upgraded();
    let (mut out, mut wire) = (Out::default(), Out::default());
    out.put(b"\x30\x80");
    out.put_shared(Bytes::from(vec![7; 300]));
    out.put(b"end");
    socket.seal(&mut out, &mut wire);
    assert!(out.is_empty());
    let expected = [&[0x82, 126, 1, 49, 0x30, 0x80][..], &[7; 300], b"end"].concat();
    assert_eq!(bytes_of(&wire), expected);
    assert!(wire.has_shared(), "a large payload is not copied");
}

#[test]
fn mqtt3_6_0_0_1_a_text_frame_closes_the_connection() {
    let mut socket = upgraded();
    let bytes = [binary(b"before"), client_frame(FIN | 1, b"\x10\x0c", [1; 4]), binary(b"after")].concat();
    let (plain, result) = open(&mut socket, &bytes);
    assert_eq!((&plain[..], result), (&b"before"[..], Err(LayerError::WebSocket(Violation::Text))));
    assert_eq!(sealed(&mut socket, b""), [0x88, 2, 0x03, 0xeb], "Close 1003");
    assert_eq!(open(&mut socket, &binary(b"after")), (vec![], Ok(true)));
}

#[test]
fn a_flood_of_pings_is_answered_once_with_the_latest() {
    let mut socket = upgraded();
    let flood: Vec<u8> = (0..200u8).flat_map(|i| client_frame(PING, &[i], [i; 4])).collect();
    let bytes = [flood, binary(b"still here")].concat();
    assert_eq!(open(&mut socket, &bytes), (b"still here".to_vec(), Ok(false)));
    assert_eq!(sealed(&mut socket, b"x"), [0x8a, 1, 199, 0x82, 1, b'x']);
    assert!(!socket.wants_seal());
}

#[test]
fn a_close_is_echoed_behind_what_waits_and_ends_the_stream() {
    let mut socket = upgraded();
    let bytes = [binary(b"last"), client_frame(CLOSE, b"\x0f\xa0bye", [1; 4]), binary(b"ignored")].concat();
    assert_eq!(open(&mut socket, &bytes), (b"last".to_vec(), Ok(true)));
    assert_eq!(sealed(&mut socket, b"x"), [0x82, 1, b'x', 0x88, 2, 0x0f, 0xa0]);
    assert_eq!(sealed(&mut socket, b"too late"), b"");
    let mut silent = upgraded();
    assert_eq!(open(&mut silent, &client_frame(CLOSE, b"", [1; 4])).1, Ok(true));
    assert_eq!(sealed(&mut silent, b""), [0x88, 0]);
}

#[test]
fn our_close_follows_what_waits_and_is_said_once() {
    let mut socket = upgraded();
    let (mut out, mut wire) = (Out::default(), Out::default());
    out.put(b"bye");
    socket.close(&mut out, &mut wire);
    socket.close(&mut out, &mut wire);
    assert_eq!(bytes_of(&wire), [0x82, 3, b'b', b'y', b'e', 0x88, 2, 0x03, 0xe8]);
}

#[test]
fn an_idle_connection_holds_about_a_hundred_bytes() {
    assert!(size_of::<WebSocket>() <= 128, "{}", size_of::<WebSocket>());
    let socket = upgraded();
    assert_eq!((socket.response.capacity(), socket.pong.is_some()), (0, false));
}
