//! Numbers that were measured, round by round, and what is made of them.

/// One quantity of one broker over all rounds.
pub struct Metric {
    pub name: &'static str,
    /// One for each round; `NaN` where it could not be measured.
    pub rounds: Vec<f64>,
}

/// What one broker did in one scenario.
pub struct Outcome {
    pub broker: String,
    /// The metrics; or why there are none.
    pub metrics: Result<Vec<Metric>, String>,
}

impl Outcome {
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.as_ref().ok()?.iter().find(|metric| metric.name == name)
    }
}

impl Metric {
    pub fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    pub fn min(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The median of this one's rounds divided by the other's same rounds: what disturbs a round disturbs both.
    pub fn ratio(&self, other: &Metric) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(one, other)| one / other).collect())
    }
}

/// The middle one; `NaN` of none. What is not a number is left out.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.retain(|number| !number.is_nan());
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.get(middle) {
        None => f64::NAN,
        Some(upper) if numbers.len() % 2 == 1 => *upper,
        Some(upper) => (numbers[middle - 1] + upper) / 2.0,
    }
}
