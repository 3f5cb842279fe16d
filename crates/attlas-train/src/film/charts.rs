//! The curves of a training as charts: one panel for each kind and measure, for pictures and for the page.

use attlas::analysis::Measure;
use attlas::figure::{self, Chart, ChartAxis, ChartLine, Figure, Stroke, Style};
use attlas::printable::counted;

use super::curves::{Curve, Curves, grouped};

/// Lines of a panel with a colour and a label.
const MOST_LABELLED: usize = 6;
/// Panels that are drawn unless measures are asked for.
const MOST_PANELS: usize = 12;

/// Charts, the axis they share, and what must be said of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Charts {
    /// By kind, then in the order of the measures.
    pub charts: Vec<Chart>,
    /// The steps of the training.
    pub axis: ChartAxis,
    /// How the curves are to be read, and what is left out.
    pub captions: Vec<String>,
}

impl Curves {
    /// The curves as charts: of the measures asked for; else of those under which some head becomes something or loses it.
    pub fn charts(&self, asked: &[&'static Measure]) -> Charts {
        let groups: Vec<&[Curve]> = self.curves.chunk_by(|a, b| (a.kind, a.measure) == (b.kind, b.measure)).collect();
        let changing = |group: &[Curve]| group.iter().filter(|curve| curve.emergence().is_change()).count();
        let mut shown: Vec<usize> = (0..groups.len())
            .filter(|group| match asked {
                [] => changing(groups[*group]) > 0,
                asked => asked.contains(&groups[*group][0].measure),
            })
            .collect();
        let mut notes = Vec::new();
        if shown.is_empty() {
            shown = (0..groups.len()).collect();
            notes.push("No head becomes anything on these texts, or loses it.".to_string());
        }
        if asked.is_empty() && shown.len() > MOST_PANELS {
            shown.sort_by_key(|group| (std::cmp::Reverse(changing(groups[*group])), *group));
            let mut others = shown.split_off(MOST_PANELS);
            shown.sort_unstable();
            others.sort_unstable();
            let names: Vec<String> = others.iter().map(|group| name(&groups[*group][0])).collect();
            notes.push(format!("Not shown, since fewer heads change: {}.", names.join(", ")));
        }
        let charts = shown.iter().map(|group| self.chart(groups[*group])).collect();
        let captions = self.captions().into_iter().chain(notes).collect();
        Charts { charts, axis: self.axis(), captions }
    }

    /// The curves as a picture, for SVG, PDF and PNG.
    pub fn figure(&self, asked: &[&'static Measure], style: &Style) -> Figure {
        let Charts { charts, axis, captions } = self.charts(asked);
        let title = format!("When heads come to do what they do: {}", counted(self.frames.len(), "checkpoint"));
        let title = if style.title.is_empty() { title } else { style.title.clone() };
        figure::charts(&charts, &axis, &Style { title, captions, ..style.clone() })
    }

    /// How much was measured: `200 texts (encoder 2,105 rows, decoder 2,011 rows, cross 2,011 rows)`.
    pub fn measured_on(&self) -> String {
        let kinds: Vec<String> = self.n_rows.iter().map(|(kind, n)| format!("{kind} {} rows", grouped(*n))).collect();
        format!("{} ({})", counted(self.n_texts, "text"), kinds.join(", "))
    }

    /// The place of a moment on the axis.
    pub fn place(&self, step: u64) -> f32 {
        let last = self.frames.last().map_or(0, |frame| frame.step).max(1);
        // checkpoints are kept at squares of even shares of a training: so they stand evenly
        (step as f64 / last as f64).sqrt().min(1.0) as f32
    }

    fn axis(&self) -> ChartAxis {
        let last = self.frames.last().map_or(0, |frame| frame.step);
        let round = (0..18).flat_map(|decade| [1, 2, 5].map(|factor| factor * 10_u64.pow(decade)));
        let between = round.take_while(|step| *step < last);
        let steps = [0].into_iter().chain(between).chain((last > 0).then_some(last));
        let ticks = steps.map(|step| (self.place(step), grouped(step))).collect();
        let seams = self.seams.iter().map(|step| self.place(*step)).collect();
        ChartAxis { name: "training step (square-root scale)".to_string(), ticks, seams }
    }

    fn captions(&self) -> Vec<String> {
        let seams = if self.seams.is_empty() { "" } else { " Upright lines: the start of a further run." };
        vec![
            format!(
                "Each line is the score of a head, a mean over {}. A square marks the first checkpoint from which on the \
                 head is named to the end; of a head that loses it, the last at which it was named.{seams}",
                self.measured_on()
            ),
            "Dashes: threshold; dots: mean baseline. Named: five scores or more, their mean at the threshold or over it, and \
             its 95 % interval over the baseline. Grey: further heads that are named at some time; faint: never. Between \
             checkpoints nothing is known. Weights are not importance."
                .to_string(),
        ]
    }

    /// One panel: the heads of a kind under a measure.
    fn chart(&self, group: &[Curve]) -> Chart {
        let places: Vec<f32> = self.frames.iter().map(|frame| self.place(frame.step)).collect();
        let points = |values: Vec<Option<f64>>| -> Vec<(f32, Option<f32>)> {
            places.iter().copied().zip(values.into_iter().map(|value| value.map(|value| value as f32))).collect()
        };
        let of_curve = |curve: &Curve| points(curve.readings.iter().map(|reading| reading.value()).collect());
        let labelled = labelled(group);
        let line = |(index, curve): (usize, &Curve)| {
            let rank = labelled.iter().position(|other| *other == index);
            let (stroke, label) = match rank {
                Some(rank) => (Stroke::Colored(rank), self.label(curve)),
                None if curve.emergence().is_any() => (Stroke::Plain, String::new()),
                None => (Stroke::Faint, String::new()),
            };
            let mark = if rank.is_some() { marked(curve) } else { None };
            ChartLine { points: of_curve(curve), stroke, label, mark }
        };
        let mut lines: Vec<ChartLine> = group.iter().enumerate().map(line).collect();
        lines.sort_by_key(|line| match line.stroke {
            Stroke::Colored(rank) => usize::MAX - rank,
            Stroke::Plain => 1,
            _ => 0,
        });
        let measure = group[0].measure;
        let level = |values, stroke, label| ChartLine { points: points(values), stroke, label, mark: None };
        let threshold = format!("threshold {}", measure.threshold);
        let mut levels = vec![level(vec![Some(measure.threshold); places.len()], Stroke::Dashed, threshold)];
        let baselines: Vec<Option<f64>> = (0..places.len()).map(|moment| mean_baseline(group, moment)).collect();
        if let Some(last) = baselines.last().copied().flatten() {
            levels.push(level(baselines, Stroke::Dotted, format!("baseline {last:.2}")));
        }
        let n_named = group.iter().filter(|curve| curve.emergence().since.is_some()).count();
        let title = format!("{}: {n_named} of {} at the end", name(&group[0]), counted(group.len(), "head"));
        levels.extend(lines);
        Chart { title, range: range(measure, &levels), lines: levels }
    }

    /// `L1H3 from 1,200: 0.71`.
    fn label(&self, curve: &Curve) -> String {
        let step = |moment: usize| grouped(self.frames.get(moment).map_or(0, |frame| frame.step));
        let last = curve.last().map_or("–".to_string(), |value| format!("{value:.2}"));
        let emergence = curve.emergence();
        let when = match (emergence.since, emergence.lost.last()) {
            (Some(0), _) => "from the start".to_string(),
            (Some(since), _) => format!("from {}", step(since)),
            (None, Some(lost)) => format!("until {}", step(lost.end - 1)),
            (None, None) => String::new(),
        };
        format!("{} {when}: {last}", curve.head)
    }
}

/// The kind and what is looked for: `encoder, previous token`.
fn name(curve: &Curve) -> String {
    format!("{}, {}", curve.kind, curve.title())
}

/// The curves that have a colour and a label: heads that change before others, those that are named at the end before others, the
/// highest scores before others.
fn labelled(group: &[Curve]) -> Vec<usize> {
    let key = |index: usize| {
        let emergence = group[index].emergence();
        (!emergence.is_change(), emergence.since.is_none(), -group[index].last().unwrap_or(f64::NEG_INFINITY))
    };
    let mut order: Vec<usize> = (0..group.len()).filter(|index| group[*index].emergence().is_any()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (key(*a), key(*b));
        (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
    });
    order.truncate(MOST_LABELLED);
    order
}

/// The moment from which on a head is named; of one that loses it, the last at which it was.
fn marked(curve: &Curve) -> Option<usize> {
    let emergence = curve.emergence();
    emergence.since.or_else(|| Some(emergence.lost.last()?.end - 1))
}

/// The mean over the heads that have a baseline at a moment.
fn mean_baseline(group: &[Curve], moment: usize) -> Option<f64> {
    let baselines = group.iter().filter_map(|curve| curve.readings.get(moment)?.score.ok()?.baseline);
    let (n, sum) = baselines.fold((0, 0.0), |(n, sum), baseline| (n + 1, sum + baseline));
    (n > 0).then(|| sum / f64::from(n))
}

/// The measure's own range where it is a small one, else what the lines reach.
fn range(measure: &Measure, lines: &[ChartLine]) -> (f32, f32) {
    let (low, high) = measure.range;
    if high - low <= 2.0 {
        return (low as f32, high as f32);
    }
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let (least, most) = values.fold((f32::MAX, f32::MIN), |(least, most), value| (least.min(value), most.max(value)));
    (least.min(0.0), most.max(least.min(0.0) + f32::EPSILON))
}

impl Curves {
    /// The charts as the page draws them: one number for each moment, the moments' places, and what must be said.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let Charts { charts, axis, captions } = self.charts(&[]);
        let places: Vec<f32> = self.frames.iter().map(|frame| self.place(frame.step)).collect();
        let line = |line: &ChartLine| {
            let (stroke, color) = match line.stroke {
                Stroke::Colored(color) => ("colored", Some(color)),
                Stroke::Plain => ("plain", None),
                Stroke::Faint => ("faint", None),
                Stroke::Dashed => ("dashed", None),
                Stroke::Dotted => ("dotted", None),
            };
            let values: Vec<Option<f32>> = line.points.iter().map(|(_, value)| value.map(rounded)).collect();
            serde_json::json!({ "values": values, "stroke": stroke, "color": color, "label": line.label, "mark": line.mark })
        };
        let chart = |chart: &Chart| {
            let lines: Vec<_> = chart.lines.iter().map(line).collect();
            serde_json::json!({ "title": chart.title, "range": chart.range, "lines": lines })
        };
        serde_json::json!({
            "charts": charts.iter().map(chart).collect::<Vec<_>>(),
            "places": places,
            "ticks": axis.ticks,
            "seams": axis.seams,
            "axis": axis.name,
            "captions": captions,
        })
    }
}

/// Four digits after the point are more than a page shows.
fn rounded(value: f32) -> f32 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use attlas::Kind;

