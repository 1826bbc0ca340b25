//! The ledger of normative statements, and what keeps it true.
//!
//! `statements/*.txt` are the ids of both standards with who must obey: `server`, `client` or `both`. `ledger.toml` has
//! one row for each: the room of `src/` that owns it and how this broker stands to it. Which tests show a statement is
//! written nowhere but at the tests: in their names, and in brackets in their doc comments.

#[path = "ledger/shown.rs"]
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shown::{Test, cited, tests_below};

/// How the broker stands to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Is {
    /// It obeys, and a test shows it.
    Conform,
    /// It does otherwise, and `why` says for what reason.
    Deviate,
    /// Its condition cannot arise here, and `why` says how so.
    Void,
    /// Only a client can obey; a test may show what the broker does about one that does not.
    Client,
}

/// A row of the ledger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    room: Option<String>,
    is: Is,
    why: Option<String>,
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn read(name: &str) -> String {
    fs::read_to_string(place().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Ids of both standards, each with its role; an id that stands twice is an error.
fn statements() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (file, word) in [("statements/v5.txt", "MQTT-"), ("statements/v3.txt", "MQTT3-")] {
        for line in read(file).lines() {
            let (id, role) = line.split_once(' ').expect("an id and a role on each line");
            assert!(id.starts_with(word) && cited(&format!("[{id}]")) == [id], "{file}: {id} is not an id");
            assert!(["server", "client", "both"].contains(&role), "{file}: {id} has the role {role}");
            assert!(all.insert(id.to_owned(), role.to_owned()).is_none(), "{file}: {id} stands there twice");
        }
    }
    all
}

/// The rows; TOML itself refuses a key that stands twice.
fn rows() -> BTreeMap<String, Row> {
    toml::from_str(&read("ledger.toml")).unwrap_or_else(|error| panic!("ledger.toml: {error}"))
}

fn tests() -> Vec<Test> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = tests_below(&root.join("tests"));
    found.extend(tests_below(&root.join("src")));
    found
}

fn shown() -> BTreeSet<String> {
    tests().into_iter().flat_map(|test| test.shows).collect()
}

#[track_caller]
fn check(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_statement_has_its_row_and_every_row_its_statement() {
    let (statements, rows) = (statements(), rows());
    let missing = statements.keys().filter(|id| !rows.contains_key(*id)).map(|id| format!("{id} has no row"));
    let unreal = rows.keys().filter(|id| !statements.contains_key(*id)).map(|id| format!("{id} is no statement"));
    check("ledger.toml", &missing.chain(unreal).collect::<Vec<_>>());
}

#[test]
fn every_row_says_who_owns_it_and_why_it_is_not_obeyed() {
    let statements = statements();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for (id, row) in rows() {
        let role = statements.get(&id).map_or("", String::as_str);
        if (row.is == Is::Client) != (role == "client") {
            broken.push(format!("{id} is a statement about {role}"));
        }
        let explained = row.why.is_some_and(|why| why.split_whitespace().count() > 2);
        if explained != matches!(row.is, Is::Deviate | Is::Void) {
            broken.push(format!("{id}: `why` belongs to what is not obeyed or cannot arise, and only there"));
        }
        match &row.room {
            None if row.is == Is::Conform => broken.push(format!("{id} is owned by no room")),
            Some(room) if !source.join(room).is_dir() && !source.join(format!("{room}.rs")).is_file() => {
                broken.push(format!("{id}: there is no room {room}"));
            }
            _ => {}
        }
    }
    check("ledger.toml", &broken);
}

#[test]
fn what_is_obeyed_is_shown_by_a_test() {
    let shown = shown();
    let unshown = |id: &String, row: &Row| row.is == Is::Conform && !shown.contains(id);
    let broken: Vec<_> = rows().into_iter().filter(|(id, row)| unshown(id, row)).map(|(id, _)| id).collect();
    check("no test shows", &broken);
}

#[test]
fn every_id_in_a_test_is_a_statement() {
    let statements = statements();
    let mut broken = Vec::new();
    for test in tests() {
        for id in test.shows.iter().filter(|id| !statements.contains_key(*id)) {
            broken.push(format!("{}: {} names {id}", test.file, test.name));
        }
    }
    check("no such statement", &broken);
}

#[test]
fn every_conformance_test_says_in_brackets_what_its_name_says() {
    let mut broken = Vec::new();
    for test in tests().iter().filter(|test| test.file.contains("conformance/v")) {
        match &test.named {
            Some(id) if test.bracketed.contains(id) => {}
            Some(id) => broken.push(format!("{}: {} does not have [{id}] above it", test.file, test.name)),
            None => broken.push(format!("{}: {} is not named by a statement", test.file, test.name)),
        }
    }
    check("names", &broken);
}

#[test]
fn no_two_tests_have_the_same_name() {
    let mut seen = BTreeMap::new();
    let mut broken = Vec::new();
    for test in tests().into_iter().filter(|test| test.file.contains("conformance/v")) {
        if let Some(other) = seen.insert(test.name.clone(), test.file.clone()) {
            broken.push(format!("{} in {other} and {}", test.name, test.file));
        }
    }
    check("names", &broken);
}
