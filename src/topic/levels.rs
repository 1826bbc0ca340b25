//! Text cut at its slashes, as a tree in one arena: what filters and names have in common.
//!
//! All children of all nodes are found through one hash table by parent and level, so a node with a million children costs
//! what a node with one costs. Nodes refer to each other by number: inserting, removing and dropping never recurse.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Nodes are packed together when three in four are free, but not below this many.
const PACK_ABOVE: usize = 1024;

/// No node: this number is never given to one.
pub(super) const NONE: u32 = u32::MAX;
/// The node above all first levels.
pub(super) const ROOT: u32 = 0;

/// One level of at least one text.
#[derive(Debug)]
pub(super) struct Node<T> {
    level: Box<str>,
    pub(super) parent: u32,
    /// Its first child.
    pub(super) first: u32,
    /// The next child of its parent; for a free node, the next free one.
    pub(super) next: u32,
    previous: u32,
    /// Whether there is a child `+`.
    pub(super) plus: bool,
    /// Whether there is a child `#`.
    pub(super) multi: bool,
    /// What is held for the text that ends here.
    pub(super) value: Option<T>,
}

impl<T> Node<T> {
    fn new(level: &str, parent: u32) -> Self {
        let level = Box::from(level);
        Self { level, parent, first: NONE, next: NONE, previous: NONE, plus: false, multi: false, value: None }
    }

    /// The text between two slashes; may be empty.
    pub(super) fn level(&self) -> &str {
        &self.level
    }
}

/// Texts by their levels, each holding a `T`.
#[derive(Debug)]
pub(super) struct Levels<T> {
    /// The root first. Numbers of nodes that are in use stay valid until something is taken out.
    nodes: Vec<Node<T>>,
    /// The first node to be used again.
    free: u32,
    /// Every node but the root, by parent and level.
    by_level: HashTable<u32>,
    hasher: FixedState,
    len: usize,
    /// Numbers from here on are given to no node.
    end: u32,
}

