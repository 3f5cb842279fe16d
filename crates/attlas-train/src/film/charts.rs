//! The curves of a training as charts: one panel for each kind and measure, for pictures and for the page.

use std::cmp::Reverse;
use std::ops::Range;

use attlas::analysis::Measure;
use attlas::figure::{self, Chart, ChartAxis, ChartLine, Figure, Stroke, Style};
use attlas::printable::counted;

use super::curves::{Curve, Curves, grouped};

/// Lines of a panel with a colour and a label.
const MOST_LABELLED: usize = 6;
/// Panels that are drawn unless measures are asked for.
const MOST_PANELS: usize = 12;

/// Which panels are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Those in which some head becomes something or loses it, twelve at most.
    Changing,
    /// All.
    All,
}

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
    /// The curves as charts: of the measures under which some head becomes something or loses it; of all where `choice` says so, or
    /// where there is none such.
    pub fn charts(&self, choice: Choice) -> Charts {
        let groups: Vec<&[Curve]> = self.groups().collect();
        let n_changing = |group: usize| groups[group].iter().filter(|curve| curve.emergence().is_change()).count();
        let mut shown: Vec<usize> = (0..groups.len()).collect();
        let mut notes = Vec::new();
        if (0..groups.len()).all(|group| n_changing(group) == 0) {
            notes.push("No head becomes anything on these texts, or loses it.".to_string());
        } else if choice == Choice::Changing {
            shown.retain(|group| n_changing(*group) > 0);
        }
        if choice == Choice::Changing && shown.len() > MOST_PANELS {
            shown.sort_by_key(|group| (Reverse(n_changing(*group)), *group));
            let mut others = shown.split_off(MOST_PANELS);
            shown.sort_unstable();
            others.sort_unstable();
            let names: Vec<String> = others.iter().map(|group| name(&groups[*group][0])).collect();
            notes.push(format!("Not shown, since fewer heads change: {}.", names.join("; ")));
        }
        let charts = shown.iter().map(|group| self.chart(groups[*group])).collect();
        let captions = self.captions().into_iter().chain(notes).collect();
        Charts { charts, axis: self.axis(), captions }
    }

    /// The curves as a picture, for SVG, PDF and PNG.
    pub fn figure(&self, choice: Choice, style: &Style) -> Figure {
        let Charts { charts, axis, captions } = self.charts(choice);
        let title = format!("When heads come to do what they do: {}", counted(self.frames.len(), "checkpoint"));
        let title = if style.title.is_empty() { title } else { style.title.clone() };
        let captions = captions.into_iter().chain(style.captions.iter().cloned()).collect();
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
                 head is named to the end; an open one the last at which it was named, of a head that loses it.{seams}",
                self.measured_on()
            ),
            "Dashes: threshold; dots: mean baseline. Named: five scores or more, their mean at the threshold or over it, and \
             its interval over the baseline. Grey: further heads that are named at some time; faint: never. Between \
             checkpoints nothing is known. Weights are not importance."
                .to_string(),
        ]
    }

    /// One panel: the heads of a kind under a measure, threshold and baseline behind them.
    fn chart(&self, group: &[Curve]) -> Chart {
        let measure = group[0].measure;
        let mut lines = self.levels(group);
        let labelled = labelled(group);
        let mut heads: Vec<ChartLine> = group
            .iter()
            .enumerate()
            .map(|(index, curve)| self.line(curve, labelled.iter().position(|other| *other == index)))
            .collect();
        heads.sort_by_key(|line| match line.stroke {
            Stroke::Colored(rank) => usize::MAX - rank,
            Stroke::Plain => 1,
            _ => 0,
        });
        lines.extend(heads);
        let n_named = group.iter().filter(|curve| curve.emergence().since.is_some()).count();
        let title = match measure.threshold {
            Some(_) => format!("{}: {n_named} of {} at the end", name(&group[0]), counted(group.len(), "head")),
            None => name(&group[0]),
        };
        Chart { title, range: range(measure, &lines), lines }
    }

    /// A head's line; `rank` is its colour, when it has one.
    fn line(&self, curve: &Curve, rank: Option<usize>) -> ChartLine {
        let emergence = curve.emergence();
        let points = self.points(curve.readings.iter().map(|reading| reading.score));
        let (stroke, label) = match rank {
            Some(rank) => (Stroke::Colored(rank), self.label(curve)),
            None if emergence.is_any() => (Stroke::Plain, String::new()),
            None => (Stroke::Faint, String::new()),
        };
        let end = |stretch: &Range<usize>| stretch.end - 1;
        let ends = if emergence.since.is_none() { emergence.lost.last().map(end) } else { None };
        let is_shown = |_: &usize| rank.is_some();
        ChartLine { points, stroke, label, begins: emergence.since.filter(is_shown), ends: ends.filter(is_shown) }
    }

    /// Threshold and mean baseline of a panel.
    fn levels(&self, group: &[Curve]) -> Vec<ChartLine> {
        let level = |values: Vec<Option<f64>>, stroke, label| ChartLine {
            points: self.points(values),
            stroke,
            label,
            begins: None,
            ends: None,
        };
        let n = self.frames.len();
        let threshold = group[0].measure.threshold;
        let threshold = threshold.map(|at| level(vec![Some(at); n], Stroke::Dashed, format!("threshold {at}")));
        let baselines: Vec<Option<f64>> = (0..n).map(|moment| mean_baseline(group, moment)).collect();
        let last = baselines.iter().rev().copied().find_map(|baseline| baseline);
        let baseline = last.map(|last| level(baselines, Stroke::Dotted, format!("baseline {last:.2}")));
        threshold.into_iter().chain(baseline).collect()
    }

    fn points(&self, values: impl IntoIterator<Item = Option<f64>>) -> Vec<(f32, Option<f32>)> {
        let places = self.frames.iter().map(|frame| self.place(frame.step));
        places.zip(values.into_iter().map(|value| value.map(|value| value as f32))).collect()
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
            (None, None) => return format!("{}: {last}", curve.head),
        };
        format!("{} {when}: {last}", curve.head)
    }
}

