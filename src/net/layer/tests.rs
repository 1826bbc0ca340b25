use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::net::frame::tests::{binary, client_frame};
use crate::net::tls::testing::{Authority, client, load};

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

fn web() -> Box<WebSocket> {
    Box::new(WebSocket::new(Arc::from("/mqtt")))
}

/// A client that speaks TLS or not, and writes the frames itself.
struct Far {
    tls: Option<ClientConnection>,
    wire: Vec<u8>,
    /// What the server has said, TLS taken off.
    heard: Vec<u8>,
}

impl Far {
    fn say(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes).unwrap(),
            None => self.wire.extend_from_slice(bytes),
        }
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.heard.extend_from_slice(bytes) };
        while !bytes.is_empty() && tls.read_tls(&mut bytes).unwrap() > 0 {
            tls.process_new_packets().unwrap();
            let _would_block = tls.reader().read_to_end(&mut self.heard);
        }
    }

    fn take_wire(&mut self) -> Vec<u8> {
        let mut wire = std::mem::take(&mut self.wire);
        while let Some(tls) = &mut self.tls
            && tls.wants_write()
        {
            tls.write_tls(&mut wire).unwrap();
        }
        wire
    }
}

/// Passes bytes both ways, at most `chunk` at once to the server, until both are silent.
fn talk(far: &mut Far, layers: &mut Layers, chunk: usize, plain: &mut Vec<u8>) -> Result<Progress, LayerError> {
    let mut progress = Progress::default();
    loop {
        let wire = far.take_wire();
        for piece in wire.chunks(chunk) {
            progress.closed |= layers.open(&mut piece.to_vec(), plain)?.closed;
        }
        let (mut out, mut sealed) = (Out::default(), Out::default());
        layers.seal(&mut out, &mut sealed).unwrap();
        sealed.slices(|piece| far.hear(piece));
        if wire.is_empty() && sealed.is_empty() {
            return Ok(progress);
        }
    }
}

#[test]
fn the_same_bytes_pass_all_layers_however_they_are_cut() {
    let authority = Authority::new();
    let config = load(&authority.options());
    for chunk in [1, 3, 100, usize::MAX] {
        for version in [None, Some(&TLS12), Some(&TLS13)] {
            for with_web in [false, true] {
                let tls = version.map(|version| client(&authority.client_config(version, None)));
                let mut layers = match (version.is_some(), with_web) {
                    (false, false) => Layers::Plain,
                    (true, false) => Layers::Tls(Box::new(Tls::new(&config))),
                    (false, true) => Layers::Ws(web()),
                    (true, true) => Layers::Wss(Box::new(Tls::new(&config)), web()),
                };
                let mut far = Far { tls, wire: vec![], heard: vec![] };
                let mut plain = Vec::new();
                assert_eq!(layers.established(), layers.is_plain());
                if with_web {
                    far.say(REQUEST);
                }
                talk(&mut far, &mut layers, chunk, &mut plain).unwrap();
                assert!(layers.established());
                far.heard.clear();
                far.say(&if with_web { [binary(b"pub"), binary(b"lish")].concat() } else { b"publish".to_vec() });
                assert_eq!(talk(&mut far, &mut layers, chunk, &mut plain), Ok(Progress { closed: false }));
                assert_eq!(plain, b"publish");

                let (mut out, mut sealed) = (Out::default(), Out::default());
                out.put(b"to ");
                out.put_shared(Bytes::from_static(b"you"));
                layers.close(&mut out, &mut sealed);
                assert!(out.is_empty() && !layers.wants_seal());
                sealed.slices(|piece| far.hear(piece));
                let framed = &b"\x82\x06to you\x88\x02\x03\xe8"[..];
                assert_eq!(far.heard, if with_web { framed } else { b"to you" });
                if let Some(mut tls) = far.tls {
                    assert!(tls.process_new_packets().unwrap().peer_has_closed());
                }
            }
        }
    }
}

#[test]
fn mqtt_6_0_0_1_a_text_frame_is_refused_over_tls_too() {
    let authority = Authority::new();
    let mut layers = Layers::Wss(Box::new(Tls::new(&load(&authority.options()))), web());
    let mut far = Far { tls: Some(client(&authority.client_config(&TLS13, None))), wire: vec![], heard: vec![] };
    let mut plain = Vec::new();
    far.say(REQUEST);
    talk(&mut far, &mut layers, usize::MAX, &mut plain).unwrap();
    far.heard.clear();
    far.say(&[binary(b"good"), client_frame(0x81, b"text", [1; 4]), binary(b"lost")].concat());
    let result = talk(&mut far, &mut layers, usize::MAX, &mut plain);
    assert_eq!(result, Err(LayerError::WebSocket(Violation::Text)));
    assert_eq!(plain, b"good");
    assert!(layers.wants_seal(), "a Close frame says why");
    let (mut out, mut sealed) = (Out::default(), Out::default());
    layers.close(&mut out, &mut sealed);
    far.hear(sealed.plain());
    assert_eq!(far.heard, b"\x88\x02\x03\xeb");
    assert!(far.tls.unwrap().process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn a_refused_upgrade_says_why_over_tls_too() {
    let authority = Authority::new();
    let mut layers = Layers::Wss(Box::new(Tls::new(&load(&authority.options()))), web());
    let mut far = Far { tls: Some(client(&authority.client_config(&TLS12, None))), wire: vec![], heard: vec![] };
    far.say(b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    let result = talk(&mut far, &mut layers, usize::MAX, &mut Vec::new());
    assert_eq!(result, Err(LayerError::Upgrade(Refusal::Path)));
    let (mut out, mut sealed) = (Out::default(), Out::default());
    layers.close(&mut out, &mut sealed);
    far.hear(sealed.plain());
    assert!(far.heard.starts_with(b"HTTP/1.1 404 Not Found\r\n"));
}

#[test]
fn client_certificates_are_checked_under_websocket_too() {
    let authority = Authority::new();
    let config = load(&authority.mutual(true, &[7]));
    for (serial, good) in [(8, true), (7, false)] {
        let own = authority.client(serial);
        let tls = client(&authority.client_config(&TLS12, Some(&own)));
        let mut far = Far { tls: Some(tls), wire: vec![], heard: vec![] };
        let mut layers = Layers::Wss(Box::new(Tls::new(&config)), web());
        far.say(REQUEST);
        let result = talk(&mut far, &mut layers, usize::MAX, &mut Vec::new());
        assert_eq!(result.is_ok(), good, "{result:?}");
        let der = own.der();
        assert_eq!(layers.peer_certificate(), good.then_some(der.as_ref()));
    }
}
