//! The plain integers a core counts in.

use super::catalogue::{Metric, SERIES};

/// One value for each series of the catalogue. Belongs to one core; nothing here is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    values: Box<[u64; SERIES]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { values: Box::new([0; SERIES]) }
    }
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// `n` more of this.
    #[inline]
    pub fn add(&mut self, metric: Metric, n: u64) {
        let value = &mut self.values[metric.index()];
        *value = value.wrapping_add(n);
    }

    /// `n` fewer of this gauge; never below 0.
    #[inline]
    pub fn subtract(&mut self, metric: Metric, n: u64) {
        let value = &mut self.values[metric.index()];
        *value = value.saturating_sub(n);
    }

    /// This gauge is now `value`. What all cores share (sessions, subscriptions, retained messages) is set by one of
    /// them, because the page shows the sum of all cores.
    #[inline]
    pub fn set(&mut self, metric: Metric, value: u64) {
        self.values[metric.index()] = value;
    }

    /// The value of one series.
    pub fn value(&self, metric: Metric) -> u64 {
        self.values[metric.index()]
    }

    /// All values, in the order of the catalogue.
    pub fn values(&self) -> &[u64; SERIES] {
        &self.values
    }

    /// Becomes a copy of `other` without allocating.
    pub(super) fn copy_from(&mut self, other: &Counters) {
        self.values.copy_from_slice(&*other.values);
    }

    /// Adds each value of `other`.
    pub(super) fn add_all(&mut self, other: &Counters) {
        for (sum, value) in self.values.iter_mut().zip(other.values.iter()) {
            *sum = sum.wrapping_add(*value);
        }
    }
}
