//! Saving what is left of a damaged store: whole rows go into a new one, and what is not whole is said.
//!
//! The damaged store is copied first and never written to. If its MANIFEST still fits, the copy is opened past the damage in
//! its logs; else RocksDB makes a new MANIFEST from the tables, and the logs are read here. The new store gets its name last: half of it
//! would look like one that never had more.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rocksdb::{DB, DBRecoveryMode, WriteBatch, WriteBatchIteratorCf};

use super::super::layout::{self, BODY, FAMILIES, META, QUEUE, RETAINED, Row, SESSION};
use super::super::live;
use super::super::open::{self, OpenError, Opened};
use super::super::{folder, journal, marker, recover};
use super::backup::{beside, put_in_place};
use super::survey::{Damage, Rows};
use super::walk::walk;
use super::{copy, refuse_taken};
use crate::identity::SessionId;
use crate::store::record::{self, Epoch};

/// Rows in one batch.
const BATCH: usize = 1000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// Rows in the new store.
    pub rows: u64,
    /// What could not be saved.
    pub lost: Vec<Damage>,
}

/// Writes what is whole in the store `from` into a new store `to`.
///
/// # Errors
/// `to` is not empty, another process has `from`, or nothing of it can be opened.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged, OpenError> {
    let from = folder::existing(from)?;
    refuse_taken(to)?;
    let _held = hold(&from)?;
    let (work, part) = (beside(to, "salvage"), beside(to, "part"));
    refuse_taken(&work)?;
    refuse_taken(&part)?;
    let wrong = |error| OpenError::system(&work, error);
    DirBuilder::new().recursive(true).mode(0o700).create(&work).map_err(wrong)?;
    copy(&from, &work).map_err(wrong)?;
    let mut salvaged = Salvaged::default();
    let old = open_past_damage(&work, &mut salvaged)?;
    let Opened { db: new, marker, .. } = open::open(&part)?;
    salvaged.take_over(&old, &new).map_err(|error| OpenError::database(&part, &error))?;
    new.flush_wal(true).map_err(|error| OpenError::database(&part, &error))?;
    let sequence = new.latest_sequence_number();
    drop((old, new));
    marker.close_clean(sequence).map_err(|error| OpenError::system(&part, error))?;
    put_in_place(&part, to).map_err(|error| OpenError::system(to, error))?;
    fs::remove_dir_all(&work).map_err(wrong)?;
    Ok(salvaged)
}

/// No broker may write while the copy is made. A store whose live mark is gone has no broker.
fn hold(from: &Path) -> Result<Option<fs::File>, OpenError> {
    match live::lock(from, false) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(OpenError::InUse(from.to_owned())),
        Err(_) => Ok(None),
    }
}

fn open_past_damage(work: &Path, salvaged: &mut Salvaged) -> Result<DB, OpenError> {
    let mut options = layout::options();
    options.create_if_missing(false);
    options.create_missing_column_families(true);
    options.set_track_and_verify_wals_in_manifest(false);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    let failed = |error: rocksdb::Error| OpenError::unreadable(work, &error);
    let logs = marker::logs(work).map_err(|error| OpenError::system(work, error))?;
    for number in &logs {
        let file = work.join(format!("{number:06}.log"));
        if let Ok(journal::End::Damaged(at)) = journal::end_of(&file) {
            salvaged.note(file.display().to_string(), format!("is damaged at byte {at}: changes in it are lost"));
        }
    }
    match DB::open_cf_descriptors(&options, work, layout::families()) {
        Ok(db) => Ok(db),
        Err(error) => {
            let why = format!("{error}: rebuilt from its tables and logs; what had been deleted may be back");
            salvaged.note("MANIFEST".to_owned(), why);
            // Repairing takes logs for unreadable where it does not know their column families: they are read below.
            let kept = beside(work, "logs");
            set_aside(work, &kept, &logs).map_err(|error| OpenError::system(&kept, error))?;
            DB::repair(&options, work).map_err(failed)?;
            options.create_if_missing(true);
            let db = DB::open_cf_descriptors(&options, work, layout::families()).map_err(failed)?;
            for number in &logs {
                replay(&db, &kept.join(format!("{number:06}.log"))).map_err(failed)?;
            }
            fs::remove_dir_all(&kept).map_err(|error| OpenError::system(&kept, error))?;
            Ok(db)
        }
    }
}

fn set_aside(work: &Path, kept: &Path, logs: &[u64]) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(kept)?;
    for name in logs.iter().map(|number| format!("{number:06}.log")) {
        fs::rename(work.join(&name), kept.join(&name))?;
    }
    Ok(())
}

