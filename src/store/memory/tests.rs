use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use super::*;
use crate::identity::{ClientId, Origin};
use crate::message::{Message, Parts};
use crate::mqtt::{PacketId, QoS};
use crate::session::{Change, Options, OutState, SavedSubscription};
use crate::store::{Publisher, Recipient, SessionRecord, WhenFull};

const ONE: SessionId = SessionId(1);
/// In the same shard as the first.
const OTHER: SessionId = SessionId(65);

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn message(payload: &str) -> Arc<Message> {
    let parts = Parts {
        topic: "t",
        properties: &[],
        payload: payload.as_bytes(),
        qos: QoS::ExactlyOnce,
        retain: false,
        expiry_s: None,
        origin: Origin::default(),
    };
    Arc::new(Message::new(parts, Now::default()))
}

fn open(session: SessionId) -> Record {
    let client = ClientId::new(&format!("client{}", session.0));
    Record::Open(SessionRecord { session, client, owner: None, expiry_s: 60 })
}

fn to(session: SessionId) -> Recipient {
    Recipient { session, qos: QoS::AtLeastOnce, retain: true, subscription_ids: vec![7] }
}

fn enqueue(payload: &str, sessions: &[SessionId]) -> Record {
    let recipients = sessions.iter().copied().map(to).collect();
    Record::Enqueue { message: message(payload), recipients, publisher: Publisher::CanBeTold }
}

fn subscribe(filter: &str, qos: QoS) -> Record {
    let options = Options { qos, no_local: false, retain_as_published: false, subscription_id: None };
    Record::Subscribe(ONE, SavedSubscription { filter: Arc::from(filter), options })
}

fn load(store: &Memory, session: SessionId) -> Saved {
    let (answer, answered) = mpsc::channel();
    store.load(session, Box::new(move |saved| answer.send(saved).unwrap()));
    answered.try_recv().unwrap()
}

fn page(store: &Memory, session: SessionId, after: Ticket, max: usize) -> Page {
    let (answer, answered) = mpsc::channel();
    store.read_queue(session, after, max, Now::default(), Box::new(move |page| answer.send(page).unwrap()));
    answered.try_recv().unwrap()
}

fn waiting(store: &Memory, session: SessionId) -> Vec<String> {
    let page = page(store, session, Ticket::NONE, usize::MAX);
    page.messages.iter().map(|queued| String::from_utf8(queued.message.payload().to_vec()).unwrap()).collect()
}

/// A store with one session.
fn opened(store: Memory) -> Memory {
    store.append(vec![open(ONE)]);
    store
}

fn instant() -> Memory {
    opened(Memory::instant(Bounds::default()))
}

#[test]
fn a_message_waits_for_each_recipient_as_that_one_gets_it() {
    let store = instant();
    store.append(vec![open(OTHER)]);
    let ticket = store.append(vec![enqueue("x", &[ONE, OTHER, SessionId(9)])]);
    assert_eq!(store.durable(), ticket);
    for session in [ONE, OTHER] {
        let page = page(&store, session, Ticket::NONE, 10);
        let [queued] = &page.messages[..] else { panic!("{page:?}") };
        assert_eq!((queued.ticket, queued.qos, queued.retain), (ticket, QoS::AtLeastOnce, true));
        assert_eq!(queued.subscription_ids, [7]);
        assert_eq!(page.complete_up_to, Some(ticket));
    }
    assert_eq!(waiting(&store, SessionId(9)), [""; 0], "there is no such session");
}

#[test]
fn a_queue_is_read_in_pages_and_its_end_is_told() {
    let store = instant();
    let tickets: Vec<Ticket> = (0..5).map(|n| store.append(vec![enqueue(&n.to_string(), &[ONE])])).collect();
    store.append(vec![Record::Edit(ONE, Change::Sent { ticket: tickets[1], packet_id: id(1), qos: QoS::ExactlyOnce })]);
    let read = |after, max| {
        let page = page(&store, ONE, after, max);
        (page.messages.iter().map(|queued| queued.ticket).collect::<Vec<_>>(), page.complete_up_to)
    };
    let last = store.appended();
    assert_eq!(read(Ticket::NONE, 2), (vec![tickets[0], tickets[2]], None));
    assert_eq!(read(tickets[2], 2), (vec![tickets[3], tickets[4]], Some(last)));
    assert_eq!(read(tickets[4], 2), (vec![], Some(last)));
    assert_eq!(read(Ticket::NONE, 0), (vec![], None));
}

