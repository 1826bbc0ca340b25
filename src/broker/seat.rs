//! Where a session sits now.

use std::sync::Arc;

use crate::identity::{ClientId, Origin, SessionId};
use crate::sync::{AtomicU64, Ordering};

/// Cores there can be at all: an address has six bits for its core.
pub const CORES_MAX: usize = 64;

/// A place on a core. The generation makes an address of a client that has left find nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The core's number, below [`CORES_MAX`].
    pub core: u8,
    /// The slot on that core, below 2^24.
    pub slot: u32,
    /// The slot's generation.
    pub generation: u32,
}

const SEATED: u64 = 1 << 63;
/// Vacant, and never to be claimed again.
const RETIRED: u64 = 1;

impl Address {
    fn word(self) -> u64 {
        SEATED | u64::from(self.core & 0x3f) << 56 | u64::from(self.slot & 0xff_ffff) << 32 | u64::from(self.generation)
    }

    fn of(word: u64) -> Option<Address> {
        (word & SEATED != 0).then_some(Address {
            core: (word >> 56) as u8 & 0x3f,
            slot: (word >> 32) as u32 & 0xff_ffff,
            generation: word as u32,
        })
    }
}

/// One session's seat: who it is, and where it is, read with one atomic load on the hot path.
#[derive(Debug)]
pub struct Seat {
    /// Address, or 0 when vacant. One word, so that it is read and changed whole.
    word: AtomicU64,
    /// The session's number.
    pub session: SessionId,
    /// Its Client Identifier.
    pub client: ClientId,
    /// Stands for the identifier in No Local.
    pub origin: Origin,
    /// Whether the session outlives its connection.
    durable: bool,
}

impl Seat {
    /// A vacant seat.
    pub fn new(session: SessionId, client: ClientId, origin: Origin, durable: bool) -> Arc<Self> {
        Arc::new(Self { word: AtomicU64::new(0), session, client, origin, durable })
    }

    /// Where the client sits; `None` = vacant.
    pub fn address(&self) -> Option<Address> {
        Address::of(self.word.load(Ordering::Acquire))
    }

    /// Whether messages for it wait in the store while it is vacant.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Takes the seat if it is vacant.
    pub fn claim(&self, address: Address) -> bool {
        self.word.compare_exchange(0, address.word(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Closes a vacant seat for good: nobody can claim it any more. `false` if somebody sits there.
    pub fn retire(&self) -> bool {
        self.word.compare_exchange(0, RETIRED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Leaves the seat if it is still this address's.
    pub fn release(&self, address: Address) -> bool {
        self.word.compare_exchange(address.word(), 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_has_one_sitter_and_only_he_can_leave_it() {
        let seat = Seat::new(SessionId(1), ClientId::new("a"), Origin(1), true);
        let first = Address { core: 63, slot: 0xff_ffff, generation: u32::MAX };
        let second = Address { core: 0, slot: 0, generation: 0 };
        assert!(seat.claim(first));
        assert_eq!(seat.address(), Some(first));
        assert!(!seat.claim(second) && !seat.release(second));
        assert!(seat.release(first));
        assert!(seat.claim(second));
        assert_eq!(seat.address(), Some(second));
        assert!(!seat.retire(), "somebody sits there");
        assert!(seat.release(second) && seat.retire());
        assert!(seat.address().is_none() && !seat.claim(first));
    }
}
