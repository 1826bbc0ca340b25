use std::io::{Read, Write};

use bytes::Bytes;
use rustls::client::ClientConnection;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind, PeerMisbehaved};

use super::testing::{Authority, client, load};
use super::*;

/// A client of rustls' and our server, with every byte passing through the test.
struct Link {
    client: ClientConnection,
    server: Tls,
    /// What the server has understood.
    plain: Vec<u8>,
    /// At most this many bytes are handed to the server at once.
    chunk: usize,
}

/// How a connection failed.
#[derive(Debug)]
struct Refused {
    fault: TlsFault,
    /// What the client made of it: the alert it was sent.
    told: Result<(), Error>,
}

impl Link {
    fn new(config: &TlsConfig, client_config: &ClientConfig, chunk: usize) -> Self {
        Self { client: client(client_config), server: Tls::new(config), plain: Vec::new(), chunk }
    }

    /// What the client wants on the wire.
    fn client_bytes(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        wire
    }

    fn serve(&mut self, bytes: &[u8]) -> Result<bool, TlsFault> {
        let mut closed = false;
        for piece in bytes.chunks(self.chunk) {
            closed |= self.server.open(&mut piece.to_vec(), &mut self.plain)?;
        }
        Ok(closed)
    }

    /// What the server wants on the wire, `data` included.
    fn server_bytes(&mut self, data: &[u8]) -> Vec<u8> {
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(data);
        self.server.seal(&mut out, &mut sealed).unwrap();
        sealed.plain().to_vec()
    }

    fn tell(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() && self.client.read_tls(&mut bytes).unwrap() > 0 {
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Passes bytes until both are silent.
    fn run(&mut self) -> Result<bool, Box<Refused>> {
        let mut closed = false;
        loop {
            let bytes = self.client_bytes();
            let result = self.serve(&bytes);
            let answer = self.server_bytes(b"");
            let told = self.tell(&answer);
            match result {
                Err(fault) => return Err(Box::new(Refused { fault, told })),
                Ok(more) => closed |= more,
            }
            told.expect("the server's bytes are right");
            if bytes.is_empty() && answer.is_empty() {
                return Ok(closed);
            }
        }
    }

    fn established(mut self) -> Self {
        self.run().expect("a handshake");
        assert!(self.server.is_open() && !self.client.is_handshaking());
        self
    }

    fn send(&mut self, data: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(data).unwrap();
        self.client_bytes()
    }

    /// Sends `data` there and back.
    fn echo(&mut self, data: &[u8]) {
        self.plain.clear();
        let bytes = self.send(data);
        assert_eq!(self.serve(&bytes), Ok(false));
        assert!(self.plain == data, "what arrived is what was sent");
        let answer = self.server_bytes(data);
        self.tell(&answer).unwrap();
        assert!(self.received(data.len()) == data, "what came back is what was sent");
    }

    fn received(&mut self, count: usize) -> Vec<u8> {
        let mut data = vec![0; count];
        self.client.reader().read_exact(&mut data).unwrap();
        data
    }
}

fn plain_server() -> (Authority, TlsConfig) {
    let authority = Authority::new();
    let config = load(&authority.options());
    (authority, config)
}

#[test]
fn a_handshake_and_an_echo_work_however_the_bytes_are_cut() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        for fragment in [None, Some(32), Some(100)] {
            for chunk in [1, 2, 5, 64, 1000, usize::MAX] {
                let mut client_config = authority.client_config(version, None);
                client_config.max_fragment_size = fragment;
                let mut link = Link::new(&config, &client_config, chunk).established();
                assert_eq!(link.client.protocol_version(), Some(version.version));
                link.echo(b"hello");
                link.echo(&[7; 300]);
                assert_eq!((link.server.kept.capacity(), link.server.answers.capacity()), (0, 0), "idle");
            }
        }
    }
}

#[test]
fn every_cut_of_a_run_of_records_gives_the_same_bytes() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX).established();
        let pieces: [&[u8]; 4] = [b"a", b"bcd", &[9; 40], b"end"];
        let length = {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| link.send(piece)).collect();
            assert_eq!(link.serve(&bytes), Ok(false));
            bytes.len()
        };
        let expected = link.plain.clone();
        for first in 0..length {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| link.send(piece)).collect();
            let second = first + (length - first) / 2;
            link.plain.clear();
            for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                assert_eq!(link.serve(piece), Ok(false), "cut at {first}");
                // Writing while half a record waits must not disturb it.
                let answer = link.server_bytes(b"x");
                link.tell(&answer).unwrap();
            }
            assert_eq!(link.plain, expected, "cut at {first}");
        }
    }
}

