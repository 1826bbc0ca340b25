//! Topic Filters: validity, `$share/ShareName/filter`, matching one name, covering another filter.

/// Which rule a filter or name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("[{statement}]")]
pub struct InvalidTopic {
    /// The normative statement that is broken, without brackets.
    pub statement: &'static str,
}

/// A valid Topic Filter as a client wrote it, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFilter<'a> {
    /// ShareName of a Shared Subscription.
    pub share: Option<&'a str>,
    /// The filter that names are matched with.
    pub filter: &'a str,
    /// Whether `filter` has wildcards.
    pub wildcards: bool,
}

impl<'a> TopicFilter<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// Empty [MQTT-4.7.3-1], `#` or `+` where they must not be [MQTT-4.7.1-1] [MQTT-4.7.1-2], a bad ShareName or none
    /// [MQTT-4.8.2-1] [MQTT-4.8.2-2], more than `levels_max` levels, U+0000.
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, InvalidTopic> {
        let _ = (text, levels_max);
        todo!()
    }
}

/// Whether `name` matches the valid filter `filter` (without `$share`).
pub fn matches(filter: &str, name: &str) -> bool {
    let _ = (filter, name);
    todo!()
}

/// Whether every name that `inner` matches is matched by `outer`.
pub fn covers(outer: &str, inner: &str) -> bool {
    let _ = (outer, inner);
    todo!()
}
