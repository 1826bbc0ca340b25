//! Clients by slot.
//!
//! Slots live in blocks that never move, so ten thousand clients do not cost a copy of ten thousand each time the slab
//! grows. A slot that was emptied keeps its generation counting: an address from before finds nobody. It is handed
//! out again only after [`Slab::reuse`], which the core calls at the end of a turn.

use crate::broker::seat::Address;

const BLOCK: usize = 64;

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by slot number, with a generation for each slot.
#[derive(Debug)]
pub(super) struct Slab<T> {
    core: u8,
    blocks: Vec<Box<[Entry<T>]>>,
    free: Vec<u32>,
    emptied: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    /// An empty slab for the core with this number.
    pub(super) fn new(core: u8) -> Self {
        Self { core, blocks: Vec::new(), free: Vec::new(), emptied: Vec::new(), len: 0 }
    }

    /// Values in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` into a free slot and says where.
    pub(super) fn insert(&mut self, value: T) -> Address {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        let core = self.core;
        let Some(entry) = self.entry_mut(slot) else { unreachable!("a free slot lies in a block") };
        entry.value = Some(value);
        let generation = entry.generation;
        self.len += 1;
        Address { core, slot, generation }
    }

    fn grow(&mut self) -> u32 {
        let first = (self.blocks.len() * BLOCK) as u32;
        self.blocks.push((0..BLOCK).map(|_| Entry { generation: 1, value: None }).collect());
        self.free.extend((first + 1..first + BLOCK as u32).rev());
        first
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.blocks.get_mut(slot as usize / BLOCK)?.get_mut(slot as usize % BLOCK)
    }

    fn entry(&self, slot: u32) -> Option<&Entry<T>> {
        self.blocks.get(slot as usize / BLOCK)?.get(slot as usize % BLOCK)
    }

    /// The value in a slot.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entry_mut(slot)?.value.as_mut()
    }

    /// The value in a slot.
    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.entry(slot)?.value.as_ref()
    }

    /// The value at an address, unless the slot has been emptied since.
    pub(super) fn at(&mut self, address: Address) -> Option<&mut T> {
        let entry = self.entry_mut(address.slot)?;
        if entry.generation == address.generation { entry.value.as_mut() } else { None }
    }

    /// Whether the value put at this address is still there.
    pub(super) fn has(&self, address: Address) -> bool {
        self.address(address.slot) == Some(address)
    }

    /// The present address of a slot.
    pub(super) fn address(&self, slot: u32) -> Option<Address> {
        let entry = self.entry(slot)?;
        entry.value.as_ref()?;
        Some(Address { core: self.core, slot, generation: entry.generation })
    }

    /// Empties a slot. It is not handed out again before [`Slab::reuse`].
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.entry_mut(slot)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1).max(1);
        self.emptied.push(slot);
        self.len -= 1;
        Some(value)
    }

    /// The turn is over: slots emptied in it may be handed out again.
    pub(super) fn reuse(&mut self) {
        self.free.append(&mut self.emptied);
    }

    /// Slots that hold a value.
    pub(super) fn slots(&self) -> Vec<u32> {
        let filled = |(slot, entry): (usize, &Entry<T>)| entry.value.is_some().then_some(slot as u32);
        self.blocks.iter().flat_map(|block| block.iter()).enumerate().filter_map(filled).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_from_before_finds_nobody() {
        let mut slab = Slab::new(3);
        let first = slab.insert("a");
        assert_eq!(slab.remove(first.slot), Some("a"));
        let other = slab.insert("b");
        assert_ne!(other.slot, first.slot, "not reused within the turn");
        slab.reuse();
        let again = slab.insert("c");
        assert_eq!(again.slot, first.slot);
        assert_eq!(slab.at(first), None);
        assert_eq!(slab.at(again).copied(), Some("c"));
        assert_eq!((slab.len(), slab.slots()), (2, vec![0, 1]));
    }

    #[test]
    fn slots_beyond_a_block_work() {
        let mut slab = Slab::new(0);
        let addresses: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        for (n, address) in addresses.iter().enumerate() {
            assert_eq!(slab.at(*address).copied(), Some(n));
            assert_eq!(slab.address(address.slot), Some(*address));
        }
    }
}
