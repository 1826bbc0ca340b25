//! Filters and names put in, taken out and matched, against a matcher that is slow and plain.

use std::collections::{BTreeMap, BTreeSet};

use heraldmq::topic::filter::{TopicFilter, covers, matches};
use heraldmq::topic::names::NameTree;
use heraldmq::topic::tree::FilterTree;

use super::input::Input;

const LEVELS: [&str; 12] = ["a", "+", "b", "#", "", "$x", "é", "a#", "+a", "$share", "\0", "$"];
const LEVELS_MAX: usize = 8;

/// What the trees should hold: each text with a value of its own.
#[derive(Default)]
struct Model {
    filters: BTreeMap<String, u32>,
    names: BTreeMap<String, u32>,
    last: u32,
}

/// Byte after byte says what happens next.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut model = Model::default();
    let (mut filters, mut names) = (FilterTree::new(7), NameTree::new(7));
    while !input.is_empty() {
        let step = input.below(7);
        let text = text(&mut input);
        let filter = judged(&text);
        let is_name = !text.is_empty() && !text.contains(['+', '#', '\0']);
        model.last += 1;
        match step {
            0 | 1 => {
                if let Some(filter) = filter {
                    let last = model.last;
                    let expected = *model.filters.entry(filter.to_owned()).or_insert(last);
                    assert_eq!(filters.value_or_insert_with(filter, || last).copied(), Some(expected));
                }
            }
            2 => assert_eq!(filters.remove(&text), model.filters.remove(&text)),
            3 if is_name => {
                assert_eq!(names.insert(&text, model.last), Ok(model.names.insert(text.clone(), model.last)));
            }
            4 => assert_eq!(names.remove(&text), model.names.remove(&text)),
            5 => sweep(&mut names, &mut model, text.len()),
            _ => {}
        }
        assert_eq!((filters.len(), names.len()), (model.filters.len(), model.names.len()));
        if step == 6 && is_name {
            filters_of(&filters, &model, &texts_of(&mut input));
        } else if step == 6
            && let Some(filter) = filter
        {
            names_of(&names, &model, filter);
        }
    }
    for name in model.names.keys() {
        filters_of(&filters, &model, name);
    }
    for filter in model.filters.keys() {
        names_of(&names, &model, filter);
    }
}

fn text(input: &mut Input<'_>) -> String {
    let count = input.below(6);
    let levels: Vec<&str> = (0..count).map(|_| input.one_of(&LEVELS)).collect();
    levels.join("/")
}

/// A name made of levels that names may have.
fn texts_of(input: &mut Input<'_>) -> String {
    let count = 1 + input.below(6);
    let levels: Vec<&str> = (0..count).map(|_| input.one_of(&["a", "b", "", "$x", "é", "$"])).collect();
    levels.join("/")
}

/// The filter to match with, if `text` is a valid one: the standard's rules, level by level. The code must agree.
fn judged(text: &str) -> Option<&str> {
    let parsed = TopicFilter::parse(text, LEVELS_MAX);
    let levels: Vec<&str> = text.split('/').collect();
    let shared = levels[0] == "$share";
    let own = if shared { levels.get(2..).unwrap_or_default() } else { &levels[..] };
    let stand_alone = own.iter().all(|level| !level.contains(['+', '#']) || level.len() == 1);
    let last = own.iter().rev().skip(1).all(|level| *level != "#");
    let share = !shared || levels.get(1).is_some_and(|name| !name.is_empty() && !name.contains(['+', '#']));
    let filter = own.join("/");
    let valid = share && stand_alone && last && !filter.is_empty() && !filter.contains('\0');
    // Where a share name has a U+0000, the packet was refused before.
    if !shared || !levels.get(1).is_some_and(|name| name.contains('\0')) {
        for levels_max in [1, LEVELS_MAX, 65_536] {
            let parsed = TopicFilter::parse(text, levels_max);
            assert_eq!(parsed.is_ok(), valid && own.len() <= levels_max, "{text:?}, {levels_max}: {parsed:?}");
        }
    }
    let parsed = parsed.ok()?;
    assert_eq!(parsed.filter, filter);
    assert_eq!(parsed.share, shared.then(|| levels[1]));
    assert_eq!(parsed.wildcards, filter.contains(['+', '#']));
    Some(parsed.filter)
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1], told by recursion.
fn plainly(filter: &str, name: &str) -> bool {
    fn levels(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => levels(filter, name),
            ([level, filter @ ..], [other, name @ ..]) => level == other && levels(filter, name),
            _ => false,
        }
    }
    let hidden = name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
    let (filter, name): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), name.split('/').collect());
    !hidden && levels(&filter, &name)
}

