//! Links written: as the field writes them, as a table, or as JSON.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use attlas::analysis::alignment::{Alignment, WordMap};
use attlas::output::write_aside;
use clap::ValueEnum;
use serde::Serialize;

use super::AlignArguments;
use crate::failure::Failure;
use crate::terminal::{Terminal, printable};
use crate::words::inert_json;

/// How links are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each text: 0-0 2-1, source-target.
    Pharaoh,
    /// A line for each link, with its words and its weight.
    Tsv,
    /// One object with heads, words, links and weights.
    Json,
}

impl Format {
    /// What a file's name says; `None` where it says nothing that is known.
    pub fn of_file(path: &Path) -> Option<Format> {
        match path.extension().and_then(OsStr::to_str)?.to_lowercase().as_str() {
            "tsv" => Some(Format::Tsv),
            "json" => Some(Format::Json),
            "txt" | "pharaoh" | "align" | "links" => Some(Format::Pharaoh),
            _ => None,
        }
    }
}

/// The links of one text.
#[derive(Debug, Clone, Serialize)]
pub struct Aligned {
    /// Which text, counted from 0.
    text: usize,
    /// What the heads are called together.
    #[serde(skip)]
    pub heads: String,
    source: Vec<String>,
    target: Vec<String>,
    links: Vec<Weighed>,
}

/// A link with the weight of the target word on the source word.
#[derive(Debug, Clone, Copy, Serialize)]
struct Weighed {
    source: usize,
    target: usize,
    weight: Option<f32>,
}

impl Aligned {
    /// The links of a text, with what `words` says of their weights.
    pub fn new(text: usize, heads: String, words: &WordMap<'_>, alignment: &Alignment) -> Aligned {
        let weighed =
            |source, target, weight: f32| Weighed { source, target, weight: weight.is_finite().then_some(weight) };
        let mut links: Vec<Weighed> = alignment.pairs().map(|pair| weighed(pair.source, pair.target, 0.0)).collect();
        words.for_each_row(|target, row| {
            let start = links.partition_point(|link| link.target < target);
            for link in links[start..].iter_mut().take_while(|link| link.target == target) {
                *link = weighed(link.source, target, row[link.source]);
            }
        });
        Aligned { text, heads, source: words.source().to_vec(), target: words.target().to_vec(), links }
    }

    /// The words on both sides, which links count: `The cat → Le chat`.
    pub fn sentences(&self) -> String {
        let [source, target] = [&self.source, &self.target]
            .map(|words| words.iter().map(|word| word.trim()).collect::<Vec<_>>().join(" "));
        format!("{source} → {target}")
    }

    fn pharaoh(&self) -> String {
        let links: Vec<String> = self.links.iter().map(|link| format!("{}-{}", link.source, link.target)).collect();
        links.join(" ")
    }
}

/// What stands above the texts in JSON.
#[derive(Serialize)]
struct Whole<'a> {
    heads: &'a str,
    rows: &'a str,
    words: &'a str,
    symmetrise: &'a str,
    texts: &'a [Aligned],
}

/// Prints the links of the texts `indices`, some of which may have been left out.
pub fn print(
    aligned: &[Aligned],
    indices: &[usize],
    arguments: &AlignArguments,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    Ok(write(aligned, indices, arguments, terminal)?)
}

/// Writes the links to a file.
pub fn save(aligned: &[Aligned], indices: &[usize], arguments: &AlignArguments, path: &Path) -> Result<(), Failure> {
    Ok(write_aside(path, |file| write(aligned, indices, arguments, file))?)
}

fn write(aligned: &[Aligned], indices: &[usize], arguments: &AlignArguments, out: &mut dyn Write) -> io::Result<()> {
    match arguments.links_format() {
        Format::Pharaoh => {
            // a text that was left out has an empty line, so that lines still count texts
            let mut rest = aligned.iter().peekable();
            indices.iter().try_for_each(|index| {
                let links = rest.next_if(|aligned| aligned.text == *index).map_or(String::new(), Aligned::pharaoh);
                writeln!(out, "{links}")
            })
        }
        Format::Tsv => {
            writeln!(out, "text\tsource\ttarget\tweight\tsource_word\ttarget_word")?;
            for aligned in aligned {
                for Weighed { source, target, weight } in &aligned.links {
                    let weight = weight.map_or(String::new(), |weight| format!("{weight:.6}"));
                    let [from, to] = [&aligned.source[*source], &aligned.target[*target]].map(|word| printable(word));
                    writeln!(out, "{}\t{source}\t{target}\t{weight}\t{from}\t{to}", aligned.text)?;
                }
            }
            Ok(())
        }
        Format::Json => {
            let heads = aligned.first().map_or("", |aligned| aligned.heads.as_str());
            let rows = arguments.rows.row_tokens().name();
            let (words, symmetrise) = (arguments.words_name(), arguments.symmetrise.name());
            let json = serde_json::to_string(&Whole { heads, rows, words, symmetrise, texts: aligned })?;
            writeln!(out, "{}", inert_json(&json))
        }
    }
}
