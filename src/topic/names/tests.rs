use std::collections::BTreeMap;

use proptest::prelude::*;

use super::NameTree;
use crate::topic::filter::matches;
use crate::topic::testing::{on_a_small_stack, text};

fn tree(names: &[&str]) -> NameTree<String> {
    let mut tree = NameTree::new(7);
    for name in names {
        tree.insert(name, (*name).to_owned()).unwrap();
    }
    tree
}

fn found(tree: &NameTree<String>, filter: &str) -> Vec<String> {
    let mut found = Vec::new();
    tree.for_each_match(filter, |name| found.push(name.clone()));
    found.sort();
    found
}

#[test]
fn mqtt_4_7_1_1_a_filter_finds_the_parent_and_everything_below() {
    let tree = tree(&["a", "a/b", "a/b/c", "ab", "/", "b"]);
    assert_eq!(found(&tree, "a/#"), ["a", "a/b", "a/b/c"]);
    assert_eq!(found(&tree, "#"), ["/", "a", "a/b", "a/b/c", "ab", "b"]);
    assert_eq!(found(&tree, "+/b/#"), ["a/b", "a/b/c"]);
    assert_eq!(found(&tree, "a/b"), ["a/b"]);
    assert_eq!(found(&tree, "/#"), ["/"]);
}

#[test]
fn mqtt_4_7_1_2_a_plus_finds_one_level_also_an_empty_one() {
    let tree = tree(&["a", "a/", "/b", "a/b", "a/b/c"]);
    assert_eq!(found(&tree, "+"), ["a"]);
    assert_eq!(found(&tree, "+/+"), ["/b", "a/", "a/b"]);
    assert_eq!(found(&tree, "a/+"), ["a/", "a/b"]);
    assert_eq!(found(&tree, "+/b"), ["/b", "a/b"]);
    assert_eq!(found(&tree, "+/+/c"), ["a/b/c"]);
}

#[test]
fn mqtt_4_7_2_1_leading_wildcards_find_no_dollar_topics() {
    let tree = tree(&["$a", "$a/x", "a/$x", "b/x", "$b/x"]);
    assert_eq!(found(&tree, "#"), ["a/$x", "b/x"]);
    assert_eq!(found(&tree, "+/x"), ["b/x"]);
    assert_eq!(found(&tree, "+"), [""; 0]);
    assert_eq!(found(&tree, "$a/#"), ["$a", "$a/x"]);
    assert_eq!(found(&tree, "a/+"), ["a/$x"]);
}

#[test]
fn sweeping_comes_by_everything_and_takes_what_is_dead() {
    let mut tree = NameTree::new(1);
    for n in 0..1000 {
        tree.insert(&format!("a/{n}"), n).unwrap();
    }
    let (mut gone, mut rounds) = (Vec::new(), 0);
    while tree.len() > 500 && rounds < 1000 {
        tree.sweep(8, |n| n % 2 == 0, |n| gone.push(n));
        rounds += 1;
    }
    assert!(rounds <= 1002 / 8 + 1, "{rounds} rounds of eight for a thousand and two places");
    assert!(gone.len() == 500 && gone.iter().all(|n| n % 2 == 0));
    tree.sweep(usize::MAX, |_| true, drop);
    assert!(tree.is_empty() && tree.levels.nodes() == 1);
    tree.sweep(8, |_| true, drop);
}

