//! Packed texts: a pass over many short texts without padding, and the way back to the parameters. This is what training is
//! made of.

use std::ops::Range;

use attlas::Kind;

use crate::Error;
use crate::block::backward::{Back, Halt, Rules, StackDropout, Sums};
use crate::block::dropout::Dropout;
use crate::block::pass::{Next, Pass, Plan, Purpose, Site, Watch};
use crate::block::state::{Batch, Packing, Source, StackState};
use crate::block::weights::Transformer;
use crate::block::workspace::Workspace;
use crate::config::{Readout, Reads, Stack};

/// Texts one after the other: text `i` has the ids `ids[starts[i]..starts[i + 1]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedTexts {
    /// The ids of all texts. Shape `[n]`.
    pub ids: Vec<u32>,
    /// Where texts begin, and where the last one ends. Shape `[n_texts + 1]`.
    pub starts: Vec<usize>,
}

impl PackedTexts {
    /// No text.
    pub fn new() -> PackedTexts {
        PackedTexts { ids: Vec::new(), starts: vec![0] }
    }

    /// Puts a text behind the others.
    pub fn push(&mut self, ids: impl IntoIterator<Item = u32>) {
        self.ids.extend(ids);
        self.starts.push(self.ids.len());
    }

    /// How many tokens all texts have.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The place of each token in its text. Shape `[n]`.
    fn positions(&self) -> Vec<usize> {
        self.starts.windows(2).flat_map(|text| 0..text[1] - text[0]).collect()
    }
}

/// What a pass over packed texts reads: what the encoder reads, and what the decoder. A model with one stack has one of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackedPair<'a> {
    /// What the encoder reads.
    pub source: Option<&'a PackedTexts>,
    /// What the decoder reads, as many texts.
    pub target: Option<&'a PackedTexts>,
}

/// Told the logits of some rows, of all texts counted through: shape `[n, n_logits]`. Where there is a way back, it puts the
/// gradient of what is minimised in their place.
pub type SeeLogits<'s> = dyn FnMut(Range<usize>, &mut [f32]) + 's;

/// Rows whose logits are computed together: 128 × 8,000 logits are 4 MB, about half a third-level cache.
const ROWS: usize = 128;

/// The first of the sites of dropout at sublayers.
const FIRST_SUBLAYER: u64 = 2;
/// Sites of dropout at what enters the stacks.
const EMBEDDINGS: [u64; 2] = [1 << 32, 2 << 32];

