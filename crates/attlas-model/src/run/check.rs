//! Checks a plan before it runs: what it keeps and changes must be there, and must fit in memory.

use attlas::Kind;
use attlas::printable::counted;
use attlas::recording::{Edit, HeadOutput, Heads, NewWeights, Which};

use super::generate::Decoding;
use super::input::Input;
use crate::Error;
use crate::block::pass::{Array, Keep, Pass, Site};
use crate::config::{Architecture, Attention, Block, Recurrence, Stack};
use crate::model::Model;

/// The most that dense weights and scores of one run may take.
pub(super) const MAX_DENSE_BYTES: usize = 4 << 30;

/// How many texts a run has, and how long they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub n_items: usize,
    pub n_source: usize,
    /// With generation, the tokens that are there before it.
    pub n_target: usize,
    /// Whether more target tokens follow.
    pub grows: bool,
}

impl Sizes {
    pub fn of(inputs: &[Input], decoding: Decoding) -> Sizes {
        let longest = |length: fn(&Input) -> usize| inputs.iter().map(length).max().unwrap_or(0);
        Sizes {
            n_items: inputs.len(),
            n_source: longest(|input| input.source.len()),
            n_target: longest(|input| input.target.len()),
            grows: decoding != Decoding::TeacherForcing,
        }
    }

    /// Rows and columns of the maps of one kind.
    pub fn of_kind(self, kind: Kind) -> [usize; 2] {
        match kind {
            Kind::Encoder => [self.n_source, self.n_source],
            Kind::Decoder => [self.n_target, self.n_target],
            Kind::Cross => [self.n_target, self.n_source],
        }
    }

    /// Rows of one kind where they are known before the run.
    fn rows(self, kind: Kind) -> Option<usize> {
        (kind == Kind::Encoder || !self.grows).then(|| self.of_kind(kind)[0])
    }
}

impl Architecture {
    /// Encoder and decoder, those that there are.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = &Stack> {
        [&self.encoder, &self.decoder].into_iter().flatten()
    }

    pub(crate) fn stack_of(&self, kind: Kind) -> Option<&Stack> {
        if kind == Kind::Encoder { self.encoder.as_ref() } else { self.decoder.as_ref() }
    }

    /// The attention of one kind, each with its layer's index; layers without it have none.
    pub fn attention<'a>(&'a self, kind: Kind) -> Vec<(usize, &'a Attention)> {
        let blocks = self.stack_of(kind).into_iter().flat_map(|stack| stack.blocks.iter().enumerate());
        let of_kind = |block: &'a Block| match kind {
            Kind::Cross => block.cross.as_ref(),
            _ => block.own_attention(),
        };
        blocks.filter_map(|(layer, block)| Some((layer, of_kind(block)?))).collect()
    }

    /// What stands in the place of a layer's attention to its own stack.
    pub fn recurrence_at(&self, kind: Kind, layer: usize) -> Option<&Recurrence> {
        let block = self.stack_of(kind).filter(|_| kind != Kind::Cross)?.blocks.get(layer)?;
        block.recurrence.as_ref()
    }

    /// The attention of one kind of a layer, where it has some.
    pub fn attention_at(&self, kind: Kind, layer: usize) -> Option<&Attention> {
        self.attention(kind).into_iter().find(|(index, _)| *index == layer).map(|(_, attention)| attention)
    }
}

impl Model {
    /// The bytes of queries and keys that a recording of one text has, of so many tokens on either side.
    pub fn recorded_bytes(&self, n_source: usize, n_target: usize) -> u64 {
        let sizes = Sizes { n_items: 1, n_source, n_target, grows: false };
        let of_kind = |kind: Kind| {
            let [n_queries, n_keys] = sizes.of_kind(kind);
            let layers = self.transformer.architecture.attention(kind).into_iter();
            layers.fold(0_u64, |sum, (_, layer)| {
                let rows =
                    n_queries.saturating_mul(layer.n_heads).saturating_add(n_keys.saturating_mul(layer.n_kv_heads));
                sum.saturating_add((rows as u64).saturating_mul(4 * layer.d_head as u64))
            })
        };
        Kind::ALL.into_iter().map(of_kind).fold(0, u64::saturating_add)
    }

    /// Refuses what is asked of all layers in one way where one has no attention, or gates what its heads give; `what` says of
    /// the layers (`them`) what cannot be had.
    pub(crate) fn check_whole(&self, what: &str) -> Result<(), Error> {
        let stacks = self.transformer.architecture.stacks();
        let gated: Vec<usize> =
            stacks.flat_map(Stack::own_attention).filter(|(_, own)| own.gated).map(|(layer, _)| layer).collect();
        let why = match self.without_attention() {
            Some(layers) => format!("has no attention in {layers}"),
            None if !gated.is_empty() => format!("gates what heads give in {}", layers_in_words(&gated)),
            None => return Ok(()),
        };
        Err(Error::Unsupported(format!(
            "{} {why}, and {what}; its attention weights, and what changes when heads are knocked out, can be had",
            self.name()
        )))
    }