#[test]
fn bytes_that_come_with_the_end_of_the_handshake_are_delivered_at_once() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut cut = 0;
        loop {
            let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX);
            link.client.writer().write_all(b"early").unwrap();
            // All but the client's last flight.
            let mut last = link.client_bytes();
            while link.client.is_handshaking() {
                link.serve(&last).unwrap();
                let answer = link.server_bytes(b"");
                link.tell(&answer).unwrap();
                last = link.client_bytes();
            }
            if version.version == TLS12.version {
                // In 1.2 the client speaks after the server's Finished: there is nothing early to cut.
                link.serve(&last).unwrap();
                assert_eq!(link.plain, b"early");
                break;
            }
            if cut > last.len() {
                break;
            }
            link.serve(&last[..cut]).unwrap();
            link.serve(&last[cut..]).unwrap();
            assert_eq!(link.plain, b"early", "cut at {cut}");
            cut += 1;
        }
    }
}

#[test]
fn what_is_to_be_sent_waits_for_the_end_of_the_handshake() {
    let (_authority, config) = plain_server();
    let mut tls = Tls::new(&config);
    let (mut out, mut sealed) = (Out::default(), Out::default());
    out.put(b"patience");
    tls.seal(&mut out, &mut sealed).unwrap();
    assert_eq!((out.len(), sealed.len(), tls.wants_seal()), (8, 0, false));
}

#[test]
fn large_and_shared_pieces_arrive_whole() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), 65_536).established();
        let big: Vec<u8> = (0..300_000u32).map(|i| (i % 253) as u8).collect();
        link.client.set_buffer_limit(None);
        let bytes = link.send(&big);
        assert_eq!(link.serve(&bytes), Ok(false));
        assert!(link.plain == big);
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(b"head");
        out.put_shared(Bytes::from(big.clone()));
        out.put(b"tail");
        link.server.seal(&mut out, &mut sealed).unwrap();
        assert!(out.is_empty());
        // The client's reader is drained as it goes: it holds only so much.
        let (mut wire, mut arrived) = (sealed.plain(), Vec::new());
        while !wire.is_empty() {
            link.client.read_tls(&mut wire).unwrap();
            link.client.process_new_packets().unwrap();
            let _would_block = link.client.reader().read_to_end(&mut arrived);
        }
        assert!(arrived == [b"head", &big[..], b"tail"].concat());
    }
}

#[test]
fn the_clients_close_notify_ends_the_stream_and_what_follows_is_ignored() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        for chunk in [1, usize::MAX] {
            let mut link = Link::new(&config, &authority.client_config(version, None), chunk).established();
            let mut bytes = link.send(b"last");
            link.client.send_close_notify();
            bytes.extend(link.client_bytes());
            bytes.extend_from_slice(b"garbage that must not be looked at");
            assert_eq!(link.serve(&bytes), Ok(true));
            assert_eq!(link.plain, b"last");
            // The client has closed one direction only: an answer can still leave.
            let answer = link.server_bytes(b"bye");
            link.tell(&answer).unwrap();
            assert_eq!(link.received(3), b"bye");
        }
    }
}

