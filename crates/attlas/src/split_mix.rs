//! SplitMix64 (Steele, Lea and Flood 2014): a stream of numbers that looks random and is the same on every machine.

/// A stream of numbers; the same seed gives the same stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream of a seed.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// A stream of its own for each seed and place.
    pub fn at(seed: u64, place: &[usize]) -> SplitMix64 {
        let mut stream = SplitMix64(seed);
        for part in place {
            stream.0 = stream.number() ^ *part as u64;
        }
        stream
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`, each as likely up to `n` / 2⁶⁴.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.number()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_paper() {
        let mut stream = SplitMix64::new(1_234_567);
        assert_eq!([stream.number(), stream.number()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
