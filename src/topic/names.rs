//! Many Topic Names, asked with one Topic Filter.

use smallvec::SmallVec;

use super::levels::{Levels, NONE, ROOT};

/// Topic Names, each holding a `T`.
///
/// A match walks along the links of the tree, without a stack, and looks at a node at most once, however many `+` the
/// filter has: it costs the nodes whose path matches the beginning of the filter, and at most all there are.
#[derive(Debug)]
pub struct NameTree<T> {
    levels: Levels<T>,
    /// Where [`NameTree::sweep`] goes on.
    hand: usize,
}

impl<T> NameTree<T> {
    /// An empty tree. Clients choose the names, so `seed` should be a secret of the process.
    pub fn new(seed: u64) -> Self {
        Self { levels: Levels::new(seed), hand: 0 }
    }

    /// Names in it.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is held for this name.
    pub fn value(&self, name: &str) -> Option<&T> {
        self.levels.value(name)
    }

    /// Holds `value` for this name, and hands out what was held before.
    ///
    /// # Errors
    /// There is no room for another name, as the tree has some four billion nodes: `value` comes back.
    pub fn insert(&mut self, name: &str, value: T) -> Result<Option<T>, T> {
        self.levels.insert(name, value)
    }

    /// Takes a name out, with the levels that no other name needs.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        self.levels.remove(name)
    }

    /// Calls `found` with what is held for each name that the valid filter `filter` matches, once each, in no order.
    /// Says how many nodes it looked at.
    pub fn for_each_match(&self, filter: &str, mut found: impl FnMut(&T)) -> usize {
        self.search(filter, usize::MAX, |value| {
            found(value);
            true
        })
    }

    /// As [`NameTree::for_each_match`], until `found` says `false` or `nodes_max` nodes were looked at.
    pub fn search(&self, filter: &str, nodes_max: usize, mut found: impl FnMut(&T) -> bool) -> usize {
        let mut looked_at: usize = 0;
        let mut wanted: SmallVec<[&str; 16]> = filter.split('/').collect();
        // `#` stands for the level above it and everything below.
        let multi = wanted.last() == Some(&"#");
        if multi {
            wanted.pop();
        }
        // The level below `depth` is not fixed by the filter.
        let open = |depth: usize| wanted.get(depth).map_or(multi, |level| *level == "+");
        let mut place = Some((ROOT, 0_usize));
        while let Some((id, depth)) = place {
            if looked_at == nodes_max {
                break;
            }
            let Some(node) = self.levels.node(id) else { break };
            looked_at = looked_at.saturating_add(1);
            if depth >= wanted.len() && !node.value.iter().all(&mut found) {
                break;
            }
            let below = match wanted.get(depth) {
                Some(level) if !open(depth) => self.levels.child(id, level),
                _ if open(depth) => self.visible(id, node.first),
                _ => None,
            };
            place = match below {
                Some(child) => Some((child, depth.saturating_add(1))),
                None => self.onwards(id, depth, open),
            };
        }
        looked_at
    }

    /// The next node behind the subtree of `id`: a sibling where the filter leaves its level open, else one of a level above.
    fn onwards(&self, mut id: u32, mut depth: usize, open: impl Fn(usize) -> bool) -> Option<(u32, usize)> {
        while let Some(above) = depth.checked_sub(1) {
            let node = self.levels.node(id)?;
            if open(above)
                && let Some(sibling) = self.visible(node.parent, node.next)
            {
                return Some((sibling, depth));
            }
            (id, depth) = (node.parent, above);
        }
        None
    }

    /// `id` or the first of its next siblings that a wildcard may stand for: on the first level none that begins with `$`
    /// [MQTT-4.7.2-1].
    fn visible(&self, parent: u32, mut id: u32) -> Option<u32> {
        while let Some(node) = self.levels.node(id).filter(|node| parent == ROOT && node.level().starts_with('$')) {
            id = node.next;
        }
        (id != NONE).then_some(id)
    }

    /// Looks at the next `steps` places in turn and takes out what is `dead`, handing it to `gone`. Called again and again it
    /// comes by everything.
    pub fn sweep(&mut self, steps: usize, dead: impl Fn(&T) -> bool, mut gone: impl FnMut(T)) {
        for _ in 0..steps.min(self.levels.nodes()) {
            let next = self.hand.saturating_add(1);
            self.hand = if next < self.levels.nodes() { next } else { 0 };
            let Ok(id) = u32::try_from(self.hand) else { return };
            if self.levels.node(id).and_then(|node| node.value.as_ref()).is_some_and(&dead) {
                self.levels.remove_at(id).into_iter().for_each(&mut gone);
            }
        }
    }
}

#[cfg(test)]
mod tests;
