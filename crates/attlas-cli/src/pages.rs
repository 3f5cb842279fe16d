//! What a page carries besides maps, as the command line says it: for the main job, and for `attlas page`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::conllu::Sentences;
use attlas::figure::Bitmap;
use attlas::output::write_aside;
use attlas::{Item, Recording};
use attlas_model::Spectrogram;
use attlas_model::image::Image;
use attlas_viewer::{Beside, Page, PageOptions, Sound};
use clap::Args;

use crate::failure::Failure;
use crate::inputs::{is_image_name, is_sound_name};
use crate::terminal::remark;
use crate::words::counted;

/// What a page carries, and how much.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Page")]
pub struct PageContent {
    /// Megabytes of attention data in the page at most [default: 64].
    #[arg(long, value_name = "N")]
    pub max_page_mb: Option<u64>,
    /// Sentences with trees: the page draws that of a text over its tokens.
    #[arg(long, value_name = "FILE.conllu")]
    pub trees: Option<PathBuf>,
    /// The image that was recorded, laid under its patches; once for each text that is an image
    /// [default: the image, when one is given instead of a recording].
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// The sound that was recorded (WAV), drawn beside its map; once for each text that is a sound
    /// [default: the sound, when one is given instead of a recording].
    #[arg(long, value_name = "FILE")]
    pub sound: Vec<PathBuf>,
}

impl PageContent {
    /// The first of these options that was given, for where no page is written.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.max_page_mb.is_some(), "--max-page-mb"),
            (self.trees.is_some(), "--trees"),
            (!self.image.is_empty(), "--image"),
            (!self.sound.is_empty(), "--sound"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.trees.iter().chain(&self.image).chain(&self.sound).map(PathBuf::as_path)
    }

    /// Bytes of attention data of each of `n` recordings at most.
    pub fn max_bytes(&self, n: usize) -> u64 {
        let whole = self.max_page_mb.map_or(PageOptions::DEFAULT_MAX_BYTES, |mb| mb.saturating_mul(1 << 20));
        whole / n.max(1) as u64
    }

    /// What stands beside the texts of recordings, each with what it was made of or opened from.
    pub fn beside(&self, recordings: &[(&OsStr, &Recording)]) -> Result<Vec<Vec<Beside>>, Failure> {
        let blank = |(_, recording): &(&OsStr, &Recording)| vec![Beside::default(); recording.items.len()];
        let mut beside: Vec<Vec<Beside>> = recordings.iter().map(blank).collect();
        self.add_images(recordings, &mut beside)?;
        self.add_sounds(recordings, &mut beside)?;
        self.add_trees(recordings, &mut beside)?;
        Ok(beside)
    }

    fn add_images(&self, recordings: &[(&OsStr, &Recording)], beside: &mut [Vec<Beside>]) -> Result<(), Failure> {
        let is_image = |item: &Item| item.image.is_some();
        let files = self.files_of("--image", &self.image, recordings, is_image, is_image_name)?;
        for (at, place, path) in files {
            let Image { width, height, pixels: rgb } = Image::open(&path)?;
            let size = recordings[at].1.items[place].image.as_ref().and_then(|grid| grid.size);
            if let Some([recorded_width, recorded_height]) = size.filter(|size| *size != [width, height]) {
                return Err(Failure::Input(format!(
                    "{}: has {width} × {height} pixels, but the recording was made of an image of {recorded_width} × {recorded_height}",
                    path.display()
                )));
            }
            beside[at][place].picture = Some(Bitmap { width, height, rgb });
        }
        Ok(())
    }

    fn add_sounds(&self, recordings: &[(&OsStr, &Recording)], beside: &mut [Vec<Beside>]) -> Result<(), Failure> {
        let is_sound = |item: &Item| item.token_seconds().is_some();
        let files = self.files_of("--sound", &self.sound, recordings, is_sound, is_sound_name)?;
        for (at, place, path) in files {
            let item = &recordings[at].1.items[place];
            let Some(token_seconds) = item.token_seconds() else { continue };
            let n_tokens = item.source.len();
            let Spectrogram { n_mels, loudness, frame_seconds, seconds, hertz } =
                Spectrogram::open(&path, n_tokens as f64 * token_seconds)?;
            let recorded = item.n_sound.unwrap_or(n_tokens) as f64 * token_seconds;
            // the recording counts whole tokens
            if (recorded - seconds).abs() > 1.5 * token_seconds {
                return Err(Failure::Input(format!(
                    "{}: {seconds:.2} s of it would be heard, but {recorded:.2} s of sound were recorded; is it another sound?",
                    path.display()
                )));
            }
            beside[at][place].sound = Some(Sound { n_mels, loudness, frame_seconds, token_seconds, hertz });
        }
        Ok(())
    }

