//! What operators do with a store that no broker has open: look for damage, count, save what is left, copy it and bring it back.
//!
//! Start with `survey.rs`. A backup is made by the broker itself (`backup.rs`), everything else by `heraldmq store`.

mod backup;
mod salvage;
mod survey;
mod walk;

pub(super) use backup::backup;
pub use backup::restore;
pub use salvage::{Salvaged, salvage};
pub use survey::{Damage, Stats, Survey, survey};

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::folder;
use super::open::OpenError;

/// A folder that is to be made must not be there, or be empty.
fn refuse_taken(folder: &Path) -> Result<(), OpenError> {
    match folder::names(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::system(folder, error)),
        Ok(names) if names.is_empty() => Ok(()),
        Ok(_) => Err(OpenError::system(folder, io::Error::new(io::ErrorKind::AlreadyExists, "is not empty"))),
    }
}

/// Copies the files of a folder, and makes them durable. What lies in folders inside of it is no part of a store.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for name in folder::names(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        if fs::symlink_metadata(&source)?.is_file() && name != "LOCK" {
            fs::copy(source, &target)?;
            File::open(target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests;
