//! Statements of MQTT 3.1.1.
//!
//! 3.1.1 has no reason codes towards the client: most broken rules show as a connection that is closed without a word.

mod s1_5_strings;
mod s2_fixed_header;
mod s3_01_connect;
mod s3_01_session;
mod s3_01_will;
mod s3_02_connack;
mod s3_03_publish;
mod s3_08_subscribe;
mod s3_10_unsubscribe;
mod s3_12_ending;
mod s4_1_sessions;
mod s4_3_qos;
mod s4_6_order;
mod s4_7_topics;
mod s4_8_errors;
mod s6_websocket;
mod s7_targets;

use crate::support::client::{CLOSE, Client};
use crate::support::talk::connected;
use crate::support::wire::Version::V3;

/// A connected client sends these bytes and is closed without an answer.
#[track_caller]
fn closes(bytes: &[u8]) {
    let mut client = connected(V3);
    client.send(bytes);
    client.expect_closed(CLOSE);
}

/// These bytes, the first on their connection, close it without an answer.
#[track_caller]
fn closes_at_once(bytes: &[u8]) {
    let mut client = Client::raw(V3);
    client.send(bytes);
    client.expect_closed(CLOSE);
}
