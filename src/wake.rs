//! One bell for mail, disk and orders alike.
//!
//! A leaf: imports nothing of ours. Whoever waits gives a [`Wake`] away; whoever has news rings it, from any thread, without
//! learning who listens.

use std::fmt;
use std::sync::Arc;

/// Wakes one waiting core. Cheap to clone; ringing twice is as good as once.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    /// A bell that calls `ring`.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(ring))
    }

    /// A bell nobody hears, for who looks by himself.
    pub fn silent() -> Self {
        Self::new(|| {})
    }

    /// Rings it.
    pub fn ring(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
