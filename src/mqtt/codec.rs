//! The only file that knows the crate mqttbytes: reading and writing the packets that come seldom, behind
//! the validator and never without it.
//!
//! *Read through mqttbytes*, because it is right for every packet the validator lets through: CONNECT of
//! both versions with the login cut off, SUBSCRIBE of both versions, UNSUBSCRIBE of 3.1.1, acknowledgements
//! with properties, DISCONNECT of two bytes or more. *Written through it*: CONNACK (always with properties,
//! without which it forgets their length), SUBACK, UNSUBACK, acknowledgements and DISCONNECT with a Reason
//! String.
//!
//! *Our own*, because it is wrong or missing there:
//!
//! - login: it reads passwords as text and takes an empty user name for none, so the tail is read as bytes;
//! - `MQIsdp`, which it does not know: such a CONNECT is handed to it under the name it knows;
//! - Will Properties: taken in wire form as the client wrote them;
//! - DISCONNECT of zero or one byte, which it takes for cut short, and those without a Reason String;
//! - UNSUBSCRIBE of 5.0, at which it writes to standard error;
//! - AUTH, which it does not have.
//!
//! PUBLISH, plain acknowledgements and PINGRESP are our own for speed: no allocation, no copy of the topic.
//! Topic matching is never left to it: it panics on the first character of some topics.

mod read;
mod write;

pub(super) use read::{ack, auth, connect, disconnect, subscribe, unsubscribe};
pub(super) use write::{Advice, ack_with_reason_string, connack, disconnect_with_reason_string, suback, unsuback};

#[cfg(test)]
mod tests;
