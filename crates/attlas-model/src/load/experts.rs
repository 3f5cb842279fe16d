//! The experts of a mixture: a matrix of each, or all in one tensor. Of numbers, as `[n, d_out, d_in]` with the gate's rows
//! first, or as `[n, d_in, d_out]` with gate and up columns taking turns; or in MXFP4, as `[n, d_out, d_in]` with such rows.

use std::sync::Arc;

use attlas_kernels::{Code, MAX_POWER, Precision};

use super::rearrange::{scale, transpose};
use super::{ExpertNames, FeedForwardNames, Loader, Part, ended};
use crate::Error;
use crate::block::feed_forward::Xielu;
use crate::block::linear::{Linear, Weight};
use crate::block::weights::{Expert, MixtureWeights, SharedExpert};
use crate::config::{Block, Experts, FeedForward};
use crate::weights::Bytes;
use crate::weights::stored_rows::StoredRows;

/// Numbers in a block of MXFP4, and its bytes without the power of two.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 16;

/// One of the two matrices of every expert, in one tensor.
struct Matrices<'a> {
    name: &'a str,
    n: usize,
    d_out: usize,
    d_in: usize,
    order: Order,
    biases: bool,
}

/// How the numbers of each expert lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// `[d_out, d_in]`.
    OutIn,
    /// `[d_in, d_out]`.
    InOut,
    /// The same, gate and up taking turns, the gate's first.
    Turning,
}

impl Order {
    /// Where a row of `d_out` is stored: of those that take turns, rows 0, 2, 4, … are the gate's.
    fn place(self, row: usize, d_out: usize) -> usize {
        let d_hidden = d_out / 2;
        match self {
            Order::Turning if row < d_hidden => 2 * row,
            Order::Turning => 2 * (row - d_hidden) + 1,
            _ => row,
        }
    }
}

