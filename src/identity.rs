//! Who somebody is: the names by which clients, sessions and places in the disk's order are known.
//!
//! *Architecture invariant:* plain values. Nothing here knows how an identity was proved (`auth`
//! does) or where a client sits (`broker::seat` does).

// Input decides nothing here by a panic or a lost bit.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// A Client Identifier, 0 to 65,535 bytes of UTF-8, shared by everything that names the client.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Shares `text` as a Client Identifier. The wire has already checked it.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Numbers that are given out one by one begin at 1 and do not get here in the life of a store, so those below have one behind
/// them. What bears a higher one was never given it here.
const NUMBERS_END: u64 = 1 << 63;

/// A session's number. Never used twice in the life of a store; 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SessionId(pub u64);

impl SessionId {
    /// A number that was written down; `None` if it cannot have been given out.
    pub fn written(number: [u8; 8]) -> Option<Self> {
        Some(u64::from_be_bytes(number)).filter(|number| *number < NUMBERS_END).map(Self)
    }

    /// The one behind it.
    #[must_use]
    pub fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// As it is shown in logs.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Stands for a Client Identifier where only equality matters (No Local): its 64-bit hash, so that a
/// will outliving its session still knows whose it was. 0 is the broker itself.
///
/// It is stored with messages, so it is the same in every process and version: the first bytes of the SHA-256 of the identifier. Of
/// two identifiers with one hash each would miss the other's messages where it asked for No Local, and nothing else. By chance
/// that takes billions of clients; whoever chooses identifiers to bring it about (2^32 trials for two of his own, 2^64
/// for somebody else's) keeps his own messages from clients that asked not to get theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin(pub u64);

impl Origin {
    /// Stands for `client`; never 0.
    pub fn of(client: &ClientId) -> Self {
        let hash = digest(&SHA256, client.as_str().as_bytes());
        let first = hash.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self(first.max(1))
    }
}

/// A place in the store's order. Work with a ticket at or below the durable mark is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Work that needs no disk: always durable.
    pub const NONE: Ticket = Ticket(0);

    /// A place that was written down; `None` if it cannot have been given out.
    pub fn written(number: [u8; 8]) -> Option<Self> {
        Some(u64::from_be_bytes(number)).filter(|number| *number < NUMBERS_END).map(Self)
    }

    /// The place behind it.
    #[must_use]
    pub fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Who a client proved to be at CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The authenticated user; `None` for an anonymous client.
    pub user: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_3_8_3_3_an_origin_is_the_same_in_every_process() {
        // The SHA-256 of nothing and of "abc" begin so.
        assert_eq!(Origin::of(&ClientId::new("")), Origin(0xe3b0_c442_98fc_1c14));
        assert_eq!(Origin::of(&ClientId::new("abc")), Origin(0xba78_16bf_8f01_cfea));
    }
}
