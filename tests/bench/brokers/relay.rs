//! The floor: the least a broker can do for a message, to divide by. One `recv` for a readiness event, one `send` for a
//! connection and turn, a table from topic to subscribers, and nothing else: no wildcards, no sessions, no limits.

use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use hashbrown::HashMap;
use heraldmq::bench::packet::{self, Frame, Version};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;
/// Out buffers kept for the next connection that has something to say.
const SPARE_BUFFERS: usize = 1024;

/// One client.
struct Peer {
    socket: TcpStream,
    /// Waiting to be written; without memory when empty.
    out: Vec<u8>,
    /// The beginning of a packet whose end has not come.
    partial: Vec<u8>,
    subscribed: Vec<Box<[u8]>>,
    packet_id: u16,
}

/// The relay's state.
pub struct Relay {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    routes: HashMap<Box<[u8]>, Vec<(u32, u8)>, foldhash::fast::RandomState>,
    /// Peers with something to write at the end of the turn.
    dirty: Vec<usize>,
    /// Peers that had more to read than one read takes.
    unread: Vec<usize>,
    spare: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

/// Serves on `address` until the process is ended, or the one that started it is.
pub fn run(address: SocketAddr) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let mut relay = Relay::bind(address)?;
    let mut events = Events::with_capacity(512);
    loop {
        relay.turn(&mut events)?;
    }
}

impl Relay {
    fn bind(address: SocketAddr) -> Result<Relay> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Relay {
            poll,
            listener,
            peers: Vec::new(),
            free: Vec::new(),
            routes: HashMap::default(),
            dirty: Vec::new(),
            unread: Vec::new(),
            spare: Vec::new(),
            scratch: vec![0; READ_BYTES],
        })
    }

    fn turn(&mut self, events: &mut Events) -> Result<()> {
        let timeout = if self.unread.is_empty() { None } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for slot in mem::take(&mut self.unread) {
            self.receive(slot);
        }
        for event in events.iter() {
            if event.token() == LISTENER { self.accept()? } else { self.ready(event) }
        }
        let mut dirty = mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.flush(slot);
        }
        self.dirty = dirty;
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or(self.peers.len());
            self.poll.registry().register(&mut socket, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
            let peer = Peer { socket, out: Vec::new(), partial: Vec::new(), subscribed: Vec::new(), packet_id: 0 };
            if slot == self.peers.len() { self.peers.push(Some(peer)) } else { self.peers[slot] = Some(peer) }
        }
    }

    fn ready(&mut self, event: &Event) {
        let slot = event.token().0;
        if event.is_writable() {
            self.flush(slot);
        }
        if event.is_read_closed() {
            self.unread.push(slot);
        }
        if event.is_readable() {
            self.receive(slot);
        }
    }

    fn receive(&mut self, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot).and_then(Option::as_mut) else { return };
        let mut scratch = mem::take(&mut self.scratch);
        let open = match peer.socket.read(&mut scratch) {
            Ok(0) => false,
            Ok(read) => {
                if read == scratch.len() {
                    self.unread.push(slot);
                }
                self.understand(slot, &scratch[..read]).is_ok()
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        self.scratch = scratch;
        if !open {
            self.close(slot);
        }
    }

    fn understand(&mut self, slot: usize, bytes: &[u8]) -> Result<()> {
        let partial = self.peers[slot].as_mut().map(|peer| mem::take(&mut peer.partial)).unwrap_or_default();
        if partial.is_empty() {
            return self.packets(slot, bytes);
        }
        self.packets(slot, &[&partial, bytes].concat())
    }

    fn packets(&mut self, slot: usize, mut bytes: &[u8]) -> Result<()> {
        while let Some(frame) = packet::take(&mut bytes)? {
            match frame.kind {
                packet::CONNECT => packet::connack(self.out(slot)),
                packet::PUBLISH => self.forward(slot, &frame)?,
                packet::SUBSCRIBE => self.subscribe(slot, &frame),
                packet::PINGREQ => packet::empty(self.out(slot), packet::PINGRESP),
                packet::DISCONNECT => anyhow::bail!("it leaves"),
                _ => {}
            }
        }
        if !bytes.is_empty()
            && let Some(peer) = &mut self.peers[slot]
        {
            peer.partial.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// The out buffer of a peer that exists, to be flushed at the end of the turn.
    fn out(&mut self, slot: usize) -> &mut Vec<u8> {
        let peer = self.peers[slot].as_mut().expect("its packet was just read");
        room(peer, slot, &mut self.spare, &mut self.dirty)
    }

    fn forward(&mut self, from: usize, frame: &Frame<'_>) -> Result<()> {
        let mut publish = frame.publish(Version::V3)?;
        if frame.qos() > 0 {
            packet::acknowledge(self.out(from), packet::PUBACK, publish.packet_id);
        }
        for &(to, granted) in self.routes.get(publish.topic).into_iter().flatten() {
            let Some(peer) = &mut self.peers[to as usize] else { continue };
            peer.packet_id = peer.packet_id.checked_add(1).unwrap_or(1);
            publish.packet_id = peer.packet_id;
            let out = room(peer, to as usize, &mut self.spare, &mut self.dirty);
            packet::publish(out, Version::V3, frame.qos().min(granted), &publish);
        }
        Ok(())
    }

    /// Understands the SUBSCRIBE of the load: one filter, which is a topic.
    fn subscribe(&mut self, slot: usize, frame: &Frame<'_>) {
        let Some((&qos, rest)) = frame.body.split_last() else { return };
        let topic: Box<[u8]> = rest.get(4..).unwrap_or_default().into();
        if let Some(peer) = &mut self.peers[slot] {
            peer.subscribed.push(topic.clone());
        }
        self.routes.entry(topic).or_default().push((slot as u32, qos));
        packet::suback(self.out(slot), frame.packet_id(), qos);
    }

    fn flush(&mut self, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot).and_then(Option::as_mut) else { return };
        if peer.out.is_empty() {
            return;
        }
        match peer.socket.write(&peer.out) {
            Ok(written) if written == peer.out.len() => {
                let mut out = mem::take(&mut peer.out);
                if self.spare.len() < SPARE_BUFFERS {
                    out.clear();
                    self.spare.push(out);
                }
            }
            Ok(written) => drop(peer.out.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.close(slot),
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(peer) = self.peers[slot].take() else { return };
        for topic in &peer.subscribed {
            if let Some(route) = self.routes.get_mut(topic) {
                route.retain(|(to, _)| *to as usize != slot);
            }
        }
        self.free.push(slot);
    }
}

/// The peer's out buffer; the peer is dirty from its first byte on.
fn room<'a>(peer: &'a mut Peer, slot: usize, spare: &mut Vec<Vec<u8>>, dirty: &mut Vec<usize>) -> &'a mut Vec<u8> {
    if peer.out.is_empty() {
        peer.out = spare.pop().unwrap_or_default();
        dirty.push(slot);
    }
    &mut peer.out
}
