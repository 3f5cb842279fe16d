//! `attlas align`: which source word each target word looks at most, and how right that is.

mod heads;
mod links;
mod scores;
mod texts;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::alignment::{
    Alignment, LinkOrder, Links, Reference, Symmetrise, Unit, WordMap, parse_references,
};
use attlas::figure::{self, CellMark, Figure, Sign};
use attlas::view::heads_title;
use attlas::{AttentionMap, Error, HeadId, Kind, Recording, View};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use self::heads::{HeadArguments, Reverse};
use self::links::{Aligned, Format};
use self::scores::Scores;
use self::texts::{Fault, Texts, each};
use super::draw::{self, StyleArguments};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{ModelArguments, RawText, RunArguments, check_output, files_in, model_files, read_utf8};
use crate::terminal::{Terminal, printable, remark};
use crate::view::LabelRows;
use crate::words::counted;

const EXAMPLES: &str = "\
Examples:
  attlas align \"The cat sat on the mat.\"                               0-0 1-1 …: source-target
  attlas align \"A red apple.\" --target \"Une pomme rouge.\" --head L2H4 --format tsv
  attlas align run.safetensors --head L1H2 --head L2H4                 the mean of two heads
  attlas align --pairs test.tsv --layer 2 -o test.pharaoh
  attlas align --pairs dev.tsv --gold dev.links                        which heads align: error rates in both rows
  attlas align --pairs test.tsv --head L2H4 --symmetrise grow-diag -o test.pharaoh
  attlas align \"A red apple.\" --head L2H4 --gold apple.links -o apple.svg

Special tokens are left out; weights are summed over the pieces of a source word and averaged over those of a target word; each
target word is linked to the source word with the largest weight. Words are counted from 0. Which row of a target word
aligns, the one that predicts it or the one that has read it, differs from head to head: --gold gives both.";

/// `attlas align`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AlignArguments {
    /// A source text, which the model translates unless --target is given; - for one from standard input; or a recording.
    #[arg(value_name = "SOURCE | RECORDING", required_unless_present = "pairs")]
    pub source: Option<RawText>,
    /// A file with a pair on each line: source, tab, target; further columns are left out.
    #[arg(long, value_name = "FILE.tsv", conflicts_with_all = ["source", "target", "beam", "max_tokens", "item"])]
    pub pairs: Option<PathBuf>,
    /// The text of a recording, counted from 0 [default: all].
    #[arg(long = "text", id = "item", value_name = "N")]
    pub item: Option<usize>,
    #[command(flatten)]
    pub heads: HeadArguments,
    /// The row that speaks for a target word: the one that predicts it, or the one that has read it.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = LabelRows::Predicted)]
    pub rows: LabelRows,
    /// What counts as a word: what stands between white space, as in texts and gold cut beforehand, or the words that the
    /// model's tokenizer sees, which may be finer: mat . [default: whitespace with --pairs and --reverse, else model].
    #[arg(long, value_enum, value_name = "HOW", conflicts_with = "tokens")]
    pub words: Option<WordsAre>,
    /// Align tokens, not words; special tokens are left out and do not count.
    #[arg(long)]
    pub tokens: bool,
    /// Combine the links with those of the other direction: of --reverse, or else of the same heads, where each source word is
    /// linked to the target word that gives it the largest weight.
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = ways())]
    pub symmetrise: Way,
    #[command(flatten)]
    pub reverse: Reverse,
    /// The right links, a line for each text: 0-0 for a sure one, 0p0 (0?0, 0:0) for a possible one. Prints each head's
    /// alignment error rate; the links go to --output alone.
    #[arg(long, value_name = "FILE")]
    pub gold: Option<PathBuf>,
    /// The number of the first word in --gold.
    #[arg(long, value_name = "0 | 1", default_value_t = 0, requires = "gold", value_parser = clap::value_parser!(u8).range(0..=1))]
    pub gold_base: u8,
    /// The order of the words of a link in --gold.
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = GoldOrder::SourceTarget, requires = "gold")]
    pub gold_order: GoldOrder,
    /// How links are written [default: by the ending of --output, .tsv, .json, else pharaoh].
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Print JSON: the scores with --gold, else the links.
    #[arg(long)]
    pub json: bool,
    /// Write the links to this file, or draw them: .svg, .pdf or .png, with --gold as outlines.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub run: RunArguments,
    #[command(flatten)]
    pub style: StyleArguments,
}

