//! Which fields of the configuration ask for what the weights do not have, for messages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Names;
use crate::Error;
use crate::config::file::{ConfigFile, Reading};
use crate::config::{
    AddedScores, Architecture, Attention, Backbone, Block, Frequencies, PatchMatrix, Patches, PositionBias, Positions,
    Readout, Reads, Recurrence, Rule, Stack,
};
use crate::error::{Clash, Misfit};
use crate::weights::Checkpoint;

/// From a configuration to what it describes.
type Read = fn(&ConfigFile) -> Result<(Architecture, Names), Error>;

/// A loading error that names the configuration's file and the fields that ask for what is not there.
///
/// No size knows its field, so the fields are found by supposing another value for each: those after which the size is
/// another one are its origin, however many steps lie between.
pub(crate) fn explained(error: Error, config: &ConfigFile, read: Read, checkpoint: &Checkpoint) -> Error {
    match error {
        Error::Misfit { path, tensor, misfit } => {
            let origins = Origins::of(config, read);
            let reasons = match (&misfit.clash, layers_beyond(&tensor, read, config, checkpoint)) {
                (_, true) => origins.of_layers(),
                (Clash::Shape { found, asked }, _) => origins.of_sizes(&differing(found, asked)),
                (Clash::Missing { asked }, _) => {
                    let n_experts = if is_of_expert(&tensor) { origins.n_experts() } else { Vec::new() };
                    [origins.of_having(), origins.of_sizes(asked), n_experts].concat()
                }
                (Clash::Superfluous, _) => origins.of_having(),
            };
            let file = config.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let config = if config.path() == path { "its metadata".to_owned() } else { file };
            Error::Misfit { path, tensor, misfit: Box::new(Misfit { config, reasons, ..*misfit }) }
        }
        other => other,
    }
}

/// The sizes that are asked for and not found; all of them where the two cannot be laid side by side.
fn differing(found: &[usize], asked: &[usize]) -> Vec<usize> {
    let found = if found.len() > asked.len() { found.strip_prefix(&[1]).unwrap_or(found) } else { found };
    if found.len() != asked.len() {
        return asked.to_vec();
    }
    asked.iter().zip(found).filter(|(asked, found)| asked != found).map(|(asked, _)| *asked).collect()
}

/// Whether a tensor belongs to a layer that only one of the two has: the configuration or the file.
fn layers_beyond(tensor: &str, read: Read, config: &ConfigFile, checkpoint: &Checkpoint) -> bool {
    let Ok((architecture, names)) = read(config) else { return false };
    let stacks = [(&architecture.encoder, &names.encoder), (&architecture.decoder, &names.decoder)];
    stacks.into_iter().any(|(stack, names)| {
        let (Some(stack), Some(names)) = (stack, names) else { return false };
        let Some(start) = names.layer.split("{}").next().filter(|start| !start.is_empty()) else { return false };
        let Some(at) = tensor.find(start).map(|at| at + start.len()) else { return false };
        let n_digits = tensor[at..].bytes().take_while(u8::is_ascii_digit).count();
        let Ok(index) = tensor[at..at + n_digits].parse::<usize>() else { return false };
        let layer = format!("{}.", &tensor[..at + n_digits]);
        index >= of_stack(Some(stack))[STORED_LAYERS] || !checkpoint.names().any(|name| name.starts_with(&layer))
    })
}

/// Whether a tensor belongs to one of several experts, by its number.
fn is_of_expert(tensor: &str) -> bool {
    tensor.split_once("experts.").is_some_and(|(_, rest)| rest.starts_with(|letter: char| letter.is_ascii_digit()))
}

/// What a Transformer is made of, and the fields on which each of it depends.
struct Origins<'a> {
    config: &'a ConfigFile,
    parts: Parts,
    /// Fields, and what changes with them.
    fields: BTreeMap<String, (Reading, Changes)>,
}

/// What of a Transformer decides about its tensors.
#[derive(Default)]
struct Parts {
    /// Sizes, always in the same places.
    sizes: Vec<usize>,
    /// What it has: biases, gates, norms.
    has: String,
}

/// What changes with a field.
#[derive(Default)]
struct Changes {
    /// Places in `sizes`.
    sizes: BTreeSet<usize>,
    has: bool,
}

