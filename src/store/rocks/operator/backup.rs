//! Copies of a store: made while it is open, looked at and brought back while it is not.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;

use super::super::marker::{self, Contents, Marker, Newest, State};
use super::super::open::{self, Live, OpenError};
use super::{copy, refuse_taken, survey};

/// Copies a database that is open to a folder that is not there yet. Tables are linked, not copied, where the file system is
/// the same. Without the marks, which come last, a backup is not taken for one.
pub(in super::super) fn backup(db: &DB, to: &Path) -> Result<(), OpenError> {
    let wrong = |error| OpenError::system(to, error);
    refuse_existing(to)?;
    let contents = open::read_marker(db.path())?;
    let contents = contents.ok_or_else(|| OpenError::refused(db.path(), "has no marker"))?;
    if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(wrong)?;
    }
    let failed = |error: rocksdb::Error| OpenError::database(to, &error);
    Checkpoint::new(db).and_then(|checkpoint| checkpoint.create_checkpoint(to)).map_err(failed)?;
    fs::set_permissions(to, Permissions::from_mode(0o700)).map_err(wrong)?;
    let sequence = open::read_only(to)?.latest_sequence_number();
    let contents = Contents { state: State::Open, newest: Newest::of(to).map_err(wrong)?, sequence, ..contents };
    let live = open::hold(to, contents.id, Live::Make)?;
    Marker::new(to.to_owned(), contents, live).begin().map_err(wrong)
}

fn refuse_existing(to: &Path) -> Result<(), OpenError> {
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::system(to, error)),
        Ok(_) => Err(OpenError::system(to, io::Error::new(io::ErrorKind::AlreadyExists, "is there already"))),
    }
}

/// Puts a copy of a backup where a broker opens it. The backup is read from end to end first.
///
/// # Errors
/// The backup is damaged; there is something at `to`; or the system refuses.
pub fn restore(backup: &Path, to: &Path) -> Result<(), OpenError> {
    refuse_taken(to)?;
    if let Some(damage) = survey(backup)?.damage.into_iter().next() {
        return Err(OpenError::refused(Path::new(&damage.place), damage.what));
    }
    let part = beside(to, "part");
    refuse_existing(&part)?;
    let wrong = |error| OpenError::system(&part, error);
    DirBuilder::new().recursive(true).mode(0o700).create(&part).map_err(wrong)?;
    let copied = copy(backup, &part).and_then(|()| put_in_place(&part, to));
    if copied.is_err() {
        // Half a copy is of no use, and was made here.
        let _ = fs::remove_dir_all(&part);
    }
    copied.map_err(wrong)
}

/// Gives a store that is whole the name under which a broker opens it.
pub(super) fn put_in_place(part: &Path, to: &Path) -> io::Result<()> {
    fs::rename(part, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    marker::sync_folder(parent)
}

/// A name beside a folder.
pub(super) fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.components().collect::<PathBuf>().into_os_string();
    name.push(format!(".{ending}"));
    name.into()
}
