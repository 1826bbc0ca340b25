//! The disk library itself: what is not synced is gone, what is synced is there, what it is told to fail fails.
//!
//! The subject is this test binary, started again under the library: it changes a folder as a store does, and dies.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::chance::Chance;
use super::disk::{Disk, Image, image, restore};
use super::process::shim;

const PART: &str = "DURABILITY_SUBJECT";

/// Runs one part of [`subject`] on `root/data` under the library, and gives its output.
fn under_the_library(root: &Path, part: &str, control: [i64; 8]) -> String {
    let page: Vec<u8> = control.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(root.join("control"), page).unwrap();
    let _ = fs::remove_file(root.join("trace"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shim::subject", "--ignored", "--nocapture"]).current_dir(root).stdin(Stdio::null());
    command.env(PART, part).env("LD_PRELOAD", shim()).env("POWERLOSS_FOLDER", root.join("data"));
    command.env("POWERLOSS_TRACE", root.join("trace")).env("POWERLOSS_CONTROL", root.join("control"));
    let ended = command.output().unwrap();
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

#[test]
#[ignore = "started by the other tests of this file"]
fn subject() {
    match std::env::var(PART).as_deref() {
        Ok("changes") => changes(),
        Ok("failures") => failures(),
        _ => {}
    }
}

fn changes() {
    let data = Path::new("data");
    let folder = File::open(data).unwrap();
    let mut log = OpenOptions::new().create(true).append(true).open(data.join("log")).unwrap();
    log.write_all(b"synced ").unwrap();
    log.sync_data().unwrap();
    folder.sync_all().unwrap();
    log.write_all(&[b'u'; 2000]).unwrap();
    let nameless = File::create(data.join("nameless")).unwrap();
    nameless.write_all_at(b"synced, but its folder is not", 0).unwrap();
    nameless.sync_all().unwrap();
    // The old file, whole, stays until the folder is synced.
    let mut new = File::create(data.join("current.new")).unwrap();
    new.write_all(b"new").unwrap();
    new.sync_all().unwrap();
    drop(new);
    fs::rename(data.join("current.new"), data.join("current")).unwrap();
    fs::remove_file(data.join("old")).unwrap();
    let table = OpenOptions::new().write(true).open(data.join("table")).unwrap();
    table.write_all_at(b"BB", 1).unwrap();
    table.set_len(3).unwrap();
    table.sync_data().unwrap();
    table.write_all_at(b"CC", 0).unwrap();
    std::process::abort();
}

fn failures() {
    let data = Path::new("data");
    let full = fs::write(data.join("new"), "x").unwrap_err();
    let file = OpenOptions::new().write(true).open(data.join("table")).unwrap();
    let half = file.write_at(b"1234", 0);
    let none = file.write_at(b"1234", 0).unwrap_err();
    let begun = Instant::now();
    let sync = file.sync_data().unwrap_err();
    let slow = begun.elapsed() >= Duration::from_millis(50);
    let year = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / (365 * 86_400) + 1970;
    println!("result: {:?} {half:?} {:?} {:?} {slow}", full.raw_os_error(), none.raw_os_error(), sync.raw_os_error());
    println!("year: {}", year > 2050);
    fs::write("outside", "is untouched").unwrap();
}

/// A folder with three files.
fn prepared() -> (tempfile::TempDir, Disk) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    fs::create_dir(&data).unwrap();
    for (name, content) in [("current", "the first"), ("old", "still there"), ("table", "aaaaaa")] {
        fs::write(data.join(name), content).unwrap();
    }
    let disk = Disk::of(&data);
    (root, disk)
}

fn content<'a>(image: &'a Image, name: &str) -> Option<&'a str> {
    image.get(name).map(|bytes| std::str::from_utf8(bytes.as_deref().unwrap()).unwrap())
}

#[test]
fn what_was_not_synced_is_gone_and_what_was_is_there() {
    let (root, mut disk) = prepared();
    under_the_library(root.path(), "changes", [0; 8]);
    disk.replay(&fs::read(root.path().join("trace")).unwrap());
    let kept = disk.durable();
    assert_eq!(content(&kept, "log"), Some("synced "));
    assert_eq!(content(&kept, "nameless"), None);
    assert_eq!(content(&kept, "current"), Some("the first"));
    assert_eq!(content(&kept, "old"), Some("still there"));
    assert_eq!(content(&kept, "table"), Some("aBB"));
    assert_eq!(disk.live(), image(&root.path().join("data")), "the record tells everything that happened");
    restore(&root.path().join("data"), &kept);
    assert_eq!(image(&root.path().join("data")), kept);
}

#[test]
fn torn_writes_are_prefixes_cut_at_sectors() {
    let (root, mut disk) = prepared();
    under_the_library(root.path(), "changes", [0; 8]);
    disk.replay(&fs::read(root.path().join("trace")).unwrap());
    let mut chance = Chance::new(1);
    let (mut lengths, mut renamed) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..200 {
        let torn = disk.torn(&mut chance);
        let log = content(&torn, "log").unwrap();
        assert!(log.starts_with("synced ") && log[7..].bytes().all(|byte| byte == b'u'), "{log}");
        lengths.insert(log.len());
        assert!(["aBB", "CCB"].contains(&content(&torn, "table").unwrap()));
        match content(&torn, "current").unwrap() {
            "new" => renamed += 1,
            other => assert_eq!(other, "the first"),
        }
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [7, 512, 1024, 1536, 2007]);
    assert!(renamed > 0, "some of the names are kept, too");
}

#[test]
fn it_fails_what_it_is_told_to_fail() {
    let (root, _) = prepared();
    let fifty_years_s = 50 * 365 * 86_400;
    let said = under_the_library(root.path(), "failures", [28, 5, 50_000, fifty_years_s, 1, 0, 0, 0]);
    assert!(said.contains("result: Some(28) Ok(2) Some(28) Some(5) true"), "{said}");
    assert!(said.contains("year: true"), "{said}");
    assert_eq!(fs::read_to_string(root.path().join("outside")).unwrap(), "is untouched");
    assert_eq!(fs::read_to_string(root.path().join("data/table")).unwrap(), "12aaaa");
}
