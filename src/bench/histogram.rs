//! Latencies, counted in buckets: as many as there are, in the same memory.

/// Buckets for each power of two: a value is known to within 1/64.
const FINE_BITS: u32 = 6;
const FINE: usize = 1 << FINE_BITS;

/// How often each length of time was seen.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; FINE * (65 - FINE_BITS as usize)], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one, in nanoseconds.
    pub fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, nanoseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Nanoseconds that `share` (0 to 1) of them do not exceed, to within 1/64; `NaN` of none.
    pub fn quantile(&self, share: f64) -> f64 {
        if self.count == 0 {
            return f64::NAN;
        }
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        for (i, counted) in self.buckets.iter().enumerate() {
            below += counted;
            if below >= rank {
                return highest(i).min(self.max) as f64;
            }
        }
        self.max as f64
    }
}

fn bucket(value: u64) -> usize {
    let power = (u64::BITS - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    power as usize * FINE + (value >> power) as usize
}

/// The largest value that falls into the bucket.
fn highest(bucket: usize) -> u64 {
    let power = (bucket / FINE).saturating_sub(1);
    let mantissa = (bucket - power * FINE) as u128;
    u64::try_from(((mantissa + 1) << power) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_a_bucket_that_ends_less_than_a_64th_above_it() {
        for power in 0..64 {
            for value in
                [1_u64 << power, (1 << power) + (1 << power) / 3, (1_u64 << power).wrapping_mul(2).wrapping_sub(1)]
            {
                let highest = highest(bucket(value));
                assert!(highest >= value && highest - value <= value / 64, "{value}: {highest}");
            }
        }
        assert!(bucket(u64::MAX) < Histogram::default().buckets.len());
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        assert!(histogram.quantile(0.5).is_nan());
        (1..=1000).for_each(|value| histogram.add(value * 1000));
        for (share, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (0.999, 999_000.0), (1.0, 1_000_000.0)] {
            let found = histogram.quantile(share);
            assert!(found >= exact && found <= exact * (1.0 + 1.0 / 64.0), "{share}: {found}");
        }
        assert_eq!((histogram.count(), histogram.max()), (1000, 1_000_000));
    }
}
