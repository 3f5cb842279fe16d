//! A view of every weight: the rows and columns asked for, merged and hidden as asked.

use std::ops::Range;

use super::remarks::{self, Removed};
use super::{Content, Labels, Pieces, Places, Shown, Specials, ViewOptions, neighbours};
use crate::grid::{Grid, mean_rows, pick};
use crate::{Error, Tokens};

impl Shown<'_> {
    /// Every number of the shown part.
    pub(super) fn whole(mut self, options: &ViewOptions) -> Result<Content, Error> {
        if options.pieces == Pieces::Words {
            self.rows.drop_cut_words();
            self.columns.drop_cut_words();
        }
        let (mut grid, mut outside) = self.gathered(options.max_weights);
        let silent = self.mark_silence(&mut grid);
        let mut sinks: Vec<f32> = self.rows.places.iter().map(|query| self.sink(*query)).collect(); // [n_rows]
        if options.pieces == Pieces::Words {
            let words = grid.rows.words();
            outside = means(&outside, &words);
            sinks = means(&sinks, &words);
            grid = grid.words();
        }
        let mut remarks = self.ranges();
        remarks.extend(self.left_out(&outside));
        if let Some(what) = self.columns.silence_of(&self.columns.places) {
            let what = format!("{what}, in brackets");
            remarks.extend(Removed { what, quantity: self.quantity }.remark(&silent));
        }
        let mut removed = outside;
        if options.specials == Specials::Hide {
            let stays: Vec<bool> = grid.rows.tokens.iter().map(|token| token.is_text()).collect();
            let (shown, hidden) = grid.hide_special();
            grid = shown;
            sinks = kept(&sinks, &stays);
            removed = kept(&removed, &stays);
            removed.iter_mut().zip(&hidden.masses).for_each(|(removed, mass)| *removed += mass);
            if hidden.columns > 0 {
                let what = format!("{} hidden", crate::printable::counted(hidden.columns, "special column"));
                remarks.extend(Removed { what, quantity: self.quantity }.remark(&hidden.masses));
            }
        }
        remarks.extend(remarks::of_sinks(&sinks));
        if grid.rows.is_empty() || grid.columns.is_empty() {
            return Err(self.nothing_left(&grid, options));
        }
        let labels = |tokens: &Tokens| Labels::Texts(tokens.labels().map(str::to_owned).collect());
        Ok(Content {
            rows: labels(&grid.rows),
            columns: labels(&grid.columns),
            numbers: grid.weights,
            removed,
            sinks,
            remarks,
        })
    }

    /// The shown part, token by token, and what each row has outside of it. At most `max_weights` more numbers are held.
    fn gathered(&self, max_weights: usize) -> (Grid, Vec<f32>) {
        let (rows, columns) = (&self.rows.places, &self.columns.places);
        let mut grid = Grid {
            weights: Vec::with_capacity(rows.len() * columns.len()), // [rows, columns]
            rows: pick(self.rows.tokens, rows),
            columns: pick(self.columns.tokens, columns),
        };
        let mut outside = Vec::with_capacity(rows.len()); // [rows]
        let n_keys = self.heads[0].n_keys();
        let n_at_once = (max_weights / n_keys.max(1)).max(1);
        for rows in neighbours(rows).flat_map(|rows| rows.chunks(n_at_once)) {
            let band = rows[0]..rows[rows.len() - 1] + 1;
            let weights = mean_rows(self.heads, band.clone()); // [band, n_keys]
            for row in rows {
                let row = &weights[(row - band.start) * n_keys..][..n_keys];
                grid.weights.extend(columns.iter().map(|column| row[*column]));
                outside.push(self.columns.others.iter().map(|column| f64::from(row[*column])).sum::<f64>() as f32);
            }
        }
        (grid, outside)
    }

    /// Puts the labels of added silence in brackets, and says what each row has in it.
    fn mark_silence(&self, grid: &mut Grid) -> Vec<f32> {
        for (tokens, places) in [(&mut grid.rows, &self.rows), (&mut grid.columns, &self.columns)] {
            for (token, place) in tokens.tokens.iter_mut().zip(&places.places) {
                if places.silence.contains(place) {
                    token.text = format!("({})", token.text);
                }
            }
        }
        let columns = &self.columns;
        let of_row = |row: &[f32]| {
            let silent = row.iter().zip(&columns.places).filter(|(_, column)| columns.silence.contains(column));
            silent.map(|(weight, _)| f64::from(*weight)).sum::<f64>() as f32
        };
        grid.weights.chunks_exact(columns.places.len().max(1)).map(of_row).collect()
    }

    /// Which columns are not shown, and what the rows had in them; `outside` has shape `[rows]`.
    pub(super) fn left_out(&self, outside: &[f32]) -> Option<String> {
        if self.columns.others.is_empty() {
            return None;
        }
        let what = match (&self.columns.range, self.columns.silence_of(&self.columns.others)) {
            (None, Some(silence)) => format!("{silence}, left out"),
            _ => "the other columns left out".into(),
        };
        Removed { what, quantity: self.quantity }.remark(outside)
    }

    /// What a sink takes from a row, in the mean over heads.
    fn sink(&self, query: usize) -> f32 {
        let sum: f64 = self.heads.iter().map(|head| f64::from(head.sink_mass(query))).sum();
        (sum / self.heads.len() as f64) as f32
    }

    /// Which part is shown, where it is not the whole.
    pub(super) fn ranges(&self) -> Vec<String> {
        let said = |places: &Places<'_>| {
            let (range, n) = places.range.as_ref()?;
            (range.len() < *n).then(|| match range.len() {
                1 => format!("{} {} of {n}, counted from 0", places.axis.trim_end_matches('s'), range.start),
                _ => format!("{} {} to {} of {n}, counted from 0", places.axis, range.start, range.end - 1),
            })
        };
        let silent_rows = self.rows.silence_of(&self.rows.others).filter(|_| self.rows.range.is_none());
        let silent_rows = silent_rows.map(|silence| format!("{silence}, left out"));
        said(&self.rows).into_iter().chain(said(&self.columns)).chain(silent_rows).collect()
    }

    fn nothing_left(&self, grid: &Grid, options: &ViewOptions) -> Error {
        let axis = if grid.rows.is_empty() { "rows" } else { "columns" };
        let why = match (options.specials, options.pieces) {
            (Specials::Hide, _) => "all tokens there are special ones, which are hidden",
            (_, Pieces::Words) => "no word lies whole in the range",
            _ => "the text has no token there",
        };
        Error::NothingShown(format!("no {axis} are left to show: {why}"))
    }
}

