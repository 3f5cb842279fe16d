//! Which keys a query may look at, where a band around its position cannot say it.

use std::ops::Range;

use crate::Buffer;
use crate::attention::Shape;

/// Which keys each query may look at: a key is seen that the mask, the band of the [`Scoring`](crate::Scoring) and
/// padding all let through.
#[derive(Debug, Clone, PartialEq)]
pub enum Mask {
    /// Each query sees some stretches of keys, the same in all heads: packed sequences, a prefix, chunks, image blocks.
    /// Linear in the number of tokens.
    Stretches {
        /// The batch, or 1 where all texts have the same mask.
        n_items: usize,
        /// The most stretches that a query has.
        n_stretches: usize,
        /// First key, and the key after the last; rising, then `(0, 0)` where there are no more.
        /// Shape `[n_items, n_queries, n_stretches, 2]`.
        keys: Buffer<u32>,
    },
    /// One bit for each query and key: trees, masks that differ by head.
    Bits {
        /// The batch, or 1 where all texts have the same mask.
        n_items: usize,
        /// The query heads, or 1 where all have the same mask.
        n_heads: usize,
        /// Key `k` is bit `k % 8`, the lowest first, of byte `k / 8`. Shape `[n_items, n_heads, n_queries, ⌈n_keys / 8⌉]`.
        bits: Buffer<u8>,
    },
}

impl Mask {
    /// The mask of one text, or of all, from the stretches of keys that each query sees: rising and disjoint.
    pub fn stretches(rows: &[Vec<Range<usize>>]) -> Mask {
        let (n_stretches, keys) = padded(rows);
        Mask::Stretches { n_items: 1, n_stretches, keys }
    }

    /// The smaller form of a dense mask, `true` where a key is seen. Shape `[n_items, n_heads, n_queries, n_keys]`,
    /// where `n_items` and `n_heads` may be 1 for all.
    ///
    /// # Panics
    /// When `seen` has another length than its shape says.
    pub fn from_dense(seen: &[bool], [n_items, n_heads, n_queries, n_keys]: [usize; 4]) -> Mask {
        assert!(seen.len() == n_items * n_heads * n_queries * n_keys, "a mask has one number per query and key");
        let maps: Vec<&[bool]> = seen.chunks((n_queries * n_keys).max(1)).collect(); // [n_items · n_heads]
        let are_alike = maps.chunks(n_heads.max(1)).all(|heads| heads.iter().all(|head| *head == heads[0]));
        let kept = if are_alike { maps.into_iter().step_by(n_heads.max(1)).collect() } else { maps };
        let n_heads = if are_alike { 1 } else { n_heads };
        let rows = || kept.iter().flat_map(|map| map.chunks(n_keys.max(1)));
        let stretches: Vec<Vec<Range<usize>>> = rows().map(stretches_of).collect();
        let (n_stretches, keys) = padded(&stretches);
        if n_heads == 1 && (n_stretches == 1 || n_stretches * size_of::<[u32; 2]>() <= n_keys.div_ceil(8)) {
            return Mask::Stretches { n_items, n_stretches, keys };
        }
        let byte = |keys: &[bool]| keys.iter().rev().fold(0, |byte, seen| byte << 1 | u8::from(*seen));
        let bits: Vec<u8> = rows().flat_map(|row| row.chunks(8).map(byte)).collect();
        Mask::Bits { n_items, n_heads, bits: bits.into() }
    }