impl Origins<'_> {
    fn of(config: &ConfigFile, read: Read) -> Origins<'_> {
        let parts_of = |config: &ConfigFile| {
            let (architecture, _) = read(config).ok()?;
            Some(Parts { sizes: sizes(&architecture), has: has(&architecture) })
        };
        let parts = parts_of(config).unwrap_or_default();
        let mut fields = BTreeMap::new();
        for (field, reading) in config.readings() {
            let mut changes = Changes::default();
            for other in others(&reading) {
                let Some(changed) = parts_of(&config.supposing(&field, other)) else { continue };
                let differs = |place: &usize| parts.sizes.get(*place) != changed.sizes.get(*place);
                changes.sizes.extend((0..parts.sizes.len()).filter(differs));
                changes.has |= parts.has != changed.has;
            }
            fields.insert(field, (reading, changes));
        }
        Origins { config, parts, fields }
    }

    /// The fields that the numbers of layers come from.
    fn of_layers(&self) -> Vec<String> {
        let places = [LAYERS, STORED_LAYERS, N_OF_STACK + LAYERS, N_OF_STACK + STORED_LAYERS];
        self.whose(|changes| places.iter().any(|place| changes.sizes.contains(place)))
    }

    /// The fields that the numbers of experts come from.
    fn n_experts(&self) -> Vec<String> {
        self.whose(|changes| [EXPERTS, N_OF_STACK + EXPERTS].iter().any(|place| changes.sizes.contains(place)))
    }

    /// The fields that sizes with these values come from.
    fn of_sizes(&self, wanted: &[usize]) -> Vec<String> {
        let is_layers =
            |place: usize| place < 2 * N_OF_STACK && [LAYERS, STORED_LAYERS].contains(&(place % N_OF_STACK));
        let is_wanted = |place: &usize| !is_layers(*place) && wanted.contains(&self.parts.sizes[*place]);
        self.whose(|changes| changes.sizes.iter().any(is_wanted))
    }

    /// The fields that decide about what there is.
    fn of_having(&self) -> Vec<String> {
        self.whose(|changes| changes.has)
    }

    /// The fields with these changes, those that are in the file first.
    fn whose(&self, wanted: impl Fn(&Changes) -> bool) -> Vec<String> {
        let mut found: Vec<_> = self.fields.iter().filter(|(_, (_, changes))| wanted(changes)).collect();
        found.sort_by_key(|(_, (reading, _))| !matches!(reading, Reading::Given(_)));
        found.into_iter().map(|(field, (reading, _))| self.config.origin(field, reading)).collect()
    }
}

/// Other values for a field; several, because a configuration may be refused with one: heads must divide widths.
fn others(reading: &Reading) -> Vec<Value> {
    match reading {
        Reading::Given(Value::Bool(flag)) | Reading::Assumed(Value::Bool(flag)) => vec![(!flag).into()],
        Reading::Given(value) | Reading::Assumed(value) if value.as_u64().is_some_and(|n| n > 0) => {
            let n = value.as_u64().unwrap_or(1);
            let others = [2 * n, n + 1, 3 * n, 4 * n, n / 2, 2, 1, n - 1];
            others.into_iter().filter(|other| *other != n).map(Value::from).collect()
        }
        _ => [0, 1, 2, 3, 5, 8].map(Value::from).to_vec(),
    }
}

/// What there is, in whatever words: only whether it changes is asked.
fn has(architecture: &Architecture) -> String {
    let block = |stack: &Option<Stack>| {
        let blocks = &stack.as_ref()?.blocks;
        let block = blocks.first()?;
        let (attention, feed_forward) = (&block.attention, &block.feed_forward);
        let scope =
            (attention.qk_norm.map(|norm| norm.scope), attention.latent.map(|latent| latent.query_width.is_some()));
        let norm = (block.residual, block.norm.kind, block.attention_norm.map(|norm| norm.kind), block.layer_scale);
        let first = |mixed: bool| blocks.iter().position(|block| block.feed_forward.experts.is_some() == mixed);
        let parts = (feed_forward.gating, feed_forward.biases, first(true), first(false));
        Some(format!(
            "{:?} {scope:?} {} {norm:?} {parts:?} {}",
            attention.biases,
            attention.sinks,
            has_of_recurrences(blocks)
        ))
    };
    let readout = match &architecture.readout {
        Readout::Tokens { output, bias, transform, .. } => format!("{output:?} {bias} {}", transform.is_some()),
        other => format!("{:?}", std::mem::discriminant(other)),
    };
    format!("{:?} {:?} {readout}", block(&architecture.encoder), block(&architecture.decoder))
}

