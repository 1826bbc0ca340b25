//! Damaged folders: refused by name, or opened with everything that was acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SYNC;
use super::chance::Chance;
use super::disk::{Image, image, restore};
use super::link::Link;
use super::process::{Ended, Place, Running};
use super::run::{MARKER, seed};
use super::support::build::{Connect, PUBACK, Publication};
use super::support::packet::Packet;
use super::support::wire::Version;

/// `EX_CONFIG`: the folder is not one to run on.
const REFUSED: i32 = 78;
const MESSAGES: usize = 120;
const RETAINED: usize = 20;

/// A folder with known content, some of it in tables and some in the log, and how it was left.
fn folder(clean: bool) -> (Place, Image) {
    let place = Place::new(SYNC, "");
    for part in 0..3 {
        // Opening writes what the log holds into tables.
        let mut running = place.start().unwrap();
        fill(&running, part);
        if clean {
            running.stop()
        } else {
            running.kill()
        };
    }
    let image = image(&place.data());
    (place, image)
}

fn fill(running: &Running, part: usize) {
    let addr = running.addr("mqtt");
    if part == 0 {
        let mut absent = Link::open(addr, &Connect::new(Version::V5, "absent").resume()).unwrap();
        absent.subscribe(1, &[("kept/#", 1)], |_, _| Ok(())).unwrap();
        absent.send(&[0xE0, 0x00]).unwrap();
    }
    let mut link = Link::open(addr, &Connect::new(Version::V5, "publisher")).unwrap();
    let mut publish = |publication: Publication| {
        let code = link.publish_and_wait(&publication, Duration::from_secs(10)).unwrap();
        assert!(code.is_some_and(|code| code < 0x80), "{code:?}");
    };
    for number in part * MESSAGES / 3..(part + 1) * MESSAGES / 3 {
        let payload = format!("{number}:{}", "m".repeat(number * 13 % 300));
        publish(Publication::new("kept/a", payload).qos(1, number as u16 + 1));
    }
    for number in 0..RETAINED {
        publish(Publication::new(format!("retained/{number}"), part.to_string()).qos(1, 1000).retain());
    }
}

/// What of the content is not there; `None`: the program has ended meanwhile.
fn missing(running: &mut Running) -> Option<String> {
    let addr = running.addr("mqtt");
    let mut got = BTreeSet::new();
    let mut retained = BTreeSet::new();
    let mut take = |link: &mut Link, packet: Packet| {
        let Packet::Publish(publish) = packet else { return Ok(()) };
        if publish.topic.starts_with("retained/") {
            retained.insert((publish.topic, publish.payload));
            return Ok(());
        }
        got.insert(String::from_utf8_lossy(&publish.payload).split(':').next().unwrap_or("").to_owned());
        link.ack(PUBACK, publish.id)
    };
    let mut drain = || {
        let mut link = Link::open(addr, &Connect::new(Version::V5, "absent").resume())?;
        link.subscribe(2, &[("retained/#", 0)], &mut take)?;
        while let Some(packet) = link.next(Duration::from_millis(500))? {
            take(&mut link, packet)?;
        }
        Ok::<(), super::link::Gone>(())
    };
    let drained = drain();
    if drained.is_err() {
        // A program that is about to end has closed the connection first.
        std::thread::sleep(Duration::from_millis(300));
    }
    if running.has_ended() {
        return None;
    }
    let lost: Vec<usize> = (0..MESSAGES).filter(|number| !got.contains(&number.to_string())).collect();
    let stale = retained.iter().filter(|(_, payload)| payload != b"2").count();
    let whole = lost.is_empty() && retained.len() == RETAINED && stale == 0;
    Some(if whole {
        String::new()
    } else {
        format!("{drained:?}, lost {lost:?}, {} retained, {stale} stale", retained.len())
    })
}

/// How damaged folders were taken.
#[derive(Debug, Default)]
struct Outcomes {
    refused: usize,
    /// Of those: another file was named. RocksDB takes the properties of a table for a part of its MANIFEST.
    misnamed: usize,
    opened: usize,
    wrong: Vec<String>,
}

impl Outcomes {
    /// Starts the program on a folder that was `whole` before something was `done` to `file`.
    fn judge(&mut self, place: &Place, whole: &Image, (file, done): (&str, &str)) {
        match place.start() {
            Err(ended) => self.refused(&ended, whole, (file, done)),
            Ok(mut running) => match missing(&mut running) {
                None => self.refused(&running.wait(Duration::ZERO), whole, (file, done)),
                Some(missing) if missing.is_empty() => self.opened += 1,
                Some(missing) => {
                    self.wrong.push(format!("{done} of {file}: opened, but {missing}: {}", running.log()));
                }
            },
        }
    }