    /// The mask of one text.
    ///
    /// # Panics
    /// When the mask has another size than `shape` says.
    pub fn of_item(&self, item: usize, shape: &Shape) -> MaskView<'_> {
        let item_of = |n_items: usize| if n_items == 1 { 0 } else { item };
        match self {
            Mask::Stretches { n_items, n_stretches, keys } => {
                let size = shape.n_queries * n_stretches * 2;
                let keys = &keys[item_of(*n_items) * size..][..size];
                MaskView(View::Stretches { n_stretches: *n_stretches, keys: keys.as_chunks().0 })
            }
            Mask::Bits { n_items, n_heads, bits } => {
                let n_bytes = shape.n_keys.div_ceil(8);
                let size = n_heads * shape.n_queries * n_bytes;
                let bits = &bits[item_of(*n_items) * size..][..size];
                MaskView(View::Bits { n_heads: *n_heads, n_queries: shape.n_queries, n_bytes, bits })
            }
        }
    }

    /// The same for masks that lie in the same memory, and for no others: layers that share a mask share its tensor.
    pub(crate) fn identity(&self) -> (usize, [usize; 3]) {
        match self {
            Mask::Stretches { n_items, n_stretches, keys } => (keys.as_ptr() as usize, [0, *n_items, *n_stretches]),
            Mask::Bits { n_items, n_heads, bits } => (bits.as_ptr() as usize, [1, *n_items, *n_heads]),
        }
    }

    /// Whether the mask has the sizes of the layer, and its stretches lie inside the keys.
    pub(crate) fn check(&self, n_batch: usize, shape: &Shape) -> Result<(), String> {
        let (n_items, n_heads) = match self {
            Mask::Stretches { n_items, .. } => (*n_items, 1),
            Mask::Bits { n_items, n_heads, .. } => (*n_items, *n_heads),
        };
        if n_items != 1 && n_items != n_batch {
            return Err(format!("the mask is for {n_items} texts, but 1 or {n_batch} were expected"));
        }
        if n_heads != 1 && n_heads != shape.n_heads {
            return Err(format!("the mask is for {n_heads} heads, but 1 or {} were expected", shape.n_heads));
        }
        match self {
            Mask::Bits { bits, .. } => {
                let sizes = [n_items, n_heads, shape.n_queries, shape.n_keys.div_ceil(8)];
                crate::recording::expect("the mask", bits.len(), &sizes)
            }
            Mask::Stretches { n_stretches, keys, .. } => {
                if *n_stretches > shape.n_keys {
                    let n_keys = shape.n_keys;
                    return Err(format!(
                        "the mask has {n_stretches} stretches for each query, but there are {n_keys} keys"
                    ));
                }
                let sizes = [n_items, shape.n_queries, *n_stretches, 2];
                crate::recording::expect("the mask", keys.len(), &sizes)?;
                check_stretches(keys.as_chunks().0, *n_stretches, shape)
            }
        }
    }
}

/// The stretches of all rows that are not empty, as many for each, and how many that is.
/// Shape `[rows.len(), n_stretches, 2]`.
fn padded(rows: &[Vec<Range<usize>>]) -> (usize, Buffer<u32>) {
    let used = |row: &[Range<usize>]| row.iter().filter(|stretch| !stretch.is_empty()).count();
    let n_stretches = rows.iter().map(|row| used(row)).max().unwrap_or(0).max(1);
    let mut keys = Vec::with_capacity(rows.len() * n_stretches * 2);
    for row in rows {
        let stretches = row.iter().filter(|stretch| !stretch.is_empty());
        keys.extend(stretches.flat_map(|stretch| [stretch.start as u32, stretch.end as u32]));
        keys.resize(keys.len() + 2 * (n_stretches - used(row)), 0);
    }
    (n_stretches, keys.into())
}

/// The stretches of `true` in a row of a dense mask.
fn stretches_of(row: &[bool]) -> Vec<Range<usize>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (key, _) in row.iter().enumerate().filter(|(_, seen)| **seen) {
        match stretches.last_mut() {
            Some(last) if last.end == key => last.end = key + 1,
            _ => stretches.push(key..key + 1),
        }
    }
    stretches
}

/// Stretches lie inside the keys, and rise from one to the next.
fn check_stretches(keys: &[[u32; 2]], n_stretches: usize, shape: &Shape) -> Result<(), String> {
    for (row, stretches) in keys.chunks(n_stretches.max(1)).enumerate() {
        let mut reached = 0;
        let n_used = stretches.iter().rposition(|stretch| *stretch != [0, 0]).map_or(0, |last| last + 1);
        for [first, end] in &stretches[..n_used] {
            if *first < reached || end <= first || *end as usize > shape.n_keys {
                let (query, n_keys) = (row % shape.n_queries, shape.n_keys);
                return Err(format!(
                    "visible: query {query} sees keys {first} to {end} (not included); stretches rise, lie within the {n_keys} keys, and those not used, 0 to 0, come last"
                ));
            }
            reached = *end;
        }
    }
    Ok(())
}

/// The mask of one text, all heads.
#[derive(Debug, Clone, Copy)]
pub struct MaskView<'a>(View<'a>);

