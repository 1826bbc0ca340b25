//! The fuzz targets on made-up inputs, the same each time: that they hold, and that they still compile. `make fuzz` goes
//! further, and so does `FUZZ_VARIANTS=10000 cargo test --test fuzz`.

mod targets;

use targets::{TARGETS, Target};

/// Inputs made from each seed, unless `FUZZ_VARIANTS` says otherwise.
const VARIANTS: usize = 150;

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// Changes some bytes: to others, to more, to fewer.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(6) {
            let at = self.below(bytes.len() + 1);
            let byte = self.below(256) as u8;
            match self.below(4) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.extend_from_within(at..(at + self.below(40)).min(bytes.len()).max(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(bytes.len() - self.below(3).min(bytes.len())),
            }
        }
    }
}

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let Target { run, seeds, .. } = *target;
    let variants = std::env::var("FUZZ_VARIANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(VARIANTS);
    let mut chance = Chance(1);
    for seed in seeds() {
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
