//! The network: sockets, TLS and WebSocket, up to the point where bytes are MQTT's.
//!
//! A [`Listener`] accepts, a [`Transport`] moves bytes, and between the two ends of the wire and the
//! packets stand the [`Layers`]: TLS and WebSocket as state machines that are handed bytes and give
//! bytes back. Only `transport.rs` and `listener.rs` do I/O; the layers never touch a socket, so every
//! split of every byte stream can be tested in memory.
//!
//! *Architecture invariant:* this room knows no MQTT packet, no client and no session. It never waits:
//! there is no task, no thread and no timer here, and deadlines (a handshake that takes too long) are
//! the core's. An idle connection holds no buffer of this room. Only `tls.rs` says `rustls`.
//!
//! Start with [`Layers`], then `transport.rs` and `listener.rs`.

// Input decides nothing here by a panic or a lost bit. Positions are within what is in memory: added saturating, they never come
// near the end of the numbers.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

pub mod frame;
pub mod layer;
pub mod listener;
pub mod pipe;
pub mod tls;
pub mod transport;
pub mod upgrade;
pub mod websocket;

pub use layer::{LayerError, Layers, Progress};
pub use listener::{Endpoint, Kind, ListenError, Listener, ListenerOptions};
pub use pipe::{Pipe, pipe};
pub use tls::{TlsConfig, TlsError, TlsFault, TlsOptions};
pub use transport::Transport;
