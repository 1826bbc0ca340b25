//! The log: to standard error, as text or JSON, with a filter that can be changed while the process runs.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// The log's control.
#[derive(Debug)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Telemetry {
    /// Begins logging for the whole process, and keeps the handle to change the filter.
    ///
    /// # Errors
    /// The filter is not one, or the process logs already.
    pub fn install(log: &Log) -> Result<Self, String> {
        let filter = EnvFilter::try_new(&log.level).map_err(|error| error.to_string())?;
        let (filter, handle) = reload::Layer::new(filter);
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match log.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        subscriber.try_init().map_err(|error| error.to_string())?;
        Ok(Self { filter: handle })
    }

    /// Changes the filter.
    ///
    /// # Errors
    /// It is not one; the old one stays.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }
}
