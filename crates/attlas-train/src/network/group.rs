//! A group's flat vector, cut into the parameters that lie in it one after the other.

/// The parts of `all`, whose sizes are given in order.
pub fn split<const N: usize>(mut all: &[f32], sizes: [usize; N]) -> [&[f32]; N] {
    sizes.map(|size| {
        let (part, rest) = all.split_at(size);
        all = rest;
        part
    })
}

/// As [`split`], to be written to.
pub fn split_mut<const N: usize>(all: &mut [f32], sizes: [usize; N]) -> [&mut [f32]; N] {
    let mut rest = all;
    sizes.map(|size| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(size);
        rest = after;
        part
    })
}
