//! Peers that are no clients: they are refused, and take no memory.

use super::*;

#[test]
fn something_else_than_tls_is_refused() {
    let (_authority, config) = plain_server();
    let hellos: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00",
        &[22, 3, 1, 0, 0, 22, 3, 1, 0, 0],
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        &[23, 3, 3, 0, 5, 1, 2, 3, 4, 5],
    ];
    for (i, hello) in hellos.iter().enumerate() {
        for chunk in [1, usize::MAX] {
            let mut tls = Tls::new(&config);
            let result: Result<Vec<_>, _> =
                hello.chunks(chunk).map(|piece| tls.open(&mut piece.to_vec(), &mut Vec::new())).collect();
            assert!(result.is_err(), "{i}: {result:?}");
            assert!(tls.wants_seal(), "{i}: an alert says why");
        }
    }
}

#[test]
fn a_handshake_that_never_ends_is_cut_before_it_takes_memory() {
    let (authority, config) = plain_server();
    let mutual = load(&authority.mutual(true, &[]));
    for (config, bound) in [(&config, 20 * 1024), (&mutual, 64 * 1024)] {
        // Announces a ClientHello of 65,000 bytes and sends it one byte per record.
        for announced in [[0, 0xfd, 0xe8], [0xff, 0xff, 0xff]] {
            let mut tls = Tls::new(config);
            let mut flood = vec![22, 3, 1, 0, 4, 1];
            flood.extend(announced);
            flood.extend([22, 3, 1, 0, 1, 0].repeat(20_000));
            let mut refused = false;
            for piece in flood.chunks(1000) {
                refused |= tls.open(&mut piece.to_vec(), &mut Vec::new()).is_err();
                assert!(tls.kept.len() <= bound, "{} bytes kept", tls.kept.len());
                if refused {
                    break;
                }
            }
            assert!(refused);
        }
    }
}

#[test]
fn nothing_on_the_wire_panics() {
    use proptest::prelude::*;
    let (authority, config) = plain_server();
    let hello = Link::new(&config, &authority.client_config(&TLS13, None), usize::MAX).client_bytes();
    proptest!(|(at in 0..hello.len(), byte: u8, cut in 0..hello.len(), tail: Vec<u8>)| {
        let mut bytes = hello.clone();
        bytes[at] = byte;
        bytes.extend(tail);
        let mut tls = Tls::new(&config);
        let (mut first, mut second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        let _refused = tls.open(&mut first, &mut Vec::new());
        let (mut out, mut sealed) = (Out::default(), Out::default());
        let _failed = tls.seal(&mut out, &mut sealed);
        let _refused = tls.open(&mut second, &mut Vec::new());
        tls.close(&mut out, &mut sealed);
    });
}
