//! What comes due beyond connections: delayed wills and the end of sessions whose client does not return.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::seat::Seat;
use crate::clock::Moment;
use crate::identity::SessionId;
use crate::store::record::LaterWill;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// What is handed out at once: a great many sessions that end at one moment do not stop a core.
const DUE_MAX: usize = 1024;
/// Entries that find nothing are cleared out when there are this many, and more than those that find something.
const STALE_MAX: usize = 64;
/// Tables give memory back when less than an eighth of them is used, but not below this many places.
const SHRINK_ABOVE: usize = 1024;

/// Something whose moment has come.
#[derive(Debug)]
pub enum Due {
    /// Publish this will.
    Will {
        /// Whose it was.
        seat: Arc<Seat>,
        /// The user it belongs to, to be asked again what he may do; `None` = anonymous.
        owner: Option<Arc<str>>,
        /// The will.
        will: LaterWill,
    },
    /// End this session.
    SessionEnds {
        /// Its seat; what [`Later::due`] hands out is closed for good.
        seat: Arc<Seat>,
    },
}

impl Due {
    fn seat(&self) -> &Arc<Seat> {
        match self {
            Due::Will { seat, .. } | Due::SessionEnds { seat } => seat,
        }
    }
}

/// A will that is put down for later, and the user it belongs to.
pub type Owned = (Option<Arc<str>>, LaterWill);

/// What is put down for one session. There may be one for each session: a will, which is large and rare, lies elsewhere.
#[derive(Debug, Default)]
struct Planned {
    will: Option<Box<(Moment, Arc<Seat>, Owned)>>,
    ends: Option<(Moment, Arc<Seat>)>,
}

#[derive(Debug, Default)]
struct Plans {
    by_session: HashMap<SessionId, Planned, foldhash::fast::RandomState>,
    /// When to look at which session. Entries of sessions that came back find nothing, until [`Plans::clear_out`].
    heap: BinaryHeap<Reverse<(Moment, SessionId)>>,
}

impl Plans {
    fn remove(&mut self, session: SessionId) -> Option<Planned> {
        let planned = self.by_session.remove(&session);
        self.clear_out();
        self.shrink();
        planned
    }

