//! What a CONNECT asks for, whether it can be granted, and what is granted.

use super::{Claimed, Refused};
use crate::mqtt::{Connect, Peer, ProtocolVersion, QoS, ReasonCode, Will};
use crate::session::{Limits, Opening};

/// What is kept of a CONNECT until its session begins: everything but the secrets.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) peer: Peer,
    pub(super) client_id: Box<str>,
    pub(super) clean_start: bool,
    pub(super) keep_alive_s: u16,
    pub(super) session_expiry_s: u32,
    pub(super) receive_maximum: u16,
    pub(super) topic_alias_maximum: u16,
    pub(super) response_information: bool,
    pub(super) will: Option<Will>,
    pub(super) authentication_method: Option<Box<str>>,
}

/// How it wants to prove who it is. Never kept, never printed.
pub(super) struct Secrets {
    pub(super) user_name: Option<Box<str>>,
    pub(super) password: Option<Box<[u8]>>,
    pub(super) authentication_data: Option<Box<[u8]>>,
}

impl Asked {
    /// Before there is a CONNECT.
    pub(super) fn nothing() -> Self {
        Self {
            peer: Peer { version: ProtocolVersion::V5, maximum_packet_size: u32::MAX, problem_information: true },
            client_id: Box::default(),
            clean_start: true,
            keep_alive_s: 0,
            session_expiry_s: 0,
            receive_maximum: u16::MAX,
            topic_alias_maximum: 0,
            response_information: false,
            will: None,
            authentication_method: None,
        }
    }

    /// Takes a CONNECT apart.
    pub(super) fn of(connect: Connect) -> (Self, Secrets) {
        let asked = Self {
            peer: Peer {
                version: connect.version,
                maximum_packet_size: connect.maximum_packet_size.unwrap_or(u32::MAX),
                problem_information: connect.request_problem_information,
            },
            client_id: connect.client_id,
            clean_start: connect.clean_start,
            keep_alive_s: connect.keep_alive_s,
            session_expiry_s: connect.session_expiry_s,
            receive_maximum: connect.receive_maximum,
            topic_alias_maximum: connect.topic_alias_maximum,
            response_information: connect.request_response_information,
            will: connect.will,
            authentication_method: connect.authentication_method,
        };
        let secrets = Secrets {
            user_name: connect.user_name,
            password: connect.password,
            authentication_data: connect.authentication_data,
        };
        (asked, secrets)
    }

    /// Whether it asks for nothing that cannot be granted. Whether its will may be published is decided when it is.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Refused> {
        let refuse = |reason, why| Err(Refused { reason, why });
        if self.client_id.len() > limits.client_id_bytes_max {
            return refuse(ReasonCode::ClientIdentifierNotValid, "MQTT-3.1.3-8");
        }
        // In 3.1.1 nobody could be told the identifier under which the session is kept.
        if self.client_id.is_empty() && !self.clean_start && !self.peer.version.is_v5() {
            return refuse(ReasonCode::ClientIdentifierNotValid, "MQTT3-3.1.3-8");
        }
        let Some(will) = &self.will else { return Ok(()) };
        if will.qos > limits.maximum_qos {
            return refuse(ReasonCode::QoSNotSupported, "MQTT-3.2.2-12");
        }
        if will.retain && !limits.retain_available {
            return refuse(ReasonCode::RetainNotSupported, "MQTT-3.2.2-13");
        }
        if will.topic.len() > limits.topic_bytes_max || will.topic.split('/').count() > limits.topic_levels_max {
            return refuse(ReasonCode::TopicNameInvalid, "the will's topic is beyond the limits");
        }
        Ok(())
    }

    /// Session Expiry Interval in force, seconds.
    pub(super) fn session_expiry_s(&self, limits: &Limits) -> u32 {
        self.session_expiry_s.min(limits.session_expiry_s_max)
    }

    /// Keep Alive in force, seconds; 0 = none. Only 5.0 can be told that it shall send less often than it wants.
    pub(super) fn keep_alive_s(&self, limits: &Limits) -> u16 {
        let asked = self.keep_alive_s;
        let raised = if asked > 0 && self.peer.version.is_v5() { asked.max(limits.keep_alive_s_min) } else { asked };
        match limits.keep_alive_s_max {
            0 => raised,
            max if raised == 0 => max,
            max => raised.min(max),
        }
    }

    /// Highest QoS to be announced; `None` = all are there.
    pub(super) fn maximum_qos(limits: &Limits) -> Option<u8> {
        (limits.maximum_qos < QoS::ExactlyOnce).then_some(limits.maximum_qos as u8)
    }

    /// What the session begins with.
    pub(super) fn into_opening(self, claimed: Claimed, limits: &Limits) -> Opening {
        Opening {
            keep_alive_s: self.keep_alive_s(limits),
            session_expiry_s: self.session_expiry_s(limits),
            client: claimed.client,
            origin: claimed.origin,
            peer: self.peer,
            receive_maximum: self.receive_maximum,
            topic_alias_maximum: self.topic_alias_maximum,
            durable: claimed.durable,
            will: self.will,
            authentication_method: self.authentication_method,
            saved: claimed.saved,
        }
    }
}
