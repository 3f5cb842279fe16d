//! The forward pass of the generic Transformer: hidden states in, hidden states out, attention recorded on the way.

use attlas_kernels::Onto;
use rayon::prelude::*;

use super::convolution::Convolution;
use super::dropout::Dropout;
use super::embed::embed;
use super::feed_forward::feed_forward;
use super::join::Join;
use super::norm::NormWeights;
use super::pass::{Plan, Progress, Stopped, Watch, tell};
use super::rope::PatchPlaces;
use super::state::{AttentionCall, Batch, LayerState, Source, StackState};
use super::weights::{BlockWeights, FeedForwardWeights, Mixer, StackWeights};
use super::workspace::{Workspace, sized};
use crate::config::{Block, Patches, Places, Reads, Residual, SideConvolution, Stack};

use attlas::Kind;

/// A stack with its weights and what its maps are called.
#[derive(Clone, Copy)]
pub(crate) struct StackRef<'a> {
    /// The configuration.
    pub config: &'a Stack,
    /// The weights.
    pub weights: &'a StackWeights,
    /// The kind of its self-attention.
    pub kind: Kind,
}

impl<'a> StackRef<'a> {
    /// Runs new tokens through the stack and returns the last hidden states. Shape `[n_items · n, d_model]`.
    ///
    /// # Errors
    /// When `watch` says so before one of the blocks.
    pub fn run(
        self,
        batch: Batch<'_>,
        source: Option<Source<'_>>,
        state: &mut StackState,
        plan: Plan<'_>,
        watch: &mut Watch<'_>,
        workspace: &mut Workspace,
    ) -> Result<Vec<f32>, Stopped> {
        let n_rows = batch.n_items * batch.n;
        let mut stream = vec![0.0; n_rows * self.config.d_model]; // [n_rows, d_model]
        embed(&self.config.embedding, &self.weights.embedding, batch, state.past, &mut stream, workspace);
        self.run_from(0, stream, batch, source, state, plan, watch, workspace)
    }

    /// Goes on from the hidden states that enter layer `first`; those that leave the stack, its norm applied, stay as they are.
    ///
    /// # Errors
    /// As [`StackRef::run`].
    #[allow(clippy::too_many_arguments)]
    pub fn run_from(
        self,
        first: usize,
        mut stream: Vec<f32>,
        batch: Batch<'_>,
        source: Option<Source<'_>>,
        state: &mut StackState,
        plan: Plan<'_>,
        watch: &mut Watch<'_>,
        workspace: &mut Workspace,
    ) -> Result<Vec<f32>, Stopped> {
        let n_layers = self.config.blocks.len();
        self.run_blocks(first, &mut stream, batch, source, state, plan, watch, workspace)?;
        if let Some(norm) = self.weights.final_norm.as_ref().filter(|_| first < n_layers) {
            norm.apply(&mut stream, self.config.d_model);
        }
        self.pass_by(n_layers, batch, plan, state, &mut stream);
        state.past += batch.n;
        Ok(stream)
    }

    /// Runs hidden states through the blocks from `first` on, and through nothing after them.
    ///
    /// # Errors
    /// As [`StackRef::run`].
    #[allow(clippy::too_many_arguments)]
    pub fn run_blocks(
        self,
        first: usize,
        stream: &mut [f32],
        batch: Batch<'_>,
        source: Option<Source<'_>>,
        state: &mut StackState,
        plan: Plan<'_>,
        watch: &mut Watch<'_>,
        workspace: &mut Workspace,
    ) -> Result<(), Stopped> {
        state.attention.resize_with(self.config.blocks.len(), LayerState::default);
        state.cross.resize_with(self.config.blocks.len(), LayerState::default);
        self.begin_pass(batch, state.past, workspace);
        for index in first..self.config.blocks.len() {
            tell(watch, Progress::Block { stack: self.kind, layer: index, n_layers: self.config.blocks.len() })?;
            self.pass_by(index, batch, plan, state, stream);
            let (block, call) = self.call(index, batch, source, plan, state.past);
            let beside = match (&self.config.convolution, &self.weights.convolution) {
                (Some(config), Some((convolution, norm))) if index == 0 => {
                    Some((convolve(config, convolution, batch, stream), norm))
                }
                _ => None,
            };
            let (attention, cross) = (&mut state.attention[index], &mut state.cross[index]);
            // on one of the pool's threads, so that no product has to wake it and wait for it
            rayon::scope(|_| block.run(call, attention, cross, stream, workspace));
            state.put_aside(self.kind, index, plan);
            if let Some((beside, norm)) = beside {
                norm.add_and_apply(stream, &beside, self.config.d_model);
            }
        }
        Ok(())
    }

    /// Says where the positions of a pass stand, after so many `past` ones.
    pub(super) fn begin_pass(self, batch: Batch<'_>, past: usize, workspace: &mut Workspace) {
        let places = match (&self.config.embedding.reads, batch.features) {
            (Reads::Patches(patches), Some(features)) => patches.places(features.shape),
            _ => PatchPlaces { positions: batch.positions.unwrap_or_default().to_vec(), ..PatchPlaces::default() },
        };
        workspace.begin_pass(past, batch.n_positions(), batch.lengths(past), places);
        workspace.added = self.places(batch);
    }