/// What counts as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WordsAre {
    /// What stands between white space.
    Whitespace,
    /// The words of the model's tokenizer.
    Model,
}

/// The order of the words of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GoldOrder {
    /// 0-3: source word 0, target word 3.
    SourceTarget,
    /// 3-0: target word 3, source word 0.
    TargetSource,
}

/// How two directions are combined, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way(pub Option<Symmetrise>);

fn ways() -> impl TypedValueParser<Value = Way> {
    let names = ["none"].into_iter().chain(Symmetrise::ALL.map(Symmetrise::name));
    PossibleValuesParser::new(names).map(|name| Way(name.parse().ok()))
}

impl Way {
    /// Its name.
    fn name(self) -> &'static str {
        self.0.map_or("none", Symmetrise::name)
    }
}

/// Aligns the texts, and writes or prints what was asked for.
pub fn run(arguments: &AlignArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let picture = arguments.output.as_deref().filter(|output| is_picture(output));
    arguments.check(picture)?;
    let references = arguments.references()?;
    let mut work = Work {
        arguments,
        unit: arguments.unit(),
        references,
        scores: Scores::default(),
        aligned: Vec::new(),
        figure: None,
        complaint: None,
    };
    let texts = Texts::of(arguments)?;
    work.check_references(texts.n_all())?;
    let indices = texts.indices();
    if picture.is_some() && indices.len() != 1 {
        let n = indices.len();
        return Err(Failure::Usage(format!(
            "a picture shows one text, and there are {n}; --text N chooses one of a recording"
        )));
    }
    let reverse = arguments.reverse.model()?;
    let n_skipped = each(&texts, reverse.as_ref(), &arguments.run, &mut |text| work.align(text))?;
    work.say_how();
    work.write(picture, &indices, n_skipped, terminal)?;
    let skipped = if n_skipped > 0 { Outcome::SomeSkipped } else { Outcome::Done };
    let complaint = match work.complaint {
        None => texts.complaint()?,
        complaint => complaint,
    };
    Ok(checks::outcome(complaint.as_deref()).or(skipped))
}

/// Whether a file is named as pictures are.
fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["svg", "pdf", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

impl AlignArguments {
    /// Refuses what does not go together, before anything is read.
    fn check(&self, picture: Option<&Path>) -> Result<(), Failure> {
        if self.reverse.reverse.is_some() && self.symmetrise.0.is_none() {
            return Err(Failure::Usage("--reverse is the other direction of --symmetrise, which is none".into()));
        }
        if self.reverse.reverse.is_some() && self.unit() != Unit::WhiteSpace {
            let message = "--reverse: two models cut texts differently, so words must be those between white space; leave out \
                           --tokens and --words model";
            return Err(Failure::Usage(message.into()));
        }
        if let Some(picture) = picture {
            let format = draw::format_of(picture)?;
            if self.format.is_some() {
                return Err(Failure::Usage("--format is for links, but the output is a picture".into()));
            }
            self.style.check(format, picture)?;
        }
        if self.gold.is_some() && self.format.is_some() && self.output.is_none() {
            let message = "--format is how links are written, and with --gold they are written to --output alone";
            return Err(Failure::Usage(message.into()));
        }
        if self.json && self.format.is_some() && self.gold.is_none() {
            return Err(Failure::Usage("--json is --format json here; give one of the two".into()));
        }
        let Some(output) = &self.output else { return Ok(()) };
        let is_known = output.extension().is_none() || Format::of_file(output).is_some();
        if picture.is_none() && self.format.is_none() && !is_known {
            let kinds = ".pharaoh, .align, .links, .txt, .tsv or .json for links, .svg, .pdf or .png for a picture";
            return Err(Failure::Usage(format!("-o {}: {kinds} was expected; or --format", output.display())));
        }
        let model = model_files(&self.run.model);
        let reverse = self.reverse.reverse.iter().flat_map(|place| files_in(place)).collect::<Vec<_>>();
        let files = self.pairs.iter().chain(&self.gold).chain(&model).chain(&reverse).map(PathBuf::as_path);
        check_output(output, self.source.iter().map(Path::new).chain(files))
    }

    fn unit(&self) -> Unit {
        let is_white_space = self.pairs.is_some() || self.reverse.reverse.is_some();
        match self.words {
            _ if self.tokens => Unit::Tokens,
            Some(WordsAre::Whitespace) => Unit::WhiteSpace,
            None if is_white_space => Unit::WhiteSpace,
            Some(WordsAre::Model) | None => Unit::Words,
        }
    }

    /// The words as the options call them.
    fn words_name(&self) -> &'static str {
        match self.unit() {
            Unit::Tokens => "tokens",
            Unit::Words => "model",
            Unit::WhiteSpace => "whitespace",
        }
    }

    fn references(&self) -> Result<Option<Vec<Reference>>, Failure> {
        let Some(path) = &self.gold else { return Ok(None) };
        let order = match self.gold_order {
            GoldOrder::SourceTarget => LinkOrder::SourceFirst,
            GoldOrder::TargetSource => LinkOrder::TargetFirst,
        };
        let text = read_utf8(path)?;
        let read = parse_references(&text, usize::from(self.gold_base), order);
        read.map(Some).map_err(|problem| Failure::Input(format!("{}: {problem}", path.display())))
    }

    /// How links are written.
    fn links_format(&self) -> Format {
        let by_name = || self.output.as_deref().and_then(Format::of_file);
        let asked = self.format.or_else(by_name);
        asked.unwrap_or(if self.json && self.gold.is_none() { Format::Json } else { Format::Pharaoh })
    }
}

