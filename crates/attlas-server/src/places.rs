//! What stands along an axis: stretches of tokens, each one place; and the axes that clients sent, by the hash of what they are.

use std::ops::Range;

use crate::refusal::Refusal;

/// The places along an axis, each some of its tokens, by their positions in the recording; all rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The tokens that are shown, padding counted. Shape `[n_shown]`.
    positions: Vec<usize>,
    /// Where each place begins among them, and where the last ends. Shape `[n_places + 1]`.
    starts: Vec<usize>,
}

impl Places {
    /// Every token that is no padding, one by one; `kept` are their positions.
    pub fn all(kept: Vec<usize>) -> Places {
        Places { starts: (0..=kept.len()).collect(), positions: kept }
    }

    /// Stretches of the tokens `kept`, from the first to before the second.
    ///
    /// # Errors
    /// [`Refusal`] when one is empty, begins before the one in front ends, or reaches outside.
    pub fn of(kept: &[usize], stretches: &[[usize; 2]]) -> Result<Places, Refusal> {
        let mut places = Places { positions: Vec::with_capacity(kept.len()), starts: vec![0] };
        let mut reached = 0;
        for (place, &[first, end]) in stretches.iter().enumerate() {
            if first < reached || end <= first || end > kept.len() {
                return Err(Refusal::ask(format!(
                    "stretch {place} of the axis goes from {first} to {end} (not included), but stretches rise, hold a token, and lie \
                     within the {} of the axis",
                    kept.len()
                )));
            }
            reached = end;
            places.positions.extend_from_slice(&kept[first..end]);
            places.starts.push(places.positions.len());
        }
        Ok(places)
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The positions of the tokens of a place.
    pub fn tokens(&self, place: usize) -> &[usize] {
        &self.positions[self.starts[place]..self.starts[place + 1]]
    }

    /// The positions of the tokens of some places.
    pub fn tokens_of(&self, places: Range<usize>) -> &[usize] {
        &self.positions[self.starts[places.start]..self.starts[places.end]]
    }

    /// Whether each of these places is one token.
    pub fn are_single(&self, places: Range<usize>) -> bool {
        self.starts[places.end] - self.starts[places.start] == places.len()
    }

    /// The places that have a token at one of `positions`, of all places; places between may have none.
    pub fn touching(&self, positions: Range<usize>) -> Range<usize> {
        let first = self.positions.partition_point(|position| *position < positions.start);
        let end = self.positions.partition_point(|position| *position < positions.end);
        if first >= end {
            return 0..0;
        }
        let place_of = |index: usize| self.starts.partition_point(|start| *start <= index) - 1;
        place_of(first)..place_of(end - 1) + 1
    }

    /// The positions from the first token of some places to after the last.
    pub fn hull(&self, places: Range<usize>) -> Range<usize> {
        match self.tokens_of(places) {
            [] => 0..0,
            [only] => *only..only + 1,
            [first, .., last] => *first..last + 1,
        }
    }

    /// How much memory it takes.
    pub fn n_bytes(&self) -> usize {
        size_of::<usize>() * (self.positions.len() + self.starts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_places_of_the_tokens_that_are_no_padding() {
        // tokens 2 to 6 are kept; the first two are one word, the third is hidden
        let places = Places::of(&[2, 3, 4, 5, 6], &[[0, 2], [3, 4], [4, 5]]).unwrap();
        assert_eq!((0..3).map(|place| places.tokens(place)).collect::<Vec<_>>(), [&[2, 3][..], &[5], &[6]]);
        assert_eq!(places.touching(3..6), 0..2);
        assert_eq!(places.touching(4..5), 0..0);
        assert_eq!(places.hull(0..3), 2..7);
        assert!(!places.are_single(0..3) && places.are_single(1..3));
    }

    #[test]
    fn stretches_that_overlap_are_empty_or_reach_outside_are_refused_with_their_number() {
        for (stretches, place) in [(&[[0, 2], [1, 3]][..], 1), (&[[2, 2]], 0), (&[[0, 1], [3, 6]], 1), (&[[3, 1]], 0)] {
            let refusal = Places::of(&[0, 1, 2, 3, 4], stretches).unwrap_err();
            assert!(refusal.message.starts_with(&format!("stretch {place} ")), "{}", refusal.message);
        }
    }
}
