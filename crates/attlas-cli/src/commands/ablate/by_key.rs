//! `attlas ablate --method direct --by-key`: what heads write for the target, by the token that they move it from.

use std::io::Write;

use attlas::figure::{Axis, Figure, Panel, Scale, Scales, grid};
use attlas::{Kind, Quantity};
use attlas_model::explain::knock_out::{Baseline, KindHead};
use attlas_model::{Model, Side};
use attlas_survey::table::Cells;

use super::AblateArguments;
use crate::failure::{Failure, Outcome};
use crate::table_file::{Table, TableOrPicture, write_table};
use crate::terminal::{Terminal, print_json, printable};

/// Pairs of head and key that are printed at most.
const MOST: usize = 24;

/// Takes apart what each head writes.
pub fn run(arguments: &AblateArguments, model: &Model, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.score.metric.is_some() {
        return Err(Failure::Usage(
            "--by-key shares out a logit, or with --foil the difference of two: leave --metric out".into(),
        ));
    }
    let (inputs, _) = arguments.subject.inputs(model)?;
    let [input] = &inputs[..] else {
        return Err(Failure::Usage(format!("--by-key is about one text, and there are {}", inputs.len())));
    };
    let baseline = Baseline::of(model, input)?;
    let score = arguments.score.score(model, input, &baseline.unchanged.logits)?;
    let mut heads = arguments.heads.of(model)?;
    if arguments.heads.heads.is_empty() && arguments.heads.kind.is_none() && model.has(Side::Target) {
        heads.retain(|head| head.kind != Kind::Encoder); // these write for the encoder alone
    }
    let mut rows = Vec::new();
    for head in heads {
        let shares = baseline.direct_by_key(&score, head)?;
        let map = baseline.run.recording.map(0, head.kind, head.head.layer, head.head.head)?;
        let weights = map.row(score.position.unwrap_or(0));
        rows.extend(shares.into_iter().zip(weights).enumerate().map(|(key, (share, weight))| Row {
            head,
            key,
            share,
            weight,
        }));
    }
    let found = ByKey { baseline: &baseline, measures: model.score_in_words(&score, input), rows };
    if let Some(output) = &arguments.output {
        match TableOrPicture::of(output, "effects")? {
            TableOrPicture::Table => write_table(output, &found.table())?,
            TableOrPicture::Picture(format) => format.write(&found.figure(arguments)?, output)?,
        }
    }
    match arguments.json {
        true => print_json(&found.table().json(), terminal)?,
        false => {
            found.print(terminal)?;
            arguments.output.iter().try_for_each(|output| terminal.written(output))?;
        }
    }
    Ok(Outcome::Done)
}

/// What a head writes that it moves from one key.
struct Row {
    head: KindHead,
    key: usize,
    share: f64,
    weight: f32,
}

struct ByKey<'a> {
    baseline: &'a Baseline<'a>,
    measures: String,
    rows: Vec<Row>,
}

impl ByKey<'_> {
    fn token(&self, row: &Row) -> &str {
        self.baseline.keys_of(row.head.kind).tokens.get(row.key).map_or("", |token| token.text.as_str())
    }

    fn table(&self) -> Table {
        let whole =
            |of: &dyn Fn(&Row) -> usize| Cells::Whole(self.rows.iter().map(|row| Some(of(row) as i64)).collect());
        let text = |of: &dyn Fn(&Row) -> String| Cells::Text(self.rows.iter().map(|row| Some(of(row))).collect());
        let columns = vec![
            ("kind", text(&|row| row.head.kind.name().to_owned())),
            ("layer", whole(&|row| row.head.head.layer)),
            ("head", whole(&|row| row.head.head.head)),
            ("key", whole(&|row| row.key)),
            ("token", text(&|row| self.token(row).to_owned())),
            ("method", text(&|_| "direct".to_owned())),
            ("effect", Cells::Number(self.rows.iter().map(|row| Some(row.share)).collect())),
            ("weight", Cells::Number(self.rows.iter().map(|row| Some(f64::from(row.weight))).collect())),
        ];
        Table { columns, notes: Vec::new() }
    }

    /// Heads × keys, one panel for each kind of attention.
    fn figure(&self, arguments: &AblateArguments) -> Result<Figure, Failure> {
        let style = &arguments.style;
        let mut panels = Vec::new();
        for kind in Kind::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.head.kind == kind).collect();
            if rows.is_empty() {
                continue;
            }
            let cells = rows.iter().map(|row| row.share as f32).collect();
            let heads = rows.iter().filter(|row| row.key == 0).map(|row| row.head.head.to_string());
            let keys = Axis::labelled("key", self.baseline.keys_of(kind).labels());
            panels.push(
                Panel::new(kind.title(), cells, Axis::labelled("head", heads), keys)?.measuring(Quantity::Effect),
            );
        }
        let scales = Scales::of(&panels, style.scale.unwrap_or(Scale::Linear), style.panel_scale);
        let style =
            style.of_several("What heads write for the target, by the token that they move it from", self.legend());
        Ok(grid(&panels, &scales.called("direct share"), panels.len(), &style))
    }

    fn legend(&self) -> Vec<String> {
        vec![
            format!(
                "Share in the {}: the weight that the head gives the token, times what the token's value writes, read through the final norm.",
                self.measures
            ),
            "A head's shares sum to what it writes; what it writes for later layers is theirs.".to_owned(),
        ]
    }

    fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let mut ranked: Vec<&Row> = self.rows.iter().collect();
        ranked.sort_by(|a, b| b.share.abs().total_cmp(&a.share.abs()));
        writeln!(terminal, "{}", terminal.bold("     share  weight  head and token"))?;
        for row in ranked.iter().take(MOST) {
            let token = printable(self.token(row).trim());
            writeln!(terminal, "{:>+10.4}  {:>6.3}  {} ← {} {token}", row.share, row.weight, row.head, row.key)?;
        }
        terminal.notes(self.legend())
    }
}
