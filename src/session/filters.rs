//! The filters a session has subscribed to: nearly always a few, never so many that one more costs by their number.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Up to so many are a list.
const FEW: usize = 128;
/// Up to so many the list has room for exactly those that are in it.
const EXACT: usize = 4;

/// Topic Filters as the client wrote them, each once.
#[derive(Debug)]
pub(super) enum Filters {
    /// In order.
    Few(Vec<Arc<str>>),
    /// More than [`FEW`], or not many fewer.
    Many(BTreeSet<Arc<str>>),
}

impl From<Vec<Arc<str>>> for Filters {
    fn from(mut filters: Vec<Arc<str>>) -> Self {
        if filters.len() > FEW {
            return Filters::Many(filters.into_iter().collect());
        }
        filters.sort_unstable();
        filters.dedup();
        Filters::Few(filters)
    }
}

impl Filters {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Filters::Few(few) => few.len(),
            Filters::Many(many) => many.len(),
        }
    }

    /// Whether `filter` is one of them.
    pub(super) fn contains(&self, filter: &str) -> bool {
        match self {
            Filters::Few(few) => place(few, filter).is_ok(),
            Filters::Many(many) => many.contains(filter),
        }
    }

    /// Remembers `filter`.
    pub(super) fn insert(&mut self, filter: &Arc<str>) {
        match self {
            Filters::Few(few) => {
                if let Err(place) = place(few, filter) {
                    // Most clients have a few for as long as they live: no room is kept for more.
                    if few.len() < EXACT {
                        few.reserve_exact(1);
                    }
                    few.insert(place, Arc::clone(filter));
                }
                if few.len() > FEW {
                    *self = Filters::Many(std::mem::take(few).into_iter().collect());
                }
            }
            Filters::Many(many) => {
                many.insert(Arc::clone(filter));
            }
        }
    }

    /// Forgets `filter`.
    pub(super) fn remove(&mut self, filter: &str) {
        match self {
            Filters::Few(few) => {
                if let Ok(place) = place(few, filter) {
                    few.remove(place);
                }
            }
            Filters::Many(many) => {
                many.remove(filter);
                if many.len() < FEW / 2 {
                    *self = Filters::Few(std::mem::take(many).into_iter().collect());
                }
            }
        }
    }

    /// All of them, in order.
    pub(super) fn into_vec(self) -> Vec<Arc<str>> {
        match self {
            Filters::Few(few) => few,
            Filters::Many(many) => many.into_iter().collect(),
        }
    }
}

/// Where `filter` is, or would be.
fn place(few: &[Arc<str>], filter: &str) -> Result<usize, usize> {
    few.binary_search_by(|known| (**known).cmp(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_or_many_they_are_the_same() {
        let (mut filters, mut model) = (Filters::from(Vec::new()), BTreeSet::new());
        // Up, and down again, twice through each border.
        for step in 0..2_000usize {
            let filter: Arc<str> = format!("f/{}", step * 7_919 % 300).into();
            if step % 1_000 < 400 {
                filters.insert(&filter);
                model.insert(filter);
            } else {
                filters.remove(&filter);
                model.remove(&filter);
            }
            assert_eq!(filters.len(), model.len());
            assert!(model.iter().all(|one| filters.contains(one)) && !filters.contains("f"));
        }
        let all: Vec<Arc<str>> = (0..300).rev().map(|n| format!("{n:03}").into()).collect();
        let mut wanted = all.clone();
        wanted.sort();
        assert_eq!(Filters::from(all).into_vec(), wanted);
    }
}