/// Applies the batches of a log that are whole.
fn replay(db: &DB, log: &Path) -> Result<(), rocksdb::Error> {
    let mut result = Ok(());
    let read = journal::each_record(log, |bytes| {
        // Sequence, count, and at least one change.
        if bytes.len() > 12 && result.is_ok() {
            let mut again = Again { db, batch: WriteBatch::default() };
            WriteBatch::from_data(bytes).iterate_cf(&mut again);
            result = db.write(again.batch);
        }
    });
    if let Err(error) = read {
        tracing::warn!(%error, log = %log.display(), "a log cannot be read to its end");
    }
    result
}

/// Puts the changes of one batch into another, under the column families of another database.
struct Again<'a> {
    db: &'a DB,
    batch: WriteBatch,
}

/// A new store makes its column families in one order, behind RocksDB's own.
fn family(db: &DB, id: u32) -> Option<&rocksdb::ColumnFamily> {
    let at = usize::try_from(id).ok()?.checked_sub(1)?;
    db.cf_handle(FAMILIES.get(at)?)
}

impl WriteBatchIteratorCf for Again<'_> {
    fn put_cf(&mut self, id: u32, key: &[u8], value: &[u8]) {
        if let Some(family) = family(self.db, id) {
            self.batch.put_cf(family, key, value);
        }
    }

    fn delete_cf(&mut self, id: u32, key: &[u8]) {
        if let Some(family) = family(self.db, id) {
            self.batch.delete_cf(family, key);
        }
    }

    fn merge_cf(&mut self, _id: u32, _key: &[u8], _value: &[u8]) {}
}

impl Salvaged {
    fn note(&mut self, place: String, what: impl std::fmt::Display) {
        self.lost.push(Damage { place, what: what.to_string() });
    }

    /// Sessions first: what else there is belongs to them.
    fn take_over(&mut self, old: &DB, new: &DB) -> Result<(), rocksdb::Error> {
        let mut rows = Rows::default();
        for family in [SESSION, BODY, QUEUE, RETAINED, META] {
            let mut bad = Vec::new();
            let holes = walk(old, family, |key, value| {
                if let Err(error) = rows.add(family, key, value) {
                    bad.push((recover::shown(key), error.to_string()));
                }
            });
            for hole in holes {
                self.note(format!("column family {family}, behind key {}", recover::shown(&hole.after)), hole.why);
            }
            for (key, why) in bad {
                self.note(format!("column family {family}, key {key}"), why);
            }
        }
        for family in [SESSION, BODY, QUEUE, RETAINED] {
            self.copy_whole(old, new, family, &rows)?;
        }
        Ok(())
    }

    fn copy_whole(&mut self, old: &DB, new: &DB, family: &'static str, rows: &Rows) -> Result<(), rocksdb::Error> {
        let Some(target) = new.cf_handle(family) else { return Ok(()) };
        let (mut batch, mut result, mut alone) = (WriteBatch::default(), Ok(()), Vec::new());
        walk(old, family, |key, value| {
            match wholeness(family, key, value, rows) {
                Whole::Yes => {
                    batch.put_cf(target, key, value);
                    self.rows = self.rows.saturating_add(1);
                }
                Whole::No(why) => alone.push((recover::shown(key), why)),
                Whole::Over => {}
            }
            if batch.len() >= BATCH && result.is_ok() {
                result = new.write(std::mem::take(&mut batch));
            }
        });
        for (key, why) in alone {
            self.note(format!("column family {family}, key {key}"), why);
        }
        result.and_then(|()| new.write(batch))
    }
}

enum Whole {
    Yes,
    No(&'static str),
    /// Of a session that has ended, or noted already.
    Over,
}

fn wholeness(family: &str, key: &[u8], value: &[u8], rows: &Rows) -> Whole {
    let belongs = |session: SessionId| match rows.sessions.contains(&session) {
        true => Whole::Yes,
        false if rows.ended.contains(&session) => Whole::Over,
        false => Whole::No("its session is lost"),
    };
    if Rows::default().add(family, key, value).is_err() {
        return Whole::Over;
    }
    match family {
        SESSION => match layout::parse_row_key(key) {
            Some((_, Row::Ended, _)) | None => Whole::Over,
            Some((session, ..)) if rows.ended.contains(&session) => Whole::Over,
            Some((session, ..)) => belongs(session),
        },
        QUEUE => {
            let Some((session, ticket)) = layout::parse_queue_key(key) else { return Whole::Over };
            let epoch = Epoch { wall_at_start_ms: 0 };
            let entry = record::unseal(key, value).and_then(|body| record::queue_entry(body, epoch));
            match entry {
                Ok(entry) if entry.message.is_none() && !rows.bodies.contains(&ticket) => {
                    Whole::No("its message is lost")
                }
                _ => belongs(session),
            }
        }
        _ => Whole::Yes,
    }
}
