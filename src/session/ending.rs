//! The end of a connection: what is said last, and what is left.

use super::Session;
use super::effect::{Ending, Farewell};
use super::inflight::{Exchange, Progress};
use super::saved::Change;
use crate::identity::Ticket;
use crate::mqtt::ReasonCode;

impl Session {
    /// The connection is over. What has to be done now comes out; the session does not survive it.
    pub fn end(self, how: &Ending) -> Farewell {
        let session_expiry_s = self.life_after(how);
        let lives = session_expiry_s > 0;
        let lost = |exchange: &&Exchange| exchange.ticket == Ticket::NONE && exchange.message.is_some();
        let lost_messages = if lives {
            self.feed.only_here().saturating_add(self.inflight.iter().filter(lost).count())
        } else {
            let under_way = self.inflight.iter().filter(|exchange| exchange.message.is_some()).count();
            self.feed.len().saturating_add(under_way)
        };
        Farewell {
            disconnect: self.last_words(how),
            session_expiry_s,
            changes: if lives { self.unfinished() } else { Vec::new() },
            will: self.will.filter(|_| publishes_will(how)).map(|will| *will),
            subscriptions: self.subscriptions.into_vec(),
            lost_messages,
        }
    }

    /// DISCONNECT of the server, 5.0 only [MQTT-4.13.1-1].
    fn last_words(&self, how: &Ending) -> Option<ReasonCode> {
        let reason = match how {
            Ending::ByClient { .. } | Ending::Lost => None,
            Ending::Violation(violation) => Some(violation.reason),
            Ending::KeepAlive => Some(ReasonCode::KeepAliveTimeout),
            Ending::TakenOver { .. } => Some(ReasonCode::SessionTakenOver),
            Ending::ByServer(reason) => Some(*reason),
        };
        reason.filter(|_| self.peer.version.is_v5())
    }

    /// Seconds the session lives on [MQTT-3.1.2-23].
    fn life_after(&self, how: &Ending) -> u32 {
        match how {
            Ending::TakenOver { clean_start: true } => 0,
            Ending::ByClient { session_expiry_s: Some(wish), .. } => {
                if self.limits.session_expiry_s_max == u32::MAX {
                    *wish
                } else {
                    (*wish).min(self.limits.session_expiry_s_max)
                }
            }
            _ => self.session_expiry_s,
        }
    }

    /// Identifiers under which QoS 1 and 2 messages went out and were not acknowledged, in order: they are used again on resume
    /// [MQTT-4.4.0-1]. Those of QoS 1 are saved only here: as long as the connection lasts nobody else needs them, and after a
    /// crash the message goes out under a new one.
    fn unfinished(&self) -> Vec<Change> {
        // Those whose identifier is only being saved stand between them.
        let begun = [Progress::Saving, Progress::Published, Progress::Repeat];
        let sent = |exchange: &&Exchange| begun.contains(&exchange.progress);
        let stored = self.inflight.iter().filter(|exchange| exchange.ticket != Ticket::NONE).filter(sent);
        stored.map(|&Exchange { ticket, packet_id, qos, .. }| Change::Sent { ticket, packet_id, qos }).collect()
    }
}

/// DISCONNECT 0x00 deletes the will; any other end publishes it [MQTT-3.14.4-3] [MQTT-3.1.2-8].
fn publishes_will(how: &Ending) -> bool {
    !matches!(how, Ending::ByClient { reason: ReasonCode::Success, .. })
}