    /// The layers that have something else in the place of attention, in words: `layers 0 to 2, 4 (Mamba-2)`.
    pub(crate) fn without_attention(&self) -> Option<String> {
        let blocks = self.transformer.architecture.stacks().flat_map(|stack| stack.blocks.iter().enumerate());
        let others: Vec<(usize, &Recurrence)> =
            blocks.filter_map(|(layer, block)| Some((layer, block.recurrence.as_ref()?))).collect();
        let name = others.first()?.1.name();
        let layers: Vec<usize> = others.iter().map(|(layer, _)| *layer).collect();
        Some(format!("{} ({name})", layers_in_words(&layers)))
    }

    /// Whether one of those layers has experts.
    pub(crate) fn has_experts_without_attention(&self) -> bool {
        let mut blocks = self.transformer.architecture.stacks().flat_map(|stack| &stack.blocks);
        blocks.any(|block| block.recurrence.is_some() && block.feed_forward.experts.is_some())
    }

    /// Everything that a plan names must be there.
    pub(crate) fn check_pass(&self, pass: &Pass, sizes: Sizes) -> Result<(), Error> {
        for keep in &pass.keep {
            self.check_keep(pass, keep)?;
            let is_dense = |kind: &Kind| {
                let mut layers = self.transformer.architecture.attention(*kind).into_iter();
                layers.any(|(layer, config)| config.why_dense().is_some() && pass.keeps_at(Site::Scores, *kind, layer))
            };
            if keep.site == Site::Scores && Kind::ALL.iter().any(is_dense) {
                return Err(Error::Unsupported(format!(
                    "the scores of {} are more than a function of queries, keys and distances; such scores are not kept, its \
                     weights are",
                    self.name()
                )));
            }
        }
        for edit in &pass.edits {
            match edit {
                Edit::HeadOutput { heads, to } => self.check_output(heads, to, sizes)?,
                Edit::Edges { heads, keys } => {
                    self.check_heads(heads, sizes)?;
                    let [_, n_keys] = sizes.of_kind(heads.kind);
                    let known = heads.kind != Kind::Decoder || !sizes.grows;
                    check_choice(keys, "column", known.then_some(n_keys), &heads.kind.to_string())?;
                }
                Edit::Weights { heads, to } => self.check_weights(heads, to, sizes)?,
                Edit::Stream { stack, layer, positions, items, to } => {
                    self.check_stream(*stack, *layer, [positions, items], to, sizes)?;
                }
            }
        }
        Ok(())
    }

    /// What is to be kept must be somewhere.
    pub(super) fn check_keep(&self, pass: &Pass, keep: &Keep) -> Result<(), Error> {
        if keep.site == Site::Values && !pass.keeps(Site::Attention) {
            return Err(Error::Plan("values are kept in a recording, and the plan keeps no attention".to_owned()));
        }
        if keep.site == Site::Router {
            self.check_router(keep.kind)?;
        }
        let is_stream = keep.site == Site::Stream;
        let kinds: Vec<Kind> = match keep.kind {
            Some(Kind::Cross) if is_stream => return Err(Error::Plan(NO_STREAM.to_owned())),
            Some(kind) => vec![kind],
            None => Kind::ALL.into_iter().filter(|kind| !(is_stream && *kind == Kind::Cross)).collect(),
        };
        if keep.kind.is_some() {
            self.attention_at(kinds[0], 0)?;
        }
        for layer in keep.layers.iter().flatten() {
            // hidden states leave the last layer, too
            let named = if is_stream { layer.saturating_sub(1) } else { *layer };
            let found = kinds.iter().map(|kind| self.attention_at(*kind, named));
            // somewhere is enough; where it is nowhere, the first kind's answer says so
            found.reduce(|found, other| found.or_else(|error| other.map_err(|_| error))).transpose()?;
        }
        Ok(())
    }

