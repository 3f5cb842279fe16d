//! `attlas ablate --edges`: each pair of tokens of one head, hidden alone.

use std::io::Write;

use attlas::figure::{Axis, ColorScale, Panel, map};
use attlas::recording::Which;
use attlas::{Quantity, Tokens};
use attlas_model::Model;
use attlas_model::explain::knock_out::{Baseline, KindHead};
use attlas_survey::table::Cells;

use super::{AblateArguments, MethodName};
use crate::commands::draw::Format;
use crate::failure::{Failure, Outcome};
use crate::inputs::metric_in_words;
use crate::progress::Progress;
use crate::table_file::{Table, TableOrPicture, write_table};
use crate::terminal::{Terminal, print_json, printable};
use crate::words::counted;

/// Pairs that are hidden at most: each is a run.
const MAX_PAIRS: usize = 1 << 16;
/// Pairs that are printed at most.
const MOST: usize = 24;

/// Hides the pairs of one head one by one and says what the output loses with each.
pub fn run(arguments: &AblateArguments, model: &Model, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.method != MethodName::Zero {
        return Err(Failure::Usage("--edges is a method of its own; leave --method out".into()));
    }
    let heads = arguments.heads.of(model)?;
    let [head] = heads[..] else {
        let n = counted(heads.len(), "head");
        return Err(Failure::Usage(format!(
            "--edges is about one head, and --heads names {n}; with its kind: cross:L2H4"
        )));
    };
    let (inputs, _) = arguments.subject.inputs(model)?;
    let [input] = &inputs[..] else {
        return Err(Failure::Usage(format!("--edges is about one text, and there are {}", inputs.len())));
    };
    let baseline = Baseline::of(model, input)?;
    let metric = arguments.score.metric(model, input, &baseline.unchanged)?;
    let map = baseline.run.recording.map(0, head.kind, head.head.layer, head.head.head)?;
    let n_pairs = baseline.edges(head, &Which::All)?.len();
    if n_pairs > MAX_PAIRS {
        return Err(Failure::Limit(format!(
            "{n_pairs} pairs of tokens are as many runs, and {MAX_PAIRS} are possible; use a shorter text"
        )));
    }
    let mut progress = Progress::new("pair", n_pairs);
    let edges = baseline.edge_effects(head, &Which::All, &metric, &mut progress.watch())?;
    let edges = Edges {
        head,
        metric: metric.name(),
        measures: metric_in_words(&metric, model, input),
        before: baseline.value(&metric)?,
        rows: edges
            .iter()
            .map(|&(query, key, effect)| (query, key, effect, map.tile(query..query + 1, key..key + 1)[0]))
            .collect(),
        queries: map.query_tokens(),
        keys: map.key_tokens(),
    };
    if let Some(output) = &arguments.output {
        match TableOrPicture::of(output, "effects")? {
            TableOrPicture::Table => write_table(output, &edges.table())?,
            TableOrPicture::Picture(format) => edges.draw(arguments, format, output)?,
        }
    }
    match arguments.json {
        true => print_json(&edges.table().json(), terminal)?,
        false => edges.print(terminal)?,
    }
    Ok(Outcome::Done)
}

/// The pairs of one head: query, key, effect, weight.
struct Edges<'a> {
    head: KindHead,
    metric: &'static str,
    measures: String,
    before: f64,
    rows: Vec<(usize, usize, f64, f32)>,
    queries: &'a Tokens,
    keys: &'a Tokens,
}

impl Edges<'_> {
    fn table(&self) -> Table {
        let n = self.rows.len();
        let whole = |number: usize| Cells::Whole(vec![Some(number as i64); n]);
        let text = |text: &str| Cells::Text(vec![Some(text.to_owned()); n]);
        let columns = vec![
            ("kind", text(self.head.kind.name())),
            ("layer", whole(self.head.head.layer)),
            ("head", whole(self.head.head.head)),
            ("query", Cells::Whole(self.rows.iter().map(|row| Some(row.0 as i64)).collect())),
            ("key", Cells::Whole(self.rows.iter().map(|row| Some(row.1 as i64)).collect())),
            ("method", text("edge")),
            ("metric", text(self.metric)),
            ("effect", Cells::Number(self.rows.iter().map(|row| Some(row.2)).collect())),
            ("weight", Cells::Number(self.rows.iter().map(|row| Some(f64::from(row.3))).collect())),
        ];
        Table { columns, notes: Vec::new() }
    }

    fn draw(&self, arguments: &AblateArguments, format: Format, output: &std::path::Path) -> Result<(), Failure> {
        let n_keys = self.keys.len();
        let mut cells = vec![0.0; self.queries.len() * n_keys]; // [queries, keys]
        self.rows.iter().for_each(|(query, key, effect, _)| cells[query * n_keys + key] = *effect as f32);
        let rows = Axis::labelled("query", self.queries.labels());
        let name = self.head.to_string();
        let panel = Panel::new(name.clone(), cells, rows, Axis::labelled("key", self.keys.labels()))?;
        let panel = super::figure::scaled_by(panel, self.metric);
        let captions = vec![
            format!("Effect on the {}: with one pair hidden less without, which is {:.4}.", self.measures, self.before),
            "The rest of the row shares the hidden weight. 0 where a pair is not seen anyway, or is all that its row sees.".to_owned(),
        ];
        let style = arguments.style.of_several(&format!("{name}: what the output loses with each pair"), captions);
        let scale = ColorScale::of([&panel], arguments.style.scale()).called(Quantity::Effect.words());
        format.write(&map(&panel, &scale, &style), output)
    }

    fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let mut ranked: Vec<_> = self.rows.iter().collect();
        ranked.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
        writeln!(terminal, "{}", terminal.bold(&format!("{:>10}  weight  query → key", self.metric)))?;
        let label = |tokens: &Tokens, place: usize| {
            let text = tokens.tokens.get(place).map_or("", |token| token.text.as_str());
            format!("{place} {}", printable(text.trim()))
        };
        for (query, key, effect, weight) in ranked.iter().take(MOST) {
            let pair = format!("{} → {}", label(self.queries, *query), label(self.keys, *key));
            writeln!(terminal, "{effect:>+10.4}  {weight:.3}   {pair}")?;
        }
        let legend = format!(
            "Effect on the {}: with the pair hidden from {} less without, which is {:.4}; the rest of the row shares the weight. {} pairs.",
            self.measures,
            self.head,
            self.before,
            self.rows.len()
        );
        terminal.notes([legend])
    }
}
