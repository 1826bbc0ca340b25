use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use rocksdb::IteratorMode;
use tempfile::TempDir;

use super::super::layout::{FAMILIES, QUEUE, queue_key};
use super::*;
use crate::identity::{SessionId, Ticket};

/// Messages that were committed to the store of these tests.
const COMMITTED: u64 = 60;

/// In memory where the system has such a folder: a sync costs nothing there, and nobody cuts the power here.
fn place() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn commit(opened: &mut Opened, ticket: u64) {
    let key = queue_key(SessionId(1), Ticket(ticket));
    let value = record::seal(&key, &[ticket as u8; 300]);
    opened.db.put_cf(opened.db.cf_handle(QUEUE).unwrap(), key, value).unwrap();
    opened.db.flush_wal(true).unwrap();
    let sequence = opened.db.latest_sequence_number();
    opened.marker.note(sequence).unwrap();
}

/// A store with tables and a log.
fn filled(folder: &Path) -> Opened {
    let mut opened = open(folder).unwrap();
    for ticket in 0..COMMITTED {
        commit(&mut opened, ticket);
        if ticket == COMMITTED / 2 {
            for family in FAMILIES {
                opened.db.flush_cf(opened.db.cf_handle(family).unwrap()).unwrap();
            }
            let sequence = opened.db.latest_sequence_number();
            assert!(opened.marker.rotate(sequence).unwrap());
        }
    }
    opened
}

/// What a kill leaves: a copy made while the store is open.
fn killed(to: &Path) {
    let origin = place();
    let opened = filled(origin.path());
    copy(origin.path(), to);
    drop(opened);
}

fn closed(to: &Path) {
    let Opened { db, marker, .. } = filled(to);
    let sequence = db.latest_sequence_number();
    drop(db);
    marker.close_clean(sequence).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file with its bytes.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(content(&entry.path())),
            false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}

/// Rows with a record that is whole; an error where reading meets damage.
fn rows(db: &DB) -> Result<u64, String> {
    let rows = db.iterator_cf(db.cf_handle(QUEUE).unwrap(), IteratorMode::Start);
    let mut count = 0;
    for row in rows {
        let (key, value) = row.map_err(|error| error.to_string())?;
        record::unseal(&key, &value).map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}

fn newest_log(folder: &Path) -> PathBuf {
    let logs = marker::logs(folder).unwrap();
    log_file(folder, *logs.last().unwrap())
}

#[track_caller]
fn refused(folder: &Path, file: &Path, word: &str) {
    let before = content(folder);
    match open(folder) {
        Err(error @ OpenError::Damaged { .. }) => {
            let said = error.to_string();
            assert!(said.contains(&*file.display().to_string()) && said.contains(word), "{said}");
            assert!(error.is_damage());
        }
        other => panic!("{other:?}"),
    }
    assert!(content(folder) == before, "what is refused is left as it was");
}

#[test]
fn a_new_store_is_private_and_comes_back_after_a_kill_and_after_an_end_in_order() {
    keep_private();
    let place = place();
    let folder = place.path().join("deep/data");
    let Opened { db, marker, fresh, torn_tail } = filled(&folder);
    assert!(fresh);
    assert_eq!(torn_tail, None);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for (file, _) in content(&folder) {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o077, 0, "{}", file.display());
    }
    drop((db, marker));
    let Opened { db, marker, fresh, .. } = open(&folder).unwrap();
    assert_eq!((rows(&db), fresh), (Ok(COMMITTED), false));
    let (id, sequence) = (marker.contents().id, db.latest_sequence_number());
    drop(db);
    marker.close_clean(sequence).unwrap();
    let again = open(&folder).unwrap();
    assert_eq!(rows(&again.db), Ok(COMMITTED));
    assert_eq!(again.marker.contents().id, id);
}

fn keep_private() {
    super::super::keep_files_private();
}

