//! What a session speaks of and is not in its queue: it was refused, or dropped for want of room, after it had been delivered.

use super::*;

fn bounded(messages_max: usize, when_full: WhenFull) -> Bounds {
    Bounds { messages_max, bytes_max: 1 << 20, when_full }
}

#[test]
fn the_end_of_a_message_that_was_refused_hides_none_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), bounded(2, WhenFull::Reject));
    store.append(vec![session(ONE)]);
    for n in 0..2 {
        wait(&store, vec![enqueue(&n.to_string(), [1])]);
    }
    for _ in 0..2 {
        let refused = wait(&store, vec![enqueue("refused", [1])]);
        assert!(store.failed(refused));
        // Its client was connected and has acknowledged it: delivery waits for no disk.
        wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: refused })]);
    }
    assert_eq!(waiting(&store, 1), ["0", "1"]);
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 2);
}

#[test]
fn no_exchange_is_left_behind_for_a_message_that_is_not_there() {
    for when_full in [WhenFull::Reject, WhenFull::DropOldest] {
        let folder = tempfile::tempdir().unwrap();
        let store = open_with(folder.path(), bounded(2, when_full));
        store.append(vec![session(ONE)]);
        let tickets: Vec<Ticket> = (0..3).map(|n| wait(&store, vec![enqueue(&n.to_string(), [1])])).collect();
        let absent = if when_full == WhenFull::Reject { tickets[2] } else { tickets[0] };
        // It was sent, and the connection ended before its acknowledgement.
        let sent = Record::Edit(ONE, Change::Sent { ticket: absent, packet_id: id(1), qos: QoS::AtLeastOnce });
        wait(&store, vec![sent, Record::Leave { session: ONE, ends_wall_ms: None }]);
        assert_eq!(store.shared.ram.lock().exchange(ONE, absent), None, "{when_full:?}");
    }
}

#[test]
fn the_end_of_a_message_that_could_not_be_written_hides_none_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    wait(&store, vec![session(ONE)]);
    again::break_off(&store);
    let failed = wait(&store, vec![enqueue("delivered, and not written", [1])]);
    assert!(store.failed(failed));
    again::opened_again(&store);
    for n in 0..2 {
        wait(&store, vec![enqueue(&n.to_string(), [1])]);
    }
    wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: failed })]);
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 2);
    // What is there counts as before.
    wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: Ticket(failed.0 + 1) })]);
    assert_eq!(waiting(&store, 1), ["1"]);
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 1);
}

#[test]
fn what_is_dropped_while_it_is_under_way_counts_once_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), bounded(2, WhenFull::DropOldest));
    store.append(vec![session(ONE)]);
    let tickets: Vec<Ticket> = (0..3).map(|n| wait(&store, vec![enqueue(&n.to_string(), [1])])).collect();
    // QoS 2: dropped while its identifier was about to be saved. It is needed all the same, for PUBLISH goes out.
    wait(&store, vec![Record::Edit(ONE, Change::Sent { ticket: tickets[0], packet_id: id(1), qos: QoS::ExactlyOnce })]);
    drop(store);
    let store = open(folder.path());
    wait(&store, vec![Record::Edit(ONE, Change::Received { ticket: tickets[0] })]);
    wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: tickets[0] })]);
    assert_eq!(waiting(&store, 1), ["1", "2"]);
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 2);
}

#[test]
fn however_many_appends_are_refused_before_somebody_looks_each_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), bounded(1, WhenFull::Reject));
    store.append(vec![session(ONE), session(SessionId(2))]);
    wait(&store, vec![enqueue("0", [1])]);
    let refused = |_| (store.append(vec![enqueue("refused", [1])]), store.append(vec![enqueue("all", [1, 2])]));
    let tickets: Vec<(Ticket, Ticket)> = (0..10_000).map(refused).collect();
    settled(&store, tickets[tickets.len() - 1].1);
    assert_eq!(tickets.iter().filter(|(refused, _)| store.failed(*refused)).count(), tickets.len());
    assert_eq!(tickets.iter().filter(|(_, taken)| store.failed(*taken)).count(), 0);
}
