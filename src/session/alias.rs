//! Topic Aliases, both ways. Both end with the connection [MQTT-3.3.2-7].

use crate::mqtt::publish::Alias;

/// What a client's aliases stand for.
#[derive(Debug, Default)]
pub(super) struct AliasesIn {
    /// By alias - 1. Allocated by the first alias.
    topics: Vec<Option<Box<str>>>,
}

impl AliasesIn {
    /// From now on `alias` stands for `topic` [MQTT-3.3.2-12].
    pub(super) fn learn(&mut self, alias: u16, topic: &str) {
        let index = usize::from(alias).saturating_sub(1);
        if self.topics.len() <= index {
            self.topics.resize_with(index.saturating_add(1), || None);
        }
        if let Some(place) = self.topics.get_mut(index) {
            *place = Some(topic.into());
        }
    }

    /// What `alias` stands for.
    pub(super) fn topic(&self, alias: u16) -> Option<&str> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.as_deref()
    }
}

/// The aliases we use towards a client that allows them: the first topics get one each, and keep it.
#[derive(Debug)]
pub(super) struct AliasesOut {
    topics: Vec<Box<str>>,
    /// The lower of the client's Topic Alias Maximum and our own bound [MQTT-3.1.2-26].
    max: u16,
}

impl AliasesOut {
    /// At most `max` aliases.
    pub(super) fn new(max: u16) -> Self {
        Self { topics: Vec::new(), max }
    }

    /// How to send `topic`; `None` = by its name only. Changes nothing.
    pub(super) fn look_up(&self, topic: &str) -> Option<Alias> {
        let known = self.topics.iter().position(|known| **known == *topic);
        let number = u16::try_from(known.unwrap_or(self.topics.len()).saturating_add(1)).ok()?;
        match known {
            Some(_) => Some(Alias::Known(number)),
            None if number <= self.max => Some(Alias::Teach(number)),
            None => None,
        }
    }

    /// An alias was taught with `topic`.
    pub(super) fn taught(&mut self, topic: &str) {
        self.topics.push(topic.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_3_1_2_26_aliases_stay_within_the_clients_maximum() {
        let mut aliases = AliasesOut::new(2);
        let mut seen = Vec::new();
        for topic in ["a", "b", "c", "a", "c", "b"] {
            let alias = aliases.look_up(topic);
            if let Some(Alias::Teach(_)) = alias {
                aliases.taught(topic);
            }
            seen.push(alias);
        }
        let expected =
            [Some(Alias::Teach(1)), Some(Alias::Teach(2)), None, Some(Alias::Known(1)), None, Some(Alias::Known(2))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn mqtt_3_3_2_12_an_alias_is_what_it_was_last_taught() {
        let mut aliases = AliasesIn::default();
        assert_eq!(aliases.topic(3), None);
        aliases.learn(3, "x");
        aliases.learn(1, "y");
        aliases.learn(3, "z");
        assert_eq!(
            [aliases.topic(1), aliases.topic(2), aliases.topic(3), aliases.topic(4)],
            [Some("y"), None, Some("z"), None]
        );
    }
}
