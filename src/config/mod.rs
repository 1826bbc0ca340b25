//! What the operator wants: read from one TOML file and the environment, checked whole, and turned into the options of
//! the other rooms.
//!
//! [`file::SETTINGS`] declares every setting once; reading, the environment, the sample file and the reference page all
//! follow from it. [`load`] reports every mistake at once, with key, place and the value found, and either gives a
//! whole [`Config`] or nothing.
//!
//! *Architecture invariant:* no room imports this one but `server` and the program itself: a room's options belong to
//! the room, and this room fills them in. Nothing here opens a socket or starts anything.
//!
//! Start with `file.rs` (what may be written), then `options.rs` (what is meant) and `resolve.rs`
//! (from one to the other).

pub mod file;
mod mistake;
mod options;
mod read;
pub mod reference;
pub mod reload;
mod resolve;

pub use mistake::{Mistake, Mistakes, Place};
pub use options::{Config, Intake, Listener, Log, LogFormat};

use std::ffi::OsString;
use std::path::Path;

/// Reads `file` (`None`: only defaults) and the `HERALDMQ_…` variables of `environment`, checks everything, and says
/// what is meant.
///
/// # Errors
/// All mistakes that were found.
pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Config, Mistakes> {
    let name = file.map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    let text = match file.map(std::fs::read_to_string) {
        None => String::new(),
        Some(Ok(text)) => text,
        Some(Err(error)) => return Err(Mistakes::of(&name, vec![Mistake::unreadable(&error)])),
    };
    load_text(&name, &text, environment)
}

/// [`load`] for a text that is already there; `name` is how mistakes call it.
///
/// # Errors
/// All mistakes that were found.
pub fn load_text(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, Mistakes> {
    let (values, mistakes) = read::read(text, environment);
    resolve::resolve(values, mistakes).map_err(|mistakes| Mistakes::of(name, mistakes))
}

#[cfg(test)]
mod tests;
