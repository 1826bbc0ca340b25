//! Numbers by chance, the same in each run: xorshift.

/// A generator; the same seed gives the same numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed, of which any will do.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() >> 11) as usize % bound
    }

    /// Exponentially distributed, of mean 1: the time to the next of things that happen independently.
    pub fn exponential(&mut self) -> f64 {
        let uniform = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        -(1.0 - uniform).ln()
    }
}
