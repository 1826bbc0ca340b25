//! From what the store kept to seats, subscriptions, retained messages and deadlines, before anybody is listened to.

use std::collections::HashMap;
use std::sync::Arc;

use super::Broker;
use super::index::Interest;
use super::later::Due;
use super::seat::Seat;
use crate::clock::Now;
use crate::identity::{ClientId, SessionId};
use crate::message::Message;
use crate::session::{RESERVED, SavedSubscription};
use crate::store::{Record, SessionRecord};
use crate::topic::filter::TopicFilter;

/// A session, its subscriptions, and when it ends.
type Found = (SessionRecord, Vec<SavedSubscription>, Option<u64>);

impl Broker {
    /// Takes over everything the store has. Called once, before the cores start. Says how many sessions there are.
    pub fn recover(&self, now: Now) -> usize {
        let mut found = self.store.recover();
        self.recover_retained(found.retained, now);
        self.directory.reserve(found.last_session);
        self.end_older(&mut found.sessions);
        let sessions = found.sessions.len();
        let mut wills: HashMap<_, _> = found.wills.into_iter().collect();
        for (record, subscriptions, ends_wall_ms) in found.sessions {
            let (will, owner) = (wills.remove(&record.session), record.owner.clone());
            let seat = self.recover_session(record, &subscriptions, ends_wall_ms, now);
            if let Some(will) = will {
                let at = now.moment.plus_ms(will.due_wall_ms.saturating_sub(now.wall_ms));
                self.later.add(at, Due::Will { seat, owner, will });
            }
        }
        sessions
    }

    /// What has expired is gone; and the broker's own figures of an earlier version are none of this process.
    fn recover_retained(&self, messages: Vec<Arc<Message>>, now: Now) {
        let mut gone = Vec::new();
        for message in messages {
            if message.expired_by(now.moment) || message.topic().starts_with(RESERVED) {
                gone.push(Record::Unretain(message.topic().into()));
            } else {
                self.retained.load(message);
            }
        }
        self.append(gone, self.store.level());
    }