/// One text's maps: where they are, and those of the other direction.
pub struct Text<'a> {
    /// Which of all texts, counted from 0.
    pub index: usize,
    /// Its maps.
    pub recording: &'a Recording,
    /// Which of the recording's texts.
    pub item: usize,
    /// The only text of a recording of the other direction.
    pub reverse: Option<&'a Recording>,
}

/// What is done with each text, and what has come of it.
struct Work<'a> {
    arguments: &'a AlignArguments,
    unit: Unit,
    references: Option<Vec<Reference>>,
    scores: Scores,
    aligned: Vec<Aligned>,
    figure: Option<Figure>,
    complaint: Option<String>,
}

impl Work<'_> {
    fn check_references(&self, n_texts: usize) -> Result<(), Failure> {
        match (&self.references, &self.arguments.gold) {
            (Some(references), Some(path)) if references.len() != n_texts => Err(Failure::Input(format!(
                "{}: {} for {}; a text has a line of links, which may be empty",
                path.display(),
                counted(references.len(), "line"),
                counted(n_texts, "text")
            ))),
            _ => Ok(()),
        }
    }

    /// Aligns one text.
    fn align(&mut self, text: &Text<'_>) -> Result<(), Fault> {
        let chosen = self.arguments.heads.of(text.recording)?;
        let maps = maps_of(text.recording, text.item, &chosen)?;
        let words = WordMap::new(&maps, self.arguments.rows.row_tokens(), self.unit)?;
        let links = words.links();
        let alignment = match self.arguments.symmetrise.0 {
            None => links.by_target.clone(),
            Some(way) => way.of(&links.by_target, &self.backward(text, &links, &words)?),
        };
        if links.n_not_finite > 0 {
            let n = counted(links.n_not_finite, "target word");
            let problem =
                format!("text {}: {n} without a link: their rows hold numbers that are not finite", text.index);
            self.complaint.get_or_insert(problem);
        }
        let sizes = [words.source().len(), words.target().len()];
        if let (Some(references), Some(path)) = (&self.references, &self.arguments.gold) {
            let reference = &references[text.index];
            if let Some(misfit) = reference.misfit(sizes[0], sizes[1]) {
                let hint = "--gold-base 1, --gold-order target-source, --words";
                let message = format!("{}: line {}: {misfit} ({hint})", path.display(), text.index + 1);
                return Err(Fault::OfAll(Failure::Input(message)));
            }
            self.scores.add(text, self.unit, reference, &alignment, sizes)?;
        }
        if self.arguments.output.as_deref().is_some_and(is_picture) {
            self.draw(text, &words, &alignment)?;
        }
        self.aligned.push(Aligned::new(text.index, heads_title(text.recording, &chosen), &words, &alignment));
        Ok(())
    }

    /// The links of the other direction, as pairs of the same source and target.
    fn backward(&self, text: &Text<'_>, links: &Links, words: &WordMap<'_>) -> Result<Alignment, Failure> {
        let Some(reverse) = text.reverse else { return Ok(links.by_source.clone()) };
        let chosen = self.arguments.reverse.heads().of(reverse)?;
        let maps = maps_of(reverse, 0, &chosen)?;
        let turned = WordMap::new(&maps, self.arguments.rows.row_tokens(), self.unit)?;
        if (turned.source(), turned.target()) != (words.target(), words.source()) {
            let index = text.index;
            return Err(Failure::Input(format!("text {index}: the two models do not read the same words")));
        }
        Ok(turned.links().by_target.transposed())
    }

    /// The weights between the words, with the links as dots and the gold as outlines.
    fn draw(&mut self, text: &Text<'_>, words: &WordMap<'_>, alignment: &Alignment) -> Result<(), Failure> {
        let style = &self.arguments.style;
        let view = View::of_words(text.recording, text.item, words)?;
        let mut marks = Vec::new();
        let mut legend = match self.arguments.symmetrise.0 {
            None => "square: the source word that a target word looks at most".to_owned(),
            Some(way) => format!("square: the links of both directions, {}", way.name()),
        };
        if let Some(reference) = self.references.as_ref().and_then(|references| references.get(text.index)) {
            let sign = |pair| if reference.sure().contains(pair) { Sign::Solid } else { Sign::Dashed };
            marks.extend(reference.possible().pairs().map(|pair| CellMark {
                row: pair.target,
                column: pair.source,
                sign: sign(pair),
            }));
            legend.push_str("; solid outline: a sure link of the reference; dashed: a possible one");
        }
        marks.extend(alignment.pairs().map(|pair| CellMark { row: pair.target, column: pair.source, sign: Sign::Dot }));
        let mut styled = view.style(&style.style());
        styled.captions.insert(0, legend);
        self.complaint = self.complaint.take().or(checks::complaint_of([&view]));
        self.figure = Some(figure::marked_map(view.panel(), &view.scale(style.scale()), &styled, &marks));
        Ok(())
    }

    /// Says on standard error which heads, rows and words the links are made of.
    fn say_how(&self) {
        let Some(first) = self.aligned.first() else { return };
        let rows = match self.arguments.rows {
            LabelRows::Predicted => "the row that predicts a word",
            LabelRows::Read => "the row that has read a word",
        };
        let direction = match (self.arguments.symmetrise.0, &self.arguments.reverse.reverse) {
            (None, _) => String::new(),
            (Some(way), None) => format!("; {} with the largest weight of each column", way.name()),
            (Some(way), Some(_)) => format!("; {} with the other model's links", way.name()),
        };
        remark(&format!("{}, {rows}; {}{direction}", first.heads, self.unit.says()));
        if self.aligned.len() == 1 {
            remark(&first.sentences());
        }
    }

    fn write(
        &self,
        picture: Option<&Path>,
        indices: &[usize],
        n_skipped: usize,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        if self.references.is_some() {
            let heads = self.aligned.first().map_or("", |aligned| aligned.heads.as_str());
            match self.arguments.json {
                true => self.scores.print_json(heads, self.arguments, n_skipped, terminal)?,
                false => self.scores.print(heads, self.arguments, n_skipped, terminal)?,
            }
        }
        match (picture, &self.figure, &self.arguments.output) {
            (Some(path), Some(figure), _) => draw::write_figure(draw::format_of(path)?, figure, path)?,
            (None, _, Some(path)) => links::save(&self.aligned, indices, self.arguments, path)?,
            (None, _, None) if self.references.is_none() => {
                links::print(&self.aligned, indices, self.arguments, terminal)?;
            }
            _ => {}
        }
        if let Some(path) = self.arguments.output.as_ref().filter(|_| !self.arguments.json) {
            let name = printable(&path.display().to_string());
            writeln!(terminal, "{name}")?;
        }
        Ok(())
    }
}

/// The maps of some heads for one text.
fn maps_of<'a>(recording: &'a Recording, item: usize, heads: &[HeadId]) -> Result<Vec<AttentionMap<'a>>, Error> {
    heads.iter().map(|id| recording.map(item, Kind::Cross, id.layer, id.head)).collect()
}

/// A model of which nothing but its place is said.
fn only_model(place: &Path) -> ModelArguments {
    ModelArguments { model: Some(place.to_owned()), ..ModelArguments::default() }
}