    /// What is added to the hidden states for queries and keys; empty where nothing is. Shape `[n_items · n, d_model]`.
    pub fn places(self, batch: Batch<'_>) -> Vec<f32> {
        let d_model = self.config.d_model;
        match (self.config.places, &self.config.embedding.reads, batch.features) {
            (Some(Places::Grid), Reads::Grid(backbone), Some(features)) => {
                let sides = backbone.grid([features.shape[1], features.shape[2]]);
                sines_of_grid(sides, d_model).repeat(batch.n_items)
            }
            (Some(Places::Table), ..) => {
                let mut rows = vec![0.0; batch.ids.len() * d_model]; // [n_items · n, d_model]
                let table = &self.weights.embedding.tokens;
                rows.chunks_exact_mut(d_model).zip(batch.ids).for_each(|(row, id)| table.row(*id as usize, row));
                rows
            }
            _ => Vec::new(),
        }
    }

    /// A block, and what its attention is called with after so many `past` positions.
    pub(super) fn call<'b>(
        self,
        layer: usize,
        batch: Batch<'b>,
        source: Option<Source<'b>>,
        plan: Plan<'b>,
        past: usize,
    ) -> (BlockRef<'a>, AttentionCall<'b>) {
        let StackRef { config, weights, kind } = self;
        let call = AttentionCall {
            kind,
            index: layer,
            n_items: batch.n_items,
            n: batch.n,
            past,
            valid: batch.valid,
            source,
            packing: batch.packing,
            dropout: Dropout::OFF,
            plan,
            onto: Onto::Replace,
        };
        (BlockRef { config: &config.blocks[layer], weights: &weights.blocks[layer], d_model: config.d_model }, call)
    }

    /// Changes and keeps the hidden states that enter a layer, where the plan says so.
    fn pass_by(self, layer: usize, batch: Batch<'_>, plan: Plan<'_>, state: &mut StackState, stream: &mut [f32]) {
        plan.edit_stream(self.kind, layer, batch.n, state.past, stream, self.config.d_model);
        if plan.keeps_stream(self.kind) {
            state.hidden.push(stream.to_vec());
        }
    }
}

/// Sines and cosines of each place of a grid: of its row as a share of all rows, then of its column, both up to 2π, each pair of columns
/// with a frequency of its own (Carion et al. 2020, §A.4). Shape `[rows · columns, d_model]`.
fn sines_of_grid([n_rows, n_columns]: [usize; 2], d_model: usize) -> Vec<f32> {
    let half = d_model / 2;
    let along = |place: usize, n: usize| -> Vec<f32> {
        let angle = (place + 1) as f64 / (n as f64 + 1e-6) * std::f64::consts::TAU;
        let column = |column: usize| {
            let angle = angle / 10_000_f64.powf((2 * (column / 2)) as f64 / half as f64);
            (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
        };
        (0..half).map(column).collect()
    };
    let columns: Vec<Vec<f32>> = (0..n_columns).map(|column| along(column, n_columns)).collect();
    let rows = (0..n_rows).map(|row| along(row, n_rows));
    rows.flat_map(|row| columns.iter().flat_map(move |column| [row.as_slice(), column].concat())).collect()
}

impl Patches {
    /// Where the patches of an image stand. Shape of the image: `[n_channels, height, width]`.
    fn places(&self, shape: &[usize]) -> PatchPlaces {
        let along = |axis: usize| shape.get(axis).map_or(0, |pixels| pixels / self.side);
        PatchPlaces { n_leading: self.n_leading(), n_rows: along(1), n_columns: along(2), positions: Vec::new() }
    }
}

/// A convolution over each item's rows, in which padding counts as zeros. Shapes `[n_items · n, d_model]`.
fn convolve(config: &SideConvolution, convolution: &Convolution, batch: Batch<'_>, stream: &[f32]) -> Vec<f32> {
    let d_model = stream.len() / (batch.n_items * batch.n);
    let mut input = stream.to_vec();
    if let Some(valid) = batch.valid {
        let padding = input.chunks_exact_mut(d_model).zip(valid).filter(|(_, valid)| !**valid);
        padding.for_each(|(row, _)| row.fill(0.0));
    }
    let items = input.chunks_exact(batch.n * d_model);
    items.flat_map(|item| convolution.forward(item, config.activation)).collect()
}

/// A block with its weights.
#[derive(Clone, Copy)]
pub(super) struct BlockRef<'a> {
    pub config: &'a Block,
    pub weights: &'a BlockWeights,
    pub d_model: usize,
}

