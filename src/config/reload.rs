//! What changed between two configurations, and when each change takes effect.

use super::file::{Reload, SETTINGS, Setting};
use super::options::Config;

/// One setting that has another value now.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'c> {
    /// Which.
    pub setting: &'static Setting,
    /// As it was.
    pub before: &'c str,
    /// As it is.
    pub after: &'c str,
}

/// Every setting whose value differs, in the order of the declaration.
pub fn changes<'c>(before: &'c Config, after: &'c Config) -> Vec<Changed<'c>> {
    let value = |config: &'c Config, setting: &Setting| config.values.get(setting.path).map_or("", String::as_str);
    SETTINGS
        .iter()
        .map(|setting| Changed { setting, before: value(before, setting), after: value(after, setting) })
        .filter(|changed| changed.before != changed.after)
        .collect()
}

/// Whether something changed that only a restart brings into effect.
pub fn needs_restart(changes: &[Changed<'_>]) -> bool {
    changes.iter().any(|changed| changed.setting.reload == Reload::Restart)
}
