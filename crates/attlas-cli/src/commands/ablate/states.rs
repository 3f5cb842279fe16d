//! `attlas ablate --method patch --states`: hidden states exchanged for those of another text's run, layer by layer and position by
//! position.

use std::io::Write;

use attlas::figure::{Axis, Panel, Scale, Scales, grid};
use attlas::{Kind, Quantity, Tokens};
use attlas_model::explain::effects::other_run;
use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::patch::{Part, Patched};
use attlas_model::explain::pictures::scaled_by;
use attlas_model::{Model, Side, Site};
use attlas_survey::table::Cells;

use super::{AblateArguments, MethodName};
use crate::failure::{Failure, Outcome};
use crate::inputs::with_options;
use crate::progress::Progress;
use crate::table_file::{Table, TableOrPicture, write_table};
use crate::terminal::{Terminal, print_json, printable};

/// Places that are patched at most: each is a run.
const MAX_PLACES: usize = 1 << 16;
/// Places that are printed at most.
const MOST: usize = 24;

/// Exchanges the hidden states one place at a time and says how far the output moves towards the other text's.
pub fn run(arguments: &AblateArguments, model: &Model, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.method != MethodName::Patch {
        return Err(Failure::Usage("--states is for --method patch".into()));
    }
    let (inputs, _) = arguments.subject.inputs(model)?;
    let [input] = &inputs[..] else {
        return Err(Failure::Usage(format!("--states is about one text, and there are {}", inputs.len())));
    };
    let baseline = Baseline::of(model, input)?;
    let Some(other) = arguments.other(model)? else {
        return Err(Failure::Usage(
            "--states needs --patch-from: the text whose run hidden states are taken from".into(),
        ));
    };
    let other = other_run(&baseline, &other)?;
    arguments.score.check_position(model, input)?;
    let metric = arguments.score.asked().metric(model, input, &baseline.unchanged).map_err(with_options)?;
    let places = places(&baseline);
    if places.len() > MAX_PLACES {
        return Err(Failure::Limit(format!(
            "{} layers and positions are as many runs, and {MAX_PLACES} are possible; use a shorter text",
            places.len()
        )));
    }
    let parts: Vec<Part> = places.iter().map(|place| place.part()).collect();
    let mut progress = Progress::new("changed run", parts.len());
    let patched = baseline.patched(&other, &parts, &metric, &mut progress.watch())?;
    let states = States {
        metric: metric.name(),
        measures: model.metric_in_words(&metric, input),
        before: baseline.value(&metric)?,
        source: &input.source,
        target: &input.target,
        rows: places.into_iter().zip(patched).collect(),
    };
    if let Some(output) = &arguments.output {
        match TableOrPicture::of(output, "effects")? {
            TableOrPicture::Table => write_table(output, &states.table())?,
            TableOrPicture::Picture(format) => format.write(&states.figure(arguments)?, output)?,
        }
    }
    match arguments.json {
        true => print_json(&states.table().json(), terminal)?,
        false => {
            states.print(terminal)?;
            arguments.output.iter().try_for_each(|output| terminal.written(output))?;
        }
    }
    Ok(Outcome::Done)
}

/// Where hidden states are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    stack: Kind,
    /// The layer that they enter; one more than the last for what leaves the stack.
    layer: usize,
    position: usize,
}

impl Place {
    fn part(self) -> Part {
        Part::Stream { stack: self.stack, layer: self.layer, position: Some(self.position) }
    }
}

/// Every layer and position of every stack, in the order of a pass.
fn places(baseline: &Baseline<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    for (stack, side) in [(Kind::Encoder, Side::Source), (Kind::Decoder, Side::Target)] {
        let tokens = if side == Side::Source { &baseline.input.source } else { &baseline.input.target };
        for layer in (0..).take_while(|layer| baseline.run.kept(Site::Stream, stack, *layer).is_some()) {
            places.extend((0..tokens.len()).map(|position| Place { stack, layer, position }));
        }
    }
    places
}

/// What came of every place.
struct States<'a> {
    metric: &'static str,
    measures: String,
    before: f64,
    source: &'a Tokens,
    target: &'a Tokens,
    rows: Vec<(Place, Patched)>,
}

