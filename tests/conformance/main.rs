//! Every normative statement of MQTT 3.1.1 and 5.0, shown on raw bytes through a real socket.
//!
//! A test is named by the statement it shows, so a failing run reads as a list of broken promises. One file per chapter
//! of the standard; `ledger.toml` says for each statement which tests show it, or why none can.

#[path = "../support/mod.rs"]
mod support;

mod ledger;
mod v3;
mod v5;
