//! What a model reads, and whether it can.

use std::sync::Arc;

use attlas::printable::counted;
use attlas::{PatchGrid, Token, TokenRole, Tokens};

use super::generate::Decoding;
use super::seen::Seen;
use crate::Error;
use crate::block::pass::Array;
use crate::config::{
    Architecture, Backbone, Frames, Length, OtherGrids, Patches, Places, Positions, Reads, Samples, Stack,
};
use crate::model::Model;

/// The two sides of an encoder-decoder; a model with one stack has one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the encoder reads.
    Source,
    /// What the decoder reads.
    Target,
}

impl Side {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Target => "target",
        }
    }
}

/// One text: what the encoder reads and what the decoder reads. A model without one of them leaves that side empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Input {
    /// Tokens of the encoder.
    pub source: Tokens,
    /// Tokens of the decoder, its start token first: the whole target for teacher forcing, the prompt for generation.
    pub target: Tokens,
    /// Segment of each source token (BERT); all 0 when empty. Shape `[source.len()]`.
    pub segments: Vec<u32>,
    /// What an encoder of images or sounds reads; its source tokens name the places in it.
    pub features: Option<Arc<Features>>,
    /// The images that stand among the decoder's tokens, already seen.
    pub seen: Option<Arc<Seen>>,
}

/// Numbers that a model reads in place of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// A normalised image, `[n_channels, height, width]`, a log-mel spectrogram, `[n_mels, n_frames]`, or a sound, `[n_samples]`.
    pub array: Array,
    /// How the patches lie in the image file; `None` where it is not known, or there is no image.
    pub image: Option<PatchGrid>,
    /// How many source tokens hold the sound; the others are added silence. `None` where there is none, or no sound.
    pub n_sound: Option<usize>,
    /// What a reader of the recording must know: that a sound was cut, or resampled.
    pub notes: Vec<String>,
}

impl Model {
    /// What the encoder reads of an image or a spectrogram that is prepared already: its tokens name the places in it.
    ///
    /// # Errors
    /// When the model reads texts, or an array of another shape.
    pub fn features_input(&self, array: Array) -> Result<Input, Error> {
        let source = self.feature_tokens(&array.shape)?;
        if array.values.len() != array.shape.iter().product::<usize>() {
            let (n, shape) = (array.values.len(), &array.shape);
            return Err(Error::Input(format!("{n} numbers do not have the shape {shape:?}")));
        }
        let features = Some(Arc::new(Features { array, image: None, n_sound: None, notes: Vec::new() }));
        Ok(Input { source, target: self.object_queries().unwrap_or_default(), features, ..Input::default() })
    }

    /// Names for the places in features of this shape.
    pub(crate) fn feature_tokens(&self, shape: &[usize]) -> Result<Tokens, Error> {
        let reads = self.transformer.architecture.encoder.as_ref().map(|stack| &stack.embedding.reads);
        match reads {
            Some(Reads::Patches(patches)) => self.patch_tokens(patches, shape),
            Some(Reads::Grid(backbone)) => self.grid_tokens(backbone, shape),
            Some(Reads::Frames(frames)) => self.frame_tokens(frames, shape),
            Some(Reads::Samples(samples)) => self.sample_tokens(samples, shape),
            _ => Err(Error::Unsupported(format!("{} reads texts, neither images nor sounds", self.name()))),
        }
    }

    /// `CLS` and its like, then `r0c0`, `r0c1`, … row by row.
    fn patch_tokens(&self, patches: &Patches, shape: &[usize]) -> Result<Tokens, Error> {
        let Patches { n_channels, side, grid, .. } = patches;
        let [channels, height, width] = shape[..] else {
            return Err(Error::Input(format!("an image has three axes (colours, height, width), not {shape:?}")));
        };
        let fits = match patches.other_grids {
            OtherGrids::Refused => [height / side, width / side] == *grid,
            _ => height >= *side && width >= *side,
        };
        if channels != *n_channels || !fits {
            return Err(Error::Input(format!(
                "the image has {} and {height} × {width} pixels (height × width), but {} reads {} and {}{} × {} pixels",
                counted(channels, "colour"),
                self.name(),
                counted(*n_channels, "colour"),
                if patches.other_grids == OtherGrids::Refused { "" } else { "best " },
                grid[0] * side,
                grid[1] * side
            )));
        }
        let leading = patches.leading.iter().flat_map(|rows| {
            let label =
                move |place: usize| if rows.n == 1 { rows.label.to_owned() } else { format!("{}{place}", rows.label) };
            (0..rows.n).map(move |place| Token { role: TokenRole::Special, ..Token::labelled(label(place)) })
        });
        let patches = places_of_grid([height / side, width / side]);
        Ok(Tokens { text: String::new(), tokens: leading.chain(patches).collect() })
    }

