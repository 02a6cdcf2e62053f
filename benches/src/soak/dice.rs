//! Numbers that follow from a seed (splitmix64): the same on every machine and in every run.

use std::time::Duration;

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Those of one visit.
    pub(super) fn of(seed: u64, visit: u64) -> Self {
        let mut dice = Self(seed ^ visit.wrapping_mul(0x2545_f491_4f6c_dd1d));
        dice.roll();
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from `least` to `most`, both of them too.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        assert!(least <= most);
        least + self.roll() % (most - least + 1)
    }

    /// Yes or no.
    pub(super) fn coin(&mut self) -> bool {
        self.roll() & 1 == 1
    }

    /// A time up to `most`.
    pub(super) fn time(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.between(0, micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_rolls_the_same_again_and_another_one_differs() {
        let roll = |seed, visit| {
            let mut dice = Dice::of(seed, visit);
            [(); 4].map(|()| dice.between(0, 1 << 20))
        };
        assert_eq!(roll(1, 2), roll(1, 2));
        assert_ne!(roll(1, 2), roll(1, 3));
        assert_ne!(roll(1, 2), roll(2, 2));
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        let mut dice = Dice::of(7, 7);
        let mut seen = [false; 3];
        for _ in 0..100 {
            seen[dice.between(5, 7) as usize - 5] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(dice.between(9, 9), 9);
    }
}
