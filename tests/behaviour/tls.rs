//! Clients over TLS, of both versions: honest, unlucky and hostile.

mod mutual;

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::fragments::{replay_over, stream};
use crate::support::broker::{self, Broker};
use crate::support::build::{Connect, PINGREQ, PUBACK, Publication, Will, disconnect};
use crate::support::client::Client;
use crate::support::transport::{self, Tls, WebSocket, Wire, tcp, tls_over};
use crate::support::wire::Version::{V3, V5};
use crate::support::{WAIT, unique};
use crate::{VERSIONS, await_metric, resident_bytes, sound_at};

/// Both versions of TLS.
const TLS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// What `limits.connect_timeout_s` is by default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MIB: f64 = 1024.0 * 1024.0;

/// A broker for the tests that need no settings of their own.
static SECURE: LazyLock<Broker> = LazyLock::new(|| broker::with(broker::SECURE));

fn roots(broker: &Broker) -> RootCertStore {
    transport::trust(&broker.place().join("certs/dev/ca.pem"))
}

/// A client's configuration without a certificate.
fn config(broker: &Broker, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots(broker)).with_no_client_auth()
}

fn secure(broker: &Broker, version: &'static SupportedProtocolVersion) -> Tls {
    tls_over(tcp(broker.addr("mqtts")), config(broker, version))
}

/// A stream whose bytes are written a few at a time.
struct Pieces {
    stream: TcpStream,
    size: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream.write(&bytes[..self.size.min(bytes.len())])
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

impl Wire for Pieces {
    fn limit_read(&self, within: Duration) {
        self.stream.limit_read(within);
    }

    fn never_wait(&self) {
        self.stream.never_wait();
    }

    fn finish_writing(&self) -> Result<()> {
        self.stream.finish_writing()
    }
}

/// Lets a client in, by hand: what follows is about the layer below.
fn enter(wire: &mut dyn Wire, connect: &Connect) {
    wire.write_all(&connect.bytes()).and_then(|()| wire.flush()).expect("the broker reads it");
    let mut answer = [0; 2];
    wire.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer[0], 0x20, "CONNACK");
    let mut rest = vec![0; usize::from(answer[1])];
    wire.read_exact(&mut rest).expect("all of it");
    assert_eq!(rest[1], 0, "let in");
}

