//! Identifiers that stay taken though their message is gone.

use super::super::operator::{salvage, survey};
use super::*;

fn unfinished(store: &Rocks, session: SessionId) -> Vec<(u16, OutState, bool)> {
    let saved = load(store, session);
    saved.outgoing.iter().map(|out| (out.packet_id.get(), out.state, out.message.is_some())).collect()
}

fn sent(ticket: Ticket, number: u16, qos: QoS) -> Change {
    Change::Sent { ticket, packet_id: id(number), qos }
}

#[test]
fn an_identifier_that_is_set_aside_outlives_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append((1..=5).map(|n| session(SessionId(n))).collect());
    let body = "b".repeat(1000);
    let tickets = [1, 2].map(|_| store.append(vec![enqueue(&body, 1..=5)]));
    for (at, number) in [(0, 7), (1, 8)] {
        edit(&store, sent(tickets[at], number, QoS::ExactlyOnce));
    }
    edit(&store, Change::SetAside { ticket: tickets[0] });
    assert_eq!(unfinished(&store, ONE), [(8, OutState::Published, true), (7, OutState::SetAside, false)]);
    for n in 2..=5 {
        wait(&store, vec![Record::Edit(SessionId(n), Change::Done { ticket: tickets[0] })]);
    }
    assert!(!store.shared.ram.lock().refers_to(tickets[0]), "nobody waits for it");
    drop(store);
    let found = survey(folder.path()).unwrap();
    assert_eq!((found.damage, found.stats.messages), (Vec::new(), 5));
    let saved = folder.path().join("saved");
    assert!(salvage(folder.path(), &saved).unwrap().lost.is_empty());
    for folder in [folder.path(), &saved] {
        let store = open(folder);
        assert_eq!(store.shared.ram.lock().tally(ONE).messages, 1);
        assert_eq!(waiting(&store, 1), [""; 0], "what is under way does not wait");
        edit(&store, Change::Received { ticket: tickets[0] });
        assert_eq!(unfinished(&store, ONE), [(8, OutState::Published, true), (7, OutState::Released, false)]);
        drop(store);
        let store = open(folder);
        wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: tickets[0] })]);
        assert_eq!(unfinished(&store, ONE), [(8, OutState::Published, true)]);
        assert_eq!(store.shared.ram.lock().tally(ONE).messages, 1);
    }
}

#[test]
fn an_identifier_is_taken_though_a_full_queue_drops_its_message_before_that_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { messages_max: 1, when_full: WhenFull::DropOldest, ..Bounds::default() };
    let store = open_with(folder.path(), bounds);
    store.append(vec![session(ONE)]);
    let tickets: Vec<Ticket> = (0..3).map(|n| wait(&store, vec![enqueue(&n.to_string(), [1])])).collect();
    assert_eq!(store.lost().queue_full, 2);
    edit(&store, sent(tickets[0], 1, QoS::ExactlyOnce));
    edit(&store, sent(tickets[1], 2, QoS::AtLeastOnce));
    // Said once more, when the connection ends.
    edit(&store, sent(tickets[0], 1, QoS::ExactlyOnce));
    assert_eq!(unfinished(&store, ONE), [(1, OutState::SetAside, false)]);
    assert_eq!(waiting(&store, 1), ["2"]);
    wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: tickets[0] })]);
    assert_eq!((unfinished(&store, ONE), store.shared.ram.lock().tally(ONE).messages), (vec![], 1));
}
