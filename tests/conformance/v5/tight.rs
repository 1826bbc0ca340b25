//! A client that takes only the smallest packets the broker can live with.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;

use crate::support::build::Connect;
use crate::support::client::Client;
use crate::support::wire::Version::V5;
use crate::support::{WAIT, broker, unique};

/// The smallest Maximum Packet Size whose client is let in: a CONNACK with the broker's limits has to fit.
///
/// Asked without the watch, because a broker that lets in and sends a CONNACK that is too large fails another test.
fn limit() -> u32 {
    static LIMIT: OnceLock<u32> = OnceLock::new();
    *LIMIT.get_or_init(|| (10..=48).find(lets_in).expect("a CONNACK needs no more than 48 bytes"))
}

fn lets_in(limit: &u32) -> bool {
    let mut stream = TcpStream::connect(broker::shared()).expect("the broker listens");
    stream.set_read_timeout(Some(WAIT)).expect("a non-zero time limit is legal");
    let connect = Connect::new(V5, unique("c")).packet_bytes_max(*limit).bytes();
    stream.write_all(&connect).expect("a fresh connection takes a CONNECT");
    let mut head = [0; 4];
    let code = stream.read_exact(&mut head).map(|()| head[3]);
    matches!(code, Ok(0)) && head[0] == 0x20 && u32::from(head[1]) + 2 <= *limit
}

/// Such a client, let in. Whatever comes is measured by the watch.
#[track_caller]
pub fn tight() -> Client {
    Connect::new(V5, unique("c")).packet_bytes_max(limit()).open()
}