    /// `r0c0`, `r0c1`, … row by row of the grid that the convolutions make of an image.
    fn grid_tokens(&self, backbone: &Backbone, shape: &[usize]) -> Result<Tokens, Error> {
        let [channels, height, width] = shape[..] else {
            return Err(Error::Input(format!("an image has three axes (colours, height, width), not {shape:?}")));
        };
        if channels != backbone.n_channels || height == 0 || width == 0 {
            return Err(Error::Input(format!(
                "the image has {} and {height} × {width} pixels (height × width), but {} reads {} and a pixel or more",
                counted(channels, "colour"),
                self.name(),
                counted(backbone.n_channels, "colour"),
            )));
        }
        Ok(Tokens { text: String::new(), tokens: places_of_grid(backbone.grid([height, width])).collect() })
    }

    /// The object queries of a model that looks for objects, by number: what its decoder reads.
    pub(crate) fn object_queries(&self) -> Option<Tokens> {
        let stack =
            self.transformer.architecture.decoder.as_ref().filter(|stack| stack.places == Some(Places::Table))?;
        let query = |id: u32| Token { id: Some(id), ..Token::labelled(format!("q{id}")) };
        Some(Tokens { text: String::new(), tokens: (0..stack.embedding.n_tokens as u32).map(query).collect() })
    }

    /// The time at which each hidden state of a spectrogram begins, such as `1.36s`.
    fn frame_tokens(&self, frames: &Frames, shape: &[usize]) -> Result<Tokens, Error> {
        let expected = [frames.n_mels, 2 * frames.n_positions];
        if shape != expected {
            return Err(Error::Input(format!(
                "the spectrogram has shape {shape:?}, but {} reads {expected:?} (mels, frames)",
                self.name()
            )));
        }
        let token = |place: usize| Token {
            word: Some(place),
            ..Token::labelled(format!("{:.2}s", (place * 2 * frames.hop) as f64 / frames.rate as f64))
        };
        Ok(Tokens { text: String::new(), tokens: (0..frames.n_positions).map(token).collect() })
    }

    /// The time at which each hidden state of a sound begins.
    fn sample_tokens(&self, samples: &Samples, shape: &[usize]) -> Result<Tokens, Error> {
        let [n_samples] = shape[..] else {
            return Err(Error::Input(format!("a sound has one axis (samples), not {shape:?}")));
        };
        let n = samples.n_positions(n_samples);
        if n == 0 {
            let name = self.name();
            return Err(Error::Input(format!(
                "the sound has {n_samples} samples, too few for one hidden state of {name}"
            )));
        }
        let token = |place: usize| Token {
            word: Some(place),
            ..Token::labelled(format!("{:.2}s", (place * samples.hop()) as f64 / samples.rate as f64))
        };
        Ok(Tokens { text: String::new(), tokens: (0..n).map(token).collect() })
    }