#[test]
fn a_second_holder_is_told_so_until_the_first_is_gone() {
    let place = place();
    let first = open(place.path()).unwrap();
    let error = open(place.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(error.to_string().contains(&*place.path().display().to_string()));
    assert!(!error.is_damage());
    drop(first);
    open(place.path()).unwrap();
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let place = place();
    killed(place.path());
    let log = newest_log(place.path());
    // The beginning of one more record, as a kill in the middle of a write leaves it.
    let length = fs::metadata(&log).unwrap().len();
    let whole = fs::read(&log).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&[9, 9, 9, 9, 200, 0, 1, 1, 2, 3], length).unwrap();
    let opened = open(place.path()).unwrap();
    assert_eq!(opened.torn_tail, Some(TornTail { file: log, bytes: 10 }));
    assert_eq!(rows(&opened.db), Ok(COMMITTED));
    drop(opened);
    assert_eq!(open(place.path()).unwrap().torn_tail, None);
    assert!(!whole.is_empty());
}

#[test]
fn a_tail_with_a_commit_that_was_noted_is_refused() {
    for store in [killed, closed] {
        let place = place();
        store(place.path());
        let log = newest_log(place.path());
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(fs::metadata(&log).unwrap().len() - 1).unwrap();
        refused(place.path(), &log, "");
        file.set_len(0).unwrap();
        refused(place.path(), &log, "ends too early");
    }
}

#[test]
fn a_missing_newest_log_is_refused_by_its_name() {
    for store in [killed, closed] {
        let place = place();
        store(place.path());
        let log = newest_log(place.path());
        fs::remove_file(&log).unwrap();
        refused(place.path(), &log, "is missing");
    }
}

#[test]
fn a_log_that_was_done_with_is_not_missing() {
    let place = place();
    killed(place.path());
    let marked = Contents::read(place.path()).unwrap().unwrap();
    // A start that ended before it wrote the marker: the log named there is gone.
    drop(open(place.path()).unwrap());
    marked.write(place.path()).unwrap();
    assert_eq!(rows(&open(place.path()).unwrap().db), Ok(COMMITTED));
}

#[test]
fn an_unexpectedly_empty_folder_is_refused() {
    let place = place();
    closed(place.path());
    for name in folder::names(place.path()).unwrap() {
        let path = place.path().join(&name);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false if name != MARKER && name != LIVE => fs::remove_file(path).unwrap(),
            false => {}
        }
    }
    refused(place.path(), &place.path().join("CURRENT"), "missing");
}

#[test]
fn a_database_without_its_marks_is_refused() {
    for name in [MARKER, LIVE] {
        let place = place();
        closed(place.path());
        fs::remove_file(place.path().join(name)).unwrap();
        refused(place.path(), &place.path().join(name), "is missing");
    }
}

#[test]
fn the_marks_of_another_store_are_refused() {
    let (one, other) = (place(), place());
    closed(one.path());
    closed(other.path());
    for name in [MARKER, LIVE] {
        fs::copy(other.path().join(name), one.path().join(name)).unwrap();
    }
    refused(one.path(), &one.path().join(MARKER), "another database");
}

#[test]
fn a_newer_format_is_refused() {
    let place = place();
    closed(place.path());
    let contents = Contents::read(place.path()).unwrap().unwrap();
    Contents { format: layout::FORMAT + 1, ..contents }.write(place.path()).unwrap();
    refused(place.path(), &place.path().join(MARKER), "newer version");
}

#[test]
fn a_folder_with_other_things_is_refused_and_an_interrupted_beginning_goes_on() {
    let place = place();
    fs::write(place.path().join("letters.txt"), "dear").unwrap();
    refused(place.path(), &place.path().join("letters.txt"), "is no part of a store");
    fs::remove_file(place.path().join("letters.txt")).unwrap();
    // Wherever the first start is interrupted: after the live mark, after the marker, after the database.
    fs::write(place.path().join(LIVE), "").unwrap();
    drop(open(place.path()).unwrap());
    let made = Contents { state: State::Made, ..Contents::read(place.path()).unwrap().unwrap() };
    made.write(place.path()).unwrap();
    assert!(open(place.path()).unwrap().fresh);
}

