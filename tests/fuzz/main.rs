//! The fuzz targets on made-up inputs, the same each time: that they hold, and that they still compile. `make fuzz` goes
//! further.

mod chance;
mod targets;

use chance::Chance;
use targets::{TARGETS, Target};

/// Inputs made from each seed.
const VARIANTS: usize = 150;

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let Target { run, seeds, .. } = *target;
    let mut chance = Chance(1);
    for seed in seeds() {
        run(&seed);
        let mut bytes = seed.clone();
        for variant in 0..VARIANTS {
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

#[test]
fn any_bytes_are_packets_or_refused_however_they_are_cut() {
    holds("decode");
}

#[test]
fn a_session_keeps_its_promises_whatever_its_client_does() {
    holds("session_ops");
}

#[test]
fn trees_of_filters_and_names_find_what_a_plain_matcher_finds() {
    holds("filter_match");
}

#[test]
fn layers_give_the_same_however_their_bytes_were_cut() {
    holds("layers");
}
