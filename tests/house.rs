//! The architecture as a test: who may import whom, which words are said where, how large things may be. The tables are
//! the rules; `src/docs/architecture.md` explains them.

#[path = "house/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use tree::{Source, blanked, files, root, sources};

/// What each floor is called in the tables below.
const VOCABULARY: &[&str] = &["mqtt", "topic", "clock", "identity", "message", "access", "guard"];
const CLIENT: &[&str] = &["session", "threshold"];
const LEAVES: &[&str] = &["metrics", "wake", "sync"];
const SERVICES: &[&str] = &["store", "auth"];
const BROKER: &[&str] = &["broker"];

/// Each room, and the rooms it may import: always floors below, never beside, but for what is named.
const MAY_IMPORT: &[(&str, &[&[&str]])] = &[
    ("mqtt", &[]),
    ("topic", &[]),
    ("clock", &[]),
    ("identity", &[]),
    ("message", &[&["mqtt", "topic", "clock", "identity"]]),
    ("access", &[&["mqtt", "topic", "clock", "identity"]]),
    ("guard", &[&["mqtt", "topic", "clock", "identity"]]),
    ("session", &[VOCABULARY]),
    // A threshold opens the session it leads to.
    ("threshold", &[VOCABULARY, &["session"]]),
    ("metrics", &[]),
    ("wake", &[]),
    ("sync", &[]),
    ("store", &[VOCABULARY, CLIENT, LEAVES]),
    ("auth", &[VOCABULARY, CLIENT, LEAVES]),
    ("broker", &[VOCABULARY, CLIENT, LEAVES, SERVICES]),
    ("net", &[VOCABULARY, CLIENT, LEAVES, SERVICES, BROKER]),
    ("core", &[VOCABULARY, CLIENT, LEAVES, SERVICES, BROKER, &["net"]]),
    ("admin", &[VOCABULARY, CLIENT, LEAVES, SERVICES, BROKER]),
    ("certs", &[]),
    ("bench", &[]),
    ("config", &[VOCABULARY, CLIENT, LEAVES, SERVICES, BROKER, &["net", "core", "admin"]]),
    ("server", &[VOCABULARY, CLIENT, LEAVES, SERVICES, BROKER, &["net", "core", "admin", "config"]]),
];

/// Rooms that neither wait, lock, log, nor read a clock.
const PURE: &[&str] = &["mqtt", "topic", "clock", "identity", "message", "access", "guard", "session", "threshold"];

/// What is never said in a pure room.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::sync::Mutex",
    "Mutex",
    "RwLock",
    "Condvar",
    "Instant",
    "SystemTime",
    "rand",
    "getrandom",
    "tracing",
    "async",
    "await",
    "RandomState",
    "HashMap::new",
    "HashSet::new",
    "println",
    "eprintln",
    "unwrap",
    "expect",
    "unreachable",
];

/// Words that only these places say (a place is a path below `src/`, or its beginning).
const SAID_ONLY_BY: &[(&str, &[&str])] = &[
    ("rocksdb", &["store/rocks"]),
    ("rustls", &["net/tls", "admin/", "bench/"]),
    ("tokio_rustls", &["admin/"]),
    ("mqttbytes", &["mqtt/codec"]),
    ("dashmap", &["sync.rs", "guard/admission"]),
    ("mio", &["core/", "net/", "bench/"]),
    ("tokio", &["admin/", "auth/", "server/", "bridge/", "cluster/"]),
    ("axum", &["admin/"]),
    ("hyper", &["admin/"]),
    ("anyhow", &["main.rs", "main/"]),
    ("clap", &["main.rs", "main/"]),
    ("libc", &["net/", "server/"]),
    ("metrics_exporter_prometheus", &["metrics/"]),
    ("unsafe", &[]),
];

/// What is read below these files comes from a peer or from a disk, so they forbid what [`DECIDED_BY_NO_INPUT`] names.
const READ_INPUT: &[&str] = &[
    "access.rs",
    "clock.rs",
    "identity.rs",
    "message.rs",
    "mqtt/mod.rs",
    "net/mod.rs",
    "session/mod.rs",
    "store/record.rs",
    "store/rocks/mod.rs",
    "threshold/mod.rs",
    "topic/mod.rs",
];

