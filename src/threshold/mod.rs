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
//!
//! Start with [`Threshold`], then `asked.rs` (what a CONNECT asks for, and what is granted) and `connack.rs` (what it is
//! told).

// Input decides nothing here by a panic or a lost bit. Lengths of what is in memory are added saturating: their sum never comes
// near the end of the numbers, and if it did, it would be longer than anything may be.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

mod asked;
mod connack;

use std::sync::Arc;

use crate::access::Permissions;
use crate::clock::Now;
use crate::identity::{ClientId, Identity, Origin};
use crate::mqtt::{Auth, Connect, DecodeError, Out, Outgoing, Packet, Peer, ProtocolVersion, ReasonCode, outgoing};
use crate::session::{Desk, Limits, Saved, Session};
use asked::Asked;

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

/// What is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first packet.
    Waiting,
    /// The answer to [`Step::Authenticate`].
    Checking,
    /// The next step of enhanced authentication, by the caller or by the client.
    Exchanging,
    /// Its place.
    Claiming,
}

/// A connection that has no session yet.
#[derive(Debug)]
pub struct Threshold {
    rules: Arc<Rules>,
    limits: Arc<Limits>,
    stage: Stage,
    /// Means something from the first packet on.
    asked: Asked,
    /// What it may do, once proved.
    may: Option<Arc<Permissions>>,
    /// The last word of enhanced authentication.
    authentication_data: Option<Box<[u8]>>,
}

impl Threshold {
    /// Waits for CONNECT.
    pub fn new(rules: &Arc<Rules>, limits: &Arc<Limits>) -> Threshold {
        Threshold {
            rules: Arc::clone(rules),
            limits: Arc::clone(limits),
            stage: Stage::Waiting,
            asked: Asked::nothing(),
            may: None,
            authentication_data: None,
        }
    }

    /// The version its CONNECT named, once there was one.
    pub fn version(&self) -> Option<ProtocolVersion> {
        (self.stage != Stage::Waiting).then_some(self.asked.peer.version)
    }

    /// The Client Identifier its CONNECT named; empty if it wants one assigned.
    pub fn client_id(&self) -> Option<&str> {
        (self.stage != Stage::Waiting).then_some(&*self.asked.client_id)
    }

    /// A packet from the client.
    ///
    /// # Errors
    /// It is not let in.
    pub fn handle_packet(&mut self, packet: Packet<'_>, out: &mut Out) -> Result<Step, Refused> {
        speak(out, |say| self.take_packet(packet, say))
    }

    fn take_packet(&mut self, packet: Packet<'_>, say: &mut Say) -> Result<Step, Refused> {
        match (self.stage, packet) {
            (Stage::Waiting, Packet::Connect(connect)) => self.handle_connect(*connect, say),
            // Whoever does not begin with CONNECT is told nothing [MQTT-3.1.0-1].
            (Stage::Waiting, _) => Err(Refused { reason: ReasonCode::ProtocolError, why: "MQTT-3.1.0-1" }),
            (Stage::Exchanging, Packet::Auth(auth)) => self.handle_auth(auth, say),
            (_, Packet::Disconnect(_)) => Err(Refused { reason: ReasonCode::Success, why: "the client left" }),
            // Nothing but AUTH and DISCONNECT before CONNACK [MQTT-3.1.2-30] [MQTT-3.1.4-6].
            _ => Err(self.turn_away(ReasonCode::ProtocolError, "MQTT-3.1.2-30", say)),
        }
    }

    fn handle_connect(&mut self, connect: Connect, say: &mut Say) -> Result<Step, Refused> {
        let (asked, credentials) = Asked::of(connect);
        self.asked = asked;
        self.stage = Stage::Checking;
        if let Err(refused) = self.asked.check(&self.limits) {
            return Err(self.turn_away(refused.reason, refused.why, say));
        }
        if let Some(method) = &self.asked.authentication_method {
            if !self.rules.methods.contains(method) {
                return Err(self.turn_away(ReasonCode::BadAuthenticationMethod, "MQTT-4.12.0-1", say));
            }
            self.stage = Stage::Exchanging;
            return Ok(Step::Challenge { method: method.clone(), data: credentials.authentication_data });
        }
        if credentials.user_name.is_some() || credentials.password.is_some() {
            return Ok(Step::Authenticate(Credentials {
                client: self.asked.client_id.clone(),
                user_name: credentials.user_name,
                password: credentials.password,
            }));
        }
        if !self.rules.allow_anonymous {
            return Err(self.turn_away(ReasonCode::NotAuthorized, "anonymous clients are not let in", say));
        }
        let may = Arc::clone(&self.rules.anonymous_may);
        self.claim(Identity::default(), may, say)
    }

