//! What all clients share, from configuration to a broker that has taken over what its store kept.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::broker::Broker;
use crate::broker::directory::Directory;
use crate::broker::index::Index;
use crate::broker::later::Later;
use crate::broker::repair::Repairs;
use crate::broker::retain::{Limits, Retained};
use crate::clock::{Moment, Now};
use crate::config::Config;
use crate::store::memory::Memory;
use crate::store::record::Epoch;
use crate::store::rocks::{Clock, OpenError, Rocks, Settings, keep_files_private};
use crate::store::{Level, Store};

/// Opens the store and builds the broker on it. `started` is where the process's clock begins.
///
/// # Errors
/// The data folder cannot be used.
pub(super) fn broker(config: &Config, started: Instant) -> Result<Arc<Broker>, OpenError> {
    let now = now(started);
    keep_files_private();
    let epoch = Epoch { wall_at_start_ms: now.wall_ms.saturating_sub(now.moment.as_ms()) };
    let clock: Clock = Arc::new(move || Moment::from_ms(started.elapsed().as_millis() as u64));
    let (bounds, age_max_s) = (config.queue, config.queue_age_max_s);
    let store: Arc<dyn Store> = match config.store_mode {
        Level::Memory => Arc::new(Memory::instant(bounds)),
        level => Arc::new(Rocks::start(&config.data_dir, Settings { level, bounds, age_max_s, epoch, clock })?),
    };
    let retained = Limits { messages: config.intake.retained_messages_max, ..Limits::default() };
    let broker = Broker {
        index: Index::new(),
        retained: Retained::new(retained),
        directory: Directory::bounded(config.intake.sessions_max),
        later: Later::new(),
        repairs: Repairs::default(),
        store,
        levels: config.levels(),
    };
    let sessions = broker.recover(now);
    if sessions > config.intake.sessions_max {
        let most = config.intake.sessions_max;
        tracing::warn!(sessions, most, "there are more sessions than limits.sessions_max: new ones are refused");
    }
    tracing::info!(store = config.store_mode.name(), sessions, retained = broker.retained.count(), "state is there");
    for (listener, level) in &broker.levels.listeners {
        tracing::info!(listener, level = level.name(), "durability");
    }
    for (topic, level) in broker.levels.topics.iter() {
        tracing::info!(topic, level = level.name(), "durability");
    }
    Ok(Arc::new(broker))
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { moment: Moment::from_ms(started.elapsed().as_millis() as u64), wall_ms: wall.as_millis() as u64 }
}
