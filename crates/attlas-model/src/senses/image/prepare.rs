//! preprocessor_config.json: how an image is resized, cut, scaled and normalised before a model reads it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Image;
use super::resample::{Filter, resize};
use crate::Error;
use crate::block::pass::Array;
use crate::config::file::ConfigFile;
use crate::family::processors::{self, Processor};

/// The largest side that an image is resized to.
const MAX_SIDE: usize = 4096;

/// The steps, in the order in which they are taken.
#[derive(Debug, Clone)]
pub(crate) struct Preparation {
    /// The file that says them, for messages.
    pub file: PathBuf,
    resized: Option<(Size, Filter)>,
    /// Height and width of what is cut out of the middle.
    cut: Option<[usize; 2]>,
    scale: Option<f64>,
    /// Mean and standard deviation of each colour.
    normalised: Option<[[f64; 3]; 2]>,
    /// What a reader must know of the pixels.
    pub note: Option<&'static str>,
}

/// Said where transformers resizes numbers.
const IN_BYTES: &str = "transformers resizes this model's images as numbers, here each of two passes is rounded to 8 bits: a pixel may \
    be a level of 255 off";

/// What an image is resized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Height and width.
    Exact([usize; 2]),
    /// The shorter side; the longer one follows.
    ShortestEdge(usize),
    /// About its own size and shape, in sides that are multiples of `unit`, with at least and at most so many pixels (Qwen2-VL).
    Multiples { unit: usize, least: usize, most: usize },
    /// The shorter side, or less where the longer one would be too long (DETR).
    Edges { shortest: usize, longest: usize },
    /// As large as it can be of at most so many whole patches, about in its own shape (SigLIP 2).
    Patches { side: usize, most: usize },
}

/// An image as the model reads it.
pub(crate) struct Prepared {
    /// Shape `[3, height, width]`.
    pub array: Array,
    /// The part of the file's image in it: left, top, width, height, in pixels of the file. Where the image is smaller than what is
    /// cut out of its middle, black stands around it, and the part begins before it and ends behind it.
    pub seen: [i64; 4],
}

impl Prepared {
    /// Keeps the first of three equal channels: shape `[1, height, width]`.
    pub fn keep_one_channel(&mut self) {
        self.array.values.truncate(self.array.values.len() / 3);
        self.array.shape[0] = 1;
    }
}

impl Preparation {
    /// Reads preprocessor_config.json; absent fields are as in the class of `transformers` that it names, of ViT where it names none.
    pub fn read(config: &ConfigFile) -> Result<Preparation, Error> {
        let multiples = of_multiples(config)?;
        let processor = processors::processor(config)?;
        let is_cubic =
            multiples.is_some() || matches!(processor, Processor::Clip | Processor::Deit | Processor::Siglip);
        let filter = config.count_or("resample", if is_cubic { 3 } else { 2 })?;
        let filter = Filter::of_number(filter)
            .ok_or_else(|| config.error("resample", format!("is {filter}, but must be a filter of Pillow, 0 to 5")))?;
        let resized = match config.flag_or("do_resize", true)? {
            true => {
                let size = match multiples {
                    Some(multiples) => multiples,
                    None => of_patches(config)?.or(size(config, "size")?).unwrap_or(usual_size(processor)),
                };
                Some((size, filter))
            }
            false => None,
        };
        let cuts = multiples.is_none() && matches!(processor, Processor::Clip | Processor::Deit);
        let cut = match config.flag_or("do_center_crop", cuts)? {
            true => Some(match size(config, "crop_size")? {
                None => [224; 2],
                Some(Size::Exact(sides)) => sides,
                Some(
                    Size::ShortestEdge(side)
                    | Size::Edges { shortest: side, .. }
                    | Size::Patches { side, .. }
                    | Size::Multiples { unit: side, .. },
                ) => [side; 2],
            }),
            false => None,
        };
        let scale = match config.flag_or("do_rescale", true)? {
            true => Some(config.positive_or("rescale_factor", 1.0 / 255.0)?),
            false => None,
        };
        let normalised = match config.flag_or("do_normalize", true)? {
            true => {
                let [mean, deviation] = match processor {
                    _ if multiples.is_some() => CLIP,
                    Processor::Clip => CLIP,
                    Processor::Detr | Processor::Dinov3 => IMAGENET,
                    Processor::Vit | Processor::Deit | Processor::Siglip => [[0.5; 3]; 2],
                };
                Some([colors(config, "image_mean", mean)?, colors(config, "image_std", deviation)?])
            }
            false => None,
        };
        if processors::pads_to_square(config)? && config.flag_or("do_pad", false)? {
            return Err(
                config.error("do_pad", "is true, which puts an image in the middle of a square; attlas does not")
            );
        }
        // DINOv3's pixels are resized as numbers that are not rounded to 8 bits afterwards
        let note = (resized.is_some() && processor == Processor::Dinov3).then_some(IN_BYTES);
        Ok(Preparation { file: config.path().to_owned(), resized, cut, scale, normalised, note })
    }

