//! What a store says of itself outside of its database, so that a database which lost something is not taken for a smaller one.
//!
//! ```text
//!  heraldmq.store   "HERALDMQ" · format u32 · store id [16] · state u8 · newest log u64 · MANIFEST u64 · its length u64 ·
//!                   sequence u64 · crc32c u32                  replaced as a whole, synced: at open, by rotation, at the end
//! ```
//! RocksDB notices neither that its newest log is gone nor that its MANIFEST is shorter than it was. `live.rs` holds what
//! changes with each commit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::layout::FORMAT;
use super::live::{Commit, LiveMark};

/// Name of the marker file.
pub const MARKER: &str = "heraldmq.store";
const MAGIC: &[u8; 8] = b"HERALDMQ";
const LENGTH: usize = 8 + 4 + 16 + 1 + 4 * 8 + 4;

/// Which store this is, for as long as it exists.
pub type StoreId = [u8; 16];

/// In what state a store was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It was being made; nobody was served yet.
    Made = 0,
    /// It was open.
    Open = 1,
    /// It was closed in order.
    Clean = 2,
}

/// Which files of the database were the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Newest {
    /// Number of the newest write-ahead log; 0 = none.
    pub log: u64,
    /// Number of the MANIFEST in use; 0 = none.
    pub manifest: u64,
    /// Its length, bytes.
    pub manifest_bytes: u64,
}

/// What the marker file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Format of the folder.
    pub format: u32,
    /// Which store.
    pub id: StoreId,
    /// How it was left.
    pub state: State,
    /// The newest files.
    pub newest: Newest,
    /// RocksDB's sequence number that it reached at least.
    pub sequence: u64,
}