#[test]
fn mqtt_4_4_0_1_unfinished_messages_keep_their_identifiers_and_the_order_of_their_first_sending() {
    let store = instant();
    let tickets: Vec<Ticket> = (0..4).map(|n| store.append(vec![enqueue(&n.to_string(), &[ONE])])).collect();
    let edit = |change| store.append(vec![Record::Edit(ONE, change)]);
    for (at, number) in [(0, 9), (2, 3), (1, 5)] {
        edit(Change::Sent { ticket: tickets[at], packet_id: id(number), qos: QoS::ExactlyOnce });
    }
    edit(Change::Received { ticket: tickets[2] });
    let saved = load(&store, ONE);
    let found: Vec<_> = saved.outgoing.iter().map(|out| (out.packet_id.get(), out.state, out.ticket)).collect();
    assert_eq!(
        found,
        [
            (9, OutState::Published, tickets[0]),
            (5, OutState::Published, tickets[1]),
            (3, OutState::Released, tickets[2])
        ]
    );
    assert_eq!(saved.outgoing[0].message.as_ref().unwrap().payload(), b"0");
    assert_eq!((saved.outgoing[0].qos, saved.outgoing[0].retain), (QoS::AtLeastOnce, true));
    assert_eq!(saved.outgoing[0].subscription_ids, [7]);
    assert_eq!(saved.outgoing[2].message, None, "no PUBLISH any more [MQTT-4.3.3-6]");
    // Said again when the connection ends: the order of saying is the order of sending again.
    edit(Change::Sent { ticket: tickets[0], packet_id: id(9), qos: QoS::ExactlyOnce });
    edit(Change::Done { ticket: tickets[2] });
    edit(Change::Done { ticket: tickets[3] });
    let saved = load(&store, ONE);
    assert_eq!(saved.outgoing.iter().map(|out| out.ticket).collect::<Vec<_>>(), [tickets[1], tickets[0]]);
    assert_eq!(waiting(&store, ONE).len(), 0, "dropped without being sent");
}

