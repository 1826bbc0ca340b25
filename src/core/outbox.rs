//! Letters on their way to other cores, and who has to wait because a core does not take them in as fast as they come.
//!
//! ```text
//!  waiting for a core:  0 ────────── FILLING ────────── CROWDED ────────────── OVERFULL
//!                                    asks for an        whoever feeds it       nobody of this core
//!                                    answer             is not read            may publish
//! ```
//!
//! The question is a letter like any other: when it is answered, everything before it was taken in, so no answer can be missed
//! and nobody polls. A core always takes its own mail in, whoever it waits for itself, so two that flood each other go on.

use std::collections::VecDeque;

use super::{Core, Mail};
use crate::broker::seat::Address;
use crate::metrics::Metric;

/// Bytes waiting for a core above which it is asked to say when it has taken them in. Half of what makes publishers wait: it has
/// the other half to do while they come back.
const FILLING: usize = CROWDED / 2;
/// Bytes waiting for a core above which a publisher that feeds it is not read: 16,384 small messages, some ten milliseconds of work.
pub(super) const CROWDED: usize = 8 * 1024 * 1024;
/// Bytes waiting for a core above which no publisher is read, whomever it feeds: each of very many may have fed it once.
pub(super) const OVERFULL: usize = 2 * CROWDED;
/// Bytes that are posted before the turn is over, so that cores see of each other what is on its way.
const POST_AT: usize = 256 * 1024;

/// What one core has for another one, and who waits for that one.
#[derive(Debug, Default)]
struct Outbox {
    letters: Vec<Mail>,
    /// What the letters count for.
    bytes: usize,
    /// It was asked, and has not answered yet.
    asked: bool,
    /// Clients that are not read until it answers, in the order in which they began to wait.
    paused: VecDeque<Address>,
}

/// What a core has for the others.
#[derive(Debug)]
pub(super) struct Post {
    /// One for each core.
    boxes: Vec<Outbox>,
    /// A core that has more waiting than it should, found while a message was delivered: its publisher is to wait.
    pub(super) fed: Option<u8>,
    /// A core that has so much waiting that nobody of this one may publish.
    pub(super) overfull: Option<u8>,
}

impl Post {
    /// Nothing for any of so many cores.
    pub(super) fn new(cores: usize) -> Self {
        Self { boxes: std::iter::repeat_with(Outbox::default).take(cores).collect(), fed: None, overfull: None }
    }
}

impl Core {
    /// Lets another core have `letter`; leaves with the end of the turn.
    pub(super) fn stage(&mut self, core: u8, letter: Mail) {
        if let Some(outbox) = self.post.boxes.get_mut(usize::from(core)) {
            outbox.bytes += letter.bytes();
            outbox.letters.push(letter);
        }
    }

    /// Lets another core's clients have a message. One atomic load looks whether that is too much for it.
    pub(super) fn stage_delivery(&mut self, core: u8, letter: Mail) {
        self.stage(core, letter);
        let at = usize::from(core);
        if self.waiting_for(at) > FILLING {
            self.fill(core);
        }
        if self.post.boxes.get(at).is_some_and(|outbox| outbox.bytes > POST_AT) {
            self.post_to(at);
        }
    }

    /// Bytes waiting for a core, those that this one is about to post included.
    fn waiting_for(&self, at: usize) -> usize {
        let posted = self.shared.inboxes.get(at).map_or(0, |inbox| inbox.waiting_bytes());
        posted + self.post.boxes.get(at).map_or(0, |outbox| outbox.bytes)
    }

    #[cold]
    fn fill(&mut self, core: u8) {
        self.ask_for_room(core);
        let waiting = self.waiting_for(usize::from(core));
        if waiting > CROWDED {
            self.post.fed = Some(core);
        }
        if waiting > OVERFULL {
            self.post.overfull = Some(core);
        }
    }

