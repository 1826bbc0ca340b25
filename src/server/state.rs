//! What all clients share, from configuration to a broker that has taken over what its store kept.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::broker::Broker;
use crate::broker::directory::Directory;
use crate::broker::index::Index;
use crate::broker::later::Later;
use crate::broker::retain::{Limits, Retained};
use crate::clock::{Moment, Now};
use crate::config::{Config, StoreMode};
use crate::store::Store;
use crate::store::memory::Memory;

/// Opens the store and builds the broker on it. `started` is where the process's clock begins.
pub(super) fn broker(config: &Config, started: Instant) -> Arc<Broker> {
    let store: Arc<dyn Store> = match config.store_mode {
        StoreMode::Memory => Arc::new(Memory::instant(config.queue)),
    };
    let retained = Limits { messages: config.intake.retained_messages_max, ..Limits::default() };
    let broker = Broker {
        index: Index::new(),
        retained: Retained::new(retained),
        directory: Directory::new(),
        later: Later::new(),
        store,
    };
    let sessions = broker.recover(now(started));
    tracing::info!(store = broker.store.mode(), sessions, retained = broker.retained.count(), "state is there");
    Arc::new(broker)
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { moment: Moment::from_ms(started.elapsed().as_millis() as u64), wall_ms: wall.as_millis() as u64 }
}