/// The kind and what is looked for: `encoder, previous token`.
fn name(curve: &Curve) -> String {
    format!("{}, {}", curve.kind, curve.title())
}

/// The curves that have a colour and a label: heads that change before others, those that are named at the end before others, the
/// highest scores before others. Where a high score is no name, those whose scores change most.
fn labelled(group: &[Curve]) -> Vec<usize> {
    let key = |index: &usize| {
        let curve = &group[*index];
        let emergence = curve.emergence();
        let size = match curve.measure.threshold {
            Some(_) => curve.last(),
            None => curve.readings.first().and_then(|first| Some((curve.last()? - first.score?).abs())),
        };
        (!emergence.is_change(), emergence.since.is_none(), size.unwrap_or(f64::NEG_INFINITY))
    };
    let is_candidate = |index: &usize| group[*index].measure.threshold.is_none() || group[*index].emergence().is_any();
    let mut order: Vec<usize> = (0..group.len()).filter(is_candidate).collect();
    order.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        (a.0, a.1).cmp(&(b.0, b.1)).then(b.2.total_cmp(&a.2))
    });
    order.truncate(MOST_LABELLED);
    order
}

/// The mean over the heads that have a baseline at a moment.
fn mean_baseline(group: &[Curve], moment: usize) -> Option<f64> {
    let baselines = group.iter().filter_map(|curve| curve.readings.get(moment)?.baseline);
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
        let Charts { charts, axis, captions } = self.charts(Choice::Changing);
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
            serde_json::json!({ "values": values, "stroke": stroke, "color": color, "label": line.label, "begins": line.begins, "ends": line.ends })
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

    #[test]
    fn a_panel_has_threshold_baseline_and_labelled_heads_with_the_step_at_which_each_is_first_named() {
        let curves = curves_of(&[&[0.1, 0.2, 0.7], &[0.1, 0.1, 0.1], &[0.1, 0.6, 0.3]]);
        let Charts { charts, axis, .. } = curves.charts(Choice::Changing);
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].title, "encoder, previous token: 1 of 3 heads at the end");
        let look = |line: &ChartLine| (line.label.clone(), line.stroke, line.begins, line.ends);
        let lines: Vec<(String, Stroke, Option<usize>, Option<usize>)> = charts[0].lines.iter().map(look).collect();
        assert_eq!(
            lines,
            [
                ("threshold 0.5".to_string(), Stroke::Dashed, None, None),
                ("baseline 0.10".to_string(), Stroke::Dotted, None, None),
                ("".to_string(), Stroke::Faint, None, None),
                ("L0H2 until 1,000: 0.30".to_string(), Stroke::Colored(1), None, Some(1)),
                ("L0H0 from 2,000: 0.70".to_string(), Stroke::Colored(0), Some(2), None),
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
        let chart = &curves_of(&heads).charts(Choice::Changing).charts[0];
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
        let charts = curves_of(&[&[0.1, 0.2]]).charts(Choice::Changing);
        assert_eq!(charts.charts.len(), 1);
        assert!(charts.captions.iter().any(|caption| caption.starts_with("No head becomes anything")));
    }

    #[test]
    fn a_number_that_names_nobody_has_no_threshold_and_the_heads_that_change_most_are_labelled() {
        let mut curves = curves_of(&[&[1.0, 1.5], &[1.0, 4.0]]);
        for curve in &mut curves.curves {
            curve.kind = Kind::Decoder;
            curve.measure = Measure::named("distance").expect("it is a measure");
            curve.readings.iter_mut().for_each(|reading| (reading.named, reading.baseline) = (false, None));
        }
        let chart = &curves.charts(Choice::All).charts[0];
        assert_eq!((chart.title.as_str(), chart.range), ("decoder, distance", (0.0, 4.0)));
        assert_eq!(
            chart.lines.iter().map(|line| line.label.as_str()).collect::<Vec<_>>(),
            ["L0H0: 1.50", "L0H1: 4.00"]
        );
        assert_eq!(curves.measured_on(), "1 text (encoder 6 rows)");
    }

    #[test]
    fn captions_that_are_given_come_after_those_of_the_curves() {
        let height = |captions: &[&str]| {
            let captions = captions.iter().map(|caption| (*caption).to_owned()).collect();
            curves_of(&[&[0.1, 0.7]]).figure(Choice::All, &Style { captions, ..Style::default() }).height
        };
        assert!(height(&["Asked for."]) > height(&[]));
    }
}
