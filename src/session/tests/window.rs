//! A durable session against a model of its queue: whatever the order of mail, pages and acknowledgements, each message goes
//! out once per connection, none is lost, and one publisher's messages keep their order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::session::{Change, Page, Queued};

#[derive(Debug, Clone)]
enum Step {
    /// A publisher (0 or 1) has a message appended; its mail is under way.
    Append(usize),
    /// The next letter of this publisher's core arrives.
    Mail(usize),
    /// The read that was asked for is answered.
    Page,
    /// The client acknowledges the oldest delivery it has, or another one.
    Ack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize).prop_map(Step::Append),
        4 => (0..2usize).prop_map(Step::Mail),
        1 => Just(Step::Page),
        4 => (0..3usize).prop_map(Step::Ack),
    ]
}

/// The queue in the store, the mail under way, and what the client saw.
#[derive(Default)]
struct Model {
    last: u64,
    queue: BTreeMap<u64, usize>,
    mail: [VecDeque<u64>; 2],
    /// The read that was asked for, and its answer if the store looked at once: what happens until it arrives is not in it.
    asked: Option<(Ticket, usize, Option<Page>)>,
    looks_at_once: bool,
    unacknowledged: Vec<(u16, u64)>,
    seen: BTreeSet<u64>,
    last_of: [u64; 2],
    page_max: usize,
}

fn payload(ticket: u64) -> Arc<Message> {
    message("t", ticket.to_string().as_bytes(), QOS[1], None)
}

impl Model {
    fn take_steps(&mut self, bench: &mut Bench, step: &Step) {
        match *step {
            Step::Append(publisher) => {
                self.last += 1;
                self.queue.insert(self.last, publisher);
                self.mail[publisher].push_back(self.last);
            }
            Step::Mail(publisher) => {
                if let Some(ticket) = self.mail[publisher].pop_front() {
                    bench.deliver(&payload(ticket), ticket, QOS[1]);
                }
            }
            Step::Page => self.answer(bench),
            Step::Ack(n) if !self.unacknowledged.is_empty() => {
                let (packet_id, _) = self.unacknowledged.remove(n % self.unacknowledged.len());
                bench.ack(Packet::PubAck, packet_id, ReasonCode::Success);
            }
            Step::Ack(_) => {}
        }
        self.look(bench);
    }

    fn answer(&mut self, bench: &mut Bench) {
        if let Some((after, max, page)) = self.asked.take() {
            let page = page.unwrap_or_else(|| self.read(after, max));
            bench.page(page);
        }
    }

    fn read(&self, after: Ticket, max: usize) -> Page {
        let waiting: Vec<u64> = self.queue.range(after.0 + 1..).map(|(ticket, _)| *ticket).collect();
        let max = max.min(self.page_max);
        let messages = waiting.iter().take(max).map(|ticket| Queued {
            ticket: Ticket(*ticket),
            message: payload(*ticket),
            qos: QOS[1],
            retain: false,
            subscription_ids: Vec::new(),
        });
        let complete_up_to = (waiting.len() <= max).then_some(Ticket(self.last));
        Page { messages: messages.collect(), complete_up_to }
    }

    /// Looks at what the session did.
    fn look(&mut self, bench: &mut Bench) {
        for effect in bench.effects() {
            match effect {
                Effect::ReadQueue { after, max } => {
                    assert!(self.asked.is_none(), "one read at a time");
                    let page = self.looks_at_once.then(|| self.read(after, max));
                    self.asked = Some((after, max, page));
                }
                Effect::Save { change: Change::Done { ticket }, then: None } => {
                    assert!(self.queue.remove(&ticket.0).is_some(), "done once");
                }
                other => panic!("{other:?}"),
            }
        }
        for (_, packet_id, text) in bench.publishes() {
            let ticket: u64 = String::from_utf8(text).unwrap().parse().unwrap();
            assert!(self.seen.insert(ticket), "{ticket} went out twice");
            let publisher = self.queue[&ticket];
            assert!(self.last_of[publisher] < ticket, "publisher {publisher} out of order");
            self.last_of[publisher] = ticket;
            self.unacknowledged.push((packet_id, ticket));
        }
    }

    fn finish(&mut self, bench: &mut Bench) {
        for _ in 0..20_000 {
            if self.seen.len() as u64 == self.last && self.queue.is_empty() {
                return;
            }
            for step in [Step::Mail(0), Step::Mail(1), Step::Page, Step::Ack(0)] {
                self.take_steps(bench, &step);
            }
        }
        panic!("{} of {} messages arrived, {} wait", self.seen.len(), self.last, self.queue.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn each_message_goes_out_once_in_order_and_none_is_lost(
        steps in prop::collection::vec(step(), 1..400),
        waiting in 0..20u64,
        window in 1..6u16,
        page_max in 1..30usize,
        looks_at_once in any::<bool>(),
    ) {
        let opening = Opening { receive_maximum: window, ..resumed(Saved::default()) };
        let mut bench = Bench::new(opening);
        let mut model = Model { last: waiting, page_max, looks_at_once, ..Model::default() };
        model.queue.extend((1..=waiting).map(|ticket| (ticket, 0)));
        model.look(&mut bench);
        for step in &steps {
            model.take_steps(&mut bench, step);
        }
        model.finish(&mut bench);
    }
}

#[test]
fn a_burst_larger_than_the_window_on_the_queue_arrives_whole() {
    let mut bench = Bench::new(Opening { receive_maximum: 10, ..resumed(Saved::default()) });
    let mut model = Model { page_max: usize::MAX, ..Model::default() };
    model.look(&mut bench);
    for round in 0..2_000 {
        model.take_steps(&mut bench, &Step::Append(round % 2));
        model.take_steps(&mut bench, &Step::Mail(round % 2));
    }
    assert!(bench.session.feed.len() <= 256, "what waits in memory is bounded");
    model.finish(&mut bench);
}
