//! Publishers that are gone while QoS 2 messages of theirs still wait for their commit.
//!
//! Their seat stays taken until those are delivered and the letters with them are posted. So whoever comes back with the same
//! Client Identifier, on whatever core, publishes behind them [MQTT-4.6.0-6] [MQTT3-4.6.0-6].

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::client::Held;
use super::{Core, Mail};
use crate::broker::seat::{Address, Seat};
use crate::identity::Ticket;
use crate::session::Farewell;
use crate::store::{Level, Record};

/// Bytes that clients which are gone may have left behind before nobody else is let in: as much as four clients may have waiting.
const LEFT_BEHIND_MAX: usize = 16 * 1024 * 1024;

/// What is settled when a seat is left.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) seat: Arc<Seat>,
    /// Where the client sat.
    pub(super) address: Address,
    /// The authenticated user.
    pub(super) owner: Option<Arc<str>>,
    /// What its listener keeps session state at.
    pub(super) level: Level,
    pub(super) farewell: Farewell,
    pub(super) may_publish_will: bool,
    /// Filters of which the index may say something else than the store.
    pub(super) doubtful: Vec<Arc<str>>,
}

/// A client that is gone, and what it published and is not delivered yet.
#[derive(Debug)]
pub(super) struct Leaving {
    parting: Parting,
    held: VecDeque<Held>,
    /// Who waits for the seat, and what the listeners they came through keep session state at.
    claimants: Vec<(Address, Level)>,
}

impl Core {
    /// Leaves the seat, at once or once `held` is delivered.
    pub(super) fn leave(&mut self, parting: Parting, held: VecDeque<Held>) {
        if held.is_empty() {
            self.part(parting);
            return;
        }
        self.leaving.push(Leaving { parting, held, claimants: Vec::new() });
    }

    /// Whether somebody who leaves still sits there; `claimant` is told when he has left.
    pub(super) fn waits_for_leaving(&mut self, seat: &Arc<Seat>, claimant: (Address, Level)) -> bool {
        let leaving = self.leaving.iter_mut().find(|leaving| Arc::ptr_eq(&leaving.parting.seat, seat));
        leaving.map(|leaving| leaving.claimants.push(claimant)).is_some()
    }

    /// Delivers what has become as safe as it must be of clients that are gone, of each in its order.
    pub(super) fn deliver_leaving(&mut self) {
        let mut all = std::mem::take(&mut self.leaving);
        for leaving in &mut all {
            while let Some(held) = leaving
                .held
                .pop_front_if(|held| self.marks.reached(held.ticket, held.level) && self.orphans_let_go(Some(held)))
            {
                self.deliver_held(held);
            }
        }
        all.append(&mut self.leaving);
        self.leaving = all;
    }

    /// Whether so much of clients that are gone waits for the store that nobody should be let in: whoever comes may leave more
    /// behind. What those who are there may leave is bounded as long as they are there.
    pub(super) fn is_burdened(&self) -> bool {
        let mut held = self.orphans.iter().chain(self.leaving.iter().flat_map(|leaving| &leaving.held));
        let sum = held.try_fold(0, |sum, held| match sum + held.bytes() {
            sum if sum > LEFT_BEHIND_MAX => ControlFlow::Break(()),
            sum => ControlFlow::Continue(sum),
        });
        sum.is_break()
    }

    /// Whether somebody has only to leave.
    pub(super) fn has_drained(&self) -> bool {
        self.leaving.iter().any(|leaving| leaving.held.is_empty())
    }

    /// Those whose messages were delivered in an earlier turn leave.
    pub(super) fn part_drained(&mut self) {
        let mut drained = Vec::new();
        drained.extend(self.leaving.extract_if(.., |leaving| leaving.held.is_empty()));
        for Leaving { parting, claimants, .. } in drained {
            let session = parting.seat.session;
            let ended = self.part(parting);
            for (claimant, level) in claimants {
                // Said once more, as safe as this listener wants it before its client hears of it.
                let again = || self.shared.broker.append(vec![Record::End(session)], level);
                let ended = if ended == Ticket::NONE { ended } else { again() };
                self.stage(claimant.core, Mail::Vacated { claimant, ended });
            }
        }
    }
}
