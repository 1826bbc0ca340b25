//! Who has one filter: most often one session, sometimes half a million.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::{HashMap, HashTable};

use super::index::{Added, Interest, Match};
use super::seat::Seat;
use super::share::Group;
use crate::identity::SessionId;
use crate::mqtt::QoS;

/// Above this many members a roster keeps places by session.
const SEARCHED_MAX: usize = 32;
/// At or below this many members it lets them go again.
const SEARCHED_AGAIN: usize = 8;

/// A filter's table of Shared Subscriptions gives memory back above this many places.
const GROUPS_SPARE: usize = 64;

/// An [`Interest`] in one word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed(u32);

impl From<Interest> for Packed {
    fn from(interest: Interest) -> Self {
        let flags = u32::from(interest.no_local) << 2 | u32::from(interest.retain_as_published) << 3;
        // A Subscription Identifier has at most 28 bits on the wire.
        Self(interest.qos as u32 | flags | interest.subscription_id << 4)
    }
}

impl From<Packed> for Interest {
    fn from(Packed(word): Packed) -> Self {
        Interest {
            qos: QoS::from_bits(word as u8 & 3).unwrap_or_default(),
            no_local: word >> 2 & 1 == 1,
            retain_as_published: word >> 3 & 1 == 1,
            subscription_id: word >> 4,
        }
    }
}

/// One session and how it wants it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) seat: Arc<Seat>,
    pub(super) interest: Packed,
}

impl Member {
    pub(super) fn new(seat: &Arc<Seat>, interest: Interest) -> Self {
        Self { seat: Arc::clone(seat), interest: interest.into() }
    }

    fn as_match(&self) -> Match<'_> {
        Match { seat: &self.seat, interest: self.interest.into(), shared: false }
    }
}

/// Members, each session once, iterated as a list. Adding and removing one costs the same for a large roster as for a small.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: Vec<Member>,
    /// Where each session stands in the list. Sessions' numbers are the broker's own: no secret hash is needed.
    places: Option<HashTable<u32>>,
}

fn hash(session: SessionId) -> u64 {
    FixedState::default().hash_one(session)
}

impl Roster {
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    fn place(&self, session: SessionId) -> Option<usize> {
        match &self.places {
            None => self.members.iter().position(|member| member.seat.session == session),
            Some(places) => {
                let same = |at: &u32| self.members[*at as usize].seat.session == session;
                places.find(hash(session), same).map(|at| *at as usize)
            }
        }
    }

    /// Adds a member, or replaces the same session's. Whether it is new.
    pub(super) fn add(&mut self, member: Member) -> bool {
        let session = member.seat.session;
        if let Some(at) = self.place(session) {
            self.members[at] = member;
            return false;
        }
        self.members.push(member);
        let members = &self.members;
        let hash_of = |at: &u32| hash(members[*at as usize].seat.session);
        if let Some(places) = &mut self.places {
            places.insert_unique(hash(session), (members.len() - 1) as u32, hash_of);
        } else if members.len() > SEARCHED_MAX {
            let mut places = HashTable::with_capacity(members.len() * 2);
            for at in 0..members.len() as u32 {
                places.insert_unique(hash_of(&at), at, hash_of);
            }
            self.places = Some(places);
        }
        true
    }

    /// Takes a session out; the last member takes its place.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        let Some(at) = self.place(session) else { return false };
        let last = self.members.len() - 1;
        if let Some(places) = &mut self.places {
            if let Ok(entry) = places.find_entry(hash(session), |place| *place as usize == at) {
                entry.remove();
            }
            let moved = hash(self.members[last].seat.session);
            if let Some(place) = places.find_mut(moved, |place| *place as usize == last) {
                *place = at as u32;
            }
        }
        self.members.swap_remove(at);
        self.shrink();
        true
    }

    fn shrink(&mut self) {
        if self.members.len() <= SEARCHED_AGAIN {
            self.places = None;
        }
        if self.members.len() < self.members.capacity() / 4 {
            self.members.shrink_to(self.members.len() * 2);
            let members = &self.members;
            if let Some(places) = &mut self.places {
                places.shrink_to(members.len() * 2, |at| hash(members[*at as usize].seat.session));
            }
        }
    }
}

/// More than one session, or a Shared Subscription.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    roster: Roster,
    /// By ShareName. There may be as many as there are subscriptions.
    groups: HashMap<Box<str>, Group, RandomState>,
}

/// Who has a filter. Sixteen bytes while it is one session, which is the case that there are half a million of.
#[derive(Debug, Default)]
pub(super) enum Subscribers {
    /// Nobody: about to be added to, or to be removed.
    #[default]
    Nobody,
    /// One session, without a Shared Subscription.
    One { interest: Packed, seat: Arc<Seat> },
    /// Anything else.
    Many(Box<Crowd>),
}

impl Subscribers {
    /// Adds a session, or replaces its interest. Whether it is new.
    pub(super) fn add(&mut self, seat: &Arc<Seat>, interest: Interest) -> bool {
        let before = match self {
            Subscribers::Nobody => None,
            Subscribers::One { seat: one, .. } => Some(one.session),
            Subscribers::Many(crowd) => return crowd.roster.add(Member::new(seat, interest)),
        };
        if before.is_some_and(|session| session != seat.session) {
            return self.crowd().roster.add(Member::new(seat, interest));
        }
        *self = Subscribers::One { interest: interest.into(), seat: Arc::clone(seat) };
        before.is_none()
    }

