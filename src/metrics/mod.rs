//! What is counted, and how it reaches whoever asks.
//!
//! Each core counts in its own plain integers ([`Counters`]), once a second puts a copy on the shared [`Board`], and a
//! scrape adds up the copies and renders them ([`Page`]). A count on the hot path costs one addition.
//!
//! *Architecture invariant:* a leaf. It imports nothing of ours, so that every room above the purity line may count;
//! the pure rooms return facts worth counting instead. [`CATALOGUE`] is the only list of metrics: a name that is not in
//! it cannot be counted.
//!
//! Start with `catalogue.rs`.

mod board;
mod catalogue;
mod counters;
mod page;
mod process;

pub use board::Board;
pub use catalogue::{
    CATALOGUE, Closed, Direction, Dropped, Family, Kind, Metric, PacketKind, Qos, Reason, SERIES, Unit,
};
pub use counters::Counters;
pub use page::{Durability, Facts, Page};
