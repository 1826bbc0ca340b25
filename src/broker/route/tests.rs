use std::sync::Arc;

use super::*;
use crate::broker::{directory::Directory, index::Index, later::Later, repair::Repairs, retain::Retained};
use crate::clock::Now;
use crate::identity::{ClientId, Origin};
use crate::message::Parts;
use crate::mqtt::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use crate::store::memory::Memory;
use crate::store::{Bounds, Levels};
use crate::topic::filter::TopicFilter;

fn broker() -> Broker {
    Broker {
        index: Index::new(),
        retained: Retained::default(),
        directory: Directory::new(),
        later: Later::new(),
        repairs: Repairs::default(),
        store: Arc::new(Memory::instant(Bounds::default())),
        levels: Levels::default(),
    }
}

/// A session's seat; connected at a slot of its number if `core` is given.
fn seat(number: u32, core: Option<u8>, durable: bool) -> Arc<Seat> {
    let seat = Seat::new(SessionId(number.into()), ClientId::new("c"), Origin(number.into()), durable);
    if let Some(core) = core {
        assert!(seat.claim(Address { core, slot: number, generation: 1 }));
    }
    seat
}

fn plain(qos: QoS, subscription_id: u32) -> Interest {
    Interest { qos, no_local: false, retain_as_published: false, subscription_id }
}

impl Broker {
    fn wants(&self, filter: &str, seat: &Arc<Seat>, interest: Interest) {
        self.index.subscribe(&TopicFilter::parse(filter, 128).unwrap(), seat, interest);
    }

    fn plan(&self, topic: &str, qos: QoS, retain: bool, publisher: u64) -> Plan {
        let origin = Origin(publisher);
        let parts = Parts { topic, properties: &[], payload: b"x", qos, retain, expiry_s: None, origin };
        let mut plan = Plan::new(2);
        self.route(&Message::new(parts, Now::default()), &mut Routing::default(), &mut plan);
        Plan::seat_stored(&mut plan.stored, &mut plan.by_core);
        plan
    }
}

/// Slot, QoS and sorted Subscription Identifiers of each target, sorted.
fn targets(plan: &Plan) -> Vec<(u32, QoS, Vec<u32>)> {
    let shown = |target: &Target| {
        let mut ids = target.subscription_ids.to_vec();
        ids.sort_unstable();
        (target.slot, target.qos, ids)
    };
    let mut targets: Vec<_> = plan.by_core.iter().flatten().map(shown).collect();
    targets.sort();
    targets
}

#[test]
fn mqtt_3_3_4_2_overlapping_subscriptions_become_one_copy_at_the_highest_qos() {
    let (broker, one, two) = (broker(), seat(1, Some(0), false), seat(2, Some(1), false));
    broker.wants("a/b", &one, plain(AtMostOnce, 0));
    broker.wants("a/+", &two, plain(AtMostOnce, 0));
    broker.wants("a/#", &one, plain(ExactlyOnce, 0));
    broker.wants("#", &one, plain(AtLeastOnce, 0));
    let plan = broker.plan("a/b", ExactlyOnce, false, 9);
    assert_eq!(targets(&plan), [(1, ExactlyOnce, vec![]), (2, AtMostOnce, vec![])]);
    assert_eq!((plan.by_core[0].len(), plan.by_core[1].len(), plan.matched), (1, 1, 2));
}

#[test]
fn mqtt_3_3_4_4_the_one_copy_has_all_subscription_identifiers() {
    let (broker, one, two) = (broker(), seat(1, Some(0), true), seat(2, Some(0), true));
    for (n, filter) in ["a/b", "a/+", "a/#", "#", "+/b"].iter().enumerate() {
        broker.wants(filter, &one, plain(AtLeastOnce, n as u32));
    }
    broker.wants("a/b", &two, plain(AtLeastOnce, 7));
    let plan = broker.plan("a/b", AtLeastOnce, false, 9);
    assert_eq!(targets(&plan), [(1, AtLeastOnce, vec![1, 2, 3, 4]), (2, AtLeastOnce, vec![7])]);
    let mut stored: Vec<_> = plan.recipients.iter().map(|to| (to.session.0, to.subscription_ids.len())).collect();
    stored.sort_unstable();
    assert_eq!(stored, [(1, 4), (2, 1)], "the queue gets the same");
}

