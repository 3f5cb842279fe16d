//! How a model that reads texts sees images: a vision tower, whose rows go through two dense layers and stand among those of words.

use std::sync::Arc;

use attlas::printable::counted;
use attlas::{Kind, PatchGrid, Token, TokenRole, Tokens};

use crate::block::linear::Linear;
use crate::block::pass::{Array, Keep, Pass, Site};
use crate::config::{Activation, Block, Reads, Stack};
use crate::family::{self, SightPlan, TakenRows};
use crate::folder::Folder;
use crate::model::Model;
use crate::run::generate::Decoding;
use crate::run::input::Input;
use crate::run::record::{Run, RunOptions};
use crate::run::seen::Seen;
use crate::senses::image::Preparation;
use crate::weights::Checkpoint;
use crate::{Error, load};

/// The way from an image to rows among words.
#[derive(Debug)]
pub(crate) struct Sight {
    /// What images go through.
    pub tower: Model,
    /// Its hidden states that are taken, side by side.
    layers: Vec<usize>,
    /// Rows at their beginning that are not.
    n_dropped: usize,
    /// Patches along each side that become one row.
    merged: usize,
    /// What they go through, with this between the two.
    projector: [Linear; 2],
    activation: Activation,
    /// The token in whose place rows stand.
    image_token: u32,
    /// What is written where an image is to stand.
    written: &'static str,
}

/// An image that a model has seen.
#[derive(Debug, Clone)]
pub struct Look {
    /// What stands among the rows of words. Shape `[n, width]`.
    pub rows: Array,
    /// How those rows lie in the image; `first` of them have no place in it.
    pub grid: PatchGrid,
    /// The run of the vision tower, with every head of it.
    pub run: Run,
}

impl Sight {
    /// What a folder says of how its model sees images, with weights and the preparation of images; `None` where it reads texts alone.
    ///
    /// # Errors
    /// When one of its files is not what attlas can read.
    pub fn of_folder(folder: &Folder) -> Result<Option<Sight>, Error> {
        let Some(plan) = family::sight(&folder.config)? else { return Ok(None) };
        let (text, _) = (family::of(&folder.config)?.read)(&folder.config)?;
        let d_text = text.decoder.as_ref().map_or(0, |stack| stack.embedding.width);
        let blocks = text.decoder.iter().flat_map(|stack| &stack.blocks);
        let has_sections =
            |block: &Block| block.attention.rotary.as_ref().is_some_and(|rotary| rotary.sections.is_some());
        if plan.has_three_positions && !blocks.into_iter().all(has_sections) {
            let message = "has no mrope_section, which says which positions of a patch turn which columns";
            return Err(folder.config.error("rope_parameters", message));
        }
        if let Some((given, field)) = plan.d_given.as_ref().filter(|(given, _)| *given != d_text) {
            let message = format!("is {given}, but rows of words are {d_text} wide");
            return Err(folder.config.error(field, message));
        }
        let mut sight = Sight::load(&plan, &folder.checkpoint, d_text)?;
        sight.tower.preparation = folder.preprocessor()?.as_ref().map(Preparation::read).transpose()?;
        Ok(Some(sight))
    }

    /// The same, its tower under the model's name.
    pub fn named(mut self, name: &str) -> Sight {
        self.tower.set_name(name);
        self
    }

    /// Loads what a plan says from the weights of the whole; `d_text` is the width of the text's rows.
    fn load(plan: &SightPlan, checkpoint: &Checkpoint, d_text: usize) -> Result<Sight, Error> {
        let weights = checkpoint.under(plan.tower_prefixes);
        let mut tower = Model::from_parts(&plan.tower, None, &weights)?;
        let stack = tower.stack_of_patches()?;
        let n_layers = stack.blocks.len();
        let (d_tower, n_leading) = (stack.d_model, stack.n_leading());
        let layer = |layer: &i64| usize::try_from(if *layer < 0 { n_layers as i64 + 1 + layer } else { *layer }).ok();
        let layers: Vec<Option<usize>> = plan.layers.iter().map(layer).collect();
        let layers =
            layers.into_iter().collect::<Option<Vec<usize>>>().filter(|all| all.iter().all(|at| *at <= n_layers));
        let layers = layers.ok_or_else(|| {
            let message =
                format!("is {n_layers}, but hidden states number {:?} are to be taken of the tower", plan.layers);
            plan.tower.error("num_hidden_layers", message)
        })?;
        if !plan.is_normed {
            // states are taken as the last block leaves them
            tower.drop_final_norm();
        }
        let d_in = d_tower * layers.len() * plan.merged * plan.merged;
        let d_hidden = plan.d_hidden.unwrap_or(d_text);
        let dense = |name: &str, [d_out, d_in]: [usize; 2]| {
            load::dense(checkpoint, plan.projector_prefixes, name, [d_out, d_in], plan.projector_bias)
        };
        let projector = [dense(plan.projector[0], [d_hidden, d_in])?, dense(plan.projector[1], [d_text, d_hidden])?];
        Ok(Sight {
            tower,
            layers,
            n_dropped: match plan.rows {
                TakenRows::Patches => n_leading,
                TakenRows::All => 0,
            },
            merged: plan.merged,
            projector,
            activation: plan.activation,
            image_token: plan.image_token,
            written: plan.written,
        })
    }

