//! What is wrong with a configuration, said so that it can be put right.

use std::fmt;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, the first is 1.
    Line(usize),
    /// An environment variable.
    Environment(String),
    /// Nowhere: it is a default, or it is missing.
    Default,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// The setting; empty where the file as a whole is wrong.
    pub key: String,
    /// The value as written; empty where there is none.
    pub found: String,
    /// What is wrong, and what would be right.
    pub expected: String,
}

impl Mistake {
    /// The file cannot be read.
    pub(super) fn unreadable(error: &std::io::Error) -> Self {
        let expected = format!("cannot be read: {error}");
        Self { place: Place::Default, key: String::new(), found: String::new(), expected }
    }
}

/// All mistakes of one configuration. Shown one per line, each beginning with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The file's name.
    pub file: String,
    /// At least one, in the order of the file.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn of(file: &str, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| match mistake.place {
            Place::Line(line) => line,
            Place::Environment(_) | Place::Default => usize::MAX,
        });
        Self { file: file.to_owned(), list }
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.list.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            match &mistake.place {
                Place::Line(line) => write!(f, "{}:{line}: ", self.file)?,
                Place::Environment(name) => write!(f, "environment variable {name}: ")?,
                Place::Default => write!(f, "{}: ", self.file)?,
            }
            match (mistake.key.is_empty(), mistake.found.is_empty()) {
                (true, _) => {}
                (false, true) => write!(f, "{}: ", mistake.key)?,
                (false, false) => write!(f, "{} = {}: ", mistake.key, mistake.found)?,
            }
            f.write_str(&mistake.expected)?;
        }
        Ok(())
    }
}
