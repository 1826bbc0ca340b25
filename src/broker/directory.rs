//! Which Client Identifier sits where.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::seat::{Address, Seat};
use crate::identity::{ClientId, Origin, SessionId};
use crate::sync::{AtomicU64, AtomicUsize, DashMap, Entry, Ordering};

/// So many names go before somebody looks whether the table has become too large.
const LOOKED_AT_EVERY: usize = 4096;
/// It has if less than this part of it is used.
const USED_MIN: usize = 8;

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
    /// There is no such session, and no room for another one.
    Full,
}

/// Whether a claim may make one session more than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It is a newcomer's: it may not.
    Needed,
    /// It made somebody leave, whose room may have been taken by another since: it is not to lose by that. So there are at
    /// most as many too many as there were connections that took over at one moment.
    Promised,
}

/// What is claimed, and how.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Whose session.
    pub client: &'a ClientId,
    /// Who asks.
    pub owner: Option<&'a Arc<str>>,
    /// A saved session is not wanted.
    pub clean_start: bool,
    /// The new session is to outlive its connection.
    pub durable: bool,
    /// Whether it may be one too many.
    pub room: Room,
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
    /// How many entries there are; counted here because the map would have to look at each of its shards.
    count: AtomicUsize,
    sessions_max: usize,
    /// Names that were taken out.
    removed: AtomicUsize,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            entries: DashMap::with_hasher(RandomState::default()),
            hasher: RandomState::default(),
            next_session: AtomicU64::new(1),
            count: AtomicUsize::new(0),
            sessions_max: usize::MAX,
            removed: AtomicUsize::new(0),
        }
    }
}

impl Directory {
    /// An empty directory without a bound.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty directory for at most this many sessions, those that end with their connection included.
    pub fn bounded(sessions_max: usize) -> Self {
        Self { sessions_max, ..Self::default() }
    }

    /// Claims `client` for `address`. A saved session belongs to the user that opened it.
    pub fn claim(&self, wish: Wish<'_>, address: Address) -> Claim {
        let Wish { client, owner, clean_start, durable, room } = wish;
        match self.entries.entry(client.clone()) {
            Entry::Vacant(place) => {
                if !self.take_room(room) {
                    return Claim::Full;
                }
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

    fn take_room(&self, room: Room) -> bool {
        let most = if room == Room::Promised { usize::MAX } else { self.sessions_max };
        let one_more = |count: usize| (count < most).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn seat(&self, client: &ClientId, address: Address, durable: bool) -> Arc<Seat> {
        let session = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let seat = Seat::new(session, client.clone(), Origin::of(client), durable);
        let sat = seat.claim(address);
        debug_assert!(sat, "a new seat is vacant");
        seat
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
        if self.entries.remove_if(&seat.client, |_, entered| Arc::ptr_eq(&entered.seat, seat)).is_none() {
            return;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        if self.removed.fetch_add(1, Ordering::Relaxed) % LOOKED_AT_EVERY == LOOKED_AT_EVERY - 1 {
            self.shrink();
        }
    }

    /// Gives back what a peak has left. Each part of the table is locked for as long as it takes to move what is in it.
    fn shrink(&self) {
        if self.entries.len() < self.entries.capacity() / USED_MIN {
            self.entries.shrink_to_fit();
        }
    }

    /// Puts a recovered session in, vacant, whether or not there is room: it was promised. Its number is never given out again.
    pub fn insert_recovered(&self, session: SessionId, client: ClientId, owner: Option<Arc<str>>) -> Arc<Seat> {
        self.next_session.fetch_max(session.following().0, Ordering::Relaxed);
        let seat = Seat::new(session, client.clone(), Origin::of(&client), true);
        if self.entries.insert(client, Entered { seat: Arc::clone(&seat), owner }).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        seat
    }

    /// No session gets a number up to this one: rows of an ended session that had it may be left, and are being removed.
    pub fn reserve(&self, last: SessionId) {
        self.next_session.fetch_max(last.0 + 1, Ordering::Relaxed);
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
        self.count.load(Ordering::Relaxed)
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

    fn wish<'a>(client: &'a ClientId, owner: Option<&'a Arc<str>>) -> Wish<'a> {
        Wish { client, owner, clean_start: false, durable: true, room: Room::Needed }
    }

    fn anew<'a>(client: &'a ClientId, owner: Option<&'a Arc<str>>) -> Wish<'a> {
        Wish { clean_start: true, ..wish(client, owner) }
    }

    #[test]
    fn a_saved_session_is_resumed_by_its_owner_only() {
        let directory = Directory::new();
        let (client, alice, bob) = (ClientId::new("phone"), Arc::<str>::from("alice"), Arc::<str>::from("bob"));
        let Claim::Fresh(seat) = directory.claim(wish(&client, Some(&alice)), at(1)) else { panic!("fresh") };
        assert!(matches!(directory.claim(wish(&client, Some(&alice)), at(2)), Claim::Busy { .. }));
        assert!(matches!(directory.claim(anew(&client, Some(&bob)), at(2)), Claim::NotYours));
        directory.leave(&seat, at(1), true);
        assert!(matches!(directory.claim(anew(&client, None), at(2)), Claim::NotYours));
        let Claim::Resumed(again) = directory.claim(wish(&client, Some(&alice)), at(2)) else { panic!("saved") };
        assert!(Arc::ptr_eq(&again, &seat));
        directory.leave(&seat, at(2), true);
        let Claim::Replaced { old, fresh } = directory.claim(anew(&client, Some(&alice)), at(3)) else {
            panic!("clean start")
        };
        assert!(Arc::ptr_eq(&old, &seat) && fresh.session > old.session);
        directory.remove(&old);
        assert_eq!(directory.len(), 1, "the name is another session's by now");
    }

    #[test]
    fn a_peak_leaves_no_large_table_behind() {
        const PEAK: u32 = 100_000;
        let directory = Directory::new();
        let enter = |n: u32| match directory.claim(anew(&ClientId::new(&n.to_string()), None), at(n)) {
            Claim::Fresh(seat) => seat,
            other => panic!("{other:?}"),
        };
        let seats: Vec<_> = (0..PEAK).map(enter).collect();
        let peak = directory.entries.capacity();
        seats.iter().skip(10).for_each(|seat| directory.remove(seat));
        let left = directory.entries.capacity();
        assert!(peak >= PEAK as usize && left < peak / 8, "{left} places of {peak}");
        assert_eq!(directory.len(), 10);
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
                        let wish = Wish { clean_start: n % 3 == 0, durable: n % 2 == 0, ..wish(client, None) };
                        let seat = match directory.claim(wish, address) {
                            Claim::Fresh(seat) | Claim::Resumed(seat) | Claim::Replaced { fresh: seat, .. } => seat,
                            Claim::Busy { .. } | Claim::NotYours => continue,
                            Claim::Full => panic!("there is no bound"),
                        };
                        assert_eq!(seated.fetch_add(1, Ordering::SeqCst), 0, "two sit on one name");
                        seated.fetch_sub(1, Ordering::SeqCst);
                        directory.leave(&seat, address, seat.is_durable());
                    }
                });
            }
        });
    }

