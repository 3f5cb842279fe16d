//! A run and the way back: the gradient of a number that a model computes, with respect to what it computed it from.

use attlas::printable::counted;
use attlas::recording::{Edit, Method, NewWeights};
use attlas::{HeadId, Kind};

use super::batch::PaddedBatch;
use super::check::{MAX_DENSE_BYTES, Sizes, check_array};
use super::collect::Kept;
use super::generate::Decoding;
use super::input::Input;
use super::record::Run;
use crate::Error;
pub use crate::block::backward::Rules;
use crate::block::backward::{Back, EmbeddingGradient, Gradient, Halt, Sums};
use crate::block::pass::{Array, Keep, Next, Pass, Plan, Progress, Purpose, Site, Watch};
use crate::block::weights::{ReadoutWeights, StackWeights, Transformer};
use crate::block::workspace::Workspace;
use crate::config::{Readout, Reads, Stack};
use crate::model::Model;

/// What is asked of the way back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backward {
    /// The sites whose gradients are kept, each with the kinds and layers it is kept at; a gradient has the shape of its
    /// site. [`Site::Attention`] stands for the weights themselves, `∂S/∂A`, shape `[batch, n_heads, n_queries, n_keys]`,
    /// and [`Site::Stream`] of layer 0 for the sum that enters the stack (words, positions and types, its norm applied).
    pub keep: Vec<Keep>,
    /// By which rules the numbers go back.
    pub rules: Rules,
    /// Rows that are read in the place of the table's, such as a step on the way from a baseline; positions and types are
    /// added to them as to any.
    pub words: Words,
    /// Whether the gradients of parameters are summed.
    pub parameters: bool,
}

/// A row for each token that is read by its id: of the table of words as it is stored, before the factor on it, positions,
/// types and norm; or the gradient with respect to that row. `None` where a stack reads no ids, or nothing is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Words {
    /// What the encoder reads. Shape `[batch, n_source, width]`.
    pub source: Option<Array>,
    /// What the decoder reads. Shape `[batch, n_target, width]`.
    pub target: Option<Array>,
}

/// A run, and the gradients of a number `S` that its output gives.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// The run, with what its plan keeps; its logits are there always, where the model has any.
    pub run: Run,
    /// `∂S/∂logits`, as it was given: of the last hidden states where the model has no readout.
    pub output: Array,
    /// `∂S/∂E[id]`, token by token.
    pub words: Words,
    /// `∂S/∂x` of the images or spectrograms that were read, shape `[batch, ..]`; `None` where the model reads texts.
    pub features: Option<Array>,
    /// The gradients with respect to the sites that were asked for: encoder, decoder, cross; each by layer.
    pub kept: Vec<Kept>,
    /// On request, `∂S/∂θ` in the place of each parameter `θ` ([`Transformer::zeros`] says what is not among them). A number
    /// that is used at several places has the gradient of each use at its place, and its own is their sum: a matrix that is both
    /// a table of tokens and a readout's, a bucket's number in a table of relative positions.
    pub parameters: Option<Transformer>,
}

impl Gradients {
    /// The gradient with respect to a site that was kept at a layer.
    pub fn of(&self, site: Site, kind: Kind, layer: usize) -> Option<&Array> {
        let found = self.kept.iter().find(|kept| (kept.site, kept.kind, kept.layer) == (site, kind, layer));
        found.map(|kept| &kept.array)
    }
}

/// Of a model's output (logits, with the shape of [`Run::logits`]; the last hidden states, `[batch, n, d_model]`, where
/// there is no readout), the gradient of the number that is explained with respect to it, of the same shape.
pub type ScoreGradient<'s> = dyn FnMut(&Array) -> Result<Vec<f32>, Error> + 's;

impl Model {
    /// Runs the model over a batch of texts and goes back, from what `score` says of its output to what it read.
    ///
    /// Of the forward pass the hidden states between layers are held in memory, each block is computed once more on the way
    /// back; memory grows with the length of the texts, not with its square, unless gradients of weights or scores are kept.
    /// The edits of `pass` hold on both ways: nothing goes back through an output, weight or hidden state that was given.
    ///
    /// # Errors
    /// As [`Model::run`]; when a gradient is asked for where there is none, given rows have another shape, `score` fails or gives
    /// another number of numbers; when a gradient is not finite; and for models whose scores are more than queries, keys and
    /// distances say (DeBERTa), or whose positions are a convolution.
    pub fn backward(
        &self,
        inputs: &[Input],
        pass: &Pass,
        options: &Backward,
        score: &mut ScoreGradient<'_>,
    ) -> Result<Gradients, Error> {
        self.backward_watched(inputs, pass, options, score, &mut |_| Next::Continue)
    }

