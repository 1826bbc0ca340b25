//! From what happened to what is counted.

use super::Core;
use crate::metrics::{Closed, Direction, Dropped, Metric, PacketKind, Qos, Reason};
use crate::mqtt::{QoS, ReasonCode};
use crate::session::{DropReason, Ending, Sent};

/// First byte of a PUBLISH without its flags.
const PUBLISH: u8 = 0x30;
use crate::store::Lost;

impl Core {
    pub(super) fn count_packet_in(&mut self, first: u8) {
        self.counters.add(Metric::Packets(PacketKind::of(first), Direction::Received), 1);
    }

    /// What a session put into its client's out buffer.
    pub(super) fn count_sent(&mut self, sent: &Sent) {
        for (qos, count) in (0..).zip(sent.publishes).filter(|(_, count)| *count > 0) {
            self.counters.add(Metric::MessagesDelivered(Qos::of(qos)), u64::from(count));
            self.counters.add(Metric::Packets(PacketKind::of(PUBLISH), Direction::Sent), u64::from(count));
        }
        if sent.any_others {
            for (packet_type, count) in (0..).zip(sent.others).filter(|(_, count)| *count > 0) {
                let kind = PacketKind::of(packet_type << 4);
                self.counters.add(Metric::Packets(kind, Direction::Sent), u64::from(count));
            }
        }
    }

    /// One packet that lies behind the first `before` bytes of a client's out buffer, if there is one.
    pub(super) fn count_behind(&mut self, slot: u32, before: usize) {
        let first = self.clients.get(slot).and_then(|client| client.out.plain().get(before).copied());
        if let Some(first) = first {
            self.counters.add(Metric::Packets(PacketKind::of(first), Direction::Sent), 1);
        }
    }

    pub(super) fn count_message_in(&mut self, qos: QoS) {
        self.counters.add(Metric::MessagesReceived(Qos::of(qos as u8)), 1);
    }

    pub(super) fn count_bytes(&mut self, direction: Direction, bytes: usize) {
        self.counters.add(Metric::Bytes(direction), bytes as u64);
    }

    pub(super) fn count_closed(&mut self, how: Closed) {
        self.counters.add(Metric::ConnectionsClosed(how), 1);
    }

    pub(super) fn count_dropped(&mut self, reason: Dropped, messages: usize) {
        self.counters.add(Metric::MessagesDropped(reason), messages as u64);
    }

    /// Counts what the store has dropped since it was asked last.
    pub(super) fn count_store_lost(&mut self, lost: Lost) {
        let before = std::mem::replace(&mut self.store_lost, lost);
        let mut count = |reason, now: u64, before| {
            self.counters.add(Metric::MessagesDropped(reason), now.saturating_sub(before));
        };
        count(Dropped::QueueFull, lost.queue_full, before.queue_full);
        count(Dropped::SessionEnded, lost.session_ended, before.session_ended);
        count(Dropped::Expired, lost.expired, before.expired);
        count(Dropped::TooOld, lost.too_old, before.too_old);
        count(Dropped::Unwritten, lost.unwritten, before.unwritten);
    }

    pub(super) fn count_refused(&mut self, reason: ReasonCode) {
        self.counters.add(Metric::ConnectsRefused(Reason::of(reason as u8)), 1);
        self.count_closed(Closed::Refused);
    }

    pub(super) fn count_ending(&mut self, how: &Ending) {
        self.count_closed(match how {
            Ending::ByClient { .. } => Closed::ByClient,
            Ending::Violation(_) => Closed::Violation,
            Ending::Lost => Closed::Lost,
            Ending::KeepAlive => Closed::KeepAlive,
            Ending::TakenOver { .. } => Closed::TakenOver,
            Ending::ByServer(ReasonCode::ServerShuttingDown) => Closed::Shutdown,
            Ending::ByServer(_) => Closed::ByServer,
        });
        if let Ending::Violation(violation) = how {
            self.counters.add(Metric::ProtocolViolations(Reason::of(violation.reason as u8)), 1);
        }
    }
}

/// What a session's reason is called on the metrics page.
pub(super) fn counted_as(reason: DropReason) -> Dropped {
    match reason {
        DropReason::Expired => Dropped::Expired,
        DropReason::TooLarge => Dropped::TooLarge,
        DropReason::SlowConsumer => Dropped::SlowConsumer,
        DropReason::QueueFull => Dropped::QueueFull,
        DropReason::NotAuthorized => Dropped::NotAuthorized,
        DropReason::PublishNotAuthorized => Dropped::PublishNotAuthorized,
        DropReason::SessionEnded => Dropped::SessionEnded,
    }
}
