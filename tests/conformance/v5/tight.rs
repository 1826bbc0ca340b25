//! A client that takes only the smallest packets the broker can live with.

use std::sync::OnceLock;

use crate::support::WAIT;
use crate::support::build::Connect;
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::unique;
use crate::support::wire::Version::V5;

/// The smallest Maximum Packet Size whose client is let in: a CONNACK with the broker's limits has to fit.
fn limit() -> u32 {
    static LIMIT: OnceLock<u32> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let lets_in = |limit: &u32| {
            let mut client = Connect::new(V5, unique("c")).packet_bytes_max(*limit).attempt();
            matches!(client.poll(WAIT), Event::Packet(Packet::Connack(connack)) if connack.code == 0)
        };
        (10..=48).find(lets_in).expect("a CONNACK needs no more than 48 bytes")
    })
}

/// Such a client, let in. Whatever comes is measured by the watch.
#[track_caller]
pub fn tight() -> Client {
    Connect::new(V5, unique("c")).packet_bytes_max(limit()).open()
}
