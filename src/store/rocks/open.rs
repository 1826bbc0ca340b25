//! Opening a folder: what a crash leaves is repaired, what anything else did to it is refused and left as it is.
//!
//! A kill or a power cut can leave the last log with a record that was never finished; nobody was acknowledged for it. All else
//! that is missing or does not fit was there once: files are looked at (`journal.rs`), the database is opened for reading
//! only, and only a database that reached what its marks say (`marker.rs`, `live.rs`) is opened for writing.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{DB, ErrorKind};

use super::journal::{self, End};
use super::layout::{self, META};
use super::live::{self, LIVE, LiveMark};
use super::marker::{self, Contents, MARKER, Marker, MarkerError, Newest, State, StoreId};
use super::{folder, journal::end_of};
use crate::store::record;

/// Key in `meta` of the store id.
const ID: &[u8] = b"store id";

/// Why a store was not opened. What was refused is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system gives no folder, no file or no thread.
    #[error("{}: {source}", folder.display())]
    System {
        /// The folder, or the file in it.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("{}: another process is using this store; two brokers cannot share one", .0.display())]
    InUse(PathBuf),
    /// Something that must be there is missing or damaged, or others could have got at it. Nothing was changed.
    #[error("{}: {what}", file.display())]
    Damaged {
        /// What is wrong: a file, or the folder.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl OpenError {
    pub(super) fn refused(file: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }

    pub(super) fn system(path: &Path, source: io::Error) -> Self {
        Self::System { folder: path.to_owned(), source }
    }

    /// Rows that cannot be read. The text may name the file.
    pub(super) fn unreadable(folder: &Path, error: &dyn std::error::Error) -> Self {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let text = error.to_string();
        let what = if text.contains(source.trim_start_matches(": ")) { text } else { text + &source };
        Self::Damaged { file: named_in(&what, folder).unwrap_or_else(|| folder.to_owned()), what }
    }

    pub(super) fn database(folder: &Path, error: &rocksdb::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::IOError if text.contains("lock") && text.contains("LOCK") => Self::InUse(folder.to_owned()),
            ErrorKind::IOError if !text.contains("No such file") => Self::system(folder, io::Error::other(text)),
            ErrorKind::Busy | ErrorKind::TryAgain | ErrorKind::TimedOut => Self::system(folder, io::Error::other(text)),
            _ => Self::unreadable(folder, error),
        }
    }

    /// Whether starting again will not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// The file of the database that an error of RocksDB speaks of.
fn named_in(text: &str, folder: &Path) -> Option<PathBuf> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"./-_".contains(c));
    let names = words.filter_map(|word| word.trim_end_matches('.').rsplit('/').next());
    let is_file = |name: &&str| {
        name.ends_with(".sst") || name.ends_with(".log") || name.starts_with("MANIFEST-") || *name == "CURRENT"
    };
    names.filter(is_file).map(|name| folder.join(name)).next()
}

/// A record that was never finished, and is cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The log it was in.
    pub file: PathBuf,
    /// Bytes of it.
    pub bytes: u64,
}

/// A store that is open.
#[derive(Debug)]
pub struct Opened {
    /// The database.
    pub db: DB,
    /// Its marks; while they exist no other process can open the folder.
    pub marker: Marker,
    /// It was made just now.
    pub fresh: bool,
    /// What a crash left unfinished.
    pub torn_tail: Option<TornTail>,
}

/// Opens the store in `folder`, or makes one where there is none.
///
/// # Errors
/// See [`OpenError`].
pub fn open(folder: &Path) -> Result<Opened, OpenError> {
    let folder = folder::prepare(folder)?;
    match read_marker(&folder)? {
        None => {
            refuse_leftovers(&folder)?;
            let fresh = Contents::fresh().map_err(|error| OpenError::system(&folder, error))?;
            make(folder, fresh)
        }
        Some(contents) if contents.state == State::Made => make(folder, contents),
        Some(contents) => open_existing(folder, contents),
    }
}

pub(super) fn read_marker(folder: &Path) -> Result<Option<Contents>, OpenError> {
    let file = folder.join(MARKER);
    Contents::read(folder).map_err(|error| match error {
        MarkerError::System(error) => OpenError::system(&file, error),
        other => OpenError::refused(&file, other.to_string()),
    })
}

