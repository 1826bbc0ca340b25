//! Everyday phrases: whole exchanges that a test needs but is not about.

use super::build::{self, Connect, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication};
use super::client::{CLOSE, Client, Event};
use super::packet::{Codes, Packet, Publish};
use std::time::Instant;

use super::unique;
use super::wire::{Props, Version};

/// A client of a fresh name, let in.
#[track_caller]
pub fn connected(version: Version) -> Client {
    Connect::new(version, unique("c")).open()
}

impl Client {
    /// An integer the broker announced in its CONNACK.
    pub fn announced(&self, property: u8) -> Option<u32> {
        self.connack.as_ref().and_then(|connack| connack.props.number(property))
    }

    /// Whether CONNACK said that there was a session.
    pub fn session_present(&self) -> bool {
        self.connack.as_ref().is_some_and(|connack| connack.session_present)
    }

    /// A Packet Identifier this client did not use before.
    pub fn fresh_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Subscribes to one filter and returns the SUBACK's code.
    #[track_caller]
    pub fn subscribe(&mut self, filter: impl AsRef<[u8]>, options: u8) -> u8 {
        let codes = self.subscribe_with(&Props::new(), &[(filter.as_ref(), options)]);
        if codes.codes.len() != 1 {
            self.fail(&format!("one code for one filter, got {:02X?}", codes.codes));
        }
        codes.codes[0]
    }

    /// Subscribes with properties to several filters.
    #[track_caller]
    pub fn subscribe_with(&mut self, props: &Props, filters: &[(&[u8], u8)]) -> Codes {
        let id = self.fresh_id();
        self.send(&build::subscribe(self.version, id, props, filters));
        self.await_packet(&format!("SUBACK {id}"), |packet| match packet {
            Packet::Suback(codes) if codes.id == id => Some(codes.clone()),
            _ => None,
        })
    }

    /// Sends a SUBSCRIBE to one filter and does not wait.
    pub fn send_subscribe(&mut self, id: u16, filter: impl AsRef<[u8]>, options: u8) {
        let bytes = build::subscribe(self.version, id, &Props::new(), &[(filter.as_ref(), options)]);
        self.send(&bytes);
    }

    /// Unsubscribes from these filters and returns the codes (none in 3.1.1).
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.fresh_id();
        let filters: Vec<&[u8]> = filters.iter().map(|filter| filter.as_bytes()).collect();
        self.send(&build::unsubscribe(self.version, id, &Props::new(), &filters));
        self.await_packet(&format!("UNSUBACK {id}"), |packet| match packet {
            Packet::Unsuback(codes) if codes.id == id => Some(codes.codes.clone()),
            _ => None,
        })
    }

    /// Sends a PUBLISH and does not wait.
    pub fn send_publish(&mut self, publication: &Publication) {
        let bytes = publication.bytes(self.version);
        self.send(&bytes);
    }

    /// Publishes and finishes the exchange; the code of PUBACK or PUBREC, 0 at QoS 0.
    #[track_caller]
    pub fn publish(&mut self, topic: impl AsRef<[u8]>, qos: u8, payload: impl AsRef<[u8]>) -> u8 {
        self.publish_this(Publication::new(topic, payload), qos)
    }

    /// Publishes with RETAIN 1 and finishes the exchange. At QoS 0 it has none: the answer to a PINGREQ shows that the message
    /// before it was taken in.
    #[track_caller]
    pub fn retain(&mut self, topic: impl AsRef<[u8]>, qos: u8, payload: impl AsRef<[u8]>) -> u8 {
        let code = self.publish_this(Publication::new(topic, payload).retain(), qos);
        if qos == 0 {
            self.ping();
        }
        code
    }

    /// Publishes at this QoS with a fresh identifier and finishes the exchange.
    #[track_caller]
    pub fn publish_this(&mut self, publication: Publication, qos: u8) -> u8 {
        let id = if qos == 0 { 0 } else { self.fresh_id() };
        self.send_publish(&publication.qos(qos, id));
        match qos {
            0 => 0,
            1 => self.await_ack(PUBACK, id),
            _ => {
                let code = self.await_ack(PUBREC, id);
                if code < 0x80 {
                    self.send(&build::ack(PUBREL, id, 0));
                    self.await_ack(PUBCOMP, id);
                }
                code
            }
        }
    }

    /// Waits for an acknowledgement; packets before it keep their place.
    #[track_caller]
    pub fn await_ack(&mut self, first: u8, id: u16) -> u8 {
        self.await_packet(&format!("0x{first:02X} for identifier {id}"), |packet| match packet {
            Packet::Ack(ack) if ack.first == first && ack.id == id => Some(ack.code),
            _ => None,
        })
    }

    /// Expects a PUBLISH and acknowledges it completely.
    #[track_caller]
    pub fn receive(&mut self) -> Publish {
        let publish = self.expect_publish();
        self.acknowledge(&publish);
        publish
    }

    /// Expects a PUBLISH with this payload and acknowledges it completely.
    #[track_caller]
    pub fn receive_payload(&mut self, payload: impl AsRef<[u8]>) -> Publish {
        let publish = self.receive();
        if publish.payload != payload.as_ref() {
            self.fail(&format!("payload {:?}, got {publish:?}", String::from_utf8_lossy(payload.as_ref())));
        }
        publish
    }

    /// Acknowledges a delivery as its QoS demands, to the end of the exchange.
    #[track_caller]
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            0 => {}
            1 => self.send(&build::ack(PUBACK, publish.id, 0)),
            _ => {
                self.send(&build::ack(PUBREC, publish.id, 0));
                self.await_ack(PUBREL, publish.id);
                self.send(&build::ack(PUBCOMP, publish.id, 0));
            }
        }
    }

    /// PINGREQ and its answer: all that was sent before has been processed.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&PINGREQ);
        self.await_packet("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
    }

    /// Goes without DISCONNECT, as after a network failure, and waits until the broker has noticed.
    #[track_caller]
    pub fn vanish(mut self) {
        self.finish_writing();
        self.drain_to_close();
    }

    /// DISCONNECT 0x00, then waits until the broker has closed: the session's end has been seen.
    #[track_caller]
    pub fn leave(mut self) {
        self.send(&build::disconnect(self.version, 0));
        self.drain_to_close();
    }

    /// Reads what still comes until the broker closes.
    #[track_caller]
    pub fn drain_to_close(&mut self) {
        let deadline = Instant::now() + CLOSE;
        loop {
            match self.poll(deadline.saturating_duration_since(Instant::now())) {
                Event::Packet(_) => {}
                Event::Closed => return,
                Event::Silence => self.fail("the end of the connection"),
            }
        }
    }
}
