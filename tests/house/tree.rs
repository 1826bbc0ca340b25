//! The source tree as the rules see it: code without comments, strings and tests.

use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// Its path below `src/`, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Its lines with comments and the insides of strings blanked; lines of tests are empty.
    pub code: Vec<String>,
    /// Whether all of it is a test.
    pub is_test: bool,
}

impl Source {
    /// The room it belongs to: its folder, or its own name.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Numbered lines of code, blank ones left out.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(i, line)| (i + 1, line.as_str())).filter(|(_, line)| !line.trim().is_empty())
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends so, sorted.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every source file of the crate.
pub fn sources() -> Vec<Source> {
    let src = root().join("src");
    let sources: Vec<Source> = files(&src, ".rs")
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            let path = path.strip_prefix(&src).expect("found below it").to_string_lossy().into_owned();
            let is_test = path.ends_with("tests.rs") || path.ends_with("testing.rs") || path.contains("tests/");
            let code = if is_test { Vec::new() } else { without_tests(&blanked(&text)) };
            Source { path, text, code, is_test }
        })
        .collect();
    assert!(sources.len() > 20, "the tree was found");
    sources
}

/// The text with comments and the insides of strings and characters replaced by nothing, line for line.
pub fn blanked(text: &str) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => {
                line.push_str("\"\"");
                1 + string_end(&rest[1..])
            }
            'r' | 'b' if !line.ends_with(|before: char| before.is_alphanumeric() || before == '_') => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            if c == '\n' {
                lines.push(std::mem::take(&mut line));
            } else {
                line.push(c);
            }
            rest = &rest[c.len_utf8()..];
        } else {
            for _ in rest[..skipped].matches('\n') {
                lines.push(std::mem::take(&mut line));
            }
            rest = &rest[skipped..];
        }
    }
    lines.push(line);
    lines
}

/// Length of the rest of a string, closing quotation mark included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the raw string that begins here; 0 if none does.
fn raw_string(text: &str) -> usize {
    let from = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    let Some(from) = from else { return 0 };
    let hashes = from.len() - from.trim_start_matches('#').len();
    if !from[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - from.len() + hashes + 1;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// Length of the character that begins here; 0 for a lifetime.
fn character(text: &str) -> usize {
    let inner = &text[1..];
    if inner.starts_with('\\') {
        return inner[2.min(inner.len())..].find('\'').map_or(0, |at| at + 4);
    }
    match inner.char_indices().nth(1) {
        Some((at, '\'')) => at + 2,
        _ => 0,
    }
}

/// Empties what stands under `#[cfg(test)]`. The code is formatted, so an item ends where its indentation comes back.
fn without_tests(lines: &[String]) -> Vec<String> {
    let mut kept = Vec::with_capacity(lines.len());
    let mut end: Option<String> = None;
    let mut fresh = false;
    for line in lines {
        let indentation = &line[..line.len() - line.trim_start().len()];
        match &end {
            None if line.trim() == "#[cfg(test)]" => {
                end = Some(format!("{indentation}}}"));
                fresh = true;
                kept.push(String::new());
            }
            None => kept.push(line.clone()),
            Some(closing) => {
                // An item on one line, such as `mod tests;`, ends at once.
                let one_line = fresh && line.trim_end().ends_with([';', '}']);
                if line == closing || one_line {
                    end = None;
                }
                fresh = fresh && line.trim().starts_with('#');
                kept.push(String::new());
            }
        }
    }
    kept
}
