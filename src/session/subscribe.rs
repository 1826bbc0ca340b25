//! SUBSCRIBE and UNSUBSCRIBE.

use super::effect::{Desk, Effect, Ending, Owed, Taken, Wanted};
use super::{Options, Session, broken};
use crate::access::Permissions;
use crate::mqtt::{Outgoing, PacketId, ReasonCode, Subscribe, Subscription, Unsubscribe};
use crate::topic::filter::TopicFilter;

/// How many more filters of a SUBSCRIBE may be granted.
struct Room {
    /// Of those the session does not have yet.
    new: usize,
    /// Of any: however many a packet names, and however often the same, no more than a session may have.
    any: usize,
}

impl Room {
    /// Takes room for one filter, `new` being 1 if the session does not have it.
    fn take(&mut self, new: usize) -> Option<()> {
        (self.new, self.any) = (self.new.checked_sub(new)?, self.any.checked_sub(1)?);
        Some(())
    }
}

impl Session {
    pub(super) fn handle_subscribe(
        &mut self,
        packet: Subscribe,
        may: &Permissions,
        desk: &mut Desk<'_>,
    ) -> Result<(), Ending> {
        let mut wanted = Vec::with_capacity(packet.subscriptions.len());
        let max = self.limits.subscriptions_max;
        let mut room = Room { new: max.saturating_sub(self.subscriptions.len()), any: max };
        for one in packet.subscriptions {
            let verdict = self.judge_filter(&one, &mut room, may)?;
            let verdict = verdict.map(|()| Options {
                qos: one.qos,
                no_local: one.no_local,
                retain_as_published: one.retain_as_published,
                subscription_id: packet.subscription_id,
            });
            wanted.push(Wanted { filter: one.filter, verdict, retain_handling: one.retain_handling });
        }
        desk.effects.push(Effect::Subscribe { packet_id: packet.packet_id, wanted });
        Ok(())
    }

    /// Each filter gets its own answer [MQTT-3.8.4-6]; `Err` is for what ends the connection.
    fn judge_filter(
        &self,
        wanted: &Subscription,
        room: &mut Room,
        may: &Permissions,
    ) -> Result<Result<(), ReasonCode>, Ending> {
        let limits = &self.limits;
        let filter = match TopicFilter::parse(&wanted.filter, limits.topic_levels_max) {
            Ok(filter) if wanted.filter.len() <= limits.topic_bytes_max => filter,
            // 3.1.1 has no code for a filter that is none: the connection is closed [MQTT3-4.8.0-1].
            Err(invalid) if !self.peer.version.is_v5() => {
                return broken(ReasonCode::TopicFilterInvalid, invalid.statement);
            }
            _ => return Ok(Err(ReasonCode::TopicFilterInvalid)),
        };
        if filter.share.is_some() && wanted.no_local {
            return broken(ReasonCode::ProtocolError, "MQTT-3.8.3-4");
        }
        if !may.may_subscribe(filter.filter) {
            return Ok(Err(ReasonCode::NotAuthorized));
        }
        let new = usize::from(!self.subscriptions.contains(&wanted.filter));
        Ok(room.take(new).ok_or(ReasonCode::QuotaExceeded))
    }

    /// The broker made the wanted subscriptions: remembers them, and says what is owed.
    pub fn handle_subscribed(&mut self, packet_id: PacketId, taken: Vec<Taken>) -> Owed {
        for one in &taken {
            self.retained_owed = self.retained_owed.saturating_add(one.retained.len());
            if let Some((filter, _)) = &one.subscription {
                self.subscriptions.insert(filter);
            }
        }
        Owed::Subscribed { packet_id, taken }
    }

    /// SUBACK [MQTT-3.8.4-1], and behind it the retained messages.
    pub(super) fn put_suback(&self, packet_id: PacketId, taken: &[Taken], desk: &mut Desk<'_>) {
        let codes: Vec<ReasonCode> = taken.iter().map(|one| one.code).collect();
        let reason_string = codes.iter().find_map(|code| match code {
            ReasonCode::TopicFilterInvalid => Some("a Topic Filter is invalid, too long or has too many levels"),
            ReasonCode::NotAuthorized => Some("not allowed to subscribe to a Topic Filter"),
            ReasonCode::QuotaExceeded => Some("too many subscriptions"),
            _ => None,
        });
        self.put(&Outgoing::SubAck { packet_id, codes, reason_string }, desk);
    }

    pub(super) fn handle_unsubscribe(&self, packet: Unsubscribe, desk: &mut Desk<'_>) -> Result<(), Ending> {
        if !self.peer.version.is_v5() {
            let levels_max = self.limits.topic_levels_max;
            let invalid = packet.filters.iter().find_map(|filter| TopicFilter::parse(filter, levels_max).err());
            if let Some(invalid) = invalid {
                return broken(ReasonCode::TopicFilterInvalid, invalid.statement);
            }
        }
        desk.effects.push(Effect::Unsubscribe { packet_id: packet.packet_id, filters: packet.filters });
        Ok(())
    }

    /// The broker ended these subscriptions (`codes` per filter): forgets them, and says what is owed.
    pub fn handle_unsubscribed(&mut self, packet_id: PacketId, filters: Vec<Box<str>>, codes: Vec<ReasonCode>) -> Owed {
        for filter in &filters {
            self.subscriptions.remove(filter);
        }
        Owed::Unsubscribed { packet_id, filters, codes }
    }
}