#[derive(Debug, Clone, Copy)]
enum View<'a> {
    /// Shape of `keys`: `[n_queries, n_stretches]`.
    Stretches { n_stretches: usize, keys: &'a [[u32; 2]] },
    /// Shape of `bits`: `[n_heads, n_queries, n_bytes]`.
    Bits { n_heads: usize, n_queries: usize, n_bytes: usize, bits: &'a [u8] },
}

impl<'a> MaskView<'a> {
    /// What one query of one head sees.
    pub fn row(self, head: usize, query: usize) -> MaskRow<'a> {
        match self.0 {
            View::Stretches { n_stretches, keys } => MaskRow::Stretches(&keys[query * n_stretches..][..n_stretches]),
            View::Bits { n_heads, n_queries, n_bytes, bits } => {
                let head = if n_heads == 1 { 0 } else { head };
                MaskRow::Bits(&bits[(head * n_queries + query) * n_bytes..][..n_bytes])
            }
        }
    }
}

/// What one query sees, by its mask.
#[derive(Debug, Clone, Copy)]
pub enum MaskRow<'a> {
    /// First keys, and the keys after the last.
    Stretches(&'a [[u32; 2]]),
    /// One bit per key, the lowest first.
    Bits(&'a [u8]),
}

impl MaskRow<'_> {
    /// Whether the query sees `key`.
    pub fn sees(self, key: usize) -> bool {
        match self {
            MaskRow::Stretches(stretches) => {
                let at = stretches.partition_point(|[_, end]| *end > 0 && *end as usize <= key);
                stretches.get(at).is_some_and(|[first, end]| *first as usize <= key && key < *end as usize)
            }
            MaskRow::Bits(bits) => bits[key / 8] >> (key % 8) & 1 == 1,
        }
    }

    /// From the first key seen to the last, of `n_keys`; empty where there is none.
    pub fn hull(self, n_keys: usize) -> Range<usize> {
        match self {
            MaskRow::Stretches(stretches) => {
                let mut seen = stretches.iter().filter(|[first, end]| first < end);
                let Some([first, end]) = seen.next() else { return 0..0 };
                *first as usize..seen.next_back().map_or(*end, |[_, end]| *end) as usize
            }
            MaskRow::Bits(bits) => {
                let Some(first) = bits.iter().position(|byte| *byte != 0) else { return 0..0 };
                let last = bits.iter().rposition(|byte| *byte != 0).unwrap_or(first);
                let start = (first * 8 + bits[first].trailing_zeros() as usize).min(n_keys);
                let end = (last * 8 + 8 - bits[last].leading_zeros() as usize).min(n_keys);
                start..end.max(start)
            }
        }
    }

    /// Calls `hide` with each stretch of `keys` that the query does not see, in rising order.
    pub(crate) fn hidden(self, keys: Range<usize>, mut hide: impl FnMut(Range<usize>)) {
        match self {
            MaskRow::Stretches(stretches) => {
                let mut from = keys.start;
                for [first, end] in stretches.iter().filter(|[first, end]| first < end) {
                    if from < (*first as usize).min(keys.end) {
                        hide(from..(*first as usize).min(keys.end));
                    }
                    from = from.max(*end as usize);
                }
                if from < keys.end {
                    hide(from..keys.end);
                }
            }
            MaskRow::Bits(_) => keys.filter(|key| !self.sees(*key)).for_each(|key| hide(key..key + 1)),
        }
    }

    /// Whether the query sees any of `keys`.
    pub(crate) fn sees_any(self, keys: &Range<usize>) -> bool {
        match self {
            MaskRow::Stretches(stretches) => {
                stretches.iter().any(|[first, end]| (*first as usize).max(keys.start) < (*end as usize).min(keys.end))
            }
            MaskRow::Bits(_) => keys.clone().any(|key| self.sees(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { n_heads: 2, n_kv_heads: 1, n_queries: 3, n_keys: 11, d_head: 1, d_value: 1 };

    /// The mask as a dense array again. Shape `[n_heads, n_queries, n_keys]`.
    fn dense(mask: &Mask, item: usize) -> Vec<bool> {
        let view = mask.of_item(item, &SHAPE);
        let row = |row: usize| (0..11).map(move |key| view.row(row / 3, row % 3).sees(key));
        (0..6).flat_map(row).collect()
    }

    #[test]
    fn a_dense_mask_becomes_stretches_or_bits_and_is_the_same_again() {
        let packed: Vec<bool> = (0..33).map(|cell| cell / 11 * 4 / 5 == cell % 11 / 5).collect();
        let mask = Mask::from_dense(&packed, [1, 1, 3, 11]);
        assert!(matches!(mask, Mask::Stretches { n_stretches: 1, .. }), "{mask:?}");
        assert_eq!(dense(&mask, 7), [packed.clone(), packed].concat());
        let scattered: Vec<bool> = (0..2 * 66).map(|cell| cell * 7 % 5 < 2).collect();
        let mask = Mask::from_dense(&scattered, [2, 2, 3, 11]);
        assert!(matches!(mask, Mask::Bits { n_items: 2, n_heads: 2, .. }), "{mask:?}");
        assert_eq!(dense(&mask, 1), scattered[66..]);
        assert!(mask.check(2, &SHAPE).is_ok());
        let alike = [&scattered[..33], &scattered[..33]].concat();
        let mask = Mask::from_dense(&alike, [1, 2, 3, 11]);
        assert!(matches!(mask, Mask::Bits { n_heads: 1, .. }), "heads that are alike share a mask");
        assert_eq!(dense(&mask, 0), alike);
    }

    #[test]
    fn hull_and_gaps_of_both_forms_agree_with_key_by_key() {
        let stretches = [[2, 4], [4, 5], [9, 11], [0, 0], [0, 0]];
        let bits = [0b0001_1100, 0b110];
        for row in [MaskRow::Stretches(&stretches), MaskRow::Bits(&bits)] {
            assert_eq!((0..11).filter(|key| row.sees(*key)).collect::<Vec<_>>(), [2, 3, 4, 9, 10]);
            assert_eq!(row.hull(11), 2..11);
            for start in 0..11 {
                for end in start..=11 {
                    let mut hidden = Vec::new();
                    row.hidden(start..end, |gap| hidden.extend(gap));
                    let wanted: Vec<usize> = (start..end).filter(|key| !row.sees(*key)).collect();
                    assert_eq!(hidden, wanted, "{start}..{end}");
                    assert_eq!(row.sees_any(&(start..end)), (start..end).any(|key| row.sees(key)));
                }
            }
        }
        assert!(MaskRow::Bits(&[0, 0]).hull(11).is_empty() && MaskRow::Stretches(&[[0, 0]]).hull(11).is_empty());
    }

    #[test]
    fn a_mask_of_the_wrong_size_and_a_stretch_out_of_range_are_refused_with_the_numbers() {
        let refused = |mask: Mask| mask.check(2, &SHAPE).unwrap_err();
        let stretches = |keys: &[u32]| Mask::Stretches { n_items: 1, n_stretches: 1, keys: keys.to_vec().into() };
        assert_eq!(
            refused(stretches(&[0, 4, 0, 12, 0, 3])),
            "visible: query 1 sees keys 0 to 12 (not included); stretches rise, lie within the 11 keys, and those not used, 0 to 0, come last"
        );
        assert!(refused(stretches(&[0, 4, 5, 2, 0, 3])).contains("query 1 sees keys 5 to 2"));
        assert_eq!(refused(stretches(&[0, 4])), "the mask has 2 numbers, but [1, 3, 1, 2] were expected");
        let twice =
            Mask::Stretches { n_items: 1, n_stretches: 2, keys: vec![4, 6, 2, 5, 0, 0, 0, 0, 0, 0, 0, 0].into() };
        assert!(refused(twice).contains("query 0 sees keys 2 to 5"));
        let bits = |n_items, n_heads| Mask::Bits { n_items, n_heads, bits: vec![0; n_items * n_heads * 6].into() };
        assert!(bits(1, 2).check(2, &SHAPE).is_ok());
        assert_eq!(refused(bits(3, 1)), "the mask is for 3 texts, but 1 or 2 were expected");
        assert_eq!(refused(bits(1, 3)), "the mask is for 3 heads, but 1 or 2 were expected");
        let many = Mask::Stretches { n_items: 1, n_stretches: 12, keys: vec![0; 72].into() };
        assert_eq!(refused(many), "the mask has 12 stretches for each query, but there are 11 keys");
    }
}
