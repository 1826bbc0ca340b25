//! Looking at everything: every file, every row, every checksum, and whether rows that belong together are there.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;

use rocksdb::DB;

use super::super::layout::{self, BODY, FAMILIES, META, QUEUE, RETAINED, Row, SESSION};
use super::super::live::LiveMark;
use super::super::marker::{Contents, Marker};
use super::super::open::{self, OpenError, TornTail};
use super::super::{folder, recover};
use super::walk::{Hole, walk};
use crate::identity::{SessionId, Ticket};
use crate::store::record::{self, Epoch, Unreadable};

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// A file, or a column family and a key.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What is in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Sessions.
    pub sessions: u64,
    /// Their subscriptions.
    pub subscriptions: u64,
    /// Messages in their queues.
    pub messages: u64,
    /// Messages in the longest queue.
    pub longest_queue: u64,
    /// Bytes of waiting messages; what is stored once for many queues counts once.
    pub message_bytes: u64,
    /// Retained messages.
    pub retained: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// The content.
    pub stats: Stats,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// A write that a crash left unfinished: no damage.
    pub torn_tail: Option<TornTail>,
}

/// Reads a store from end to end and changes nothing in it.
///
/// # Errors
/// There is none, or another process has it. Damage is no error here but what is looked for.
pub fn survey(folder: &Path) -> Result<Survey, OpenError> {
    let folder = folder::existing(folder)?;
    let mut survey = Survey::default();
    // Held to the end.
    let _marker = survey.look_at_files(&folder)?;
    survey.stats.disk_bytes = size(&folder).map_err(|error| OpenError::system(&folder, error))?;
    match open::read_only(&folder) {
        Ok(db) => survey.look_at_rows(&db),
        Err(error) => survey.note(error)?,
    }
    survey.damage.dedup();
    Ok(survey)
}

fn add(sum: &mut u64, more: usize) {
    *sum = sum.saturating_add(more as u64);
}

fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes = if metadata.is_dir() { size(&entry.path())? } else { metadata.len() }.saturating_add(bytes);
    }
    Ok(bytes)
}

impl Survey {
    /// Damage is noted; anything else is an error.
    fn note(&mut self, error: OpenError) -> Result<(), OpenError> {
        match error {
            OpenError::Damaged { file, what } => {
                self.add(file.display().to_string(), what);
                Ok(())
            }
            other => Err(other),
        }
    }

    fn add(&mut self, place: String, what: impl fmt::Display) {
        self.damage.push(Damage { place, what: what.to_string() });
    }

    fn look_at_files(&mut self, folder: &Path) -> Result<Option<Marker>, OpenError> {
        let mut marker = match self.marks(folder) {
            Ok((contents, live)) => Marker::new(folder.to_owned(), contents, live),
            Err(error) => {
                self.note(error)?;
                return Ok(None);
            }
        };
        match open::look(&mut marker) {
            Ok(torn_tail) => self.torn_tail = torn_tail,
            Err(error) => self.note(error)?,
        }
        Ok(Some(marker))
    }

    fn marks(&self, folder: &Path) -> Result<(Contents, LiveMark), OpenError> {
        let contents = open::read_marker(folder)?;
        let contents =
            contents.ok_or_else(|| OpenError::refused(&folder.join(super::super::marker::MARKER), "is missing"))?;
        Ok((contents, open::hold(folder, contents.id, open::Live::MustBeThere)?))
    }

    fn look_at_rows(&mut self, db: &DB) {
        let mut rows = Rows::default();
        for family in FAMILIES {
            let mut bad = Vec::new();
            let holes = walk(db, family, |key, value| {
                if let Err(error) = rows.add(family, key, value) {
                    bad.push((recover::shown(key), error));
                }
            });
            for Hole { after, why } in holes {
                self.add(format!("column family {family}, behind key {}", recover::shown(&after)), why);
            }
            for (key, error) in bad {
                self.add(format!("column family {family}, key {key}"), error);
            }
        }
        rows.look_at_relations(self);
        let queues = rows.queues.values().map(|queue| queue.messages);
        self.stats = Stats {
            sessions: rows.sessions.len() as u64,
            messages: queues.clone().sum(),
            longest_queue: queues.max().unwrap_or(0),
            disk_bytes: self.stats.disk_bytes,
            ..rows.stats
        };
    }
}

