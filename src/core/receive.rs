//! Bytes in: from a socket through the layers to packets, and each packet to the threshold or the session.

use std::io;

use super::client::{Client, Stage};
use super::{Core, Ready, SCRATCH_BYTES};
use crate::metrics::{Closed, Direction};
use crate::mqtt::frame::{self, Frame, Split};
use crate::mqtt::packet::{Packet, decode};
use crate::mqtt::{DecodeError, ReasonCode};
use crate::session::{Ending, Violation};

/// Work that the packets of one client may make in one turn, counted in acknowledgements: some 50 µs, which is what everybody else
/// notices of a client that sends without end. What a subscriber to many publishers acknowledges at once fits.
const WORK_MAX: u32 = 1024;
/// Any other packet but an acknowledgement.
const WORK_OF_PACKET: u32 = 4;
/// SUBSCRIBE and UNSUBSCRIBE name many filters each, and may go through all retained messages.
const WORK_OF_FILTERS: u32 = WORK_MAX / 4;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;

/// What one read gave.
enum Read {
    Bytes(usize),
    Nothing,
    End,
}

impl Core {
    pub(super) fn handle_ready(&mut self, event: Ready) {
        let Some(client) = self.clients.get_mut(event.slot) else { return };
        client.flags.read_closed |= event.read_closed;
        let readable = event.readable || event.read_closed;
        // Who is on the list is read later in this turn, or in the next: not twice in one.
        let listed = client.flags.listed;
        client.flags.readable |= readable && listed;
        if event.writable && client.flags.blocked {
            client.flags.blocked = false;
            self.touch(event.slot);
        }
        if readable && !listed {
            self.read(event.slot);
        }
    }

