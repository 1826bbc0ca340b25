//! Packets a client sends. Defaults are legal; every field can be made wrong.

use super::wire::{Props, Version, concat, field, frame, prop};

/// A CONNECT in the making.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Layout of the packet, and by default its Protocol Level.
    pub version: Version,
    /// Protocol Name.
    pub name: Vec<u8>,
    /// Protocol Level.
    pub level: u8,
    /// Connect Flags as sent; `None`: whatever the fields below call for.
    pub flags: Option<u8>,
    /// Clean Start, or CleanSession.
    pub clean: bool,
    /// Keep Alive, seconds.
    pub keep_alive_s: u16,
    /// CONNECT properties.
    pub props: Props,
    /// Client Identifier.
    pub client: Vec<u8>,
    /// The will.
    pub will: Option<Will>,
    /// User Name.
    pub user: Option<Vec<u8>>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Bytes behind the last field.
    pub tail: Vec<u8>,
}

/// A will in the making.
#[derive(Debug, Clone)]
pub struct Will {
    /// Will Topic.
    pub topic: Vec<u8>,
    /// Will Payload.
    pub payload: Vec<u8>,
    /// Will QoS.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties.
    pub props: Props,
}

impl Will {
    /// QoS 0, not retained, no properties.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: false,
            props: Props::new(),
        }
    }

    /// At this QoS.
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Retained.
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// With these Will Properties (5.0).
    pub fn props(mut self, props: Props) -> Self {
        self.props = props;
        self
    }

    /// Published so many seconds after the connection is gone (5.0).
    pub fn delay_s(mut self, seconds: u32) -> Self {
        self.props = self.props.u32(prop::WILL_DELAY, seconds);
        self
    }
}

impl Connect {
    /// Clean Start 1, Keep Alive 60.
    pub fn new(version: Version, client: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            name: b"MQTT".to_vec(),
            level: if version == Version::V5 { 5 } else { 4 },
            flags: None,
            clean: true,
            keep_alive_s: 60,
            props: Props::new(),
            client: client.as_ref().to_vec(),
            will: None,
            user: None,
            password: None,
            tail: Vec::new(),
        }
    }

    /// Clean Start or CleanSession.
    pub fn clean(mut self, clean: bool) -> Self {
        self.clean = clean;
        self
    }

    /// A session that outlives its connection by these seconds; 3.1.1 can only say "for good".
    pub fn kept_s(mut self, seconds: u32) -> Self {
        match self.version {
            Version::V3 => self.clean = false,
            Version::V5 => self.props = self.props.u32(prop::SESSION_EXPIRY, seconds),
        }
        self
    }

    /// Continue the session if there is one, and keep it for ten minutes.
    pub fn resume(self) -> Self {
        self.clean(false).kept_s(600)
    }

    /// Keep Alive.
    pub fn keep_alive_s(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// More CONNECT properties, behind those there are.
    pub fn props(mut self, props: Props) -> Self {
        self.props = self.props.raw(props.bytes());
        self
    }

    /// Receive Maximum (5.0).
    pub fn receive_maximum(mut self, value: u16) -> Self {
        self.props = self.props.u16(prop::RECEIVE_MAXIMUM, value);
        self
    }

    /// Maximum Packet Size (5.0).
    pub fn packet_bytes_max(mut self, value: u32) -> Self {
        self.props = self.props.u32(prop::MAXIMUM_PACKET_SIZE, value);
        self
    }

    /// The will.
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// User Name and Password.
    pub fn login(mut self, user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Self {
        self.user = Some(user.as_ref().to_vec());
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// Connect Flags as they are, whatever the payload holds.
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = Some(flags);
        self
    }

    /// Bytes behind the last field, inside the packet.
    pub fn tail(mut self, bytes: &[u8]) -> Self {
        self.tail = bytes.to_vec();
        self
    }

    fn natural_flags(&self) -> u8 {
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | (will.qos << 3) | (u8::from(will.retain) << 5);
        }
        flags | (u8::from(self.password.is_some()) << 6) | (u8::from(self.user.is_some()) << 7)
    }

    /// Everything behind the fixed header.
    pub fn body(&self) -> Vec<u8> {
        let mut body = field(&self.name);
        body.push(self.level);
        body.push(self.flags.unwrap_or_else(|| self.natural_flags()));
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(self.props.block_for(self.version));
        body.extend(field(&self.client));
        if let Some(will) = &self.will {
            body.extend(will.props.block_for(self.version));
            body.extend(field(&will.topic));
            body.extend(field(&will.payload));
        }
        for optional in [&self.user, &self.password].into_iter().flatten() {
            body.extend(field(optional));
        }
        body.extend_from_slice(&self.tail);
        body
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        frame(0x10, &self.body())
    }
}

