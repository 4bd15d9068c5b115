//! A small seeded generator of random numbers (SplitMix64).
//!
//! Invariants: the n-th number depends on the seed and n alone, so decisions can be counted by many threads.

use crate::policy::units::Share;

/// See the module docs.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    drawn: u64,
}

/// The number with this index. Source of the constants: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014.
pub fn nth(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether the decision with this index is a yes, which it is with probability `rate`.
pub fn decides(seed: u64, index: u64, rate: Share) -> bool {
    // The remainder is far too small to matter.
    nth(seed, index) % u64::from(Share::WHOLE) < u64::from(rate.millionths())
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// At least 0, below 1.
    pub fn fraction(&mut self) -> f64 {
        let n = nth(self.seed, self.drawn);
        self.drawn += 1;
        (n >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A seed for those who named none: from the clock and the process, so that two processes differ.
pub fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Kept in what JSON and policy files hold exactly; never 0, which stands for none.
    (nth(now.as_nanos() as u64, u64::from(std::process::id())) >> 11).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_another_seed_another() {
        let draw = |seed| {
            let mut generator = Generator::new(seed);
            [(); 8].map(|()| generator.fraction())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|n| (0.0..1.0).contains(n)));
    }

    #[test]
    fn the_first_numbers_are_those_of_the_published_generator() {
        // https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ];
        for (index, number) in published.into_iter().enumerate() {
            assert_eq!(nth(1_234_567, index as u64), number);
        }
    }

    #[test]
    fn decisions_are_as_frequent_as_the_rate_says() {
        for (rate, expected) in [("0%", 0), ("1%", 1_000), ("25%", 25_000), ("100%", 100_000)] {
            let rate = Share::parse(rate).unwrap();
            let taken = (0..100_000).filter(|&index| decides(42, index, rate)).count();
            assert!(taken.abs_diff(expected) <= expected / 10, "{rate:?}: {taken}");
        }
    }

    #[test]
    fn fresh_seeds_are_usable() {
        assert_ne!(fresh_seed(), 0);
        assert!(fresh_seed() < 1 << 53);
    }
}
