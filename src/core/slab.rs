//! Clients by slot.
//!
//! Slots live in blocks that never move, so ten thousand clients do not cost a copy of ten thousand each time the slab
//! grows. A slot that was emptied keeps its generation counting: an address from before finds nobody. It is handed
//! out again only after [`Slab::reuse`], which the core calls at the end of a turn. Where most slots are empty, blocks
//! without a value are given back.

use crate::broker::seat::Address;

const BLOCK: usize = 64;
/// Empty blocks are given back when less than a quarter of the slots is used, but not below this many.
const SHRINK_ABOVE: usize = 16 * BLOCK;

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by slot number, with a generation for each slot.
#[derive(Debug)]
pub(super) struct Slab<T> {
    core: u8,
    /// One that was given back is empty.
    blocks: Vec<Box<[Entry<T>]>>,
    /// Blocks that were given back.
    missing: Vec<u32>,
    /// How many slots, or values, there were when it was last known how much is worth keeping.
    kept_for: usize,
    /// Generation of a new slot: above that of every slot that was given back.
    newest: u32,
    free: Vec<u32>,
    emptied: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    /// An empty slab for the core with this number.
    pub(super) fn new(core: u8) -> Self {
        let (blocks, missing, free, emptied) = Default::default();
        Self { core, blocks, missing, kept_for: 0, newest: 1, free, emptied, len: 0 }
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
        let generation = self.newest;
        let block = (0..BLOCK).map(|_| Entry { generation, value: None }).collect();
        let number = match self.missing.pop().and_then(|number| Some((number, self.blocks.get_mut(number as usize)?))) {
            Some((number, place)) => {
                *place = block;
                number
            }
            None => {
                self.blocks.push(block);
                (self.blocks.len() - 1) as u32
            }
        };
        self.kept_for = (self.blocks.len() - self.missing.len()) * BLOCK;
        let first = number * BLOCK as u32;
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

    /// The value at an address, to look at.
    pub(super) fn look_at(&self, address: Address) -> Option<&T> {
        self.get(address.slot).filter(|_| self.has(address))
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
        if self.emptied.is_empty() {
            return;
        }
        self.free.append(&mut self.emptied);
        if self.kept_for > SHRINK_ABOVE && self.len < self.kept_for / 4 {
            self.shrink();
        }
    }

    /// Gives back blocks without a value. What is left is looked at again when three in four of those have gone, too.
    fn shrink(&mut self) {
        self.kept_for = self.len;
        for (number, block) in self.blocks.iter_mut().enumerate() {
            if !block.is_empty() && block.iter().all(|entry| entry.value.is_none()) {
                self.newest = block.iter().map(|entry| entry.generation).fold(self.newest, u32::max);
                *block = Box::default();
                self.missing.push(number as u32);
            }
        }
        let blocks = &self.blocks;
        self.free.retain(|slot| blocks.get(*slot as usize / BLOCK).is_some_and(|block| !block.is_empty()));
        self.free.shrink_to_fit();
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
    fn after_a_peak_blocks_are_given_back_and_addresses_from_before_still_find_nobody() {
        let mut slab = Slab::new(0);
        let peak: Vec<_> = (0..10_000).map(|n| slab.insert(n)).collect();
        for address in peak.iter().skip(70) {
            assert!(slab.remove(address.slot).is_some());
        }
        slab.reuse();
        let there = |slab: &Slab<usize>| slab.blocks.iter().filter(|block| !block.is_empty()).count();
        assert_eq!(there(&slab), 2);
        assert!((0..70).all(|n| slab.at(peak[n]).copied() == Some(n)));
        let again: Vec<_> = (0..10_000).map(|n| slab.insert(n)).collect();
        assert!(peak.iter().skip(70).all(|address| !slab.has(*address)), "generations go on");
        assert!(again.iter().enumerate().all(|(n, address)| slab.at(*address).copied() == Some(n)));
        assert_eq!((slab.len(), there(&slab)), (10_070, 10_070usize.div_ceil(BLOCK)));
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
