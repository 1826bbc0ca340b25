//! Shared Subscriptions: of all members of a group, one gets the message.

use std::sync::Arc;

use super::index::Interest;
use super::subscribers::{Member, Roster};
use crate::identity::SessionId;
use crate::mqtt::QoS;
use crate::sync::{AtomicU32, Ordering};

/// Members looked at in turn for one message. Who is not connected is durable, so in a larger group where nobody of so many
/// is connected, nor whoever was connected last, the message waits for one of them.
const LOOKED_AT_MAX: usize = 256;

/// The members of one Shared Subscription: one ShareName and one filter.
#[derive(Debug)]
pub(super) struct Group {
    /// The filter as its members wrote it, `$share/ShareName/` included.
    text: Arc<str>,
    roster: Roster,
    /// Whose turn it is.
    next: AtomicU32,
    /// Where a connected member was found last.
    seen: AtomicU32,
}

impl Group {
    /// A group without members.
    pub(super) fn new(share: &str, filter: &str) -> Self {
        let text = ["$share/", share, "/", filter].concat();
        Self { text: text.into(), roster: Roster::default(), next: AtomicU32::new(0), seen: AtomicU32::new(0) }
    }

    /// The filter as its members wrote it.
    pub(super) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Adds a member, or replaces the same session's. Whether it is new.
    pub(super) fn add(&mut self, member: Member) -> bool {
        self.roster.add(member)
    }

    /// Takes a session out. Whether it was a member.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        self.roster.remove(session)
    }

    /// Whether there is no member.
    pub(super) fn is_empty(&self) -> bool {
        self.roster.members().is_empty()
    }

    /// The member that gets the next message: the next one in turn that is connected; if none is, one whose session keeps
    /// the message until its client returns. Nobody else gets that message, even if the member refuses it
    /// [MQTT-4.8.2-6] or its session ends first [MQTT-4.8.2-5].
    ///
    /// Two cores at once may choose the same member: each message still goes to exactly one.
    pub(super) fn choose(&self) -> Option<&Member> {
        let members = self.roster.members();
        let (count, looked_at) = (members.len().max(1), members.len().min(LOOKED_AT_MAX));
        let start = self.next.load(Ordering::Relaxed) as usize % count;
        let (before, from) = members.split_at(start);
        let in_turn = || from.iter().chain(before).take(looked_at);
        if let Some(passed) = in_turn().position(is_connected) {
            let at = (start + passed) % count;
            self.seen.store(at as u32, Ordering::Relaxed);
            self.next.store((at + 1) as u32, Ordering::Relaxed);
            return members.get(at);
        }
        // In a large group the next search goes on behind this one.
        let step = if looked_at < members.len() { looked_at } else { 1 };
        self.next.store(((start + step) % count) as u32, Ordering::Relaxed);
        let seen = members.get(self.seen.load(Ordering::Relaxed) as usize).filter(|member| is_connected(member));
        seen.or_else(|| in_turn().find(|member| keeps(member)))
            .or_else(|| in_turn().find(|member| member.seat.is_durable()))
    }
}

fn is_connected(member: &Member) -> bool {
    member.seat.address().is_some()
}

/// Whether messages above QoS 0 wait for it while it is away.
fn keeps(member: &Member) -> bool {
    member.seat.is_durable() && Interest::from(member.interest).qos > QoS::AtMostOnce
}