    /// Refuses an input that the model cannot run; `index` is what messages call it.
    ///
    /// # Errors
    /// No tokens, an id without embedding, a text longer than the model's positions.
    pub fn check_input(&self, input: &Input, index: usize, decoding: Decoding) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        let sides =
            [("source", &input.source, &architecture.encoder), ("target", &input.target, &architecture.decoder)];
        for (side, tokens, stack) in sides {
            let Some(stack) = stack else {
                if tokens.is_empty() {
                    continue;
                }
                let lacks = if side == "source" { "encoder" } else { "decoder" };
                let problem = format!("{} {side} tokens, but {} has no {lacks}", tokens.len(), self.name());
                return Err(Error::Text { index, problem });
            };
            if tokens.tokens.iter().all(|token| token.role == TokenRole::Padding) {
                let hint = match (side, decoding) {
                    ("target", Decoding::TeacherForcing) => "; give a target, or let the model generate one",
                    _ => "",
                };
                return Err(Error::Text { index, problem: format!("no {side} tokens{hint}") });
            }
            if stack.embedding.reads != Reads::Tokens {
                self.check_features(input, stack, index)?;
                continue;
            }
            if side == "source" && input.features.is_some() {
                return Err(Error::Input(format!("input {index} is no text, but {} reads texts", self.name())));
            }
            let n_tokens = stack.embedding.n_tokens;
            for (place, token) in tokens.tokens.iter().enumerate() {
                match token.id {
                    None => return Err(Error::Input(format!("{side} token {place} (\"{}\") has no id", token.text))),
                    Some(id) if id as usize >= n_tokens => {
                        return Err(Error::Input(format!(
                            "{side} token {place} (\"{}\") has id {id}, but {} has ids 0 to {}",
                            token.text,
                            self.name(),
                            n_tokens - 1
                        )));
                    }
                    Some(_) => {}
                }
            }
            let limit = architecture.n_positions(stack);
            if tokens.len() > limit {
                let (n, name) = (tokens.len(), self.name());
                return Err(Error::Text {
                    index,
                    problem: format!("{n} {side} tokens, but {name} has positions for {limit}"),
                });
            }
        }
        if !input.segments.is_empty() {
            self.check_segments(input, index)?;
        }
        self.check_seen(input, index)
    }

    /// How many tokens this side of the model has positions for; as many as anyone likes where they are computed.
    pub fn n_positions(&self, side: Side) -> usize {
        let architecture = &self.transformer.architecture;
        let stack = match side {
            Side::Source => &architecture.encoder,
            Side::Target => &architecture.decoder,
        };
        stack.as_ref().map_or(0, |stack| architecture.n_positions(stack))
    }

    fn check_features(&self, input: &Input, stack: &Stack, index: usize) -> Result<(), Error> {
        let Some(features) = &input.features else {
            let what = if stack.embedding.reads.is_of_images() { "images" } else { "sounds" };
            return Err(Error::Input(format!("{} reads {what}, but input {index} is none", self.name())));
        };
        let n = self.feature_tokens(&features.array.shape)?.len();
        if n != input.source.len() {
            let given = input.source.len();
            return Err(Error::Input(format!("input {index} has {given} source tokens, but its features make {n}")));
        }
        Ok(())
    }

    fn check_segments(&self, input: &Input, index: usize) -> Result<(), Error> {
        let n_types = self.transformer.architecture.encoder.as_ref().map_or(0, |stack| stack.embedding.n_token_types);
        if input.segments.len() != input.source.len() {
            let problem = format!("{} source tokens, but {} segments", input.source.len(), input.segments.len());
            return Err(Error::Text { index, problem });
        }
        match input.segments.iter().find(|segment| n_types > 0 && **segment as usize >= n_types) {
            Some(segment) => {
                let (name, last) = (self.name(), n_types - 1);
                let problem = format!("a token of segment {segment}, but {name} has segments 0 to {last}");
                Err(Error::Text { index, problem })
            }
            None => Ok(()),
        }
    }
}

/// Names for the places of a grid, row by row.
fn places_of_grid([n_rows, n_columns]: [usize; 2]) -> impl Iterator<Item = Token> {
    let patch = move |place: usize| Token {
        word: Some(place),
        ..Token::labelled(format!("r{}c{}", place / n_columns, place % n_columns))
    };
    (0..n_rows * n_columns).map(patch)
}

impl Architecture {
    /// How many tokens a stack has positions for.
    pub fn n_positions(&self, stack: &Stack) -> usize {
        let rows = match stack.embedding.positions {
            Positions::Learned { n_rows, offset, .. } => n_rows.saturating_sub(offset),
            _ => usize::MAX,
        };
        match self.length {
            Length::Refused(limit) => limit.min(rows),
            _ => rows,
        }
    }
}