    /// The image as the model reads it, and which part of it is left.
    pub fn apply(&self, image: &Image) -> Result<Prepared, String> {
        // 1. size
        let [height, width] = match &self.resized {
            None => [image.height, image.width],
            Some((size, _)) => size.of(image, &self.file)?,
        };
        let resized = match &self.resized {
            None => Cow::Borrowed(image),
            Some((_, filter)) => Cow::Owned(resize(image, width, height, *filter)),
        };
        // 2. the middle
        let [cut_height, cut_width] = self.cut.unwrap_or([height, width]);
        if cut_height.max(cut_width) > MAX_SIDE {
            return Err(format!(
                "has {width} × {height} pixels, which {} does not resize (do_resize); {MAX_SIDE} a side is the most",
                self.file.display()
            ));
        }
        let (top, left) = (start_of_middle(height, cut_height), start_of_middle(width, cut_width));
        // 3. numbers, colour by colour; black where there is no image
        let mut values = Vec::with_capacity(3 * cut_height * cut_width); // [3, cut_height, cut_width]
        for channel in 0..3 {
            for y in top..top + cut_height as i64 {
                let line = usize::try_from(y).ok().and_then(|y| resized.pixels.chunks_exact(width * 3).nth(y));
                let line = line.unwrap_or_default();
                values.extend((left..left + cut_width as i64).map(|x| {
                    let value = usize::try_from(x).ok().and_then(|x| line.get(3 * x + channel));
                    self.number(value.copied().unwrap_or(0), channel)
                }));
            }
        }
        // 4. where that lies in the file
        let in_file = |place: i64, n_new: usize, n_old: usize| {
            let (n_new, n_old) = (n_new as i64, n_old as i64);
            (place * n_old + n_new / 2).div_euclid(n_new)
        };
        let (x, y) = (in_file(left, width, image.width), in_file(top, height, image.height));
        let right = in_file(left + cut_width as i64, width, image.width).max(x + 1);
        let bottom = in_file(top + cut_height as i64, height, image.height).max(y + 1);
        let array = Array { shape: vec![3, cut_height, cut_width], values };
        Ok(Prepared { array, seen: [x, y, right - x, bottom - y] })
    }

    /// A pixel's value, scaled and normalised; rounded to f32 after each step, as NumPy does.
    fn number(&self, value: u8, channel: usize) -> f32 {
        let scaled = self.scale.map_or(f32::from(value), |scale| (f64::from(value) * scale) as f32);
        match &self.normalised {
            None => scaled,
            Some([mean, deviation]) => (scaled - mean[channel] as f32) / deviation[channel] as f32,
        }
    }
}

/// Where the middle begins that is cut out of `n` pixels: before the first where there are fewer. A half pixel goes where
/// `center_crop` of transformers' Pillow processors has it.
fn start_of_middle(n: usize, cut: usize) -> i64 {
    (n as i64 - cut as i64).div_euclid(2)
}

