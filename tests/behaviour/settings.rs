//! Every number in the configuration at its ends: the broker starts and works, and what it does not do it refuses.
//!
//! The list is the program's own table of settings, so a new one is looked at without a word here. Nothing else of the
//! library is used.

mod work;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use heraldmq::config::file::{Initial, Kind, SETTINGS, Setting};

use self::work::{STEPS, Step};
use crate::support::broker;
use crate::{VERSIONS, no_panic};

/// Brokers that are tried at a time.
const AT_A_TIME: usize = 6;

/// A configuration to try.
#[derive(Debug)]
struct Case {
    /// The settings with their values.
    written: Vec<(&'static str, u64)>,
    /// Whether it is as wide as the default everywhere, so that nothing may be refused.
    is_wide: bool,
}

impl Case {
    /// The file: each table once.
    fn text(&self) -> String {
        let tables: BTreeSet<&str> = self.written.iter().map(|(path, _)| split(path).0).collect();
        let mut text = String::new();
        for table in tables {
            text += &format!("[{table}]\n");
            for (path, value) in self.written.iter().filter(|(path, _)| split(path).0 == table) {
                text += &format!("{} = {value}\n", split(path).1);
            }
        }
        text
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or_else(|| panic!("{path} has no table"))
}

/// Every setting that is a number: itself, its smallest value, its largest, its default.
fn numbers() -> impl Iterator<Item = (&'static Setting, u64, u64, u64)> {
    SETTINGS.iter().filter_map(|setting| match (setting.kind, setting.initial) {
        (Kind::Whole { min, max }, Initial::Whole(default)) => Some((setting, min, max, default)),
        (Kind::Whole { .. }, _) => panic!("{} has no default", setting.path),
        _ => None,
    })
}

/// Each at its smallest, at 0, 1 and at its largest, where these are allowed; then all of them together.
fn cases() -> Vec<Case> {
    let mut cases = vec![Case { written: Vec::new(), is_wide: true }];
    for (setting, min, max, default) in numbers() {
        let values: BTreeSet<u64> = [min, 0, 1, max].into_iter().filter(|value| (min..=max).contains(value)).collect();
        // A default of 0 means "none" or "no bound": a small number may be narrower.
        let is_wide = |value| value == max || value == default || (default > 0 && value > default);
        cases.extend(
            values.iter().map(|value| Case { written: vec![(setting.path, *value)], is_wide: is_wide(*value) }),
        );
    }
    let all = |value: fn(u64, u64) -> u64| numbers().map(move |(at, min, max, _)| (at.path, value(min, max))).collect();
    cases.push(Case { written: all(|min, _| min), is_wide: false });
    cases.push(Case { written: all(|min, max| min.max(1).min(max)), is_wide: false });
    cases.push(Case { written: all(|_, max| max), is_wide: true });
    cases
}

#[test]
fn at_either_end_of_every_number_the_work_is_done_or_refused() {
    let (cases, next) = (cases(), AtomicUsize::new(0));
    assert!(cases.len() > 40, "{} configurations are not all there are", cases.len());
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            try_out(case);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).count();
        assert_eq!(failed, 0, "see above");
    });
}

/// Names the configuration where a test fails in the middle of the work.
struct Trying<'a>(&'a str);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("this was with\n{}", self.0);
        }
    }
}

fn try_out(case: &Case) {
    let text = case.text();
    let _named = Trying(&text);
    let broker = broker::with(&text);
    let mut done = 0;
    for version in VERSIONS {
        for (name, Step { run, may_be_refused }) in STEPS {
            match run(broker.addr("mqtt"), version) {
                Ok(()) => done += 1,
                Err(refusal) => {
                    let allowed = *may_be_refused || !case.is_wide;
                    assert!(allowed && refusal.is_clear(), "{name} in {version:?} with\n{text}{refusal:?}");
                }
            }
        }
    }
    no_panic(&broker);
    assert!(done > 0, "nothing at all was done with\n{text}");
}

/// Every number below its smallest value, then above its largest: each mistake is named, with what is expected.
#[test]
fn beyond_either_end_of_every_number_there_is_a_mistake_on_its_own_line() {
    let below = numbers().filter_map(|(setting, min, ..)| Some((setting.path, i128::from(min.checked_sub(1)?))));
    let above = numbers().map(|(setting, _, max, _)| (setting.path, i128::from(max) + 1));
    let negative = numbers().map(|(setting, ..)| (setting.path, -1));
    let huge = numbers().map(|(setting, ..)| (setting.path, i128::from(i64::MAX)));
    for wrong in [below.collect::<Vec<_>>(), above.collect(), negative.collect(), huge.collect()] {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("wrong.toml");
        let lines: Vec<String> = wrong.iter().map(|(path, value)| format!("{path} = {value}\n")).collect();
        std::fs::write(&file, lines.concat()).expect("it is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_heraldmq"));
        let ended = command.current_dir(place.path()).arg("check").arg(&file).output().expect("the program runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(78), "{said}");
        assert_eq!(said.lines().count(), wrong.len(), "{said}");
        for (line, (path, value)) in wrong.iter().enumerate() {
            let expected = format!("wrong.toml:{}: {path} = {value}: expected", line + 1);
            assert!(said.contains(&expected), "{expected} in {said}");
        }
    }
}
