//! Bytes through the layer TLS: from strangers, and from a client of rustls' whose records are cut, delayed and damaged.
//!
//! What a client said arrives, all of it and in order, however its records were cut and whatever was sealed in between;
//! damage ends the connection, and nothing comes out that was not said. What strangers say is refused in the same way
//! however it is cut.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock};

use heraldmq::certs;
use heraldmq::mqtt::Out;
use heraldmq::net::tls::Tls;
use heraldmq::net::{TlsConfig, TlsFault, TlsOptions};
use rustls::client::ClientConnection;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, PeerMisbehaved, RootCertStore};

use super::decode::all_of;
use super::input::Input;

/// Longer streams are cut in two only so often, at places spread over them.
const CUTS_MAX: usize = 24;
const STEPS_MAX: usize = 200;
/// Changes of keys with no data between them that rustls follows.
const KEY_UPDATES_MAX: usize = 32;
const SIZES: [usize; 8] = [1, 2, 20, 5, 100, 1000, 16_384, 40_000];
const PIECES: [usize; 8] = [usize::MAX, 1, 3, 5, 6, 40, 700, 16_400];

/// Both ends' certificates: made once, for they cost far more than an input.
struct Ends {
    server: TlsConfig,
    roots: RootCertStore,
    /// A ClientHello, the same each time.
    hello: Vec<u8>,
}

static ENDS: LazyLock<Ends> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("heraldmq-fuzz-tls-{}", std::process::id()));
    certs::dev_certificates(&dir).expect("certificates are made");
    let options = TlsOptions {
        certificate: dir.join(certs::CERTIFICATE),
        key: dir.join(certs::KEY),
        client_ca: None,
        crl: None,
        require_client_certificate: false,
    };
    let server = TlsConfig::load(&options, &[b"mqtt"]).expect("they are good");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join(certs::CA)).expect("a certificate")).expect("an authority");
    std::fs::remove_dir_all(&dir).expect("it was made here");
    let hello = wire_of(&mut client(roots.clone(), true, None));
    Ends { server, roots, hello }
});

fn client(roots: RootCertStore, is_new: bool, fragment: Option<usize>) -> ClientConnection {
    let version = if is_new { &TLS13 } else { &TLS12 };
    let builder = ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots);
    let mut config = builder.with_no_client_auth();
    config.max_fragment_size = fragment;
    let mut client =
        ClientConnection::new(Arc::new(config), "localhost".try_into().expect("a name")).expect("a usable size");
    client.set_buffer_limit(None);
    client
}

fn wire_of(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).expect("there is memory");
    }
    wire
}

/// The first byte says who is at the other end.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(4) {
        0 => refused_however_it_is_cut(input.rest()),
        1 => {
            let mut stream = ENDS.hello.clone();
            let at = input.below(256) * 2 + usize::from(input.is_set());
            if let Some(byte) = stream.get_mut(at) {
                *byte ^= input.byte();
            }
            stream.extend_from_slice(input.rest());
            refused_however_it_is_cut(&stream);
        }
        kind => Talk::new(&mut input, kind == 2).converse(&mut input),
    }
}

/// Everything that can be seen of a connection and does not differ from one to the next by itself.
#[derive(Debug, PartialEq)]
struct Seen {
    plain: Vec<u8>,
    ending: Result<bool, TlsFault>,
    is_open: bool,
    answers: bool,
}

fn refused_however_it_is_cut(stream: &[u8]) {
    let whole = seen(&[stream]);
    assert!(whole.plain.is_empty() && !whole.is_open, "nobody has proved anything: {whole:?}");
    for cut in (0..stream.len()).step_by(stream.len().div_ceil(CUTS_MAX).max(1)) {
        let (first, second) = stream.split_at(cut);
        assert_eq!(seen(&[first, second]), whole, "cut at {cut}");
    }
    let each: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(seen(&each), whole, "byte by byte");
}

fn seen(pieces: &[&[u8]]) -> Seen {
    let mut tls = Tls::new(&ENDS.server);
    let (mut plain, mut ending, mut sealed) = (Vec::new(), Ok(false), Out::default());
    for piece in pieces {
        ending = tls.open(&mut piece.to_vec(), &mut plain);
        tls.seal(&mut Out::default(), &mut sealed).expect("only keys can be used up");
        if ending != Ok(false) {
            break;
        }
    }
    Seen { plain, ending, is_open: tls.is_open(), answers: !sealed.is_empty() }
}

/// A client and a server, and the bytes between them.
struct Talk {
    client: ClientConnection,
    server: Tls,
    is_new: bool,
    /// What the client has sealed and the server has not read.
    wire: Vec<u8>,
    said: Vec<u8>,
    heard: Vec<u8>,
    ending: Result<bool, TlsFault>,
    /// Changes of keys since the client has last said something.
    key_updates: usize,
    flooded: bool,
    damaged: bool,
    closed: bool,
    last: u8,
}

impl Talk {
    fn new(input: &mut Input<'_>, is_new: bool) -> Self {
        let fragment = input.one_of(&[None, Some(32), Some(64), Some(1000)]);
        let client = client(ENDS.roots.clone(), is_new, fragment);
        Self {
            client,
            server: Tls::new(&ENDS.server),
            is_new,
            wire: Vec::new(),
            said: Vec::new(),
            heard: Vec::new(),
            ending: Ok(false),
            key_updates: 0,
            flooded: false,
            damaged: false,
            closed: false,
            last: 0,
        }
    }