    /// Experts are kept of stacks that have some.
    fn check_router(&self, kind: Option<Kind>) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        let mixed = |kind: &Kind| {
            let mut blocks = architecture.stack_of(*kind).into_iter().flat_map(|stack| &stack.blocks);
            *kind != Kind::Cross && blocks.any(|block| block.feed_forward.experts.is_some())
        };
        match Kind::ALL.iter().any(|found| mixed(found) && kind.is_none_or(|kind| kind == *found)) {
            true => Ok(()),
            false => Err(Error::Unsupported(format!(
                "{} has no experts that tokens are sent to: each layer has one feed-forward for all{}",
                self.name(),
                kind.map_or(String::new(), |kind| format!(" ({kind})"))
            ))),
        }
    }

    /// The attention of a layer that a plan names.
    fn attention_at(&self, kind: Kind, layer: usize) -> Result<&Attention, Error> {
        let architecture = &self.transformer.architecture;
        let layers: Vec<usize> = architecture.attention(kind).into_iter().map(|(layer, _)| layer).collect();
        architecture.attention_at(kind, layer).ok_or_else(|| {
            if let Some(name) = architecture.recurrence_at(kind, layer).map(Recurrence::name) {
                return Error::Plan(format!(
                    "{kind} layer {layer} of {} has no attention ({name}); {} have",
                    self.name(),
                    ranges(&layers)
                ));
            }
            if !layers.is_empty() {
                return Error::Plan(format!(
                    "there is no {kind} layer {layer}; {} has {}",
                    self.name(),
                    ranges(&layers)
                ));
            }
            let has = |kind: &Kind| !self.transformer.architecture.attention(*kind).is_empty();
            let kinds: Vec<&str> = Kind::ALL.into_iter().filter(has).map(Kind::name).collect();
            Error::Plan(format!("{} has no {kind} attention; it has {}", self.name(), kinds.join(", ")))
        })
    }

    fn check_heads(&self, heads: &Heads, sizes: Sizes) -> Result<&Attention, Error> {
        let Heads { kind, layer, .. } = heads;
        let config = self.attention_at(*kind, *layer)?;
        check_choice(&heads.heads, "head", Some(config.n_heads), &format!("{kind} layer {layer}"))?;
        check_choice(&heads.queries, "row", sizes.rows(*kind), &kind.to_string())?;
        check_choice(&heads.items, "text", Some(sizes.n_items), "the batch")?;
        Ok(config)
    }

    fn check_output(&self, heads: &Heads, to: &HeadOutput<Array>, sizes: Sizes) -> Result<(), Error> {
        let config = self.check_heads(heads, sizes)?;
        let n_heads = heads.heads.count(config.n_heads);
        match to {
            HeadOutput::Zero => Ok(()),
            HeadOutput::Mean(mean) => check_array(mean, &[n_heads, config.d_value], "a mean of head outputs"),
            HeadOutput::Given(given) => {
                let n_queries = known_rows(&heads.queries, sizes.rows(heads.kind), "head outputs")?;
                let shape = [heads.items.count(sizes.n_items), n_heads, n_queries, config.d_value];
                check_array(given, &shape, "head outputs")
            }
        }
    }

    fn check_weights(&self, heads: &Heads, to: &NewWeights<Array>, sizes: Sizes) -> Result<(), Error> {
        let config = self.check_heads(heads, sizes)?;
        let NewWeights::Given(given) = to else { return Ok(()) };
        if sizes.grows && heads.kind != Kind::Encoder {
            return Err(Error::Unsupported(format!(
                "weights of {} cannot be given while a text is generated: how many rows it has is not known; give the \
                 whole target",
                heads.kind.title()
            )));
        }
        let [n_queries, n_keys] = sizes.of_kind(heads.kind);
        let n_heads = heads.heads.count(config.n_heads);
        let shape = [heads.items.count(sizes.n_items), n_heads, heads.queries.count(n_queries), n_keys];
        check_array(given, &shape, "attention weights")?;
        for (place, row) in given.values.chunks_exact(n_keys).enumerate() {
            let sum: f32 = row.iter().sum();
            if row.iter().any(|weight| *weight < 0.0) || sum > 1.0 + MAX_EXCESS {
                return Err(Error::Plan(format!(
                    "row {place} of the given attention weights sums to {sum}; weights are from 0 on, rows sum to 1 at most"
                )));
            }
        }
        Ok(())
    }

    fn check_stream(
        &self,
        stack: Kind,
        layer: usize,
        [positions, items]: [&Which; 2],
        to: &Array,
        sizes: Sizes,
    ) -> Result<(), Error> {
        let config = match stack {
            Kind::Cross => {
                return Err(Error::Plan(NO_STREAM.to_owned()));
            }
            _ => self.transformer.architecture.stack_of(stack),
        };
        let Some(config) = config else { return self.attention_at(stack, layer).map(|_| ()) };
        let n_layers = config.blocks.len();
        if layer > n_layers {
            return Err(Error::Plan(format!(
                "hidden states enter layers 0 to {} of the {stack}, and {n_layers} is what leaves it; there is no {layer}",
                n_layers.saturating_sub(1)
            )));
        }
        check_choice(positions, "position", sizes.rows(stack), &format!("the {stack}"))?;
        check_choice(items, "text", Some(sizes.n_items), "the batch")?;
        let n_positions = known_rows(positions, sizes.rows(stack), "hidden states")?;
        check_array(to, &[items.count(sizes.n_items), n_positions, config.d_model], "hidden states")
    }

    /// Weights that are recorded dense, and scores, have to fit in a limit.
    pub(crate) fn check_dense(&self, pass: &Pass, sizes: Sizes) -> Result<(), Error> {
        let mut n_bytes = 0usize;
        let mut why = String::new();
        for kind in Kind::ALL {
            let [n_queries, n_keys] = sizes.of_kind(kind);
            for (layer, config) in self.transformer.architecture.attention(kind) {
                let recorded = pass.keeps_at(Site::Attention, kind, layer);
                let is_dense = recorded && (config.why_dense().is_some() || pass.reweighs(kind, layer));
                let n_maps = usize::from(is_dense) + usize::from(pass.keeps_at(Site::Scores, kind, layer));
                if n_maps > 0 && why.is_empty() {
                    why = self.why_dense(config, pass);
                }
                let n = [config.n_heads, n_queries, n_keys, sizes.n_items, size_of::<f32>()];
                n_bytes = n_bytes.saturating_add(n.into_iter().fold(n_maps, usize::saturating_mul));
            }
        }
        if n_bytes <= MAX_DENSE_BYTES {
            return Ok(());
        }
        Err(Error::Limit(format!(
            "{why}: {} of up to {} tokens would take {} MB, more than {} MB; use shorter or fewer texts",
            counted(sizes.n_items, "text"),
            sizes.n_source.max(sizes.n_target),
            n_bytes >> 20,
            MAX_DENSE_BYTES >> 20
        )))
    }

    fn why_dense(&self, config: &Attention, pass: &Pass) -> String {
        let name = self.name();
        match (config.why_dense(), pass.keeps(Site::Scores)) {
            (Some(why), _) => format!("{name} {why}, so its weights are recorded dense"),
            (None, true) => "scores are kept dense".to_owned(),
            (None, false) => "layers whose weights are changed are recorded dense".to_owned(),
        }
    }
}

