//! Reading on behind damage: all rows of a column family that can be read, and where some cannot.

use rocksdb::{DB, DBRawIterator, ReadOptions};

/// Keys are told apart by this many bytes when the next readable one is looked for.
const WIDTH: usize = 64;
/// A family with more holes than this is given up.
const HOLES_MAX: usize = 10_000;

/// A stretch of keys that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    /// The last key before it that can be; empty at the beginning.
    pub(super) after: Vec<u8>,
    /// What RocksDB says.
    pub(super) why: String,
}

/// Calls `take` for every row of `family` that can be read.
pub(super) fn walk(db: &DB, family: &str, mut take: impl FnMut(&[u8], &[u8])) -> Vec<Hole> {
    let mut holes = Vec::new();
    let mut from = Some(Vec::new());
    while let Some(start) = from.take() {
        let Some(mut rows) = rows(db, family) else { return holes };
        let mut after = start.clone();
        rows.seek(&start);
        while let Some((key, value)) = rows.item() {
            take(key, value);
            key.clone_into(&mut after);
            rows.next();
        }
        if let Err(error) = rows.status() {
            from = next_readable(db, family, &after).filter(|_| holes.len() < HOLES_MAX);
            holes.push(Hole { after, why: error.to_string() });
        }
    }
    holes
}

fn rows<'a>(db: &'a DB, family: &str) -> Option<DBRawIterator<'a>> {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options.set_total_order_seek(true);
    Some(db.raw_iterator_cf_opt(db.cf_handle(family)?, options))
}

/// The first key behind `after` from which reading works again: keys are numbers, and the end of the hole lies between
/// two powers of two behind its beginning.
fn next_readable(db: &DB, family: &str, after: &[u8]) -> Option<Vec<u8>> {
    let works = |key: &[u8; WIDTH]| {
        rows(db, family).is_some_and(|mut rows| {
            rows.seek(key);
            rows.status().is_ok()
        })
    };
    let mut start = [0; WIDTH];
    start.iter_mut().zip(after).for_each(|(to, from)| *to = *from);
    let bits = WIDTH * 8;
    let far = (0..bits).find(|bit| plus(&start, *bit).is_none_or(|key| works(&key)))?;
    let mut last = start;
    for bit in (0..far).rev() {
        last = plus(&last, bit).filter(|key| !works(key)).unwrap_or(last);
    }
    plus(&last, 0).filter(works).map(Vec::from)
}

/// `key`, as a number, plus two to the power of `bit`; `None` if that is too large.
fn plus(key: &[u8; WIDTH], bit: usize) -> Option<[u8; WIDTH]> {
    let mut sum = *key;
    let mut carry = 1_u16 << (bit % 8);
    for byte in sum.iter_mut().rev().skip(bit / 8) {
        let [high, low] = u16::from(*byte).saturating_add(carry).to_be_bytes();
        *byte = low;
        carry = u16::from(high);
        if carry == 0 {
            return Some(sum);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbers() {
        let key = |last: [u8; 2]| {
            let mut key = [0; WIDTH];
            key[WIDTH - 2..].copy_from_slice(&last);
            key
        };
        assert_eq!(plus(&key([0, 255]), 0), Some(key([1, 0])));
        assert_eq!(plus(&key([0, 7]), 8), Some(key([1, 7])));
        assert_eq!(plus(&[255; WIDTH], 3), None);
    }
}
