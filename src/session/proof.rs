//! Proving who one is again on a live connection: AUTH.

use super::effect::{Desk, Effect, Ending};
use super::{Reauthentication, Session, broken};
use crate::mqtt::{Auth, Outgoing, ReasonCode};

/// The method of the CONNECT, and whether an exchange is under way.
#[derive(Debug)]
pub(super) struct Proof {
    method: Box<str>,
    under_way: bool,
}

impl Proof {
    /// Proved at CONNECT by `method`.
    pub(super) fn new(method: Box<str>) -> Self {
        Self { method, under_way: false }
    }
}

impl Session {
    /// AUTH: only with the method of the CONNECT [MQTT-4.12.1-1], 0x19 to begin and 0x18 to go on.
    pub(super) fn handle_auth(&mut self, packet: Auth, desk: &mut Desk<'_>) -> Result<(), Ending> {
        let Some(proof) = &mut self.proof else { return broken(ReasonCode::ProtocolError, "MQTT-4.12.0-7") };
        if packet.method.as_deref() != Some(&*proof.method) {
            return broken(ReasonCode::ProtocolError, "MQTT-4.12.1-1");
        }
        match packet.reason {
            ReasonCode::ReAuthenticate if !proof.under_way => proof.under_way = true,
            ReasonCode::ContinueAuthentication if proof.under_way => {}
            _ => return broken(ReasonCode::ProtocolError, "MQTT-4.12.0-3"),
        }
        desk.effects.push(Effect::Reauthenticate(packet));
        Ok(())
    }

    /// The answer to [`Effect::Reauthenticate`].
    ///
    /// # Errors
    /// The client did not prove who it is: the connection ends, DISCONNECT goes first [MQTT-4.12.1-2].
    pub fn handle_reauthentication(&mut self, answer: Reauthentication, desk: &mut Desk<'_>) -> Result<(), Ending> {
        let Some(proof) = &mut self.proof else { return Ok(()) };
        let (reason, data) = match answer {
            Reauthentication::Continue(data) => (ReasonCode::ContinueAuthentication, Some(data)),
            Reauthentication::Done(data) => {
                proof.under_way = false;
                (ReasonCode::Success, data)
            }
            Reauthentication::Denied(ReasonCode::BadAuthenticationMethod) => {
                return Err(Ending::ByServer(ReasonCode::BadAuthenticationMethod));
            }
            // DISCONNECT has no code for bad credentials.
            Reauthentication::Denied(_) => return Err(Ending::ByServer(ReasonCode::NotAuthorized)),
        };
        let method = proof.method.clone();
        let before = desk.out.len();
        self.put(&Outgoing::Auth { reason, method, data }, desk);
        // The client would wait for an answer that it does not take [MQTT-3.1.2-24].
        if desk.out.len() == before { Err(Ending::ByServer(ReasonCode::PacketTooLarge)) } else { Ok(()) }
    }
}
