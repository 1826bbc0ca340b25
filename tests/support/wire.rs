//! The smallest parts of a packet, written so that each can also be wrong.

/// Protocol version a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V3,
    /// MQTT 5.0, level 5.
    V5,
}

/// Property identifiers of MQTT 5.0.
pub mod prop {
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTH_METHOD: u8 = 0x15;
    pub const AUTH_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
    pub const SHARED_AVAILABLE: u8 = 0x2A;
}

/// A Variable Byte Integer in its shortest form.
pub fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A whole packet: first byte, correct Remaining Length, body.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(varint(body.len() as u32));
    bytes.extend_from_slice(body);
    bytes
}

/// A string or binary field: two bytes of length, then the bytes, valid UTF-8 or not.
pub fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// Several byte strings, one after the other.
pub fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Properties in the order they are added, legal or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Props(Vec<u8>);

impl Props {
    /// No property yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a one-byte property.
    pub fn u8(mut self, id: u8, value: u8) -> Self {
        self.0.extend([id, value]);
        self
    }

    /// Adds a two-byte property.
    pub fn u16(mut self, id: u8, value: u16) -> Self {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Adds a four-byte property.
    pub fn u32(mut self, id: u8, value: u32) -> Self {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Adds a Variable Byte Integer property.
    pub fn varint(mut self, id: u8, value: u32) -> Self {
        self.0.push(id);
        self.0.extend(varint(value));
        self
    }

    /// Adds a string or binary property.
    pub fn field(mut self, id: u8, value: impl AsRef<[u8]>) -> Self {
        self.0.push(id);
        self.0.extend(field(value));
        self
    }

    /// Adds a User Property.
    pub fn user(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push(prop::USER_PROPERTY);
        self.0.extend(field(name));
        self.0.extend(field(value));
        self
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes without the Property Length.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Property Length and properties, as they stand in a packet.
    pub fn block(&self) -> Vec<u8> {
        let mut bytes = varint(self.0.len() as u32);
        bytes.extend_from_slice(&self.0);
        bytes
    }

    /// The same for a version: 3.1.1 has no such block.
    pub fn block_for(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V3 => Vec::new(),
            Version::V5 => self.block(),
        }
    }
}
