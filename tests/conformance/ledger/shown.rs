//! Finds the tests in source files, and the statements they name.

use std::fs;
use std::path::Path;

/// A test function.
#[derive(Debug)]
pub struct Test {
    /// Path of its file.
    pub file: String,
    /// Its name.
    pub name: String,
    /// The statement its name begins with.
    pub named: Option<String>,
    /// The statements in brackets in its doc comment.
    pub bracketed: Vec<String>,
    /// All of these.
    pub shows: Vec<String>,
}

/// All tests in the files of a folder and of the folders in it.
pub fn tests_below(folder: &Path) -> Vec<Test> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            found.extend(tests_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            found.extend(tests_in(&path.display().to_string(), &text));
        }
    }
    found
}

/// The tests of one file: a doc comment, `#[test]`, `fn`, with other attributes in between.
fn tests_in(file: &str, text: &str) -> Vec<Test> {
    let (mut found, mut bracketed, mut is_test) = (Vec::new(), Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            bracketed.extend(cited(comment));
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let named = statement(&name);
            let shows = bracketed.iter().cloned().chain(named.clone()).collect();
            let bracketed = std::mem::take(&mut bracketed);
            found.push(Test { file: file.to_owned(), name, named, bracketed, shows });
            is_test = false;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            bracketed.clear();
            is_test = false;
        }
    }
    found
}

/// `mqtt_3_3_1_4_qos_3_is_malformed`: `MQTT-3.3.1-4`.
fn statement(name: &str) -> Option<String> {
    let (standard, rest) = name.split_once('_').filter(|(word, _)| ["mqtt", "mqtt3"].contains(word))?;
    let mut numbers = rest.split('_').map_while(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next();
    let (a, b, c, n) = (next()?, next()?, next()?, next()?);
    Some(format!("{}-{a}.{b}.{c}-{n}", standard.to_uppercase()))
}

/// `[MQTT-3.3.1-4]` and `[MQTT3-3.1.2-24]`, without the brackets.
pub fn cited(text: &str) -> Vec<String> {
    let inside = text.split('[').skip(1).filter_map(|part| part.split_once(']')).map(|(id, _)| id);
    inside.filter(|id| is_id(id)).map(str::to_owned).collect()
}

fn is_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("MQTT-").or_else(|| text.strip_prefix("MQTT3-")) else { return false };
    let Some((section, number)) = rest.split_once('-') else { return false };
    section.split('.').count() == 3 && section.split('.').chain([number]).all(|part| part.parse::<u32>().is_ok())
}

#[test]
fn tests_are_found_with_their_statements() {
    let text = "/// Why. [MQTT-1.5.4-1]\n/// [MQTT3-2.3.1-4] [x]\n#[test]\n#[ignore]\nfn mqtt_3_3_1_4_qos() {}\n\
                /// [MQTT-3.3.1-1]\nfn helper() {}\n    #[test]\n    fn plain() {}\n";
    let found = tests_in("f", text);
    let shows: Vec<_> = found.iter().map(|test| (test.name.as_str(), test.shows.join(" "))).collect();
    let first = "MQTT-1.5.4-1 MQTT3-2.3.1-4 MQTT-3.3.1-4".to_owned();
    assert_eq!(shows, [("mqtt_3_3_1_4_qos", first), ("plain", String::new())]);
    assert_eq!(statement("mqtt3_3_1_2_24_keep_alive").as_deref(), Some("MQTT3-3.1.2-24"));
    assert_eq!(statement("mqtt_3_3_1_is_short"), None);
}
