//! From text to values: TOML with the line of every value, and the environment over it.
//!
//! Type and range are checked here, by the declaration; what values mean together is `resolve`'s business.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Initial, Kind, SETTINGS, Setting, TABLES, setting};
use super::mistake::{Mistake, Place};

/// One value of the right type, in range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Whole(u64),
    Flag(bool),
    Text(String),
    Words(Vec<(String, String)>),
    Absent,
}

/// Every setting's value and where it was written. Each is taken out once.
#[derive(Debug, Default)]
pub(super) struct Values {
    map: BTreeMap<&'static str, (Value, Place)>,
}

impl Values {
    /// Takes the value of `path` out. A path that is not declared, or taken twice, is a mistake of the program.
    pub(super) fn take(&mut self, path: &str) -> (Value, Place) {
        self.map.remove(path).expect("every setting is declared and resolved once")
    }

    /// Every value as it would be written; empty where there is none.
    pub(super) fn shown(&self) -> BTreeMap<&'static str, String> {
        let shown = |value: &Value| match value {
            Value::Whole(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Words(words) => {
                let words: Vec<_> = words.iter().map(|(text, word)| format!("{text:?} = {word:?}")).collect();
                format!("{{ {} }}", words.join(", "))
            }
            Value::Absent => String::new(),
        };
        self.map.iter().map(|(path, (value, _))| (*path, shown(value))).collect()
    }

    /// Settings nobody has taken.
    pub(super) fn left(&self) -> Vec<&'static str> {
        self.map.keys().copied().collect()
    }
}

/// The variables that belong to the tests of this project and to nobody's configuration.
const TEST_VARIABLES: &str = "HERALDMQ_TEST_";

/// Reads everything that is written, file first, environment over it; what is not written has its default, and what is
/// wrong too, so that the rest can be checked.
pub(super) fn read(text: &str, environment: impl Iterator<Item = (OsString, OsString)>) -> (Values, Vec<Mistake>) {
    let mut reader = Reader { text, written: BTreeMap::new(), mistakes: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or(Place::Default, |span| Place::Line(line_of(text, span.start)));
        reader.mistake(place, "", String::new(), format!("not TOML: {}", error.message()));
    }
    reader.table("", document.get_ref());
    reader.environment(environment);
    let Reader { mut written, mistakes, .. } = reader;
    let all = SETTINGS.iter().map(|setting| {
        (setting.path, written.remove(setting.path).unwrap_or_else(|| (initial(setting), Place::Default)))
    });
    (Values { map: all.collect() }, mistakes)
}

fn initial(setting: &Setting) -> Value {
    match setting.initial {
        Initial::Whole(number) => Value::Whole(number),
        Initial::Flag(flag) => Value::Flag(flag),
        Initial::Text(text) => Value::Text(text.to_owned()),
        Initial::Absent(_) => Value::Absent,
    }
}

