//! Pooled overviews, filled while the softmax runs: what a lane keeps of each column of tiles, and how lanes are
//! folded into tiles once their log-sum-exp is known.

use std::ops::Range;

use crate::Pooled;
use crate::pooled::edges;
use attlas_kernels::turn;
use attlas_kernels::vector::{MAX_LANES, MAX_WIDTH, Vector};

/// How an axis falls into tiles: tile `t` holds places `⌈t · n / n_tiles⌉` and on, as [`Pooled::keys`].
pub(super) struct Tiles {
    /// Where each tile begins, and where the last ends. Shape `[n_tiles + 1]`.
    edges: Vec<usize>,
}

impl Tiles {
    /// `n` places in `n_tiles` tiles.
    pub fn new(n: usize, n_tiles: usize) -> Tiles {
        Tiles { edges: edges(n, n_tiles).collect() }
    }

    /// How many tiles there are.
    pub fn len(&self) -> usize {
        self.edges.len() - 1
    }

    /// The places of a tile.
    pub fn places(&self, tile: usize) -> Range<usize> {
        self.edges[tile]..self.edges[tile + 1]
    }

    /// The tile that a place lies in.
    pub fn of(&self, place: usize) -> usize {
        place * self.len() / self.edges[self.len()]
    }

    /// `keys` cut at the tiles' edges, each piece with its tile.
    pub fn split(&self, keys: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let tiles = if keys.is_empty() { 0..0 } else { self.of(keys.start)..self.of(keys.end - 1) + 1 };
        tiles.map(move |tile| {
            let inside = self.places(tile);
            (tile, inside.start.max(keys.start)..inside.end.min(keys.end))
        })
    }
}

/// What each lane of a query block keeps per column of tiles. Shapes `[n_tiles, width]`.
pub(super) struct LaneTiles<'s> {
    /// The largest score, in powers of two.
    pub largest: &'s mut [f32],
    /// Where it is, counted from the tile's first key.
    pub position: &'s mut [f32],
    /// `Σ 2^(score − reference)`.
    pub sum: &'s mut [f32],
    /// Tiles that were met so far.
    seen: Range<usize>,
    width: usize,
}

impl<'s> LaneTiles<'s> {
    /// Keeps its numbers in these buffers, `[n_tiles, width]` each.
    pub fn new(largest: &'s mut [f32], position: &'s mut [f32], sum: &'s mut [f32], width: usize) -> LaneTiles<'s> {
        LaneTiles { largest, position, sum, seen: 0..0, width }
    }

    /// Forgets everything.
    pub fn begin(&mut self) {
        self.seen = 0..0;
    }

    /// The sums of the tiles met so far. Shape `[n_seen, width]`.
    pub fn seen_sums(&mut self) -> &mut [f32] {
        &mut self.sum[self.seen.start * self.width..self.seen.end * self.width]
    }

    /// Takes in the maxima of `scores`, whose first row is key `within` of `tile`. Shape `[n_rows, C · LANES]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn take_maxima<V: Vector, const C: usize>(&mut self, tile: usize, within: usize, scores: &[f32]) {
        self.meet(tile);
        let lanes = tile * self.width..(tile + 1) * self.width;
        let (largest, position) = (&mut self.largest[lanes.clone()], &mut self.position[lanes]);
        assert!(largest.len() == C * V::LANES);
        // SAFETY: the caller vouches for the instructions; the slices hold `C · LANES` numbers.
        unsafe {
            for c in 0..C {
                let mut best = V::load(largest.as_ptr().add(c * V::LANES));
                let mut best_at = V::load(position.as_ptr().add(c * V::LANES));
                for (step, row) in scores.chunks_exact(C * V::LANES).enumerate() {
                    let score = V::load(row.as_ptr().add(c * V::LANES));
                    best_at = best.where_less(score, V::splat((within + step) as f32), best_at);
                    best = score.max(best);
                }
                best.store(largest.as_mut_ptr().add(c * V::LANES));
                best_at.store(position.as_mut_ptr().add(c * V::LANES));
            }
        }
    }

