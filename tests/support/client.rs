//! One connection to the broker, byte by byte, with a memory of what was said for when a test fails.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::build::Connect;
use super::packet::{Ack, Codes, Connack, Packet, Publish, Reason, decode};
use super::transport::Wire;
use super::watch::{Promise, Watch};
use super::wire::Version;
use super::{QUIET, WAIT, broker, transport};

/// How long the broker may take to close a connection it must close.
pub const CLOSE: Duration = Duration::from_secs(5);

/// What the broker did next.
#[derive(Debug)]
pub enum Event {
    /// It sent a packet.
    Packet(Packet),
    /// It closed the connection.
    Closed,
    /// Nothing, within the time given.
    Silence,
}

/// A raw client.
pub struct Client {
    /// Layout in which the broker's packets are read.
    pub version: Version,
    /// The CONNACK, once [`Client::expect_connack`] saw it.
    pub connack: Option<Connack>,
    pub(super) last_id: u16,
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
    packets: VecDeque<Packet>,
    closed: bool,
    watch: Watch,
    transcript: String,
}

impl Connect {
    /// Sends this CONNECT to the shared broker and expects to be let in.
    #[track_caller]
    pub fn open(&self) -> Client {
        self.open_at(broker::shared())
    }

    /// Sends this CONNECT and expects to be let in.
    #[track_caller]
    pub fn open_at(&self, addr: SocketAddr) -> Client {
        let mut client = self.attempt_at(addr);
        let connack = client.expect_connack();
        if connack.code != 0 {
            client.fail(&format!("to be let in, but CONNACK says 0x{:02X}", connack.code));
        }
        client
    }

    /// Sends this CONNECT to the shared broker.
    #[track_caller]
    pub fn attempt(&self) -> Client {
        self.attempt_at(broker::shared())
    }

    /// Sends this CONNECT.
    #[track_caller]
    pub fn attempt_at(&self, addr: SocketAddr) -> Client {
        let mut client = Client::tcp(addr, self.version);
        self.attempt_over(&mut client);
        client
    }

    /// Sends this CONNECT over a connection that is already there.
    pub fn attempt_over(&self, client: &mut Client) {
        client.watch.promise(Promise::of(if self.version == Version::V5 { self.props.bytes() } else { &[] }));
        client.send(&self.bytes());
    }
}

impl Client {
    /// A TCP connection on which nothing was sent yet, to the shared broker.
    #[track_caller]
    pub fn raw(version: Version) -> Self {
        Self::tcp(broker::shared(), version)
    }

    /// A TCP connection on which nothing was sent yet.
    #[track_caller]
    pub fn tcp(addr: SocketAddr, version: Version) -> Self {
        Self::over(Box::new(transport::tcp(addr)), version)
    }

    /// Over any transport.
    pub fn over(wire: Box<dyn Wire>, version: Version) -> Self {
        Self {
            version,
            connack: None,
            last_id: 0,
            wire,
            unread: Vec::new(),
            packets: VecDeque::new(),
            closed: false,
            watch: Watch::new(version),
            transcript: String::new(),
        }
    }