impl Loader<'_> {
    /// The router, the experts, and the one that all tokens share.
    pub(super) fn mixture(
        &self,
        block: &Block,
        experts: Experts,
        names: &FeedForwardNames,
        layer: &str,
        d_model: usize,
    ) -> Result<MixtureWeights, Error> {
        let (config, factor) = (&block.feed_forward, block.residual_factor);
        let under = |name: &str| format!("{layer}{name}");
        let is_there = |name: &&&str| self.checkpoint.contains(&ended(&under(name), "weight"));
        let router = names.routers.iter().find(is_there).or(names.routers.first()).map_or("", |name| *name);
        let stored = names.experts.iter().find(|stored| self.has_experts(stored, layer)).or(names.experts.first());
        let [shared, gate] = names.shared;
        let of_shared = |d_hidden: usize| -> Result<SharedExpert, Error> {
            let [first, second, last] = names.shared_parts.map(|name| format!("{}.{name}", under(shared)));
            let part = |name: String, d_out: usize| Part { name, d_out, bias: false };
            let up = match names.shared_parts[0].is_empty() {
                true => vec![part(second, 2 * d_hidden)],
                false => vec![part(first, d_hidden), part(second, d_hidden)],
            };
            let up = self.stacked(&up, d_model)?;
            let mut down = self.linear(&last, d_model, d_hidden, false)?;
            scale(&mut down, factor);
            let gate = (!gate.is_empty()).then(|| self.linear(&under(gate), 1, d_model, false)).transpose()?;
            Ok(SharedExpert { expert: Expert { up, down, xielu: None }, gate })
        };
        let mut all =
            stored.map_or(Ok(Vec::new()), |stored| self.experts(config, experts.n, stored, layer, d_model))?;
        all.iter_mut().for_each(|expert| scale(&mut expert.down, factor));
        Ok(MixtureWeights {
            config: experts,
            router: self.linear(&under(router), experts.n, d_model, config.biases)?,
            experts: all,
            correction: match experts.routing.is_sigmoid() {
                true => Some(self.checkpoint.tensor(&under(names.correction), &[experts.n])?),
                false => None,
            },
            shared: experts.d_shared.map(of_shared).transpose()?,
        })
    }

    /// Whether the experts are stored like this.
    fn has_experts(&self, names: &ExpertNames, layer: &str) -> bool {
        let has = |name: String| self.checkpoint.contains(&format!("{layer}{name}"));
        match names {
            ExpertNames::Apart { up, .. } => has(ended(&up.replace("{}", "0"), "weight")),
            ExpertNames::Stacked { up, .. } => has((*up).to_owned()),
            ExpertNames::Turning { up, .. } => has((*up).to_owned()) || has(format!("{up}_blocks")),
        }
    }

    /// All experts of one layer.
    pub(super) fn experts(
        &self,
        config: &FeedForward,
        n: usize,
        names: &ExpertNames,
        layer: &str,
        d_model: usize,
    ) -> Result<Vec<Expert>, Error> {
        let (d_hidden, biases) = (config.d_hidden, config.biases);
        let (up, down, orders) = match names {
            ExpertNames::Apart { gate, up, down } => {
                let one = |index: usize| {
                    let named = |name: &str| format!("{layer}{}", name.replace("{}", &index.to_string()));
                    let part = |name: &str| Part { name: named(name), d_out: d_hidden, bias: biases };
                    let up = self.stacked(&[part(gate), part(up)], d_model)?;
                    Ok(Expert { up, down: self.linear(&named(down), d_model, d_hidden, biases)?, xielu: None })
                };
                return (0..n).map(one).collect();
            }
            ExpertNames::Stacked { up, down } => (up, down, [Order::OutIn, Order::OutIn]),
            ExpertNames::Turning { up, down } => (up, down, [Order::Turning, Order::InOut]),
        };
        let [up_name, down_name] = [up, down].map(|name| format!("{layer}{name}"));
        let up = Matrices { name: &up_name, n, d_out: 2 * d_hidden, d_in: d_model, order: orders[0], biases };
        let down = Matrices { name: &down_name, n, d_out: d_model, d_in: d_hidden, order: orders[1], biases };
        let experts = self.matrices(&up)?.into_iter().zip(self.matrices(&down)?);
        Ok(experts.map(|(up, down)| Expert { up, down, xielu: None }).collect())
    }

    /// One of the two layers of every expert.
    fn matrices(&self, of: &Matrices<'_>) -> Result<Vec<Linear>, Error> {
        let Matrices { name, n, d_out, d_in, order, .. } = *of;
        let biases = match of.biases {
            true => Some(self.checkpoint.tensor(&format!("{name}_bias"), &[n, d_out])?),
            false => None,
        };
        let weights = match self.checkpoint.contains(&format!("{name}_blocks")) {
            true => self.in_mxfp4(of)?,
            false => match self.in_halves(of)? {
                Some(weights) => weights,
                None => self.in_numbers(of)?,
            },
        };
        let layers = weights.into_iter().enumerate().map(|(index, weight)| {
            let bias = biases.as_ref().map(|biases| &biases[index * d_out..][..d_out]);
            let bias = bias.map(|bias| Arc::new((0..d_out).map(|row| bias[order.place(row, d_out)]).collect()));
            Linear { weight, bias, d_in, d_out, precision: Precision::Exact }
        });
        Ok(layers.collect())
    }

    /// The tensors `NAME_blocks` and `NAME_scales`, which stay packed.
    fn in_mxfp4(&self, of: &Matrices<'_>) -> Result<Vec<Weight>, Error> {
        let Matrices { name, n, d_out, d_in, .. } = *of;
        let (blocks_name, scales_name) = (format!("{name}_blocks"), format!("{name}_scales"));
        if d_in % BLOCK != 0 {
            return Err(Error::tensor(
                self.checkpoint.path(),
                &blocks_name,
                format!("is in MXFP4, whose rows are blocks of {BLOCK} numbers, but rows of {d_in} are asked for"),
            ));
        }
        let blocks = self.checkpoint.byte_tensor(&blocks_name, &[n, d_out, d_in / BLOCK, BLOCK_BYTES])?;
        let scales = self.checkpoint.bytes(&scales_name, &[n, d_out, d_in / BLOCK])?;
        if let Some(place) = scales.iter().position(|scale| *scale > MAX_POWER) {
            let scale = scales[place];
            return Err(Error::tensor(
                self.checkpoint.path(),
                &scales_name,
                format!("holds {scale} at place {place}; scales up to {MAX_POWER} make finite numbers"),
            ));
        }
        let scales = Arc::new(scales);
        let n_powers = d_out * d_in / BLOCK;
        let mut weights = Vec::with_capacity(n);
        for index in 0..n {
            let of_expert =
                self.part(&blocks_name, &blocks.bytes, index * n_powers * BLOCK_BYTES, n_powers * BLOCK_BYTES)?;
            let powers = Bytes::Memory { bytes: Arc::clone(&scales), offset: index * n_powers, len: n_powers };
            let rows = StoredRows::mxfp4(of_expert, powers);
            weights.extend(self.ordered(of, &blocks_name, rows)?);
        }
        Ok(weights)
    }

    /// Numbers of 16 bits, which stay so; `None` where they are stored in another way, or are not finite.
    fn in_halves(&self, of: &Matrices<'_>) -> Result<Option<Vec<Weight>>, Error> {
        let Matrices { name, n, d_out, d_in, order, .. } = *of;
        let stored = self.checkpoint.stored_rows(name, &of.shape())?;
        let tensor = self.checkpoint.get(name);
        let (Some(rows @ StoredRows { code: Code::F16 | Code::Bf16, .. }), Some(tensor)) = (stored, tensor) else {
            return Ok(None);
        };
        if matches!(tensor.bytes, Bytes::Made { .. }) {
            return Ok(None);
        }
        let n_bytes = 2 * d_in * d_out;
        let mut weights = Vec::with_capacity(n);
        for index in 0..n {
            let of_expert = StoredRows::plain(rows.code, self.part(name, &tensor.bytes, index * n_bytes, n_bytes)?);
            let in_rows = match order {
                Order::OutIn => Some(of_expert),
                _ => of_expert.turned(d_out).map_err(|source| self.io(name, source))?,
            };
            let Some(in_rows) = in_rows else { return Ok(None) };
            match self.ordered(of, name, in_rows)? {
                Some(weight) => weights.push(weight),
                None => return Ok(None),
            }
        }
        Ok(Some(weights))
    }

    /// The same as numbers.
    fn in_numbers(&self, of: &Matrices<'_>) -> Result<Vec<Weight>, Error> {
        let Matrices { name, d_out, d_in, order, .. } = *of;
        let stored = self.checkpoint.numbers(name, &of.shape())?;
        let weights = stored.chunks_exact(d_in * d_out).map(|numbers| {
            let mut rows = numbers.to_vec(); // [d_out, d_in]
            if order != Order::OutIn {
                transpose(numbers, &mut rows, d_in, d_out);
            }
            let ordered = (0..d_out).flat_map(|row| &rows[order.place(row, d_out) * d_in..][..d_in]);
            Weight::Rows(Arc::new(ordered.copied().collect()))
        });
        Ok(weights.collect())
    }

    /// An expert's rows, in the order in which they are computed with.
    fn ordered(&self, of: &Matrices<'_>, name: &str, rows: StoredRows) -> Result<Option<Weight>, Error> {
        let Matrices { d_out, d_in, order, .. } = *of;
        self.coded(&[(rows.ordered(move |row| order.place(row, d_out)), d_out, name)], d_in)
    }

    /// Some bytes of a tensor, read.
    fn part(&self, name: &str, bytes: &Bytes, start: usize, len: usize) -> Result<Bytes, Error> {
        let mut part = vec![0; len];
        bytes.read(start, &mut part).map_err(|source| self.io(name, source))?;
        Ok(Bytes::Memory { bytes: Arc::new(part), offset: 0, len })
    }
}

impl Matrices<'_> {
    /// The tensor's shape where it holds numbers.
    fn shape(&self) -> [usize; 3] {
        match self.order {
            Order::OutIn => [self.n, self.d_out, self.d_in],
            _ => [self.n, self.d_in, self.d_out],
        }
    }
}

impl Loader<'_> {
    /// The numbers of a learnt non-linearity; both slopes are stored as what the logarithm of `1 + e^x` makes positive.
    pub(super) fn xielu(&self, name: &str) -> Result<Xielu, Error> {
        let number = |part: &str| {
            let name = format!("{name}.{part}");
            let has_axis = self.checkpoint.get(&name).is_some_and(|tensor| !tensor.shape.is_empty());
            let shape: &[usize] = if has_axis { &[1] } else { &[] };
            Ok::<f64, Error>(self.checkpoint.numbers(&name, shape)?.iter().map(|x| f64::from(*x)).sum())
        };
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let beta = number("beta")?;
        Ok(Xielu {
            above: softplus(number("alpha_p")?) as f32,
            below: (beta + softplus(number("alpha_n")?)) as f32,
            beta: beta as f32,
            epsilon: number("eps")? as f32,
        })
    }
}