    /// The same, telling `watch` before each block, on both ways, where it is.
    ///
    /// # Errors
    /// As [`Model::backward`], and [`Error::Stopped`] when `watch` says so.
    pub fn backward_watched(
        &self,
        inputs: &[Input],
        pass: &Pass,
        options: &Backward,
        score: &mut ScoreGradient<'_>,
        watch: &mut dyn FnMut(Progress) -> Next,
    ) -> Result<Gradients, Error> {
        self.check_inputs(inputs, Decoding::TeacherForcing)?;
        let sizes = Sizes::of(inputs, Decoding::TeacherForcing);
        self.check_pass(pass, sizes)?;
        self.check_dense(pass, sizes)?;
        self.check_backward(pass, options, sizes)?;
        self.check_parameters(inputs, options)?;
        // 1. forwards, the hidden states kept
        let mut batch = self.padded(inputs)?;
        batch.words = Some(&options.words);
        let mut keeping = pass.clone();
        keeping.keep.extend(Pass::keeping([Site::Logits, Site::Stream]).keep);
        let mut run = self.forward_batch(&batch, inputs, &keeping, Method::Forward, Vec::new(), watch)?;
        let (streams, others) = std::mem::take(&mut run.kept).into_iter().partition(|kept| kept.site == Site::Stream);
        let streams: Vec<Kept> = streams;
        // 2. what is explained
        let read = self.explained(&run, &streams)?;
        let d_read = score(&read)?;
        check_score(&read, &d_read)?;
        let output = Array { shape: read.shape.clone(), values: d_read };
        // 3. backwards
        let wanted = Pass { keep: options.keep.clone(), edits: Vec::new() };
        let mut again = Pass { edits: pass.edits.clone(), ..Pass::keeping([Site::Attention, Site::Values]) };
        let mut sums = options.parameters.then(|| self.transformer.zeros());
        if sums.is_some() {
            again.keep.extend(Pass::keeping([Site::HeadOutputs]).keep);
        }
        let plan = Plan { pass: &again, purpose: Purpose::Whole, text: None };
        let mut back = Back {
            rules: options.rules,
            wanted: &wanted,
            plan,
            kept: Vec::new(),
            sums: Sums(sums.as_mut()),
            workspace: Workspace::default(),
        };
        let d_hidden = self.readout_back(options.rules, &streams, &read, &output, back.sums.readout());
        let [source, target] = self.stacks_back(&mut back, &batch, &streams, d_hidden, watch)?;
        // 4. what is left
        let kept = back.kept.into_iter().map(|Gradient { site, kind, layer, array }| Kept { site, kind, layer, array });
        let mut kept: Vec<Kept> = kept.collect();
        kept.sort_by_key(|kept| (kept.kind, kept.layer, kept.site));
        run.kept = streams.into_iter().filter(|kept| pass.keeps_at(kept.site, kept.kind, kept.layer)).collect();
        run.kept.extend::<Vec<Kept>>(others);
        let features = batch.source().features.map(|features| {
            let shape = std::iter::once(inputs.len()).chain(features.shape.iter().copied()).collect();
            Array { shape, values: source.features }
        });
        let rows = |words: Vec<f32>, n: usize| by_token(words, inputs.len(), n);
        let words = Words { source: rows(source.words, batch.n_source), target: rows(target.words, batch.n_target) };
        Ok(Gradients { run, output, words, features, kept, parameters: sums })
    }

    /// Runs the model over a batch of texts with other rows of words than the table's, forwards only.
    ///
    /// # Errors
    /// As [`Model::run`]; and when given rows have another shape.
    pub fn run_words(
        &self,
        inputs: &[Input],
        words: &Words,
        pass: &Pass,
        watch: &mut dyn FnMut(Progress) -> Next,
    ) -> Result<Run, Error> {
        self.check_inputs(inputs, Decoding::TeacherForcing)?;
        let sizes = Sizes::of(inputs, Decoding::TeacherForcing);
        self.check_pass(pass, sizes)?;
        self.check_dense(pass, sizes)?;
        self.check_words(words, sizes)?;
        let mut batch = self.padded(inputs)?;
        batch.words = Some(words);
        self.forward_batch(&batch, inputs, pass, Method::Forward, Vec::new(), watch)
    }

