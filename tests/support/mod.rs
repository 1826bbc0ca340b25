//! What every black-box test stands on: a raw MQTT client, a judge of what the broker sends, and the broker itself.
//!
//! Nothing here uses the library. The client builds packets byte by byte (wrong ones too) and reads the broker's answers
//! with a decoder of its own, because a codec cannot be judged by itself. Every connection is watched ([`watch`]):
//! rules that hold always are checked always, whatever the test is about.
//!
//! Start reading at [`client`], then [`talk`] for the everyday phrases.

// Two test binaries share this folder and neither uses all of it.
#![allow(dead_code)]

pub mod broker;
pub mod build;
pub mod client;
pub mod packet;
pub mod property;
pub mod talk;
pub mod transport;
pub mod watch;
pub mod wire;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a test waits for what must come. Generous: it only costs time when the test fails.
pub const WAIT: Duration = Duration::from_secs(20);

/// How long a test listens to be sure that nothing comes.
pub const QUIET: Duration = Duration::from_millis(300);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A name no other test of this run uses, for topics and Client Identifiers.
pub fn unique(word: &str) -> String {
    format!("{word}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}