impl<T> Levels<T> {
    /// An empty tree. Clients choose the levels, so `seed` should be a secret of the process.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let nodes = vec![Node::new("", NONE)];
        Self { nodes, free: NONE, by_level: HashTable::new(), hasher, len: 0, end: NONE }
    }

    /// Texts in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Nodes, the root and free ones included.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// A node by its number; there is none for [`NONE`].
    pub(super) fn node(&self, id: u32) -> Option<&Node<T>> {
        self.nodes.get(id as usize)
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut Node<T>> {
        self.nodes.get_mut(id as usize)
    }

    fn hash(hasher: &FixedState, parent: u32, level: &str) -> u64 {
        let mut hasher = hasher.build_hasher();
        hasher.write_u32(parent);
        hasher.write(level.as_bytes());
        hasher.finish()
    }

    /// The child of `parent` for `level`.
    pub(super) fn child(&self, parent: u32, level: &str) -> Option<u32> {
        let hash = Self::hash(&self.hasher, parent, level);
        let same = |id: &u32| self.node(*id).is_some_and(|node| node.parent == parent && *node.level == *level);
        self.by_level.find(hash, same).copied()
    }

    fn find(&self, text: &str) -> Option<u32> {
        text.split('/').try_fold(ROOT, |node, level| self.child(node, level))
    }

    /// What is held for `text`.
    pub(super) fn value(&self, text: &str) -> Option<&T> {
        self.node(self.find(text)?)?.value.as_ref()
    }

    /// What is held for `text`, to be changed.
    pub(super) fn value_mut(&mut self, text: &str) -> Option<&mut T> {
        let id = self.find(text)?;
        self.node_mut(id)?.value.as_mut()
    }

    /// What is held for `text`; `make` makes it if there is nothing. `None` if the numbers do not suffice.
    pub(super) fn value_or_insert_with(&mut self, text: &str, make: impl FnOnce() -> T) -> Option<&mut T> {
        let id = self.place(text)?;
        let node = self.nodes.get_mut(id as usize)?;
        self.len = self.len.saturating_add(usize::from(node.value.is_none()));
        Some(node.value.get_or_insert_with(make))
    }

    /// Holds `value` for `text`, and hands out what was held before.
    ///
    /// # Errors
    /// The numbers do not suffice: `value` comes back.
    pub(super) fn insert(&mut self, text: &str, value: T) -> Result<Option<T>, T> {
        let Some(node) = self.place(text).and_then(|id| self.nodes.get_mut(id as usize)) else { return Err(value) };
        let old = node.value.replace(value);
        self.len = self.len.saturating_add(usize::from(old.is_none()));
        Ok(old)
    }

    /// The node of `text`, made if there is none. `None`, and nothing is made, if the numbers do not suffice.
    fn place(&mut self, text: &str) -> Option<u32> {
        let mut id = ROOT;
        for level in text.split('/') {
            let below = match self.child(id, level) {
                Some(child) => Some(child),
                None => self.add(id, level),
            };
            let Some(below) = below else {
                self.prune(id);
                return None;
            };
            id = below;
        }
        Some(id)
    }

    /// Takes out what is held for `text`, and every level that nothing else needs.
    pub(super) fn remove(&mut self, text: &str) -> Option<T> {
        let id = self.find(text)?;
        self.remove_at(id)
    }

    /// Takes out what a node holds, and every level that nothing else needs.
    pub(super) fn remove_at(&mut self, id: u32) -> Option<T> {
        let value = self.node_mut(id)?.value.take()?;
        debug_assert!(self.len > 0, "what was held was counted");
        self.len = self.len.saturating_sub(1);
        if self.len == 0 {
            // Gives back what a long life has piled up.
            self.nodes = vec![Node::new("", NONE)];
            self.by_level = HashTable::new();
            self.free = NONE;
            return Some(value);
        }
        self.prune(id);
        if self.nodes.len() > PACK_ABOVE && self.by_level.len() < self.nodes.len() / 4 {
            self.pack();
        }
        Some(value)
    }

    /// Gives back what a peak has left: every node moves to the front, behind those above it.
    fn pack(&mut self) {
        let used = self.by_level.len().saturating_add(1);
        let mut old = std::mem::take(&mut self.nodes);
        // The new number of each node, and the old one of each new.
        let mut moved = vec![NONE; old.len()];
        let mut order = Vec::with_capacity(used);
        order.push(ROOT);
        for number in 0_u32.. {
            let Some(id) = order.get(number as usize).copied() else { break };
            if let Some(place) = moved.get_mut(id as usize) {
                *place = number;
            }
            let mut child = old.get(id as usize).map_or(NONE, |node| node.first);
            while let Some(node) = old.get(child as usize) {
                order.push(child);
                child = node.next;
            }
        }
        let number = |id: u32| moved.get(id as usize).copied().unwrap_or(NONE);
        self.nodes.reserve_exact(used.saturating_mul(2));
        for node in
            order.iter().filter_map(|id| Some(std::mem::replace(old.get_mut(*id as usize)?, Node::new("", NONE))))
        {
            let (parent, first) = (number(node.parent), number(node.first));
            let (next, previous) = (number(node.next), number(node.previous));
            self.nodes.push(Node { parent, first, next, previous, ..node });
        }
        self.free = NONE;
        self.by_level = HashTable::with_capacity(used);
        for id in (0..NONE).take(self.nodes.len()).skip(1) {
            self.enter(id);
        }
    }

    /// Lets a node be found by its parent and level.
    fn enter(&mut self, id: u32) {
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash_of = |id: &u32| nodes.get(*id as usize).map_or(0, |node| Self::hash(hasher, node.parent, &node.level));
        self.by_level.insert_unique(hash_of(&id), id, hash_of);
    }

    /// Makes a child; `None` if there is no number for it.
    fn add(&mut self, parent: u32, level: &str) -> Option<u32> {
        let next = self.node(parent)?.first;
        let node = Node { next, ..Node::new(level, parent) };
        let id = match self.nodes.get_mut(self.free as usize) {
            Some(place) => std::mem::replace(&mut self.free, std::mem::replace(place, node).next),
            None => {
                let id = u32::try_from(self.nodes.len()).ok().filter(|id| *id < self.end)?;
                self.nodes.push(node);
                id
            }
        };
        if let Some(next) = self.node_mut(next) {
            next.previous = id;
        }
        if let Some(above) = self.node_mut(parent) {
            above.first = id;
            above.plus |= level == "+";
            above.multi |= level == "#";
        }
        self.enter(id);
        Some(id)
    }

    /// Takes a node out if nothing needs it, and those above it for which that is then so.
    fn prune(&mut self, mut id: u32) {
        while let Some(parent) = self.unlink(id) {
            id = parent;
        }
    }

    /// Takes a node out that holds nothing and has no child, and says its parent.
    fn unlink(&mut self, id: u32) -> Option<u32> {
        let free = self.free;
        let place = self.node_mut(id).filter(|node| id != ROOT && node.value.is_none() && node.first == NONE)?;
        let Node { level, parent, next, previous, .. } =
            std::mem::replace(place, Node { next: free, ..Node::new("", NONE) });
        self.free = id;
        if let Ok(entry) = self.by_level.find_entry(Self::hash(&self.hasher, parent, &level), |other| *other == id) {
            entry.remove();
        }
        if let Some(next) = self.node_mut(next) {
            next.previous = previous;
        }
        if let Some(previous) = self.node_mut(previous) {
            previous.next = next;
        }
        let above = self.node_mut(parent)?;
        if previous == NONE {
            above.first = next;
        }
        above.plus &= *level != *"+";
        above.multi &= *level != *"#";
        Some(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_numbers_end_nothing_is_held_or_left_behind_and_there_is_room_again_behind_what_goes() {
        let mut levels = Levels { end: 4, ..Levels::new(7) };
        assert_eq!(levels.insert("a/b/c", 1), Ok(None));
        assert_eq!((levels.insert("a/x", 2), levels.insert("y/z", 3)), (Err(2), Err(3)));
        assert_eq!(levels.value_or_insert_with("a/b/c/d", || 4), None);
        assert_eq!((levels.len(), levels.by_level.len(), levels.nodes()), (1, 3, 4));
        assert_eq!(levels.insert("a/b", 5), Ok(None), "a node that is there needs no number");
        assert_eq!(levels.remove("a/b/c"), Some(1));
        assert_eq!(levels.insert("a/x/y", 6), Err(6), "one number for two levels");
        assert_eq!(levels.insert("a/x", 7), Ok(None));
        assert_eq!((levels.value("a/b"), levels.value("a/x"), levels.value("a/b/c")), (Some(&5), Some(&7), None));
    }
}
