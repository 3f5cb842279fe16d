//! Sums of all shards as few bytes: each number seven bits a byte, the lowest first (LEB128), signs zigzag.

use super::{N_SHARDS, ShardSums};
use crate::analysis::Sums;

/// Bytes that a number takes at most.
const LONGEST: usize = 19;

/// The sums as bytes: of each shard the scores, those that were no number, and where there is any, sum, squares and baseline.
pub fn packed_sums(sums: &ShardSums) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sums in sums {
        push(&mut bytes, u128::from(sums.n));
        push(&mut bytes, u128::from(sums.n_not_finite));
        if sums.n > 0 {
            for number in [sums.sum, sums.sum_of_squares, sums.baseline] {
                push(&mut bytes, zigzag(number));
            }
        }
    }
    bytes
}

/// The sums that [`packed_sums`] wrote, taken off the front of `bytes`; `None` for anything else.
pub fn unpacked_sums(bytes: &mut &[u8]) -> Option<Box<ShardSums>> {
    let mut all = Box::new([Sums::default(); N_SHARDS]);
    for sums in all.iter_mut() {
        sums.n = u64::try_from(pull(bytes)?).ok()?;
        sums.n_not_finite = u64::try_from(pull(bytes)?).ok()?;
        if sums.n > 0 {
            for number in [&mut sums.sum, &mut sums.sum_of_squares, &mut sums.baseline] {
                *number = unzigzag(pull(bytes)?);
            }
        }
    }
    Some(all)
}

fn push(bytes: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn pull(bytes: &mut &[u8]) -> Option<u128> {
    let mut number = 0_u128;
    for place in 0..LONGEST {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u128::from(byte & 0x7f);
        // the last byte has room for two bits only
        if place + 1 == LONGEST && part > 3 {
            return None;
        }
        number |= part << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn zigzag(number: i128) -> u128 {
    ((number << 1) ^ (number >> 127)) as u128
}

fn unzigzag(number: u128) -> i128 {
    (number >> 1) as i128 ^ -((number & 1) as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_back_as_they_were() {
        let mut sums = [Sums::default(); N_SHARDS];
        sums[3] = Sums { n: 7, n_not_finite: 2, sum: -5, sum_of_squares: i128::MAX, baseline: 1 << 40 };
        sums[63] = Sums { n: u64::MAX, n_not_finite: 0, sum: i128::MIN, sum_of_squares: 0, baseline: -1 };
        let bytes = packed_sums(&sums);
        let two = [bytes.as_slice(), &bytes].concat();
        let mut rest = two.as_slice();
        assert_eq!([unpacked_sums(&mut rest).as_deref(), unpacked_sums(&mut rest).as_deref()], [Some(&sums); 2]);
        assert!(rest.is_empty());
        assert_eq!(packed_sums(&[Sums::default(); N_SHARDS]), [0; 2 * N_SHARDS]);
    }

    #[test]
    fn bytes_that_nobody_wrote_are_refused() {
        let bytes = packed_sums(&[Sums { n: 1, sum: 9, ..Sums::default() }; N_SHARDS]);
        assert_eq!(unpacked_sums(&mut &bytes[..bytes.len() - 1]), None, "cut short");
        assert_eq!(unpacked_sums(&mut [0xff; 400].as_slice()), None, "numbers without an end");
        assert_eq!(unpacked_sums(&mut [].as_slice()), None);
    }
}
