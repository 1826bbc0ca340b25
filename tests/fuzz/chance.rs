//! Inputs that are made up, and the same each time.

/// Numbers that look like chance.
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// Changes some bytes: to others, to more, to fewer.
    pub fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(6) {
            let at = self.below(bytes.len() + 1);
            let byte = self.below(256) as u8;
            match self.below(4) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.extend_from_within(at..(at + self.below(40)).min(bytes.len()).max(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(bytes.len() - self.below(3).min(bytes.len())),
            }
        }
    }
}
