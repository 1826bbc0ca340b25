//! A client that is moved along by hand, a little at a time: what it costs its thread between two looks at everybody else's
//! clients is bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heraldmq::bench::BenchError;
use heraldmq::bench::load::Kin;
use heraldmq::bench::packet::{self, Connect, Publish, Version};
use socket2::{Domain, Socket, Type};

/// At most so many bytes are written, and read, at one time: some microseconds.
const STEP_BYTES: usize = 8 * 1024;
/// Publications of QoS 1 it leaves unacknowledged: as many as there are Packet Identifiers, nearly.
const UNACKNOWLEDGED_MAX: u64 = 60_000;
const PAYLOAD: [u8; 64] = [0; 64];
const PATIENCE: Duration = Duration::from_secs(30);

/// How much the kernel keeps for it of what it does not read.
#[derive(Clone, Copy)]
pub enum Buffer {
    Usual,
    /// As little as the kernel allows.
    Least,
}

/// The client.
pub struct Rogue {
    socket: TcpStream,
    out: Vec<u8>,
    /// Of `out`.
    written: usize,
    partial: Vec<u8>,
    scratch: Vec<u8>,
    packet_id: u16,
    /// PUBLISH packets it sent, or is about to.
    pub sent: u64,
    /// PUBACK packets that came.
    pub acknowledged: u64,
    /// PUBLISH packets that came.
    pub came: u64,
}

impl Rogue {
    /// Connects, until its CONNACK.
    pub fn enter(kin: &Kin, client_id: &str, durable: bool, buffer: Buffer) -> Result<Rogue> {
        let to = kin.target.address;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Buffer::Least = buffer {
            socket.set_recv_buffer_size(1)?;
        }
        socket.connect(&to.into())?;
        socket.set_tcp_nodelay(true)?;
        // What the broker has not read yet goes with it, so that it is no trouble any more.
        socket.set_linger(Some(Duration::ZERO))?;
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut out = Vec::new();
        let keep_alive_s = kin.keep_alive_s;
        packet::connect(&mut out, &Connect { version: Version::V3, client_id, durable, keep_alive_s, login: None });
        answered(&mut socket, &out, packet::CONNACK, 4)?;
        Ok(Rogue {
            socket,
            out: Vec::new(),
            written: 0,
            partial: Vec::new(),
            scratch: vec![0; STEP_BYTES],
            packet_id: 0,
            sent: 0,
            acknowledged: 0,
            came: 0,
        })
    }

    /// Subscribes, until its SUBACK.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> Result<()> {
        let mut out = Vec::new();
        packet::subscribe(&mut out, Version::V3, &[filter], qos);
        answered(&mut self.socket, &out, packet::SUBACK, 5)
    }

    /// Publishes and waits until the broker has taken all of it.
    pub fn stuff(&mut self, topic: &str, qos: u8, payload: &[u8], count: u16) -> Result<()> {
        for packet_id in 1..=count {
            self.out.clear();
            packet::publish(&mut self.out, Version::V3, qos, &Publish { topic: topic.as_bytes(), packet_id, payload });
            self.socket.write_all(&self.out)?;
        }
        self.out.clear();
        // Answered last, whatever was acknowledged before.
        packet::empty(&mut self.out, packet::PINGREQ);
        self.socket.write_all(&self.out)?;
        self.out.clear();
        let mut last = [0; 2];
        while last != [packet::PINGRESP << 4, 0] {
            self.socket.read_exact(&mut last)?;
        }
        Ok(())
    }

    /// From here on nothing waits.
    pub fn hurry(&self) -> Result<()> {
        Ok(self.socket.set_nonblocking(true)?)
    }

    /// Publishes as much as fits into one step and the socket takes.
    pub fn flood(&mut self, topic: &str, qos: u8) -> Result<(), BenchError> {
        if qos > 0 {
            self.read()?;
        }
        if self.out.is_empty() {
            while self.out.len() < STEP_BYTES && (qos == 0 || self.sent - self.acknowledged < UNACKNOWLEDGED_MAX) {
                self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
                let publish = Publish { topic: topic.as_bytes(), packet_id: self.packet_id, payload: &PAYLOAD };
                packet::publish(&mut self.out, Version::V3, qos, &publish);
                self.sent += 1;
            }
        }
        Ok(self.write()?)
    }

    /// Reads one step, and acknowledges.
    pub fn read(&mut self) -> Result<(), BenchError> {
        let Some(read) = taken(self.socket.read(&mut self.scratch))? else { return Ok(()) };
        if read == 0 {
            return Err(BenchError::Broker("the broker closed the troublemaker's connection".to_owned()));
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(&self.scratch[..read]);
        let mut rest = &all[..];
        while let Some(frame) = packet::take(&mut rest)? {
            match frame.kind {
                packet::PUBLISH => {
                    self.came += 1;
                    if frame.qos() > 0 {
                        let publish = frame.publish(Version::V3)?;
                        packet::acknowledge(&mut self.out, packet::PUBACK, publish.packet_id);
                    }
                }
                _ => self.acknowledged += 1,
            }
        }
        self.partial = rest.to_vec();
        Ok(self.write()?)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let until = self.out.len().min(self.written + STEP_BYTES);
        self.written += taken(self.socket.write(&self.out[self.written..until]))?.unwrap_or(0);
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }
}

/// What an operation moved; `None` if it would have had to wait.
fn taken(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a packet, and waits for the first bytes of its answer.
fn answered(socket: &mut TcpStream, out: &[u8], kind: u8, length: usize) -> Result<()> {
    let mut answer = [0; 5];
    socket.write_all(out)?;
    socket.read_exact(&mut answer[..length]).context("no answer to a troublemaker")?;
    ensure!(answer[0] >> 4 == kind, "a troublemaker was answered {answer:?}");
    Ok(())
}
