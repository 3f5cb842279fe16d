//! `attlas draw contacts`: which residues of a protein touch, read off attention maps, as a table, JSON or a picture.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::{Contacts, Pair};
use attlas::figure::{self, Axis, ColorScale, Format, Panel, PanelScale};
use attlas::recording::complaint;
use attlas::{HeadId, Item, Kind, Quantity, Recording, Token, TokenRole};
use attlas_model::ContactWeights;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};

use super::draw::{StyleArguments, format_of, write_figure};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    KnockOut, Material, RawText, RunArguments, TextRun, Texts, check_output, model_files, parse_kind, parse_knock_out,
    pick_kind, run_of, run_texts,
};
use crate::terminal::{Terminal, pad, print_json, printable, remark, width};
use crate::words::counted;

pub const EXAMPLES: &str = "\
Examples:
  attlas draw contacts MKTAYIAKQRQISFVKSHFSRQLEERLG --model facebook/esm2_t6_8M_UR50D
  attlas draw contacts MKTAYIAKQRQISFVKSHFSRQLEERLG --model DIR -o contacts.svg
  attlas draw contacts run.safetensors --head L5H3 --json      one head, without a regression

Probabilities are those of the model's own regression on the maps of all its heads, which ESM-2 has. With --head,
one map is corrected alone: a number above 0 says that two tokens attend to each other more than to others.";

/// `attlas draw contacts`.
#[derive(Debug, Args)]
pub struct ContactsArguments {
    /// A recording (a file, or a name that ends in .safetensors), a text, or - for a text from standard input. Of FASTA, a
    /// text that starts with >, the lines behind the header are read.
    #[arg(value_name = "RECORDING | TEXT")]
    pub material: RawText,
    /// The picture to write: .svg, .pdf or .png [default: none; the pairs are printed as a table].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the pairs as a JSON array of rows.
    #[arg(long)]
    pub json: bool,
    /// One head instead of the model's regression on all: L5H3 or 5.3, or encoder:L5H3 where several kinds have it.
    #[arg(long, value_name = "HEAD", value_parser = parse_knock_out)]
    pub head: Option<KnockOut>,
    /// The attention [default: decoder, else encoder].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// Pairs of the table and of JSON that stand closer than so many tokens are left out.
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub apart: usize,
    /// Lines of the table [default: as many as the text has tokens, up to 40].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub top: Option<usize>,
    /// The text of a batch, counted from 0.
    #[arg(long = "text", default_value_t = 0, value_name = "N")]
    pub item: usize,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Lines of the table when `--top` does not say.
const MOST_LINES: usize = 40;

/// Reads contacts, then prints or draws them.
pub fn run(arguments: &ContactsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let format = arguments.format()?;
    let run = arguments.run()?;
    run.recording.provenance.remarks().iter().for_each(|text| remark(text));
    let found = Found::of(arguments, &run.recording, run.contacts.as_ref())?;
    found.remarks().iter().for_each(|text| remark(text));
    if let (Some(format), Some(output)) = (format, &arguments.output) {
        write_figure(format, &found.figure(&arguments.style)?, output)?;
        if !arguments.json {
            writeln!(terminal, "{}", printable(&output.display().to_string()))?;
        }
    }
    match (arguments.json, &arguments.output) {
        (true, _) => print_json(&found.json(arguments.apart), terminal)?,
        (false, None) => found.print(arguments.apart, arguments.top, terminal)?,
        (false, Some(_)) => {}
    }
    Ok(checks::outcome(complaint(&run.recording.check()?).as_deref()))
}

impl ContactsArguments {
    /// Opens the recording, or runs the model on the text.
    fn run(&self) -> Result<TextRun, Failure> {
        match Material::read(&self.material)? {
            Material::Text(text) => {
                let source = if text.starts_with('>') { protein_of_fasta(&text)? } else { text };
                run_texts(&Texts { sources: vec![source], targets: self.run.target_texts()? }, &self.run)
            }
            Material::Recording(_) => run_of(&self.material, &self.run),
        }
    }

    /// The picture's format, where one is asked for; what does not go together is refused.
    fn format(&self) -> Result<Option<Format>, Failure> {
        if self.style.panel_scale != PanelScale::default() {
            remark("--panel-scale does nothing here: the picture has one map");
        }
        let Some(output) = &self.output else {
            return match self.style.first_given() {
                Some(option) => {
                    Err(Failure::Usage(format!("{option} is for a picture, but none is asked for: -o FILE.svg")))
                }
                None => Ok(None),
            };
        };
        let format = format_of(output)?;
        self.style.check(format, output)?;
        let model = model_files(&self.run.model);
        check_output(output, [Path::new(&self.material)].into_iter().chain(model.iter().map(PathBuf::as_path)))?;
        Ok(Some(format))
    }
}

/// What was read, and off which maps.
struct Found<'a> {
    recording: &'a Recording,
    item: &'a Item,
    kind: Kind,
    /// The head; `None` for the regression on all.
    head: Option<HeadId>,
    contacts: Contacts,
}

