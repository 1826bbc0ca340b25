//! (interim)
use super::layout;
use super::marker::Marker;
use rocksdb::DB;
use std::path::Path;
/// e
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// s
    #[error("system")]
    System(std::io::Error),
    /// d
    #[error("{0}")]
    Damaged(String),
}
impl OpenError {
    pub(super) fn damaged(folder: &Path, error: &dyn std::error::Error) -> Self {
        Self::Damaged(format!("{}: {error}", folder.display()))
    }
}
pub(super) struct Opened {
    pub(super) db: DB,
    pub(super) marker: Marker,
}
pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let db = DB::open_cf_descriptors(&layout::options(), folder, layout::families())
        .map_err(|error| OpenError::damaged(folder, &error))?;
    Ok(Opened { db, marker: Marker })
}
