//! Who somebody is: the names by which clients, sessions and places in the disk's order are known.
//!
//! *Architecture invariant:* plain values. Nothing here knows how an identity was proved (`auth`
//! does) or where a client sits (`broker::seat` does).

use std::fmt;
use std::sync::Arc;

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

/// A session's number. Never used twice in the life of a store; 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SessionId(pub u64);

/// As it is shown in logs.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Stands for a Client Identifier where only equality matters (No Local): its 64-bit hash, so that a
/// will outliving its session still knows whose it was. 0 is the broker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin(pub u64);

/// A place in the store's order. Work with a ticket at or below the durable mark is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Work that needs no disk: always durable.
    pub const NONE: Ticket = Ticket(0);
}

/// Who a client proved to be at CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The authenticated user; `None` for an anonymous client.
    pub user: Option<Arc<str>>,
}
