//! What the fuzz targets do with one input. The same code runs on every change, on a few thousand made-up inputs
//! (`main.rs`), and under libFuzzer for as long as one likes (`make fuzz`).
//!
//! Each target is a `run`, which panics where a property is broken, and `seeds`, inputs to begin with.

pub mod corpus;
pub mod decode;
pub mod filter_match;
pub mod input;
pub mod layers;
pub mod session_ops;
pub mod tls;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Looks at one input.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "decode", run: decode::run, seeds: decode::seeds },
    Target { name: "session_ops", run: session_ops::run, seeds: session_ops::seeds },
    Target { name: "filter_match", run: filter_match::run, seeds: filter_match::seeds },
    Target { name: "layers", run: layers::run, seeds: layers::seeds },
    Target { name: "tls", run: tls::run, seeds: tls::seeds },
];
