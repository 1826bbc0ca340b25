//! Mail for a core: from other cores, the store and tokio.

use std::sync::Arc;

use crate::access::Permissions;
use crate::broker::plan::Target;
use crate::broker::seat::{Address, Seat};
use crate::identity::{Identity, Ticket};
use crate::message::Message;
use crate::mqtt::ReasonCode;
use crate::session::{Page, Saved};
use crate::store::Level;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};
use crate::wake::Wake;

/// One letter.
#[derive(Debug)]
pub enum Mail {
    /// A message for clients of this core.
    Deliver {
        /// The message.
        message: Arc<Message>,
        /// Its place in the durable recipients' queues.
        ticket: Ticket,
        /// Who gets it.
        targets: Vec<Target>,
    },
    /// Somebody connected with the Client Identifier of the client at `at`: end it, then tell the claimant.
    TakeOver {
        /// Whom to end.
        at: Address,
        /// Where it sits, to be free then.
        seat: Arc<Seat>,
        /// Whether the newcomer drops the session.
        clean_start: bool,
        /// Who waits.
        claimant: Address,
        /// What the newcomer's listener keeps session state at.
        level: Level,
    },
    /// The seat that `claimant` waits for may be free: claim again.
    Vacated {
        /// Who waited.
        claimant: Address,
        /// The record with which the session there ended, if it did: whoever begins anew says so only once that is durable.
        ended: Ticket,
    },
    /// Credentials were checked.
    Identity {
        /// Who asked.
        at: Address,
        /// Who it is, or why it is refused.
        answer: Result<(Identity, Arc<Permissions>), ReasonCode>,
    },
    /// A saved session was read.
    Loaded {
        /// Who asked.
        at: Address,
        /// The session.
        saved: Saved,
    },
    /// A part of a queue was read.
    Page {
        /// Who asked.
        at: Address,
        /// The part.
        page: Page,
    },
    /// A core has much for this one, and wants to be told when everything before this letter was taken in.
    AskRoom {
        /// Which core asks.
        from: u8,
    },
    /// The core `at` has taken in what was there when this one asked.
    Room {
        /// Which core answers.
        at: u8,
    },
    /// The store's durable mark has moved.
    Durable,
    /// A deadline beyond connections was set: look at it.
    Nudge,
    /// Rules or users changed: ask again what each client may do.
    Reloaded,
    /// Say good-bye to everybody and end.
    Stop,
}

/// What a letter counts for besides its message: about what it, its list of targets and the message's frame hold. So a bound on
/// bytes bounds the number of letters, too.
const LETTER_BYTES: usize = 512;

impl Mail {
    /// Bytes this letter counts for among what waits for a core. Only deliveries count; there is at most one letter of any other
    /// kind per connection, session or core.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Mail::Deliver { message, targets, .. } => {
                LETTER_BYTES + message.bytes() + targets.len() * size_of::<Target>()
            }
            _ => 0,
        }
    }
}

/// Letters waiting for one core. It takes whatever comes: its writers look at [`Inbox::waiting_bytes`] and stop reading
/// publishers in time (`outbox.rs`).
#[derive(Debug)]
pub struct Inbox {
    /// A mutex and not a channel: the reader takes everything at once by swapping vectors.
    mail: Mutex<Vec<Mail>>,
    /// Bytes of what is in `mail`. Changed under its lock, looked at without: who looks needs no more than about how much.
    waiting: AtomicUsize,
    /// Set by the reader before it sleeps; the first writer after that rings the bell.
    asleep: AtomicBool,
    wake: Wake,
}

impl Inbox {
    /// An empty inbox whose reader is woken by `wake`.
    pub fn new(wake: Wake) -> Self {
        Self { mail: Mutex::new(Vec::new()), waiting: AtomicUsize::new(0), asleep: AtomicBool::new(false), wake }
    }

    /// Puts one letter in.
    pub fn post(&self, letter: Mail) {
        let bytes = letter.bytes();
        let mut mail = self.mail.lock();
        mail.push(letter);
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        drop(mail);
        self.ring();
    }

    /// Puts in that the store's mark has moved, unless that is the last letter already: a core that is slow has no use for
    /// being told of each commit.
    pub fn post_durable(&self) {
        let mut mail = self.mail.lock();
        if !matches!(mail.last(), Some(Mail::Durable)) {
            mail.push(Mail::Durable);
        }
        drop(mail);
        self.ring();
    }

    /// Puts all letters in, in order, and leaves `letters` empty. `bytes` is the sum of what they count for.
    pub(super) fn post_all(&self, letters: &mut Vec<Mail>, bytes: usize) {
        if letters.is_empty() {
            return;
        }
        let mut mail = self.mail.lock();
        mail.append(letters);
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        drop(mail);
        self.ring();
    }

    /// Bytes of deliveries that wait here: messages, lists of targets, and something for each letter.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.wake.ring();
        }
    }

    /// Takes everything out by swapping with the empty `into`.
    pub fn take(&self, into: &mut Vec<Mail>) {
        debug_assert!(into.is_empty());
        self.asleep.store(false, Ordering::SeqCst);
        let mut mail = self.mail.lock();
        std::mem::swap(&mut *mail, into);
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// Says that the reader is about to sleep. `false` if there is mail: do not sleep. Setting the flag before looking
    /// closes the gap in which a letter would lie unnoticed.
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.mail.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn the_bell_rings_once_and_only_for_a_sleeper() {
        let rung = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rung);
        let inbox = Inbox::new(Wake::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        inbox.post(Mail::Nudge);
        assert_eq!(rung.load(Ordering::SeqCst), 0, "nobody sleeps");
        assert!(!inbox.may_sleep(), "there is mail");
        let mut mail = Vec::new();
        inbox.take(&mut mail);
        assert_eq!(mail.len(), 1);
        assert!(inbox.may_sleep());
        inbox.post(Mail::Nudge);
        inbox.post(Mail::Nudge);
        assert_eq!(rung.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn commits_by_the_thousand_are_one_letter() {
        let inbox = Inbox::new(Wake::silent());
        (0..1000).for_each(|_| inbox.post_durable());
        inbox.post(Mail::Nudge);
        inbox.post_durable();
        let mut mail = Vec::new();
        inbox.take(&mut mail);
        assert_eq!(mail.len(), 3);
    }
}