    /// Asks once, until there is an answer. Whoever waits for a core waits for that answer.
    fn ask_for_room(&mut self, core: u8) {
        let from = self.id;
        if let Some(outbox) = self.post.boxes.get_mut(usize::from(core))
            && !outbox.asked
        {
            outbox.asked = true;
            outbox.letters.push(Mail::AskRoom { from });
        }
    }

    /// Everything before the question was taken in. Posted at once: whoever asked waits.
    pub(super) fn answer_room(&self, from: u8) {
        if let Some(inbox) = self.shared.inboxes.get(usize::from(from)) {
            inbox.post(Mail::Room { at: self.id });
        }
    }

    /// A publication, just delivered, may have been one more than a core should have waiting: its publisher is not read until
    /// that core has taken in what it has.
    pub(super) fn pause_if_it_feeds_too_much(&mut self, slot: u32) {
        if let Some(core) = self.post.fed.take() {
            self.pause(slot, core);
        }
    }

    /// Whether this client may not publish now, and why it is not read then: a core has too much waiting by anybody.
    pub(super) fn must_wait(&mut self, slot: u32) -> bool {
        self.post.overfull.is_some_and(|core| self.pause(slot, core))
    }

    /// Stops reading a client until `core` answers. `false` if it cannot wait. Nor are its acknowledgements read then, but nobody
    /// waits for those: what it may not be sent yet is kept by its session or the store, and its core goes on taking mail in.
    #[cold]
    fn pause(&mut self, slot: u32, core: u8) -> bool {
        self.ask_for_room(core);
        let (Some(address), Some(client)) = (self.clients.address(slot), self.clients.get_mut(slot)) else {
            return false;
        };
        let Some(outbox) = self.post.boxes.get_mut(usize::from(core)) else { return false };
        if client.flags.last_words {
            return false;
        }
        if !client.flags.paused {
            client.flags.paused = true;
            outbox.paused.push_back(address);
            self.counters.add(Metric::PublisherPauses, 1);
        }
        true
    }

    /// The core `at` has taken in what it had: those who waited for it are read again, in turn, as far as it has room.
    pub(super) fn go_on_publishing(&mut self, at: u8) {
        let core = usize::from(at);
        let Some(outbox) = self.post.boxes.get_mut(core) else { return };
        outbox.asked = false;
        // Those who have to wait again are behind those who did not come to their turn.
        let count = outbox.paused.len();
        if self.post.overfull == Some(at) {
            self.post.overfull = None;
        }
        for _ in 0..count {
            if self.waiting_for(core) > CROWDED {
                break;
            }
            let Some(address) = self.post.boxes.get_mut(core).and_then(|outbox| outbox.paused.pop_front()) else {
                break;
            };
            if let Some(client) = self.clients.at(address) {
                client.flags.paused = false;
                self.resume_reading(address.slot);
            }
        }
        if self.post.boxes.get(core).is_some_and(|outbox| !outbox.paused.is_empty()) {
            self.ask_for_room(at);
        }
    }

    /// Clients of this core that wait for another one.
    pub(super) fn paused(&self) -> usize {
        let mut paused = 0;
        for outbox in &self.post.boxes {
            paused += outbox.paused.iter().filter(|address| self.clients.has(**address)).count();
        }
        paused
    }

    /// Posts everything that is staged.
    pub(super) fn post_all(&mut self) {
        for at in 0..self.post.boxes.len() {
            self.post_to(at);
        }
    }

    /// Posts the deliveries that are staged, and what is staged with them.
    pub(super) fn post_deliveries(&mut self) {
        for at in 0..self.post.boxes.len() {
            if self.post.boxes.get(at).is_some_and(|outbox| outbox.bytes > 0) {
                self.post_to(at);
            }
        }
    }

    fn post_to(&mut self, at: usize) {
        if let (Some(inbox), Some(outbox)) = (self.shared.inboxes.get(at), self.post.boxes.get_mut(at)) {
            inbox.post_all(&mut outbox.letters, std::mem::take(&mut outbox.bytes));
        }
    }
}
