//! How maps are shown, as the command line says it.

use attlas::recording::Method;
use attlas::view::{Pieces, Silence, Specials};
use attlas::{Error, Head, Kind, Layer, Quantity, Recording, RowTokens, TokenRole, Tokens, View, ViewOptions};
use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::inputs::{Span, parse_span};
use crate::terminal::remark;

/// How maps are shown.
#[derive(Debug, Clone, Args)]
pub struct ViewArguments {
    /// What the numbers shown are.
    #[arg(skip)]
    pub quantity: Quantity,
    /// Merge the pieces of a word: weights are summed over keys and averaged over queries.
    #[arg(long)]
    pub words: bool,
    /// Special tokens such as </s>; hiding them states the mass that goes.
    #[arg(long, value_enum, default_value_t = Special::Show, value_name = "HOW")]
    pub special: Special,
    /// The silence that a model adds after a short sound; hiding it states the mass that goes.
    #[arg(long, value_enum, default_value_t = Special::Hide, value_name = "HOW")]
    pub silence: Special,
    /// Name each row of a decoder after the token it read, or the next one, which it predicts
    /// [default: predicted for cross, read for decoder].
    #[arg(long, value_enum, value_name = "WHICH")]
    pub label_rows: Option<LabelRows>,
    /// Rows shown, by the position of their token: 3:8 for 3 to 7, counted from 0, padding left out; a word is shown when
    /// all its pieces are in the range.
    #[arg(long, value_name = "A:B", value_parser = parse_span)]
    pub rows: Option<Span>,
    /// Columns shown, as --rows; the weight of the others is stated.
    #[arg(long, value_name = "A:B", value_parser = parse_span)]
    pub columns: Option<Span>,
}

/// What happens to special tokens, or to added silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Special {
    /// They stay.
    Show,
    /// Their rows and columns go.
    Hide,
}

/// What rows of a decoder are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabelRows {
    /// The token read at this position.
    Read,
    /// The token predicted from it.
    Predicted,
}

impl LabelRows {
    /// The library's word for it.
    pub fn row_tokens(self) -> RowTokens {
        match self {
            LabelRows::Read => RowTokens::Read,
            LabelRows::Predicted => RowTokens::Predicted,
        }
    }
}

impl ViewArguments {
    /// What these options cannot do to the maps of these kinds of a text: refused where the picture would say something else
    /// than was asked for, said on standard error where it is what was asked for all the same.
    pub fn say_idle(&self, recording: &Recording, item: usize, kinds: &[Kind]) -> Result<(), Failure> {
        let tokens = recording.items.get(item).ok_or(Error::NoItem { item, n_items: recording.items.len() })?;
        let layers: Vec<&Layer> = kinds.iter().filter_map(|kind| recording.layers_of(*kind).next()).collect();
        if self.label_rows == Some(LabelRows::Predicted) {
            let predicts = |layer: &&Layer| layer.kind != Kind::Encoder && layer.query_axis.is_none();
            let n_known = tokens.predicted.len();
            if layers.iter().all(|layer| layer.kind == Kind::Encoder) {
                return Err(Failure::Usage("--label-rows predicted: the rows of an encoder predict no token".into()));
            }
            if !layers.iter().filter(|layer| predicts(layer)).any(|layer| layer.shape.n_queries == n_known) {
                let message = "--label-rows predicted: this recording does not know what was predicted";
                return Err(Failure::Usage(message.into()));
            }
        }
        let axes = || layers.iter().flat_map(|layer| [layer.query_tokens(tokens), layer.key_tokens(tokens)]);
        let is_imported = recording.provenance.method == Method::Imported;
        if self.words && axes().all(|axis| axis.words().len() == axis.len()) {
            let why = if is_imported { "this recording knows no words" } else { "each token is a word of its own" };
            remark(&format!("--words has nothing to merge: {why}"));
        }
        let is_special = |axis: &Tokens| axis.tokens.iter().any(|token| token.role == TokenRole::Special);
        if self.special == Special::Hide && !axes().any(is_special) {
            let why = if is_imported { "this recording knows none" } else { "the text has none" };
            remark(&format!("--special hide has no special token to hide: {why}"));
        }
        Ok(())
    }

    /// The first of these options that was given, for a picture that takes none of them.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.words, "--words"),
            (self.special == Special::Hide, "--special"),
            (self.silence == Special::Show, "--silence"),
            (self.label_rows.is_some(), "--label-rows"),
            (self.rows.is_some(), "--rows"),
            (self.columns.is_some(), "--columns"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    /// The map of one head, or of a layer's heads together, for text `item` of the recording.
    pub fn view(
        &self,
        recording: &Recording,
        item: usize,
        kind: Kind,
        layer: usize,
        head: Head,
    ) -> Result<View, Failure> {
        self.view_in_tiles(recording, item, kind, layer, head, None)
    }

    /// [`Self::view`], in at most so many tiles along a side, each as its largest number, where a map has more numbers than
    /// that and every one of them is not needed.
    pub fn view_in_tiles(
        &self,
        recording: &Recording,
        item: usize,
        kind: Kind,
        layer: usize,
        head: Head,
        tiles: Option<usize>,
    ) -> Result<View, Failure> {
        let tokens = recording.items.get(item).ok_or(Error::NoItem { item, n_items: recording.items.len() })?;
        let of_layer = recording.layer_in(self.quantity, kind, layer)?;
        let options = ViewOptions {
            quantity: self.quantity,
            item,
            pieces: if self.words { Pieces::Words } else { Pieces::Apart },
            specials: match self.special {
                Special::Show => Specials::Show,
                Special::Hide => Specials::Hide,
            },
            silence: match self.silence {
                Special::Show => Silence::Show,
                Special::Hide => Silence::Hide,
            },
            row_tokens: self.label_rows.map(LabelRows::row_tokens),
            rows: self.rows.as_ref().map(|span| span.range(n_unpadded(of_layer.query_tokens(tokens)))),
            columns: self.columns.as_ref().map(|span| span.range(n_unpadded(of_layer.key_tokens(tokens)))),
            ..match tiles.filter(|_| !self.words && self.special == Special::Show) {
                Some(tiles) => {
                    ViewOptions { max_weights: tiles * tiles, overview_tiles: tiles, ..ViewOptions::default() }
                }
                None => ViewOptions::default(),
            }
        };
        Ok(View::with(recording, kind, layer, head, &options)?)
    }
}

/// How many tokens there are that are no padding.
fn n_unpadded(tokens: &Tokens) -> usize {
    tokens.unpadded(tokens.len()).len()
}