/// Which of the first layers have no attention, and what those have.
fn has_of_recurrences(blocks: &[Block]) -> String {
    let places = |none: bool| blocks.iter().enumerate().filter(move |(_, block)| block.recurrence.is_none() == none);
    let first = |none: bool| places(none).take(2).map(|(layer, _)| layer).collect::<Vec<usize>>();
    match blocks.iter().find_map(|block| block.recurrence.as_ref()) {
        Some(one) => format!("{:?} {} {}", [first(true), first(false)], one.biases, one.convolution_bias),
        None => String::new(),
    }
}

/// How many sizes a stack has.
const N_OF_STACK: usize = 42 + N_OF_RECURRENCE;
const N_OF_RECURRENCE: usize = 15;
/// The places of the number of layers, and of those that have weights of their own.
const LAYERS: usize = 0;
const STORED_LAYERS: usize = 1;
/// The place of the number of experts.
const EXPERTS: usize = 29;

/// The sizes that shapes of tensors are made of, always in the same places; 0 for what there is not.
fn sizes(architecture: &Architecture) -> Vec<usize> {
    let mut all = of_stack(architecture.encoder.as_ref()).to_vec();
    all.extend(of_stack(architecture.decoder.as_ref()));
    let d_model = architecture.decoder.as_ref().or(architecture.encoder.as_ref()).map_or(0, |stack| stack.d_model);
    all.extend(match &architecture.readout {
        Readout::Tokens { n_tokens, transform, .. } => [*n_tokens, transform.map_or(0, |transform| transform.width), 0],
        Readout::Classes { n, transform, pooled } => {
            [*n, transform.map_or(0, |transform| transform.width), d_model * pooled.n_parts()]
        }
        Readout::Objects { n } => [*n, 0, d_model],
        Readout::Positions { transform } => [1, transform.map_or(0, |transform| transform.width), 0],
        Readout::None => [0; 3],
    });
    all
}

fn of_stack(stack: Option<&Stack>) -> [usize; N_OF_STACK] {
    let Some((stack, block)) = stack.and_then(|stack| Some((stack, stack.blocks.first()?))) else {
        return [0; N_OF_STACK];
    };
    let (attention, embedding) = (&block.attention, &stack.embedding);
    let (queries, keys) = (attention.query_width(), attention.key_width());
    let cross = block.cross.as_ref().map_or((0, 0), |cross| (cross.query_width(), cross.key_width()));
    let feed_forward = &block.feed_forward;
    let mixture = stack.blocks.iter().map(|block| &block.feed_forward).find(|part| part.experts.is_some());
    let experts = mixture.and_then(|mixture| mixture.experts);
    let (patch, n_mels) = match &embedding.reads {
        Reads::Patches(patches) => (of_patches(patches), 0),
        Reads::Grid(backbone) => (of_backbone(backbone), 0),
        Reads::Frames(frames) => ([0; 6], frames.n_mels),
        Reads::Samples(samples) => {
            let all = samples.convolutions.iter().flat_map(|convolution| [convolution.width, convolution.kernel]);
            let mut sizes = [0; 6];
            sizes.iter_mut().zip(all).for_each(|(slot, size)| *slot = size);
            (sizes, 0)
        }
        Reads::Tokens => ([0; 6], 0),
    };
    let beside = stack.convolution.map(|convolution| (convolution.kernel, convolution.n_groups));
    let of_positions = embedding.convolution.map(|convolution| (convolution.kernel, convolution.n_groups));
    let convolution = beside.or(of_positions);
    let mut all = [0; N_OF_STACK];
    let (own, further) = all.split_at_mut(N_OF_STACK - N_OF_RECURRENCE);
    further.copy_from_slice(&of_recurrence(stack));
    own.copy_from_slice(&[
        stack.blocks.len(),
        stack.stored_as.as_ref().and_then(|stored| stored.iter().max()).map_or(stack.blocks.len(), |last| last + 1),
        stack.d_model,
        embedding.n_tokens,
        embedding.width,
        match (embedding.positions, attention.rotary.as_ref().map(|rotary| &rotary.frequencies)) {
            (Positions::Learned { n_rows, .. }, _) => n_rows,
            (_, Some(Frequencies::Table { n_positions, .. })) => *n_positions,
            _ => 0,
        },
        embedding.n_token_types,
        patch[0],
        patch[1],
        patch[2],
        patch[3],
        patch[4],
        patch[5],
        n_mels,
        attention.n_heads,
        attention.n_kv_heads,
        attention.d_head,
        queries,
        keys,
        queries + 2 * keys,
        cross.0,
        cross.1,
        cross.0 + 2 * cross.1,
        rows_of_bias(attention),
        attention.disentangled.map_or(0, |terms| 2 * terms.span),
        feed_forward.d_hidden,
        2 * feed_forward.d_hidden,
        mixture.map_or(0, |mixture| mixture.d_hidden),
        mixture.map_or(0, |mixture| 2 * mixture.d_hidden),
        experts.map_or(0, |experts| experts.n),
        experts.and_then(|experts| experts.d_shared).unwrap_or(0),
        feed_forward.d_hidden / 32, // blocks of packed experts
        stack.d_model / 32,
        convolution.map_or(0, |(kernel, _)| kernel),
        convolution.map_or(0, |(_, n_groups)| stack.d_model / n_groups.max(1)),
        attention.output_width(),
        attention.latent.and_then(|latent| latent.query_width).unwrap_or(0),
        attention.latent.map_or(0, |latent| latent.key_value_width),
        attention.latent.map_or(0, |latent| latent.key_value_width + latent.n_shared),
        attention.latent.map_or(0, |latent| keys + attention.value_width() - attention.n_heads * latent.n_shared),
        attention.rotary.as_ref().map_or(0, |rotary| rotary.n_columns / 2),
        stack.own_attention().map(|(_, attention)| attention.n_heads).sum(), // what reads contacts
    ]);
    all
}

