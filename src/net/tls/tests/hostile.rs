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

/// Records sealed by hand, with keys taken from a client.
struct Forge {
    key: aws_lc_rs::aead::LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forge {
    fn new(client: ClientConnection) -> Self {
        #[allow(deprecated, reason = "no tickets and no key updates come to this client any more")]
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let rustls::ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another suite") };
        let key = aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM, key.as_ref()).unwrap();
        Self { key: aws_lc_rs::aead::LessSafeKey::new(key), iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        let mut sealed = content.to_vec();
        sealed.push(content_type);
        let length = (sealed.len() + 16) as u16;
        let [high, low] = length.to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, aws_lc_rs::aead::Aad::from(header), &mut sealed).unwrap();
        [&header[..], &sealed].concat()
    }
}

#[test]
fn writing_between_the_pieces_of_a_handshake_message_is_safe() {
    const HANDSHAKE: u8 = 22;
    const DATA: u8 = 23;
    let (authority, config) = plain_server();
    for cut in 1..5 {
        let mut client_config = authority.client_config(&TLS13, None);
        client_config.enable_secret_extraction = true;
        let Link { client, mut server, .. } = Link::new(&config, &client_config, usize::MAX).established();
        let mut forge = Forge::new(client);
        let mut plain = Vec::new();
        let mut feed = |server: &mut Tls, mut bytes: Vec<u8>| server.open(&mut bytes, &mut plain);
        assert_eq!(feed(&mut server, forge.record(DATA, b"before")), Ok(false));
        // A KeyUpdate that asks for an answer, in two records.
        let key_update = [24, 0, 0, 1, 1];
        let (first, second) = key_update.split_at(cut);
        assert_eq!(feed(&mut server, forge.record(HANDSHAKE, first)), Ok(false));
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(b"in between");
        server.seal(&mut out, &mut sealed).unwrap();
        assert!(!sealed.is_empty());
        assert_eq!(feed(&mut server, forge.record(HANDSHAKE, second)), Ok(false));
        // What follows is under keys the forge does not know.
        assert_eq!(feed(&mut server, forge.record(DATA, b"x")), Err(TlsFault::Protocol(Error::DecryptError)));
        assert_eq!(plain, b"before");
    }
}

#[test]
fn a_message_that_goes_on_and_on_after_the_handshake_is_cut() {
    let (authority, config) = plain_server();
    let mut client_config = authority.client_config(&TLS13, None);
    client_config.enable_secret_extraction = true;
    let Link { client, mut server, .. } = Link::new(&config, &client_config, usize::MAX).established();
    let mut forge = Forge::new(client);
    let mut result = server.open(&mut forge.record(22, &[24, 0, 0xfd, 0xe8]), &mut Vec::new());
    for _ in 0..5000 {
        if result.is_err() {
            break;
        }
        result = server.open(&mut forge.record(22, b"1"), &mut Vec::new());
        assert!(server.kept.len() <= 20 * 1024);
    }
    assert_eq!(result, Err(TlsFault::TooLong));
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
