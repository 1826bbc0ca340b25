//! The store in memory as it is, locks apart; records and the rest are the library's.

#[path = "../../src/store/early.rs"]
pub mod early;
#[path = "../../src/store/memory/mod.rs"]
pub mod memory;

pub use heraldmq::store::{
    Bounds, Level, Levels, Lost, Marks, Publisher, Recipient, Record, Recovered, SessionRecord, Store, TopicLevels,
    WhenFull, record,
};