    /// The rows of the tables of words that the model reads for these texts, padding included.
    ///
    /// # Errors
    /// When an input does not fit the model.
    pub fn words(&self, inputs: &[Input]) -> Result<Words, Error> {
        self.check_inputs(inputs, Decoding::TeacherForcing)?;
        let batch = self.padded(inputs)?;
        let rows = |weights: &Option<StackWeights>, width: usize, ids: &[u32], n: usize| {
            let weights = weights.as_ref()?;
            let mut rows = vec![0.0; ids.len() * width]; // [batch, n, width]
            let places = rows.chunks_exact_mut(width.max(1)).zip(ids);
            places.for_each(|(row, id)| weights.embedding.tokens.row(*id as usize, row));
            by_token(rows, inputs.len(), n)
        };
        let Transformer { architecture, encoder, decoder, .. } = &*self.transformer;
        let width = |stack: &Option<Stack>| stack.as_ref().map_or(0, |stack| stack.embedding.width);
        let of_target = rows(decoder, width(&architecture.decoder), batch.target().ids, batch.n_target);
        Ok(Words {
            source: rows(encoder, width(&architecture.encoder), batch.source().ids, batch.n_source),
            target: of_target.map(|rows| Array { values: batch.seen.clone().unwrap_or(rows.values), ..rows }),
        })
    }

    /// The numbers that a score is a function of.
    fn explained(&self, run: &Run, streams: &[Kept]) -> Result<Array, Error> {
        let last = || streams.last().map(|kept| kept.array.clone());
        let logits = run.logits.clone().filter(|_| self.transformer.readout.output.is_some());
        let output = logits.or_else(last).unwrap_or(Array { shape: Vec::new(), values: Vec::new() });
        match output.values.iter().position(|number| !number.is_finite()) {
            Some(place) => Err(Error::Input(format!(
                "the output of {} has {} at place {place}, so that nothing can be explained by it",
                self.name(),
                output.values[place]
            ))),
            None => Ok(output),
        }
    }

    /// The gradient of the last hidden states. Shape `[batch · n, d_model]`.
    fn readout_back(
        &self,
        rules: Rules,
        streams: &[Kept],
        read: &Array,
        output: &Array,
        sums: Option<&mut ReadoutWeights>,
    ) -> Vec<f32> {
        let Some(Kept { array: hidden, .. }) = streams.last() else { return Vec::new() };
        let architecture = &self.transformer.architecture;
        let d_logits = output.values.clone();
        let back = |rows: &[f32]| self.transformer.logits_back(rules, rows, &read.values, d_logits, sums);
        if let (Readout::Classes { pooled, .. }, Some(stack)) = (&architecture.readout, &architecture.encoder) {
            let n = hidden.values.len() / hidden.shape[0];
            let rows: Vec<f32> = hidden.values.chunks_exact(n).flat_map(|item| pooled.row(item, stack)).collect();
            let mut gradient = vec![0.0; hidden.values.len()]; // [batch, n, d_model]
            if let Some(d_rows) = back(&rows) {
                let d_rows = d_rows.chunks_exact(rows.len() / hidden.shape[0]);
                d_rows.zip(gradient.chunks_exact_mut(n)).for_each(|(d_row, item)| pooled.go_back(d_row, stack, item));
            }
            return gradient;
        }
        back(&hidden.values).unwrap_or_else(|| output.values.clone())
    }