/// A PUBLISH in the making.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Topic Name.
    pub topic: Vec<u8>,
    /// 0 to 3.
    pub qos: u8,
    /// Packet Identifier; absent at QoS 0.
    pub id: u16,
    /// DUP.
    pub dup: bool,
    /// RETAIN.
    pub retain: bool,
    /// PUBLISH properties.
    pub props: Props,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Publication {
    /// QoS 0, no flags, no properties.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.as_ref().to_vec(),
            qos: 0,
            id: 0,
            dup: false,
            retain: false,
            props: Props::new(),
            payload: payload.as_ref().to_vec(),
        }
    }

    /// At this QoS with this Packet Identifier.
    pub fn qos(mut self, qos: u8, id: u16) -> Self {
        self.qos = qos;
        self.id = id;
        self
    }

    /// RETAIN 1.
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// DUP 1.
    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// With these properties (5.0).
    pub fn props(mut self, props: Props) -> Self {
        self.props = props;
        self
    }

    /// The packet in a version's layout.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let first = 0x30 | (u8::from(self.dup) << 3) | (self.qos << 1) | u8::from(self.retain);
        let id = if self.qos > 0 { self.id.to_be_bytes().to_vec() } else { Vec::new() };
        let parts: [&[u8]; 4] = [&field(&self.topic), &id, &self.props.block_for(version), &self.payload];
        frame(first, &concat(&parts))
    }
}

/// SUBSCRIBE with these (filter, options byte) pairs.
pub fn subscribe(version: Version, id: u16, props: &Props, filters: &[(&[u8], u8)]) -> Vec<u8> {
    let mut body = concat(&[&id.to_be_bytes(), &props.block_for(version)]);
    for (filter, options) in filters {
        body.extend(field(filter));
        body.push(*options);
    }
    frame(0x82, &body)
}

/// UNSUBSCRIBE with these filters.
pub fn unsubscribe(version: Version, id: u16, props: &Props, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = concat(&[&id.to_be_bytes(), &props.block_for(version)]);
    for filter in filters {
        body.extend(field(filter));
    }
    frame(0xA2, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP by its first byte; the reason code only where it is not 0.
pub fn ack(first: u8, id: u16, reason: u8) -> Vec<u8> {
    let id = id.to_be_bytes();
    if reason == 0 { frame(first, &id) } else { frame(first, &[id[0], id[1], reason]) }
}

/// First byte of PUBACK.
pub const PUBACK: u8 = 0x40;
/// First byte of PUBREC.
pub const PUBREC: u8 = 0x50;
/// First byte of PUBREL.
pub const PUBREL: u8 = 0x62;
/// First byte of PUBCOMP.
pub const PUBCOMP: u8 = 0x70;
/// A whole PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// DISCONNECT; 3.1.1 has no reason code.
pub fn disconnect(version: Version, reason: u8) -> Vec<u8> {
    if version == Version::V3 || reason == 0 { vec![0xE0, 0x00] } else { vec![0xE0, 0x01, reason] }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP with reason code and properties (5.0).
pub fn ack_with(first: u8, id: u16, reason: u8, props: &Props) -> Vec<u8> {
    frame(first, &concat(&[&id.to_be_bytes(), &[reason], &props.block()]))
}

/// DISCONNECT with properties (5.0).
pub fn disconnect_with(reason: u8, props: &Props) -> Vec<u8> {
    frame(0xE0, &concat(&[&[reason], &props.block()]))
}

/// AUTH (5.0).
pub fn auth(reason: u8, props: &Props) -> Vec<u8> {
    frame(0xF0, &concat(&[&[reason], &props.block()]))
}