#[test]
fn a_symbolic_link_is_refused_with_and_without_a_slash_and_inside() {
    let place = place();
    let (folder, link) = (place.path().join("real"), place.path().join("link"));
    closed(&folder);
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    refused(&link, &link, "symbolic link");
    let slash = PathBuf::from(format!("{}/", link.display()));
    assert!(open(&slash).unwrap_err().to_string().contains("symbolic link"));
    fs::rename(folder.join("CURRENT"), place.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path().join("elsewhere"), folder.join("CURRENT")).unwrap();
    refused(&folder, &folder.join("CURRENT"), "symbolic link");
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("only root can give a folder away: not looked at");
    }
    let place = place();
    closed(place.path());
    std::os::unix::fs::chown(place.path().join("CURRENT"), Some(12_345), None).unwrap();
    refused(place.path(), &place.path().join("CURRENT"), "belongs to user 12345");
    std::os::unix::fs::chown(place.path(), Some(12_345), None).unwrap();
    refused(place.path(), place.path(), "belongs to user 12345");
}

/// Opens what was done to a copy of `origin`. Whatever it was, no committed message is missing without a word.
#[track_caller]
fn never_fewer(origin: &Path, what: &str, harm: impl FnOnce(&Path)) -> &'static str {
    let copied = place();
    copy(origin, copied.path());
    harm(copied.path());
    match open(copied.path()) {
        Err(OpenError::Damaged { .. }) => "refused",
        Err(other) => panic!("{what}: {other}"),
        Ok(opened) => match rows(&opened.db) {
            Ok(found) => {
                assert_eq!(found, COMMITTED, "{what}: opened with fewer messages than were committed");
                "whole"
            }
            Err(_) => "met while reading",
        },
    }
}

fn flips(name: &str, length: usize) -> Vec<usize> {
    let important = name.ends_with(".log") || name.starts_with("MANIFEST") || name.starts_with("heraldmq");
    let step = if important { length / 20 } else { length / 3 };
    let mut at: Vec<usize> = (0..length).step_by(step.max(1)).collect();
    if important {
        at.extend((0..length).rev().take(3));
        // The header of the last message in the log: 300 bytes, its key, its seal, the batch around it.
        at.extend((0..length).rev().skip(335).step_by(2).take(14));
    }
    at
}

#[test]
fn f05_whatever_is_flipped_cut_or_deleted_it_never_opens_with_fewer_messages() {
    for store in [killed, closed] {
        let origin = place();
        store(origin.path());
        let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
        for (file, bytes) in content(origin.path()) {
            let name = file.strip_prefix(origin.path()).unwrap();
            let mut harm = |what: &str, harm: &dyn Fn(&Path)| {
                let outcome = never_fewer(origin.path(), what, |folder| harm(&folder.join(name)));
                *outcomes.entry(outcome).or_default() += 1;
            };
            for at in flips(&name.to_string_lossy(), bytes.len()) {
                harm(&format!("{} flipped at {at} of {}", name.display(), bytes.len()), &|file| {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1 << (at % 8);
                    fs::write(file, flipped).unwrap();
                });
            }
            for keep in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                harm(&format!("{} cut to {keep} of {}", name.display(), bytes.len()), &|file| {
                    fs::write(file, &bytes[..keep]).unwrap();
                });
            }
            harm(&format!("{} deleted", name.display()), &|file| fs::remove_file(file).unwrap());
        }
        assert!(outcomes["refused"] > 30 && outcomes["whole"] > 5, "{outcomes:?}");
    }
}

#[test]
fn f05_after_a_power_cut_that_took_the_live_mark_back_a_flipped_bit_in_the_log_is_refused() {
    let origin = place();
    let mut opened = filled(origin.path());
    let earlier = fs::read(origin.path().join(LIVE)).unwrap();
    commit(&mut opened, COMMITTED - 1);
    let copied = place();
    copy(origin.path(), copied.path());
    fs::write(copied.path().join(LIVE), earlier).unwrap();
    let log = newest_log(copied.path());
    let bytes = fs::read(&log).unwrap();
    // The last record, with its header: 300 bytes, their key and seal, and the batch around them.
    let last = bytes.len() - 345;
    for at in (last..last + 60).chain(bytes.len() - 3..bytes.len()) {
        for bit in [0, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&log, flipped).unwrap();
            refused(copied.path(), &log, "is damaged at byte");
        }
    }
    fs::write(&log, bytes).unwrap();
    assert_eq!(rows(&open(copied.path()).unwrap().db), Ok(COMMITTED));
}
