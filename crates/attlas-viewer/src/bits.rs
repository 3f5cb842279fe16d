//! Numbers of any count of bits, one after the other, and a prefix code for those that come in classes.
//!
//! `web/src/bits.ts` reads them.

use crate::digits::{N_CLASSES, class};

/// The longest code of a class: with the bits after it, a reader needs 25 at a time.
const LONGEST: u8 = 12;

/// Bits, the first of a byte its highest.
#[derive(Default)]
pub struct Bits {
    bytes: Vec<u8>,
    /// What is no whole byte yet, its last bit the lowest.
    rest: u64,
    n_rest: u32,
}

impl Bits {
    /// Appends the lowest `n` bits of a number, 0 to 32.
    pub fn push(&mut self, number: u32, n: u8) {
        self.rest = self.rest << n | u64::from(number) & ((1 << n) - 1);
        self.n_rest += u32::from(n);
        if self.n_rest >= 32 {
            self.n_rest -= 32;
            self.bytes.extend_from_slice(&((self.rest >> self.n_rest) as u32).to_be_bytes());
        }
    }

    /// The bytes, the last filled up with zeros, and four more so that a reader may look ahead.
    pub fn finish(mut self) -> Vec<u8> {
        let n_bytes = self.n_rest.div_ceil(8);
        let rest = self.rest << (8 * n_bytes - self.n_rest);
        self.bytes.extend_from_slice(&rest.to_be_bytes()[8 - n_bytes as usize..]);
        self.bytes.extend([0; 4]);
        self.bytes
    }
}

/// A canonical Huffman code for [classes](class) of numbers (Huffman 1952): shorter for those that come often.
pub struct Code {
    /// Bits of each class; 0 where a class does not come. Shape `[N_CLASSES]`.
    pub lengths: Vec<u8>,
    codes: Vec<u16>,
}

impl Code {
    /// The code for classes that come so many times. Shape `[N_CLASSES]`.
    pub fn of(counts: &[u64; N_CLASSES]) -> Code {
        let mut counts = *counts;
        let mut lengths = lengths(&counts);
        while lengths.iter().any(|length| *length > LONGEST) {
            // rare classes are taken to be less rare, until no code is too long
            counts.iter_mut().filter(|count| **count > 0).for_each(|count| *count = *count / 2 + 1);
            lengths = self::lengths(&counts);
        }
        let mut codes = vec![0; N_CLASSES];
        let mut next = 0_u16;
        for length in 1..=LONGEST {
            for class in (0..N_CLASSES).filter(|class| lengths[*class] == length) {
                codes[class] = next;
                next += 1;
            }
            next <<= 1;
        }
        Code { lengths, codes }
    }

    /// Appends a number of [`crate::digits::number`].
    pub fn push(&self, bits: &mut Bits, number: u16) {
        let (class, n, rest) = class(number);
        let (code, length) = (self.codes[usize::from(class)], self.lengths[usize::from(class)]);
        bits.push(u32::from(code) << n | u32::from(rest), length + n);
    }
}

/// The lengths of Huffman's code: the two rarest are joined, again and again. A class alone has one bit.
fn lengths(counts: &[u64; N_CLASSES]) -> Vec<u8> {
    let mut lengths = vec![0; N_CLASSES];
    let mut groups: Vec<(u64, Vec<usize>)> =
        (0..N_CLASSES).filter(|class| counts[*class] > 0).map(|class| (counts[class], vec![class])).collect();
    if let [(_, only)] = &groups[..] {
        only.iter().for_each(|class| lengths[*class] = 1);
    }
    while groups.len() > 1 {
        groups.sort_by_key(|group| std::cmp::Reverse(group.0));
        let (Some(a), Some(b)) = (groups.pop(), groups.pop()) else { break };
        let joined: Vec<usize> = a.1.into_iter().chain(b.1).collect();
        joined.iter().for_each(|class| lengths[*class] += 1);
        groups.push((a.0 + b.0, joined));
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_classes_have_short_codes_and_none_is_the_beginning_of_another() {
        let mut counts = [0; N_CLASSES];
        let mut fibonacci = (1, 1); // which makes Huffman's code as long as it can be
        for count in counts.iter_mut().skip(10) {
            *count = fibonacci.0;
            fibonacci = (fibonacci.1, fibonacci.0 + fibonacci.1);
        }
        let code = Code::of(&counts);
        assert!(code.lengths[..10].iter().all(|length| *length == 0));
        assert!(code.lengths[10..].iter().all(|length| (1..=LONGEST).contains(length)));
        assert!(code.lengths[N_CLASSES - 1] < 3);
        for a in 10..N_CLASSES {
            for b in (10..N_CLASSES).filter(|b| *b != a && code.lengths[*b] >= code.lengths[a]) {
                assert_ne!(code.codes[b] >> (code.lengths[b] - code.lengths[a]), code.codes[a], "{a} begins {b}");
            }
        }
    }

    #[test]
    fn bits_stand_one_after_the_other() {
        let mut bits = Bits::default();
        for (number, n) in [(0b101, 3), (0, 0), (0b11_0000_1111, 10), (1, 1)] {
            bits.push(number, n);
        }
        assert_eq!(bits.finish(), [0b1011_1000, 0b0111_1100, 0, 0, 0, 0]);
    }
}
