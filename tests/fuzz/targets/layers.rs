//! Bytes of a peer through the layer WebSocket (and through none): the same comes out however they were cut.

use heraldmq::mqtt::Out;
use heraldmq::net::websocket::WebSocket;
use heraldmq::net::{LayerError, Layers};

use super::decode::all_of;
use super::input::Input;

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// Longer streams are cut in two only so often, at places spread over them.
const CUTS_MAX: usize = 48;

/// Everything that can be seen of a connection.
#[derive(Debug, PartialEq)]
struct Seen {
    plain: Vec<u8>,
    ending: Result<bool, LayerError>,
    established: bool,
    sealed: Vec<u8>,
    after_close: Vec<u8>,
}

/// The first byte says whether there is a layer and whether a good request is put before the rest.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.below(4);
    let stream = if kind == 1 { input.rest().to_vec() } else { [REQUEST, input.rest()].concat() };
    let fresh = || if kind == 0 { Layers::Plain } else { Layers::Ws(Box::new(WebSocket::new("/mqtt".into()))) };
    let whole = seen(fresh(), &[&stream]);
    if kind == 0 {
        assert_eq!(whole.plain, stream);
    }
    // Where the request is known to be good, the cuts are behind it.
    let from = if kind > 1 { REQUEST.len() - 4 } else { 0 };
    let step = (stream.len() - from).div_ceil(CUTS_MAX).max(1);
    for cut in (from..=stream.len()).step_by(step) {
        let (first, second) = stream.split_at(cut);
        assert_eq!(seen(fresh(), &[first, second]), whole, "cut at {cut}");
    }
    let each: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(seen(fresh(), &each), whole, "byte by byte");
}

fn seen(mut layers: Layers, pieces: &[&[u8]]) -> Seen {
    let (mut plain, mut ending) = (Vec::new(), Ok(false));
    for piece in pieces {
        let before = plain.len();
        ending = layers.open(&mut piece.to_vec(), &mut plain).map(|progress| progress.closed);
        assert!(plain.len() - before <= piece.len(), "no layer makes more of less");
        // Behind an error or the end nothing is read.
        if ending != Ok(false) {
            break;
        }
    }
    let established = layers.established();
    let (mut out, mut sealed) = (Out::default(), Out::default());
    out.put(b"answer");
    layers.seal(&mut out, &mut sealed).expect("these layers can always say it");
    assert!(!layers.wants_seal(), "what was to be said is said");
    assert!(!established || out.is_empty(), "what waited has left");
    let mut after_close = Out::default();
    layers.close(&mut Out::default(), &mut after_close);
    Seen { plain, ending, established, sealed: all_of(&sealed), after_close: all_of(&after_close) }
}

/// Frames of each kind behind a good request, and requests good and bad.
pub fn seeds() -> Vec<Vec<u8>> {
    let frame = |first: u8, payload: &[u8]| {
        let masked: Vec<u8> = payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        [&[first, 0x80 | payload.len() as u8, 1, 2, 3, 4][..], &masked].concat()
    };
    let medium = [&[0x82, 0x80 | 126, 0, 130, 1, 2, 3, 4][..], &[9; 130]].concat();
    let all = [
        frame(0x82, b"\x10hello"),
        frame(0x02, b"ab"),
        frame(0x89, b"ping"),
        frame(0x80, b"cd"),
        frame(0x8A, b""),
        medium,
        frame(0x88, b"\x03\xE8bye"),
    ]
    .concat();
    let other = b"\x01GET /mqtt HTTP/1.1\r\nHost: h\r\nOrigin: x\r\n\r\n".to_vec();
    let behind = |stream: &[u8]| [&[2][..], stream].concat();
    vec![
        behind(&all),
        behind(&frame(0x81, b"text")),
        behind(&frame(0x89, b"p")),
        [&[1][..], REQUEST, &all].concat(),
        other,
        vec![1, 0x10, 0x20],
        vec![0, 1, 2, 3],
    ]
}
