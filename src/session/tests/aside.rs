//! Identifiers of QoS 2 messages that are dropped when they should be repeated.

use super::*;
use crate::session::aside::ASIDE_MAX;
use crate::session::{Change, DropReason, OutState, Page, SavedOut};
use ProtocolVersion::{V3_1_1, V5};

fn saved_out(packet_id: u16, topic: &str, qos: QoS, state: OutState) -> SavedOut {
    let message = (state == OutState::Published).then(|| message(topic, b"0123456789", qos, None));
    let ticket = Ticket(u64::from(packet_id));
    let packet_id = id(packet_id);
    SavedOut { packet_id, state, ticket, message, qos, retain: false, subscription_ids: Vec::new() }
}

fn save(change: Change, then: Option<Owed>) -> Effect {
    Effect::Save { change, then }
}

fn done(ticket: u64) -> Effect {
    save(Change::Done { ticket: Ticket(ticket) }, None)
}

/// Takes up what was saved; what that led to, but for the reading of the queue.
fn resume(opening: Opening) -> (Bench, Vec<Effect>) {
    let mut bench = Bench::new(opening);
    bench.restrict();
    let mut effects = bench.effects();
    bench.page(Page { messages: Vec::new(), complete_up_to: Some(Ticket(70_000)) });
    effects.extend(bench.effects());
    effects.retain(|effect| !matches!(effect, Effect::ReadQueue { .. }));
    (bench, effects)
}

fn of(outgoing: Vec<SavedOut>) -> Opening {
    resumed(Saved { outgoing, ..Saved::default() })
}

/// The identifier that the next message is sent with.
fn next_id(bench: &mut Bench) -> u16 {
    bench.deliver(&message("t", b"x", QOS[1], None), 80_000, QOS[1]);
    let sent = bench.publishes();
    assert_eq!(sent.len(), 1, "it is sent at once");
    bench.ack(Packet::PubAck, sent[0].1, ReasonCode::Success);
    bench.effects();
    sent[0].1
}

/// A session whose client may hold 5, whose message may not be sent again, and whose next identifier would be that one.
fn five_is_aside() -> Bench {
    let outgoing = [(5, "secret/t"), (4, "t")].map(|(id, topic)| saved_out(id, topic, QOS[2], OutState::Published));
    let (mut bench, effects) = resume(Opening { receive_maximum: 2, ..of(outgoing.into()) });
    let aside = save(Change::SetAside { ticket: Ticket(5) }, None);
    assert_eq!(effects, [Effect::Dropped(DropReason::NotAuthorized), aside]);
    assert_eq!(bench.publishes(), [(0x3C, 4, b"0123456789".to_vec())]);
    bench
}

#[test]
fn mqtt_4_3_3_10_an_identifier_that_the_client_may_hold_is_not_given_to_another_message() {
    let mut bench = five_is_aside();
    assert_eq!(next_id(&mut bench), 6, "and takes no place in the window");
    let ids: Vec<u16> = (0..65_535).map(|_| next_id(&mut bench)).collect();
    assert!(!ids.contains(&5) && ids.contains(&3));
}

#[test]
fn mqtt_3_1_2_24_a_repeat_that_is_too_large_now_keeps_its_identifier_at_qos_2() {
    let outgoing = [(6, QOS[1]), (5, QOS[2])].map(|(id, qos)| saved_out(id, "long", qos, OutState::Published));
    let peer = Peer { version: V5, maximum_packet_size: 15, problem_information: true };
    let (mut bench, effects) = resume(Opening { peer, ..of(outgoing.into()) });
    let too_large = || Effect::Dropped(DropReason::TooLarge);
    let aside = save(Change::SetAside { ticket: Ticket(5) }, None);
    assert_eq!((effects, bench.bytes().len()), (vec![too_large(), done(6), too_large(), aside], 0));
}

#[test]
fn mqtt_4_3_3_6_a_pubrec_for_it_is_answered_and_frees_it_in_the_end() {
    let mut bench = five_is_aside();
    bench.ack(Packet::PubComp, 5, ReasonCode::Success);
    assert_eq!((bench.effects(), bench.bytes().len()), (vec![], 0), "that answers nothing");
    bench.ack(Packet::PubRec, 5, ReasonCode::Success);
    let received = save(Change::Received { ticket: Ticket(5) }, Some(Owed::Release(id(5))));
    assert_eq!((bench.effects(), bench.bytes().len()), (vec![received], 0));
    bench.durable(Owed::Release(id(5)));
    assert_eq!(bench.bytes(), [0x62, 2, 0, 5]);
    bench.ack(Packet::PubComp, 5, ReasonCode::Success);
    let finished = save(Change::Done { ticket: Ticket(5) }, Some(Owed::Finish(id(5))));
    assert_eq!(bench.effects(), [finished]);
    bench.durable(Owed::Finish(id(5)));
    assert_eq!(next_id(&mut bench), 5);
}

#[test]
fn mqtt_4_3_3_4_a_failing_pubrec_frees_it() {
    let mut bench = five_is_aside();
    bench.ack(Packet::PubRec, 5, ReasonCode::UnspecifiedError);
    assert_eq!((bench.effects(), bench.bytes().len()), (vec![done(5)], 0));
    assert_eq!(next_id(&mut bench), 5);
}

#[test]
fn mqtt_2_2_1_4_what_was_set_aside_stays_so_on_later_connections() {
    let outgoing =
        [(5, OutState::SetAside), (4, OutState::Released)].map(|(id, state)| saved_out(id, "t", QOS[2], state));
    let (mut bench, effects) = resume(of(outgoing.into()));
    assert_eq!((effects, bench.bytes()), (vec![], vec![0x62, 2, 0, 4]));
    assert_eq!(next_id(&mut bench), 6);
    assert_eq!(bench.session.end(&Ending::Lost).changes, []);
}

#[test]
fn so_many_are_set_aside_and_then_the_first_is_free_again() {
    let max = ASIDE_MAX as u16;
    let mut outgoing: Vec<SavedOut> = (1..=max).map(|id| saved_out(id, "t", QOS[2], OutState::SetAside)).collect();
    outgoing.push(saved_out(max + 1, "secret/t", QOS[2], OutState::Published));
    let (_, effects) = resume(of(outgoing.clone()));
    let aside = save(Change::SetAside { ticket: Ticket(ASIDE_MAX as u64 + 1) }, None);
    assert_eq!(effects, [Effect::Dropped(DropReason::NotAuthorized), aside, done(1)]);
    // A full queue may have made them more.
    outgoing.extend((max + 2..max + 4).map(|id| saved_out(id, "t", QOS[2], OutState::SetAside)));
    let (_, effects) = resume(Opening { peer: opening(V3_1_1).peer, ..of(outgoing) });
    assert_eq!(effects[..2], [done(1), done(2)]);
}