    /// Writes bytes. That the broker has already closed is not an error here: reading tells.
    pub fn send(&mut self, bytes: &[u8]) {
        self.watch.sent(bytes);
        self.note("->", bytes);
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// Ends our direction only: a FIN, while reading goes on.
    pub fn finish_writing(&mut self) {
        let _ = self.wire.finish_writing();
    }

    /// Waits for the broker's next act.
    #[track_caller]
    pub fn poll(&mut self, within: Duration) -> Event {
        let deadline = Instant::now() + within;
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Event::Packet(packet);
            }
            if self.closed {
                return Event::Closed;
            }
            if !self.fill(deadline) {
                return Event::Silence;
            }
        }
    }

    /// Reads once; `false` if nothing came until the deadline.
    #[track_caller]
    fn fill(&mut self, deadline: Instant) -> bool {
        let mut chunk = [0; 16 * 1024];
        self.wire.limit_read(deadline.saturating_duration_since(Instant::now()));
        match self.wire.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(count) => self.take(&chunk[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut if Instant::now() >= deadline => return false,
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => self.closed = true,
            },
        }
        if self.closed {
            self.transcript.push_str("  <- (closed)\n");
            if !self.unread.is_empty() {
                self.fail("whole packets, but the broker closed inside one");
            }
        }
        true
    }

    #[track_caller]
    fn take(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            match decode(self.version, &self.unread[done..]) {
                Ok(None) => break,
                Err(rule) => {
                    let rest = self.unread.split_off(done);
                    self.note("<-", &rest);
                    self.unread.clear();
                    self.fail(&format!("legal packets, but: {rule}"));
                }
                Ok(Some((mut packet, size))) => {
                    let whole = self.unread[done..done + size].to_vec();
                    self.note("<-", &whole);
                    done += size;
                    if let Err(rule) = self.watch.received(&mut packet, size) {
                        self.fail(&format!("a rule kept that holds always, but: {rule}"));
                    }
                    self.packets.push_back(packet);
                }
            }
        }
        self.unread.drain(..done);
    }

    fn note(&mut self, arrow: &str, bytes: &[u8]) {
        if self.transcript.len() > 8000 {
            let half = self.transcript.len() / 2;
            let cut = self.transcript[half..].find('\n').map_or(half, |at| half + at + 1);
            self.transcript = format!("  …\n{}", &self.transcript[cut..]);
        }
        let _ = write!(self.transcript, "  {arrow}");
        for byte in bytes.iter().take(48) {
            let _ = write!(self.transcript, " {byte:02X}");
        }
        let more = bytes.len().saturating_sub(48);
        self.transcript.push_str(&if more > 0 { format!(" … {more} more\n") } else { "\n".into() });
    }

    /// Fails the test: what was expected, and all that was said.
    #[track_caller]
    pub fn fail(&self, expected: &str) -> ! {
        panic!("expected {expected}\n{}", self.transcript)
    }

    /// The next packet, whatever it is.
    #[track_caller]
    pub fn expect_packet(&mut self, what: &str) -> Packet {
        match self.poll(WAIT) {
            Event::Packet(packet) => packet,
            Event::Closed => self.fail(&format!("{what}, but the connection was closed")),
            Event::Silence => self.fail(&format!("{what}, but nothing came")),
        }
    }

    /// The first packet that fits, now or later; the others keep their place.
    #[track_caller]
    pub fn await_packet<T>(&mut self, what: &str, fits: impl Fn(&Packet) -> Option<T>) -> T {
        match self.seek(what, fits) {
            Some(found) => found,
            None => self.fail(&format!("{what}, but the connection was closed")),
        }
    }

    /// The first packet that fits, now or later, or `None` where the broker closes before; the others keep their place.
    #[track_caller]
    pub fn seek<T>(&mut self, what: &str, fits: impl Fn(&Packet) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + WAIT;
        let mut seen = 0;
        loop {
            while seen < self.packets.len() {
                if let Some(found) = fits(&self.packets[seen]) {
                    self.packets.remove(seen);
                    return Some(found);
                }
                seen += 1;
            }
            if self.closed {
                return None;
            }
            if !self.fill(deadline) {
                self.fail(&format!("{what}, but it did not come"));
            }
        }
    }

    /// CONNACK.
    #[track_caller]
    pub fn expect_connack(&mut self) -> Connack {
        match self.expect_packet("CONNACK") {
            Packet::Connack(connack) => {
                self.connack = Some(connack.clone());
                connack
            }
            other => self.fail(&format!("CONNACK, got {other:?}")),
        }
    }

    /// PUBLISH.
    #[track_caller]
    pub fn expect_publish(&mut self) -> Publish {
        match self.expect_packet("PUBLISH") {
            Packet::Publish(publish) => publish,
            other => self.fail(&format!("PUBLISH, got {other:?}")),
        }
    }

    /// An acknowledgement with this first byte and Packet Identifier.
    #[track_caller]
    pub fn expect_ack(&mut self, first: u8, id: u16) -> Ack {
        match self.expect_packet(&format!("0x{first:02X} for identifier {id}")) {
            Packet::Ack(ack) if ack.first == first && ack.id == id => ack,
            other => self.fail(&format!("0x{first:02X} for identifier {id}, got {other:?}")),
        }
    }

    /// SUBACK with this Packet Identifier.
    #[track_caller]
    pub fn expect_suback(&mut self, id: u16) -> Codes {
        match self.expect_packet(&format!("SUBACK {id}")) {
            Packet::Suback(codes) if codes.id == id => codes,
            other => self.fail(&format!("SUBACK {id}, got {other:?}")),
        }
    }

    /// UNSUBACK with this Packet Identifier.
    #[track_caller]
    pub fn expect_unsuback(&mut self, id: u16) -> Codes {
        match self.expect_packet(&format!("UNSUBACK {id}")) {
            Packet::Unsuback(codes) if codes.id == id => codes,
            other => self.fail(&format!("UNSUBACK {id}, got {other:?}")),
        }
    }

    /// PINGRESP.
    #[track_caller]
    pub fn expect_pingresp(&mut self) {
        match self.expect_packet("PINGRESP") {
            Packet::Pingresp => {}
            other => self.fail(&format!("PINGRESP, got {other:?}")),
        }
    }

    /// DISCONNECT with one of these codes, and then the end of the connection.
    #[track_caller]
    pub fn expect_disconnect(&mut self, codes: &[u8]) -> Reason {
        let reason = match self.expect_packet("DISCONNECT") {
            Packet::Disconnect(reason) => reason,
            other => self.fail(&format!("DISCONNECT, got {other:?}")),
        };
        if !codes.contains(&reason.code) {
            self.fail(&format!("DISCONNECT with one of {codes:02X?}, got 0x{:02X}", reason.code));
        }
        self.expect_closed(CLOSE);
        reason
    }

    /// The answer to breaking a rule on a running connection: 5.0 says why in a DISCONNECT, 3.1.1 just closes.
    #[track_caller]
    pub fn expect_refused(&mut self, codes: &[u8]) {
        match self.version {
            Version::V5 => drop(self.expect_disconnect(codes)),
            Version::V3 => self.expect_closed(CLOSE),
        }
    }

    /// The answer to a CONNECT that lets nobody in: the end, before it at most a CONNACK with one of these codes.
    #[track_caller]
    pub fn expect_no_entry(&mut self, codes: &[u8]) -> Option<Connack> {
        match self.poll(CLOSE) {
            Event::Closed => None,
            Event::Packet(Packet::Connack(connack)) if codes.contains(&connack.code) => {
                self.expect_closed(CLOSE);
                Some(connack)
            }
            Event::Packet(other) => self.fail(&format!("no entry, at most a CONNACK with {codes:02X?}, got {other:?}")),
            Event::Silence => self.fail("no entry, but nothing happened"),
        }
    }

    /// The end of the connection, without another packet.
    #[track_caller]
    pub fn expect_closed(&mut self, within: Duration) {
        match self.poll(within) {
            Event::Closed => {}
            Event::Packet(packet) => self.fail(&format!("the end of the connection, got {packet:?}")),
            Event::Silence => self.fail(&format!("the end of the connection within {within:?}")),
        }
    }

    /// No packet and no end for this long.
    #[track_caller]
    pub fn expect_nothing_for(&mut self, time: Duration) {
        match self.poll(time) {
            Event::Silence => {}
            Event::Packet(packet) => self.fail(&format!("nothing, got {packet:?}")),
            Event::Closed => self.fail("nothing, but the connection was closed"),
        }
    }

    /// No packet and no end for a moment.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.expect_nothing_for(QUIET);
    }
}

impl Drop for Client {
    /// Looks at what the test left unread: it, too, must keep the rules.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            if !self.closed {
                self.wire.never_wait();
                self.fill(Instant::now());
            }
            broker::shared_is_sound();
        }
    }
}
