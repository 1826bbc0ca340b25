//! The live mark: which commit was the last, overwritten in place after each one without a sync.
//!
//! ```text
//!  heraldmq.live    two places, at 0 and at 4096, written in turn:
//!                   sequence u64 · synced u64 · boot u64 · zero u32 · crc32c u32      (crc over store id and the rest)
//! ```
//! It survives a kill as the log does, so after a kill a log that ends earlier was damaged, even if its end looks torn. After
//! a power cut it may be older than the log: then `sequence` says nothing, and `synced`, which is written after the log was
//! synced, is never ahead of it. A place that was being written when the power went leaves the other one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::marker::StoreId;

/// Name of the file.
pub const LIVE: &str = "heraldmq.live";
const PLACES: [u64; 2] = [0, 4096];
const LENGTH: usize = 32;

/// How far commits got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Commit {
    /// RocksDB's sequence number of the last commit that was written.
    pub(super) sequence: u64,
    /// The last one that was synced, too.
    pub(super) synced: u64,
}

/// The file, locked: no second process has the folder while it is held.
#[derive(Debug)]
pub(super) struct LiveMark {
    file: File,
    id: StoreId,
    boot: u64,
    /// Where the next note goes, and where the one after that.
    places: [u64; 2],
}

/// Opens and locks the file of a folder.
///
/// # Errors
/// Another process holds it (`WouldBlock`); there is none and it must not be made; or the system says so.
pub(super) fn lock(folder: &Path, make: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(make).truncate(false).mode(0o600).open(folder.join(LIVE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl LiveMark {
    pub(super) fn new(file: File, id: StoreId) -> Self {
        Self { file, id, boot: boot(), places: PLACES }
    }

    /// What must be there at least, as far as this file knows: after a kill everything that was written, after a power cut
    /// what was synced.
    ///
    /// # Errors
    /// No place can be read (`InvalidData`), or the system says so.
    pub(super) fn floor(&mut self) -> io::Result<u64> {
        let mut newest: Option<(u64, Commit, u64)> = None;
        for place in PLACES {
            let mut bytes = [0; LENGTH];
            if self.file.read_exact_at(&mut bytes, place).is_err() {
                continue;
            }
            let Some((commit, boot)) = self.decode(&bytes) else { continue };
            if newest.is_none_or(|(_, other, _)| (other.sequence, other.synced) <= (commit.sequence, commit.synced)) {
                newest = Some((place, commit, boot));
            }
        }
        let (place, commit, boot) = newest.ok_or(io::ErrorKind::InvalidData)?;
        let [first, second] = PLACES;
        self.places = if place == first { [second, first] } else { [first, second] };
        Ok(if boot == self.boot { commit.sequence } else { commit.synced })
    }

    pub(super) fn note(&mut self, commit: Commit) -> io::Result<()> {
        let [place, next] = self.places;
        self.places = [next, place];
        self.file.write_all_at(&self.encode(commit), place)
    }

    /// Writes both places, and syncs them: the file of a new store.
    pub(super) fn begin(&mut self, commit: Commit) -> io::Result<()> {
        self.note(commit)?;
        self.note(commit)?;
        self.file.sync_all()
    }

    fn encode(&self, commit: Commit) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&commit.sequence.to_be_bytes());
        bytes[8..16].copy_from_slice(&commit.synced.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.boot.to_be_bytes());
        let crc = self.checksum(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(&self, bytes: &[u8; LENGTH]) -> Option<(Commit, u64)> {
        let number = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_be_bytes);
        let commit = Commit { sequence: number(0)?, synced: number(8)? };
        (bytes[28..] == self.checksum(&bytes[..28]).to_be_bytes()).then_some((commit, number(16)?))
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.id), bytes)
    }
}

/// Which run of the system this is. Where it does not say, every start counts as one after a power cut.
fn boot() -> u64 {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let half = |salt: u32| u64::from(crc32c::crc32c_append(salt, &id));
    match half(0) << 32 | half(1) {
        _ if id.is_empty() => u64::from(std::process::id()),
        boot => boot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> LiveMark {
        LiveMark::new(lock(folder, true).unwrap(), [7; 16])
    }

    fn at(sequence: u64, synced: u64) -> Commit {
        Commit { sequence, synced }
    }

    #[test]
    fn the_last_note_counts_after_a_kill_and_the_synced_one_after_a_power_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = open(folder.path());
        mark.begin(at(1, 1)).unwrap();
        for sequence in 2..9 {
            mark.note(at(sequence, sequence - 1)).unwrap();
        }
        assert_eq!(mark.floor().unwrap(), 8);
        mark.boot ^= 1;
        assert_eq!(mark.floor().unwrap(), 7);
    }

    #[test]
    fn a_place_that_is_damaged_leaves_the_note_before_and_two_leave_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = open(folder.path());
        mark.begin(at(1, 1)).unwrap();
        mark.note(at(2, 2)).unwrap();
        mark.note(at(3, 3)).unwrap();
        mark.file.write_all_at(&[1], PLACES[1] + 3).unwrap();
        assert_eq!(mark.floor().unwrap(), 2);
        mark.note(at(4, 4)).unwrap();
        assert_eq!(mark.floor().unwrap(), 4, "the damaged place is the next to be written");
        mark.file.write_all_at(&[1], PLACES[0]).unwrap();
        mark.file.write_all_at(&[1], PLACES[1]).unwrap();
        assert_eq!(mark.floor().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_mark_of_another_store_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).begin(at(1, 1)).unwrap();
        let mut other = LiveMark::new(lock(folder.path(), false).unwrap(), [8; 16]);
        assert_eq!(other.floor().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_second_holder_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path(), true).unwrap();
        assert_eq!(lock(folder.path(), false).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        lock(folder.path(), false).unwrap();
    }
}
