//! What two texts have in common: the longest common subsequence of their tokens.

use crate::Error;

/// Cells of the table that is filled where two texts differ, at most: both stretches of 8192 tokens.
const MAX_CELLS: usize = 1 << 26;

/// The places of a longest common subsequence of `a` and `b`, rising on both sides.
///
/// What both begin and end with is taken as it stands; between, of several that are equally long, the one that takes the first
/// it can.
///
/// # Errors
/// [`Error::TooMany`] where the stretches that differ are too long for it.
pub(super) fn common_places<T: PartialEq>(a: &[T], b: &[T]) -> Result<Vec<(usize, usize)>, Error> {
    let n_first = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a_rest, b_rest) = (&a[n_first..], &b[n_first..]);
    let n_last = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a_middle, b_middle) = (&a_rest[..a_rest.len() - n_last], &b_rest[..b_rest.len() - n_last]);
    let middle = common_between(a_middle, b_middle)?;
    let first = (0..n_first).map(|place| (place, place));
    let middle = middle.into_iter().map(|(i, j)| (i + n_first, j + n_first));
    let last = (0..n_last).map(|place| (a.len() - n_last + place, b.len() - n_last + place));
    Ok(first.chain(middle).chain(last).collect())
}

/// [`common_places`] by a table of lengths, of which each cell keeps the step that leads on.
fn common_between<T: PartialEq>(a: &[T], b: &[T]) -> Result<Vec<(usize, usize)>, Error> {
    #[derive(Clone, Copy, PartialEq)]
    enum Step {
        Take,
        SkipA,
        SkipB,
    }
    let n_cells = a.len().saturating_mul(b.len());
    if n_cells > MAX_CELLS {
        return Err(Error::TooMany {
            what: "the stretch in which the two texts differ".to_owned(),
            n: a.len().max(b.len()),
            things: "tokens",
            limit: MAX_CELLS.isqrt(),
        });
    }
    let mut steps = vec![Step::SkipB; n_cells]; // [a, b]
    let mut below = vec![0_u32; b.len() + 1]; // how much a[i + 1..] and b[j..] have in common
    for (i, of_a) in a.iter().enumerate().rev() {
        let mut lengths = vec![0_u32; b.len() + 1];
        for (j, of_b) in b.iter().enumerate().rev() {
            let (step, length) = if of_a == of_b {
                (Step::Take, below[j + 1] + 1)
            } else if below[j] > lengths[j + 1] {
                (Step::SkipA, below[j])
            } else {
                (Step::SkipB, lengths[j + 1])
            };
            steps[i * b.len() + j] = step;
            lengths[j] = length;
        }
        below = lengths;
    }
    let (mut i, mut j) = (0, 0);
    let mut places = Vec::new();
    while i < a.len() && j < b.len() {
        match steps[i * b.len() + j] {
            Step::Take => {
                places.push((i, j));
                (i, j) = (i + 1, j + 1);
            }
            Step::SkipA => i += 1,
            Step::SkipB => j += 1,
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(a: &str, b: &str) -> Vec<(usize, usize)> {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        common_places(&words(a), &words(b)).expect("the texts are short")
    }

    #[test]
    fn a_word_that_was_exchanged_is_left_out_and_the_rest_is_kept() {
        assert_eq!(common("the red cat sat", "the black cat sat"), [(0, 0), (2, 2), (3, 3)]);
        assert_eq!(common("the cat sat", "the old cat then sat"), [(0, 0), (1, 2), (2, 4)]);
        assert_eq!(common("a b", "c d"), []);
        assert_eq!(common("a a", "a a a"), [(0, 0), (1, 1)]);
    }

    #[test]
    fn what_is_found_is_as_long_as_can_be() {
        let mut state = 11_u64;
        for _ in 0..200 {
            let mut text = || -> Vec<u64> {
                let next = |state: &mut u64| {
                    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    *state >> 33
                };
                (0..next(&mut state) % 9).map(|_| next(&mut state) % 3).collect()
            };
            let (a, b) = (text(), text());
            let found = common_places(&a, &b).expect("they are short");
            assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
            assert!(found.iter().all(|&(i, j)| a[i] == b[j]));
            // every choice of places of a that is a subsequence of b
            let longest = (0..1_u32 << a.len()).filter(|chosen| {
                let mut rest = b.iter();
                (0..a.len()).filter(|place| chosen >> place & 1 == 1).all(|place| rest.any(|token| *token == a[place]))
            });
            assert_eq!(longest.map(u32::count_ones).max(), Some(found.len() as u32), "{a:?} {b:?}");
        }
    }

    #[test]
    fn texts_that_differ_throughout_and_are_long_are_refused_and_long_ones_that_agree_are_not() {
        let long: Vec<u32> = (0..20_000).collect();
        let mut other = long.clone();
        other[10_000] = 7;
        assert_eq!(common_places(&long, &other).expect("they agree").len(), 19_999);
        other.reverse();
        let error = common_places(&long, &other).unwrap_err().to_string();
        assert!(error.starts_with("the stretch in which the two texts differ has 20000 tokens"), "{error}");
    }
}
