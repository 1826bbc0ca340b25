//! A client that asks for very much at once, and hears the answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::WAIT;
use crate::support::build::{Connect, Publication, subscribe, unsubscribe};
use crate::support::packet::{Packet, decode};
use crate::support::wire::{Props, Version};

/// Packets that are on their way at a time; below the Receive Maximum that the tests set.
const AT_A_TIME: usize = 500;
/// Filters in one packet.
const FILTERS: usize = 500;

/// A 5.0 connection, read and written in bulk.
pub struct Crowd {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Crowd {
    /// Connected.
    pub fn enter(addr: SocketAddr, connect: &Connect) -> Self {
        let stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        // A broker that is busy with a large batch takes a while.
        stream.set_read_timeout(Some(4 * WAIT)).expect("a timeout");
        let mut crowd = Self { stream, unread: Vec::new() };
        crowd.send(&connect.bytes());
        match crowd.next() {
            Packet::Connack(connack) if connack.code == 0 => crowd,
            other => panic!("CONNACK, got {other:?}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    fn next(&mut self) -> Packet {
        let mut chunk = [0; 64 * 1024];
        loop {
            match decode(Version::V5, &self.unread).expect("legal packets") {
                Some((packet, size)) => {
                    self.unread.drain(..size);
                    return packet;
                }
                None => match self.stream.read(&mut chunk).expect("an answer in time") {
                    0 => panic!("the broker has closed"),
                    count => self.unread.extend_from_slice(&chunk[..count]),
                },
            }
        }
    }

    /// Publishes each with RETAIN 1 at QoS 1; the codes of the PUBACKs, in order.
    pub fn retain(&mut self, publications: impl Iterator<Item = (String, String)>) -> Vec<u8> {
        let mut codes = Vec::new();
        let mut publications = publications.peekable();
        while publications.peek().is_some() {
            let batch: Vec<Vec<u8>> = (1..)
                .zip(publications.by_ref().take(AT_A_TIME))
                .map(|(id, (topic, payload))| Publication::new(topic, payload).retain().qos(1, id).bytes(Version::V5))
                .collect();
            self.send(&batch.concat());
            for _ in &batch {
                match self.next() {
                    Packet::Ack(ack) => codes.push(ack.code),
                    other => panic!("PUBACK, got {other:?}"),
                }
            }
        }
        codes
    }

    /// Subscribes to each at QoS 1; the codes.
    pub fn subscribe(&mut self, filters: impl Iterator<Item = String>) -> Vec<u8> {
        self.in_batches(filters, |filters| {
            let asked: Vec<(&[u8], u8)> = filters.iter().map(|filter| (filter.as_bytes(), 1)).collect();
            subscribe(Version::V5, 1, &Props::new(), &asked)
        })
    }

    /// Unsubscribes from each; the codes.
    pub fn unsubscribe(&mut self, filters: impl Iterator<Item = String>) -> Vec<u8> {
        self.in_batches(filters, |filters| {
            let asked: Vec<&[u8]> = filters.iter().map(|filter| filter.as_bytes()).collect();
            unsubscribe(Version::V5, 1, &Props::new(), &asked)
        })
    }

    fn in_batches(&mut self, filters: impl Iterator<Item = String>, packet: impl Fn(&[String]) -> Vec<u8>) -> Vec<u8> {
        let mut codes = Vec::new();
        let mut filters = filters.peekable();
        while filters.peek().is_some() {
            let batch: Vec<String> = filters.by_ref().take(FILTERS).collect();
            self.send(&packet(&batch));
            match self.next() {
                Packet::Suback(answer) | Packet::Unsuback(answer) => codes.extend(answer.codes),
                other => panic!("SUBACK or UNSUBACK, got {other:?}"),
            }
        }
        codes
    }

    /// Goes as a client does whose network fails. The port is free at once, so that very many may go.
    pub fn vanish(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    }
}