    pub(super) fn read_again(&mut self, slot: u32) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.flags.listed = false;
            if std::mem::take(&mut client.flags.fresh) {
                client.flags.unfinished = !client.partial.is_empty();
                if !client.flags.unfinished && !client.flags.readable {
                    return;
                }
            }
            self.read(slot);
        }
    }

    /// Puts a connection on the list to be read in the next turn.
    pub(super) fn list(&mut self, slot: u32) {
        if let Some(client) = self.clients.get_mut(slot)
            && !client.flags.listed
        {
            client.flags.listed = true;
            self.again.push(slot);
        }
    }

    pub(super) fn read(&mut self, slot: u32) {
        self.guarded(slot, |core| core.read_once(slot));
    }

    fn read_once(&mut self, slot: u32) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.readable = true;
        let closing = matches!(client.stage, Stage::Closing { .. });
        if !closing && !client.listens() {
            return; // the edge is remembered; `resume_reading` comes back to it
        }
        if !closing && client.flags.unfinished {
            self.take_kept(slot);
            // Behind what is left, if anything is.
            return self.list(slot);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(SCRATCH_BYTES, 0);
        let read = match client.transport.read(&mut scratch) {
            Ok(0) => Read::End,
            Ok(count) => Read::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Read::Bytes(0),
            Err(_) => Read::End,
        };
        match read {
            Read::End => self.end_of_stream(slot),
            Read::Nothing => client.flags.readable = false,
            Read::Bytes(count) => {
                // A short read has emptied the socket, unless the FIN came with the data: it has no edge of its own.
                let more = count == SCRATCH_BYTES || count == 0 || client.flags.read_closed;
                client.flags.readable = more;
                self.count_bytes(Direction::Received, count);
                if !closing {
                    self.open_bytes(slot, scratch.get_mut(..count).unwrap_or_default());
                }
                if more {
                    self.list(slot);
                }
            }
        }
        self.scratch = scratch;
    }

    fn end_of_stream(&mut self, slot: u32) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.flags.readable = false;
        match client.stage {
            Stage::Closing { .. } => self.remove(slot),
            _ => self.end(slot, Ending::Lost),
        }
    }

    /// Takes a connection's bytes through its layers.
    fn open_bytes(&mut self, slot: u32, wire: &mut [u8]) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.layers.is_plain() {
            return self.take_bytes(slot, wire);
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let progress = client.layers.open(wire, &mut plain);
        // What came before the end counts, and there is no next turn for it.
        let ends = progress.as_ref().map_or(true, |progress| progress.closed);
        client.flags.last_words = ends;
        if client.layers.wants_seal() {
            self.touch(slot);
        }
        self.take_bytes(slot, &plain);
        plain.shrink_to(4 * SCRATCH_BYTES);
        self.plain = plain;
        while ends && self.clients.get(slot).is_some_and(|client| client.flags.unfinished) {
            self.take_kept(slot);
        }
        match progress {
            Ok(progress) if progress.closed => self.end_layers(slot, Closed::Lost),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "closed a connection whose TLS or WebSocket bytes were wrong");
                self.end_layers(slot, Closed::Handshake);
            }
        }
    }

    /// Takes MQTT bytes, behind those that were kept.
    fn take_bytes(&mut self, slot: u32, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.partial.is_empty() {
            let taken = self.take_packets(slot, bytes);
            self.keep(slot, bytes.get(taken..).unwrap_or_default());
        } else {
            client.partial.extend_from_slice(bytes);
            self.take_kept(slot);
        }
    }

    /// Takes packets out of the bytes that were kept.
    fn take_kept(&mut self, slot: u32) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let mut kept = std::mem::take(&mut client.partial);
        if kept.is_empty() {
            return;
        }
        let taken = self.take_packets(slot, &kept);
        if let Some(client) = self.clients.get_mut(slot)
            && !matches!(client.stage, Stage::Closing { .. })
            && taken < kept.len()
        {
            kept.drain(..taken);
            if kept.capacity() > 4 * SCRATCH_BYTES && kept.len() < SCRATCH_BYTES {
                kept.shrink_to_fit();
            }
            client.partial = kept;
        }
    }

    fn keep(&mut self, slot: u32, rest: &[u8]) {
        if let Some(client) = self.clients.get_mut(slot)
            && !rest.is_empty()
            && !matches!(client.stage, Stage::Closing { .. })
        {
            client.partial.extend_from_slice(rest);
        }
    }

    /// Handles whole packets while the client is listened to, and as many as may be in one turn; returns how many bytes
    /// they took.
    fn take_packets(&mut self, slot: u32, bytes: &[u8]) -> usize {
        let (mut taken, mut work) = (0, 0);
        let Some(client) = self.clients.get_mut(slot) else { return 0 };
        client.flags.unfinished = false;
        let unsent_max = client.unsent_max();
        let bytes_max = client.door.limits.load().packet_bytes_max as usize;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let Some(client) = self.clients.get_mut(slot).filter(|client| client.listens_below(unsent_max)) else {
                break;
            };
            match frame::split(rest, client.packet_bytes_max(bytes_max)) {
                Ok(Split::Whole { .. }) if work >= WORK_MAX => {
                    client.flags.unfinished = true;
                    self.list(slot);
                    break;
                }
                Ok(Split::Whole { frame, len }) => {
                    if frame.first >> 4 == PUBLISH && self.must_wait(slot) {
                        break;
                    }
                    taken += len;
                    work += match frame.first >> 4 {
                        SUBSCRIBE | UNSUBSCRIBE => WORK_OF_FILTERS,
                        PUBACK..=PUBCOMP => 1,
                        _ => WORK_OF_PACKET,
                    };
                    self.handle_frame(slot, frame);
                }
                Ok(Split::Incomplete { .. }) => {
                    if let Err(error) = client.may_become(rest) {
                        self.malformed(slot, error);
                    }
                    break;
                }
                Err(error) => {
                    self.malformed(slot, error);
                    break;
                }
            }
        }
        taken
    }

    fn handle_frame(&mut self, slot: u32, frame: Frame<'_>) {
        self.count_packet_in(frame.first);
        let Some(client) = self.clients.get_mut(slot) else { return };
        let version = match &client.stage {
            Stage::Open(session) => Some(session.peer().version),
            Stage::Entering(entering) => entering.threshold.version(),
            Stage::Closing { .. } => return,
        };
        let packet = match decode(frame, version) {
            Ok(packet) => packet,
            Err(error) => return self.malformed(slot, error),
        };
        match (&client.stage, packet) {
            (Stage::Open(_), Packet::Publish(publish)) => {
                self.count_message_in(publish.qos);
                self.decide(slot, |session, may, now, desk| session.handle_publish(publish, may, now, desk));
            }
            (Stage::Open(_), packet) => {
                self.decide(slot, |session, may, now, desk| session.handle_packet(packet, may, now, desk));
            }
            (_, packet) => self.handle_entering_packet(slot, packet),
        }
    }

    fn malformed(&mut self, slot: u32, error: DecodeError) {
        match self.clients.get_mut(slot).map(|client| &client.stage) {
            Some(Stage::Open(_)) => {
                let violation = Violation { reason: error.reason, statement: error.statement };
                self.end(slot, Ending::Violation(violation));
            }
            Some(Stage::Entering(_)) => self.refuse_malformed(slot, error),
            _ => {}
        }
    }

    /// Goes on with a client that was not listened to: what was kept first, then what its socket holds.
    pub(super) fn resume_reading(&mut self, slot: u32) {
        if self.clients.get_mut(slot).is_some_and(|client| client.flags.unfinished && client.flags.listed) {
            return; // it had its part of this turn, and has one in the next
        }
        self.guarded(slot, |core| core.take_kept(slot));
        if let Some(client) = self.clients.get_mut(slot)
            && client.flags.readable
            && client.listens()
        {
            self.list(slot);
        }
    }
}

impl Client {
    /// Whether the rest of a packet that begins so is worth waiting for: the first one can only be CONNECT [MQTT-3.1.0-1],
    /// and a client of another protocol is not kept until its time is over.
    fn may_become(&self, begun: &[u8]) -> Result<(), DecodeError> {
        const CONNECT: u8 = 0x10;
        match &self.stage {
            Stage::Entering(entering) if entering.threshold.version().is_none() && begun.first() != Some(&CONNECT) => {
                Err(DecodeError { reason: ReasonCode::ProtocolError, statement: "MQTT-3.1.0-1" })
            }
            _ => Ok(()),
        }
    }

    /// Largest packet taken at this stage, `open` being that of a client that was let in.
    fn packet_bytes_max(&self, open: usize) -> usize {
        match self.stage {
            Stage::Entering(_) => self.door.preauth_bytes_max,
            _ => open,
        }
    }
}
