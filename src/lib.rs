//! HeraldMQ, a push broker over standard MQTT.
#![deny(unsafe_code)]

pub mod access;
pub mod admin;
pub mod auth;
pub mod bench;
pub mod broker;
pub mod certs;
pub mod clock;
pub mod config;
pub mod core;
pub mod identity;
pub mod message;
pub mod metrics;
pub mod mqtt;
pub mod net;
pub mod server;
pub mod session;
pub mod store;
pub mod sync;
pub mod threshold;
pub mod topic;
pub mod wake;
