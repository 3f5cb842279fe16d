//! A view of a map too large to be held: tiles, each as its largest number.

use super::{Content, Labels, Pieces, Shown, Specials, ViewOptions};
use crate::grid::mean_rows;
use crate::{Error, Pooled, Pooling, Quantity};

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
        let (numbers, n_row_tiles, n_column_tiles) = self.pooled(Pooling { rows: tiles, columns: tiles });
        let which = if self.quantity.is_signed() { "the number farthest from 0" } else { "the largest" };
        let mut remarks = self.ranges();
        let what = if self.quantity == Quantity::Weight { "weights" } else { "numbers" };
        remarks.push(format!("overview of {n_rows} × {n_columns} {what}: each cell is {which} of its tile"));
        Ok(Content {
            numbers,
            rows: Labels::Tiles(n_row_tiles),
            columns: Labels::Tiles(n_column_tiles),
            removed: Vec::new(),
            sinks: Vec::new(),
            remarks,
        })
    }

    /// The tiles, and how many there are along the rows and the columns.
    fn pooled(&self, pooling: Pooling) -> (Vec<f32>, usize, usize) {
        let (rows, columns) = (&self.rows.places, &self.columns.places);
        let n_keys = self.heads[0].n_keys();
        if let [head] = self.heads
            && (rows.len(), columns.len()) == (head.n_queries(), n_keys)
            && !self.quantity.is_signed()
        {
            let pooled = head.pooled(pooling);
            return (pooled.max, pooled.rows, pooled.columns);
        }
        let mut above = Pooled::empty(pooling, rows.len(), columns.len());
        let mut below = above.clone(); // what is less than 0, its sign turned
        let mut shown = vec![0.0; columns.len()]; // [columns]
        for (band, places) in rows.chunks(BAND).enumerate() {
            let queries = places[0]..places[places.len() - 1] + 1;
            let numbers = mean_rows(self.heads, queries.clone()); // [queries, n_keys]
            for (row, place) in places.iter().enumerate() {
                let numbers = &numbers[(place - queries.start) * n_keys..][..n_keys];
                shown.iter_mut().zip(columns).for_each(|(shown, column)| *shown = numbers[*column]);
                above.add_row(band * BAND + row, &shown);
                if self.quantity.is_signed() {
                    shown.iter_mut().for_each(|number| *number = -*number);
                    below.add_row(band * BAND + row, &shown);
                }
            }
        }
        let farthest = |(above, below): (&f32, &f32)| if below > above { -below } else { *above };
        (above.max.iter().zip(&below.max).map(farthest).collect(), above.rows, above.columns)
    }
}
