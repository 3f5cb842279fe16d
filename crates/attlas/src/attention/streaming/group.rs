//! The loop over keys: some blocks of queries of one head share each block of keys while it is in the cache.

use std::f64::consts::{LN_2, LOG2_E};
use std::ops::Range;

use super::Shared;
use super::block::{Block, Head, in_two};
use super::overview::{LaneTiles, TileRows, Tiles};
use attlas_kernels::dispatch::{Task, block_rows};
use attlas_kernels::vector::{MAX_WIDTH, Vector};
use attlas_kernels::{Carver, SCRATCH, turn};

/// Numbers of a block of keys that stay in the first-level cache beside scores and queries.
const KEY_BLOCK_NUMBERS: usize = 3072;
/// The most keys in a block, whose scores stay in the first-level cache.
const MAX_KEY_BLOCK: usize = 144;

/// Where each row's log-sum-exp goes to, or comes from. Shape `[n_heads, n_queries]`.
pub(super) enum Lse<'a> {
    /// It is computed and written here.
    Write(Shared<'a>),
    /// It was recorded: overviews are relative to it.
    Given(&'a [f64]),
}

/// One piece of work: some queries of one head, all their keys.
pub(super) struct Group<'a> {
    pub head: &'a Head<'a>,
    pub head_index: usize,
    pub n_heads: usize,
    pub n_queries: usize,
    pub n_keys: usize,
    pub rows: Range<usize>,
    /// Shape `[n_queries, n_heads, d_value]`.
    pub context: &'a Shared<'a>,
    pub lse: &'a Lse<'a>,
    /// Rows and columns of the overview, where one is wanted.
    pub overview: Option<(usize, usize)>,
}

impl Task for Group<'_> {
    type Output = Option<TileRows>;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> Option<TileRows> {
        let n_columns = self.overview.map_or(1, |(_, columns)| columns);
        let key_tiles = Tiles::new(self.n_keys, n_columns);
        let mut tiles =
            self.overview.map(|(rows, columns)| TileRows::new(&self.rows, Tiles::new(self.n_queries, rows), columns));
        let key_block = key_block(self.head.d_head.max(self.head.d_value));

        let mut scratch = SCRATCH.take();
        let mut carver = Carver::new(&mut scratch, self.scratch_numbers::<V>(key_block, n_columns));
        let scores = carver.take(key_block * MAX_WIDTH); // [key_block, width]
        let mut blocks = self.blocks::<V>(&mut carver, n_columns);
        for block in &mut blocks {
            // SAFETY: the caller vouches for the instructions.
            unsafe { block.begin::<V>(self.head) }
        }
        let visible = self.head.rule.visible(&self.rows);
        for start in visible.clone().step_by(key_block) {
            for block in &mut blocks {
                let seen = self.head.rule.visible(&block.rows);
                let keys = start.max(seen.start)..(start + key_block).min(seen.end);
                if keys.start >= keys.end || !self.head.rule.any_sees(&block.rows, &keys) {
                    continue;
                }
                let width = block.sum.len();
                let scores = &mut scores[..keys.len() * width];
                // SAFETY: the caller vouches for the instructions.
                unsafe {
                    match width / V::LANES {
                        1 => block.step::<V, 1>(self.head, &keys, &key_tiles, scores),
                        3 if const { V::TILE_COLUMNS == 3 } => block.step::<V, 3>(self.head, &keys, &key_tiles, scores),
                        _ => block.step::<V, 2>(self.head, &keys, &key_tiles, scores),
                    }
                }
            }
        }
        for block in &mut blocks {
            // SAFETY: the caller vouches for the instructions.
            unsafe { self.finish::<V>(block, &key_tiles, tiles.as_mut()) }
        }
        drop(blocks);
        SCRATCH.set(scratch);
        tiles
    }
}

