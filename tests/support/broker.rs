//! The broker under test: the real binary as a child process, or one that runs already.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::OnceLock;

/// Names an external broker as `host:port`; then none is started.
pub const EXTERNAL: &str = "HERALDMQ_TEST_BROKER";

/// The broker most tests share: anonymous clients are let in, `alice` with password `secret` too, and nobody may publish
/// or subscribe below `forbidden/`.
pub fn shared() -> SocketAddr {
    static ADDR: OnceLock<SocketAddr> = OnceLock::new();
    *ADDR.get_or_init(|| external().expect("HERALDMQ_TEST_BROKER names a broker"))
}

fn external() -> Option<SocketAddr> {
    let name = std::env::var(EXTERNAL).ok()?;
    name.to_socket_addrs().ok()?.next()
}
