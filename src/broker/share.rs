//! Shared Subscriptions: of all members of a group, one gets the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::index::Interest;
use super::subscribers::{Member, Roster};
use crate::identity::SessionId;
use crate::mqtt::QoS;

/// Members looked at for one message. Who is not connected is durable, so in a larger group whose next members are all away
/// the message waits for one of them instead of being searched a connection for.
const LOOKED_AT_MAX: usize = 256;

/// The members of one Shared Subscription: one ShareName and one filter.
#[derive(Debug)]
pub(super) struct Group {
    /// The filter as its members wrote it, `$share/ShareName/` included.
    text: Arc<str>,
    share_len: usize,
    roster: Roster,
    /// Whose turn it is.
    next: AtomicU32,
}

const SHARE: &str = "$share/";

impl Group {
    /// A group without members.
    pub(super) fn new(share: &str, filter: &str) -> Self {
        let text = [SHARE, share, "/", filter].concat();
        Self { text: text.into(), share_len: share.len(), roster: Roster::default(), next: AtomicU32::new(0) }
    }

    /// Whether this is its ShareName.
    pub(super) fn is_named(&self, share: &str) -> bool {
        self.text.get(SHARE.len()..SHARE.len() + self.share_len) == Some(share)
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
    pub(super) fn choose(&self) -> Option<&Member> {
        let members = self.roster.members();
        let count = members.len();
        let start = self.next.load(Ordering::Relaxed) as usize % count.max(1);
        let (before, from) = members.split_at(start);
        let in_turn = || from.iter().chain(before).take(LOOKED_AT_MAX).enumerate();
        let connected = in_turn().find(|(_, member)| member.seat.address().is_some());
        let (passed, chosen) = connected.or_else(|| {
            let keeps =
                |member: &Member| member.seat.is_durable() && Interest::from(member.interest).qos > QoS::AtMostOnce;
            in_turn()
                .find(|(_, member)| keeps(member))
                .or_else(|| in_turn().find(|(_, member)| member.seat.is_durable()))
        })?;
        // Two cores at once may choose the same member: each message still goes to exactly one.
        self.next.store(((start + passed + 1) % count) as u32, Ordering::Relaxed);
        Some(chosen)
    }
}
