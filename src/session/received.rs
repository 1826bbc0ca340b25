//! Packet Identifiers of incoming QoS 2 messages that were received and not yet released.

use smallvec::SmallVec;

use crate::mqtt::PacketId;

/// Identifiers kept in a list before they become a bit for each of the 65,535 possible ones.
const LISTED_MAX: usize = 64;
const WORDS: usize = 1024;

/// A set of Packet Identifiers. Bounded by nature: at most 8 KiB, and nothing at all while it is empty.
#[derive(Debug, Default)]
pub(super) enum Received {
    #[default]
    None,
    /// The usual case: an exchange or a few.
    Few(Box<SmallVec<[PacketId; 12]>>),
    Many(Box<Bits>),
}

/// One bit for each identifier.
#[derive(Debug)]
pub(super) struct Bits {
    words: [u64; WORDS],
    /// How many are set.
    count: usize,
}

impl Received {
    /// Identifiers in it.
    pub(super) fn len(&self) -> usize {
        match self {
            Received::None => 0,
            Received::Few(list) => list.len(),
            Received::Many(bits) => bits.count,
        }
    }

    /// Whether `id` is in it.
    pub(super) fn contains(&self, id: PacketId) -> bool {
        match self {
            Received::None => false,
            Received::Few(list) => list.contains(&id),
            Received::Many(bits) => bits.words.get(word(id)).is_some_and(|word| word & bit(id) != 0),
        }
    }

    /// Puts `id` in.
    pub(super) fn insert(&mut self, id: PacketId) {
        if self.contains(id) {
            return;
        }
        match self {
            Received::None => *self = Received::Few(Box::new(SmallVec::from_iter([id]))),
            Received::Few(list) if list.len() < LISTED_MAX => list.push(id),
            Received::Few(list) => {
                let mut bits = Box::new(Bits { words: [0; WORDS], count: 0 });
                list.iter().copied().chain([id]).for_each(|id| bits.set(id));
                *self = Received::Many(bits);
            }
            Received::Many(bits) => bits.set(id),
        }
    }

    /// Takes `id` out; `false` if it was not in.
    pub(super) fn remove(&mut self, id: PacketId) -> bool {
        if !self.contains(id) {
            return false;
        }
        match self {
            Received::None => {}
            Received::Few(list) => list.retain(|other| *other != id),
            Received::Many(bits) => {
                if let Some(word) = bits.words.get_mut(word(id)) {
                    *word &= !bit(id);
                }
                // It was in.
                bits.count = bits.count.saturating_sub(1);
            }
        }
        if self.len() == 0 {
            *self = Received::None;
        }
        true
    }
}

fn word(id: PacketId) -> usize {
    usize::from(id.get()) / 64
}

fn bit(id: PacketId) -> u64 {
    1 << (id.get() % 64)
}

impl Bits {
    /// Sets the bit of an identifier that is not in.
    fn set(&mut self, id: PacketId) {
        if let Some(word) = self.words.get_mut(word(id)) {
            *word |= bit(id);
        }
        self.count = self.count.saturating_add(1);
    }
}

impl FromIterator<PacketId> for Received {
    fn from_iter<I: IntoIterator<Item = PacketId>>(ids: I) -> Self {
        let mut received = Received::default();
        ids.into_iter().for_each(|id| received.insert(id));
        received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_a_set_however_many_there_are() {
        let mut model = BTreeSet::new();
        let mut received = Received::default();
        let mut state = 7_u32;
        for step in 0..200_000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let id = PacketId::new((state >> 16) as u16 % 500 + 1).unwrap();
            // Waves, so that it grows past the list and empties again.
            if step / 5_000 % 2 == 0 {
                model.insert(id);
                received.insert(id);
            } else {
                assert_eq!(received.remove(id), model.remove(&id));
            }
            assert_eq!((received.len(), received.contains(id)), (model.len(), model.contains(&id)));
        }
        for id in model {
            assert!(received.remove(id));
        }
        assert!(matches!(received, Received::None), "nothing is held when it is empty");
    }
}