#[test]
fn mqtt_3_8_3_3_with_no_local_nothing_comes_back_to_its_publisher() {
    let (broker, one, two) = (broker(), seat(1, Some(0), false), seat(2, Some(0), false));
    let no_local = Interest { no_local: true, ..plain(AtLeastOnce, 3) };
    broker.wants("t", &one, no_local);
    broker.wants("t", &two, no_local);
    assert_eq!(targets(&broker.plan("t", AtLeastOnce, false, 1)), [(2, AtLeastOnce, vec![3])]);
    assert_eq!(broker.plan("t", AtLeastOnce, false, 9).matched, 2);
    // A second subscription without No Local stands for itself.
    broker.wants("+", &one, plain(AtMostOnce, 4));
    let plan = broker.plan("t", AtLeastOnce, false, 1);
    assert_eq!(targets(&plan), [(1, AtMostOnce, vec![4]), (2, AtLeastOnce, vec![3])]);
}

#[test]
fn mqtt_4_8_2_3_a_shared_copy_is_its_own_beside_the_sessions_other_copy() {
    let (broker, one) = (broker(), seat(1, Some(0), false));
    broker.wants("$share/g/a/b", &one, plain(AtMostOnce, 1));
    broker.wants("$share/h/a/+", &one, plain(AtLeastOnce, 2));
    broker.wants("a/b", &one, plain(ExactlyOnce, 3));
    broker.wants("a/#", &one, plain(AtMostOnce, 4));
    let plan = broker.plan("a/b", ExactlyOnce, false, 9);
    let wanted = [(1, AtMostOnce, vec![1]), (1, AtLeastOnce, vec![2]), (1, ExactlyOnce, vec![3, 4])];
    assert_eq!(targets(&plan), wanted);
}

#[test]
fn mqtt_3_3_1_12_and_13_retain_is_kept_only_as_published() {
    let (broker, one, two) = (broker(), seat(1, Some(0), false), seat(2, Some(0), false));
    broker.wants("t", &one, Interest { retain_as_published: true, ..plain(AtMostOnce, 0) });
    broker.wants("t", &two, plain(AtMostOnce, 0));
    for retain in [true, false] {
        let plan = broker.plan("t", AtMostOnce, retain, 9);
        let kept = |slot| plan.by_core[0].iter().find(|target| target.slot == slot).map(|target| target.retain);
        assert_eq!((kept(1), kept(2)), (Some(retain), Some(false)));
    }
}

#[test]
fn mqtt_3_8_4_8_the_lower_of_published_and_granted_qos_counts() {
    for granted in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        for published in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let (broker, one) = (broker(), seat(1, Some(0), true));
            broker.wants("t", &one, plain(granted, 0));
            let plan = broker.plan("t", published, false, 9);
            let lower = granted.min(published);
            assert_eq!(targets(&plan), [(1, lower, vec![])]);
            assert_eq!(plan.by_core[0][0].stored, lower > AtMostOnce);
            assert_eq!(plan.recipients.len(), usize::from(lower > AtMostOnce));
        }
    }
}

#[test]
fn who_is_away_finds_it_in_the_queue_or_is_counted_as_absent() {
    let (broker, keeps, forgets) = (broker(), seat(1, None, true), seat(2, None, false));
    broker.wants("t", &keeps, plain(AtLeastOnce, 0));
    broker.wants("t", &forgets, plain(AtLeastOnce, 0));
    let plan = broker.plan("t", ExactlyOnce, false, 9);
    assert_eq!((plan.recipients.len(), plan.absent, plan.matched), (1, 1, 2));
    assert_eq!((plan.recipients[0].session, plan.recipients[0].qos), (SessionId(1), AtLeastOnce));
    assert_eq!(broker.plan("t", AtMostOnce, false, 9).absent, 2);
    assert_eq!(broker.plan("other", AtMostOnce, false, 9).matched, 0);
}