/// Without a marker there must be nothing: neither a database whose marker is lost, nor somebody's files.
fn refuse_leftovers(folder: &Path) -> Result<(), OpenError> {
    let mut names = folder::names(folder).map_err(|error| OpenError::system(folder, error))?;
    // A start that was interrupted before anything else was there.
    names.retain(|name| name != LIVE && !name.starts_with(MARKER));
    match names.first() {
        None => Ok(()),
        Some(_) if names.iter().any(|name| name == "CURRENT") => {
            Err(OpenError::refused(&folder.join(MARKER), "is missing, and there is a database"))
        }
        Some(name) => {
            Err(OpenError::refused(&folder.join(name), "is no part of a store: a new one needs an empty folder"))
        }
    }
}

/// Whether the live mark of a folder is made if it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    Make,
    MustBeThere,
}

/// Takes the folder: nobody else can while the live mark is held.
pub(super) fn hold(folder: &Path, id: StoreId, live: Live) -> Result<LiveMark, OpenError> {
    match live::lock(folder, live == Live::Make) {
        Ok(file) => Ok(LiveMark::new(file, id)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(OpenError::InUse(folder.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::refused(&folder.join(LIVE), "is missing, and there is a store"))
        }
        Err(error) => Err(OpenError::system(&folder.join(LIVE), error)),
    }
}

/// Marks first, then the database, then the marks once more: wherever this is interrupted, the next start goes on.
fn make(folder: PathBuf, contents: Contents) -> Result<Opened, OpenError> {
    let live = hold(&folder, contents.id, Live::Make)?;
    let wrong = |error| OpenError::system(&folder, error);
    let mut marker = Marker::new(folder.clone(), contents, live);
    marker.begin().map_err(wrong)?;
    let db = database(&folder, &contents)?;
    let id = record::seal(ID, &contents.id);
    let put = db.cf_handle(META).map_or(Ok(()), |meta| db.put_cf(meta, ID, id));
    put.and_then(|()| db.flush_wal(true)).map_err(|error| OpenError::database(&folder, &error))?;
    enter(&mut marker, &db)?;
    Ok(Opened { db, marker, fresh: true, torn_tail: None })
}

fn open_existing(folder: PathBuf, contents: Contents) -> Result<Opened, OpenError> {
    let live = hold(&folder, contents.id, Live::MustBeThere)?;
    let mut marker = Marker::new(folder, contents, live);
    let (db, torn_tail) = open_held(&mut marker)?;
    Ok(Opened { db, marker, fresh: false, torn_tail })
}

/// Opens a store once more whose marks are held, after a write failed: nobody else can take the folder in between.
///
/// # Errors
/// See [`OpenError`]; the marks are held on.
pub(super) fn again(marker: &mut Marker) -> Result<DB, OpenError> {
    folder::existing(marker.folder())?;
    Ok(open_held(marker)?.0)
}

fn open_held(marker: &mut Marker) -> Result<(DB, Option<TornTail>), OpenError> {
    let (folder, contents) = (marker.folder().to_owned(), *marker.contents());
    let torn_tail = look(marker)?;
    if let Some(TornTail { file, bytes }) = &torn_tail {
        tracing::warn!(file = %file.display(), bytes, "the last write was never finished and nobody was told that it was: cut off");
    }
    let db = database(&folder, &contents)?;
    reached(&db, marker.floor().unwrap_or(contents.sequence), &folder)?;
    enter(marker, &db)?;
    Ok((db, torn_tail))
}

fn database(folder: &Path, contents: &Contents) -> Result<DB, OpenError> {
    let mut options = layout::options();
    let is_new = contents.state == State::Made;
    options.create_if_missing(is_new);
    options.create_missing_column_families(is_new);
    DB::open_cf_descriptors(&options, folder, layout::families()).map_err(|error| OpenError::database(folder, &error))
}

/// From here on the marks speak of what the database is now.
fn enter(marker: &mut Marker, db: &DB) -> Result<(), OpenError> {
    let folder = marker.folder().to_owned();
    let wrong = |error| OpenError::system(&folder, error);
    // What was replayed is in the log still, or in tables that are synced.
    db.flush_wal(true).map_err(|error| OpenError::database(&folder, &error))?;
    let sequence = db.latest_sequence_number();
    marker.note(sequence).map_err(wrong)?;
    let newest = Newest::of(&folder).map_err(wrong)?;
    marker.write(State::Open, newest, sequence).map_err(wrong)
}

/// Looks at a store without changing anything in it.
///
/// # Errors
/// The first thing that must not be.
pub(super) fn look(marker: &mut Marker) -> Result<Option<TornTail>, OpenError> {
    let (folder, contents) = (marker.folder().to_owned(), *marker.contents());
    let floor = marker.floor().map_err(|_| OpenError::refused(&folder.join(LIVE), "is damaged"))?;
    look_at_files(&folder, &contents)?;
    let torn_tail = look_at_logs(&folder, contents.state)?;
    let db = read_only(&folder)?;
    reached(&db, floor, &folder)?;
    let found = db.cf_handle(META).map_or(Ok(None), |meta| db.get_cf(meta, ID));
    let found = found.map_err(|error| OpenError::database(&folder, &error))?;
    let same = found.as_deref().and_then(|value| record::unseal(ID, value).ok()) == Some(&contents.id[..]);
    if !same {
        return Err(OpenError::refused(&folder.join(MARKER), "belongs to another database than the one beside it"));
    }
    Ok(torn_tail)
}

pub(super) fn read_only(folder: &Path) -> Result<DB, OpenError> {
    let mut options = layout::options();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    DB::open_cf_descriptors_read_only(&options, folder, layout::families(), false)
        .map_err(|error| OpenError::database(folder, &error))
}

fn reached(db: &DB, floor: u64, folder: &Path) -> Result<(), OpenError> {
    let sequence = db.latest_sequence_number();
    let Some(missing) = floor.checked_sub(sequence).filter(|missing| *missing > 0) else { return Ok(()) };
    let log = Newest::of(folder).map(|newest| newest.log).unwrap_or_default();
    let file = if log == 0 { folder.to_owned() } else { log_file(folder, log) };
    let why = format!(
        "ends too early: {missing} changes that were committed are not in the store (at {sequence}, not {floor})"
    );
    Err(OpenError::refused(&file, why))
}

fn log_file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.log"))
}