/// `layer 3`, or `layers 0 to 2, 4`.
pub(crate) fn layers_in_words(layers: &[usize]) -> String {
    format!("layer{} {}", if layers.len() == 1 { "" } else { "s" }, ranges(layers))
}

/// Numbers in order as `0 to 2, 4`.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|one, next| one + 1 == *next);
    let words: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first} to {last}"),
            one => one.iter().map(usize::to_string).collect(),
        })
        .collect();
    words.join(", ")
}

/// What is said of hidden states of cross-attention.
const NO_STREAM: &str = "cross-attention has no hidden states of its own; the stacks are encoder and decoder";

/// How far above 1 a row of given weights may sum, from rounding.
const MAX_EXCESS: f32 = 1e-3;

/// A choice must name something, and nothing that is not there; `n` is `None` where that shows only in the run.
fn check_choice(which: &Which, singular: &str, n: Option<usize>, of: &str) -> Result<(), Error> {
    if !which.is_all() && which.count(0) == 0 {
        return Err(Error::Plan(format!("no {singular} of {of} is chosen")));
    }
    if let Which::These(all) = which
        && let Some((_, twice)) = all.iter().enumerate().find(|(place, chosen)| all[..*place].contains(chosen))
    {
        return Err(Error::Plan(format!("{singular} {twice} of {of} is chosen twice")));
    }
    match (which.last(), n) {
        (Some(last), Some(n)) if last >= n => {
            let there_is = match n {
                0 => "there is none".to_owned(),
                1 => format!("the only {singular} is 0"),
                n => format!("there are {singular}s 0 to {}", n - 1),
            };
            Err(Error::Plan(format!("{of} has no {singular} {last}; {there_is}")))
        }
        _ => Ok(()),
    }
}

/// How many rows an array is given for.
fn known_rows(which: &Which, n: Option<usize>, what: &str) -> Result<usize, Error> {
    match n {
        None if which.is_all() => Err(Error::Unsupported(format!(
            "{what} cannot be given for all rows while a text is generated: how many there are is not known; choose rows"
        ))),
        n => Ok(which.count(n.unwrap_or(0))),
    }
}

/// Given numbers must have their shape, and be numbers.
pub(super) fn check_array(array: &Array, expected: &[usize], what: &str) -> Result<(), Error> {
    let Array { shape, values } = array;
    let n_expected = expected.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    if shape != expected || Some(values.len()) != n_expected {
        return Err(Error::Plan(format!(
            "{what} are given with shape {shape:?} and {} numbers, but shape {expected:?} is needed",
            values.len()
        )));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(Error::Plan(format!("{what} are given with {} at place {place}", values[place]))),
        None => Ok(()),
    }
}