    /// Adds to the sums of `tile`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn add_sums<V: Vector, const C: usize>(&mut self, tile: usize, sums: &[V; C]) {
        let slots = &mut self.sum[tile * self.width..(tile + 1) * self.width];
        for (slot, sum) in slots.chunks_exact_mut(V::LANES).zip(sums) {
            // SAFETY: the caller vouches for the instructions; `slot` holds `LANES` numbers.
            unsafe { V::load(slot.as_ptr()).add(*sum).store(slot.as_mut_ptr()) }
        }
    }

    /// Clears a tile that is met for the first time; tiles are met in rising order.
    fn meet(&mut self, tile: usize) {
        if self.seen.contains(&tile) {
            return;
        }
        let lanes = tile * self.width..(tile + 1) * self.width;
        self.largest[lanes.clone()].fill(f32::NEG_INFINITY);
        self.position[lanes.clone()].fill(0.0);
        self.sum[lanes].fill(0.0);
        self.seen = if self.seen.is_empty() { tile..tile + 1 } else { self.seen.start..tile + 1 };
    }

    /// Turns largest scores and sums into weights: `2^(largest − log_sum)` and `sum · factor`.
    ///
    /// `log_sum` comes in two parts that add up to it exactly enough; all have shape `[C · LANES]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn weigh<V: Vector, const C: usize>(&mut self, log_sum: &[f32], rest: &[f32], factor: &[f32]) {
        let width = C * V::LANES;
        assert!(log_sum.len() >= width && rest.len() >= width && factor.len() >= width && self.width == width);
        let seen = self.seen.start * width..self.seen.end * width;
        let rows = self.largest[seen.clone()].chunks_exact_mut(width).zip(self.sum[seen].chunks_exact_mut(width));
        for (largest, sum) in rows {
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: the caller vouches for the instructions; every slice holds at least `width` numbers.
                unsafe {
                    let at = largest.as_mut_ptr().add(lane);
                    let distance = V::load(at).sub(V::load(log_sum.as_ptr().add(lane)));
                    distance.sub(V::load(rest.as_ptr().add(lane))).exp2().store(at);
                    let at = sum.as_mut_ptr().add(lane);
                    V::load(at).mul(V::load(factor.as_ptr().add(lane))).store(at);
                }
            }
        }
    }

    /// Folds the lanes, weighed, into `tiles`; lane 0 is query `rows.start`.
    ///
    /// Lanes are exchanged for columns, a register of them at a time, so that the queries of one row of tiles are compared in registers.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn fold<V: Vector>(&self, rows: &Range<usize>, key_tiles: &Tiles, tiles: &mut TileRows) {
        let mut turned = [[0.0_f32; MAX_WIDTH * MAX_LANES]; 3]; // [largest, position, sum][lane][column]
        for first in self.seen.clone().step_by(V::LANES) {
            let columns = first..(first + V::LANES).min(self.seen.end);
            for (kept, turned) in [&*self.largest, self.position, self.sum].into_iter().zip(&mut turned) {
                let kept = &kept[first * self.width..columns.end * self.width];
                // SAFETY: the caller vouches for the instructions; there is a row of `width` numbers for each column, and
                // room for a register for each lane.
                unsafe {
                    turn::<V>(kept.as_ptr(), self.width, [columns.len(), rows.len()], turned.as_mut_ptr(), V::LANES);
                }
            }
            for tile in tiles.row_tiles.of(rows.start)..tiles.row_tiles.of(rows.end - 1) + 1 {
                let inside = tiles.row_tiles.places(tile);
                let lanes = inside.start.max(rows.start) - rows.start..inside.end.min(rows.end) - rows.start;
                // SAFETY: the caller vouches for the instructions.
                let best = unsafe { Best::of::<V>(&turned, lanes) };
                let cell = (tile - tiles.first) * key_tiles.len();
                for (column, start) in columns.clone().map(|column| (column, key_tiles.places(column).start)) {
                    best.merge_into(column - first, cell + column, (rows.start, start), tiles);
                }
            }
        }
    }
}

/// What some lanes hold together, for each of a register's columns.
struct Best {
    largest: [f32; MAX_LANES],
    lane: [f32; MAX_LANES],
    position: [f32; MAX_LANES],
    sum: [f32; MAX_LANES],
}

impl Best {
    /// The first lane with the largest number, and the sum of all.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn of<V: Vector>(turned: &[[f32; MAX_WIDTH * MAX_LANES]; 3], lanes: Range<usize>) -> Best {
        let none = [0.0; MAX_LANES];
        let mut best = Best { largest: none, lane: none, position: none, sum: none };
        assert!(V::LANES <= MAX_LANES && lanes.end <= MAX_WIDTH);
        // SAFETY: the caller vouches for the instructions; every slice has room for a register at each lane.
        unsafe {
            let [mut largest, mut lane_of, mut position, mut sum] = [V::splat(0.0); 4];
            for lane in lanes {
                let [number, at, addend] = [0, 1, 2].map(|which| V::load(turned[which].as_ptr().add(lane * V::LANES)));
                lane_of = largest.where_less(number, V::splat(lane as f32), lane_of);
                position = largest.where_less(number, at, position);
                largest = number.max(largest);
                sum = sum.add(addend);
            }
            largest.store(best.largest.as_mut_ptr());
            lane_of.store(best.lane.as_mut_ptr());
            position.store(best.position.as_mut_ptr());
            sum.store(best.sum.as_mut_ptr());
        }
        best
    }

    /// Adds what is kept for `column` to a cell whose queries and keys are counted from `starts`.
    fn merge_into(&self, column: usize, cell: usize, starts: (usize, usize), tiles: &mut TileRows) {
        tiles.sum[cell] += f64::from(self.sum[column]);
        if self.largest[column] > tiles.max[cell] {
            tiles.max[cell] = self.largest[column];
            let (lane, position) = (self.lane[column] as usize, self.position[column] as usize);
            tiles.argmax[cell] = ((starts.0 + lane) as u32, (starts.1 + position) as u32);
        }
    }
}

/// The part of an overview that one group of rows fills.
pub(super) struct TileRows {
    /// The overview's first row of tiles that is here.
    first: usize,
    /// How rows of the map fall into rows of tiles.
    row_tiles: Tiles,
    /// Shape `[n_rows, n_columns]`, as the two below.
    max: Vec<f32>,
    sum: Vec<f64>,
    argmax: Vec<(u32, u32)>,
}

impl TileRows {
    /// Room for `rows` of the map, none of them taken in yet.
    pub fn new(rows: &Range<usize>, row_tiles: Tiles, n_columns: usize) -> TileRows {
        let first = row_tiles.of(rows.start);
        let n_cells = (row_tiles.of(rows.end - 1) + 1 - first) * n_columns;
        TileRows { first, row_tiles, max: vec![0.0; n_cells], sum: vec![0.0; n_cells], argmax: vec![(0, 0); n_cells] }
    }

    /// Adds this part to the whole; parts must come in the order of their rows.
    pub fn merge_into(&self, pooled: &mut Pooled) {
        let from = self.first * pooled.columns;
        for cell in 0..self.max.len() {
            pooled.sum[from + cell] += self.sum[cell];
            if self.max[cell] > pooled.max[from + cell] {
                pooled.max[from + cell] = self.max[cell];
                pooled.argmax[from + cell] = self.argmax[cell];
            }
        }
    }
}
