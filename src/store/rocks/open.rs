//! Opening a folder: made if it is new, refused by name if anything is missing or damaged, never opened with less than it had.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rocksdb::DB;

use super::framing::recycled;
use super::layout;
use super::live::{self, Commit, LIVE, LiveMark};
use super::marker::{Contents, MARKER, Marker, MarkerError, Newest, State, logs, manifest};
use super::recover::ScanError;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system gives no folder, no file or no thread.
    #[error("data folder {folder}: {source}")]
    System {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("data folder {0}: another process is using it")]
    InUse(PathBuf),
    /// Something that must be there is missing or damaged. Nothing was changed.
    #[error("data folder {folder}: {file}: {what}")]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// The file, or what stands for it.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A store that was opened.
pub(super) struct Opened {
    pub(super) db: DB,
    pub(super) marker: Marker,
}

/// A folder that is looked at.
struct Folder<'a>(&'a Path);

/// Opens or makes the store in `folder`.
pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let place = Folder(folder);
    place.prepare().map_err(|error| place.system(error))?;
    let contents = match Contents::read(folder) {
        Ok(contents) => contents.filter(|contents| contents.state != State::Made),
        Err(MarkerError::System(error)) => return Err(place.system(error)),
        Err(error) => return Err(place.damaged(MARKER, error)),
    };
    match contents {
        Some(contents) => place.open_again(contents),
        None => place.make(),
    }
}

impl Folder<'_> {
    fn system(&self, source: io::Error) -> OpenError {
        OpenError::System { folder: self.0.to_owned(), source }
    }

    fn damaged(&self, file: &str, what: impl ToString) -> OpenError {
        OpenError::Damaged { folder: self.0.to_owned(), file: file.to_owned(), what: what.to_string() }
    }

    fn prepare(&self) -> io::Result<()> {
        if fs::symlink_metadata(self.0).is_ok_and(|found| found.is_symlink()) {
            return Err(io::Error::other("is a symbolic link"));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(self.0)?;
        fs::set_permissions(self.0, Permissions::from_mode(0o700))
    }

    fn lock(&self, make: bool) -> Result<fs::File, OpenError> {
        live::lock(self.0, make).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(self.0.to_owned()),
            io::ErrorKind::NotFound => self.damaged(LIVE, "it is missing"),
            _ => self.system(error),
        })
    }

    /// A new store. A folder with other files in it is somebody else's, or lost its marker.
    fn make(&self) -> Result<Opened, OpenError> {
        if self.0.join("CURRENT").exists() && Contents::read(self.0).ok().flatten().is_none() {
            return Err(self.damaged(MARKER, "it is missing beside a database"));
        }
        let contents = Contents::fresh().map_err(|error| self.system(error))?;
        let mut live = LiveMark::new(self.lock(true)?, contents.id);
        contents.write(self.0).map_err(|error| self.system(error))?;
        let db = self.database()?;
        let sequence = db.latest_sequence_number();
        live.begin(Commit { sequence, synced: sequence }).map_err(|error| self.system(error))?;
        self.marked(db, contents, live)
    }

    fn open_again(&self, contents: Contents) -> Result<Opened, OpenError> {
        let mut live = LiveMark::new(self.lock(false)?, contents.id);
        let floor = live.floor().map_err(|_| self.damaged(LIVE, "its checksum does not fit: it is damaged"))?;
        self.check_files(&contents.newest)?;
        // A look that changes nothing comes first: a store that is refused is left as it was.
        let wanted = floor.max(contents.sequence);
        let look = DB::open_cf_descriptors_read_only(&layout::options(), self.0, layout::families(), false);
        let found = look.map_err(|error| self.refused(error))?.latest_sequence_number();
        if found < wanted {
            let what = format!("its end is damaged: it reaches to {found} and was committed up to {wanted}");
            return Err(self.damaged(&self.logs(), what));
        }
        let db = self.database()?;
        self.marked(db, contents, live)
    }

    /// The files that the marker names must be there: RocksDB would open without them and with less.
    fn check_files(&self, newest: &Newest) -> Result<(), OpenError> {
        let Some((file, number)) = manifest(self.0).map_err(|error| self.system(error))? else {
            return Err(self.damaged("CURRENT", "it is missing or names no MANIFEST"));
        };
        let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let length = fs::metadata(&file).map_err(|error| self.damaged(&name, error))?.len();
        if number == newest.manifest && length < newest.manifest_bytes {
            return Err(self.damaged(&name, format!("{length} bytes, and there were {}", newest.manifest_bytes)));
        }
        let log = format!("{:06}.log", newest.log);
        let kept = [self.0.join(&log), self.0.join("archive").join(&log)];
        if newest.log > 0 && !kept.iter().any(|file| file.exists()) {
            return Err(self.damaged(&log, "it is missing"));
        }
        let logs = logs(self.0).map_err(|error| self.system(error))?;
        for name in logs.into_iter().map(|number| format!("{number:06}.log")).chain([name]) {
            if let Some(at) = recycled(&self.0.join(&name)).map_err(|error| self.system(error))? {
                return Err(self.damaged(&name, format!("the record at byte {at} is damaged")));
            }
        }
        Ok(())
    }

    fn database(&self) -> Result<DB, OpenError> {
        DB::open_cf_descriptors(&layout::options(), self.0, layout::families()).map_err(|error| self.refused(error))
    }

    /// What RocksDB says, which names tables and the MANIFEST, but no write-ahead log.
    fn refused(&self, error: impl ToString) -> OpenError {
        let what = error.to_string();
        let named = [".sst", "MANIFEST-", "CURRENT", "OPTIONS-"].iter().any(|name| what.contains(name));
        self.damaged(if named { "database".to_owned() } else { self.logs() }.as_str(), what)
    }

    /// The write-ahead logs by name: one of them is damaged, and there is seldom more than one.
    fn logs(&self) -> String {
        let names: Vec<String> =
            logs(self.0).unwrap_or_default().into_iter().map(|number| format!("{number:06}.log")).collect();
        format!("write-ahead log {}", names.join(" or "))
    }

    fn marked(&self, db: DB, contents: Contents, live: LiveMark) -> Result<Opened, OpenError> {
        let mut marker = Marker::new(self.0.to_owned(), contents, live);
        let newest = Newest::of(self.0).map_err(|error| self.system(error))?;
        marker.write(State::Open, newest, db.latest_sequence_number()).map_err(|error| self.system(error))?;
        Ok(Opened { db, marker })
    }
}

impl OpenError {
    /// Rows that cannot be read.
    pub(super) fn unreadable(folder: &Path, error: &ScanError) -> Self {
        Folder(folder).damaged("database", error)
    }

    /// Whether starting again will not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, OpenError::Damaged { .. })
    }
}
