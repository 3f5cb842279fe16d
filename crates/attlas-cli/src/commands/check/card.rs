//! The card that `attlas check` prints: maps changed, tokens erased, other trainings beside.

use std::io::Write;

use attlas_model::explain::card::{Beside, Card, Row, mean};
use attlas_model::explain::faithfulness::{Disturbed, NEGLIGIBLE, SHARES, Shift, percent};
use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::score::{Form, Score};

use crate::failure::Failure;
use crate::terminal::{Terminal, printable};
use crate::words::counted;

/// The card, to be printed.
pub struct Printed<'a> {
    pub card: &'a Card,
    pub baseline: &'a Baseline<'a>,
}

/// Maps that are printed at most.
const MOST: usize = 24;

impl Printed<'_> {
    /// Prints the card.
    pub fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let (sought, seeds) = (self.card.sought.is_some(), !self.card.beside.is_empty());
        let heading = format!(
            "map              permuted: median  largest  uniform  kept{}{}",
            if sought { "   by gradient" } else { "" },
            if seeds { "  other trainings" } else { "" }
        );
        writeln!(terminal, "{}", terminal.bold(&heading))?;
        let mut ranked = self.card.rows();
        ranked.sort_by(|a, b| b.map.median().total_cmp(&a.map.median()));
        for row in ranked.iter().take(MOST) {
            writeln!(terminal, "{}", self.line(row))?;
        }
        if ranked.len() > MOST {
            let rest = format!(
                "… {} more, none moved by more than {} in the median",
                ranked.len() - MOST,
                percent(ranked[MOST].map.median())
            );
            writeln!(terminal, "{}", terminal.dim(&rest))?;
        }
        terminal.notes(self.legend())?;
        self.print_erasing(terminal)
    }

    fn line(&self, row: &Row<'_>) -> String {
        let map = row.map;
        let nats = |shift: Option<Shift>| shift.map_or("–".to_owned(), |moved| format!("{:.3}", moved.of_maps));
        let [median, largest, uniform] = [map.median(), map.largest(), map.uniform.tvd].map(percent);
        let kept = nats(map.most_different(self.card.budget));
        let sought = row.sought.map_or_else(String::new, |found| format!("  {:>12}", nats(found)));
        let beside = row.beside.map_or_else(String::new, |jsd| format!("  {jsd:>15.3}"));
        format!("{:<24} {median:>8} {largest:>8} {uniform:>8}  {kept:<5}{sought}{beside}", self.name(map))
    }

    /// What the numbers mean, and what is found of all of the maps.
    fn legend(&self) -> Vec<String> {
        let mut legend = vec![format!(
            "How far the output moves, as total variation. Kept: how far the map is, in nats (JSD; ln 2 = 0.693 is as far as can be), that \
             differs most from the model's own and moves the output by {} at most, of those tried.",
            percent(self.card.budget)
        )];
        if let Some(sought) = &self.card.sought {
            let n_found = sought.iter().flatten().count();
            legend.push(format!(
                "By gradient: the same, sought step by step for this purpose (Jain and Wallace 2019); found for {n_found} of {}. A map that is far \
                 and keeps the output would tell another story of the same output.",
                counted(sought.len(), "map")
            ));
        }
        let of = counted(self.card.maps.len(), "map");
        legend.push(match (&self.card.maps[..], self.card.maps.iter().filter(|map| map.largest() < NEGLIGIBLE).count()) {
            ([one], _) => one.note(),
            (_, 0) => format!("Each of the {of} moves the output by 1 % or more when it is permuted."),
            (_, n) => format!(
                "{n} of {of} can be permuted without moving the output by 1 %: what they look at says nothing of it."
            ),
        });
        if self.card.maps.iter().map(|map| map.heads.len()).sum::<usize>() > 1 {
            legend.push(format!(
                "With all of these maps uniform at once the output moves by {}. The rest of the model was trained with its own maps; the baseline of \
                 frozen weights (Wiegreffe and Pinter 2019) trains it again with uniform ones, which is not done here.",
                percent(self.card.all_uniform.tvd)
            ));
        }
        legend.extend(self.seeds());
        legend
    }

    /// How far other trainings are, in sentences.
    fn seeds(&self) -> Vec<String> {
        let of = |beside: &Beside| {
            let Shift { tvd, of_maps, .. } = beside.moved;
            format!(
                "Beside {}: output {} (TVD), maps {of_maps:.3} nats (JSD) apart.",
                printable(&beside.name),
                percent(tvd)
            )
        };
        let mut sentences: Vec<String> = self.card.beside.iter().map(of).collect();
        if self.card.beside.len() > 1 {
            let over = |number: &dyn Fn(&Beside) -> f64| -> Vec<f64> { self.card.beside.iter().map(number).collect() };
            let (outputs, maps) = (over(&|beside| beside.moved.tvd), over(&|beside| beside.moved.of_maps));
            let [least, most] =
                [outputs.iter().copied().fold(f64::INFINITY, f64::min), outputs.iter().copied().fold(0.0, f64::max)];
            sentences.push(format!(
                "What a seed decides, over {} trainings beside this one: output {} in the mean ({} to {}), maps {:.3} nats. A map that is no farther from \
                 the model's own than other trainings' are could be another seed's.",
                self.card.beside.len(),
                percent(mean(&outputs).unwrap_or(0.0)),
                percent(least),
                percent(most),
                mean(&maps).unwrap_or(0.0)
            ));
        }
        sentences
    }

    fn print_erasing(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let erasing = match &self.card.erasing {
            Ok(erasing) => erasing,
            Err(why) => return terminal.notes([format!("No token was erased: {why} (--position, --erase-with).")]),
        };
        writeln!(terminal)?;
        let shares: Vec<String> =
            SHARES.iter().map(|share| format!("{:>7}", format!("{:.0} %", 100.0 * share))).collect();
        writeln!(terminal, "{}", terminal.bold(&format!("erased                     {}     AOPC", shares.join(" "))))?;
        for (name, erasure) in [("by the ranking", &erasing.by_ranking), ("in random orders", &erasing.at_random)] {
            let areas = erasure.aopc();
            for (what, points, area) in
                [("without", &erasure.comprehensiveness, areas[0]), ("alone", &erasure.sufficiency, areas[1])]
            {
                let points: Vec<String> = points.iter().map(|point| format!("{point:>+7.3}")).collect();
                let name = format!("{name}: {what}");
                writeln!(terminal, "{name:<26} {}  {area:>+7.3}", points.join(" "))?;
            }
        }
        let model = self.baseline.model();
        let legend = format!(
            "Lost of the {}: without the highest ranked share of tokens (comprehensiveness: large is faithful) and with it alone (sufficiency: near \
             0 is). Ranked by {}; {} in the place of each. At random: the mean over {}.",
            model.score_in_words(&Score { form: Form::Probability, ..erasing.score }, &self.baseline.input),
            erasing.ranking,
            model.target_text(Some(0), erasing.with),
            counted(erasing.n_orders, "order")
        );
        terminal.notes([legend])
    }

    fn name(&self, map: &Disturbed) -> String {
        match map.heads[..] {
            [head] => format!("{:<8} {}", head.kind.name(), head.head),
            _ => format!("{} together", counted(map.heads.len(), "map")),
        }
    }
}