    /// What goes back to what the encoder and the decoder read.
    fn stacks_back(
        &self,
        back: &mut Back<'_>,
        batch: &PaddedBatch<'_>,
        streams: &[Kept],
        d_hidden: Vec<f32>,
        watch: &mut Watch<'_>,
    ) -> Result<[EmbeddingGradient; 2], Error> {
        let of_stack = |kind: Kind| -> Vec<&[f32]> {
            streams.iter().filter(|kept| kept.kind == kind).map(|kept| kept.array.values.as_slice()).collect()
        };
        let (encoder, decoder) = (of_stack(Kind::Encoder), of_stack(Kind::Decoder));
        let (mut gradient, mut target) = (d_hidden, EmbeddingGradient::default());
        if let Some(stack) = self.transformer.stack(Kind::Decoder) {
            let source = encoder.last().map(|hidden| batch.encoded(hidden, &[]));
            let found = stack.go_back(back, batch.target(), source, &decoder, gradient, watch);
            let found = found.map_err(|halt| self.halted(halt))?;
            (gradient, target) = (found.source, found.embedding);
        }
        let source = match self.transformer.stack(Kind::Encoder) {
            Some(stack) => {
                let found = stack.go_back(back, batch.source(), None, &encoder, gradient, watch);
                found.map_err(|halt| self.halted(halt))?.embedding
            }
            None => EmbeddingGradient::default(),
        };
        Ok([source, target])
    }

    fn halted(&self, halt: Halt) -> Error {
        match halt {
            Halt::Stopped => Error::Stopped,
            Halt::Head { kind, layer, head } => Error::Input(format!(
                "the gradient is not finite behind {} of {}",
                HeadId { layer, head },
                kind.title()
            )),
            Halt::Group { kind, layer, first, last } => Error::Input(format!(
                "the gradient is not finite at the keys or values that {} to {} of {} read",
                HeadId { layer, head: first },
                HeadId { layer, head: last },
                kind.title()
            )),
            Halt::Recurrence { stack, layer } => {
                Error::Unsupported(format!("layer {layer} of the {stack} of {} has no attention", self.name()))
            }
            Halt::Block { stack, layer } => {
                Error::Input(format!("the gradient is not finite before layer {layer} of the {stack}"))
            }
        }
    }