    /// The files of one sort with the text that each belongs to: those given, in the order of the texts of this sort, or the file
    /// that a recording was made of.
    fn files_of(
        &self,
        option: &str,
        given: &[PathBuf],
        recordings: &[(&OsStr, &Recording)],
        is_one: impl Fn(&Item) -> bool,
        is_name: impl Fn(&Path) -> bool,
    ) -> Result<Vec<(usize, usize, PathBuf)>, Failure> {
        let of_recording = |(at, (_, recording)): (usize, &(&OsStr, &Recording))| {
            let items = recording.items.iter().enumerate().filter(|(_, item)| is_one(item));
            items.map(|(place, _)| (at, place)).collect::<Vec<_>>()
        };
        let places: Vec<(usize, usize)> = recordings.iter().enumerate().flat_map(of_recording).collect();
        if given.len() > places.len() {
            let what = option.trim_start_matches('-');
            return Err(Failure::Usage(format!(
                "{option} was given {}, but what was recorded are {}",
                times(given.len()),
                counted(places.len(), what)
            )));
        }
        if !given.is_empty() {
            return Ok(places.into_iter().zip(given).map(|((at, place), path)| (at, place, path.clone())).collect());
        }
        let made_of = |(at, place): (usize, usize)| {
            let path = Path::new(recordings[at].0);
            (place == 0 && is_name(path)).then(|| (at, place, path.to_path_buf()))
        };
        Ok(places.into_iter().filter_map(made_of).collect())
    }

    /// Finds the sentence of each text.
    fn add_trees(&self, recordings: &[(&OsStr, &Recording)], beside: &mut [Vec<Beside>]) -> Result<(), Failure> {
        let Some(path) = &self.trees else { return Ok(()) };
        let (mut n_trees, mut n_found) = (0, 0);
        for sentence in Sentences::open(path)? {
            let sentence = sentence?;
            if !sentence.has_tree() {
                continue;
            }
            n_trees += 1;
            for ((_, recording), beside) in recordings.iter().zip(&mut *beside) {
                for (item, beside) in recording.items.iter().zip(beside) {
                    let is_its = [&item.source, &item.target].iter().any(|tokens| tokens.text == sentence.text);
                    if is_its && beside.tree.is_none() {
                        beside.tree = Some(sentence.clone());
                        n_found += 1;
                    }
                }
            }
        }
        let n_texts: usize = recordings.iter().map(|(_, recording)| recording.items.len()).sum();
        match n_found {
            0 if n_trees == 0 => Err(Failure::Input(format!("{}: has no sentence with a tree", path.display()))),
            0 => Err(Failure::Input(format!(
                "{}: none of its {} with a tree is the text of a recording, sign for sign",
                path.display(),
                counted(n_trees, "sentence")
            ))),
            _ if n_found < n_texts => {
                remark(&format!("{}: has the trees of {n_found} of the {n_texts} texts", path.display()));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

/// Refuses a name that is no page's: a file of another kind would be lost under it, and no browser would open it.
pub fn refuse_no_page(output: &Path) -> Result<(), Failure> {
    let is_page =
        output.extension().is_some_and(|end| ["html", "htm"].iter().any(|page| end.eq_ignore_ascii_case(page)));
    if is_page {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "-o {}: a page is written, and its name ends in .html or .htm; `attlas record` writes a recording (.safetensors), and \
         `attlas draw` pictures (.svg, .pdf, .png)",
        output.display()
    )))
}

/// Writes the page of recordings, the first of them the one that it opens with.
pub fn write_page(
    first: (&Recording, &PageOptions),
    others: &[(&Recording, &PageOptions)],
    output: &Path,
) -> Result<(), Failure> {
    let page = Page::of_several(first, others)?;
    if page.pooled {
        remark("the maps are too large for a page of every weight: each cell of it is the largest weight of a tile");
    }
    Ok(write_aside(output, |file| file.write_all(page.html.as_bytes()))?)
}