/// Rows as they are read: what the one says of the other.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) sessions: HashSet<SessionId>,
    pub(super) ended: HashSet<SessionId>,
    pub(super) bodies: HashSet<Ticket>,
    queues: HashMap<SessionId, Queue>,
    /// Sessions that rows belong to.
    owners: HashSet<SessionId>,
    stats: Stats,
}

#[derive(Default)]
struct Queue {
    messages: u64,
    /// Messages that lie in `body`.
    elsewhere: Vec<Ticket>,
}

impl Rows {
    /// Takes a row in, if it is what its column family holds.
    pub(super) fn add(&mut self, family: &str, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        let body = record::unseal(key, value)?;
        let epoch = Epoch { wall_at_start_ms: 0 };
        match family {
            QUEUE => {
                let (session, ticket) = layout::parse_queue_key(key).ok_or(Unreadable::Body)?;
                let entry = record::queue_entry(body, epoch)?;
                let queue = self.queues.entry(session).or_default();
                queue.messages = queue.messages.saturating_add(1);
                match entry.message {
                    Some(message) => add(&mut self.stats.message_bytes, message.bytes()),
                    None => queue.elsewhere.push(ticket),
                }
            }
            BODY => {
                let ticket = layout::ticket(key).ok_or(Unreadable::Body)?;
                add(&mut self.stats.message_bytes, record::message(body, epoch)?.bytes());
                self.bodies.insert(ticket);
            }
            SESSION => self.add_session_row(key, body)?,
            RETAINED => {
                let message = record::message(body, epoch)?;
                add(&mut self.stats.retained, 1);
                add(&mut self.stats.retained_bytes, message.bytes());
            }
            META => {}
            _ => return Err(Unreadable::Body),
        }
        Ok(())
    }

    fn add_session_row(&mut self, key: &[u8], body: &[u8]) -> Result<(), Unreadable> {
        let (session, row, rest) = layout::parse_row_key(key).ok_or(Unreadable::Body)?;
        self.owners.insert(session);
        match row {
            Row::Session => {
                record::session(session, body)?;
                self.sessions.insert(session);
            }
            Row::Subscription => {
                std::str::from_utf8(rest).map_err(|_| Unreadable::Body)?;
                record::options(body)?;
                add(&mut self.stats.subscriptions, 1);
            }
            Row::Exchange => {
                <[u8; 8]>::try_from(rest).map_err(|_| Unreadable::Body)?;
                record::exchange(body)?;
            }
            Row::Will => drop(record::will(body)?),
            Row::Leave => drop(record::leave(body)?),
            Row::Expiry => drop(record::expiry(body)?),
            Row::Received => drop(<[u8; 2]>::try_from(rest).map_err(|_| Unreadable::Body)?),
            Row::Ended => drop(self.ended.insert(session)),
        }
        Ok(())
    }

    /// Rows whose session or body is not there. What an ended session left is no damage: it is being removed.
    fn look_at_relations(&self, survey: &mut Survey) {
        let lost = |session: &&SessionId| !self.sessions.contains(session) && !self.ended.contains(session);
        for session in self.owners.iter().chain(self.queues.keys()).filter(lost).collect::<HashSet<_>>() {
            survey
                .add(format!("column family {SESSION}, session {}", session.0), "there are rows of it, and no session");
        }
        for (session, queue) in &self.queues {
            for ticket in queue.elsewhere.iter().filter(|ticket| !self.bodies.contains(ticket)) {
                let key = recover::shown(&layout::body_key(*ticket));
                survey.add(
                    format!("column family {BODY}, key {key}"),
                    format!("is missing; session {} waits for it", session.0),
                );
            }
        }
    }
}