/// How they forbid it.
const DENIED: &str = "#![cfg_attr(not(test), deny(clippy::";
/// Lints of clippy: ways to panic, and to lose bits.
const DECIDED_BY_NO_INPUT: &[&str] = &[
    "unwrap_used",
    "expect_used",
    "panic",
    "unreachable",
    "indexing_slicing",
    "string_slice",
    "cast_possible_truncation",
    "arithmetic_side_effects",
];

/// Names that say nothing.
const NO_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "types", "misc", "prelude"];

/// Refused sizes, in lines without tests, comments and blank lines counted.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 100;
const PARAMETERS_MAX: usize = 5;
const FIELDS_MAX: usize = 24;
const INLINE_TEST_LINES_MAX: usize = 200;
/// Sizes to look at again: what is larger stands in the lists below with its size, and may only shrink.
const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;
/// Tables, where length is no sign of anything.
const FLAT_TABLES: &[&str] = &["mqtt/reason.rs", "mqtt/property.rs", "config/file.rs", "metrics/catalogue.rs"];
const LARGE_FILES: &[(&str, usize)] = &[];
const LARGE_FUNCTIONS: &[(&str, usize)] = &[];
/// Functions that take more arguments than they should; the list may only shrink.
const MANY_PARAMETERS: &[&str] = &["core/run.rs::new"];

fn check(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let rooms: BTreeMap<&str, BTreeSet<&str>> = MAY_IMPORT
        .iter()
        .map(|(room, floors)| (*room, floors.iter().flat_map(|floor| floor.iter().copied()).collect()))
        .collect();
    let mut broken = Vec::new();
    for source in &sources() {
        let room = source.room();
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(may) = rooms.get(room) else {
            broken.push(format!("{}: {room} is not in the table", source.path));
            continue;
        };
        for (line, imported) in imports(source) {
            if imported != room && !may.contains(imported.as_str()) {
                broken.push(format!("{}:{line}: {room} imports {imported}", source.path));
            }
        }
    }
    check("an import goes up or sideways", &broken);
}

/// Rooms named after `crate::`, with their lines; `use crate::{a, b}` names both.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in source.lines() {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if line[..at].ends_with('$') || line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            match rest.strip_prefix('{') {
                None => found.push((number, word_at(rest))),
                Some(list) => found.extend(top_level(list).into_iter().map(|path| (number, word_at(path)))),
            }
        }
    }
    found
}

fn word_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The parts of a braced list on one line, nested lists left whole.
fn top_level(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        if depth < 0 {
            parts.push(list[start..at].trim());
            break;
        }
    }
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// Whether `word` stands in `line` as a word of its own.
fn says(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word))
}