    /// The client's part of an exchange that goes on.
    fn handle_auth(&mut self, auth: Auth, say: &mut Say) -> Result<Step, Refused> {
        // Every AUTH names the method of the CONNECT [MQTT-4.12.0-5].
        let method = match (&self.asked.authentication_method, auth.method) {
            (Some(asked), Some(method)) if *asked == method => method,
            _ => return Err(self.turn_away(ReasonCode::BadAuthenticationMethod, "MQTT-4.12.0-5", say)),
        };
        if auth.reason != ReasonCode::ContinueAuthentication {
            return Err(self.turn_away(ReasonCode::ProtocolError, "MQTT-4.12.0-3", say));
        }
        Ok(Step::Challenge { method, data: auth.data })
    }

    /// Bytes that are not a packet. A CONNECT that cannot be read is told nothing; one of a version that is not spoken
    /// here is told so in the layout it is most likely to read [MQTT-3.1.2-2] [MQTT3-3.1.2-2].
    pub fn handle_malformed(&mut self, error: DecodeError, out: &mut Out) -> Refused {
        speak(out, |say| self.take_malformed(error, say))
    }

    fn take_malformed(&self, error: DecodeError, say: &mut Say) -> Refused {
        let refused = Refused { reason: error.reason, why: error.statement };
        match (self.stage, error.reason) {
            (Stage::Waiting, ReasonCode::UnsupportedProtocolVersion) => {
                // A statement of 3.1.1 is broken by a level below 3, which knows no properties.
                let old = error.statement.starts_with("MQTT3-");
                let version = if old { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V5 };
                let peer = Peer { version, ..self.asked.peer };
                *say = refusal(error.reason, None, peer);
                refused
            }
            (Stage::Waiting, _) => refused,
            _ => self.turn_away(error.reason, error.statement, say),
        }
    }

    /// The answer to [`Step::Authenticate`]: who it is and what it may do, or why not.
    ///
    /// # Errors
    /// It is not let in.
    pub fn handle_identity(
        &mut self,
        answer: Result<(Identity, Arc<Permissions>), ReasonCode>,
        out: &mut Out,
    ) -> Result<Step, Refused> {
        speak(out, |say| self.take_identity(answer, say))
    }

    fn take_identity(
        &mut self,
        answer: Result<(Identity, Arc<Permissions>), ReasonCode>,
        say: &mut Say,
    ) -> Result<Step, Refused> {
        match answer {
            _ if self.stage != Stage::Checking => Ok(Step::Wait),
            Ok((identity, may)) => self.claim(identity, may, say),
            Err(reason) => Err(self.turn_away(reason, "user name or password", say)),
        }
    }

    /// The answer to [`Step::Challenge`].
    ///
    /// # Errors
    /// It is not let in.
    pub fn handle_challenge(&mut self, answer: Challenge, out: &mut Out) -> Result<Step, Refused> {
        speak(out, |say| self.take_challenge(answer, say))
    }