impl Places<'_> {
    /// Leaves out the pieces at both ends whose words are not whole: they join the others.
    fn drop_cut_words(&mut self) {
        let tokens = &self.tokens.tokens;
        let word = |place: usize| tokens.get(place).and_then(|token| token.word);
        let is_cut = |inside: usize, outside: Option<usize>| {
            word(inside).is_some() && outside.is_some_and(|outside| word(outside) == word(inside))
        };
        let (Some(&first), Some(&last)) = (self.places.first(), self.places.last()) else { return };
        if is_cut(first, first.checked_sub(1)) {
            let end = self.places.iter().take_while(|place| word(**place) == word(first)).count();
            self.others.extend(self.places.drain(..end));
        }
        if is_cut(last, Some(last + 1)) {
            let start = self.places.iter().rposition(|place| word(*place) != word(last)).map_or(0, |place| place + 1);
            self.others.extend(self.places.drain(start..));
        }
    }
}

/// The mean of each group of numbers.
fn means(numbers: &[f32], groups: &[Range<usize>]) -> Vec<f32> {
    let mean = |group: &Range<usize>| {
        let sum: f64 = numbers[group.clone()].iter().map(|number| f64::from(*number)).sum();
        (sum / group.len() as f64) as f32
    };
    groups.iter().map(mean).collect()
}

/// The numbers that stay.
fn kept(numbers: &[f32], stays: &[bool]) -> Vec<f32> {
    numbers.iter().zip(stays).filter(|(_, stays)| **stays).map(|(number, _)| *number).collect()
}
