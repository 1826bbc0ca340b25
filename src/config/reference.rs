//! The sample file and the reference page, made from the declaration.

use std::fmt::Write as _;

use super::file::{Initial, Kind, SETTINGS, Setting, TABLES};

/// A configuration file with every setting at its default.
pub fn sample() -> String {
    let mut text = String::from(
        "# HeraldMQ: every setting with its default. A line may be left out; a setting without a default is a comment here.\n\
         # Each is overridden by the environment variable HERALDMQ_<TABLE>_<KEY>, dots written as _, in capitals.\n",
    );
    for (table, doc) in TABLES {
        if !table.is_empty() {
            let _ = write!(text, "\n# {doc}\n[{table}]\n");
        }
        for setting in settings_of(table) {
            text.push('\n');
            for line in wrapped(&format!("{} {}", setting.doc, summary(setting)), 116) {
                let _ = writeln!(text, "# {line}");
            }
            let key = setting.path.rsplit('.').next().unwrap_or(setting.path);
            let _ = match setting.initial {
                Initial::Absent(_) => writeln!(text, "# {key} = {}", example(setting)),
                initial => writeln!(text, "{key} = {}", written(initial)),
            };
        }
    }
    text
}

/// The reference page, in Markdown.
pub fn page() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         One TOML file (`heraldmq --config FILE`), and environment variables over it. Unknown keys are errors, and all\n\
         mistakes are reported at once. Relative paths start at the directory the program is started in.\n\n\
         *Takes effect* says when a changed value does, after the program was told to read its configuration again\n\
         (SIGHUP): `live` at once, `next connection` for connections made from then on, `restart` when it is started again.\n\
         If anything in the new configuration is wrong, nothing of it takes effect.\n",
    );
    for (table, doc) in TABLES {
        let title = if table.is_empty() { "Top level".to_owned() } else { format!("`[{table}]`") };
        let _ = write!(text, "\n## {title}\n\n{doc}\n");
        for setting in settings_of(table) {
            let key = setting.path.rsplit('.').next().unwrap_or(setting.path);
            let _ = write!(text, "\n### `{key}`\n\n{}\n\n", setting.doc);
            let _ = writeln!(text, "- Value: {}", value(setting));
            let _ = match setting.initial {
                Initial::Absent(meaning) => writeln!(text, "- Default: not set: {meaning}"),
                initial => writeln!(text, "- Default: `{}`", written(initial)),
            };
            let _ = writeln!(text, "- Takes effect: {}", setting.reload.text());
            let _ = writeln!(text, "- Environment: `{}`", setting.variable());
        }
    }
    text
}

fn settings_of(table: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.path.rsplit_once('.').map_or("", |(table, _)| table) == table)
}

fn value(setting: &Setting) -> String {
    match setting.kind {
        Kind::Whole { min, max } if setting.unit.is_empty() => format!("whole number, {min} to {max}"),
        Kind::Whole { min, max } => format!("whole number of {}, {min} to {max}", setting.unit),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Word(words) => any_of(words),
        Kind::Words(words) => format!("table of texts, each with {}", any_of(words)),
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Address => "IP address and port; port 0 lets the system choose one".to_owned(),
    }
}

fn any_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or ")
}

/// Range, meaning of absence and reload class in one breath.
fn summary(setting: &Setting) -> String {
    let range = match setting.kind {
        Kind::Whole { min, max } if setting.unit.is_empty() => format!("{min} to {max}; "),
        Kind::Whole { min, max } => format!("{} ({min} to {max}); ", setting.unit),
        Kind::Word(words) if words.len() > 1 => format!("{}; ", words.join(" | ")),
        _ => String::new(),
    };
    let absent = match setting.initial {
        Initial::Absent(meaning) => format!("not set: {meaning}; "),
        _ => String::new(),
    };
    format!("[{range}{absent}{}]", setting.reload.text())
}

fn written(initial: Initial) -> String {
    match initial {
        Initial::Whole(number) => number.to_string(),
        Initial::Flag(flag) => flag.to_string(),
        Initial::Text(text) => format!("\"{text}\""),
        Initial::Absent(_) => String::new(),
    }
}

/// Something that could stand where there is no default.
fn example(setting: &Setting) -> String {
    let key = setting.path.rsplit('.').next().unwrap_or(setting.path);
    match (setting.kind, key) {
        (Kind::Flag, _) => "true".to_owned(),
        (Kind::Word([first, ..]), _) => format!("\"{first}\""),
        (Kind::Words([.., last]), _) => format!("{{ \"telemetry/#\" = \"{last}\" }}"),
        (_, "password_file") => "\"config/passwords\"".to_owned(),
        (_, "acl_file") => "\"config/acl\"".to_owned(),
        (_, "certificate") => "\"certs/dev/server.pem\"".to_owned(),
        (_, "key") => "\"certs/dev/server.key\"".to_owned(),
        (_, "client_ca") => "\"certs/dev/ca.pem\"".to_owned(),
        (_, key) => format!("\"certs/{key}.pem\""),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