/// The files that the marker names, or newer ones.
fn look_at_files(folder: &Path, contents: &Contents) -> Result<(), OpenError> {
    let newest = Newest::of(folder).map_err(|error| OpenError::system(folder, error))?;
    let marked = contents.newest;
    let refused = |name: &str, why: &str| Err(OpenError::refused(&folder.join(name), why));
    if newest.manifest == 0 {
        return refused("CURRENT", "is missing, damaged, or names a MANIFEST that is missing; there was a database");
    }
    if newest.manifest < marked.manifest {
        return refused("CURRENT", "names an older MANIFEST than the one in use");
    }
    let name = format!("MANIFEST-{:06}", newest.manifest);
    if newest.manifest == marked.manifest && newest.manifest_bytes < marked.manifest_bytes {
        return refused(&name, "is shorter than it was");
    }
    let end = end_of(&folder.join(&name)).map_err(|error| OpenError::system(&folder.join(&name), error))?;
    if let End::Damaged(at) = end {
        return refused(&name, &format!("is damaged at byte {at}"));
    }
    // A log goes once its rows are in tables, and there is a newer one then.
    if newest.log < marked.log {
        let file = log_file(folder, marked.log);
        return Err(OpenError::refused(&file, "is missing: it held the newest changes"));
    }
    Ok(())
}

/// Only the last log that holds anything may be torn, and only after a crash.
pub(super) fn look_at_logs(folder: &Path, state: State) -> Result<Option<TornTail>, OpenError> {
    let wrong = |error| OpenError::system(folder, error);
    let mut torn: Option<TornTail> = None;
    for number in marker::logs(folder).map_err(wrong)? {
        let file = log_file(folder, number);
        let is_empty = std::fs::metadata(&file).map_err(wrong)?.len() == 0;
        if let Some(torn) = torn.as_ref().filter(|_| !is_empty) {
            return Err(OpenError::refused(&torn.file, "ends in the middle of a record, and there is a newer log"));
        }
        match journal::end_of(&file).map_err(|error| OpenError::system(&file, error))? {
            End::Whole => {}
            End::Damaged(at) => return Err(OpenError::refused(&file, format!("is damaged at byte {at}"))),
            End::Torn(_) if state == State::Clean => {
                return Err(OpenError::refused(
                    &file,
                    "ends in the middle of a record, and the store was closed in order",
                ));
            }
            End::Torn(bytes) => torn = Some(TornTail { file, bytes }),
        }
    }
    Ok(torn)
}

#[cfg(test)]
mod tests;