impl<'a> Found<'a> {
    fn of(
        arguments: &ContactsArguments,
        recording: &'a Recording,
        weights: Option<&ContactWeights>,
    ) -> Result<Found<'a>, Failure> {
        let item = arguments.item;
        let named = arguments.head.and_then(|head| head.kind);
        if let (Some(one), Some(other)) = (named, arguments.kind)
            && one != other
        {
            return Err(Failure::Usage(format!("--head says {one}, --kind {other}")));
        }
        let kind = match named.or(arguments.kind) {
            None if recording.kinds().contains(&Kind::Encoder) => Kind::Encoder,
            asked => pick_kind(recording, asked)?,
        };
        let contacts = match (arguments.head, weights) {
            (Some(head), _) => {
                Contacts::of_head(recording, item, recording.layer(kind, head.id.layer)?, Some(head.id.head))?
            }
            (None, Some(weights)) => Contacts::predicted(recording, item, kind, &weights.weight, weights.bias)?,
            (None, None) => return Err(no_regression(recording)),
        };
        let n_items = recording.items.len();
        let tokens = recording.items.get(item).ok_or(attlas::Error::NoItem { item, n_items })?;
        Ok(Found { recording, item: tokens, kind, head: arguments.head.map(|head| head.id), contacts })
    }

    fn label(&self, place: usize) -> String {
        match self.is_letter(place) {
            true => format!("{}{}", self.text(place), place + 1),
            false => format!("{}:{}", place + 1, self.text(place)),
        }
    }

    /// What the numbers count.
    fn unit(&self) -> &'static str {
        let all = (0..self.contacts.places.len()).all(|place| self.is_letter(place));
        if all { "residue" } else { "token" }
    }

    /// Whether a token stands for one letter; a mask hides one.
    fn is_letter(&self, place: usize) -> bool {
        if self.token(place).is_some_and(|token| token.role == TokenRole::Special) {
            return self.text(place).to_lowercase().contains("mask");
        }
        let mut letters = self.covered(place).unwrap_or(self.text(place)).chars();
        letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none()
    }

    /// The part of the text that a token stands for, where it has one.
    fn covered(&self, place: usize) -> Option<&str> {
        let span = self.token(place)?.span.clone()?;
        Some(self.item.queries(self.kind).text.get(span)?.trim())
    }

    /// Whether the vocabulary lacks what a token stands for: such a token is named by the text and the unknown token.
    fn is_unknown(&self, place: usize) -> bool {
        let name = |covered| self.text(place).strip_prefix(covered).is_some_and(|name| name.starts_with(' '));
        self.covered(place).is_some_and(name)
    }

    /// What a reader must know of the numbers of tokens.
    fn remarks(&self) -> Vec<String> {
        let n = self.contacts.places.len();
        let mut remarks = Vec::new();
        let unknown: Vec<usize> = (0..n).filter(|place| self.is_unknown(*place)).collect();
        if let Some(first) = unknown.first() {
            let is_small = |place: &usize| self.covered(*place).is_some_and(|text| text.contains(char::is_lowercase));
            let small = if unknown.iter().any(is_small) { "; the letters of residues are upper case" } else { "" };
            let (n_unknown, label) = (counted(unknown.len(), "token"), self.label(*first));
            remarks.push(format!("not in the vocabulary: {n_unknown} of the text, first {label}{small}"));
        }
        // of a text of words nobody expects residues
        let (letters, others): (Vec<usize>, Vec<usize>) = (0..n).partition(|place| self.is_letter(*place));
        if let (Some(first), true) = (others.first(), letters.len() > others.len()) {
            let label = self.label(*first);
            remarks.push(format!("{label} is no single letter: from there on numbers count tokens, not residues"));
        }
        let tokens = &self.item.queries(self.kind).tokens;
        let is_id = |token: &Token| token.id.is_some_and(|id| id.to_string() == token.text);
        if n > 0 && tokens.iter().all(is_id) {
            remarks.push(
                "the tokens are ids alone: which are special (<cls>, <eos>) is not known, so those are counted, too"
                    .to_owned(),
            );
        }
        remarks
    }

    /// What the numbers are.
    fn words(&self) -> &'static str {
        match self.head {
            None => "probability of a contact",
            Some(_) => "attention both ways, less the average product",
        }
    }

    fn title(&self) -> String {
        match self.head {
            None => format!("contacts, read off {}", counted(self.n_heads(), "head")),
            Some(head) => format!("contacts by {head}, corrected"),
        }
    }

    fn n_heads(&self) -> usize {
        self.recording.layers_of(self.kind).map(|layer| layer.shape.n_heads).sum()
    }

    fn figure(&self, style: &StyleArguments) -> Result<figure::Figure, Failure> {
        let n = self.contacts.places.len();
        let axis = || Axis::labelled(self.unit(), (0..n).map(|place| self.label(place)));
        let quantity = if self.head.is_some() { Quantity::Difference } else { Quantity::Weight };
        let panel = Panel::new(self.title(), self.contacts.numbers.clone(), axis(), axis())?.measuring(quantity);
        let scale = ColorScale::of([&panel], style.scale()).called(self.words());
        let mut captions = Vec::new();
        let provenance = &self.recording.provenance;
        if !provenance.model.is_empty() {
            captions.push(format!("model: {}", provenance.model));
        }
        captions.push(self.note().to_owned());
        captions.extend(provenance.remarks());
        captions.extend(self.remarks());
        Ok(figure::map(&panel, &scale, &style.of_several(&self.title(), captions)))
    }

    fn note(&self) -> &'static str {
        match self.head {
            None => {
                "every map symmetrised and corrected by its average product, then the model's own regression on all of them: a \
                 prediction, no measurement of a structure"
            }
            Some(_) => "S(i,j) − S(i,·)·S(·,j)/S(·,·) with S = W + Wᵀ; special tokens left out",
        }
    }

    fn json(&self, apart: usize) -> Value {
        let row = |pair: &Pair| {
            let (one, other) = (pair.one, pair.other);
            let mut row = json!({
                "i": one + 1, "j": other + 1, "token_i": self.text(one), "token_j": self.text(other),
                "apart": other - one,
            });
            row[if self.head.is_some() { "corrected" } else { "probability" }] = json!(pair.number);
            row
        };
        self.contacts.pairs(apart).iter().map(row).collect()
    }

    fn token(&self, place: usize) -> Option<&Token> {
        self.item.queries(self.kind).tokens.get(self.contacts.places[place])
    }

    fn text(&self, place: usize) -> &str {
        self.token(place).map_or("", |token| token.text.trim())
    }

    fn print(&self, apart: usize, top: Option<usize>, terminal: &mut Terminal) -> Result<(), Failure> {
        let (pairs, n) = (self.contacts.pairs(apart), self.contacts.places.len());
        writeln!(terminal, "{}", terminal.bold(&format!("{}: {}", self.title(), counted(n, self.unit()))))?;
        if pairs.is_empty() {
            let hint = if n > 1 { "; --apart 1 shows pairs of all" } else { "" };
            return terminal.notes([format!("No two of {} are {apart} or more apart{hint}.", counted(n, self.unit()))]);
        }
        let n_lines = top.unwrap_or(n.min(MOST_LINES)).min(pairs.len());
        let label = |place| printable(&self.label(place));
        let widths =
            pairs[..n_lines].iter().flat_map(|pair| [pair.one, pair.other]).map(|place| width(&label(place)) + 2);
        let cells = widths.max().unwrap_or(0).clamp(8, 24);
        let heading = format!("{}{}apart  {}", pad("i", cells), pad("j", cells), self.words());
        writeln!(terminal, "{}", terminal.bold(&heading))?;
        for pair in &pairs[..n_lines] {
            let (one, other) = (pad(&label(pair.one), cells), pad(&label(pair.other), cells));
            let line = format!("{one}{other}{:>5}  {:.3}", pair.other - pair.one, pair.number);
            writeln!(terminal, "{line}")?;
        }
        let rest = match pairs.len() - n_lines {
            0 => String::new(),
            n => format!("; {} more, --json prints all of them", counted(n, "pair")),
        };
        terminal
            .notes([format!("Pairs at least {apart} tokens apart, counted from 1{rest}."), format!("{}.", self.note())])
    }
}

/// The letters of a FASTA text of one protein: its lines behind the header.
fn protein_of_fasta(text: &str) -> Result<String, Failure> {
    let mut lines = text.lines().map(str::trim);
    let header = lines.next().unwrap_or_default();
    let letters: Vec<&str> = lines.collect();
    if letters.iter().any(|line| line.starts_with('>')) {
        return Err(Failure::Input("the FASTA text has several proteins; give one".to_owned()));
    }
    let protein = letters.concat();
    if protein.is_empty() {
        return Err(Failure::Input(
            "the text starts with > as FASTA does, but no protein stands below that line".to_owned(),
        ));
    }
    remark(&format!("FASTA: the header is left out ({})", printable(header)));
    Ok(protein)
}

/// What to do where no regression is at hand.
fn no_regression(recording: &Recording) -> Failure {
    let name = match recording.provenance.model.as_str() {
        "" => "the recording",
        name => name,
    };
    Failure::Usage(format!(
        "{name}: no regression is at hand that reads contacts off all heads: models have it (ESM-2's contact_head), recordings do \
         not; give the text and such a model, or one head (--head L5H3)"
    ))
}