impl Transformer {
    /// Computes the logits of packed texts, some rows at a time. Each text is computed as if it were alone.
    ///
    /// # Errors
    /// When texts do not fit the model, or it reads something else than ids, or has logits of whole texts alone.
    pub fn run_packed(&self, texts: PackedPair<'_>, see: &mut SeeLogits<'_>) -> Result<(), Error> {
        let read = Texts::new(self, texts)?;
        let pass = Pass { keep: Vec::new(), edits: Vec::new() };
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let mut workspace = Workspace::default();
        let mut run = |kind: Kind, source: Option<Source<'_>>| -> Result<Option<Vec<f32>>, Error> {
            let Some((stack, batch)) = self.stack(kind).zip(read.batch(kind)) else { return Ok(None) };
            let mut state = StackState::default();
            let watch: &mut Watch<'_> = &mut |_| Next::Continue;
            Ok(Some(stack.run(batch, source, &mut state, plan, watch, &mut workspace)?))
        };
        let memory = run(Kind::Encoder, None)?;
        let decoded = run(Kind::Decoder, memory.as_deref().and_then(|hidden| read.source(hidden)))?;
        let hidden = decoded.or(memory).unwrap_or_default();
        for (rows, hidden) in blocks_of_rows(&hidden, read.n_rows()) {
            see(rows, &mut self.logits(hidden));
        }
        Ok(())
    }

    /// Computes the logits of packed texts and goes back from the gradients that `see` leaves in their place; adds the
    /// gradients of all parameters to `sums`, which [`Transformer::zeros`] makes.
    ///
    /// # Errors
    /// As [`Transformer::run_packed`]; and [`Error::Input`] when what comes back is not finite.
    pub fn gradients_packed(
        &self,
        texts: PackedPair<'_>,
        dropout: Dropout,
        see: &mut SeeLogits<'_>,
        sums: &mut Transformer,
    ) -> Result<(), Error> {
        let read = Texts::new(self, texts)?;
        let pass = Pass::keeping([Site::Attention, Site::Values, Site::HeadOutputs]);
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let mut workspace = Workspace::default();
        // 1. forwards, all that is computed kept
        let mut drops = StackDropout { dropout, embedding: EMBEDDINGS[0], first: FIRST_SUBLAYER };
        let (mut encoder, mut memory) = (None, None);
        if let Some((stack, batch)) = self.stack(Kind::Encoder).zip(read.batch(Kind::Encoder)) {
            let (tape, hidden) = stack.tape(batch, None, plan, drops, &mut workspace).map_err(halted)?;
            (encoder, memory) = (Some((stack, batch, tape)), Some(hidden));
            let n_sublayers = stack.n_sublayers() * stack.config.blocks.len() as u64;
            drops = StackDropout { embedding: EMBEDDINGS[1], first: FIRST_SUBLAYER + n_sublayers, ..drops };
        }
        let source = memory.as_deref().and_then(|hidden| read.source(hidden));
        let (mut decoder, mut decoded) = (None, None);
        if let Some((stack, batch)) = self.stack(Kind::Decoder).zip(read.batch(Kind::Decoder)) {
            let (tape, hidden) = stack.tape(batch, source, plan, drops, &mut workspace).map_err(halted)?;
            (decoder, decoded) = (Some((stack, batch, tape)), Some(hidden));
        }
        // 2. back through the readout
        let wanted = Pass { keep: Vec::new(), edits: Vec::new() };
        let sums = Sums(Some(sums));
        let mut back = Back { rules: Rules::Gradient, wanted: &wanted, plan, kept: Vec::new(), sums, workspace };
        let hidden = decoded.as_deref().or(memory.as_deref()).unwrap_or_default();
        let mut gradient = self.readout_back(&mut back, hidden, read.n_rows(), see); // [n, d_model]
        // 3. back through the stacks
        if let Some((stack, batch, tape)) = decoder {
            gradient = stack.tape_back(tape, &mut back, batch, source, gradient).map_err(halted)?.source;
        }
        if let Some((stack, batch, tape)) = encoder {
            stack.tape_back(tape, &mut back, batch, None, gradient).map_err(halted)?;
        }
        Ok(())
    }

    /// The gradient of the last hidden states, from what `see` makes of their logits. Shapes `[n, d_model]`.
    fn readout_back(&self, back: &mut Back<'_>, hidden: &[f32], n_rows: usize, see: &mut SeeLogits<'_>) -> Vec<f32> {
        let mut d_hidden = Vec::with_capacity(hidden.len()); // [n, d_model]
        for (rows, hidden) in blocks_of_rows(hidden, n_rows) {
            let mut logits = self.logits(hidden); // [n, n_logits]
            let cut = if self.cuts_logits() { logits.clone() } else { Vec::new() };
            see(rows, &mut logits);
            let gradient = self.logits_back(back.rules, hidden, &cut, logits, back.sums.readout());
            d_hidden.extend(gradient.unwrap_or_default());
        }
        d_hidden
    }
}

/// Rows of hidden states whose logits are computed together, and which they are. Shape `[n_rows, d_model]`.
fn blocks_of_rows(hidden: &[f32], n_rows: usize) -> impl Iterator<Item = (Range<usize>, &[f32])> {
    let d_model = (hidden.len() / n_rows.max(1)).max(1);
    let blocks = hidden.chunks(ROWS * d_model).enumerate();
    blocks.map(move |(block, hidden)| (block * ROWS..block * ROWS + hidden.len() / d_model, hidden))
}

fn halted(halt: Halt) -> Error {
    match halt {
        Halt::Recurrence { layer, .. } => {
            Error::Unsupported(format!("layer {layer} has no attention, and nothing goes back through what it has"))
        }
        _ => Error::Input("what goes back through the network is not finite".to_owned()),
    }
}

/// Packed texts that fit a Transformer.
struct Texts<'a> {
    source: Option<Side<'a>>,
    target: Option<Side<'a>>,
}

/// What one stack reads.
struct Side<'a> {
    texts: &'a PackedTexts,
    positions: Vec<usize>,
}