struct Reader<'t> {
    text: &'t str,
    written: BTreeMap<&'static str, (Value, Place)>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, place: Place, key: &str, found: String, expected: String) {
        self.mistakes.push(Mistake { place, key: key.to_owned(), found, expected });
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let place = Place::Line(line_of(self.text, key.span().start));
            match (setting(&path), value.get_ref()) {
                (Some(setting), _) => self.value(setting, value, place),
                (None, DeValue::Table(inner)) if is_table(&path) => self.table(&path, inner),
                (None, DeValue::Table(_)) => {
                    self.mistake(place, &path, String::new(), format!("there is no such table{}", near(&path)));
                }
                (None, _) if is_table(&path) => {
                    self.mistake(place, &path, shown(self.text, value), "expected a table".to_owned());
                }
                (None, _) => {
                    let found = shown(self.text, value);
                    self.mistake(place, &path, found, format!("there is no such setting{}", near(&path)));
                }
            }
        }
    }

    fn value(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>, place: Place) {
        let read = match (setting.kind, value.get_ref()) {
            (Kind::Whole { .. }, DeValue::Integer(number)) => {
                match i128::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => whole(setting.kind, number),
                    Err(_) => None,
                }
            }
            (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Kind::Word(_) | Kind::Text | Kind::Path | Kind::Address, DeValue::String(text)) => {
                word(setting.kind, text)
            }
            (Kind::Words(words), DeValue::Table(table)) => {
                let pair = |(text, word): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    let text: &std::borrow::Cow<'_, str> = text.get_ref();
                    Some((text.to_string(), one_of(words, word.get_ref().as_str()?)?))
                };
                table.iter().map(pair).collect::<Option<_>>().map(Value::Words)
            }
            _ => None,
        };
        match read {
            Some(value) => drop(self.written.insert(setting.path, (value, place))),
            None => self.mistake(place, setting.path, shown(self.text, value), expected(setting)),
        }
    }

    fn environment(&mut self, environment: impl Iterator<Item = (OsString, OsString)>) {
        let mut ours: Vec<(String, OsString)> = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("HERALDMQ_") && !name.starts_with(TEST_VARIABLES))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let found = value.to_string_lossy().into_owned();
            let place = Place::Environment(name.clone());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                self.mistake(place, "", String::new(), "there is no such setting".to_owned());
                continue;
            };
            let read = value.to_str().and_then(|text| match setting.kind {
                Kind::Whole { .. } => text.trim().parse().ok().and_then(|number| whole(setting.kind, number)),
                Kind::Flag => text.trim().parse().ok().map(Value::Flag),
                Kind::Word(_) | Kind::Text | Kind::Path | Kind::Address => word(setting.kind, text),
                Kind::Words(words) => pairs(words, text),
            });
            match read {
                Some(value) => drop(self.written.insert(setting.path, (value, place))),
                None => self.mistake(place, setting.path, format!("{found:?}"), expected(setting)),
            }
        }
    }
}

fn whole(kind: Kind, number: i128) -> Option<Value> {
    let Kind::Whole { min, max } = kind else { return None };
    u64::try_from(number).ok().filter(|number| (min..=max).contains(number)).map(Value::Whole)
}

fn word(kind: Kind, text: &str) -> Option<Value> {
    let right = match kind {
        Kind::Word(words) => words.contains(&text),
        Kind::Address => text.parse::<SocketAddr>().is_ok(),
        Kind::Path => !text.is_empty(),
        Kind::Text => true,
        Kind::Whole { .. } | Kind::Flag | Kind::Words(_) => false,
    };
    right.then(|| Value::Text(text.to_owned()))
}

/// `text=word,text=word`; a text with a comma in it can only stand in the file.
fn pairs(words: &[&str], text: &str) -> Option<Value> {
    let pair = |part: &str| {
        let (text, word) = part.rsplit_once('=')?;
        Some((text.trim().to_owned(), one_of(words, word.trim())?))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect::<Option<_>>().map(Value::Words)
}

fn one_of(words: &[&str], word: &str) -> Option<String> {
    words.contains(&word).then(|| word.to_owned())
}

/// What the setting would accept, in words.
fn expected(setting: &Setting) -> String {
    let what = match setting.kind {
        Kind::Whole { min, max } if setting.unit.is_empty() => format!("a whole number from {min} to {max}"),
        Kind::Whole { min, max } => format!("a whole number of {} from {min} to {max}", setting.unit),
        Kind::Flag => "true or false".to_owned(),
        Kind::Word(words) => any_of(words),
        Kind::Words(words) => format!("a table of texts, each with {}", any_of(words)),
        Kind::Text => "a text in quotation marks".to_owned(),
        Kind::Path => "the path of a file in quotation marks".to_owned(),
        Kind::Address => "an IP address and a port such as \"127.0.0.1:1883\" or \"[::1]:1883\"".to_owned(),
    };
    format!("expected {what}")
}

fn any_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

fn is_table(path: &str) -> bool {
    TABLES.iter().any(|(table, _)| *table == path || table.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// A hint where the same key exists in another table, which is the usual slip.
fn near(path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    let same = SETTINGS.iter().find(|setting| setting.path.rsplit('.').next() == Some(key));
    same.map_or_else(String::new, |setting| format!(" (there is {})", setting.path))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The value as written, its first line and at most 60 characters of it.
fn shown(text: &str, value: &Spanned<DeValue<'_>>) -> String {
    let written = text.get(value.span()).unwrap_or_default();
    let line = written.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(60).collect();
    if shown.len() < written.len() {
        shown.push('…');
    }
    shown
}
