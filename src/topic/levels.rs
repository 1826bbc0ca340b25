//! Text cut at its slashes, as a tree in one arena: what filters and names have in common.
//!
//! All children of all nodes are found through one hash table by parent and level, so a node with a million children costs
//! what a node with one costs. Nodes refer to each other by number: inserting, removing and dropping never recurse.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "nodes are named by numbers that only this file makes, and of which memory has room for far fewer than 2^32"
)]

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Nodes are packed together when three in four are free, but not below this many.
const PACK_ABOVE: usize = 1024;

/// No node.
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
}

impl<T> Levels<T> {
    /// An empty tree. Clients choose the levels, so `seed` should be a secret of the process.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self { nodes: vec![Node::new("", NONE)], free: NONE, by_level: HashTable::new(), hasher, len: 0 }
    }

    /// Texts in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Nodes, the root and free ones included.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// A node by its number, which came from this tree.
    pub(super) fn node(&self, id: u32) -> &Node<T> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: u32) -> &mut Node<T> {
        &mut self.nodes[id as usize]
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
        let same = |id: &u32| {
            let node = self.node(*id);
            node.parent == parent && *node.level == *level
        };
        self.by_level.find(hash, same).copied()
    }

    fn find(&self, text: &str) -> Option<u32> {
        text.split('/').try_fold(ROOT, |node, level| self.child(node, level))
    }

    /// What is held for `text`.
    pub(super) fn value(&self, text: &str) -> Option<&T> {
        self.node(self.find(text)?).value.as_ref()
    }

    /// What is held for `text`, to be changed.
    pub(super) fn value_mut(&mut self, text: &str) -> Option<&mut T> {
        let id = self.find(text)?;
        self.node_mut(id).value.as_mut()
    }

    /// What is held for `text`; `make` makes it if there is nothing.
    pub(super) fn value_or_insert_with(&mut self, text: &str, make: impl FnOnce() -> T) -> &mut T {
        let id = self.place(text);
        self.len += usize::from(self.node(id).value.is_none());
        self.node_mut(id).value.get_or_insert_with(make)
    }

    /// Holds `value` for `text`, and hands out what was held before.
    pub(super) fn insert(&mut self, text: &str, value: T) -> Option<T> {
        let id = self.place(text);
        let old = self.node_mut(id).value.replace(value);
        self.len += usize::from(old.is_none());
        old
    }

    /// The node of `text`, made if there is none.
    fn place(&mut self, text: &str) -> u32 {
        let mut id = ROOT;
        for level in text.split('/') {
            id = match self.child(id, level) {
                Some(child) => child,
                None => self.add(id, level),
            };
        }
        id
    }

    /// Takes out what is held for `text`, and every level that nothing else needs.
    pub(super) fn remove(&mut self, text: &str) -> Option<T> {
        let id = self.find(text)?;
        self.remove_at(id)
    }

    /// Takes out what a node holds, and every level that nothing else needs.
    pub(super) fn remove_at(&mut self, mut id: u32) -> Option<T> {
        let value = self.node_mut(id).value.take()?;
        self.len -= 1;
        if self.len == 0 {
            // Gives back what a long life has piled up.
            self.nodes.truncate(1);
            self.nodes.shrink_to_fit();
            self.by_level = HashTable::new();
            self.nodes[ROOT as usize] = Node::new("", NONE);
            self.free = NONE;
            return Some(value);
        }
        while id != ROOT && self.node(id).value.is_none() && self.node(id).first == NONE {
            id = self.unlink(id);
        }
        if self.nodes.len() > PACK_ABOVE && self.by_level.len() < self.nodes.len() / 4 {
            self.pack();
        }
        Some(value)
    }

    /// Gives back what a peak has left: every node moves to the front, behind those above it.
    fn pack(&mut self) {
        let used = self.by_level.len() + 1;
        let mut old = std::mem::take(&mut self.nodes);
        // The new number of each node, and the old one of each new.
        let mut moved = vec![NONE; old.len()];
        let mut order = Vec::with_capacity(used);
        order.push(ROOT);
        moved[ROOT as usize] = ROOT;
        let mut next = 0;
        while let Some(id) = order.get(next).copied() {
            next += 1;
            let mut child = old[id as usize].first;
            while child != NONE {
                moved[child as usize] = order.len() as u32;
                order.push(child);
                child = old[child as usize].next;
            }
        }
        let number = |id: u32| if id == NONE { NONE } else { moved[id as usize] };
        self.nodes.reserve_exact(used * 2);
        for id in &order {
            let node = std::mem::replace(&mut old[*id as usize], Node::new("", NONE));
            let (parent, first) = (number(node.parent), number(node.first));
            let (next, previous) = (number(node.next), number(node.previous));
            self.nodes.push(Node { parent, first, next, previous, ..node });
        }
        self.free = NONE;
        self.by_level = HashTable::with_capacity(used);
        for id in 1..self.nodes.len() as u32 {
            self.enter(id);
        }
    }

    /// Lets a node be found by its parent and level.
    fn enter(&mut self, id: u32) {
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash_of = |id: &u32| {
            let node = &nodes[*id as usize];
            Self::hash(hasher, node.parent, &node.level)
        };
        self.by_level.insert_unique(hash_of(&id), id, hash_of);
    }

    fn add(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node { next: self.node(parent).first, ..Node::new(level, parent) };
        let next = node.next;
        let id = match self.free {
            // A node takes some eighty bytes: memory ends long before the numbers do.
            NONE => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
            id => {
                self.free = self.node(id).next;
                *self.node_mut(id) = node;
                id
            }
        };
        if next != NONE {
            self.node_mut(next).previous = id;
        }
        let above = self.node_mut(parent);
        above.first = id;
        above.plus |= level == "+";
        above.multi |= level == "#";
        self.enter(id);
        id
    }

    /// Takes a childless node out and says its parent.
    fn unlink(&mut self, id: u32) -> u32 {
        let free = self.free;
        let Node { level, parent, next, previous, .. } =
            std::mem::replace(self.node_mut(id), Node { next: free, ..Node::new("", NONE) });
        self.free = id;
        if let Ok(entry) = self.by_level.find_entry(Self::hash(&self.hasher, parent, &level), |other| *other == id) {
            entry.remove();
        }
        if next != NONE {
            self.node_mut(next).previous = previous;
        }
        if previous != NONE {
            self.node_mut(previous).next = next;
        }
        let above = self.node_mut(parent);
        if previous == NONE {
            above.first = next;
        }
        above.plus &= *level != *"+";
        above.multi &= *level != *"#";
        parent
    }
}
