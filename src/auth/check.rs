//! Checking passwords without stopping anybody: a bounded number at a time on the blocking pool, a bounded number
//! waiting, and a memory of those that were right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::{Argon2, PasswordVerifier as _};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::password::random;
use crate::mqtt::ReasonCode;

/// Questions that may wait. At some tens of milliseconds each, those behind would wait longer than a client does.
const WAITING_MAX: usize = 512;
/// A question older than this is not worth an answer: its client has gone.
const WORTHLESS_AFTER: Duration = Duration::from_secs(10);

/// A password, and what it is checked against.
pub(super) struct Question {
    pub(super) user: Box<str>,
    pub(super) password: Box<[u8]>,
    pub(super) hash: Arc<str>,
}

/// Answers questions.
pub(super) struct Checker {
    runtime: Handle,
    /// A place for each question that is checked or waits.
    places: Arc<Semaphore>,
    /// A turn for each that is checked: half the CPUs, so that hashing never takes all of them from the cores.
    turns: Arc<Semaphore>,
    right: Arc<Right>,
}

impl Checker {
    pub(super) fn new(runtime: Handle) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            runtime,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            turns: Arc::new(Semaphore::new(cpus.div_ceil(2))),
            right: Arc::new(Right::new()),
        }
    }

    /// Forgets every password that was right.
    pub(super) fn forget(&self) {
        self.right.forget();
    }

    /// Calls `answer` once: at once if the password was right before or too many wait, else from the pool.
    pub(super) fn check(&self, question: Question, answer: impl FnOnce(Result<(), ReasonCode>) + Send + 'static) {
        let tag = self.right.tag(&question);
        if self.right.remembers(&question.user, &tag) {
            return answer(Ok(()));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return answer(Err(ReasonCode::ServerBusy));
        };
        let (turns, right, asked) = (Arc::clone(&self.turns), Arc::clone(&self.right), Instant::now());
        self.runtime.spawn(async move {
            let turn = turns.acquire_owned().await;
            if asked.elapsed() > WORTHLESS_AFTER {
                return answer(Err(ReasonCode::ServerBusy));
            }
            tokio::task::spawn_blocking(move || {
                let known = Argon2::default().verify_password(&question.password, &*question.hash).is_ok();
                // Given back before the answer, so that who is answered finds a place for the next question.
                drop((turn, place));
                if known {
                    right.remember(question.user, tag);
                }
                answer(if known { Ok(()) } else { Err(ReasonCode::BadUserNameOrPassword) });
            });
        });
    }
}

/// The last right password of each user, as a hash under a key that lives only in this process. When a hundred thousand
/// clients come back at once, they are recognised in a microsecond each instead of some tens of milliseconds.
struct Right {
    key: hmac::Key,
    /// Guards a map that is bounded by the password file, since only known users can be right. Held for one look-up.
    tags: Mutex<HashMap<Box<str>, hmac::Tag>>,
}

impl Right {
    fn new() -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>());
        Self { key, tags: Mutex::new(HashMap::new()) }
    }

    /// Depends on the stored hash as well, so that a changed password makes it worthless.
    fn tag(&self, question: &Question) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [question.user.as_bytes(), question.hash.as_bytes(), &question.password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }

    fn remembers(&self, user: &str, tag: &hmac::Tag) -> bool {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.get(user).is_some_and(|right| verify_slices_are_equal(right.as_ref(), tag.as_ref()).is_ok())
    }

    fn remember(&self, user: Box<str>, tag: hmac::Tag) {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).insert(user, tag);
    }

    fn forget(&self) {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
