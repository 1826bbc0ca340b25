//! Properties in packets of the server: what each is made of and where the server may send it.

use super::wire::prop;

/// A decoded property value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Any of the integer kinds.
    Number(u32),
    /// A string.
    Text(String),
    /// Binary data.
    Binary(Vec<u8>),
    /// A User Property.
    Pair(String, String),
}

/// Properties in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(u8, Value)>);

impl Properties {
    /// Whether it is there.
    pub fn has(&self, id: u8) -> bool {
        self.0.iter().any(|(have, _)| *have == id)
    }

    /// The integer of this property.
    pub fn number(&self, id: u8) -> Option<u32> {
        self.0.iter().find_map(|(have, value)| match value {
            Value::Number(n) if *have == id => Some(*n),
            _ => None,
        })
    }

    /// All integers of this property, in order.
    pub fn numbers(&self, id: u8) -> Vec<u32> {
        let pick = |(have, value): &(u8, Value)| match value {
            Value::Number(n) if *have == id => Some(*n),
            _ => None,
        };
        self.0.iter().filter_map(pick).collect()
    }

    /// The string of this property.
    pub fn text(&self, id: u8) -> Option<&str> {
        self.0.iter().find_map(|(have, value)| match value {
            Value::Text(text) if *have == id => Some(text.as_str()),
            _ => None,
        })
    }

    /// The binary data of this property.
    pub fn binary(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find_map(|(have, value)| match value {
            Value::Binary(bytes) if *have == id => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// The User Properties, in order.
    pub fn user(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter().filter_map(|(_, value)| match value {
            Value::Pair(name, value) => Some((name.as_str(), value.as_str())),
            _ => None,
        });
        pairs.collect()
    }
}

/// Which packets of the server carry a property: bits of [`place`].
pub mod place {
    pub const CONNACK: u8 = 1;
    pub const PUBLISH: u8 = 2;
    pub const ACK: u8 = 4;
    pub const DISCONNECT: u8 = 8;
    pub const AUTH: u8 = 16;
}

enum Kind {
    U8,
    U16,
    U32,
    VarInt,
    Text,
    Binary,
    Pair,
}

fn kind_and_places(id: u8) -> Option<(Kind, u8)> {
    use place::{ACK, AUTH, CONNACK, DISCONNECT, PUBLISH};
    Some(match id {
        prop::PAYLOAD_FORMAT => (Kind::U8, PUBLISH),
        prop::MESSAGE_EXPIRY => (Kind::U32, PUBLISH),
        prop::CONTENT_TYPE | prop::RESPONSE_TOPIC => (Kind::Text, PUBLISH),
        prop::CORRELATION_DATA => (Kind::Binary, PUBLISH),
        prop::SUBSCRIPTION_ID => (Kind::VarInt, PUBLISH),
        prop::TOPIC_ALIAS => (Kind::U16, PUBLISH),
        prop::SESSION_EXPIRY | prop::MAXIMUM_PACKET_SIZE => (Kind::U32, CONNACK),
        prop::ASSIGNED_CLIENT_ID | prop::RESPONSE_INFORMATION => (Kind::Text, CONNACK),
        prop::SERVER_KEEP_ALIVE | prop::RECEIVE_MAXIMUM | prop::TOPIC_ALIAS_MAXIMUM => (Kind::U16, CONNACK),
        prop::AUTH_METHOD => (Kind::Text, CONNACK | AUTH),
        prop::AUTH_DATA => (Kind::Binary, CONNACK | AUTH),
        prop::SERVER_REFERENCE => (Kind::Text, CONNACK | DISCONNECT),
        prop::REASON_STRING => (Kind::Text, CONNACK | ACK | DISCONNECT | AUTH),
        prop::MAXIMUM_QOS
        | prop::RETAIN_AVAILABLE
        | prop::WILDCARD_AVAILABLE
        | prop::SUBSCRIPTION_ID_AVAILABLE
        | prop::SHARED_AVAILABLE => (Kind::U8, CONNACK),
        prop::USER_PROPERTY => (Kind::Pair, CONNACK | PUBLISH | ACK | DISCONNECT | AUTH),
        _ => return None,
    })
}

/// Reads one packet body from front to back; every error is a sentence about the broker.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over a packet body.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or("the packet ends inside a field")?;
        self.bytes = tail;
        Ok(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// Two bytes, big endian.
    pub fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A Variable Byte Integer in its shortest form.
    pub fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0u32;
        for position in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || position == 0;
                return if shortest { Ok(value) } else { Err("[MQTT-1.5.5-1] a length is not minimal".into()) };
            }
        }
        Err("[MQTT-1.5.5-1] a length has more than four bytes".into())
    }

    /// Binary data with its length.
    pub fn binary(&mut self) -> Result<&'a [u8], String> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A string.
    pub fn text(&mut self) -> Result<String, String> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| "[MQTT-1.5.4-1] a string is not UTF-8")?;
        if text.contains('\0') {
            return Err("[MQTT-1.5.4-2] a string holds U+0000".into());
        }
        Ok(text.to_owned())
    }

    /// A property block that stands in a packet of this place.
    pub fn properties(&mut self, here: u8) -> Result<Properties, String> {
        let length = self.varint()? as usize;
        let mut block = Reader::new(self.take(length)?);
        let mut properties = Properties::default();
        while !block.is_empty() {
            let id = block.u8()?;
            let Some((kind, places)) = kind_and_places(id) else {
                return Err(format!("a server never sends property 0x{id:02X}"));
            };
            if places & here == 0 {
                return Err(format!("property 0x{id:02X} does not belong into this packet"));
            }
            if properties.has(id) && id != prop::USER_PROPERTY && id != prop::SUBSCRIPTION_ID {
                return Err(format!("property 0x{id:02X} comes twice"));
            }
            let value = block.value(kind)?;
            check_range(id, &value)?;
            properties.0.push((id, value));
        }
        Ok(properties)
    }

    fn value(&mut self, kind: Kind) -> Result<Value, String> {
        Ok(match kind {
            Kind::U8 => Value::Number(u32::from(self.u8()?)),
            Kind::U16 => Value::Number(u32::from(self.u16()?)),
            Kind::U32 => Value::Number(self.u32()?),
            Kind::VarInt => Value::Number(self.varint()?),
            Kind::Text => Value::Text(self.text()?),
            Kind::Binary => Value::Binary(self.binary()?.to_vec()),
            Kind::Pair => Value::Pair(self.text()?, self.text()?),
        })
    }
}

fn check_range(id: u8, value: &Value) -> Result<(), String> {
    let Value::Number(number) = value else { return Ok(()) };
    let legal = match id {
        prop::PAYLOAD_FORMAT
        | prop::MAXIMUM_QOS
        | prop::RETAIN_AVAILABLE
        | prop::WILDCARD_AVAILABLE
        | prop::SUBSCRIPTION_ID_AVAILABLE
        | prop::SHARED_AVAILABLE => *number <= 1,
        prop::SUBSCRIPTION_ID | prop::TOPIC_ALIAS | prop::RECEIVE_MAXIMUM | prop::MAXIMUM_PACKET_SIZE => *number > 0,
        _ => true,
    };
    if legal { Ok(()) } else { Err(format!("property 0x{id:02X} has the illegal value {number}")) }
}
