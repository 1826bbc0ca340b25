//! Before there is a session: first packet, who are you, whose place is it, CONNACK.
//!
//! ```text
//!  Waiting ──CONNECT──▶ Proving ──identity──▶ Claiming ──claimed──▶ Session
//!                        │  ▲ (AUTH both ways, enhanced authentication)
//!                        └──┘
//! ```
//!
//! Every wait is a state and every question a [`Step`] that the caller carries out; its answer comes back by a
//! `handle_*`. Whoever is refused gets the CONNACK its version has for it, and is closed.
//!
//! *Architecture invariant:* no I/O, no clock, no session, no knowledge of passwords: it asks.

use std::sync::Arc;

use crate::access::Permissions;
use crate::clock::Now;
use crate::identity::{ClientId, Identity, Origin};
use crate::mqtt::{Out, Packet, ReasonCode};
use crate::session::{Desk, Limits, Saved, Session};

/// What a listener demands of who comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether a CONNECT without user name and without Authentication Method is let in.
    pub allow_anonymous: bool,
    /// Authentication Methods offered, e.g. `SCRAM-SHA-256`.
    pub methods: Vec<Box<str>>,
    /// What anonymous clients may do.
    pub anonymous_may: Arc<Permissions>,
}

/// What the caller has to do next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Nothing: wait for the client.
    Wait,
    /// Check these credentials, then [`Threshold::handle_identity`].
    Authenticate(Credentials),
    /// Take one step of this method, then [`Threshold::handle_challenge`].
    Challenge {
        /// Authentication Method.
        method: Box<str>,
        /// What the client sent.
        data: Option<Box<[u8]>>,
    },
    /// Claim the Client Identifier (load what is saved), then [`Threshold::open`].
    Claim(Claim),
}

/// A user name and password to be checked. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Client Identifier as sent, possibly empty.
    pub client: Box<str>,
    /// User Name.
    pub user_name: Option<Box<str>>,
    /// Password, binary.
    pub password: Option<Box<[u8]>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user_name", &self.user_name).finish_non_exhaustive()
    }
}

/// Whose place is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `None`: the broker assigns one [MQTT-3.1.3-6].
    pub client: Option<ClientId>,
    /// Drop what was there [MQTT-3.1.2-4].
    pub clean_start: bool,
    /// Session Expiry Interval in force, seconds.
    pub session_expiry_s: u32,
    /// Who asks.
    pub owner: Option<Arc<str>>,
}

/// The answer to a [`Claim`].
#[derive(Debug)]
pub struct Claimed {
    /// The identifier, assigned if none was sent.
    pub client: ClientId,
    /// For No Local.
    pub origin: Origin,
    /// Whether the session is kept in the store (see `session::Opening::durable`).
    pub durable: bool,
    /// What was saved: then Session Present is 1.
    pub saved: Option<Saved>,
}

/// The answer to a step of enhanced authentication.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Ask the client for more, with this data.
    Continue(Box<[u8]>),
    /// Proved; the data goes into CONNACK.
    Done(Identity, Arc<Permissions>, Option<Box<[u8]>>),
    /// Not proved.
    Denied(ReasonCode),
}

/// The client is refused; its CONNACK, if it gets one, is in the out buffer. Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason:?}: {why}")]
pub struct Refused {
    /// What it was told, or would have been.
    pub reason: ReasonCode,
    /// For the log and the counter: a short fixed text or the statement broken.
    pub why: &'static str,
}

/// A connection that has no session yet.
#[derive(Debug)]
pub struct Threshold {}

#[allow(unused_variables)]
impl Threshold {
    /// Waits for CONNECT.
    pub fn new(rules: &Arc<Rules>, limits: &Arc<Limits>) -> Threshold {
        todo!()
    }

    /// The version its CONNECT named, once there was one.
    pub fn version(&self) -> Option<crate::mqtt::ProtocolVersion> {
        todo!()
    }

    /// The Client Identifier its CONNECT named; empty if it wants one assigned.
    pub fn client_id(&self) -> Option<&str> {
        todo!()
    }

    /// A packet from the client.
    pub fn handle_packet(&mut self, packet: Packet<'_>, out: &mut Out) -> Result<Step, Refused> {
        todo!()
    }

    /// Bytes that are not a packet.
    pub fn handle_malformed(&mut self, error: crate::mqtt::DecodeError, out: &mut Out) -> Refused {
        todo!()
    }

    /// The answer to [`Step::Authenticate`]: who it is and what it may do, or why not.
    pub fn handle_identity(
        &mut self,
        answer: Result<(Identity, Arc<Permissions>), ReasonCode>,
        out: &mut Out,
    ) -> Result<Step, Refused> {
        todo!()
    }

    /// The answer to [`Step::Challenge`].
    pub fn handle_challenge(&mut self, answer: Challenge, out: &mut Out) -> Result<Step, Refused> {
        todo!()
    }

    /// Refuses for a reason that lies outside: too many connections, the Client Identifier belongs to somebody else, shutdown.
    pub fn refuse(&mut self, reason: ReasonCode, reason_string: Option<&str>, out: &mut Out) -> Refused {
        todo!()
    }

    /// What it may do, once proved.
    pub fn permissions(&self) -> Option<&Arc<Permissions>> {
        todo!()
    }

    /// CONNACK, then the session.
    pub fn open(self, claimed: Claimed, now: Now, desk: &mut Desk<'_>) -> Session {
        todo!()
    }
}
