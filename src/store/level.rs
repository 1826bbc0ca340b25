//! How safe something must be before it is acknowledged, and what asks for it.

use crate::identity::Ticket;

/// What an acknowledgement waits for, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing: the message was routed. A store on a disk writes it all the same, after the acknowledgement.
    Memory,
    /// It is in the log: survives the end of the process. A power cut may cost the last 100 ms. What frees the Packet Identifier
    /// of an incoming QoS 2 message is synced all the same: had a power cut taken it back after PUBCOMP, the client's next message
    /// with this identifier would be taken for the old one, and lost, however much later it came.
    Os,
    /// It is in the log and synced: survives power loss.
    Sync,
}

impl Level {
    /// The words for it, as they are written in a configuration.
    pub const WORDS: [&str; 3] = ["sync", "os", "memory"];

    /// The level of a word.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "sync" => Some(Self::Sync),
            "os" => Some(Self::Os),
            "memory" => Some(Self::Memory),
            _ => None,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Os => "os",
            Self::Memory => "memory",
        }
    }
}

/// How far a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Every append up to here is in the log, or has failed.
    pub written: Ticket,
    /// Every append up to here that asked for [`Level::Sync`] is synced, or has failed. Never ahead of `written`.
    pub synced: Ticket,
    /// Commits that have failed. All of their appends are within the other marks.
    pub failures: u64,
    /// How many appends were settled ahead of both: see [`crate::store::Store::is_early`].
    pub early: u64,
}

impl Marks {
    /// Both at the same place, no failure so far, and nothing ahead of them.
    pub fn at(ticket: Ticket) -> Self {
        Self { written: ticket, synced: ticket, failures: 0, early: 0 }
    }

    /// Whether nothing but what is settled early has changed.
    pub fn differ_in_early_alone(self, before: Self) -> bool {
        (self.written, self.synced, self.failures) == (before.written, before.synced, before.failures)
    }

    /// Whether an append made at `level` has become what it asked for, or has failed.
    pub fn reached(self, ticket: Ticket, level: Level) -> bool {
        match level {
            Level::Memory => true,
            Level::Os => ticket <= self.written,
            Level::Sync => ticket <= self.synced,
        }
    }
}

/// Levels of topics, each by a Topic Name or by a beginning: `a/b` is that topic, `a/#` is `a` and everything below it, `#` is
/// every topic that does not begin with `$` [MQTT-4.7.2-1]. The longest that matches counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicLevels {
    /// The longest first.
    rules: Vec<(Box<str>, Level)>,
}

impl TopicLevels {
    /// A publication looks at each of them at worst.
    pub const MAX: usize = 64;

    /// Levels by patterns that [`TopicLevels::is_pattern`] takes.
    pub fn new(rules: impl IntoIterator<Item = (Box<str>, Level)>) -> Self {
        let mut rules: Vec<_> = rules.into_iter().collect();
        // Of `a/b` and `a/b/#` the Topic Name is the longer match for `a/b`, though the shorter text.
        rules.sort_by_key(|(pattern, _)| {
            let rest = pattern.strip_suffix('#');
            (std::cmp::Reverse(rest.unwrap_or(pattern).trim_end_matches('/').len()), rest.is_some())
        });
        Self { rules }
    }

    /// Whether this is a Topic Name, or one followed by `/#`, or `#`.
    pub fn is_pattern(text: &str) -> bool {
        let name = text.strip_suffix("/#").unwrap_or(text);
        text == "#"
            || text == "/#"
            || (!name.is_empty() && !name.contains(['+', '#', '\0']) && text.len() <= usize::from(u16::MAX))
    }

    /// The level of a topic, if one was given to it.
    pub fn of(&self, topic: &str) -> Option<Level> {
        self.rules.iter().find(|(pattern, _)| matches(pattern, topic)).map(|(_, level)| *level)
    }

    /// Patterns and their levels, the longest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Level)> {
        self.rules.iter().map(|(pattern, level)| (&**pattern, *level))
    }
}

/// Every level in force beside the store's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    /// Listeners by name, each with what it keeps its clients' session state at.
    pub listeners: Vec<(Box<str>, Level)>,
    /// Topics whose messages have a level of their own.
    pub topics: TopicLevels,
}

fn matches(pattern: &str, topic: &str) -> bool {
    if pattern == "#" {
        return !topic.starts_with('$');
    }
    match pattern.strip_suffix("/#") {
        Some(parent) => topic.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        None => pattern == topic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(rules: &[(&str, Level)]) -> TopicLevels {
        TopicLevels::new(rules.iter().map(|(pattern, level)| (Box::from(*pattern), *level)))
    }

    #[test]
    fn the_longest_pattern_counts_in_whatever_order_they_are_written() {
        let rules = [("#", Level::Os), ("a/#", Level::Sync), ("a/b/#", Level::Memory), ("a/b", Level::Os)];
        for rules in [rules, [rules[3], rules[2], rules[1], rules[0]]] {
            let levels = levels(&rules);
            for (topic, level) in [
                ("x", Level::Os),
                ("a", Level::Sync),
                ("a/x", Level::Sync),
                ("a/b", Level::Os),
                ("a/b/c", Level::Memory),
            ] {
                assert_eq!(levels.of(topic), Some(level), "{topic}");
            }
        }
    }

    #[test]
    fn a_pattern_ends_at_a_level_and_leaves_other_topics_alone() {
        let levels = levels(&[("a/b/#", Level::Memory), ("exact", Level::Os)]);
        for topic in ["a", "a/bc", "b/a/b", "exact/", "exac", "$SYS/x"] {
            assert_eq!(levels.of(topic), None, "{topic}");
        }
    }

    #[test]
    fn mqtt_4_7_2_1_everything_is_not_what_begins_with_a_dollar() {
        let levels = levels(&[("#", Level::Memory), ("$x/#", Level::Os)]);
        assert_eq!(
            (levels.of("$SYS/a"), levels.of("$x/a"), levels.of("/")),
            (None, Some(Level::Os), Some(Level::Memory))
        );
    }

    #[test]
    fn what_is_no_topic_name_with_or_without_everything_below_is_no_pattern() {
        assert!(["a", "a/b", "a/#", "#", "/", "/#", "$SYS/#"].into_iter().all(TopicLevels::is_pattern));
        assert!(["", "+", "a/+/b", "a#", "a/#/b", "#/a", "a\0"].into_iter().all(|text| !TopicLevels::is_pattern(text)));
    }

    #[test]
    fn a_level_waits_for_its_own_mark_and_memory_for_none() {
        let marks = Marks { written: Ticket(5), synced: Ticket(3), failures: 0, early: 0 };
        let reached = |ticket, level| marks.reached(Ticket(ticket), level);
        assert_eq!((reached(5, Level::Os), reached(6, Level::Os), reached(6, Level::Memory)), (true, false, true));
        assert_eq!((reached(3, Level::Sync), reached(4, Level::Sync)), (true, false));
        assert!(
            Level::WORDS.iter().all(|word| Level::of(word).unwrap().name() == *word) && Level::of("disk").is_none()
        );
    }
}