#[test]
fn pure_rooms_neither_wait_nor_lock_nor_log_nor_read_a_clock_nor_panic() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room())) {
        for (number, line) in source.lines().filter(|(_, line)| !line.starts_with(DENIED)) {
            for word in IMPURE.iter().filter(|word| says(line, word)) {
                broken.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    check("said in a pure room", &broken);
}

#[test]
fn outside_tests_nothing_is_unwrapped_without_a_reason() {
    let mut broken = Vec::new();
    for source in &sources() {
        for (number, line) in source.lines().filter(|(_, line)| line.contains(".unwrap()") || says(line, "FIXME")) {
            broken.push(format!("{}:{number}: {}", source.path, line.trim()));
        }
    }
    check("expect says why it cannot fail, unwrap does not", &broken);
}

#[test]
fn t_a5_where_input_is_read_clippy_looks_for_panics_and_overflows_without_exception() {
    let mut broken = Vec::new();
    let sources = sources();
    for path in READ_INPUT {
        let text = sources.iter().find(|source| source.path == *path).map_or("", |source| &source.text);
        let denies = |lint: &str| text.lines().any(|line| line.starts_with(DENIED) && says(line, lint));
        let missing = DECIDED_BY_NO_INPUT.iter().filter(|lint| !denies(lint));
        broken.extend(missing.map(|lint| format!("{path}: {lint} is not denied")));
        let below = path.trim_end_matches("mod.rs").trim_end_matches(".rs");
        for source in sources.iter().filter(|source| !source.is_test && source.path.starts_with(below)) {
            // What only our own configuration decides may say why it cannot fail.
            let excepted = |line: &&str| line.contains("allow(clippy::") || line.contains("expect(clippy::");
            let unfounded = |line: &&str| !line.contains("#[expect(clippy::expect_used, reason = ");
            let lines = source.text.lines().filter(excepted).filter(unfounded);
            let lines = lines.filter(|line| DECIDED_BY_NO_INPUT.iter().any(|lint| line.contains(lint)));
            broken.extend(lines.map(|line| format!("{}: {}", source.path, line.trim())));
        }
    }
    check("input must decide nothing by a panic or a lost bit", &broken);
}

#[test]
fn some_words_are_said_in_one_place_only() {
    let mut broken = Vec::new();
    for source in &sources() {
        for (word, places) in SAID_ONLY_BY {
            let may = places.iter().any(|place| source.path.starts_with(place))
                || source.path == "lib.rs" && *word == "unsafe";
            for (number, line) in source.lines().filter(|(_, line)| !may && says(line, word)) {
                let _ = line;
                broken.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    check("said where it must not be", &broken);
}

#[test]
fn nothing_is_reexported_from_elsewhere_and_nothing_is_imported_whole() {
    let mut broken = Vec::new();
    // What `sync.rs` is for is to give what it has from elsewhere one name.
    for source in sources().iter().filter(|source| source.path != "sync.rs") {
        let own: BTreeSet<String> = source.lines().filter_map(|(_, line)| declared_module(line)).collect();
        for (number, line) in source.lines() {
            if let Some(path) = line.trim().strip_prefix("pub use ") {
                let first = word_at(path.trim_start_matches("self::"));
                if !own.contains(&first) {
                    broken
                        .push(format!("{}:{number}: pub use of {first}, which is no module of this one", source.path));
                }
            }
            if line.trim().starts_with("use ") && line.contains("::*") {
                broken.push(format!("{}:{number}: a glob import", source.path));
            }
        }
    }
    check("re-exports and globs", &broken);
}

fn declared_module(line: &str) -> Option<String> {
    let line = line.trim();
    let rest = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) "));
    let rest = rest.or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
    rest.strip_prefix("mod ").map(word_at)
}

#[test]
fn every_file_is_reached_and_has_a_name_that_says_something() {
    let sources = sources();
    let mut broken = Vec::new();
    for source in &sources {
        let stem = source.path.strip_suffix(".rs").expect("found by its ending");
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        if NO_NAMES.contains(&name) || NO_NAMES.contains(&folder) {
            broken.push(format!("{}: a name that says nothing", source.path));
        }
        let (folder, name) =
            if name == "mod" { folder.rsplit_once('/').unwrap_or(("", folder)) } else { (folder, name) };
        if folder.is_empty() && (name == "lib" || name == "main") {
            continue;
        }
        let parents = match folder {
            "" => vec!["lib.rs".to_owned()],
            folder => vec![format!("{folder}/mod.rs"), format!("{folder}.rs")],
        };
        let parent = sources.iter().find(|source| parents.contains(&source.path));
        let declares =
            |parent: &Source| blanked(&parent.text).iter().any(|line| declared_module(line).as_deref() == Some(name));
        if !parent.is_some_and(declares) {
            broken.push(format!("{}: no module declares it", source.path));
        }
    }
    check("files", &broken);
}

#[test]
fn every_room_says_what_it_is_for_and_what_it_must_never_know() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test && !source.text.trim().is_empty()) {
        let is_door = source.path.ends_with("/mod.rs") && source.path.matches('/').count() == 1
            || !source.path.contains('/') && !["lib.rs", "main.rs"].contains(&source.path.as_str());
        let opening: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if opening.is_empty() {
            broken.push(format!("{}: does not say what it is for", source.path));
        } else if is_door
            && !LEAVES.contains(&source.room())
            && !opening.to_lowercase().contains("architecture invariant")
        {
            broken.push(format!("{}: names no architecture invariant", source.path));
        }
    }
    check("openings", &broken);
}

#[test]
fn files_are_small() {
    let mut broken = Vec::new();
    for source in &sources() {
        let lines = source.text.lines().count() - test_lines(source);
        if FLAT_TABLES.contains(&source.path.as_str()) || source.is_test {
            continue;
        }
        if lines > FILE_LINES_MAX {
            broken.push(format!("{}: {lines} lines, refused", source.path));
        }
        judge(&source.path, lines, FILE_LINES, LARGE_FILES, &mut broken);
        if test_lines(source) > INLINE_TEST_LINES_MAX {
            broken.push(format!("{}: {} lines of tests belong beside it", source.path, test_lines(source)));
        }
    }
    check("sizes of files", &broken);
}

/// Lines of the test module inside a file: those that are code in the text and empty in the code.
fn test_lines(source: &Source) -> usize {
    let all = blanked(&source.text);
    let inside =
        |(i, line): (usize, &String)| !line.trim().is_empty() && source.code.get(i).is_some_and(|code| code.is_empty());
    match all.iter().enumerate().position(inside) {
        // Inline tests stand at the end of a file.
        Some(first) if source.code[first..].iter().all(|code| code.trim().is_empty()) => all.len() - first,
        _ => 0,
    }
}

fn judge(name: &str, size: usize, aim: usize, large: &[(&str, usize)], broken: &mut Vec<String>) {
    match large.iter().find(|(large, _)| *large == name) {
        None if size > aim => broken.push(format!("{name}: {size} lines, more than {aim}")),
        Some((_, was)) if size > *was => broken.push(format!("{name}: {size} lines, and {was} were too many")),
        Some((_, was)) if size + 10 < *was || size <= aim => {
            broken.push(format!("{name}: {size} lines: shorten the list, which says {was}"))
        }
        _ => {}
    }
}

#[test]
fn functions_are_small_and_take_few_arguments() {
    let mut broken = Vec::new();
    for source in &sources() {
        for function in functions(source) {
            let name = format!("{}::{}", source.path, function.name);
            if function.lines > FUNCTION_LINES_MAX {
                broken.push(format!("{name}: {} lines, refused", function.lines));
            }
            judge(&name, function.lines, FUNCTION_LINES, LARGE_FUNCTIONS, &mut broken);
            if function.parameters > PARAMETERS_MAX && !MANY_PARAMETERS.contains(&name.as_str()) {
                broken.push(format!("{name}: {} parameters", function.parameters));
            }
        }
    }
    check("sizes of functions", &broken);
}

struct Function {
    name: String,
    lines: usize,
    parameters: usize,
}

/// The functions of a file. The code is formatted, so one ends where its indentation comes back with a brace.
fn functions(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    for (start, line) in source.code.iter().enumerate() {
        let signature = line.trim_start();
        let Some(at) = signature.find("fn ").filter(|at| signature[..*at].split(' ').all(is_qualifier)) else {
            continue;
        };
        let closing = format!("{}}}", &line[..line.len() - signature.len()]);
        let length = source.code[start..].iter().position(|line| *line == closing).map_or(1, |at| at + 1);
        let ends_at_once = source.code[start].trim_end().ends_with(['}', ';']);
        let lines = if ends_at_once { 1 } else { length };
        let head: String = source.code[start..start + lines].concat();
        found.push(Function { name: word_at(&signature[at + 3..]), lines, parameters: parameters(&head) });
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    matches!(word, "" | "pub" | "const" | "async" | "extern") || word.starts_with("pub(")
}

/// Arguments in the first pair of parentheses behind `fn`, `self` left out.
fn parameters(head: &str) -> usize {
    let from = head.find("fn ").map_or(0, |at| at + 3);
    let Some(open) = head[from..].find('(') else { return 0 };
    let (mut depth, mut count, mut current) = (0_i32, 0, String::new());
    for c in head[from + open + 1..].chars() {
        match c {
            '(' | '<' | '[' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' => depth -= 1,
            '>' if !current.ends_with('-') => depth -= 1,
            ',' if depth == 0 => {
                count += usize::from(is_argument(&current));
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    count + usize::from(is_argument(&current))
}

fn is_argument(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !text.ends_with("self") && !text.starts_with("self:")
}

#[test]
fn structs_have_few_fields() {
    let mut broken = Vec::new();
    for source in &sources() {
        for (start, line) in source.code.iter().enumerate() {
            let Some(name) = line.trim_start_matches("pub ").strip_prefix("struct ").filter(|_| line.ends_with('{'))
            else {
                continue;
            };
            let fields = source.code[start + 1..].iter().take_while(|line| *line != "}");
            let fields = fields
                .filter(|line| line.starts_with("    ") && !line.starts_with("     ") && line.contains(':'))
                .count();
            if fields > FIELDS_MAX {
                broken.push(format!("{}: {} has {fields} fields", source.path, word_at(name)));
            }
        }
    }
    check("sizes of structs", &broken);
}

#[test]
fn every_statement_that_is_cited_is_one() {
    // The ids themselves, from the standards; the folder comes with the conformance suite.
    let lists = files(&root().join("tests/conformance/statements"), ".txt");
    let known: BTreeSet<String> = lists
        .iter()
        .flat_map(|list| {
            std::fs::read_to_string(list).expect("a list is text").lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|line| word_with_dots(line.trim()))
        .collect();
    let mut broken = Vec::new();
    let mut cited = 0;
    for source in &sources() {
        for (number, line) in source.text.lines().enumerate() {
            for (at, _) in line.match_indices("[MQTT") {
                let id = word_with_dots(&line[at + 1..]);
                let Some(number_of) = id.strip_prefix("MQTT3-").or_else(|| id.strip_prefix("MQTT-")) else { continue };
                if !number_of.starts_with(|c: char| c.is_ascii_digit()) {
                    continue;
                }
                cited += 1;
                if !lists.is_empty() && !known.contains(&id) {
                    broken.push(format!("{}:{}: [{id}]", source.path, number + 1));
                }
            }
        }
    }
    assert!(cited > 50, "citations were found: {cited}");
    check("no such statement", &broken);
}

fn word_with_dots(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '*')).collect()
}

#[test]
fn every_metric_on_a_dashboard_exists() {
    let known: BTreeSet<&str> = heraldmq::metrics::CATALOGUE.iter().map(|family| family.name).collect();
    let mut broken = Vec::new();
    for file in files(&root().join("grafana"), ".json") {
        let text = std::fs::read_to_string(&file).expect("a dashboard is text");
        for (at, _) in text.match_indices("heraldmq_") {
            let name = word_at(&text[at..]);
            if !known.contains(name.as_str()) && name != "heraldmq_build_info" {
                broken.push(format!("{}: {name}", file.display()));
            }
        }
    }
    check("no such metric", &broken);
}

#[test]
fn the_reader_of_the_tree_sees_code_and_nothing_else() {
    let text = "a(\"x // y\", 'c', '\\'', b'\"'); // tokio\n/* mio\n */ fn f<'a>(x: &'a str) {}\nr#\"un\"safe\"#;\n";
    let code = blanked(text);
    assert_eq!(code.len(), 5);
    assert!(!code.concat().contains("tokio") && !code.concat().contains("mio") && !code.concat().contains("safe"));
    assert!(code[2].contains("fn f<'a>(x: &'a str) {}"), "{}", code[2]);
    assert_eq!(parameters("pub fn f<'a>(&'a mut self, a: Vec<(u8, u8)>, b: impl Fn(u8) -> u8, c: u8) -> u8 {"), 3);
    assert_eq!(top_level("a, b::{c, d}, e};"), ["a", "b::{c, d}", "e"]);
    assert!(says("use std::thread;", "std::thread") && !says("rerandom", "rand"));
}
