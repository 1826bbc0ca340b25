//! What comes by mail.

use std::sync::Arc;

use super::client::{Client, Stage, WaitsFor};
use super::{Core, Mail};
use crate::broker::sys;
use crate::identity::{Identity, Origin};
use crate::message::{Message, Parts};
use crate::mqtt::QoS;

/// `$SYS` topics are published this often.
const SYS_MS: u64 = 10_000;

impl Core {
    pub(super) fn handle_letter(&mut self, letter: Mail) {
        match letter {
            Mail::Deliver { message, ticket, targets } => self.deliver(&message, ticket, &targets),
            Mail::TakeOver { at, seat, clean_start, claimant, level } => {
                let ended = self.take_over(at, clean_start, level);
                if !self.waits_for_leaving(&seat, (claimant, level)) {
                    // Whoever sat there has left, unless a panic came in between.
                    seat.release(at);
                    self.stage(claimant.core, Mail::Vacated { claimant, ended });
                }
            }
            Mail::Vacated { claimant, ended } => {
                if self.clients.at(claimant).is_some() {
                    self.vacated(claimant.slot, ended);
                }
            }
            Mail::Identity { at, answer } => {
                let waits = self.clients.at(at).is_some_and(|client| client.waits_for_identity());
                if waits {
                    self.with_entering(at.slot, |entering, out| {
                        entering.waits_for = WaitsFor::Client;
                        entering.threshold.handle_identity(answer, out)
                    });
                }
            }
            Mail::Loaded { at, saved } => {
                if self.clients.at(at).is_some() {
                    self.loaded(at.slot, saved);
                }
            }
            Mail::Page { at, page } => {
                if self.clients.at(at).is_some() {
                    self.with_session(at.slot, |session, may, now, desk| session.handle_queue(page, may, now, desk));
                }
            }
            Mail::AskRoom { from } => self.answer_room(from),
            Mail::Room { at } => self.go_on_publishing(at),
            Mail::Reloaded => self.ask_permissions_again(),
            Mail::Stop => self.stop(),
            // Their only work is to bring about a turn, which looks at both.
            Mail::Durable | Mail::Nudge => {}
        }
    }

    /// Rules changed: every client may now do what they say now. Who is coming in is asked again when it opens.
    fn ask_permissions_again(&mut self) {
        self.reloads = self.reloads.wrapping_add(1);
        for slot in self.clients.slots() {
            self.ask_permissions_of(slot);
        }
    }

    /// What a client that has a seat may do by the rules in force.
    pub(super) fn ask_permissions_of(&mut self, slot: u32) {
        let Some(auth) = &self.shared.auth else { return };
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(seat) = &client.seat else { return };
        let identity = Identity { user: client.user.clone() };
        client.may = match identity.user {
            Some(_) => auth.permissions(&identity, seat.client.as_str()),
            None => Arc::clone(&client.door.rules.load().anonymous_may),
        };
    }

    /// The broker's own figures, as retained messages under `$SYS`.
    pub(super) fn publish_sys(&mut self) {
        self.chores.sys_due = self.now.moment.plus_ms(SYS_MS);
        self.show();
        let broker = Arc::clone(&self.shared.broker);
        let figures = broker.figures(&self.shared.board.sum(), self.now);
        for (topic, payload) in sys::topics(&figures) {
            let parts = Parts {
                topic: &topic,
                properties: &[],
                payload: payload.as_bytes(),
                qos: QoS::AtMostOnce,
                retain: true,
                expiry_s: None,
                origin: Origin::default(),
            };
            self.publish_alone(Message::new(parts, self.now), Vec::new());
        }
    }
}

impl Client {
    fn waits_for_identity(&self) -> bool {
        matches!(&self.stage, Stage::Entering(entering) if matches!(entering.waits_for, WaitsFor::Identity))
    }
}
