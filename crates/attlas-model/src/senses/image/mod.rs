//! Images as vision models read them: decoded, resized and normalised as `transformers` does it.

mod decode;
mod exif;
mod jpeg;
mod prepare;
mod resample;

use std::path::Path;
use std::sync::Arc;

use attlas::{PatchGrid, Tokens};

pub use decode::Image;
pub(crate) use prepare::Preparation;

use crate::Error;
use crate::config::ImageRows;
use crate::model::Model;
use crate::run::input::{Features, Input, Side};

impl Model {
    /// Whether the model reads images.
    pub fn reads_images(&self) -> bool {
        let encoder = self.transformer.architecture.encoder.as_ref();
        encoder.is_some_and(|stack| stack.embedding.reads.is_of_images())
    }

    /// What a vision model reads of an image file (PNG or JPEG), and what its decoder starts with, where it has one.
    ///
    /// # Errors
    /// When the model reads no images, the file is none, or nothing says how it is to be prepared.
    pub fn image_input(&self, path: &Path) -> Result<Input, Error> {
        let encoder = self.transformer.architecture.encoder.as_ref();
        let Some(reads) = encoder.map(|stack| &stack.embedding.reads).filter(|reads| reads.is_of_images()) else {
            return Err(Error::Unsupported(format!("{} reads no images", self.name())));
        };
        if !path.exists() {
            let message = format!("is no file; {} reads images (PNG, JPEG) here, no texts", self.name());
            return Err(Error::file(path, message));
        }
        let preparation = self.preparation.as_ref().ok_or_else(|| {
            Error::Unsupported(format!(
                "{} has no preprocessor_config.json or processor_config.json, which says how an image is resized and normalised for it",
                self.name()
            ))
        })?;
        let image = Image::open(path)?;
        let mut prepared = preparation.apply(&image).map_err(|message| Error::file(path, message))?;
        let [_, height, width] = prepared.array.shape[..] else { return self.features_input(prepared.array) };
        let Some(image_rows) = reads.image_rows([height, width]) else { return self.features_input(prepared.array) };
        if image_rows.n_channels == 1 {
            if !image.is_grey() {
                let message = format!("has colours, but {} reads one channel; give it in shades of grey", self.name());
                return Err(Error::file(path, message));
            }
            prepared.keep_one_channel();
        }
        let grid = grid_of(&image, prepared.seen, [height, width], image_rows);
        let notes: Vec<String> = preparation.note.into_iter().map(str::to_owned).collect();
        let input = self.features_input(prepared.array).map_err(|error| {
            Error::file(path, format!("as {} has it prepared, {error}", preparation.file.display()))
        })?;
        let seen = |features| Features { image: Some(grid), notes, ..Arc::unwrap_or_clone(features) };
        let features = input.features.map(|features| Arc::new(seen(features)));
        let target = match self.object_queries() {
            Some(queries) => queries,
            None if self.has(Side::Target) => self.prompt_tokens("")?,
            None => Tokens::default(),
        };
        Ok(Input { features, target, ..input })
    }
}

/// Where the rows that come of an image lie in its file, of which `seen` was prepared as so many pixels (height, width).
fn grid_of(image: &Image, seen: [i64; 4], [height, width]: [usize; 2], rows: ImageRows) -> PatchGrid {
    let ImageRows { n_leading, grid: [n_rows, n_columns], covered: [covered_height, covered_width], .. } = rows;
    // pixels beyond the last whole patch are not seen
    let [x, y, seen_width, seen_height] = seen;
    let part = |covered: usize, n_seen: i64, n_all: usize| -> i64 {
        (covered as i64 * n_seen + n_all as i64 - 1).div_euclid(n_all as i64)
    };
    PatchGrid {
        first: n_leading,
        rows: n_rows,
        columns: n_columns,
        size: Some([image.width, image.height]),
        seen: Some([x, y, part(covered_width, seen_width, width), part(covered_height, seen_height, height)]),
    }
}
