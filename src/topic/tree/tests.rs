use std::collections::BTreeMap;

use proptest::prelude::*;

use super::FilterTree;
use crate::topic::filter::matches;
use crate::topic::testing::{on_a_small_stack, text};

fn tree(filters: &[&str]) -> FilterTree<String> {
    let mut tree = FilterTree::new(7);
    for filter in filters {
        tree.value_or_insert_with(filter, || (*filter).to_owned());
    }
    tree
}

fn found(tree: &FilterTree<String>, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    tree.for_each_match(name, |filter| found.push(filter.clone()));
    found.sort();
    found
}

#[test]
fn mqtt_4_7_1_1_the_multi_level_wildcard_matches_its_parent_and_everything_below() {
    let tree = tree(&["a/#", "#", "a/b/#", "/#"]);
    assert_eq!(found(&tree, "a"), ["#", "a/#"]);
    assert_eq!(found(&tree, "a/b"), ["#", "a/#", "a/b/#"]);
    assert_eq!(found(&tree, "a/b/c/d"), ["#", "a/#", "a/b/#"]);
    assert_eq!(found(&tree, "ab"), ["#"]);
    assert_eq!(found(&tree, "/"), ["#", "/#"]);
}

#[test]
fn mqtt_4_7_1_2_the_single_level_wildcard_matches_one_level_also_an_empty_one() {
    let tree = tree(&["+", "+/+", "a/+", "+/b", "/+"]);
    assert_eq!(found(&tree, "a"), ["+"]);
    assert_eq!(found(&tree, "a/b"), ["+/+", "+/b", "a/+"]);
    assert_eq!(found(&tree, "a/"), ["+/+", "a/+"]);
    assert_eq!(found(&tree, "/b"), ["+/+", "+/b", "/+"]);
    assert_eq!(found(&tree, "a/b/c"), [""; 0]);
}

#[test]
fn mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
    let tree = tree(&["#", "+/x", "+/#", "$a/#", "$a/+", "a/#"]);
    assert_eq!(found(&tree, "$a/x"), ["$a/#", "$a/+"]);
    assert_eq!(found(&tree, "$a"), ["$a/#"]);
    assert_eq!(found(&tree, "a/$a"), ["#", "+/#", "a/#"]);
}

#[test]
fn mqtt_4_7_3_4_characters_are_compared_as_they_are() {
    let tree = tree(&["\u{e9}/+", "e\u{301}/+", "A/+", "a/+", "日本/#"]);
    assert_eq!(found(&tree, "\u{e9}/x"), ["\u{e9}/+"]);
    assert_eq!(found(&tree, "e\u{301}/x"), ["e\u{301}/+"]);
    assert_eq!(found(&tree, "A/x"), ["A/+"]);
    assert_eq!(found(&tree, "日本"), ["日本/#"]);
    assert_eq!(found(&tree, "日/x"), [""; 0]);
}

#[test]
fn what_is_taken_out_leaves_nothing_behind() {
    let mut tree = tree(&["a/+/c", "a/+", "a/#"]);
    assert_eq!(tree.remove("a/+"), Some("a/+".to_owned()));
    assert_eq!(tree.remove("a/+"), None);
    assert_eq!(found(&tree, "a/b/c"), ["a/#", "a/+/c"]);
    assert!(tree.remove("a/+/c").is_some() && tree.remove("a").is_none() && tree.remove("a/#").is_some());
    assert!(tree.is_empty());
    assert_eq!(tree.levels.nodes(), 1);
}

#[test]
fn deep_filters_and_names_cost_no_stack() {
    on_a_small_stack(|| {
        let deep = ["/".repeat(65_535), "a/".repeat(32_767), "+/".repeat(32_767), "+/".repeat(32_766) + "#"];
        let mut tree = FilterTree::new(7);
        for (n, filter) in deep.iter().enumerate() {
            tree.value_or_insert_with(filter, || n);
        }
        let found = |tree: &FilterTree<usize>, name: &str| {
            let mut found = Vec::new();
            tree.for_each_match(name, |n| found.push(*n));
            found.sort_unstable();
            found
        };
        assert_eq!(found(&tree, &deep[0]), [0, 3]);
        assert_eq!(found(&tree, &deep[1]), [1, 2, 3]);
        assert_eq!(tree.remove(&deep[0]), Some(0));
        assert_eq!(found(&tree, &deep[0]), [3]);
        drop(tree);
    });
}

#[test]
fn a_match_looks_at_no_more_than_there_is() {
    // All filters of twelve levels `a` or `+`, and an `x` below: a name may match the beginnings of all.
    let mut tree = FilterTree::new(1);
    for bits in 0..1u32 << 12 {
        let levels: Vec<&str> = (0..12).map(|level| if bits >> level & 1 == 1 { "+" } else { "a" }).collect();
        tree.value_or_insert_with(&(levels.join("/") + "/x"), || bits);
    }
    let mut count = 0;
    let looked_at = tree.for_each_match(&("a/".repeat(12) + "x"), |_| count += 1);
    assert_eq!((count, looked_at), (1 << 12, tree.levels.nodes()), "each filter matches, each node is seen once");
    let looked_at = tree.for_each_match(&("a/".repeat(12) + "y"), |_| count += 1);
    assert_eq!((count, looked_at), (1 << 12, tree.levels.nodes() - (1 << 12)), "none matches");
    assert_eq!(tree.for_each_match(&"b/".repeat(40), |_| count += 1), 13, "one path of `+`");
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_list_finds(
        filters in prop::collection::vec((text(true), any::<bool>()), 1..60),
        names in prop::collection::vec(text(false), 1..20),
    ) {
        let (mut tree, mut list) = (FilterTree::new(3), BTreeMap::new());
        for (n, (filter, keep)) in filters.iter().enumerate() {
            if *keep || n % 3 == 0 {
                prop_assert_eq!(tree.value(filter), list.get(filter));
                *tree.value_or_insert_with(filter, || n).unwrap() = n;
                list.insert(filter.clone(), n);
            } else {
                let victim = &filters[n / 2].0;
                prop_assert_eq!(tree.remove(victim), list.remove(victim));
            }
            prop_assert_eq!(tree.len(), list.len());
        }
        for name in &names {
            let mut found = Vec::new();
            tree.for_each_match(name, |n| found.push(*n));
            found.sort_unstable();
            let mut wanted: Vec<usize> =
                list.iter().filter(|(filter, _)| matches(filter, name)).map(|(_, n)| *n).collect();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
        for filter in list.keys() {
            prop_assert!(tree.remove(filter).is_some());
        }
        prop_assert_eq!(tree.levels.nodes(), 1);
    }
}