#[test]
fn our_close_notify_follows_what_waits_and_nothing_follows_it() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX).established();
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(b"bye");
        link.server.close(&mut out, &mut sealed);
        assert_eq!(link.server_bytes(b"too late"), b"");
        link.tell(sealed.plain()).unwrap();
        assert_eq!(link.received(3), b"bye");
        assert!(link.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn a_change_of_keys_is_followed_and_answered_before_the_next_data() {
    let (authority, config) = plain_server();
    for chunk in [1, usize::MAX] {
        let mut link = Link::new(&config, &authority.client_config(&TLS13, None), chunk).established();
        for round in 0..100u8 {
            link.client.refresh_traffic_keys().unwrap();
            link.echo(&[round; 20]);
        }
    }
}

#[test]
fn a_flood_of_key_changes_ends_the_connection_and_holds_no_memory() {
    let (authority, config) = plain_server();
    let mut link = Link::new(&config, &authority.client_config(&TLS13, None), usize::MAX).established();
    let mut flood = Vec::new();
    for _ in 0..10_000 {
        link.client.refresh_traffic_keys().unwrap();
        flood.extend(link.client_bytes());
    }
    let fault = link.serve(&flood).expect_err("refused");
    assert_eq!(fault, TlsFault::Protocol(PeerMisbehaved::TooManyKeyUpdateRequests.into()));
    assert!(link.server.kept.is_empty() && link.server.answers.len() < 100);
    assert_eq!(link.server_bytes(b"lost").len(), link.server_bytes(b"").len());
}

#[test]
fn a_damaged_record_ends_the_connection_with_an_alert_and_what_came_before_it_counts() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut link = Link::new(&config, &authority.client_config(version, None), usize::MAX).established();
        let mut bytes = link.send(b"good");
        bytes.extend(link.send(b"damaged"));
        *bytes.last_mut().unwrap() ^= 1;
        let more = link.send(b"more");
        let fault = link.serve(&bytes).expect_err("damage");
        assert_eq!(fault, TlsFault::Protocol(Error::DecryptError));
        assert_eq!(link.plain, b"good");
        let alert = link.server_bytes(b"dropped");
        assert_eq!(link.tell(&alert), Err(Error::AlertReceived(AlertDescription::BadRecordMac)));
        assert_eq!(link.serve(&more), Ok(true), "nothing is read after a failure");
        assert_eq!(link.plain, b"good");
    }
}

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
fn alpn_names_what_is_spoken_here_or_the_handshake_ends() {
    let (authority, config) = plain_server();
    for version in [&TLS12, &TLS13] {
        let mut client_config = authority.client_config(version, None);
        client_config.alpn_protocols = vec![b"h2".to_vec(), b"mqtt".to_vec()];
        let link = Link::new(&config, &client_config, usize::MAX).established();
        assert_eq!(link.server.alpn(), Some(&b"mqtt"[..]));
        client_config.alpn_protocols = vec![b"h2".to_vec()];
        let Refused { fault, told } = *Link::new(&config, &client_config, usize::MAX).run().expect_err("refused");
        assert_eq!(fault, TlsFault::Protocol(Error::NoApplicationProtocol));
        assert_eq!(told, Err(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    }
}

#[test]
fn sessions_resume_unless_clients_show_certificates() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let own = authority.client(1);
        for (options, own, expected) in [
            (authority.options(), None, HandshakeKind::Resumed),
            (authority.mutual(true, &[]), Some(&own), HandshakeKind::Full),
        ] {
            let config = load(&options);
            let client_config = authority.client_config(version, own);
            Link::new(&config, &client_config, usize::MAX).established().echo(b"x");
            let mut again = Link::new(&config, &client_config, usize::MAX).established();
            again.echo(b"again");
            assert_eq!(again.client.handshake_kind(), Some(expected));
        }
    }
}

#[test]
fn a_trusted_client_is_known_by_its_certificate() {
    let authority = Authority::new();
    let config = load(&authority.mutual(true, &[7]));
    let own = authority.client(8);
    for version in [&TLS12, &TLS13] {
        for fragment in [None, Some(64)] {
            for chunk in [1, 700, usize::MAX] {
                let mut client_config = authority.client_config(version, Some(&own));
                client_config.max_fragment_size = fragment;
                let mut link = Link::new(&config, &client_config, chunk);
                assert_eq!(link.server.peer_certificate(), None, "not before it is proved");
                link = link.established();
                assert_eq!(link.server.peer_certificate(), Some(own.der().as_ref()));
                link.echo(b"hello");
            }
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_refused_only_if_one_is_required() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let client_config = authority.client_config(version, None);
        let optional = load(&authority.mutual(false, &[]));
        let mut link = Link::new(&optional, &client_config, usize::MAX).established();
        assert_eq!(link.server.peer_certificate(), None);
        link.echo(b"hello");
        let required = load(&authority.mutual(true, &[]));
        let Refused { fault, told } = *Link::new(&required, &client_config, usize::MAX).run().expect_err("refused");
        assert_eq!(fault, TlsFault::Protocol(Error::NoCertificatesPresented));
        assert!(matches!(told, Err(Error::AlertReceived(_))), "{told:?}");
    }
}

#[test]
fn bad_client_certificates_are_refused_required_or_not() {
    use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
    let (authority, other) = (Authority::new(), Authority::new());
    let bad = [
        ("revoked", authority.client(7)),
        ("another authority's", other.client(8)),
        ("expired", authority.issue(|params| params.not_after = date_time_ymd(2020, 1, 1))),
        ("not valid yet", authority.issue(|params| params.not_before = date_time_ymd(2090, 1, 1))),
        (
            "a server's",
            authority.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
    ];
    for require in [true, false] {
        let config = load(&authority.mutual(require, &[7]));
        for version in [&TLS12, &TLS13] {
            for (what, leaf) in &bad {
                let client_config = authority.client_config(version, Some(leaf));
                let Refused { fault, told } = *Link::new(&config, &client_config, usize::MAX).run().expect_err(what);
                assert!(matches!(fault, TlsFault::Protocol(Error::InvalidCertificate(_))), "{what}: {fault}");
                assert!(matches!(told, Err(Error::AlertReceived(_))), "{what}: {told:?}");
            }
        }
    }
    let config = load(&authority.mutual(true, &[7]));
    let client_config = authority.client_config(&TLS13, Some(&bad[0].1));
    let Refused { fault, .. } = *Link::new(&config, &client_config, usize::MAX).run().expect_err("revoked");
    assert_eq!(fault, TlsFault::Protocol(CertificateError::Revoked.into()));
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