    /// Gives back what a peak has left.
    fn shrink(&mut self) {
        let is_sparse = |places: usize, used: usize| places > SHRINK_ABOVE && used < places / 8;
        if is_sparse(self.by_session.capacity(), self.by_session.len()) {
            self.by_session.shrink_to(self.by_session.len() * 2);
        }
        if is_sparse(self.heap.capacity(), self.heap.len()) {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }

    /// Clients that come and go leave an entry each time, which may lie far ahead: no more of those than of others.
    fn clear_out(&mut self) {
        if self.heap.len() > STALE_MAX + 4 * self.by_session.len() {
            let moments = |(session, planned): (&SessionId, &Planned)| {
                let will = planned.will.as_ref().map(|will| Reverse((will.0, *session)));
                [will, planned.ends.as_ref().map(|(at, _)| Reverse((*at, *session)))]
            };
            self.heap = self.by_session.iter().flat_map(moments).flatten().collect();
        }
    }
}

/// Deadlines of sessions without a connection.
#[derive(Debug)]
pub struct Later {
    /// A mutex: touched when a session is left or resumed, never by a message.
    plans: Mutex<Plans>,
    /// The earliest moment in the heap, milliseconds; `u64::MAX` = none.
    next_ms: AtomicU64,
}

impl Default for Later {
    fn default() -> Self {
        Self { plans: Mutex::default(), next_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Later {
    /// Nothing planned.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `due` down for `at`.
    pub fn add(&self, at: Moment, due: Due) {
        let mut plans = self.plans.lock();
        let session = due.seat().session;
        let planned = plans.by_session.entry(session).or_default();
        match due {
            Due::Will { seat, owner, will } => planned.will = Some(Box::new((at, seat, (owner, will)))),
            Due::SessionEnds { seat } => planned.ends = Some((at, seat)),
        }
        plans.heap.push(Reverse((at, session)));
        plans.clear_out();
        self.publish_next(&plans);
    }

    /// The client came back: its will and its end are called off [MQTT-3.1.3-9]. The will is handed out, for a client that goes again
    /// before it was let in.
    pub fn returned(&self, session: SessionId) -> Option<Owned> {
        self.ended(session)
    }

    /// The session is ended now: nothing is planned for it any more; a will that was still to come is handed out.
    pub fn ended(&self, session: SessionId) -> Option<Owned> {
        let planned = self.plans.lock().remove(session)?;
        planned.will.map(|will| will.2)
    }

    /// When to ask [`Later::due`] next.
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.next_ms.load(Ordering::Acquire) {
            u64::MAX => None,
            ms => Some(Moment::from_ms(ms)),
        }
    }

    /// Everything whose moment has come, wills before the ends of their sessions. Of very much a part: then
    /// [`Later::next_deadline`] stays in the past.
    ///
    /// A client that is just coming back has its seat, and then nothing ends; or it finds the seat closed and begins anew. The seat is
    /// closed while the plans are locked: who takes it calls off what was planned before it leaves it again, so one that is vacant
    /// was not taken since its end was put down.
    pub fn due(&self, now: Moment) -> Vec<Due> {
        if self.next_deadline().is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut plans = self.plans.lock();
        let mut found = Vec::new();
        while let Some(Reverse((at, session))) = plans.heap.peek().copied() {
            if at > now || found.len() >= DUE_MAX {
                break;
            }
            plans.heap.pop();
            let Some(planned) = plans.by_session.get_mut(&session) else { continue };
            if let Some(will) = planned.will.take_if(|will| will.0 <= now) {
                let (_, seat, (owner, will)) = *will;
                found.push(Due::Will { seat, owner, will });
            }
            if let Some((_, seat)) = planned.ends.take_if(|(at, _)| *at <= now)
                && seat.retire()
            {
                found.push(Due::SessionEnds { seat });
            }
            if planned.will.is_none() && planned.ends.is_none() {
                plans.by_session.remove(&session);
            }
        }
        plans.shrink();
        self.publish_next(&plans);
        found
    }

    fn publish_next(&self, plans: &Plans) {
        let next = plans.heap.peek().map_or(u64::MAX, |Reverse((at, _))| at.as_ms());
        self.next_ms.store(next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::seat::Address;
    use crate::identity::{ClientId, Origin};
    use crate::mqtt::{QoS, Will};
    use bytes::Bytes;

    fn seat(number: u64) -> Arc<Seat> {
        Seat::new(SessionId(number), ClientId::new("c"), Origin(1), true)
    }

    fn will() -> LaterWill {
        let will = Will {
            topic: "w".into(),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_s: 2,
            expiry_s: None,
            properties: Bytes::new(),
        };
        LaterWill { will, due_wall_ms: 0 }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_ms(ms)
    }

    #[test]
    fn what_is_put_down_for_a_session_without_a_will_is_small() {
        assert!(size_of::<Planned>() <= 24, "{} bytes for each session that may end", size_of::<Planned>());
    }

    #[test]
    fn mqtt_3_1_2_8_the_will_comes_at_its_delay_and_the_end_at_its_own_time() {
        let later = Later::new();
        later.add(at(5_000), Due::SessionEnds { seat: seat(1) });
        later.add(at(2_000), Due::Will { seat: seat(1), owner: None, will: will() });
        assert_eq!(later.next_deadline(), Some(at(2_000)));
        assert!(later.due(at(1_999)).is_empty());
        assert!(matches!(later.due(at(2_000))[..], [Due::Will { .. }]));
        assert!(matches!(later.due(at(5_000))[..], [Due::SessionEnds { .. }]));
        assert_eq!(later.next_deadline(), None);
    }

    #[test]
    fn a_peak_leaves_no_large_tables_behind() {
        const PEAK: u64 = 20_000;
        let later = Later::new();
        (0..PEAK).for_each(|n| later.add(at(5_000), Due::Will { seat: seat(n), owner: None, will: will() }));
        let is_small = || {
            let plans = later.plans.lock();
            plans.by_session.capacity() <= SHRINK_ABOVE * 2 && plans.heap.capacity() <= SHRINK_ABOVE * 2
        };
        assert!(!is_small());
        while !later.due(at(5_000)).is_empty() {}
        assert!(is_small(), "what was due has gone");
        (0..PEAK).for_each(|n| later.add(at(5_000), Due::Will { seat: seat(n), owner: None, will: will() }));
        for n in 0..PEAK {
            later.returned(SessionId(n));
        }
        assert!(is_small(), "what was called off has gone, whenever it would have been due");
    }

    #[test]
    fn mqtt_3_1_3_9_a_client_that_returns_calls_everything_off() {
        let later = Later::new();
        later.add(at(10), Due::Will { seat: seat(1), owner: None, will: will() });
        later.add(at(20), Due::SessionEnds { seat: seat(1) });
        later.returned(SessionId(1));
        later.add(at(40), Due::SessionEnds { seat: seat(1) });
        assert!(later.due(at(39)).is_empty(), "what was called off does not come back");
        assert!(matches!(later.due(at(40))[..], [Due::SessionEnds { .. }]));
    }

    #[test]
    fn a_session_whose_client_is_just_coming_back_does_not_end() {
        let (later, taken, vacant) = (Later::new(), seat(1), seat(2));
        for seat in [&taken, &vacant] {
            later.add(at(10), Due::SessionEnds { seat: Arc::clone(seat) });
        }
        let address = Address { core: 0, slot: 1, generation: 1 };
        assert!(taken.claim(address));
        assert!(matches!(&later.due(at(10))[..], [Due::SessionEnds { seat }] if Arc::ptr_eq(seat, &vacant)));
        assert!(!vacant.claim(address), "closed");
    }

    #[test]
    fn a_session_that_ends_early_hands_its_will_out_once() {
        let later = Later::new();
        later.add(at(10), Due::Will { seat: seat(1), owner: None, will: will() });
        assert!(later.ended(SessionId(1)).is_some());
        assert!(later.ended(SessionId(1)).is_none());
        assert!(later.due(at(10)).is_empty());
    }

    #[test]
    fn clients_that_come_and_go_leave_nothing_behind() {
        let later = Later::new();
        later.add(at(7_000), Due::SessionEnds { seat: seat(9) });
        for n in 0..10_000 {
            later.add(at(1_000_000 + n), Due::SessionEnds { seat: seat(1 + n % 5) });
            later.add(at(1_000_000 + n), Due::Will { seat: seat(1 + n % 5), owner: None, will: will() });
            later.returned(SessionId(1 + n % 5));
        }
        assert!(later.plans.lock().heap.len() < 100);
        assert_eq!(later.next_deadline(), Some(at(7_000)));
        assert!(matches!(later.due(at(7_000))[..], [Due::SessionEnds { .. }]));
    }

    #[test]
    fn very_many_ends_come_in_parts() {
        let later = Later::new();
        let count = DUE_MAX * 2 + 1;
        (0..count as u64).for_each(|n| later.add(at(10), Due::SessionEnds { seat: seat(n) }));
        let mut parts = Vec::new();
        while later.next_deadline().is_some_and(|next| next <= at(20)) {
            parts.push(later.due(at(20)).len());
        }
        assert_eq!(parts, [DUE_MAX, DUE_MAX, 1]);
    }
}
