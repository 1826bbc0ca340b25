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

const SHARE: &str = "$share/";

fn broken<T>(statement: &'static str) -> Result<T, InvalidTopic> {
    Err(InvalidTopic { statement })
}

impl<'a> TopicFilter<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// Empty [MQTT-4.7.3-1], `#` or `+` where they must not be [MQTT-4.7.1-1] [MQTT-4.7.1-2], a bad ShareName or none
    /// [MQTT-4.8.2-1] [MQTT-4.8.2-2], more than `levels_max` levels, U+0000.
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, InvalidTopic> {
        let (share, filter) = match text.strip_prefix(SHARE) {
            Some(rest) => {
                let Some((share, filter)) = rest.split_once('/') else { return broken("MQTT-4.8.2-2") };
                if share.is_empty() {
                    return broken("MQTT-4.8.2-1");
                }
                if share.contains(['+', '#']) || filter.is_empty() {
                    return broken("MQTT-4.8.2-2");
                }
                (Some(share), filter)
            }
            None if text == "$share" => return broken("MQTT-4.8.2-1"),
            None => (None, text),
        };
        let wildcards = check(filter, levels_max)?;
        Ok(Self { share, filter, wildcards })
    }
}

/// Whether a filter without `$share` is valid; says whether it has wildcards.
fn check(filter: &str, levels_max: usize) -> Result<bool, InvalidTopic> {
    if filter.is_empty() {
        return broken("MQTT-4.7.3-1");
    }
    if filter.contains('\0') {
        return broken("MQTT-4.7.3-2");
    }
    let mut wildcards = false;
    let mut levels = filter.split('/').peekable();
    let mut room = levels_max;
    while let Some(level) = levels.next() {
        let Some(less) = room.checked_sub(1) else { return broken("levels") };
        room = less;
        match level {
            "#" if levels.peek().is_some() => return broken("MQTT-4.7.1-1"),
            "#" | "+" => wildcards = true,
            _ if level.contains('#') => return broken("MQTT-4.7.1-1"),
            _ if level.contains('+') => return broken("MQTT-4.7.1-2"),
            _ => {}
        }
    }
    Ok(wildcards)
}

/// Whether `name` matches the valid filter `filter` (without `$share`).
pub fn matches(filter: &str, name: &str) -> bool {
    // A filter that begins with a wildcard does not match names that begin with `$` [MQTT-4.7.2-1].
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut filters = filter.split('/');
    let mut names = name.split('/');
    loop {
        match (filters.next(), names.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(other)) if level == other => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether every name that `inner` matches is matched by `outer`.
pub fn covers(outer: &str, inner: &str) -> bool {
    if outer.starts_with(['+', '#']) && inner.starts_with('$') {
        return false;
    }
    let mut outers = outer.split('/');
    let mut inners = inner.split('/');
    loop {
        match (outers.next(), inners.next()) {
            (Some("#"), _) => return true,
            // `#` also matches the level above it, which nothing but `#` covers.
            (_, Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(other)) if level == other => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> &'static str {
        TopicFilter::parse(text, 128).map_or_else(|error| error.statement, |_| "valid")
    }

    #[test]
    fn mqtt_4_7_1_1_the_multi_level_wildcard_stands_alone_and_last() {
        assert_eq!([why("#"), why("a/#"), why("/#")], ["valid"; 3]);
        assert_eq!([why("a#"), why("a/#/b"), why("#/b"), why("a/#b")], ["MQTT-4.7.1-1"; 4]);
    }

    #[test]
    fn mqtt_4_7_1_2_the_single_level_wildcard_fills_its_level() {
        assert_eq!([why("+"), why("+/+"), why("/+"), why("a/+/b")], ["valid"; 4]);
        assert_eq!([why("a+"), why("+a/b"), why("a/b+")], ["MQTT-4.7.1-2"; 3]);
    }

    #[test]
    fn mqtt_4_8_2_2_share_names_and_their_filters() {
        let filter = TopicFilter::parse("$share/g/a/+", 128).unwrap();
        assert_eq!((filter.share, filter.filter, filter.wildcards), (Some("g"), "a/+", true));
        assert_eq!([why("$share//t"), why("$share")], ["MQTT-4.8.2-1"; 2]);
        assert_eq!([why("$share/g"), why("$share/g/"), why("$share/g+/t"), why("$share/g#/t")], ["MQTT-4.8.2-2"; 4]);
        assert_eq!(why("$shared/g"), "valid");
    }

    #[test]
    fn levels_are_bounded_and_empty_filters_refused() {
        assert_eq!(why(&"/".repeat(127)), "valid");
        assert_eq!(why(&"/".repeat(128)), "levels");
        assert_eq!(why(""), "MQTT-4.7.3-1");
        assert_eq!(why("a\0"), "MQTT-4.7.3-2");
    }

    #[test]
    fn mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
        assert!(!matches("#", "$SYS/a") && !matches("+/a", "$SYS/a"));
        assert!(matches("$SYS/#", "$SYS/a") && matches("$SYS/+", "$SYS/a") && matches("a/#", "a/$b"));
    }

    #[test]
    fn matching_takes_empty_levels_parents_and_multi_byte_characters_as_they_are() {
        assert!(matches("a/#", "a") && matches("a/#", "a/") && matches("+", "") && matches("/+", "/"));
        assert!(matches("+/x", "é/x") && matches("#", "é"));
        assert!(!matches("a", "a/") && !matches("a/+", "a") && !matches("+", "a/b") && !matches("a/#", "ab"));
    }

    #[test]
    fn covering_is_matching_of_filters() {
        assert!(covers("a/#", "a/+/c") && covers("a/+", "a/b") && covers("#", "#") && covers("a/#", "a"));
        assert!(!covers("a/+", "a/#") && !covers("a/b", "a/+") && !covers("#", "$SYS/#") && !covers("+/+", "+"));
    }
}