impl Group<'_> {
    /// Numbers of working memory that the group needs at most.
    fn scratch_numbers<V: Vector>(&self, key_block: usize, n_columns: usize) -> usize {
        let per_lane = self.head.d_head + self.head.d_value + 3 + self.overview.map_or(0, |_| 3 * n_columns);
        let n_blocks = self.rows.len().div_ceil(block_rows::<V>());
        let n_lanes = n_blocks * block_rows::<V>();
        key_block * MAX_WIDTH + n_lanes * per_lane + (n_blocks + 1) * 8 * Carver::ALIGNMENT
    }

    /// The group's rows as blocks, their memory taken from `carver`.
    fn blocks<'s, V: Vector>(&self, carver: &mut Carver<'s>, n_columns: usize) -> Vec<Block<'s>> {
        let mut blocks = Vec::new();
        let block_rows = block_rows::<V>();
        for start in self.rows.clone().step_by(block_rows) {
            let rows = start..(start + block_rows).min(self.rows.end);
            let width = rows.len().next_multiple_of(V::LANES);
            blocks.push(Block {
                queries: carver.take(self.head.d_head * width),
                context: carver.take(self.head.d_value * width),
                reference: carver.take(width),
                sum: carver.take(width),
                lost: carver.take(width),
                overview: self.overview.map(|_| {
                    let mut take = || carver.take(n_columns * width);
                    LaneTiles::new(take(), take(), take(), width)
                }),
                rows,
            });
        }
        blocks
    }

    /// Writes the block's results.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, block: &mut Block<'_>, key_tiles: &Tiles, tiles: Option<&mut TileRows>) {
        let width = block.sum.len();
        let d_value = self.head.d_value;
        // per lane: the log-sum-exp in powers of two as two numbers, and what makes weights of sums
        let mut log_sums = [f32::INFINITY; MAX_WIDTH]; // [width]
        let mut rests = [0.0_f32; MAX_WIDTH]; // [width]
        let mut factors = [0.0_f32; MAX_WIDTH]; // [width]
        for (lane, row) in block.rows.clone().enumerate() {
            let at = self.head_index * self.n_queries + row;
            let log_sum = match self.lse {
                // SAFETY: this row of this head belongs to this group alone.
                Lse::Write(lse) => unsafe {
                    let log_sum = block.log_sum(lane, self.head.rule.sink);
                    lse.part(at..at + 1)[0] = (log_sum * LN_2) as f32;
                    log_sum
                },
                Lse::Given(lse) => lse[at] * LOG2_E,
            };
            factors[lane] = block.factor(lane, log_sum);
            (log_sums[lane], rests[lane]) = in_two(log_sum);
        }
        // SAFETY: the caller vouches for the instructions; the context holds all lanes, and these rows of this head belong to
        // this group alone.
        unsafe {
            block.scale_context::<V>(&factors);
            let (n, stride) = (block.rows.len(), self.n_heads * d_value);
            let from = (block.rows.start * self.n_heads + self.head_index) * d_value;
            let to = self.context.at(from, if d_value == 0 { 0 } else { (n - 1) * stride + d_value });
            turn::<V>(block.context.as_ptr(), width, [d_value, n], to, stride);
            for (lane, _) in factors[..n].iter().enumerate().filter(|(_, factor)| **factor == 0.0) {
                self.context.part(from + lane * stride..from + lane * stride + d_value).fill(0.0);
            }
        }
        if let (Some(tiles), Some(overview)) = (tiles, &mut block.overview) {
            // SAFETY: the caller vouches for the instructions.
            unsafe {
                match width / V::LANES {
                    1 => overview.weigh::<V, 1>(&log_sums, &rests, &factors),
                    3 if const { V::TILE_COLUMNS == 3 } => overview.weigh::<V, 3>(&log_sums, &rests, &factors),
                    _ => overview.weigh::<V, 2>(&log_sums, &rests, &factors),
                }
                overview.fold::<V>(&block.rows, key_tiles, tiles);
            }
        }
    }
}

/// Keys per block, so that a block of keys or of values stays in the cache; whole tiles of 6 or of 8 rows.
pub(super) fn key_block(d: usize) -> usize {
    (KEY_BLOCK_NUMBERS / d.max(1)).next_multiple_of(24).min(MAX_KEY_BLOCK)
}