    /// Takes a session out. Whether it was there.
    pub(super) fn remove(&mut self, seat: &Arc<Seat>) -> bool {
        match self {
            Subscribers::Nobody => false,
            Subscribers::One { seat: one, .. } => {
                let there = one.session == seat.session;
                if there {
                    *self = Subscribers::Nobody;
                }
                there
            }
            Subscribers::Many(crowd) => {
                let there = crowd.roster.remove(seat.session);
                self.settle();
                there
            }
        }
    }

    /// Makes a session a member of the Shared Subscription `$share/{share}/{filter}`, or replaces its interest.
    pub(super) fn join(&mut self, share: &str, filter: &str, seat: &Arc<Seat>, interest: Interest) -> Added {
        let group = self.crowd().groups.entry(Box::from(share)).or_insert_with(|| Group::new(share, filter));
        Added { new: group.add(Member::new(seat, interest)), filter: group.text() }
    }

    /// Ends a session's membership. Whether it was a member.
    pub(super) fn leave(&mut self, share: &str, seat: &Arc<Seat>) -> bool {
        let Subscribers::Many(crowd) = self else { return false };
        let Some(group) = crowd.groups.get_mut(share) else { return false };
        let there = group.remove(seat.session);
        if group.is_empty() {
            crowd.groups.remove(share);
            if crowd.groups.capacity() > GROUPS_SPARE && crowd.groups.len() < crowd.groups.capacity() / 8 {
                crowd.groups.shrink_to(crowd.groups.len() * 2);
            }
        }
        self.settle();
        there
    }

    /// Whether nobody is left.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Subscribers::Nobody)
    }

    /// Calls `found` with every session, and with one member of each Shared Subscription.
    pub(super) fn for_each(&self, found: &mut impl FnMut(Match<'_>)) {
        match self {
            Subscribers::Nobody => {}
            Subscribers::One { interest, seat } => found(Match { seat, interest: (*interest).into(), shared: false }),
            Subscribers::Many(crowd) => {
                crowd.roster.members().iter().for_each(|member| found(member.as_match()));
                for member in crowd.groups.values().filter_map(Group::choose) {
                    found(Match { shared: true, ..member.as_match() });
                }
            }
        }
    }

    /// Has room for more than one.
    fn crowd(&mut self) -> &mut Crowd {
        if !matches!(self, Subscribers::Many(_)) {
            let mut crowd = Box::<Crowd>::default();
            if let Subscribers::One { interest, seat } = std::mem::take(self) {
                crowd.roster.add(Member { seat, interest });
            }
            *self = Subscribers::Many(crowd);
        }
        match self {
            Subscribers::Many(crowd) => crowd,
            Subscribers::Nobody | Subscribers::One { .. } => unreachable!("it was made a crowd above"),
        }
    }

    /// Takes the smallest form again.
    fn settle(&mut self) {
        let Subscribers::Many(crowd) = self else { return };
        if !crowd.groups.is_empty() {
            return;
        }
        match crowd.roster.members() {
            [] => *self = Subscribers::Nobody,
            [one] => *self = Subscribers::One { interest: one.interest, seat: Arc::clone(&one.seat) },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClientId, Origin};

    #[test]
    fn one_subscriber_costs_sixteen_bytes() {
        assert_eq!(size_of::<Subscribers>(), 16);
        assert_eq!(size_of::<Member>(), 16);
    }

    #[test]
    fn an_interest_survives_packing() {
        for bits in 0..12u8 {
            let interest = Interest {
                qos: QoS::from_bits(bits % 3).unwrap(),
                no_local: bits & 4 > 0,
                retain_as_published: bits & 8 > 0,
                subscription_id: 268_435_455 - u32::from(bits),
            };
            assert_eq!(Interest::from(Packed::from(interest)), interest);
        }
    }

    #[test]
    fn a_roster_knows_its_members_whatever_its_size() {
        let seats: Vec<_> = (0..500).map(|n| Seat::new(SessionId(n), ClientId::new("c"), Origin(1), true)).collect();
        let interest =
            Interest { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, subscription_id: 0 };
        let mut roster = Roster::default();
        assert!(seats.iter().all(|seat| roster.add(Member::new(seat, interest))));
        assert!(seats.iter().all(|seat| !roster.add(Member::new(seat, interest))));
        // Every third, then from the end, so that members move in every way.
        let order = (0..500).step_by(3).chain((0..500).rev().filter(|n| n % 3 > 0));
        for (gone, n) in order.enumerate() {
            assert!(roster.remove(SessionId(n)) && !roster.remove(SessionId(n)));
            assert_eq!(roster.members().len(), 499 - gone);
            for (at, member) in roster.members().iter().enumerate().step_by(17) {
                assert_eq!(roster.place(member.seat.session), Some(at));
            }
        }
        assert!(roster.places.is_none());
    }
}