/// What comes until the peer has said close_notify; an error if the connection ends without.
fn read_to_goodbye(wire: &mut impl Wire) -> Result<Vec<u8>> {
    wire.limit_read(WAIT);
    let mut bytes = Vec::new();
    wire.read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn records_and_segments_of_any_size_mean_the_same() {
    for version in VERSIONS {
        let stream = stream(version, &unique("c"), &unique("t"));
        let whole = replay_over(Client::tcp(SECURE.addr("mqtt"), version), &[&stream]);
        for tls in TLS {
            // Plaintext of a record, bytes written to the socket at once, bytes of the stream sealed at once.
            for (record, segment, part) in [
                (None, usize::MAX, usize::MAX),
                (Some(32), usize::MAX, usize::MAX),
                (None, 1, usize::MAX),
                (None, 7, usize::MAX),
                (Some(33), 5, usize::MAX),
                (Some(64), 64, 40),
                (None, usize::MAX, 5),
                (None, 3, 19),
            ] {
                let mut config = config(&SECURE, tls);
                config.max_fragment_size = record;
                let pieces = Pieces { stream: tcp(SECURE.addr("mqtts")), size: segment };
                let client = Client::over(Box::new(tls_over(pieces, config)), version);
                let parts: Vec<&[u8]> = stream.chunks(part).collect();
                let what = format!("{version:?} {tls:?} {record:?} {segment} {part}");
                assert_eq!(replay_over(client, &parts), whole, "{what}");
            }
        }
    }
    sound_at(&SECURE);
}

/// [MQTT-3.1.2-8] [MQTT3-3.1.2-8] The connection is closed in good order, but without DISCONNECT.
#[test]
fn a_close_notify_without_disconnect_publishes_the_will() {
    for version in VERSIONS {
        for tls in TLS {
            let topic = unique("t");
            let mut heir = Connect::new(V5, unique("c")).open_at(SECURE.addr("mqtt"));
            heir.subscribe(&topic, 1);
            let mut wire = secure(&SECURE, tls);
            enter(&mut wire, &Connect::new(version, unique("c")).will(Will::new(&topic, "gone").qos(1)));
            // The last packet before it counts. The socket stays open: it is not a FIN that tells.
            wire.write_all(&Publication::new(&topic, "last").bytes(version)).expect("it is read");
            wire.conn.send_close_notify();
            wire.flush().expect("it is read");
            heir.receive_payload("last");
            heir.receive_payload("gone");
            assert_eq!(read_to_goodbye(&mut wire).expect("a close_notify in return"), b"");
        }
    }
    sound_at(&SECURE);
}

/// [MQTT-3.14.4-3] [MQTT3-3.14.4-3]
#[test]
fn a_disconnect_before_the_close_notify_discards_the_will() {
    for version in VERSIONS {
        for tls in TLS {
            let topic = unique("t");
            let mut heir = Connect::new(V5, unique("c")).open_at(SECURE.addr("mqtt"));
            heir.subscribe(&topic, 1);
            let mut wire = secure(&SECURE, tls);
            enter(&mut wire, &Connect::new(version, unique("c")).will(Will::new(&topic, "never")));
            wire.write_all(&disconnect(version, 0)).expect("it is read");
            wire.conn.send_close_notify();
            wire.flush().expect("it is read");
            assert_eq!(read_to_goodbye(&mut wire).expect("a close_notify in return"), b"");
            heir.expect_nothing();
        }
    }
    sound_at(&SECURE);
}

/// [MQTT-3.1.2-8] [MQTT3-3.1.2-8] Somebody on the way has cut the stream off: what was whole counts, the rest does not.
#[test]
fn a_stream_cut_off_inside_a_record_counts_up_to_it_and_publishes_the_will() {
    for version in VERSIONS {
        for tls in TLS {
            for missing in [1, 10, 40] {
                let topic = unique("t");
                let mut heir = Connect::new(V5, unique("c")).open_at(SECURE.addr("mqtt"));
                heir.subscribe(&topic, 1);
                let mut wire = secure(&SECURE, tls);
                enter(&mut wire, &Connect::new(version, unique("c")).will(Will::new(&topic, "gone")));
                wire.write_all(&Publication::new(&topic, "whole").bytes(version)).expect("it is read");
                wire.flush().expect("it is read");
                let mut record = Vec::new();
                let cut = Publication::new(&topic, "never".repeat(10)).bytes(version);
                wire.conn.writer().write_all(&cut).expect("there is room");
                wire.conn.write_tls(&mut record).expect("there is memory");
                wire.sock.write_all(&record[..record.len() - missing]).expect("it is read");
                wire.finish_writing().expect("it is a socket");
                heir.receive_payload("whole");
                heir.receive_payload("gone");
            }
        }
    }
    sound_at(&SECURE);
}

/// The client may be sure that nothing was cut off behind them.
#[test]
fn the_brokers_last_words_are_followed_by_its_close_notify() {
    for tls in TLS {
        let mut wire = secure(&SECURE, tls);
        enter(&mut wire, &Connect::new(V5, unique("c")));
        wire.write_all(&[0xD0, 0]).and_then(|()| wire.flush()).expect("a PINGRESP is read");
        let last = read_to_goodbye(&mut wire).expect("a close_notify");
        assert!(last.starts_with(&[0xE0]) && matches!(last[2], 0x81 | 0x82), "DISCONNECT and why: {last:02X?}");
        let mut wire = WebSocket::over(Box::new(tls_over(tcp(SECURE.addr("wss")), config(&SECURE, tls))));
        enter(&mut wire, &Connect::new(V5, unique("c")));
        wire.write_all(&[0xD0, 0]).and_then(|()| wire.flush()).expect("a PINGRESP is read");
        let last = read_to_goodbye(&mut wire).expect("a Close frame and a close_notify");
        assert!(last.starts_with(&[0xE0]), "DISCONNECT: {last:02X?}");
    }
    sound_at(&SECURE);
}

#[test]
fn changes_of_keys_without_end_end_their_connection_and_hold_up_nobody() {
    let broker = broker::with(broker::SECURE);
    let before = resident_bytes(&broker);
    let mut other = Connect::new(V5, unique("c")).open_at(broker.addr("mqtt"));
    let mut floods: Vec<Tls> = (0..8).map(|_| secure(&broker, &TLS13)).collect();
    for wire in &mut floods {
        enter(wire, &Connect::new(V5, unique("c")));
        let mut flood = Vec::new();
        for _ in 0..3_000 {
            wire.conn.refresh_traffic_keys().expect("the handshake is done");
            wire.conn.write_tls(&mut flood).expect("there is memory");
        }
        // It is closed while this is written.
        let _ = wire.sock.write_all(&flood);
        other.ping();
    }
    await_metric(&broker, "heraldmq_connections", 1.0);
    for mut wire in floods {
        // An alert, or the reset that follows bytes nobody has read.
        read_to_goodbye(&mut wire).expect_err("no good order");
    }
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 16.0 * MIB, "{growth} bytes");
    sound_at(&broker);
}