    /// Looks at an image as the tower reads it.
    fn look(&self, input: Input, pass: &Pass) -> Result<Look, Error> {
        let stack = self.tower.stack_of_patches()?;
        let Reads::Patches(patches) = &stack.embedding.reads else { return Err(no_images(&self.tower)) };
        let features = input.features.as_ref().ok_or_else(|| no_images(&self.tower))?;
        let sides = [1, 2].map(|axis| features.array.shape.get(axis).map_or(0, |pixels| pixels / patches.side));
        if let Some(n) = sides.into_iter().find(|n| !n.is_multiple_of(self.merged)) {
            let merged = self.merged;
            return Err(Error::Input(format!(
                "an image of {} × {} patches cannot be merged {merged} by {merged}: {n} is no multiple of {merged}",
                sides[0], sides[1]
            )));
        }
        let known = features.image.clone();
        // 1. every head of the tower, and the states that are taken
        let mut pass = pass.clone();
        pass.keep.push(Keep { site: Site::Stream, kind: Some(Kind::Encoder), layers: Some(self.layers.clone()) });
        let mut run = self.tower.run(&[input], &RunOptions { decoding: Decoding::TeacherForcing, pass })?;
        let state = |layer: &usize| run.kept(Site::Stream, Kind::Encoder, *layer);
        let states: Vec<&Array> = self.layers.iter().filter_map(state).collect();
        // 2. through the projector
        let rows = self.project(&states, stack, sides);
        run.kept.retain(|kept| kept.site != Site::Stream);
        let last = self.layers.iter().max().copied().unwrap_or(0);
        if last < stack.blocks.len() {
            let what = match last.checked_sub(1) {
                Some(layer) => format!("what leaves layer {layer} of the vision tower"),
                None => "what enters the vision tower".to_owned(),
            };
            let name = self.tower.name();
            run.recording
                .provenance
                .notes
                .push(format!("the text of {name} reads {what}: layers after that reach no word"));
        }
        let grid = PatchGrid {
            first: stack.n_leading() - self.n_dropped,
            rows: sides[0] / self.merged,
            columns: sides[1] / self.merged,
            size: known.as_ref().and_then(|grid| grid.size),
            seen: known.as_ref().and_then(|grid| grid.seen),
        };
        Ok(Look { rows, grid, run })
    }

    /// What stands among the rows of words. Shape of each of `states`: `[1, n, d_model]`.
    fn project(&self, states: &[&Array], stack: &Stack, [_, n_columns]: [usize; 2]) -> Array {
        let d_model = stack.d_model;
        let n = states.first().map_or(0, |array| array.values.len() / d_model) - self.n_dropped;
        let side = self.merged;
        // a row's patches, row by row
        let patches = |row: usize| {
            let (top, left) = (row / (n_columns / side).max(1) * side, row % (n_columns / side).max(1) * side);
            (0..side * side).map(move |place| (top + place / side) * n_columns + left + place % side)
        };
        let n_rows = n / (side * side);
        let mut input = Vec::with_capacity(n * d_model * states.len()); // [n_rows, d_in]
        for row in 0..n_rows {
            let places: Vec<usize> = if side == 1 { vec![row] } else { patches(row).collect() };
            for place in places {
                let start = (place + self.n_dropped) * d_model;
                states.iter().for_each(|array| input.extend_from_slice(&array.values[start..][..d_model]));
            }
        }
        let [first, second] = &self.projector;
        let mut hidden = vec![0.0; n_rows * first.d_out]; // [n_rows, d_hidden]
        first.forward(&input, &mut hidden, self.activation);
        let mut values = vec![0.0; n_rows * second.d_out]; // [n_rows, width]
        second.forward(&hidden, &mut values, Activation::Identity);
        Array { shape: vec![n_rows, second.d_out], values }
    }
}

impl Model {
    /// Whether the model reads texts with images in them; it was loaded with what images go through
    /// ([`LoadOptions::images`](crate::LoadOptions::images)).
    pub fn sees_images(&self) -> bool {
        self.sight.is_some()
    }

    /// What images go through before they stand among words: an encoder of its own.
    pub fn vision_tower(&self) -> Option<&Model> {
        self.sight.as_deref().map(|sight| &sight.tower)
    }