#[test]
fn an_identifier_outlives_its_message_where_a_client_may_hold_it() {
    let store =
        opened(Memory::instant(Bounds { messages_max: 2, when_full: WhenFull::DropOldest, ..Bounds::default() }));
    let tickets: Vec<Ticket> = (0..4).map(|n| store.append(vec![enqueue(&n.to_string(), &[ONE])])).collect();
    let edit = |change| store.append(vec![Record::Edit(ONE, change)]);
    for (at, number, qos) in [(0, 1, QoS::ExactlyOnce), (1, 2, QoS::AtLeastOnce), (2, 3, QoS::ExactlyOnce)] {
        edit(Change::Sent { ticket: tickets[at], packet_id: id(number), qos });
    }
    let unfinished = || {
        let saved = load(&store, ONE);
        saved.outgoing.iter().map(|out| (out.packet_id.get(), out.state, out.message.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(
        unfinished(),
        [(1, OutState::SetAside, false), (3, OutState::Published, true)],
        "the queue had dropped two"
    );
    edit(Change::SetAside { ticket: tickets[2] });
    edit(Change::Received { ticket: tickets[0] });
    assert_eq!(unfinished(), [(3, OutState::SetAside, false), (1, OutState::Released, false)]);
    edit(Change::Done { ticket: tickets[2] });
    edit(Change::Done { ticket: tickets[0] });
    assert_eq!((unfinished(), waiting(&store, ONE)), (vec![], vec!["3".to_owned()]));
}

#[test]
fn a_message_that_waits_before_one_that_was_sent_is_not_skipped_on_resume() {
    let store = instant();
    let first = store.append(vec![enqueue("first", &[ONE])]);
    let second = store.append(vec![enqueue("second", &[ONE])]);
    store.append(vec![Record::Edit(ONE, Change::Sent { ticket: second, packet_id: id(1), qos: QoS::ExactlyOnce })]);
    let page = page(&store, ONE, Ticket::NONE, 10);
    assert_eq!(page.messages.iter().map(|queued| queued.ticket).collect::<Vec<_>>(), [first]);
}

#[test]
fn a_read_waits_for_what_was_appended_before_it_and_sees_what_is_durable() {
    let store = opened(Memory::manual(Bounds::default()));
    let first = store.append(vec![enqueue("first", &[ONE])]);
    let (answer, answered) = mpsc::channel();
    store.read_queue(ONE, Ticket::NONE, 9, Now::default(), Box::new(move |page| answer.send(page).unwrap()));
    store.append(vec![enqueue("second", &[ONE])]);
    assert!(answered.try_recv().is_err(), "the first is not durable yet");
    store.commit(first);
    let page = answered.try_recv().unwrap();
    assert_eq!((page.messages.len(), page.complete_up_to), (1, Some(first)));
}

#[test]
fn an_incoming_identifier_is_taken_until_it_is_released() {
    let store = instant();
    let received = |number| Record::Received { session: ONE, packet_id: id(number) };
    store.append(vec![received(4), received(5), received(4)]);
    assert_eq!(load(&store, ONE).received, [id(4), id(5)]);
    store.append(vec![Record::Edit(ONE, Change::Released(id(4)))]);
    assert_eq!(load(&store, ONE).received, [id(5)]);
}

#[test]
fn a_subscription_is_replaced_by_its_filter_and_ended_by_it() {
    let store = instant();
    store.append(vec![subscribe("a", QoS::AtMostOnce), subscribe("b", QoS::AtMostOnce)]);
    store.append(vec![subscribe("a", QoS::ExactlyOnce)]);
    let found = |store: &Memory| -> Vec<_> {
        let saved = load(store, ONE);
        saved.subscriptions.iter().map(|one| (one.filter.to_string(), one.options.qos)).collect()
    };
    assert_eq!(found(&store), [("a".to_owned(), QoS::ExactlyOnce), ("b".to_owned(), QoS::AtMostOnce)]);
    store.append(vec![Record::Unsubscribe(ONE, Arc::from("a"))]);
    assert_eq!(found(&store), [("b".to_owned(), QoS::AtMostOnce)]);
}

#[test]
fn the_end_of_a_session_is_planned_by_leave_called_off_by_open_and_takes_everything() {
    let store = instant();
    let ends = |store: &Memory| store.recover().sessions.first().map(|(record, _, ends)| (record.expiry_s, *ends));
    store.append(vec![
        Record::Edit(ONE, Change::Expiry { expiry_s: 5 }),
        Record::Leave { session: ONE, ends_wall_ms: Some(77) },
    ]);
    assert_eq!(ends(&store), Some((5, Some(77))));
    store.append(vec![open(ONE), subscribe("a", QoS::AtMostOnce), enqueue("x", &[ONE]), enqueue("y", &[ONE])]);
    assert_eq!((ends(&store), waiting(&store, ONE)), (Some((60, None)), vec!["x".to_owned(), "y".to_owned()]));
    store.append(vec![open(ONE)]);
    assert_eq!(waiting(&store, ONE).len(), 2, "what waits is kept for the client that is back");
    store.append(vec![Record::End(ONE)]);
    assert_eq!((ends(&store), load(&store, ONE), waiting(&store, ONE).len()), (None, Saved::default(), 0));
    assert_eq!(store.lost(), Lost { session_ended: 2, ..Lost::default() });
    store.append(vec![Record::Edit(ONE, Change::Expiry { expiry_s: 1 }), enqueue("late", &[ONE])]);
    assert!(store.recover().sessions.is_empty(), "an edit makes no session");
}

#[test]
fn the_last_retained_message_of_a_topic_is_kept() {
    let store = instant();
    store.append(vec![Record::Retain(message("old")), Record::Retain(message("new"))]);
    let retained = store.recover().retained;
    assert_eq!(retained.iter().map(|message| message.payload().to_vec()).collect::<Vec<_>>(), [b"new".to_vec()]);
    store.append(vec![Record::Unretain("t".into())]);
    assert!(store.recover().retained.is_empty());
}

#[test]
fn a_full_queue_drops_the_oldest_that_was_not_sent_and_counts_it() {
    // Topic and payload have two bytes.
    let when_full = WhenFull::DropOldest;
    let by_count = Bounds { messages_max: 2, bytes_max: 100, when_full };
    for bounds in [by_count, Bounds { messages_max: 100, bytes_max: 4, when_full }] {
        let store = opened(Memory::instant(bounds));
        let first = store.append(vec![enqueue("0", &[ONE])]);
        store.append(vec![Record::Edit(ONE, Change::Sent { ticket: first, packet_id: id(1), qos: QoS::ExactlyOnce })]);
        for n in 1..=4 {
            store.append(vec![enqueue(&n.to_string(), &[ONE])]);
        }
        assert_eq!(waiting(&store, ONE), ["3", "4"]);
        assert_eq!(load(&store, ONE).outgoing.len(), 1, "what was sent is not dropped");
        assert_eq!(store.lost(), Lost { queue_full: 2, ..Lost::default() });
    }
    let store = opened(Memory::instant(Bounds { messages_max: 0, bytes_max: 0, when_full }));
    store.append(vec![enqueue("large", &[ONE])]);
    assert_eq!(waiting(&store, ONE), ["large"], "one message always fits");
}

#[test]
fn a_crash_leaves_what_was_committed_and_tickets_go_on() {
    let store = opened(Memory::manual(Bounds::default()));
    let safe = store.append(vec![enqueue("safe", &[ONE]), Record::Retain(message("safe"))]);
    assert_eq!(store.durable(), Ticket::NONE);
    store.commit(safe);
    assert_eq!(store.durable(), safe);
    let lost = store.append(vec![enqueue("lost", &[ONE]), Record::Unretain("t".into())]);
    store.append(vec![
        Record::Edit(ONE, Change::Sent { ticket: safe, packet_id: id(1), qos: QoS::ExactlyOnce }),
        open(OTHER),
    ]);
    store.crash();
    assert_eq!(waiting(&store, ONE), ["safe"]);
    let found = store.recover();
    assert_eq!((found.sessions.len(), found.retained.len()), (1, 1));
    assert_eq!(load(&store, ONE).outgoing, []);
    store.append(vec![Record::Unretain("t".into())]);
    assert!(store.recover().retained.is_empty(), "found where it lies");
    let next = store.append(vec![enqueue("next", &[ONE])]);
    assert!(next > lost);
    store.commit(next);
    store.crash();
    assert_eq!(waiting(&store, ONE), ["safe", "next"]);
}

#[test]
fn a_commit_ends_where_it_is_told_to_and_never_beyond_what_was_appended() {
    let store = opened(Memory::manual(Bounds::default()));
    let first = store.append(vec![enqueue("first", &[ONE])]);
    let second = store.append(vec![enqueue("second", &[ONE])]);
    store.commit(first);
    store.commit(Ticket::NONE);
    assert_eq!(store.durable(), first, "the mark never goes back");
    store.crash();
    assert_eq!(store.durable(), second, "what is lost is not waited for");
    assert_eq!(waiting(&store, ONE), ["first"]);
    store.commit(Ticket(second.0 + 100));
    assert_eq!(store.durable(), store.appended());
}

#[test]
fn a_failed_append_keeps_nothing_and_is_known_by_its_ticket() {
    let store = opened(Memory::manual(Bounds::default()));
    store.fail_next();
    let failed = store.append(vec![enqueue("x", &[ONE]), subscribe("a", QoS::AtMostOnce)]);
    let good = store.append(vec![enqueue("y", &[ONE])]);
    store.commit(good);
    assert_eq!((store.failed(failed), store.failed(good), store.durable()), (true, false, good));
    assert_eq!((waiting(&store, ONE), load(&store, ONE).subscriptions.len()), (vec!["y".to_owned()], 0));
}

#[test]
fn an_answer_may_append_to_the_session_it_is_about() {
    let store = Arc::new(instant());
    let again = Arc::clone(&store);
    let end = move |_| {
        again.append(vec![Record::End(ONE)]);
    };
    store.load(ONE, Box::new(end));
    assert!(store.recover().sessions.is_empty());
}

/// Whoever reads while others append sees every message once and in order: nothing comes in behind what it was told is
/// complete.
#[test]
fn a_reader_misses_nothing_of_what_several_threads_append() {
    const EACH: usize = 2_000;
    let store = instant();
    store.append((2..70).map(|n| open(SessionId(n))).collect());
    let seen = std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..EACH {
                    // In two orders, so that a lock taken out of order would block.
                    let (a, b) = (ONE, SessionId(2 + thread * 20 + n as u64 % 20));
                    let sessions = if n % 2 == 0 { [a, b] } else { [b, a] };
                    store.append(vec![enqueue(&format!("{thread} {n}"), &sessions)]);
                }
            });
        }
        let mut seen = Vec::new();
        let end = Ticket(2 + 3 * EACH as u64);
        let mut after = Ticket::NONE;
        while after < end {
            let page = page(&store, ONE, after, 64);
            let last = page.messages.last().map(|queued| queued.ticket);
            after = page.complete_up_to.or(last).unwrap_or(after);
            seen.extend(page.messages.into_iter().map(|queued| queued.message));
        }
        seen
    });
    assert_eq!(seen.len(), 3 * EACH);
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    for message in seen {
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        let (thread, n) = text.split_once(' ').unwrap();
        let expected = next.entry(thread.to_owned()).or_default();
        assert_eq!(n, expected.to_string(), "thread {thread}");
        *expected += 1;
    }
    assert_eq!(store.lost(), Lost::default());
}
