//! Keep Alive: no packet for one and a half times as long means that the peer is gone [MQTT-3.1.2-22].

use crate::clock::{Moment, Now};

/// The silence allowed, and when the last packet came.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepAlive {
    /// 1.5 x Keep Alive, milliseconds; 0 = any silence is allowed.
    allowed_ms: u32,
    heard: Moment,
}

impl KeepAlive {
    /// With this Keep Alive in force, seconds; 0 = none.
    pub(super) fn new(keep_alive_s: u16, now: Now) -> Self {
        Self { allowed_ms: u32::from(keep_alive_s) * 1500, heard: now.moment }
    }

    /// A packet came.
    pub(super) fn heard(&mut self, now: Now) {
        self.heard = now.moment;
    }

    /// When the silence becomes too long. Moments are cut to whole milliseconds: one more, or the peer may get less time
    /// than it is allowed.
    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.allowed_ms > 0).then(|| self.heard.plus_ms(u64::from(self.allowed_ms) + 1))
    }

    /// Whether it is too long now.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now.moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_3_1_2_22_silence_is_allowed_for_one_and_a_half_times_the_keep_alive() {
        let at = |ms| Now { moment: Moment::from_ms(ms), wall_ms: 0 };
        let mut alive = KeepAlive::new(3, at(0));
        assert!(!alive.is_over(at(4_500)) && alive.is_over(at(4_501)));
        alive.heard(at(4_000));
        assert_eq!(alive.deadline(), Some(Moment::from_ms(8_501)));
        assert!(!KeepAlive::new(0, at(0)).is_over(at(u64::MAX)));
        assert_eq!(KeepAlive::new(u16::MAX, at(0)).deadline(), Some(Moment::from_ms(98_302_501)));
    }
}
