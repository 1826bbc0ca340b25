//! Two clients on two cores that send each other as much as they can.

use super::*;
use crate::metrics::Dropped;
use crate::mqtt::frame::{Split, split};
use crate::mqtt::packet::{Packet, decode};
use crate::mqtt::{PacketId, ProtocolVersion};

/// Messages each of them publishes, and the size of one: more than a core may have waiting.
const COUNT: u16 = 200;
const SIZE: usize = 64 * 1024;

/// A client that publishes as fast as it is read and acknowledged, and acknowledges what it gets.
struct Chatter {
    line: Line,
    topic: &'static str,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    published: u16,
    acknowledged: u16,
    /// PUBLISHs that were written and are not acknowledged, and how many there may be.
    open: u16,
    window: u16,
    got: Vec<u16>,
}

impl Chatter {
    /// With this Receive Maximum, a session that is kept or not, and a subscription to what the other one says.
    fn new(bench: &mut Bench, core: usize, (receive_maximum, expiry_s): (u8, u8)) -> Self {
        let (topic, wanted) = [("zero", "one"), ("one", "zero")][core];
        let mut line = bench.connect_over(core, Layers::Plain);
        line.send(&connect_with(topic, &[0x21, 0, receive_maximum, 0x11, 0, 0, 0, expiry_s]));
        line.send(&subscribe(wanted, 1));
        bench.settle(&[&line]);
        assert!(line.read().windows(2).any(|bytes| bytes == [0x90, 4]), "SUBACK");
        let (published, acknowledged, open, window) = (0, 0, 0, Limits::default().receive_maximum);
        let (unsent, unread, got) = Default::default();
        Self { line, topic, unsent, unread, published, acknowledged, open, window, got }
    }

    fn act(&mut self) {
        self.unread.extend(self.line.read());
        while let Ok(Split::Whole { frame, len }) = split(&self.unread, usize::MAX) {
            match decode(frame, Some(ProtocolVersion::V5)).unwrap() {
                Packet::Publish(publish) => {
                    let number = u16::from_be_bytes([publish.payload[0], publish.payload[1]]);
                    self.got.push(number);
                    let id = publish.packet_id.map_or(0, PacketId::get);
                    self.unsent.extend([&[0x40, 2][..], &id.to_be_bytes()].concat());
                }
                Packet::PubAck(ack) => {
                    assert!(!ack.reason.is_failure());
                    self.acknowledged += 1;
                    self.open -= 1;
                }
                other => panic!("{other:?}"),
            }
            self.unread.drain(..len);
        }
        while self.published < COUNT && self.open < self.window && self.unsent.len() < SIZE {
            self.published += 1;
            self.open += 1;
            let number = self.published.to_be_bytes();
            let body = [&field(self.topic)[..], &number, &[0], &number, &vec![b'x'; SIZE]].concat();
            let length = body.len();
            let digits = [(length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8];
            self.unsent.extend([&[0x32][..], &digits, &body].concat());
        }
        let count = self.line.far.write(&self.unsent).unwrap_or(0);
        self.unsent.drain(..count);
    }

    fn is_done(&self) -> bool {
        self.acknowledged == COUNT && self.got.len() == usize::from(COUNT)
    }
}

fn talk(receive_maximum: u8, expiry_s: u8) {
    let roomy = Bounds { bytes_max: usize::MAX, ..Bounds::default() };
    let limits = Limits { waiting_bytes_max: usize::MAX, ..Limits::default() };
    let mut bench = Bench::new(Memory::instant(roomy), limits, 2 * SIZE);
    let mut both = [0, 1].map(|core| Chatter::new(&mut bench, core, (receive_maximum, expiry_s)));
    // Both cores read their clients, and neither its mail, until neither client is read any more.
    let bound = 20 * usize::from(COUNT);
    for _ in 0..bound {
        if bench.cores.iter().all(|core| core.paused() == 1) {
            break;
        }
        for chatter in &mut both {
            chatter.act();
            let Line { core, slot, .. } = chatter.line;
            let ready = Ready { slot, readable: true, writable: true, read_closed: false };
            let now = bench.now();
            bench.cores[core].turn(&[ready], &mut Vec::new(), now);
        }
    }
    assert_eq!([0, 1].map(|core: usize| bench.cores[core].paused()), [1, 1]);
    for _ in 0..bound {
        if both.iter().all(Chatter::is_done) {
            break;
        }
        for (core, chatter) in both.iter_mut().enumerate() {
            chatter.act();
            bench.turn(core, &[&chatter.line]);
        }
    }
    for chatter in &both {
        let Chatter { published, acknowledged, got, .. } = chatter;
        assert!(
            chatter.is_done(),
            "a stand: {published} published, {acknowledged} acknowledged, {} received",
            got.len()
        );
        assert!(got.iter().copied().eq(1..=COUNT), "in order: {got:?}");
    }
    assert_eq!(bench.count(Metric::MessagesDropped(Dropped::QueueFull)), 0);
}

#[test]
fn two_that_wait_for_each_others_cores_never_come_to_a_stand() {
    for receive_maximum in [1, 20] {
        for expiry_s in [0, 60] {
            talk(receive_maximum, expiry_s);
        }
    }
}
