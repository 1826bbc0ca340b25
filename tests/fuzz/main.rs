//! The fuzz targets on made-up inputs, the same each time: that they hold, and that they still compile. `make fuzz` goes
//! further, and so does `FUZZ_VARIANTS=10000 cargo test --test fuzz`.

mod chance;
mod targets;

use std::sync::Arc;

use heraldmq::config;
use heraldmq::config::file::{Kind, SETTINGS};
use heraldmq::session::Limits;

use chance::Chance;
use targets::{TARGETS, session_ops};

/// Inputs made from each seed, unless `FUZZ_VARIANTS` says otherwise.
const VARIANTS: usize = 150;

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let variants = std::env::var("FUZZ_VARIANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(VARIANTS);
    each_input((target.seeds)(), variants, target.run);
}

/// The seeds, so many variants of each, and bytes of every length.
fn each_input(seeds: Vec<Vec<u8>>, variants: usize, run: impl Fn(&[u8])) {
    let mut chance = Chance(1);
    for seed in seeds {
        run(&seed);
        let mut bytes = seed.clone();
        for variant in 0..variants {
            if variant % 10 == 0 {
                bytes.clone_from(&seed);
            }
            chance.change(&mut bytes);
            run(&bytes);
        }
    }
    for len in 0..400 {
        run(&(0..len).map(|_| chance.below(256) as u8).collect::<Vec<u8>>());
    }
}

/// What a session is allowed with each of its numbers at its smallest, at 0, 1 and at its largest, where these are allowed.
fn limits_at_their_ends() -> Vec<(String, Arc<Limits>)> {
    let load = |text: &str| config::load_text("limits", text, std::iter::empty()).expect("in range").limits;
    let usual = load("");
    let mut found = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| setting.path.starts_with("limits.")) {
        let Kind::Whole { min, max } = setting.kind else { continue };
        for value in [min, 0, 1, max].into_iter().filter(|value| (min..=max).contains(value)) {
            let text = format!("{} = {value}\n", setting.path);
            let limits = load(&text);
            if limits != usual && found.iter().all(|(_, other)| *other != limits) {
                found.push((text, limits));
            }
        }
    }
    found
}

#[test]
fn any_bytes_are_packets_or_refused_however_they_are_cut() {
    holds("decode");
}

#[test]
fn a_session_keeps_its_promises_whatever_its_client_does() {
    holds("session_ops");
}

#[test]
fn a_session_keeps_its_promises_with_each_limit_at_its_ends() {
    let all = limits_at_their_ends();
    assert!(all.len() > 20, "{all:?}");
    for (text, limits) in all {
        // Said where it fails.
        println!("{text}");
        each_input(session_ops::seeds(), VARIANTS / 5, |bytes| session_ops::run_within(bytes, &limits));
    }
}

#[test]
fn trees_of_filters_and_names_find_what_a_plain_matcher_finds() {
    holds("filter_match");
}

#[test]
fn layers_give_the_same_however_their_bytes_were_cut() {
    holds("layers");
}

#[test]
fn tls_gives_what_was_said_and_nothing_else() {
    holds("tls");
}
