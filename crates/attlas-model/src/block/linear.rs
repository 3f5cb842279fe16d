//! A dense layer: `y = x · Wᵀ + b`.

use std::borrow::Cow;
use std::sync::Arc;

use attlas_kernels::{Coded, Finish, Onto, Packed, Precision, Threads};

use crate::config::Activation;

/// A dense layer's weights.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Shape `[d_out, d_in]`.
    pub weight: Weight,
    /// Shape `[d_out]`.
    pub bias: Option<Arc<Vec<f32>>>,
    /// Width of the input.
    pub d_in: usize,
    /// Width of the output.
    pub d_out: usize,
    /// How exact its products are.
    pub precision: Precision,
}

/// A matrix of weights: as rows while a model is put together, packed when it is ready to run.
///
/// Loading ends with [`pack`](Linear::pack); whatever reads the numbers of a matrix before or after that asks for
/// [`rows`](Weight::rows) or for one [`row`](Weight::row), so that how they lie in memory can change without it.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Rows one after the other. Shape `[d_out, d_in]`.
    Rows(Arc<Vec<f32>>),
    /// In the order in which products read them.
    Packed(Arc<Packed>),
    /// In that order, in the type in which the file stores them.
    Coded(Arc<Coded>),
    /// In that order for both ways: of training, where products go back as often as forwards.
    BothWays(Arc<BothWays>),
}

/// A matrix in the order in which products read it, forwards and back.
#[derive(Debug)]
pub struct BothWays {
    /// Shape `[d_out, d_in]`.
    forwards: Packed,
    /// Its transpose. Shape `[d_in, d_out]`.
    back: Packed,
}

impl BothWays {
    /// Puts rows in order. Shape `[d_out, d_in]`.
    ///
    /// # Panics
    /// When there are not exactly as many numbers.
    pub fn new(rows: &[f32], d_out: usize, d_in: usize) -> BothWays {
        BothWays {
            forwards: Packed::new(rows, d_out, d_in),
            back: Packed::new(&transposed(rows, d_out, d_in), d_in, d_out),
        }
    }

    /// `output = input · W`, or added to it. Shapes `[n, d_out]` and `[n, d_in]`.
    pub(super) fn multiply_back(&self, input: &[f32], onto: Onto, output: &mut [f32]) {
        self.back.multiply(input, Finish { onto, ..Finish::PLAIN }, Threads::All, output);
    }
}

/// The transpose, square by square, so that lines of the cache are used whole. Shapes `[n_rows, n_columns]` and back.
fn transposed(matrix: &[f32], n_rows: usize, n_columns: usize) -> Vec<f32> {
    const SQUARE: usize = 16;
    let mut turned = vec![0.0; matrix.len()]; // [n_columns, n_rows]
    for (top, rows) in matrix.chunks(SQUARE * n_columns.max(1)).enumerate() {
        for left in (0..n_columns).step_by(SQUARE) {
            let width = SQUARE.min(n_columns - left);
            for (row, numbers) in rows.chunks_exact(n_columns).enumerate() {
                for (column, number) in numbers[left..left + width].iter().enumerate() {
                    turned[(left + column) * n_rows + top * SQUARE + row] = *number;
                }
            }
        }
    }
    turned
}

impl Weight {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Weight::Rows(rows) => rows.len(),
            Weight::Packed(packed) => packed.d_out() * packed.d_in(),
            Weight::Coded(coded) => coded.d_out() * coded.d_in(),
            Weight::BothWays(both) => both.forwards.d_out() * both.forwards.d_in(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies one row; its length is `d_in`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, index: usize, row: &mut [f32]) {
        match self {
            Weight::Rows(rows) => row.copy_from_slice(&rows[index * row.len()..][..row.len()]),
            Weight::Packed(packed) => packed.row(index, row),
            Weight::Coded(coded) => coded.row(index, row),
            Weight::BothWays(both) => both.forwards.row(index, row),
        }
    }

    /// All rows one after the other; a copy where they are packed. Shape `[d_out, d_in]`.
    pub fn rows(&self) -> Cow<'_, [f32]> {
        match self {
            Weight::Rows(rows) => Cow::Borrowed(rows),
            Weight::Packed(packed) => {
                let mut rows = vec![0.0; self.len()]; // [d_out, d_in]
                packed.rows(&mut rows);
                Cow::Owned(rows)
            }
            Weight::Coded(coded) => {
                let mut rows = vec![0.0; self.len()]; // [d_out, d_in]
                coded.rows(&mut rows);
                Cow::Owned(rows)
            }
            Weight::BothWays(both) => {
                let mut rows = vec![0.0; self.len()]; // [d_out, d_in]
                both.forwards.rows(&mut rows);
                Cow::Owned(rows)
            }
        }
    }

    /// Whether both are the same numbers in memory.
    pub(crate) fn shares(&self, other: &Weight) -> bool {
        match (self, other) {
            (Weight::Rows(one), Weight::Rows(other)) => Arc::ptr_eq(one, other),
            (Weight::Packed(one), Weight::Packed(other)) => Arc::ptr_eq(one, other),
            (Weight::Coded(one), Weight::Coded(other)) => Arc::ptr_eq(one, other),
            (Weight::BothWays(one), Weight::BothWays(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Default for Weight {
    fn default() -> Weight {
        Weight::Rows(Arc::default())
    }
}

impl Linear {
    /// A layer of these rows. Shapes `[d_out, d_in]` and `[d_out]`.
    pub fn new(weight: Vec<f32>, bias: Option<Vec<f32>>, d_out: usize, d_in: usize) -> Linear {
        Linear {
            weight: Weight::Rows(Arc::new(weight)),
            bias: bias.map(Arc::new),
            d_in,
            d_out,
            precision: Precision::Exact,
        }
    }

    /// Puts the weights in the order in which products read them.
    pub fn pack(&mut self) {
        if let Weight::Rows(rows) = &self.weight {
            self.weight = Weight::Packed(Arc::new(Packed::new(rows, self.d_out, self.d_in)));
        }
    }

    /// `output = activation(x · Wᵀ + b)`. Shapes `[n, d_in]` and `[n, d_out]`.
    pub fn forward(&self, input: &[f32], output: &mut [f32], activation: Activation) {
        self.finish(input, output, activation, Onto::Replace);
    }

    /// `output = x · Wᵀ + b`, or added to it. Shapes `[n, d_in]` and `[n, d_out]`.
    pub(crate) fn forward_to(&self, input: &[f32], output: &mut [f32], onto: Onto) {
        self.finish(input, output, Activation::Identity, onto);
    }

    fn finish(&self, input: &[f32], output: &mut [f32], activation: Activation, onto: Onto) {
        let finish = Finish { bias: self.bias.as_ref().map(|bias| bias.as_slice()), activation, onto };
        match &self.weight {
            Weight::Packed(packed) => packed.multiply_at(self.precision, input, finish, Threads::All, output),
            Weight::Coded(coded) => coded.multiply_at(self.precision, input, finish, Threads::All, output),
            Weight::BothWays(both) => {
                both.forwards.multiply_at(self.precision, input, finish, Threads::All, output);
            }
            Weight::Rows(rows) => {
                let packed = Packed::new(rows, self.d_out, self.d_in);
                packed.multiply_at(self.precision, input, finish, Threads::All, output);
            }
        }
    }
}