impl Size {
    /// Height and width for an image.
    fn of(self, image: &Image, file: &Path) -> Result<[usize; 2], String> {
        let sides = match self {
            Size::Exact(sides) => sides,
            Size::Multiples { unit, least, most } => {
                sides_of_multiples([image.height, image.width], unit, [least, most])?
            }
            Size::Edges { shortest, longest } => sides_of_edges([image.height, image.width], shortest, longest),
            Size::Patches { side, most } => sides_of_patches([image.height, image.width], side, most),
            Size::ShortestEdge(side) => {
                let (short, long) = (image.width.min(image.height), image.width.max(image.height));
                let longer = (side as u128 * long as u128 / short as u128).min(usize::MAX as u128) as usize;
                if image.width <= image.height { [longer, side] } else { [side, longer] }
            }
        };
        match sides.into_iter().max() {
            Some(longest) if longest > MAX_SIDE => Err(format!(
                "has {} × {} pixels and would be resized to a side of {longest}, as {} asks (size); {MAX_SIDE} is the most",
                image.width,
                image.height,
                file.display()
            )),
            _ => Ok(sides),
        }
    }
}

/// Height and width of an image whose shorter side becomes `shortest`, or as much less as keeps the longer one within `longest`.
fn sides_of_edges(sides: [usize; 2], shortest: usize, longest: usize) -> [usize; 2] {
    let [height, width] = sides.map(|side| side as f64);
    let (short, long) = (height.min(width), height.max(width));
    let is_cut = long / short * shortest as f64 > longest as f64;
    let size = if is_cut { longest as f64 * short / long } else { shortest as f64 };
    let rounded = size.round_ties_even().max(1.0);
    if short == rounded {
        return sides;
    }
    let longer = (size * long / short) as usize;
    if width < height { [longer, rounded as usize] } else { [rounded as usize, longer] }
}

/// Height and width of an image that is scaled to at most so many patches: the largest scale, searched by halves, at which the sides,
/// rounded up to whole patches, have no more.
fn sides_of_patches(sides: [usize; 2], side: usize, most: usize) -> [usize; 2] {
    const STEP: f64 = 1e-5;
    let patches = |scale: f64| sides.map(|pixels| (pixels as f64 * scale / side as f64).ceil().max(1.0) as usize);
    let (mut low, mut high) = (STEP / 10.0, 100.0);
    while high - low >= STEP {
        let middle = (low + high) / 2.0;
        let [rows, columns] = patches(middle);
        if rows.saturating_mul(columns) <= most { low = middle } else { high = middle }
    }
    patches(low).map(|n| n * side)
}

/// Height and width of an image whose sides become the nearest multiples of `unit`, or, where that is fewer pixels than the least or more than
/// the most, of as many.
fn sides_of_multiples(sides: [usize; 2], unit: usize, [least, most]: [usize; 2]) -> Result<[usize; 2], String> {
    let [height, width] = sides;
    let (short, long) = (height.min(width), height.max(width));
    if long as f64 / short as f64 > LONGEST_SHAPE {
        return Err(format!(
            "has {width} × {height} pixels; of a side that is more than {LONGEST_SHAPE} times the other, the model reads nothing"
        ));
    }
    let near = sides.map(|n| (n as f64 / unit as f64).round_ties_even() as usize * unit);
    let n_pixels = (height * width) as f64;
    Ok(if near[0] * near[1] > most {
        let by = (n_pixels / most as f64).sqrt();
        sides.map(|n| ((n as f64 / by / unit as f64).floor() as usize * unit).max(unit))
    } else if near[0] * near[1] < least {
        let by = (least as f64 / n_pixels).sqrt();
        sides.map(|n| (n as f64 * by / unit as f64).ceil() as usize * unit)
    } else {
        near
    })
}

/// How many times one side of an image may be the other, for Qwen2-VL.
const LONGEST_SHAPE: f64 = 200.0;
/// Mean and standard deviation of the colours that CLIP was trained on.
const CLIP: [[f64; 3]; 2] = [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]];