impl<'a> Texts<'a> {
    /// # Errors
    /// When they do not fit, or the Transformer cannot read packed texts.
    fn new(transformer: &Transformer, PackedPair { source, target }: PackedPair<'a>) -> Result<Texts<'a>, Error> {
        let architecture = &transformer.architecture;
        if !matches!(architecture.readout, Readout::Tokens { .. } | Readout::Positions { .. }) {
            return Err(Error::Unsupported("only models with logits for each token read packed texts".to_owned()));
        }
        let side = |name: &str, stack: &Option<Stack>, texts: Option<&'a PackedTexts>| match (stack, texts) {
            (Some(stack), Some(texts)) => {
                check_texts(name, stack, architecture.n_positions(stack), texts)?;
                Ok(Some(Side { texts, positions: texts.positions() }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::Input(format!("the model reads a {name}, but none was packed"))),
            (None, Some(_)) => Err(Error::Input(format!("the model reads no {name}, but one was packed"))),
        };
        let read = Texts {
            source: side("source", &architecture.encoder, source)?,
            target: side("target", &architecture.decoder, target)?,
        };
        match (source, target) {
            (Some(source), Some(target)) if source.starts.len() != target.starts.len() => Err(Error::Input(format!(
                "{} sources and {} targets are packed; each target needs its source",
                source.starts.len() - 1,
                target.starts.len() - 1
            ))),
            _ => Ok(read),
        }
    }

    /// How many rows of logits there are.
    fn n_rows(&self) -> usize {
        self.target.as_ref().or(self.source.as_ref()).map_or(0, |side| side.texts.len())
    }

    fn batch(&self, kind: Kind) -> Option<Batch<'_>> {
        let side = if kind == Kind::Encoder { self.source.as_ref() } else { self.target.as_ref() }?;
        Some(Batch {
            n_items: 1,
            n: side.texts.len(),
            ids: &side.texts.ids,
            words: None,
            positions: None,
            features: None,
            token_types: None,
            valid: None,
            packing: Some(side.packing()),
        })
    }

    /// The encoder's result, as the decoder reads it.
    fn source<'b>(&'b self, hidden: &'b [f32]) -> Option<Source<'b>> {
        let side = self.source.as_ref()?;
        Some(Source { hidden, n: side.texts.len(), places: &[], valid: None, packing: Some(side.packing()) })
    }
}

impl Side<'_> {
    fn packing(&self) -> Packing<'_> {
        Packing { starts: &self.texts.starts, positions: &self.positions }
    }
}

/// Texts must be cut where they say, have tokens, and fit the stack that reads them.
fn check_texts(name: &str, stack: &Stack, n_positions: usize, texts: &PackedTexts) -> Result<(), Error> {
    if stack.embedding.reads != Reads::Tokens
        || stack.convolution.is_some()
        || stack.blocks.is_empty()
        || stack.blocks.iter().any(|block| block.own_attention().is_none_or(|own| own.why_dense().is_some()))
    {
        let problem = "models that read images or sounds, score content and distance together, or carry states from token to \
                       token read no packed texts";
        return Err(Error::Unsupported(problem.to_owned()));
    }
    let (starts, n) = (&texts.starts, texts.len());
    if starts.len() < 2 || starts.first() != Some(&0) || starts.last() != Some(&n) {
        return Err(Error::Input(format!(
            "the packed {name} has {n} tokens, but its texts do not begin at 0 and end at {n}"
        )));
    }
    for (index, text) in starts.windows(2).enumerate() {
        let length = text[1].checked_sub(text[0]).filter(|length| *length > 0);
        match length {
            None => return Err(Error::Input(format!("text {index} of the packed {name} has no tokens"))),
            Some(length) if length > n_positions => {
                return Err(Error::Input(format!(
                    "text {index} of the packed {name} has {length} tokens; the model has {n_positions} positions"
                )));
            }
            Some(_) => {}
        }
    }
    let n_tokens = stack.embedding.n_tokens;
    match texts.ids.iter().find(|id| **id as usize >= n_tokens) {
        Some(id) => Err(Error::Input(format!(
            "the packed {name} has the id {id}; the model's vocabulary has {n_tokens} tokens"
        ))),
        None => Ok(()),
    }
}