/// The sizes of layers without attention, of gates beside queries, and of the layers without experts where others have some.
fn of_recurrence(stack: &Stack) -> [usize; N_OF_RECURRENCE] {
    let found = stack.blocks.iter().find_map(|block| block.recurrence.as_ref());
    let [n_heads, of_head, n_states, d_step] = match found.map(|recurrence| &recurrence.rule) {
        Some(Rule::Mamba(mamba)) => [0, 0, mamba.n_states, mamba.d_step],
        Some(Rule::Mamba2(mamba)) => [mamba.n_heads, mamba.d_head, mamba.n_states, 0],
        Some(Rule::Delta(delta)) => [delta.n_heads, delta.d_value, delta.d_key, 0],
        None => [0; 4],
    };
    let gated = stack.own_attention().find(|(_, own)| own.gated).map_or(0, |(_, own)| own.query_width());
    let plain = stack.blocks.iter().map(|block| &block.feed_forward).find(|part| part.experts.is_none());
    let plain = plain.filter(|_| found.is_some()).map_or(0, |plain| plain.d_hidden);
    let experts = stack.blocks.iter().find_map(|block| block.feed_forward.experts);
    let shared = experts.filter(|_| found.is_some()).and_then(|experts| experts.d_shared).unwrap_or(0);
    [
        found.map_or(0, Recurrence::width),
        found.map_or(0, Recurrence::convolved),
        found.map_or(0, Recurrence::projected),
        found.map_or(0, |recurrence| recurrence.kernel),
        n_heads,
        2 * n_heads,
        of_head,
        n_states,
        d_step,
        if d_step > 0 { d_step + 2 * n_states } else { 0 },
        gated,
        2 * gated,
        plain,
        2 * plain,
        2 * shared,
    ]
}

/// Rows of the table that is added to scores.
fn rows_of_bias(attention: &Attention) -> usize {
    match (attention.added, &attention.bias) {
        (Some(AddedScores::Ways { grid, .. }), _) => AddedScores::n_ways(grid),
        (Some(AddedScores::Gated { n_buckets, .. }), _) | (None, &PositionBias::Buckets { n_buckets, .. }) => n_buckets,
        _ => 0,
    }
}

/// Colours, channels of the first convolution, and those of the first stages.
fn of_backbone(backbone: &Backbone) -> [usize; 6] {
    let width = |stage: usize| backbone.stages.get(stage).map_or(0, |stage| stage.width);
    [backbone.n_channels, backbone.stem, width(0), width(1), width(2), width(3)]
}

fn of_patches(patches: &Patches) -> [usize; 6] {
    let leading = |place: usize| patches.leading.get(place).map_or(0, |leading| leading.n);
    let [matrix, side] = match patches.stored {
        PatchMatrix::Kernel | PatchMatrix::Frames(_) => [patches.n_channels, patches.side],
        PatchMatrix::Pixels => [patches.side * patches.side * patches.n_channels, 0],
    };
    [matrix, side, patches.n_positions(), leading(0), leading(1), leading(2)]
}
