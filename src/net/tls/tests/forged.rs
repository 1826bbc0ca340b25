//! Records no honest client seals: made by hand, with keys taken from a client of rustls'.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedProtocolVersion};

use super::*;

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// A client's side of the record layer.
struct Forge {
    version: ProtocolVersion,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forge {
    fn new(client: ClientConnection) -> Self {
        let version = client.protocol_version().expect("after the handshake");
        #[allow(deprecated, reason = "no tickets and no key updates come to this client any more")]
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another suite") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        Self { version, key, iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut sealed = content.to_vec();
        if self.version == ProtocolVersion::TLSv1_3 {
            sealed.push(content_type);
            let header = header(DATA, sealed.len() + 16);
            let mut nonce = self.iv;
            for (byte, count) in nonce[4..].iter_mut().zip(sequence) {
                *byte ^= count;
            }
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).unwrap();
            [&header[..], &sealed].concat()
        } else {
            // The explicit part of the nonce, which is sent, may be anything that does not come twice (RFC 5288, 3).
            let nonce = Nonce::assume_unique_for_key([&self.iv[..4], &sequence].concat().try_into().unwrap());
            let seen = [&sequence[..], &header(content_type, content.len())].concat();
            self.key.seal_in_place_append_tag(nonce, Aad::from(seen), &mut sealed).unwrap();
            [&header(content_type, sealed.len() + 8)[..], &sequence, &sealed].concat()
        }
    }
}

fn header(content_type: u8, len: usize) -> [u8; HEADER] {
    let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
    [content_type, 3, 3, high, low]
}

/// A connection whose client is in our hands.
fn forged(version: &'static SupportedProtocolVersion) -> (Tls, Forge) {
    let (authority, config) = plain_server();
    let mut client_config = authority.client_config(version, None);
    client_config.enable_secret_extraction = true;
    let Link { client, server, .. } = Link::new(&config, &client_config, usize::MAX).established();
    (server, Forge::new(client))
}

#[test]
fn writing_between_the_pieces_of_a_handshake_message_is_safe() {
    for cut in 1..5 {
        let (mut server, mut forge) = forged(&TLS13);
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
    let (mut server, mut forge) = forged(&TLS13);
    let mut result = server.open(&mut forge.record(HANDSHAKE, &[24, 0, 0xfd, 0xe8]), &mut Vec::new());
    for _ in 0..5000 {
        if result.is_err() {
            break;
        }
        result = server.open(&mut forge.record(HANDSHAKE, b"1"), &mut Vec::new());
        assert!(server.kept.len() <= 20 * 1024);
    }
    assert_eq!(result, Err(TlsFault::TooLong));
}

#[test]
fn a_renegotiation_is_refused_and_asking_again_ends_the_connection() {
    const ALERT: u8 = 21;
    let (authority, config) = plain_server();
    let hello = Link::new(&config, &authority.client_config(&TLS12, None), usize::MAX).client_bytes();
    let (mut server, mut forge) = forged(&TLS12);
    let mut plain = Vec::new();
    assert_eq!(server.open(&mut forge.record(HANDSHAKE, &hello[HEADER..]), &mut plain), Ok(false));
    let mut sealed = Out::default();
    server.seal(&mut Out::default(), &mut sealed).unwrap();
    // A warning, under the keys in use, and nothing else.
    assert_eq!((sealed.plain()[0], sealed.len()), (ALERT, HEADER + 8 + 2 + 16));
    assert_eq!(server.open(&mut forge.record(DATA, b"on with it"), &mut plain), Ok(false));
    assert_eq!(plain, b"on with it");
    let again = server.open(&mut forge.record(HANDSHAKE, &hello[HEADER..]), &mut plain);
    assert_eq!(again, Err(TlsFault::Protocol(PeerMisbehaved::TooManyRenegotiationRequests.into())));
}

#[test]
fn records_with_nothing_in_them_are_not_read_for_ever() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut forge) = forged(version);
        let mut flood: Vec<u8> = (0..1000).flat_map(|_| forge.record(DATA, b"")).collect();
        let mut plain = Vec::new();
        let fault = server.open(&mut flood, &mut plain).expect_err("refused");
        assert_eq!(fault, TlsFault::Protocol(PeerMisbehaved::TooManyEmptyFragments.into()));
        assert!(plain.is_empty() && server.kept.capacity() == 0);
    }
}

#[test]
fn a_record_longer_than_records_may_be_is_refused_by_its_header() {
    for version in [&TLS12, &TLS13] {
        let (mut server, _forge) = forged(version);
        for piece in header(DATA, (1 << 14) + 2048 + 1) {
            if let Err(fault) = server.open(&mut [piece], &mut Vec::new()) {
                assert_eq!(fault, TlsFault::Protocol(rustls::InvalidMessage::MessageTooLarge.into()));
            }
        }
        assert!(!server.is_open() && server.kept.capacity() == 0);
    }
}
