//! Which Client Identifier sits where.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::seat::{Address, Seat};
use crate::identity::{ClientId, Origin, SessionId};
use crate::sync::{AtomicU64, DashMap, Entry, Ordering};

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// There was nothing; a new session sits there now.
    Fresh(Arc<Seat>),
    /// A saved session is the claimant's now.
    Resumed(Arc<Seat>),
    /// A saved session was there and is to be ended, because the claimant wants a Clean Start; a new one sits there now.
    Replaced {
        /// To be ended.
        old: Arc<Seat>,
        /// The claimant's.
        fresh: Arc<Seat>,
    },
    /// Somebody sits there: order him to leave, then claim again.
    Busy {
        /// Where he sits.
        at: Address,
        /// His seat.
        seat: Arc<Seat>,
    },
    /// The session belongs to another user.
    NotYours,
}

/// A seat and the user it belongs to.
#[derive(Debug)]
struct Entered {
    seat: Arc<Seat>,
    owner: Option<Arc<str>>,
}

/// Client Identifiers by name. Touched at connect and disconnect only.
#[derive(Debug)]
pub struct Directory {
    entries: DashMap<ClientId, Entered, RandomState>,
    hasher: RandomState,
    next_session: AtomicU64,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            entries: DashMap::with_hasher(RandomState::default()),
            hasher: RandomState::default(),
            next_session: AtomicU64::new(1),
        }
    }
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Claims `client` for `address`. A saved session belongs to the user that opened it.
    pub fn claim(
        &self,
        client: &ClientId,
        owner: Option<&Arc<str>>,
        address: Address,
        clean_start: bool,
        durable: bool,
    ) -> Claim {
        match self.entries.entry(client.clone()) {
            Entry::Vacant(place) => {
                let seat = self.seat(client, address, durable);
                place.insert(Entered { seat: Arc::clone(&seat), owner: owner.cloned() });
                Claim::Fresh(seat)
            }
            Entry::Occupied(mut place) => {
                if place.get().owner.as_ref() != owner {
                    return Claim::NotYours;
                }
                let old = Arc::clone(&place.get().seat);
                if let Some(at) = old.address() {
                    return Claim::Busy { at, seat: old };
                }
                if !clean_start && old.is_durable() && old.claim(address) {
                    return Claim::Resumed(old);
                }
                let fresh = self.seat(client, address, durable);
                place.get_mut().seat = Arc::clone(&fresh);
                Claim::Replaced { old, fresh }
            }
        }
    }

    fn seat(&self, client: &ClientId, address: Address, durable: bool) -> Arc<Seat> {
        let session = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let seat = Seat::new(session, client.clone(), self.origin(client), durable);
        let sat = seat.claim(address);
        debug_assert!(sat, "a new seat is vacant");
        seat
    }

    /// Stands for this identifier in No Local; never 0, which is the broker.
    pub fn origin(&self, client: &ClientId) -> Origin {
        Origin(self.hasher.hash_one(client.as_str()).max(1))
    }

    /// The client at `address` leaves. Unless the session is kept, its name is free.
    pub fn leave(&self, seat: &Arc<Seat>, address: Address, keep: bool) {
        if !keep {
            self.remove(seat);
        }
        seat.release(address);
    }

    /// Takes a session's name out, unless it belongs to another session by now.
    pub fn remove(&self, seat: &Arc<Seat>) {
        self.entries.remove_if(&seat.client, |_, entered| Arc::ptr_eq(&entered.seat, seat));
    }

    /// Puts a recovered session in, vacant. Its number is never given out again.
    pub fn insert_recovered(&self, session: SessionId, client: ClientId, owner: Option<Arc<str>>) -> Arc<Seat> {
        self.next_session.fetch_max(session.0 + 1, Ordering::Relaxed);
        let seat = Seat::new(session, client.clone(), self.origin(&client), true);
        self.entries.insert(client, Entered { seat: Arc::clone(&seat), owner });
        seat
    }

    /// A fresh Client Identifier that nobody can guess [MQTT-3.1.3-6].
    pub fn assign(&self) -> ClientId {
        let mut random = [0u8; 16];
        if getrandom::fill(&mut random).is_err() {
            // No entropy: unique all the same, by the number of the next session.
            let number = self.next_session.fetch_add(1, Ordering::Relaxed);
            random = (u128::from(self.hasher.hash_one(number)) << 64 | u128::from(number)).to_be_bytes();
        }
        ClientId::new(&format!("auto-{:032x}", u128::from_be_bytes(random)))
    }

    /// Sessions, connected or waiting for their client.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(slot: u32) -> Address {
        Address { core: 0, slot, generation: 1 }
    }

    #[test]
    fn a_saved_session_is_resumed_by_its_owner_only() {
        let directory = Directory::new();
        let (client, alice, bob) = (ClientId::new("phone"), Arc::<str>::from("alice"), Arc::<str>::from("bob"));
        let Claim::Fresh(seat) = directory.claim(&client, Some(&alice), at(1), false, true) else { panic!("fresh") };
        assert!(matches!(directory.claim(&client, Some(&alice), at(2), false, true), Claim::Busy { .. }));
        assert!(matches!(directory.claim(&client, Some(&bob), at(2), true, true), Claim::NotYours));
        directory.leave(&seat, at(1), true);
        assert!(matches!(directory.claim(&client, None, at(2), true, true), Claim::NotYours));
        let Claim::Resumed(again) = directory.claim(&client, Some(&alice), at(2), false, true) else { panic!("saved") };
        assert!(Arc::ptr_eq(&again, &seat));
        directory.leave(&seat, at(2), true);
        let Claim::Replaced { old, fresh } = directory.claim(&client, Some(&alice), at(3), true, true) else {
            panic!("clean start")
        };
        assert!(Arc::ptr_eq(&old, &seat) && fresh.session > old.session);
        directory.remove(&old);
        assert_eq!(directory.len(), 1, "the name is another session's by now");
    }

    #[test]
    fn of_racing_claims_one_wins_at_a_time() {
        let directory = Directory::new();
        let client = ClientId::new("x");
        let seated = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (directory, client, seated) = (&directory, &client, &seated);
                scope.spawn(move || {
                    for n in 0..1000 {
                        let address = Address { core: thread, slot: n, generation: 1 };
                        let seat = match directory.claim(client, None, address, n % 3 == 0, n % 2 == 0) {
                            Claim::Fresh(seat) | Claim::Resumed(seat) | Claim::Replaced { fresh: seat, .. } => seat,
                            Claim::Busy { .. } | Claim::NotYours => continue,
                        };
                        assert_eq!(seated.fetch_add(1, Ordering::SeqCst), 0, "two sit on one name");
                        seated.fetch_sub(1, Ordering::SeqCst);
                        directory.leave(&seat, address, seat.is_durable());
                    }
                });
            }
        });
    }
}