    #[test]
    fn a_full_directory_takes_back_who_has_a_session_and_refuses_who_has_none() {
        let directory = Directory::bounded(2);
        let [a, b, c] = ["a", "b", "c"].map(ClientId::new);
        let Claim::Fresh(kept) = directory.claim(wish(&a, None), at(1)) else { panic!("room for two") };
        let Claim::Fresh(brief) = directory.claim(Wish { durable: false, ..wish(&b, None) }, at(2)) else {
            panic!("room for two")
        };
        assert!(matches!(directory.claim(wish(&c, None), at(3)), Claim::Full));
        assert!(matches!(directory.claim(wish(&b, None), at(3)), Claim::Busy { .. }), "taking over needs no room");
        directory.leave(&kept, at(1), true);
        assert!(matches!(directory.claim(wish(&a, None), at(4)), Claim::Resumed(_)));
        directory.leave(&kept, at(4), true);
        let Claim::Replaced { old, .. } = directory.claim(anew(&a, None), at(5)) else { panic!("it is saved") };
        directory.remove(&old);
        assert_eq!(directory.len(), 2, "the name is another session's by now");
        // Who made somebody leave does not lose to a newcomer that was quicker.
        directory.leave(&brief, at(2), false);
        assert!(matches!(directory.claim(wish(&c, None), at(3)), Claim::Fresh(_)));
        assert!(matches!(directory.claim(wish(&b, None), at(6)), Claim::Full));
        assert!(matches!(directory.claim(Wish { room: Room::Promised, ..wish(&b, None) }, at(6)), Claim::Fresh(_)));
        assert_eq!(directory.len(), 3);
    }

    #[test]
    fn recovered_sessions_are_let_in_above_the_bound_and_count() {
        let directory = Directory::bounded(1);
        for number in 1..=3 {
            directory.insert_recovered(SessionId(number), ClientId::new(&format!("c{number}")), None);
        }
        let seat = directory.insert_recovered(SessionId(4), ClientId::new("c3"), None);
        assert_eq!(directory.len(), 3);
        directory.remove(&seat);
        directory.remove(&seat);
        assert_eq!(directory.len(), 2);
        assert!(matches!(directory.claim(wish(&ClientId::new("new"), None), at(1)), Claim::Full));
        assert!(matches!(directory.claim(wish(&ClientId::new("c1"), None), at(1)), Claim::Resumed(_)));
    }

    #[test]
    fn claims_that_race_for_the_last_room_get_it_once() {
        let directory = Directory::bounded(10);
        let fresh = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (directory, fresh) = (&directory, &fresh);
                scope.spawn(move || {
                    for n in 0..100 {
                        let client = ClientId::new(&format!("{thread}-{n}"));
                        let address = Address { core: thread, slot: n, generation: 1 };
                        if let Claim::Fresh(_) = directory.claim(wish(&client, None), address) {
                            fresh.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!((fresh.into_inner(), directory.len()), (10, 10));
    }
}