    /// Looks at an image that [`vision_tower`](Model::vision_tower) can read; `pass` says what is kept of the tower.
    ///
    /// # Errors
    /// When the model sees no images, or the tower cannot read it.
    pub fn look(&self, image: Input, pass: &Pass) -> Result<Look, Error> {
        self.sight.as_deref().ok_or_else(|| no_images(self))?.look(image, pass)
    }

    /// A text with images in it: each stands where the text has the placeholder, in the order of both.
    ///
    /// # Errors
    /// When the text cannot be read, or has not one placeholder for each image.
    pub fn input_with_images(&self, text: &str, target: Option<&str>, looks: &[Look]) -> Result<Input, Error> {
        self.with_images(self.input(text, target)?.target, looks)
    }

    /// The same of tokens.
    ///
    /// # Errors
    /// When there is not one placeholder for each image.
    pub fn with_images(&self, tokens: Tokens, looks: &[Look]) -> Result<Input, Error> {
        let sight = self.sight.as_deref().ok_or_else(|| no_images(self))?;
        let is_image = |token: &&Token| token.id == Some(sight.image_token);
        let n_places = tokens.tokens.iter().filter(is_image).count();
        if n_places != looks.len() {
            let (n, text) = (counted(looks.len(), "image"), counted(n_places, "placeholder"));
            return Err(Error::Input(format!(
                "{n} for a text with {text}: {} reads one where the text has {} (token {})",
                self.name(),
                sight.written,
                sight.image_token
            )));
        }
        let width = looks.first().map_or(0, |look| look.rows.shape.last().copied().unwrap_or(0));
        let rows: Vec<f32> = looks.iter().flat_map(|look| &look.rows.values).copied().collect(); // [n, width]
        let mut seen = Seen {
            rows: Array { shape: vec![rows.len() / width.max(1), width], values: rows },
            tokens: Vec::new(),
            grids: Vec::new(),
        };
        let target = expanded(tokens, sight.image_token, looks, &mut seen);
        Ok(Input { target, seen: Some(Arc::new(seen)), ..Input::default() })
    }

    /// The stack that reads patches.
    fn stack_of_patches(&self) -> Result<&Stack, Error> {
        let stack = self.transformer.architecture.encoder.as_ref();
        stack.filter(|stack| matches!(stack.embedding.reads, Reads::Patches(_))).ok_or_else(|| no_images(self))
    }

    /// Takes the norm after the last block away.
    fn drop_final_norm(&mut self) {
        let transformer = Arc::make_mut(&mut self.transformer);
        if let (Some(stack), Some(weights)) = (&mut transformer.architecture.encoder, &mut transformer.encoder) {
            (stack.final_norm, weights.final_norm) = (None, None);
        }
    }
}

/// The tokens with as many in the place of each placeholder as its image has rows; what and where they are goes to `seen`. Rows of the
/// second image are called `r0c0#2`, and so on.
fn expanded(tokens: Tokens, image_token: u32, looks: &[Look], seen: &mut Seen) -> Tokens {
    let mut looks = looks.iter();
    let mut all: Vec<Token> = Vec::with_capacity(tokens.tokens.len());
    let mut n_words = 0; // words that patches add before this place
    let mut word = 0; // the next word of its own
    for token in tokens.tokens {
        let look = looks.as_slice().first().filter(|_| token.id == Some(image_token));
        let Some(Look { grid, rows, .. }) = look else {
            let own = token.word.map(|own| own + n_words);
            word = own.map_or(word, |own| own + 1);
            all.push(Token { word: own, ..token });
            continue;
        };
        looks.next();
        let start = all.len();
        let n = rows.shape.first().copied().unwrap_or(0);
        let of_image = if seen.grids.is_empty() { String::new() } else { format!("#{}", seen.grids.len() + 1) };
        seen.tokens.extend(start..start + n);
        seen.grids.push(PatchGrid { first: start + grid.first, ..grid.clone() });
        for row in 0..n {
            let place = row.checked_sub(grid.first);
            all.push(match place {
                Some(place) => Token {
                    id: Some(image_token),
                    word: Some(word),
                    ..Token::labelled(format!("r{}c{}{of_image}", place / grid.columns, place % grid.columns))
                },
                None => Token {
                    id: Some(image_token),
                    role: TokenRole::Special,
                    ..Token::labelled(format!("CLS{of_image}"))
                },
            });
            if place.is_some() {
                word += 1;
                n_words += 1;
            }
        }
    }
    Tokens { text: tokens.text, tokens: all }
}

fn no_images(model: &Model) -> Error {
    Error::Unsupported(format!("{} reads no images among words", model.name()))
}