    fn converse(mut self, input: &mut Input<'_>) {
        if input.is_set() {
            self.say(3);
        }
        let piece = input.one_of(&PIECES);
        while self.client.is_handshaking() || !self.server.is_open() {
            self.collect();
            assert!(!self.wire.is_empty(), "neither waits for the other");
            self.deliver(usize::MAX, piece);
        }
        for _ in 0..STEPS_MAX {
            // The client of a connection that has failed says nothing more.
            if input.is_empty() || self.ending.is_err() {
                break;
            }
            self.step(input);
        }
        self.collect();
        self.deliver(usize::MAX, input.one_of(&PIECES));
        self.judge();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..4 => self.say(input.one_of(&SIZES)),
            4..6 => self.change_keys(input.one_of(&[1, 1, 2, 31, 40])),
            6..11 => {
                self.collect();
                self.deliver(input.below(256), input.one_of(&PIECES));
            }
            11..14 => self.answer(input.one_of(&SIZES)),
            14 if !self.closed => {
                self.client.send_close_notify();
                self.closed = true;
            }
            15 => {
                self.collect();
                let (at, change) = (input.below(256), input.byte());
                if let Some(byte) = self.wire.get_mut(at) {
                    *byte ^= change;
                    self.damaged |= change != 0;
                }
            }
            _ => {}
        }
    }

    /// Bytes that go on counting, so that no two places look the same.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| {
            self.last = self.last.wrapping_mul(5).wrapping_add(3);
            self.last
        })
        .take(len)
        .collect()
    }

    fn say(&mut self, len: usize) {
        if self.closed {
            return;
        }
        let bytes = self.bytes(len);
        self.client.writer().write_all(&bytes).expect("there is no limit");
        if !self.flooded {
            self.said.extend(bytes);
        }
        self.key_updates = 0;
    }

    fn change_keys(&mut self, times: usize) {
        if self.closed || !self.is_new {
            return;
        }
        for _ in 0..times {
            self.client.refresh_traffic_keys().expect("after the handshake");
        }
        self.key_updates += times;
        self.flooded |= self.key_updates > KEY_UPDATES_MAX;
    }

    /// Takes from the client what it wants on the wire.
    fn collect(&mut self) {
        self.wire.extend(wire_of(&mut self.client));
    }

    /// Lets the server read the first `count` bytes, some at a time, and answer each time.
    fn deliver(&mut self, count: usize, piece: usize) {
        let rest = self.wire.split_off(count.min(self.wire.len()));
        for piece in std::mem::replace(&mut self.wire, rest).chunks_mut(piece) {
            if self.ending == Ok(false) {
                self.ending = self.server.open(piece, &mut self.heard);
                self.answer(0);
            }
        }
    }

    /// The server says something, and the client hears it at once.
    fn answer(&mut self, len: usize) {
        let bytes = self.bytes(len);
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(&bytes);
        self.server.seal(&mut out, &mut sealed).expect("keys are not used up so soon");
        let sealed = all_of(&sealed);
        let mut wire = &sealed[..];
        let mut heard = Vec::new();
        while !wire.is_empty() && self.client.read_tls(&mut wire).is_ok_and(|count| count > 0) {
            if let Err(error) = self.client.process_new_packets() {
                assert!(self.ending.is_err(), "the server's records are right: {error}");
                return;
            }
            // That no more is there is no failure.
            let _ = self.client.reader().read_to_end(&mut heard);
        }
        assert!(self.ending.is_err() || heard == bytes, "{} bytes of {len} arrived", heard.len());
    }

    fn judge(&self) {
        assert!(self.said.starts_with(&self.heard), "nothing comes out that was not said");
        if self.damaged {
            return;
        }
        assert!(self.said == self.heard, "{} of {} bytes arrived", self.heard.len(), self.said.len());
        let expected = match (self.flooded, self.closed) {
            (true, _) => Err(TlsFault::Protocol(PeerMisbehaved::TooManyKeyUpdateRequests.into())),
            (false, closed) => Ok(closed),
        };
        assert_eq!(self.ending, expected);
        let state = format!("{:?}", self.server);
        assert!(state.contains("kept: 0"), "nothing is kept for an idle connection: {state}");
    }
}

/// Talks of each kind, a stranger's bytes, and a hello.
pub fn seeds() -> Vec<Vec<u8>> {
    let each: Vec<u8> = (0..16).flat_map(|step| [step, step + 1, step + 2]).collect();
    vec![
        [&[0][..], b"\x10\x0c\0\x04MQTT\x05\x02\0\x3C\0\0\0"].concat(),
        vec![0, 22, 3, 1, 0, 4, 1, 0, 0, 0],
        vec![1, 0, 0, 0],
        vec![1, 5, 1, 1, 22, 3, 3, 0, 1, 1],
        [&[2, 0, 0, 1][..], &each].concat(),
        [&[2, 1, 1, 3][..], &[0, 6, 6, 7, 1, 11, 3, 6, 200, 2].repeat(4)].concat(),
        [&[2, 2, 0, 0][..], &[4, 0, 0, 2, 4, 3, 6, 90, 3, 11, 1].repeat(3)].concat(),
        [&[3, 0, 1, 4][..], &each].concat(),
        [&[3, 3, 0, 1][..], &[1, 7, 6, 255, 0, 12, 6, 14].repeat(2)].concat(),
    ]
}