/// Sides in whole squares of patches that are merged, where a configuration speaks of those (Qwen2-VL).
fn of_multiples(config: &ConfigFile) -> Result<Option<Size>, Error> {
    let Some(merged) = config.size_or_none("merge_size")? else { return Ok(None) };
    let side = config.size_or("patch_size", 14)?;
    let given = config.section("size")?;
    let size = given.as_ref().unwrap_or(config);
    let limit = |field: &str, edge: &str, default: usize| match config.size_or_none(field)? {
        Some(n) => Ok(n),
        None if given.is_some() => size.size_or(edge, default),
        None => Ok::<usize, Error>(default),
    };
    let least = limit("min_pixels", "shortest_edge", 56 * 56)?;
    let most = limit("max_pixels", "longest_edge", 28 * 28 * 1280)?;
    for (field, n) in [("patch_size", side), ("merge_size", merged)] {
        if n > MAX_SIDE {
            return Err(config.error(field, format!("is {n}; {MAX_SIDE} is the most")));
        }
    }
    if most > MAX_SIDE * MAX_SIDE || least > most {
        let message = format!("is {most} after a least number of {least}; {} is the most", MAX_SIDE * MAX_SIDE);
        return Err(match config.has("max_pixels") || given.is_none() {
            true => config.error("max_pixels", message),
            false => size.error("longest_edge", message),
        });
    }
    Ok(Some(Size::Multiples { unit: (side * merged).min(MAX_SIDE), least, most }))
}

/// The most patches of an image, where a configuration says them (SigLIP 2).
fn of_patches(config: &ConfigFile) -> Result<Option<Size>, Error> {
    let Some(most) = config.size_or_none("max_num_patches")? else { return Ok(None) };
    let side = config.size_or("patch_size", 16)?;
    if most.saturating_mul(side) > MAX_SIDE * MAX_SIDE {
        return Err(
            config.error("max_num_patches", format!("is {most}, more than an image of {MAX_SIDE} pixels a side has"))
        );
    }
    Ok(Some(Size::Patches { side, most }))
}

/// The size where none is given.
fn usual_size(processor: Processor) -> Size {
    match processor {
        Processor::Detr => Size::Edges { shortest: 800, longest: 1333 },
        Processor::Clip => Size::ShortestEdge(224),
        Processor::Deit => Size::Exact([256; 2]),
        Processor::Vit | Processor::Siglip | Processor::Dinov3 => Size::Exact([224; 2]),
    }
}

/// A size as configurations have it: a number, or an object with height and width or the shortest edge.
fn size(config: &ConfigFile, field: &str) -> Result<Option<Size>, Error> {
    let limited = |section: &ConfigFile, name: &str| match section.size(name)? {
        n if n > MAX_SIDE => Err(section.error(name, format!("is {n}; {MAX_SIDE} is the most"))),
        n => Ok(n),
    };
    match config.get(field) {
        None => Ok(None),
        Some(Value::Number(_)) => {
            let side = limited(config, field)?;
            if field == "size" && processors::processor(config)? == Processor::Detr {
                let longest = if config.has("max_size") { limited(config, "max_size")? } else { 1333 };
                return Ok(Some(Size::Edges { shortest: side, longest }));
            }
            let is_shorter = field == "size" && processors::size_is_shorter_side(config)?;
            Ok(Some(if is_shorter { Size::ShortestEdge(side) } else { Size::Exact([side; 2]) }))
        }
        Some(_) => {
            let Some(section) = config.section(field)? else { return Ok(None) };
            if section.has("shortest_edge") {
                let shortest = limited(&section, "shortest_edge")?;
                return Ok(Some(match section.has("longest_edge") {
                    true => Size::Edges { shortest, longest: limited(&section, "longest_edge")? },
                    false => Size::ShortestEdge(shortest),
                }));
            }
            Ok(Some(Size::Exact([limited(&section, "height")?, limited(&section, "width")?])))
        }
    }
}

