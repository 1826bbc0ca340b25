//! What a client may do: compiled, immutable rules.
//!
//! Permissions are a value handed to the session with each packet, so there is no round trip inside a
//! PUBLISH, and a reload takes effect with the next packet. Delivery asks again ([`Permissions::may_receive`]):
//! a right taken away must also stop retained, queued and replayed messages.
//!
//! *Architecture invariant:* plain data and pure functions; where rules come from is `auth`'s business.

// Input decides nothing here by a panic or a lost bit.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

use crate::topic::filter::matches;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publishing to a topic, wills included.
    Publish,
    /// Subscribing to a filter, and receiving what matches it.
    Subscribe,
}

/// One rule: the first that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// The action it is about; `None` = both.
    pub action: Option<Action>,
    /// A Topic Filter, placeholders already filled in.
    pub filter: Box<str>,
}

/// The compiled rules of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    rules: Vec<Rule>,
    /// What happens where no rule fits.
    allow_otherwise: bool,
}

impl Permissions {
    /// May do everything.
    pub fn everything() -> Self {
        Self { rules: Vec::new(), allow_otherwise: true }
    }

    /// Rules in order, and what happens where none fits.
    pub fn new(rules: Vec<Rule>, allow_otherwise: bool) -> Self {
        Self { rules, allow_otherwise }
    }

    /// Whether a message with this Topic Name may be published.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.first(Action::Publish, |filter| matches(filter, topic))
    }

    /// Whether a message with this Topic Name may be delivered to the client.
    pub fn may_receive(&self, topic: &str) -> bool {
        self.first(Action::Subscribe, |filter| matches(filter, topic))
    }

    /// Whether a subscription to this Topic Filter (without `$share/…/`) may be made. A rule decides only if it covers the
    /// whole filter; a denied part of it is kept from the client at delivery by [`Permissions::may_receive`].
    pub fn may_subscribe(&self, filter: &str) -> bool {
        self.first(Action::Subscribe, |rule| crate::topic::filter::covers(rule, filter))
    }

    fn first(&self, action: Action, fits: impl Fn(&str) -> bool) -> bool {
        self.rules
            .iter()
            .find(|rule| rule.action.is_none_or(|a| a == action) && fits(&rule.filter))
            .map_or(self.allow_otherwise, |rule| rule.allow)
    }
}
