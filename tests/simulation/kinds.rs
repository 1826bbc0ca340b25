//! Who takes part.

use crate::chance::Chance;
use crate::client::{Kind, LASTING_S, Wish};
use crate::support::wire::Version;

/// Topics everybody publishes to: for everybody, for one of a share, for one of another share, for those that waver.
const TOPICS: [&str; 6] = ["t/0", "t/1", "t/2", "s/0", "v/0", "u/0"];
/// Clients whose sessions outlive the run.
const LASTING: usize = 4;
/// Clients that watch everything or make up their minds once.
const PLAIN: usize = 6;
/// Clients of one Client Identifier, with how long their sessions outlive them.
const RIVALS: [u32; 3] = [LASTING_S, 0, LASTING_S];

/// All of them; the first one watches wills.
pub fn kinds(chance: &mut Chance) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = (0..PLAIN).map(|n| plain(n, chance)).collect();
    let brief = Kind { filters: filters(&[("t/#", 1)]), ..modern("brief", 2 + chance.below(2) as u32) };
    kinds.push(Kind { will: Some(Wish { qos: 2, delay_s: 1 + chance.below(4) as u32 }), ..brief });
    let member = |name, kept_s, of: &[(&str, u8)]| Kind { filters: filters(of), ..modern(name, kept_s) };
    kinds.push(member("m0", LASTING_S, &[("$share/g/s/+", 2)]));
    kinds.push(member("m1", LASTING_S, &[("$share/g/s/+", 1), ("$share/h/v/+", 1)]));
    kinds.push(member("m2", 0, &[("$share/h/v/+", 2)]));
    kinds.extend(RIVALS.map(|kept_s| Kind {
        rival: true,
        filters: filters(&[("t/0", 1)]),
        topics: Vec::new(),
        ..modern("x", kept_s)
    }));
    kinds
}

fn filters(of: &[(&str, u8)]) -> Vec<(String, u8)> {
    of.iter().map(|(filter, qos)| ((*filter).to_owned(), *qos)).collect()
}

/// A client that speaks 5.0.
fn modern(name: &str, kept_s: u32) -> Kind {
    Kind {
        name: name.to_owned(),
        version: Version::V5,
        kept_s,
        rival: false,
        receive_maximum: 3,
        filters: Vec::new(),
        wavers: None,
        topics: TOPICS.map(str::to_owned).to_vec(),
        retained: format!("r/{name}"),
        will: None,
    }
}

fn plain(n: usize, chance: &mut Chance) -> Kind {
    let version = if chance.once_in(3) { Version::V3 } else { Version::V5 };
    let filters = match n {
        0 => filters(&[("t/#", 2), ("w/#", 2)]),
        1 => filters(&[("t/0", 1), ("t/+", 2)]),
        _ => {
            let some = TOPICS[..3].iter().filter(|_| chance.once_in(2)).collect::<Vec<_>>();
            some.into_iter().map(|topic| ((*topic).to_owned(), chance.below(3) as u8)).collect()
        }
    };
    let kept_s = if n < LASTING || chance.once_in(2) { LASTING_S } else { 0 };
    let delay_s = if version == Version::V5 && chance.once_in(2) { 1 + chance.below(4) as u32 } else { 0 };
    Kind {
        version,
        receive_maximum: 1 + chance.below(6) as u16,
        filters,
        wavers: (n > 2).then(|| "u/+".to_owned()),
        will: (n > 1).then(|| Wish { qos: 1 + chance.below(2) as u8, delay_s }),
        ..modern(&format!("c{n}"), kept_s)
    }
}

/// A newcomer that wants everything retained.
pub fn late() -> Kind {
    Kind { filters: filters(&[("r/#", 1)]), topics: Vec::new(), ..modern("late", 0) }
}