/// Why a marker file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// Written by a newer program.
    #[error("format {0} was written by a newer version of this program")]
    Newer(u32),
    /// Not a marker, or damaged.
    #[error("its checksum does not fit: it is damaged")]
    Damaged,
    /// The system says so.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Contents {
    /// A new store with a number of its own.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn fresh() -> io::Result<Self> {
        let mut id = StoreId::default();
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        Ok(Self { format: FORMAT, id, state: State::Made, newest: Newest::default(), sequence: 0 })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.format.to_be_bytes());
        bytes.extend_from_slice(&self.id);
        bytes.push(self.state as u8);
        for number in [self.newest.log, self.newest.manifest, self.newest.manifest_bytes, self.sequence] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, MarkerError> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(MarkerError::Damaged)?;
        if crc32c::crc32c(body).to_be_bytes() != *crc || !body.starts_with(MAGIC) {
            return Err(MarkerError::Damaged);
        }
        let format = u32::from_be_bytes(array(body, 8)?);
        if format > FORMAT {
            return Err(MarkerError::Newer(format));
        }
        let state = match body.get(28) {
            Some(0) => State::Made,
            Some(1) => State::Open,
            Some(2) => State::Clean,
            _ => return Err(MarkerError::Damaged),
        };
        let number = |at: usize| array(body, at).map(u64::from_be_bytes);
        let newest = Newest { log: number(29)?, manifest: number(37)?, manifest_bytes: number(45)? };
        Ok(Self { format, id: array(body, 12)?, state, newest, sequence: number(53)? })
    }

    /// Reads the marker file of a folder; `None` if there is none.
    ///
    /// # Errors
    /// See [`MarkerError`].
    pub fn read(folder: &Path) -> Result<Option<Self>, MarkerError> {
        match fs::read(folder.join(MARKER)) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the marker file of a folder: the old one or the new one is there, whatever happens.
    ///
    /// # Errors
    /// The system says so; the old one is still there.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join(format!("{MARKER}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&new, folder.join(MARKER))?;
        sync_folder(folder)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], MarkerError> {
    bytes.get(at..).and_then(|part| part.first_chunk()).copied().ok_or(MarkerError::Damaged)
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The number of a file such as `000012.log`.
pub(super) fn log_number(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

/// Numbers of the write-ahead logs in a folder, ascending.
pub(super) fn logs(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(log_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The MANIFEST that `CURRENT` names, and its number; `None` if it names none that is there.
pub(super) fn manifest(folder: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    let current = match fs::read(folder.join("CURRENT")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        current => current?,
    };
    let name = std::str::from_utf8(&current).unwrap_or_default().trim_end_matches('\n');
    let number = name.strip_prefix("MANIFEST-").and_then(|number| number.parse().ok());
    Ok(number.map(|number| (folder.join(name), number)).filter(|(file, _)| file.exists()))
}

impl Newest {
    /// Looks which files are the newest.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let log = logs(folder)?.last().copied().unwrap_or(0);
        match manifest(folder)? {
            Some((file, manifest)) => Ok(Self { log, manifest, manifest_bytes: fs::metadata(file)?.len() }),
            None => Ok(Self { log, ..Self::default() }),
        }
    }
}

/// The marks of a store that is open. Whoever has them has the folder to itself.
#[derive(Debug)]
pub struct Marker {
    folder: PathBuf,
    contents: Contents,
    live: LiveMark,
}

impl Marker {
    pub(super) fn new(folder: PathBuf, contents: Contents, live: LiveMark) -> Self {
        Self { folder, contents, live }
    }

    /// The marks of a new store: nothing is in it yet.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.live.begin(Commit { sequence: self.contents.sequence, synced: self.contents.sequence })?;
        self.contents.write(&self.folder)
    }

    /// What the marker file says now.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The folder that is marked.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a database must have reached at least to be this one.
    pub(super) fn floor(&mut self) -> io::Result<u64> {
        Ok(self.live.floor()?.max(self.contents.sequence))
    }

    /// Notes that a commit reached `sequence`, and that it is synced: about a microsecond, and no sync.
    ///
    /// # Errors
    /// The system says so; the commit itself stands.
    pub(super) fn note(&mut self, sequence: u64) -> io::Result<()> {
        self.live.note(Commit { sequence, synced: sequence })
    }

    /// Notes a commit that is written up to `sequence` and synced only up to `synced` (mode `os`).
    ///
    /// # Errors
    /// The system says so; the commit itself stands.
    pub fn note_written(&mut self, sequence: u64, synced: u64) -> io::Result<()> {
        self.live.note(Commit { sequence, synced })
    }

    /// Writes the marker again if the newest files are other ones than it names; says whether it did. To be asked about once
    /// a second. `synced` is the sequence up to which the log is synced.
    ///
    /// # Errors
    /// The system says so; what it says already stays true.
    pub fn rotate(&mut self, synced: u64) -> io::Result<bool> {
        let newest = Newest::of(&self.folder)?;
        if newest == self.contents.newest {
            return Ok(false);
        }
        self.write(State::Open, newest, synced)?;
        Ok(true)
    }

    /// Writes that everything up to `sequence` was synced and the database closed in order.
    ///
    /// # Errors
    /// The system says so; the next start then looks as after a kill, which is no harm.
    pub fn close_clean(mut self, sequence: u64) -> io::Result<()> {
        self.note(sequence)?;
        self.write(State::Clean, Newest::of(&self.folder)?, sequence)
    }

    pub(super) fn write(&mut self, state: State, newest: Newest, sequence: u64) -> io::Result<()> {
        // What it names must be there after a power cut, too.
        if let Some((file, _)) = manifest(&self.folder)? {
            File::open(file)?.sync_data()?;
        }
        sync_folder(&self.folder)?;
        let sequence = sequence.max(self.contents.sequence);
        let contents = Contents { state, newest, sequence, ..self.contents };
        contents.write(&self.folder)?;
        self.contents = contents;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        let newest = Newest { log: 12, manifest: 5, manifest_bytes: 900 };
        Contents { format: FORMAT, id: [7; 16], state: State::Open, newest, sequence: 77 }
    }

    #[test]
    fn what_was_written_is_read_and_the_bytes_are_those_of_format_1() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Contents::read(folder.path()).unwrap(), None);
        contents().write(folder.path()).unwrap();
        assert_eq!(Contents::read(folder.path()).unwrap(), Some(contents()));
        let mut expected = b"HERALDMQ\0\0\0\x01".to_vec();
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\x03\x84\0\0\0\0\0\0\0\x4d");
        expected.extend_from_slice(&crc32c::crc32c(&expected).to_be_bytes());
        assert_eq!(fs::read(folder.path().join(MARKER)).unwrap(), expected);
    }

    #[test]
    fn no_flip_and_no_cut_of_a_marker_is_read() {
        let bytes = contents().encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(Contents::decode(&flipped).is_err(), "byte {at}, bit {bit}");
            }
            assert!(Contents::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let newer = Contents { format: FORMAT + 1, ..contents() };
        assert!(matches!(Contents::decode(&newer.encode()), Err(MarkerError::Newer(format)) if format == FORMAT + 1));
    }
}
