//! What one load of one broker measured, for people and for machines.

use std::fmt;

use serde_json::{Value, json};

use super::histogram::Histogram;
use super::stream::Slice;

/// The latencies that are told: their names, and the share of messages that were as fast.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// A load that is over.
#[derive(Debug)]
pub struct Report {
    /// What it measured.
    pub slice: Slice,
    /// Resident memory of the broker's process at the end, bytes.
    pub resident: Option<u64>,
}

impl Report {
    /// Whether everything came and nobody failed.
    pub fn is_clean(&self) -> bool {
        self.slice.lost == 0 && self.slice.errors == 0 && self.slice.refused == 0
    }

    /// Deliveries, or publications where nobody was there to get them.
    fn messages(&self) -> u64 {
        self.slice.delivered.max(self.slice.published)
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.slice.seconds
    }

    /// CPU time of the broker for one message, µs.
    fn cpu_us(&self) -> Option<f64> {
        self.slice.cpu_ns.map(|ns| ns as f64 / 1000.0 / self.messages() as f64)
    }

    /// The same numbers as JSON; latencies in µs, times in seconds, memory in bytes.
    pub fn json(&self) -> Value {
        let latencies = |of: &Histogram| -> Value {
            SHARES.iter().map(|(name, share)| ((*name).to_owned(), json!(of.quantile(*share) / 1000.0))).collect()
        };
        let slice = &self.slice;
        json!({
            "seconds": slice.seconds,
            "published": slice.published,
            "acknowledged": slice.acknowledged,
            "delivered": slice.delivered,
            "published_per_s": self.per_second(slice.published),
            "delivered_per_s": self.per_second(slice.delivered),
            "delivery_us": latencies(&slice.deliveries),
            "acknowledgement_us": latencies(&slice.acknowledgements),
            "lost": slice.lost,
            "refused": slice.refused,
            "errors": slice.errors,
            "first_error": slice.first_error,
            "cpu_us_per_message": self.cpu_us(),
            "resident_bytes": self.resident,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slice = &self.slice;
        let rate = |f: &mut fmt::Formatter<'_>, what: &str, count: u64| {
            writeln!(f, "{what:<14}{count:>12}{:>12.0} messages/s", self.per_second(count))
        };
        rate(f, "published", slice.published)?;
        rate(f, "acknowledged", slice.acknowledged)?;
        rate(f, "delivered", slice.delivered)?;
        for (what, latencies) in [("delivery", &slice.deliveries), ("acknowledged", &slice.acknowledgements)] {
            if latencies.count() > 0 {
                write!(f, "{what:<14}")?;
                for (name, share) in SHARES {
                    write!(f, "  {name} {:.0} µs", latencies.quantile(share) / 1000.0)?;
                }
                writeln!(f)?;
            }
        }
        if let Some(cpu_us) = self.cpu_us() {
            writeln!(f, "server CPU    {cpu_us:.2} µs/message")?;
        }
        if let Some(resident) = self.resident {
            writeln!(f, "server memory {:.1} MiB resident", resident as f64 / (1024.0 * 1024.0))?;
        }
        write!(f, "lost {}, refused {}, failed connections {}", slice.lost, slice.refused, slice.errors)?;
        match &slice.first_error {
            Some(error) => write!(f, " (the first: {error})"),
            None => Ok(()),
        }
    }
}
