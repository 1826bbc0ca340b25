//! What a commit that failed leaves to be written once the store is open again, ahead of everything that was appended later.
//!
//! State that was acknowledged without waiting: nobody can be told any more that it was refused. And what is retained, at whatever
//! level: it is handed out to new subscriptions from memory, and a start must find the same. Messages in queues are not: those that
//! were acknowledged are counted, the others come again.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::super::shared::Append;
use super::WINDOW;
use crate::store::{Level, Record};

/// Topics that are kept. More than this many were retained or cleared while nothing could be written only if somebody makes them up.
const TOPICS_MAX: usize = 1 << 20;

/// What is to be written again.
#[derive(Default)]
pub(in super::super) struct Again {
    /// In the order in which it was appended.
    appends: Vec<Append>,
    /// The newest of each topic.
    retained: HashMap<Box<str>, Append, RandomState>,
}

impl Again {
    /// Keeps what is to be written again of appends that failed. What is not waited for counts on among what the store is behind
    /// with; returns the bytes of that.
    pub(super) fn keep(&mut self, failed: Vec<Append>) -> usize {
        let mut bytes = 0;
        for Append { ticket, level, records } in failed {
            let (of_topics, mut others): (Vec<_>, Vec<_>) = records.into_iter().partition(Record::is_retained);
            others.retain(|record| level == Level::Memory && !matches!(record, Record::Enqueue { .. }));
            if !others.is_empty() {
                let append = Append { ticket, level, records: others };
                bytes = append.unwaited_bytes().saturating_add(bytes);
                self.appends.push(append);
            }
            for record in of_topics {
                // It does not count among what is not waited for: there is one of each topic.
                self.keep_retained(Append { ticket, level: Level::Os, records: vec![record] });
            }
        }
        bytes
    }

    fn keep_retained(&mut self, append: Append) {
        let topic = match &append.records[..] {
            [Record::Retain(message)] => message.topic(),
            [Record::Unretain(topic)] => topic,
            _ => return,
        };
        if self.retained.len() < TOPICS_MAX || self.retained.contains_key(topic) {
            self.retained.insert(topic.into(), append);
        } else {
            tracing::error!(
                topic,
                "too much is retained while nothing can be written: after a restart it is as it was before"
            );
        }
    }

    /// Whether anything is left.
    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.retained.is_empty()
    }

    /// As much as makes one commit, in order.
    pub(super) fn take(&mut self) -> Vec<Append> {
        if self.appends.is_empty() {
            let some: Vec<_> = self.retained.keys().take(WINDOW).cloned().collect();
            return some.iter().filter_map(|topic| self.retained.remove(topic)).collect();
        }
        let rest = self.appends.split_off(WINDOW.min(self.appends.len()));
        std::mem::replace(&mut self.appends, rest)
    }

    /// It could not be written again.
    pub(super) fn put_back(&mut self, mut taken: Vec<Append>) {
        if taken.iter().all(|append| append.records.iter().all(Record::is_retained)) {
            taken.into_iter().for_each(|append| self.keep_retained(append));
        } else {
            taken.append(&mut self.appends);
            self.appends = taken;
        }
    }
}
