//! One connection of a client that expects its broker to die at any moment.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::support::build::{self, Connect, PUBREC, PUBREL, Publication};
use super::support::packet::{Connack, Packet, decode};
use super::support::wire::{Props, Version};

/// An answer takes no longer while the broker lives.
pub const ANSWER: Duration = Duration::from_secs(15);

/// The connection is over, whoever ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A connection that was let in.
pub struct Link {
    pub version: Version,
    pub connack: Connack,
    stream: TcpStream,
    unread: Vec<u8>,
    done: usize,
}

impl Link {
    /// Connects and waits for CONNACK.
    pub fn open(addr: SocketAddr, connect: &Connect) -> Result<Self, Gone> {
        let stream = TcpStream::connect_timeout(&addr, ANSWER).map_err(|_| Gone)?;
        stream.set_nodelay(true).map_err(|_| Gone)?;
        stream.set_write_timeout(Some(ANSWER)).map_err(|_| Gone)?;
        let connack = Connack { session_present: false, code: 0xFF, props: Default::default() };
        let mut link = Self { version: connect.version, connack, stream, unread: Vec::new(), done: 0 };
        link.send(&connect.bytes())?;
        match link.next(ANSWER)? {
            Some(Packet::Connack(connack)) if connack.code == 0 => link.connack = connack,
            _ => return Err(Gone),
        }
        Ok(link)
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.stream.write_all(bytes).map_err(|_| Gone)
    }

    /// Says `last` and that nothing follows, and waits until the other side has closed.
    pub fn hang_up(mut self, last: &[u8]) -> Result<(), Gone> {
        self.send(last)?;
        self.stream.shutdown(Shutdown::Write).map_err(|_| Gone)?;
        self.stream.set_read_timeout(Some(ANSWER)).map_err(|_| Gone)?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(drop).map_err(|_| Gone)
    }

    pub fn publish(&mut self, publication: &Publication) -> Result<(), Gone> {
        self.send(&publication.bytes(self.version))
    }

    /// Publishes and waits for PUBACK or PUBREC; its code.
    pub fn publish_and_wait(&mut self, publication: &Publication, within: Duration) -> Result<Option<u8>, Gone> {
        self.publish(publication)?;
        let deadline = Instant::now() + within;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Some(Packet::Ack(ack)) if ack.id == publication.id && ack.first != PUBREL => {
                    if ack.first == PUBREC && ack.code < 0x80 {
                        self.ack(PUBREL, ack.id)?;
                    }
                    return Ok(Some(ack.code));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    pub fn ack(&mut self, first: u8, id: u16) -> Result<(), Gone> {
        self.send(&build::ack(first, id, 0))
    }

    /// The next packet, if one comes within the time.
    pub fn next(&mut self, within: Duration) -> Result<Option<Packet>, Gone> {
        let deadline = Instant::now() + within;
        loop {
            match decode(self.version, &self.unread[self.done..]) {
                Ok(Some((packet, size))) => {
                    self.done += size;
                    return Ok(Some(packet));
                }
                Ok(None) => {}
                Err(rule) => panic!("the broker breaks a rule: {rule}"),
            }
            self.unread.drain(..self.done);
            self.done = 0;
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(|_| Gone)?;
            let mut chunk = [0; 32 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut if Instant::now() >= deadline => return Ok(None),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(Gone),
                },
            }
        }
    }

    /// The first packet that fits; what comes before it is given to `other`.
    pub fn until<T>(
        &mut self,
        fits: impl Fn(&Packet) -> Option<T>,
        mut other: impl FnMut(&mut Self, Packet) -> Result<(), Gone>,
    ) -> Result<T, Gone> {
        let deadline = Instant::now() + ANSWER;
        while Instant::now() < deadline {
            let Some(packet) = self.next(deadline.saturating_duration_since(Instant::now()))? else { break };
            match fits(&packet) {
                Some(found) => return Ok(found),
                None => other(self, packet)?,
            }
        }
        Err(Gone)
    }

    /// Subscribes and waits for the codes.
    pub fn subscribe(
        &mut self,
        id: u16,
        filters: &[(&str, u8)],
        other: impl FnMut(&mut Self, Packet) -> Result<(), Gone>,
    ) -> Result<Vec<u8>, Gone> {
        let filters: Vec<(&[u8], u8)> = filters.iter().map(|(filter, qos)| (filter.as_bytes(), *qos)).collect();
        self.send(&build::subscribe(self.version, id, &Props::new(), &filters))?;
        let fits = |packet: &Packet| match packet {
            Packet::Suback(codes) if codes.id == id => Some(codes.codes.clone()),
            _ => None,
        };
        self.until(fits, other)
    }

    /// Unsubscribes and waits for the codes; 3.1.1 has none.
    pub fn unsubscribe(
        &mut self,
        id: u16,
        filter: &str,
        other: impl FnMut(&mut Self, Packet) -> Result<(), Gone>,
    ) -> Result<Vec<u8>, Gone> {
        self.send(&build::unsubscribe(self.version, id, &Props::new(), &[filter.as_bytes()]))?;
        let fits = |packet: &Packet| match packet {
            Packet::Unsuback(codes) if codes.id == id => Some(codes.codes.clone()),
            _ => None,
        };
        self.until(fits, other)
    }
}
