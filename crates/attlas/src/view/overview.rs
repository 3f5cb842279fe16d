//! A view of a map too large to be held: tiles, each as its largest number.

use super::{Content, Labels, Pieces, Places, Shown, Specials, ViewOptions, neighbours};
use crate::grid::mean_rows;
use crate::{Error, Item, Pooled, Pooling, Quantity};

/// Rows whose numbers are held at a time.
const BAND: usize = 64;

impl Shown<'_> {
    /// Tiles of the shown part, each as its largest number, or the one farthest from 0 where numbers have either sign.
    pub(super) fn overview(&self, options: &ViewOptions) -> Result<Content, Error> {
        let (n_rows, n_columns) = (self.rows.places.len(), self.columns.places.len());
        let needs_whole = match (options.pieces, options.specials) {
            (Pieces::Words, _) => Some("merging pieces into words"),
            (_, Specials::Hide) => Some("hiding special tokens"),
            _ => None,
        };
        if let Some(what) = needs_whole {
            return Err(Error::NeedsWholeMap { what, n_rows, n_columns, limit: options.max_weights });
        }
        let tiles = options.overview_tiles;
        let (pooled, outside) = self.pooled(Pooling { rows: tiles, columns: tiles });
        let which = if self.quantity.is_signed() { "the number farthest from 0" } else { "the largest" };
        let mut remarks = self.ranges();
        remarks.extend(self.left_out(&outside));
        let what = if self.quantity == Quantity::Weight { "weights" } else { "numbers" };
        remarks.push(format!("overview of {n_rows} × {n_columns} {what}: each cell is {which} of its tile"));
        let item = self.heads[0].item();
        Ok(Content {
            numbers: pooled.max,
            rows: self.rows.tiles(pooled.rows, item),
            columns: self.columns.tiles(pooled.columns, item),
            removed: Vec::new(),
            sinks: Vec::new(),
            remarks,
        })
    }

    /// The tiles, and what each row has in columns that are not shown.
    fn pooled(&self, pooling: Pooling) -> (Pooled, Vec<f32>) {
        let (rows, columns) = (&self.rows.places, &self.columns.places);
        let n_keys = self.heads[0].n_keys();
        if let [head] = self.heads
            && (rows.len(), columns.len()) == (head.n_queries(), n_keys)
        {
            return (head.pooled(pooling), Vec::new());
        }
        let mut pooled = Pooled::empty(pooling, rows.len(), columns.len());
        let mut shown = vec![0.0; columns.len()]; // [columns]
        let mut outside = Vec::with_capacity(rows.len()); // [rows]
        for places in neighbours(rows).flat_map(|rows| rows.chunks(BAND)) {
            let queries = places[0]..places[places.len() - 1] + 1;
            for numbers in mean_rows(self.heads, queries).chunks_exact(n_keys) {
                shown.iter_mut().zip(columns).for_each(|(shown, column)| *shown = numbers[*column]);
                pooled.add_row(outside.len(), &shown);
                outside.push(self.columns.others.iter().map(|column| f64::from(numbers[*column])).sum::<f64>() as f32);
            }
        }
        (pooled, outside)
    }
}

impl Places<'_> {
    /// The places as so many tiles; those of a sound with their times.
    fn tiles(&self, n: usize, item: &Item) -> Labels {
        let first = self.range.as_ref().map_or(0, |(range, _)| range.start);
        if std::ptr::eq(self.tokens, &item.source) && item.token_seconds().is_some() {
            let time = |place: &usize| item.source.tokens.get(*place).map_or(String::new(), |frame| frame.text.clone());
            let times = self.places.iter().map(time).collect();
            return Labels::Times { n, first, times };
        }
        Labels::Tiles { n, first, of: self.places.len() }
    }
}
