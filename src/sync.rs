//! Locks and atomics of everything that several cores touch at once, under one name.
//!
//! Here they are what they are called. `tests/races` compiles the same rooms with others of the same names, under which a
//! scheduler decides before each step whose turn it is; so who shares something between cores takes its lock from here.

pub use dashmap::DashMap;
pub use dashmap::mapref::entry::Entry;
pub use parking_lot::{Mutex, MutexGuard, RwLock};
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
