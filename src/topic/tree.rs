//! Many Topic Filters, asked with one Topic Name.

use memchr::memchr;
use smallvec::SmallVec;

use super::levels::{Levels, ROOT};

/// Topic Filters, each holding a `T`; built for filters with wildcards, right for all.
///
/// A match looks at a node at most once, because one path leads to it, and only at nodes whose path matches the
/// beginning of the name: at most two on the first level, four on the second and so on, and never more than there are.
#[derive(Debug)]
pub struct FilterTree<T> {
    levels: Levels<T>,
}

impl<T> FilterTree<T> {
    /// An empty tree. Clients choose the filters, so `seed` should be a secret of the process.
    pub fn new(seed: u64) -> Self {
        Self { levels: Levels::new(seed) }
    }

    /// Filters in it.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is held for exactly this filter.
    pub fn value(&self, filter: &str) -> Option<&T> {
        self.levels.value(filter)
    }

    /// What is held for exactly this filter, to be changed.
    pub fn value_mut(&mut self, filter: &str) -> Option<&mut T> {
        self.levels.value_mut(filter)
    }

    /// What is held for this valid filter; `make` makes it if there is nothing. `None` if the tree has no room for another: it has
    /// some four billion nodes.
    pub fn value_or_insert_with(&mut self, filter: &str, make: impl FnOnce() -> T) -> Option<&mut T> {
        self.levels.value_or_insert_with(filter, make)
    }

    /// Takes a filter out, with the levels that no other filter needs.
    pub fn remove(&mut self, filter: &str) -> Option<T> {
        self.levels.remove(filter)
    }

    /// Calls `found` with what is held for each filter that matches `name`, once each, in no order. Says how
    /// many nodes it looked at.
    ///
    /// `name` is a valid Topic Name, without wildcards [MQTT-4.7.0-1]. Characters are compared as they are [MQTT-4.7.3-4].
    pub fn for_each_match(&self, name: &str, mut found: impl FnMut(&T)) -> usize {
        let mut looked_at: usize = 0;
        // Nodes whose path matches the name up to a byte; behind its end by one when no level is left.
        let mut waiting: SmallVec<[(u32, usize); 16]> = SmallVec::new();
        waiting.push((ROOT, 0));
        while let Some((id, at)) = waiting.pop() {
            let Some(node) = self.levels.node(id) else { continue };
            looked_at = looked_at.saturating_add(1);
            // A filter that begins with a wildcard does not match names that begin with `$` [MQTT-4.7.2-1].
            let wildcards = id != ROOT || !name.starts_with('$');
            // `#` stands for the level above it and everything below.
            if node.multi && wildcards {
                self.value_below(id, "#").into_iter().for_each(&mut found);
            }
            let Some(rest) = name.get(at..) else {
                node.value.iter().for_each(&mut found);
                continue;
            };
            let end = memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
            let behind = at.saturating_add(end).saturating_add(1);
            if let Some(child) = rest.get(..end).and_then(|level| self.levels.child(id, level)) {
                waiting.push((child, behind));
            }
            if node.plus
                && wildcards
                && let Some(child) = self.levels.child(id, "+")
            {
                waiting.push((child, behind));
            }
        }
        looked_at
    }

    fn value_below(&self, parent: u32, level: &str) -> Option<&T> {
        self.levels.node(self.levels.child(parent, level)?)?.value.as_ref()
    }
}

#[cfg(test)]
mod tests;