    fn take_challenge(&mut self, answer: Challenge, say: &mut Say) -> Result<Step, Refused> {
        if self.stage != Stage::Exchanging {
            return Ok(Step::Wait);
        }
        match answer {
            Challenge::Continue(data) => {
                let method = self.asked.authentication_method.clone().unwrap_or_default();
                if connack::auth_len(&method, &data) > u64::from(self.asked.peer.maximum_packet_size) {
                    return Err(self.turn_away(ReasonCode::PacketTooLarge, "MQTT-3.1.2-24", say));
                }
                // More is asked for with 0x18 and the method of the CONNECT [MQTT-4.12.0-2] [MQTT-4.12.0-5].
                let reason = ReasonCode::ContinueAuthentication;
                *say =
                    Some(Said { packet: Outgoing::Auth { reason, method, data: Some(data) }, peer: self.asked.peer });
                Ok(Step::Wait)
            }
            Challenge::Done(identity, may, data) => {
                self.authentication_data = data;
                self.claim(identity, may, say)
            }
            // An exchange may end at any step, with CONNACK [MQTT-4.12.0-4].
            Challenge::Denied(reason) => Err(self.turn_away(reason, "enhanced authentication", say)),
        }
    }

    /// Who it is is known: asks for its place.
    fn claim(&mut self, identity: Identity, may: Arc<Permissions>, say: &mut Say) -> Result<Step, Refused> {
        if !connack::fits(&self.asked, &self.limits, self.authentication_data.as_deref()) {
            // What has to be said in CONNACK is larger than the client takes [MQTT-3.1.2-24].
            return Err(self.turn_away(ReasonCode::PacketTooLarge, "MQTT-3.1.2-24", say));
        }
        self.may = Some(may);
        self.stage = Stage::Claiming;
        Ok(Step::Claim(Claim {
            client: (!self.asked.client_id.is_empty()).then(|| ClientId::new(&self.asked.client_id)),
            clean_start: self.asked.clean_start,
            session_expiry_s: self.asked.session_expiry_s(&self.limits),
            owner: identity.user,
        }))
    }

    /// Refuses for a reason that lies outside: too many connections, the Client Identifier belongs to somebody else, shutdown.
    pub fn refuse(&mut self, reason: ReasonCode, reason_string: Option<&str>, out: &mut Out) -> Refused {
        speak(out, |say| self.take_refusal(reason, reason_string, say))
    }

    fn take_refusal(&self, reason: ReasonCode, reason_string: Option<&str>, say: &mut Say) -> Refused {
        let reason = connack::sayable(reason);
        if self.stage != Stage::Waiting {
            *say = refusal(reason, reason_string, self.asked.peer);
        }
        Refused { reason, why: "for a reason outside its own packets" }
    }

    /// Refuses a client whose version is known: with a CONNACK, then it is closed [MQTT-3.2.2-7].
    fn turn_away(&self, reason: ReasonCode, why: &'static str, say: &mut Say) -> Refused {
        let reason = connack::sayable(reason);
        *say = refusal(reason, None, self.asked.peer);
        Refused { reason, why }
    }

    /// What it may do, once proved.
    pub fn permissions(&self) -> Option<&Arc<Permissions>> {
        self.may.as_ref()
    }

    /// CONNACK, then the session. Called once there was a [`Step::Claim`], with its answer.
    pub fn open(self, claimed: Claimed, now: Now, desk: &mut Desk<'_>) -> Session {
        let data = self.authentication_data;
        let connack = connack::accepting(&self.asked, &self.limits, &claimed, data);
        outgoing::put(&Outgoing::ConnAck(Box::new(connack)), &self.asked.peer, desk.out);
        let opening = self.asked.into_opening(claimed, &self.limits);
        Session::open(opening, &self.limits, now, desk)
    }
}

/// A packet for the client.
#[derive(Debug, PartialEq)]
struct Said {
    packet: Outgoing,
    peer: Peer,
}

/// What is said in one step: at most one packet.
type Say = Option<Said>;

/// Puts on the wire what `decide` says.
fn speak<T>(out: &mut Out, decide: impl FnOnce(&mut Say) -> T) -> T {
    let mut said = None;
    let decided = decide(&mut said);
    if let Some(Said { packet, peer }) = said {
        outgoing::put(&packet, &peer, out);
    }
    decided
}

/// A CONNACK that refuses, unless the client takes none.
fn refusal(reason: ReasonCode, reason_string: Option<&str>, peer: Peer) -> Say {
    let packet = Outgoing::ConnAck(Box::new(connack::refusing(reason, reason_string)));
    (connack::BARE_BYTES <= peer.maximum_packet_size).then_some(Said { packet, peer })
}

#[cfg(test)]
mod tests;