/// Mean and standard deviation of the colours of ImageNet.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// Three numbers, or one for all three colours.
fn colors(config: &ConfigFile, field: &str, default: [f64; 3]) -> Result<[f64; 3], Error> {
    let numbers = match config.get(field) {
        None => default.to_vec(),
        Some(Value::Number(_)) => vec![config.number_or(field, 0.5)?],
        Some(_) => config.numbers(field)?.unwrap_or_default(),
    };
    let numbers = match numbers[..] {
        [one] => [one; 3],
        [red, green, blue] => [red, green, blue],
        _ => return Err(config.error(field, format!("has {} numbers, but there are 3 colours", numbers.len()))),
    };
    if field == "image_std" && numbers.iter().any(|number| !(255.0 / *number as f32).is_finite()) {
        return Err(config.error(field, "has a number near 0, by which pixels would be divided"));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn senses(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/senses").join(name)
    }

    /// What transformers' processors made of the images (`tools/reference/senses.py`): the pixels are the same, and so are
    /// the numbers.
    #[test]
    fn images_are_prepared_as_transformers_prepares_them() {
        let bytes = std::fs::read(senses("expected.safetensors")).expect("expected.safetensors");
        let expected = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let mut n_compared = 0;
        for (name, tensor) in expected.tensors() {
            let Some((processor, file)) = name.split_once('.').filter(|(_, file)| !file.ends_with("wav")) else {
                continue;
            };
            let config = ConfigFile::open(&senses(&format!("{processor}.json"))).expect("a configuration");
            let preparation = Preparation::read(&config).expect("a preparation");
            let prepared = preparation.apply(&Image::open(&senses(file)).expect("an image")).expect("it is prepared");
            assert_eq!(prepared.array.shape, tensor.shape(), "{name}");
            let wanted = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            // one level of 255 in the scale of the numbers
            let level = preparation.number(1, 2) - preparation.number(0, 2);
            let differences = prepared.array.values.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs());
            let worst = differences.fold(0.0, f32::max) / level;
            assert!(worst <= 1e-4, "{name}: off by {worst} levels");
            n_compared += 1;
        }
        assert!(n_compared >= 26, "{n_compared}");
    }

    /// The classes' own attributes in transformers 5.24.
    #[test]
    fn what_a_file_leaves_out_is_as_its_class_has_it() {
        let usual = |class: &str| {
            let config = serde_json::json!({ "image_processor_type": class }).to_string();
            let config = ConfigFile::parse("preprocessor_config.json".as_ref(), config.as_bytes()).expect("JSON");
            let Preparation { resized, cut, normalised, .. } = Preparation::read(&config).expect("a preparation");
            let (size, filter) = resized.expect("it is resized");
            (size, filter, cut, normalised.expect("it is normalised"))
        };
        let [two, three] = [2, 3].map(|number| Filter::of_number(number).expect("a filter"));
        let (grey, middle) = ([[0.5; 3]; 2], Some([224; 2]));
        for class in ["CLIPImageProcessor", "CLIPFeatureExtractor", "BitImageProcessor", "LlavaImageProcessorFast"] {
            assert_eq!(usual(class), (Size::ShortestEdge(224), three, middle, CLIP), "{class}");
        }
        assert_eq!(usual("DeiTImageProcessor"), (Size::Exact([256; 2]), three, middle, grey));
        assert_eq!(usual("SiglipImageProcessor"), (Size::Exact([224; 2]), three, None, grey));
        assert_eq!(usual("BeitImageProcessor"), (Size::Exact([224; 2]), three, None, grey));
        assert_eq!(usual("ViTImageProcessor"), (Size::Exact([224; 2]), two, None, grey));
        assert_eq!(usual("DINOv3ViTImageProcessorFast"), (Size::Exact([224; 2]), two, None, IMAGENET));
        assert_eq!(usual("DetrImageProcessor"), (Size::Edges { shortest: 800, longest: 1333 }, two, None, IMAGENET));
    }

    #[test]
    fn the_seen_part_is_given_in_pixels_of_the_file() {
        let config =
            br#"{"size": {"shortest_edge": 10}, "do_center_crop": true, "crop_size": {"height": 8, "width": 8}}"#;
        let config = ConfigFile::parse("preprocessor_config.json".as_ref(), config).expect("JSON");
        let image = Image { width: 40, height: 20, pixels: vec![0; 40 * 20 * 3] };
        let prepared = Preparation::read(&config).expect("a preparation").apply(&image).expect("it is prepared");
        assert_eq!(prepared.array.shape, [3, 8, 8]);
        assert_eq!(prepared.seen, [12, 2, 16, 16]);
    }

    /// By hand as `center_crop` of transformers' `image_transforms` does it: 3 pixels in the middle of 6 have two before them and
    /// one behind; of 5 rows the middle two are the second and the third.
    #[test]
    fn an_image_smaller_than_its_middle_has_black_around_it() {
        let config = br#"{"do_resize": false, "do_center_crop": true, "crop_size": {"height": 2, "width": 6},
            "do_normalize": false, "rescale_factor": 1}"#;
        let config = ConfigFile::parse("preprocessor_config.json".as_ref(), config).expect("JSON");
        let image = Image { width: 3, height: 5, pixels: (1..=45).collect() };
        let prepared = Preparation::read(&config).expect("a preparation").apply(&image).expect("it is prepared");
        assert_eq!(prepared.array.shape, [3, 2, 6]);
        let red: Vec<f32> = [[0.0, 0.0, 10.0, 13.0, 16.0, 0.0], [0.0, 0.0, 19.0, 22.0, 25.0, 0.0]].concat();
        assert_eq!(prepared.array.values[..12], red);
        assert_eq!(prepared.array.values[12 + 2], 11.0, "green");
        assert_eq!(prepared.seen, [-2, 1, 6, 2]);
    }

    #[test]
    fn pixels_that_transformers_does_not_round_are_said_to_be_rounded() {
        let note = |json: &str| {
            let config = ConfigFile::parse("preprocessor_config.json".as_ref(), json.as_bytes()).expect("JSON");
            Preparation::read(&config).expect("a preparation").note
        };
        assert!(note(r#"{"image_processor_type": "DINOv3ViTImageProcessorFast"}"#).is_some());
        assert_eq!(note(r#"{"image_processor_type": "DINOv3ViTImageProcessorFast", "do_resize": false}"#), None);
        assert_eq!(note(r#"{"image_processor_type": "ViTImageProcessor"}"#), None);
    }

    #[test]
    fn older_files_of_detr_give_the_shorter_side_and_the_longest_there_may_be() {
        let read = |json: &[u8]| {
            let config = ConfigFile::parse("preprocessor_config.json".as_ref(), json).expect("JSON");
            Preparation::read(&config).expect("a preparation").resized.expect("a size").0
        };
        let older = read(br#"{"feature_extractor_type": "DetrFeatureExtractor", "size": 800, "max_size": 1000}"#);
        assert_eq!(older, Size::Edges { shortest: 800, longest: 1000 });
        assert_eq!(
            read(br#"{"image_processor_type": "DetrImageProcessor"}"#),
            Size::Edges { shortest: 800, longest: 1333 }
        );
        assert_eq!(sides_of_edges([480, 640], 800, 1333), [800, 1066]);
        assert_eq!(sides_of_edges([300, 1200], 800, 1333), [333, 1333]);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_by_name() {
        let refused = |json: &str| {
            let config = ConfigFile::parse("preprocessor_config.json".as_ref(), json.as_bytes()).expect("JSON");
            match Preparation::read(&config) {
                Err(error) => error.to_string(),
                Ok(preparation) => {
                    let image = Image { width: 1, height: 3000, pixels: vec![0; 9000] };
                    preparation.apply(&image).err().expect("a refusal")
                }
            }
        };
        assert!(refused(r#"{"size": {"height": 1000000, "width": 1}}"#).contains("size.height is 1000000"));
        assert!(refused(r#"{"size": {"shortest_edge": 4000}}"#).contains("side of 12000000"));
        let one_line = Image { width: 5000, height: 1, pixels: vec![0; 15_000] };
        let config = ConfigFile::parse("preprocessor_config.json".as_ref(), br#"{"do_resize": false}"#).expect("JSON");
        let message = Preparation::read(&config).expect("a preparation").apply(&one_line).err().expect("a refusal");
        assert!(message.contains("has 5000 × 1 pixels") && message.contains("4096"), "{message}");
        assert!(refused(r#"{"resample": 9}"#).contains("resample is 9"));
        assert!(refused(r#"{"image_std": [1, 0, 1]}"#).contains("image_std has a number near 0"));
        let padded = r#"{"image_processor_type": "LlavaImageProcessorFast", "do_pad": true}"#;
        assert!(refused(padded).contains("do_pad is true, which puts an image in the middle of a square"));
        assert!(refused(r#"{"image_std": 1e-40}"#).contains("image_std has a number near 0"));
        assert!(refused(r#"{"image_mean": [1, 2]}"#).contains("image_mean has 2 numbers"));
        let merged = |size: &str| refused(&format!(r#"{{"merge_size": 2, {size}}}"#));
        assert!(merged(r#""max_pixels": 9"#).contains("max_pixels is 9 after a least number of 3136"));
        assert!(merged(r#""size": {"longest_edge": 9}"#).contains("size.longest_edge is 9 after"));
    }
}
