//! From what the store kept to seats, subscriptions, retained messages and deadlines, before anybody is listened to.

use std::collections::HashMap;
use std::sync::Arc;

use super::Broker;
use super::index::Interest;
use super::later::Due;
use super::seat::Seat;
use crate::clock::Now;
use crate::session::SavedSubscription;
use crate::store::record::LaterWill;
use crate::store::{Record, SessionRecord};
use crate::topic::filter::TopicFilter;

impl Broker {
    /// Takes over everything the store has. Called once, before the cores start. Says how many sessions there are.
    pub fn recover(&self, now: Now) -> usize {
        let found = self.store.recover();
        for message in found.retained {
            self.retained.load(message);
        }
        let sessions = found.sessions.len();
        let mut wills: HashMap<_, _> = found.wills.into_iter().collect();
        for (record, subscriptions, ends_wall_ms) in found.sessions {
            let will = wills.remove(&record.session);
            let seat = self.recover_session(record, &subscriptions, ends_wall_ms, now);
            if let Some(LaterWill { will, due_wall_ms }) = will {
                let at = now.moment.plus_ms(due_wall_ms.saturating_sub(now.wall_ms));
                self.later.add(at, Due::Will { seat, will });
            }
        }
        sessions
    }

    fn recover_session(
        &self,
        record: SessionRecord,
        subscriptions: &[SavedSubscription],
        ends_wall_ms: Option<u64>,
        now: Now,
    ) -> Arc<Seat> {
        let SessionRecord { session, client, owner, expiry_s } = record;
        let seat = self.directory.insert_recovered(session, client, owner);
        for subscription in subscriptions {
            if let Ok(filter) = TopicFilter::parse(&subscription.filter, usize::MAX) {
                self.index.subscribe(&filter, &seat, Interest::from(subscription.options));
            }
        }
        if expiry_s == u32::MAX {
            return seat; // it never ends
        }
        let ends_wall_ms = ends_wall_ms.unwrap_or_else(|| {
            // Its client was connected to the end: it left with the process that ended [MQTT-3.1.2-23].
            let ends_wall_ms = now.wall_ms.saturating_add(u64::from(expiry_s) * 1000);
            self.store.append(vec![Record::Leave { session, ends_wall_ms: Some(ends_wall_ms) }]);
            ends_wall_ms
        });
        let at = now.moment.plus_ms(ends_wall_ms.saturating_sub(now.wall_ms));
        self.later.add(at, Due::SessionEnds { seat: Arc::clone(&seat) });
        seat
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::directory::{Claim, Directory};
    use crate::broker::index::Index;
    use crate::broker::later::Later;
    use crate::broker::plan::Plan;
    use crate::broker::retain::Retained;
    use crate::broker::route::Routing;
    use crate::broker::seat::Address;
    use crate::clock::Moment;
    use crate::identity::{ClientId, Origin, SessionId};
    use crate::message::{Message, Parts};
    use crate::mqtt::QoS;
    use crate::session::Options;
    use crate::store::memory::Memory;
    use crate::store::{Bounds, Levels, Store};

    fn now(ms: u64) -> Now {
        Now { moment: Moment::from_ms(ms), wall_ms: 1_000_000 + ms }
    }

    fn broker(records: Vec<Record>) -> Broker {
        let store = Memory::instant(Bounds::default());
        store.append(records);
        Broker {
            index: Index::new(),
            retained: Retained::default(),
            directory: Directory::new(),
            later: Later::new(),
            store: Arc::new(store),
            levels: Levels::default(),
        }
    }

    fn session(number: u64, expiry_s: u32) -> Record {
        let client = ClientId::new(&format!("client{number}"));
        Record::Open(SessionRecord { session: SessionId(number), client, owner: None, expiry_s })
    }

    fn ended(broker: &Broker, ms: u64) -> Vec<SessionId> {
        let due = broker.later.due(Moment::from_ms(ms));
        due.iter()
            .map(|due| if let Due::SessionEnds { seat } = due { seat.session } else { panic!("a will") })
            .collect()
    }

    #[test]
    fn sessions_end_when_they_were_to_end_and_the_connected_ones_as_if_they_left_now() {
        let left = |number, at| Record::Leave { session: SessionId(number), ends_wall_ms: at };
        let records = vec![session(1, 10), left(1, Some(1_003_000)), session(2, 10), session(3, u32::MAX)];
        let broker = broker([records, vec![left(3, None), session(4, 1), left(4, Some(5))]].concat());
        assert_eq!(broker.recover(now(2_000)), 4);
        assert_eq!(ended(&broker, 2_000), [SessionId(4)], "its end passed while nobody was here");
        assert_eq!(ended(&broker, 3_000), [SessionId(1)]);
        assert_eq!(ended(&broker, 11_999), []);
        assert_eq!(ended(&broker, 12_000), [SessionId(2)]);
        assert_eq!(ended(&broker, u64::MAX), []);
        assert_eq!(broker.store.recover().sessions[1].2, Some(1_012_000), "a second start does not begin anew");
    }

    #[test]
    fn mqtt_3_1_2_5_a_recovered_session_gets_messages_and_its_number_is_not_given_out_again() {
        let options =
            Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: Some(7) };
        let subscription = SavedSubscription { filter: Arc::from("a/+"), options };
        let broker = broker(vec![session(5, u32::MAX), Record::Subscribe(SessionId(5), subscription)]);
        broker.recover(now(0));
        let parts = Parts {
            topic: "a/b",
            properties: &[],
            payload: b"x",
            qos: QoS::ExactlyOnce,
            retain: false,
            expiry_s: None,
            origin: Origin::default(),
        };
        let mut plan = Plan::new(1);
        broker.route(&Message::new(parts, now(0)), &mut Routing::default(), &mut plan);
        let [recipient] = &plan.recipients[..] else { panic!("one recipient, not {:?}", plan.recipients) };
        assert_eq!((recipient.session, recipient.qos), (SessionId(5), QoS::AtLeastOnce));
        assert_eq!(recipient.subscription_ids, [7]);
        let address = Address { core: 0, slot: 1, generation: 1 };
        let claim = broker.directory.claim(&ClientId::new("another"), None, address, true, true);
        assert!(matches!(claim, Claim::Fresh(seat) if seat.session > SessionId(5)));
        let claim = broker.directory.claim(&ClientId::new("client5"), None, address, false, true);
        assert!(matches!(claim, Claim::Resumed(seat) if seat.session == SessionId(5)));
    }
}