    /// What is asked for must be there, and fit in memory.
    fn check_backward(&self, pass: &Pass, options: &Backward, sizes: Sizes) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        let stacks = || [&architecture.encoder, &architecture.decoder].into_iter().flatten();
        let blocks = || stacks().flat_map(|stack| &stack.blocks);
        self.check_whole("no gradients go back through them")?;
        let why = blocks().find_map(|block| block.attention.why_no_gradients()).map(|why| (why, "such scores"));
        let convolved = stacks().any(|stack| stack.convolution.is_some() || stack.embedding.convolution.is_some());
        let why = why.or(convolved.then_some(("has a convolution beside its layers", "it")));
        let placed = stacks().any(|stack| stack.places.is_some());
        let why = why.or(placed.then_some(("adds places to queries and keys in each layer", "them")));
        if let Some((why, what)) = why {
            return Err(Error::Unsupported(format!(
                "{} {why}, and no gradients go back through {what}; its attention weights, and what changes when heads are \
                 knocked out, can be had",
                self.name()
            )));
        }
        if stacks().any(|stack| stack.blocks.is_empty()) {
            return Err(Error::Unsupported(format!("{} has no layers to go back through", self.name())));
        }
        self.check_dealt(pass)?;
        for keep in &options.keep {
            // gradients of values need no recording to stand in
            self.check_keep(&Pass::keeping([Site::Attention]), keep)?;
        }
        self.check_words(&options.words, sizes)?;
        self.check_dense_gradients(options, sizes)
    }

    /// Rows of words are given where words are read, one for each token.
    fn check_words(&self, words: &Words, sizes: Sizes) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        let sides = [
            (&architecture.encoder, &words.source, sizes.n_source, "source"),
            (&architecture.decoder, &words.target, sizes.n_target, "target"),
        ];
        for (stack, given, n, side) in sides {
            let Some(given) = given else { continue };
            let reader = stack.as_ref().filter(|stack| stack.embedding.reads == Reads::Tokens);
            let lack = || Error::Plan(format!("{} reads no words as its {side}, so none can be given", self.name()));
            let width = reader.ok_or_else(lack)?.embedding.width;
            check_array(given, &[sizes.n_items, n, width], &format!("rows of the {side}'s words"))?;
        }
        Ok(())
    }

    /// Gradients of parameters are as large as the model in f32, and are gradients.
    fn check_parameters(&self, inputs: &[Input], options: &Backward) -> Result<(), Error> {
        if !options.parameters {
            return Ok(());
        }
        if options.rules != Rules::Gradient {
            let problem = "parameters have gradients by the chain rule alone: they have no relevance";
            return Err(Error::Unsupported(problem.to_owned()));
        }
        if inputs.iter().any(|input| input.seen.is_some()) {
            let problem =
                "parameters have gradients of texts without images: what images go through is no part of the run";
            return Err(Error::Unsupported(problem.to_owned()));
        }
        let reads = self.transformer.architecture.encoder.as_ref().map(|stack| &stack.embedding.reads);
        let features = inputs.first().and_then(|input| input.features.as_ref());
        if let (Some(Reads::Patches(patches)), Some(features)) = (reads, features)
            && patches.has_positions
            && features.array.shape[1..].iter().map(|pixels| pixels / patches.side).ne(patches.grid)
        {
            return Err(Error::Unsupported(format!(
                "the positions of {}'s patches were stretched to another grid, and no gradient goes back through that; take \
                 images of {} × {}",
                self.name(),
                patches.grid[0] * patches.side,
                patches.grid[1] * patches.side
            )));
        }
        let n_bytes =
            self.transformer.parameters().iter().map(|one| one.numbers.len() * size_of::<f32>()).sum::<usize>();
        if n_bytes > MAX_DENSE_BYTES {
            return Err(Error::Limit(format!(
                "the gradients of all parameters of {} would take {} MB, more than {} MB",
                self.name(),
                n_bytes >> 20,
                MAX_DENSE_BYTES >> 20
            )));
        }
        Ok(())
    }

    /// Weights that are dealt out anew go back to where they came from, unless edges were hidden after it.
    fn check_dealt(&self, pass: &Pass) -> Result<(), Error> {
        for (place, edit) in pass.edits.iter().enumerate() {
            let Edit::Edges { heads, .. } = edit else { continue };
            let is_dealt = |edit: &Edit<Array>| {
                matches!(edit, Edit::Weights { heads: dealt, to: NewWeights::Permuted { .. } }
                    if (dealt.kind, dealt.layer) == (heads.kind, heads.layer))
            };
            if pass.edits[..place].iter().any(is_dealt) {
                return Err(Error::Unsupported(format!(
                    "edges of {} layer {} are hidden after its weights were permuted: no gradient goes back through \
                     that; hide the edges first",
                    heads.kind, heads.layer
                )));
            }
        }
        Ok(())
    }

    fn check_dense_gradients(&self, options: &Backward, sizes: Sizes) -> Result<(), Error> {
        let wanted = Pass { keep: options.keep.clone(), edits: Vec::new() };
        let mut n_bytes = 0usize;
        for kind in Kind::ALL {
            let [n_queries, n_keys] = sizes.of_kind(kind);
            for (layer, config) in self.transformer.architecture.attention(kind) {
                let sites = [Site::Attention, Site::Scores];
                let n_maps = sites.into_iter().filter(|site| wanted.keeps_at(*site, kind, layer)).count();
                let n = [config.n_heads, n_queries, n_keys, sizes.n_items, size_of::<f32>()];
                n_bytes = n_bytes.saturating_add(n.into_iter().fold(n_maps, usize::saturating_mul));
            }
        }
        if n_bytes <= MAX_DENSE_BYTES {
            return Ok(());
        }
        Err(Error::Limit(format!(
            "gradients of attention weights and scores are dense: {} of up to {} tokens would take {} MB, more than \
             {} MB; use shorter or fewer texts, or fewer layers",
            counted(sizes.n_items, "text"),
            sizes.n_source.max(sizes.n_target),
            n_bytes >> 20,
            MAX_DENSE_BYTES >> 20
        )))
    }
}

/// Rows of tokens as an array; `None` where there are none. Shape `[batch, n, width]`.
fn by_token(values: Vec<f32>, n_items: usize, n: usize) -> Option<Array> {
    let width = values.len().checked_div(n_items * n).filter(|width| *width > 0)?;
    Some(Array { shape: vec![n_items, n, width], values })
}

/// A score's gradient must have a number for each of the output's, and be numbers.
fn check_score(read: &Array, gradient: &[f32]) -> Result<(), Error> {
    if gradient.len() != read.values.len() {
        return Err(Error::Plan(format!(
            "the score gives {} numbers for an output of {} (shape {:?})",
            gradient.len(),
            read.values.len(),
            read.shape
        )));
    }
    match gradient.iter().position(|number| !number.is_finite()) {
        Some(place) => Err(Error::Plan(format!("the score gives {} at place {place}", gradient[place]))),
        None => Ok(()),
    }
}