#[test]
fn changes_of_keys_between_messages_are_followed_and_cost_nothing_that_stays() {
    const ROUNDS: usize = 3_000;
    let broker = broker::with(broker::SECURE);
    let mut wire = secure(&broker, &TLS13);
    enter(&mut wire, &Connect::new(V5, unique("c")));
    let before = resident_bytes(&broker);
    // A message with new keys for every byte of it; nothing is answered before its end.
    let message = Publication::new("t", "x".repeat(ROUNDS)).qos(1, 7).bytes(V5);
    for byte in message.chunks(1) {
        wire.conn.refresh_traffic_keys().expect("the handshake is done");
        wire.write_all(byte).and_then(|()| wire.flush()).expect("it is read");
    }
    let mut answer = [0; 5];
    wire.read_exact(&mut answer).expect("an answer under new keys");
    assert_eq!(answer, [PUBACK, 3, 0, 7, 0x10], "nobody has subscribed");
    for _ in 0..ROUNDS {
        wire.conn.refresh_traffic_keys().expect("the handshake is done");
        wire.write_all(&PINGREQ).and_then(|()| wire.flush()).expect("it is read");
        wire.read_exact(&mut answer[..2]).expect("an answer under new keys");
        assert_eq!(answer[..2], [0xD0, 0]);
    }
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 4.0 * MIB, "{growth} bytes for {ROUNDS} changes of keys");
    sound_at(&broker);
}

/// A client that goes so far into a handshake and no further.
struct Stuck {
    at: &'static str,
    since: Instant,
    socket: TcpStream,
}

impl Stuck {
    /// `go` gets a connection that has said nothing. On a machine that stands still for seconds it may come too late.
    fn new(at: &'static str, connect: impl FnOnce() -> Tls, go: impl FnOnce(&mut Tls) -> Result<()>) -> Self {
        let since = Instant::now();
        let mut wire = connect();
        let _ = go(&mut wire);
        Self { at, since, socket: wire.sock }
    }

    /// Says `drip` byte by byte for a while, then waits for the end of the connection.
    fn ends_in_time(mut self, drip: &[u8]) {
        for byte in drip {
            let _ = self.socket.write_all(&[*byte]);
            std::thread::sleep(Duration::from_millis(100));
        }
        self.socket.limit_read(WAIT);
        let ended = self.socket.read_to_end(&mut Vec::new());
        let stuck = self.since.elapsed();
        assert!(ended.is_ok() && stuck >= Duration::from_millis(1_800), "{}: {ended:?} after {stuck:?}", self.at);
    }
}

/// From accepting a connection to its complete CONNECT there is one deadline, however far it has come.
#[test]
fn a_handshake_that_does_not_end_ends_in_time() {
    let broker = broker::with(&format!("{}[limits]\nconnect_timeout_s = 2\n", broker::SECURE));
    let hello = |wire: &mut Tls| {
        let mut bytes = Vec::new();
        wire.conn.write_tls(&mut bytes).expect("there is memory");
        bytes
    };
    let mut stuck = Vec::new();
    for tls in TLS {
        let wire = |listener| {
            let (addr, config) = (broker.addr(listener), config(&broker, tls));
            move || tls_over(tcp(addr), config)
        };
        stuck.push(Stuck::new("nothing", wire("mqtts"), |_| Ok(())));
        stuck.push(Stuck::new("nothing, WebSocket", wire("wss"), |_| Ok(())));
        stuck.push(Stuck::new("nearly a ClientHello", wire("mqtts"), |wire| {
            let hello = hello(wire);
            wire.sock.write_all(&hello[..hello.len() - 1])
        }));
        stuck.push(Stuck::new("a ClientHello", wire("mqtts"), |wire| {
            let hello = hello(wire);
            wire.sock.write_all(&hello)
        }));
        stuck.push(Stuck::new("a handshake", wire("mqtts"), |wire| {
            while wire.conn.is_handshaking() || wire.conn.wants_write() {
                wire.conn.complete_io(&mut wire.sock)?;
            }
            Ok(())
        }));
        stuck.push(Stuck::new("half an upgrade", wire("wss"), |wire| {
            wire.write_all(b"GET /mqtt HTTP/1.1\r\n").and_then(|()| wire.flush())
        }));
        stuck.push(Stuck::new("half a CONNECT", wire("mqtts"), |wire| {
            let connect = Connect::new(V5, unique("c")).bytes();
            wire.write_all(&connect[..connect.len() / 2]).and_then(|()| wire.flush())
        }));
    }
    let bytes = hello(&mut secure(&broker, &TLS13));
    let drip = Stuck::new("a byte now and then", || secure(&broker, &TLS13), |_| Ok(()));
    std::thread::scope(|scope| {
        scope.spawn(|| drip.ends_in_time(&bytes[..12]));
        for stuck in stuck {
            scope.spawn(|| stuck.ends_in_time(&[]));
        }
    });
    sound_at(&broker);
}

#[test]
fn tls_on_a_plain_port_is_refused_at_once() {
    for listener in ["mqtt", "ws"] {
        for tls in TLS {
            let mut wire = tls_over(tcp(SECURE.addr(listener)), config(&SECURE, tls));
            wire.limit_read(WAIT);
            let asked = Instant::now();
            wire.write_all(&Connect::new(V5, unique("c")).bytes()).expect_err("no handshake");
            // Not only when the time for a CONNECT is over.
            assert!(asked.elapsed() < CONNECT_TIMEOUT, "on {listener} after {:?}", asked.elapsed());
        }
    }
    sound_at(&SECURE);
}