#[test]
fn after_a_peak_everything_is_found_where_it_was_and_little_is_kept() {
    let name = |n: usize| format!("{}/{}/{n}", n % 7, n % 100);
    let mut tree = NameTree::new(7);
    for n in 0..20_000 {
        tree.insert(&name(n), n).unwrap();
    }
    let peak = tree.levels.nodes();
    for n in (0..20_000).filter(|n| n % 50 != 3) {
        assert_eq!(tree.remove(&name(n)), Some(n));
    }
    assert!(tree.levels.nodes() < peak / 8, "{} nodes of {peak}", tree.levels.nodes());
    let found = |tree: &NameTree<usize>, filter: &str| {
        let mut found = Vec::new();
        tree.for_each_match(filter, |n| found.push(*n));
        found.sort_unstable();
        found
    };
    assert_eq!(found(&tree, "#"), (3..20_000).step_by(50).collect::<Vec<_>>());
    assert_eq!(found(&tree, "+/53/+"), (53..20_000).step_by(100).collect::<Vec<_>>());
    assert_eq!(found(&tree, &name(103)), [103]);
    tree.insert(&name(1), 1).unwrap();
    assert_eq!(found(&tree, "1/1/#"), [1]);
    tree.sweep(usize::MAX, |_| true, drop);
    assert!(tree.is_empty() && tree.levels.nodes() == 1);
}

#[test]
fn deep_names_and_filters_cost_no_stack() {
    on_a_small_stack(|| {
        let deep = ["/".repeat(65_535), "a/".repeat(32_767)];
        let mut tree = NameTree::new(7);
        for (n, name) in deep.iter().enumerate() {
            assert_eq!(tree.insert(name, n), Ok(None));
        }
        let found = |tree: &NameTree<usize>, filter: &str| {
            let mut found = Vec::new();
            tree.for_each_match(filter, |n| found.push(*n));
            found.sort_unstable();
            found
        };
        assert_eq!(found(&tree, "#"), [0, 1]);
        assert_eq!(found(&tree, &("+/".repeat(32_766) + "#")), [0, 1]);
        assert_eq!(found(&tree, &"+/".repeat(32_767)), [1]);
        assert_eq!(found(&tree, &deep[0]), [0]);
        assert_eq!(tree.remove(&deep[0]), Some(0));
        assert_eq!(found(&tree, "#"), [1]);
        drop(tree);
    });
}

#[test]
fn a_search_looks_at_no_more_than_there_is() {
    let mut tree = NameTree::new(1);
    for bits in 0..1u32 << 12 {
        let levels: Vec<&str> = (0..12).map(|level| if bits >> level & 1 == 1 { "b" } else { "a" }).collect();
        tree.insert(&levels.join("/"), bits).unwrap();
    }
    let (nodes, mut count) = (tree.levels.nodes(), 0);
    assert_eq!(nodes, (2 << 12) - 1);
    for filter in ["#", "+/+/+/#", "+/+/+/+/+/+/+/+/+/+/+/+", "+/+/+/+/+/+/+/+/+/+/+/+/#"] {
        assert_eq!(tree.for_each_match(filter, |_| count += 1), nodes, "{filter}");
    }
    assert_eq!(count, 4 << 12);
    assert_eq!(tree.for_each_match("+/+/+/+/+/+/+/+/+/+/+/x", |_| count += 1), nodes - (1 << 12));
    assert_eq!(tree.for_each_match("+/x/+/+/+/+/#", |_| count += 1), 3);
    assert_eq!(tree.for_each_match("a/b/a/b/a/b/a/b/a/b/a/b", |_| count += 1), 13);
    assert_eq!(count, (4 << 12) + 1);
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_list_finds(
        names in prop::collection::vec((text(false), any::<bool>()), 1..60),
        filters in prop::collection::vec(text(true), 1..20),
    ) {
        let (mut tree, mut list) = (NameTree::new(3), BTreeMap::new());
        for (n, (name, keep)) in names.iter().enumerate() {
            if *keep || n % 3 == 0 {
                prop_assert_eq!(tree.insert(name, n), Ok(list.insert(name.clone(), n)));
            } else {
                let victim = &names[n / 2].0;
                prop_assert_eq!(tree.remove(victim), list.remove(victim));
            }
            prop_assert_eq!(tree.len(), list.len());
        }
        for filter in &filters {
            let mut found = Vec::new();
            tree.for_each_match(filter, |n| found.push(*n));
            found.sort_unstable();
            let mut wanted: Vec<usize> = list.iter().filter(|(name, _)| matches(filter, name)).map(|(_, n)| *n).collect();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }
}