    use super::super::curves::tests::curves_of;
    use super::*;

    fn previous() -> &'static Measure {
        Measure::named("previous").expect("it is a measure")
    }

    #[test]
    fn a_panel_has_threshold_baseline_and_labelled_heads_with_the_step_at_which_each_is_first_named() {
        let curves = curves_of(previous(), &[&[0.1, 0.2, 0.7], &[0.1, 0.1, 0.1], &[0.1, 0.6, 0.3]]);
        let Charts { charts, axis, .. } = curves.charts(&[]);
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].title, "encoder, previous token: 1 of 3 heads at the end");
        let lines: Vec<(&str, Stroke, Option<usize>)> =
            charts[0].lines.iter().map(|line| (line.label.as_str(), line.stroke, line.mark)).collect();
        assert_eq!(
            lines,
            [
                ("threshold 0.5", Stroke::Dashed, None),
                ("baseline 0.10", Stroke::Dotted, None),
                ("", Stroke::Faint, None),
                ("L0H2 until 1,000: 0.30", Stroke::Colored(1), Some(1)),
                ("L0H0 from 2,000: 0.70", Stroke::Colored(0), Some(2)),
            ]
        );
        assert_eq!(axis.ticks.last(), Some(&(1.0, "2,000".to_string())));
        let (place, _) = axis.ticks.iter().find(|(_, text)| text == "500").expect("a round step");
        assert!(
            (place - 0.5).abs() < 1e-6,
            "a quarter of the steps is half of the way on a square-root scale: {place}"
        );
    }

    #[test]
    fn only_six_heads_have_a_colour_those_that_change_before_others() {
        let still: &[f64] = &[0.9, 0.9];
        let heads: Vec<&[f64]> = [still; 7].into_iter().chain([&[0.1, 0.6][..]]).collect();
        let chart = &curves_of(previous(), &heads).charts(&[]).charts[0];
        let colored: Vec<&str> = chart
            .lines
            .iter()
            .rev()
            .filter(|line| matches!(line.stroke, Stroke::Colored(_)))
            .map(|line| line.label.as_str())
            .collect();
        assert_eq!(colored.len(), 6);
        assert_eq!((colored[0], colored[1]), ("L0H7 from 1,000: 0.60", "L0H0 from the start: 0.90"));
        assert_eq!(chart.lines.iter().filter(|line| line.stroke == Stroke::Plain).count(), 2);
    }

    #[test]
    fn where_nothing_changes_everything_is_shown_and_said() {
        let charts = curves_of(previous(), &[&[0.1, 0.2]]).charts(&[]);
        assert_eq!(charts.charts.len(), 1);
        assert!(charts.captions.iter().any(|caption| caption.starts_with("No head becomes anything")));
    }

    #[test]
    fn the_kind_is_part_of_a_panels_name() {
        let mut curves = curves_of(previous(), &[&[0.1, 0.9]]);
        curves.curves[0].kind = Kind::Cross;
        assert_eq!(curves.charts(&[previous()]).charts[0].title, "cross, position before: 1 of 1 head at the end");
        assert_eq!(curves.measured_on(), "1 text (encoder 6 rows)");
    }
}