    fn refused(&mut self, ended: &Ended, whole: &Image, (file, done): (&str, &str)) {
        let named = |file: &str| ended.log.contains(file.rsplit('/').next().unwrap_or(file));
        self.refused += 1;
        if ended.code != Some(REFUSED) || !(whole.keys().any(|file| named(file)) || ended.log.contains("MANIFEST-")) {
            self.wrong.push(format!("{done} of {file}: {ended:?}"));
        }
        self.misnamed += usize::from(!named(file));
    }

    #[track_caller]
    fn show(&self, run: &str, seed: u64) {
        let line = serde_json::json!({"run": run, "seed": seed, "refused": self.refused, "misnamed": self.misnamed,
            "opened": self.opened, "wrong": self.wrong});
        println!("{line}");
        assert!(self.wrong.is_empty(), "{line}");
        assert!(self.refused > 0, "no damage was noticed: {line}");
    }
}

/// Files in which a bit says something: the text log is for people.
fn targets(image: &Image) -> Vec<(String, Vec<u8>)> {
    let files = image.iter().filter_map(|(name, content)| Some((name.clone(), content.clone()?)));
    files.filter(|(name, content)| !name.starts_with("LOG") && !content.is_empty()).collect()
}

fn flips(count: usize) {
    let seed = seed();
    let mut chance = Chance::new(seed);
    let mut outcomes = Outcomes::default();
    for clean in [false, true] {
        let (place, whole) = folder(clean);
        let files = targets(&whole);
        for number in 0..count / 2 {
            let (name, content) = &files[number % files.len()];
            let (at, bit) = (chance.below(content.len()), chance.below(8));
            let mut image = whole.clone();
            image.entry(name.clone()).and_modify(|content| {
                if let Some(content) = content {
                    content[at] ^= 1 << bit;
                }
            });
            restore(&place.data(), &image);
            let done = format!("bit {bit} of byte {at} of {}", content.len());
            outcomes.judge(&place, &whole, (name, &done));
        }
    }
    outcomes.show("F05 bit flips", seed);
}

#[test]
fn f05_flipped_bits() {
    flips(50);
}

#[test]
#[ignore = "long: make torture"]
fn f05_flipped_bits_long() {
    flips(500);
}

#[test]
fn f05_deleted_and_truncated_files() {
    let seed = seed();
    let mut chance = Chance::new(seed);
    let mut outcomes = Outcomes::default();
    for clean in [false, true] {
        let (place, whole) = folder(clean);
        for (name, content) in targets(&whole) {
            for cut in [None, Some(0), Some(chance.below(content.len()))] {
                let mut image = whole.clone();
                match cut {
                    None => drop(image.remove(&name)),
                    Some(length) => drop(image.insert(name.clone(), Some(content[..length].to_vec()))),
                }
                restore(&place.data(), &image);
                let done = format!("{cut:?} bytes left of {}", content.len());
                outcomes.judge(&place, &whole, (&name, &done));
            }
        }
    }
    outcomes.show("F05 files", seed);
}

#[test]
fn f05_a_folder_that_was_emptied_is_not_a_new_one() {
    let (place, mut whole) = folder(true);
    // The marker is what is left of it.
    whole.retain(|name, _| name == MARKER);
    assert_eq!(whole.len(), 1);
    restore(&place.data(), &whole);
    let Err(ended) = place.start() else { panic!("it was opened") };
    assert_eq!(ended.code, Some(REFUSED), "{}", ended.log);
}

#[test]
fn f27_a_folder_of_a_newer_format_is_refused_by_name() {
    let (place, mut whole) = folder(true);
    let marker = whole.get_mut(MARKER).and_then(Option::as_mut).unwrap();
    marker[8..12].copy_from_slice(&99u32.to_be_bytes());
    let body = marker.len() - 4;
    let crc = crc32c::crc32c(&marker[..body]);
    marker[body..].copy_from_slice(&crc.to_be_bytes());
    restore(&place.data(), &whole);
    let Err(ended) = place.start() else { panic!("it was opened") };
    assert_eq!(ended.code, Some(REFUSED), "{}", ended.log);
    assert!(ended.log.contains(MARKER) && ended.log.contains("99"), "{}", ended.log);
    let text = |image: &Image| image.keys().cloned().collect::<Vec<_>>();
    assert_eq!(text(&image(&place.data())), text(&whole), "nothing in it was touched");
}