fn filters_of(tree: &FilterTree<u32>, model: &Model, name: &str) {
    let mut found = Vec::new();
    let looked_at = tree.for_each_match(name, |value| found.push(*value));
    found.sort_unstable();
    let fitting: Vec<&String> = model.filters.keys().filter(|filter| plainly(filter, name)).collect();
    let mut expected: Vec<u32> = fitting.iter().map(|filter| model.filters[*filter]).collect();
    expected.sort_unstable();
    assert_eq!(found, expected, "filters for {name:?}");
    assert!(looked_at <= nodes(model.filters.keys()), "a node is looked at once");
    for filter in model.filters.keys() {
        assert_eq!(matches(filter, name), fitting.contains(&filter), "{filter:?} and {name:?}");
        for outer in model.filters.keys().filter(|outer| covers(outer, filter)) {
            assert!(
                !fitting.contains(&filter) || fitting.contains(&outer),
                "{outer:?} covers {filter:?}, not {name:?}"
            );
        }
    }
}

fn names_of(tree: &NameTree<u32>, model: &Model, filter: &str) {
    let mut found = Vec::new();
    let looked_at = tree.for_each_match(filter, |value| found.push(*value));
    found.sort_unstable();
    let mut expected: Vec<u32> =
        model.names.iter().filter(|(name, _)| plainly(filter, name)).map(|(_, value)| *value).collect();
    expected.sort_unstable();
    assert_eq!(found, expected, "names for {filter:?}");
    assert!(looked_at <= nodes(model.names.keys()), "a node is looked at once");
}

/// Nodes that a tree of these texts needs, its root included.
fn nodes<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    let mut paths = BTreeSet::new();
    for text in texts {
        paths.extend(text.match_indices('/').map(|(at, _)| &text[..at]));
        // A whole text and the beginning of another up to its slash are the same path.
        paths.insert(text);
    }
    1 + paths.len()
}

/// Takes out odd values; after enough steps none is left.
fn sweep(names: &mut NameTree<u32>, model: &mut Model, steps: usize) {
    let mut gone = Vec::new();
    names.sweep(steps, |value| value % 2 == 1, |value| gone.push(value));
    let before = model.names.len();
    model.names.retain(|_, value| !gone.contains(value));
    assert_eq!(before - model.names.len(), gone.len(), "each goes once");
    assert!(gone.iter().all(|value| value % 2 == 1));
}

/// Some texts put in, matched and taken out.
pub fn seeds() -> Vec<Vec<u8>> {
    let put = |step, levels: &[u8]| [&[step, levels.len() as u8][..], levels].concat();
    let first = [put(0, &[0, 1]), put(0, &[0, 3]), put(0, &[3]), put(3, &[0, 2]), put(3, &[5, 0])].concat();
    let second = [put(0, &[9, 0, 0, 1]), put(3, &[0]), put(6, &[0, 3]), put(2, &[0, 3]), put(4, &[0])].concat();
    let third =
        [put(3, &[0, 2]), put(3, &[0, 0]), put(5, &[0, 0, 0, 0, 0]), put(6, &[1, 1]), put(6, &[0]), vec![1, 0, 0]];
    vec![[&first[..], &second].concat(), first, second, third.concat()]
}