impl BlockRef<'_> {
    /// Runs the block on the residual stream. Shape `[n_items · n, d_model]`.
    pub fn run(
        self,
        call: AttentionCall<'_>,
        state: &mut LayerState,
        cross_state: &mut LayerState,
        stream: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let BlockRef { config, weights, d_model } = self;
        if matches!(config.residual, Residual::Parallel | Residual::ParallelSharedNorm) {
            return self.run_parallel(call, state, stream, workspace);
        }
        let join = weights.mixer.join(config.residual);
        join.run(d_model, stream, workspace, |input, output, onto, workspace| {
            self.mix(AttentionCall { onto, ..call }, state, input, output, workspace);
        });
        if let (Some(cross_config), Some(cross)) = (&config.cross, &weights.cross) {
            let call = AttentionCall { kind: Kind::Cross, ..call };
            cross.join(config.residual).run(d_model, stream, workspace, |input, output, onto, workspace| {
                let call = AttentionCall { onto, ..call };
                call.run(cross_config, cross, cross_state, input, output, workspace);
            });
        }
        let join = weights.feed_forward_join(config.residual);
        join.run(d_model, stream, workspace, |input, output, onto, workspace| {
            call.keep_router(&weights.feed_forward, input, state);
            feed_forward(&config.feed_forward, &weights.feed_forward, input, output, onto, workspace);
        });
    }

    /// `output = mixer(input)`, or added to it. Shapes `[n_items · n, d_model]`.
    fn mix(
        self,
        call: AttentionCall<'_>,
        state: &mut LayerState,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut Workspace,
    ) {
        match &self.weights.mixer {
            Mixer::Attention(attention) => {
                call.run(&self.config.attention, attention, state, input, output, workspace);
            }
            Mixer::Recurrence(recurrence) => recurrence.run(call, &mut state.carried, input, output, workspace),
        }
    }

    /// `x + attention(norm(x)) + feed_forward(norm′(x))`.
    fn run_parallel(
        self,
        call: AttentionCall<'_>,
        state: &mut LayerState,
        stream: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let BlockRef { config, weights, d_model } = self;
        let mut normed = std::mem::take(&mut workspace.normed);
        let mut summed = std::mem::take(&mut workspace.sublayer);
        let input = sized(&mut normed, stream.len());
        normalise_to(weights.mixer.join(config.residual).before(), stream, input, d_model);
        let attended = sized(&mut summed, stream.len());
        self.mix(call, state, input, attended, workspace);
        if let Some(norm) = &weights.feed_forward_norm {
            norm.apply_to(stream, input, d_model);
        }
        add_rows(stream, attended);
        call.keep_router(&weights.feed_forward, input, state);
        feed_forward(&config.feed_forward, &weights.feed_forward, input, stream, Onto::Add, workspace);
        workspace.normed = normed;
        workspace.sublayer = summed;
    }
}

impl AttentionCall<'_> {
    /// Keeps which experts tokens go through, where the plan says so.
    fn keep_router(&self, weights: &FeedForwardWeights, input: &[f32], state: &mut LayerState) {
        if let FeedForwardWeights::Mixture(mixture) = weights
            && self.plan.parts(self.kind, self.index).router
        {
            state.router = mixture.shares(input);
            state.n_experts = mixture.experts.len();
        }
    }
}

impl Join<'_> {
    /// Runs `f(input, output, onto)` on the stream with the norms where they belong. Where nothing comes between, `f` adds
    /// what it computes to the stream itself.
    fn run(
        self,
        d_model: usize,
        stream: &mut [f32],
        workspace: &mut Workspace,
        f: impl FnOnce(&[f32], &mut [f32], Onto, &mut Workspace),
    ) {
        let mut output = std::mem::take(&mut workspace.sublayer);
        let mut normed = std::mem::take(&mut workspace.normed);
        match self {
            Join::Post(norm) => {
                let result = sized(&mut output, stream.len());
                f(stream, result, Onto::Replace, workspace);
                norm.add_and_apply(stream, result, d_model);
            }
            Join::OutputNorm(norm) => {
                let result = sized(&mut output, stream.len());
                f(stream, result, Onto::Replace, workspace);
                norm.apply(result, d_model);
                add_rows(stream, result);
            }
            Join::Sandwich(norm, post_norm) => {
                let result = sized(&mut output, stream.len());
                let input = sized(&mut normed, stream.len());
                normalise_to(norm, stream, input, d_model);
                f(input, result, Onto::Replace, workspace);
                post_norm.apply(result, d_model);
                add_rows(stream, result);
            }
            Join::Pre(norm) => {
                let input = sized(&mut normed, stream.len());
                normalise_to(norm, stream, input, d_model);
                f(input, stream, Onto::Add, workspace);
            }
        }
        workspace.normed = normed;
        workspace.sublayer = output;
    }
}

/// `output = norm(input)`, or a copy where there is no norm.
pub(super) fn normalise_to(norm: Option<&NormWeights>, input: &[f32], output: &mut [f32], width: usize) {
    match norm {
        Some(norm) => norm.apply_to(input, output, width),
        None => output.copy_from_slice(input),
    }
}

fn add_rows(stream: &mut [f32], addend: &[f32]) {
    const BLOCK: usize = 1 << 14;
    let blocks = stream.par_chunks_mut(BLOCK).zip(addend.par_chunks(BLOCK));
    blocks.for_each(|(x, a)| x.iter_mut().zip(a).for_each(|(x, a)| *x += a));
}
