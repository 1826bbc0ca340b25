//! What came from the broker, and what the clients answer.

use std::mem;

use super::{Load, READ_BYTES};
use crate::bench::BenchError;
use crate::bench::packet::{self, Frame, Version};

impl Load {
    pub(super) fn receive(&mut self, client: usize) -> Result<(), BenchError> {
        let mut scratch = mem::take(&mut self.scratch);
        let result = self.read_all(client, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn read_all(&mut self, client: usize, scratch: &mut [u8]) -> Result<(), BenchError> {
        while let Some(read) = self.clients[client].link.read(scratch)? {
            match self.clients[client].link.unwrap(&scratch[..read])? {
                Some(plain) => self.understand(client, &plain)?,
                None => self.understand(client, &scratch[..read])?,
            }
            // A short read from a socket has emptied it; what TLS holds back cannot be seen.
            if read < READ_BYTES && !self.clients[client].link.is_tls() {
                break;
            }
        }
        Ok(())
    }

    fn understand(&mut self, client: usize, bytes: &[u8]) -> Result<(), BenchError> {
        let partial = mem::take(&mut self.clients[client].link.partial);
        if partial.is_empty() {
            return self.packets(client, bytes);
        }
        self.packets(client, &[&partial, bytes].concat())
    }

    fn packets(&mut self, client: usize, mut bytes: &[u8]) -> Result<(), BenchError> {
        let now = self.now();
        while let Some(frame) = packet::take(&mut bytes)? {
            self.packet(client, &frame, now)?;
        }
        self.clients[client].link.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn packet(&mut self, client: usize, frame: &Frame<'_>, now: u64) -> Result<(), BenchError> {
        match frame.kind {
            packet::PUBLISH => return self.delivered(client, frame, now),
            packet::PUBACK | packet::PUBCOMP => self.acknowledged(client, frame, now),
            packet::PUBREC if frame.is_refusal() => self.acknowledged(client, frame, now),
            packet::PUBREC => packet::acknowledge(self.out(client), packet::PUBREL, frame.packet_id()),
            packet::PUBREL => packet::acknowledge(self.out(client), packet::PUBCOMP, frame.packet_id()),
            packet::CONNACK if frame.body.get(1) == Some(&0) => {
                self.seen.connack += 1;
                if self.clients[client].version == Version::V5 {
                    self.clients[client].window = usize::from(frame.receive_maximum());
                }
            }
            packet::CONNACK => return BenchError::broker(format!("refused: CONNACK {:?}", frame.body)),
            packet::SUBACK if frame.body.last().is_some_and(|code| *code < 0x80) => self.seen.suback += 1,
            packet::SUBACK => return BenchError::broker(format!("refused: SUBACK {:?}", frame.body.last())),
            packet::PINGRESP => self.seen.pingresp += 1,
            packet::DISCONNECT => return BenchError::broker(format!("DISCONNECT {:?}", frame.body)),
            kind => return BenchError::broker(format!("a packet of type {kind}")),
        }
        Ok(())
    }

    fn acknowledged(&mut self, client: usize, frame: &Frame<'_>, now: u64) {
        self.seen.acknowledged += 1;
        self.seen.refused += u64::from(frame.is_refusal());
        // Acknowledgements leave in the order of what they acknowledge.
        if let Some(due) = self.clients[client].due.pop_front() {
            self.seen.acknowledgements.add(now.saturating_sub(due));
        }
    }

    fn delivered(&mut self, client: usize, frame: &Frame<'_>, now: u64) -> Result<(), BenchError> {
        let publish = frame.publish(self.clients[client].version)?;
        match frame.qos() {
            0 => {}
            1 => packet::acknowledge(self.out(client), packet::PUBACK, publish.packet_id),
            _ => packet::acknowledge(self.out(client), packet::PUBREC, publish.packet_id),
        }
        if let Some(stamp) = publish.payload.first_chunk() {
            self.seen.deliveries.add(now.saturating_sub(u64::from_le_bytes(*stamp)));
        }
        self.seen.publish += 1;
        Ok(())
    }
}