    /// Of two sessions of one client the newer counts: it began because the other had ended, and the end of that was refused by the
    /// store when it had no space. It is made up for now; its will was published then.
    fn end_older(&self, sessions: &mut Vec<Found>) {
        let mut newest: HashMap<ClientId, SessionId> = HashMap::with_capacity(sessions.len());
        for (record, ..) in sessions.iter() {
            let known = newest.entry(record.client.clone()).or_insert(record.session);
            *known = record.session.max(*known);
        }
        let is_newest = |(record, ..): &Found| newest.get(&record.client) == Some(&record.session);
        let older = sessions.extract_if(.., |found| !is_newest(found));
        for (record, ..) in older {
            self.append_end(record.session, self.store.level());
        }
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
        // One that never expires may have been ended all the same: by a clean start, whose client has been told.
        if expiry_s == u32::MAX && ends_wall_ms.is_none() {
            return seat;
        }
        let ends_wall_ms = ends_wall_ms.unwrap_or_else(|| {
            // Its client was connected to the end: it left with the process that ended [MQTT-3.1.2-23].
            let ends_wall_ms = now.wall_ms.saturating_add(u64::from(expiry_s) * 1000);
            self.store.append(vec![Record::Leave { session, ends_wall_ms: Some(ends_wall_ms) }]);
            ends_wall_ms
        });
        let at = now.moment.plus_ms(ends_wall_ms.saturating_sub(now.wall_ms));
        self.later.add(at, Due::SessionEnds { seat: Arc::clone(&seat) });
        if ends_wall_ms <= now.wall_ms {
            // Nobody comes back to a session whose time was over before this start.
            self.directory.remove(&seat);
        }
        seat
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::directory::{Claim, Directory, Room, Wish};
    use crate::broker::index::Index;
    use crate::broker::later::Later;
    use crate::broker::plan::Plan;
    use crate::broker::repair::Repairs;
    use crate::broker::retain::Retained;
    use crate::broker::route::Routing;
    use crate::broker::seat::Address;
    use crate::clock::Moment;
    use crate::identity::Origin;
    use crate::message::Parts;
    use crate::mqtt::{QoS, Will};
    use crate::session::Options;
    use crate::store::memory::Memory;
    use crate::store::record::LaterWill;
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
            repairs: Repairs::default(),
            store: Arc::new(store),
            levels: Levels::default(),
        }
    }

    fn session(number: u64, expiry_s: u32) -> Record {
        let client = ClientId::new(&format!("client{number}"));
        Record::Open(SessionRecord { session: SessionId(number), client, owner: None, expiry_s })
    }

    fn retained(topic: &str, expiry_s: Option<u32>) -> Record {
        let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
        let parts = Parts { topic, properties: &[], payload: b"x", qos, retain: true, expiry_s, origin };
        Record::Retain(Arc::new(Message::new(parts, now(0))))
    }

    fn topics(messages: &[Arc<Message>]) -> Vec<&str> {
        messages.iter().map(|message| message.topic()).collect()
    }

    #[test]
    fn figures_of_an_earlier_process_do_not_come_back() {
        let broker = broker(vec![retained("$SYS/broker/uptime", None), retained("$SYSTEM", None)]);
        broker.recover(now(0));
        assert_eq!(broker.retained.count(), 1);
        assert_eq!(topics(&broker.store.recover().retained), ["$SYSTEM"]);
    }

    #[test]
    fn mqtt_3_3_2_5_a_retained_message_that_expired_meanwhile_is_not_loaded_and_leaves_the_store() {
        let broker = broker(vec![retained("short", Some(2)), retained("long", Some(3))]);
        broker.recover(now(2_000));
        assert_eq!(broker.retained.count(), 1);
        assert_eq!(topics(&broker.store.recover().retained), ["long"]);
    }

    fn ended(broker: &Broker, ms: u64) -> Vec<SessionId> {
        let due = broker.later.due(Moment::from_ms(ms));
        due.iter()
            .map(|due| if let Due::SessionEnds { seat } = due { seat.session } else { panic!("a will") })
            .collect()
    }

    #[test]
    fn mqtt3_3_1_2_6_nobody_comes_back_to_a_session_that_was_over_before_the_start() {
        // One of 3.1.1 never expires. A Clean Session has ended it, and its subscriptions were not read before the process ended.
        for expiry_s in [1, u32::MAX] {
            let over = Record::Leave { session: SessionId(4), ends_wall_ms: Some(5) };
            let broker = broker(vec![session(4, expiry_s), over]);
            broker.recover(now(2_000));
            let address = Address { core: 0, slot: 1, generation: 1 };
            let client = &ClientId::new("client4");
            let wish = Wish { client, owner: None, clean_start: false, durable: true, room: Room::Needed };
            let claim = broker.directory.claim(wish, address);
            assert!(matches!(claim, Claim::Fresh(_)), "{claim:?}");
            assert_eq!(ended(&broker, 2_000), [SessionId(4)]);
        }
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
    fn of_two_sessions_of_one_client_the_newer_counts_and_the_other_is_ended() {
        let mut old = session(3, u32::MAX);
        let Record::Open(record) = &mut old else { panic!("not a session") };
        record.client = ClientId::new("client7");
        let options =
            Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: None };
        let subscription = |session, filter: &str| {
            Record::Subscribe(SessionId(session), SavedSubscription { filter: Arc::from(filter), options })
        };
        let will = Will {
            topic: "w".into(),
            payload: "".into(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_s: 2,
            expiry_s: None,
            properties: "".into(),
        };
        let will = Record::Will { session: SessionId(3), will: Box::new(LaterWill { will, due_wall_ms: 0 }) };
        let records = vec![old, subscription(3, "old"), will, session(7, u32::MAX), subscription(7, "new")];
        let broker = broker(records);
        assert_eq!(broker.recover(now(0)), 1);
        assert_eq!((broker.directory.len(), broker.index.subscriptions()), (1, 1));
        assert!(broker.later.due(Moment::from_ms(u64::MAX)).is_empty(), "its will was published when it ended");
        let address = Address { core: 0, slot: 1, generation: 1 };
        let claim = broker.directory.claim(
            Wish {
                client: &ClientId::new("client7"),
                owner: None,
                clean_start: false,
                durable: true,
                room: Room::Needed,
            },
            address,
        );
        assert!(matches!(claim, Claim::Resumed(seat) if seat.session == SessionId(7)));
        let left: Vec<_> = broker.store.recover().sessions.iter().map(|(record, ..)| record.session).collect();
        assert_eq!(left, [SessionId(7)]);
    }

    #[test]
    fn mqtt_3_1_2_4_of_a_session_that_a_clean_start_had_replaced_nothing_is_left() {
        let opens = |number| {
            let client = ClientId::new("c");
            Record::Open(SessionRecord { session: SessionId(number), client, owner: None, expiry_s: u32::MAX })
        };
        let options =
            Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: None };
        let subscription = SavedSubscription { filter: Arc::from("a"), options };
        let broker = broker(vec![opens(1), Record::Subscribe(SessionId(1), subscription), opens(2)]);
        assert_eq!(broker.recover(now(0)), 1);
        assert_eq!((broker.directory.len(), broker.index.subscriptions()), (1, 0));
        let kept = broker.store.recover().sessions;
        assert!(matches!(&kept[..], [(record, ..)] if record.session == SessionId(2)), "{kept:?}");
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
        let claim = |client: &str| {
            let client = &ClientId::new(client);
            let wish = Wish { client, owner: None, clean_start: false, durable: true, room: Room::Needed };
            broker.directory.claim(wish, address)
        };
        let claimed = claim("another");
        assert!(matches!(claimed, Claim::Fresh(seat) if seat.session > SessionId(5)));
        let claimed = claim("client5");
        assert!(matches!(claimed, Claim::Resumed(seat) if seat.session == SessionId(5)));
    }
}