impl States<'_> {
    fn tokens(&self, stack: Kind) -> &Tokens {
        if stack == Kind::Encoder { self.source } else { self.target }
    }

    fn token(&self, place: Place) -> &str {
        self.tokens(place.stack).tokens.get(place.position).map_or("", |token| token.text.as_str())
    }

    fn table(&self) -> Table {
        let whole = |of: &dyn Fn(&Place) -> usize| {
            Cells::Whole(self.rows.iter().map(|(place, _)| Some(of(place) as i64)).collect())
        };
        let text =
            |of: &dyn Fn(Place) -> String| Cells::Text(self.rows.iter().map(|(place, _)| Some(of(*place))).collect());
        let columns = vec![
            ("stack", text(&|place| place.stack.name().to_owned())),
            ("layer", whole(&|place| place.layer)),
            ("position", whole(&|place| place.position)),
            ("token", text(&|place| self.token(place).to_owned())),
            ("method", text(&|_| "patch".to_owned())),
            ("metric", text(&|_| self.metric.to_owned())),
            ("effect", Cells::Number(self.rows.iter().map(|(_, patched)| Some(patched.effect)).collect())),
            ("share", Cells::Number(self.rows.iter().map(|(_, patched)| patched.share).collect())),
        ];
        Table { columns, notes: Vec::new() }
    }

    /// Layers × positions, one panel for each stack.
    fn figure(&self, arguments: &AblateArguments) -> Result<attlas::figure::Figure, Failure> {
        let style = &arguments.style;
        let mut panels = Vec::new();
        for stack in [Kind::Encoder, Kind::Decoder] {
            let rows: Vec<&(Place, Patched)> = self.rows.iter().filter(|(place, _)| place.stack == stack).collect();
            let tokens = self.tokens(stack);
            if rows.is_empty() {
                continue;
            }
            let n_layers = rows.len() / tokens.len();
            let cells = rows.iter().map(|(_, patched)| patched.effect as f32).collect();
            let name = |layer: usize| if layer + 1 == n_layers { "end".to_owned() } else { layer.to_string() };
            let layers = Axis::labelled("layer that is entered", (0..n_layers).map(name));
            let panel = Panel::new(stack.name(), cells, layers, Axis::labelled("position", tokens.labels()))?;
            panels.push(scaled_by(panel, self.metric));
        }
        let scales = Scales::of(&panels, style.scale.unwrap_or(Scale::Linear), style.panel_scale);
        let style = style.of_several("What hidden states of the other text carry over", self.legend());
        Ok(grid(&panels, &scales.called(Quantity::Effect.words()), panels.len(), &style))
    }

    fn legend(&self) -> Vec<String> {
        let mut legend = vec![format!(
            "Effect on the {}: with the hidden states of the run on the other text at one place less without, which is {:.4}.",
            self.measures, self.before
        )];
        let largest = self.rows.iter().max_by(|a, b| a.1.effect.abs().total_cmp(&b.1.effect.abs()));
        let whole = largest.and_then(|(_, patched)| Some(patched.effect / patched.share?));
        if let Some(whole) = whole.filter(|whole| whole.is_finite()) {
            legend
                .push(format!("Everything exchanged: {whole:+.4}. A share is the part of it that one place carries."));
        }
        legend
    }

    fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let mut ranked: Vec<&(Place, Patched)> = self.rows.iter().collect();
        ranked.sort_by(|a, b| b.1.effect.abs().total_cmp(&a.1.effect.abs()));
        writeln!(terminal, "{}", terminal.bold(&format!("{:>10}    share  place", self.metric)))?;
        for (place, patched) in ranked.iter().take(MOST) {
            let share = patched.share.map_or("–".to_owned(), |share| format!("{share:+.3}"));
            let token = printable(self.token(*place).trim());
            let Place { stack, layer, position } = place;
            writeln!(
                terminal,
                "{:>+10.4} {share:>8}  {stack} layer {layer}, position {position} {token}",
                patched.effect
            )?;
        }
        terminal.notes(self.legend())
    }
}
