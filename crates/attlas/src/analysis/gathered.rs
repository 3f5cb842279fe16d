//! What a head's rows say together: words, stripes, what was found in a needle.

use super::{Annotations, Columns, Geometry, Row, Sample, Stripes, Sums, WordLinks};
use crate::{AttentionMap, Kind, RowTokens};

/// Gathered while the rows of a map are read, for the measures that no single row answers.
#[derive(Debug, Clone)]
pub struct Gathered<'a> {
    annotations: &'a Annotations,
    columns: &'a Columns<'a>,
    stripes: Stripes<'a>,
    /// What the stripes are, and what looking at all visible keys alike gives; once all rows are read.
    geometry: [Geometry; 2],
    /// By the words that rows predict; where every row is read.
    predicted: Option<WordLinks>,
    /// By the words that rows have read; where a reference is there to be held against.
    read: Option<WordLinks>,
    /// Which keys of the needle were generated while the head looked at them; empty without a needle.
    found: Vec<bool>,
}

impl<'a> Gathered<'a> {
    /// Nothing is read yet. `is_whole` says whether every row will be.
    pub(super) fn new(
        map: &AttentionMap<'a>,
        columns: &'a Columns<'a>,
        annotations: &'a Annotations,
        is_whole: bool,
    ) -> Gathered<'a> {
        let is_cross = map.kind() == Kind::Cross;
        let words = |row_tokens| WordLinks::new(map, row_tokens);
        let n_found =
            columns.needle.as_ref().filter(|_| columns.first_generating.is_some()).map_or(0, |keys| keys.len());
        Gathered {
            annotations,
            columns,
            stripes: Stripes::new(map, &columns.segments),
            geometry: [Geometry::default(); 2],
            predicted: (is_cross && is_whole).then(|| words(RowTokens::Predicted)),
            read: (is_cross && is_whole && !annotations.links.is_empty()).then(|| words(RowTokens::Read)),
            found: vec![false; n_found],
        }
    }

    /// Takes a row in; rows come in rising order.
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.stripes.add(row);
        self.predicted.iter_mut().chain(&mut self.read).for_each(|words| words.add(row));
        if let (Some(needle), Some(first)) = (&self.columns.needle, self.columns.first_generating)
            && row.query >= first
            && !self.found.is_empty()
            && let Some(key) = super::argmax(row.weights).filter(|key| needle.contains(key))
            && row.columns.copies.is_next(row.query, key)
        {
            self.found[key - needle.start] = true;
        }
    }

    /// Ends the reading; `uniform` is the geometry of looking at all visible keys alike.
    pub(super) fn close(&mut self, uniform: Geometry) {
        self.geometry = [self.stripes.geometry(), uniform];
    }

    /// A measure of the words that rows predict.
    pub(super) fn words(&self, sums: impl Fn(&WordLinks) -> Sums) -> Sums {
        self.predicted.as_ref().map(sums).unwrap_or_default()
    }

    /// Links held against the reference: of the rows that predict a word, or of those that have read it.
    pub(super) fn alignment(&self, variant: usize) -> Sums {
        let links = [&self.predicted, &self.read].get(variant).copied().and_then(Option::as_ref);
        links.map(|words| words.alignment(&self.annotations.links)).unwrap_or_default()
    }

    /// For each key of the needle, whether it was found; no number where a weight is none.
    pub(super) fn retrieval(&self) -> Sums {
        let is_broken = self.geometry[0].vertical.is_some_and(|peak| peak.share.is_nan());
        let score = |found: &bool| if is_broken { f64::NAN } else { f64::from(u8::from(*found)) };
        Sums::of(self.found.iter().map(|found| Sample { score: score(found), baseline: 0.0 }))
    }

    /// The share of the strongest column.
    pub(super) fn vertical(&self) -> Sums {
        self.share(|geometry| geometry.vertical.map(|peak| peak.share))
    }

    /// The share of the strongest offset.
    pub(super) fn diagonal(&self) -> Sums {
        self.share(|geometry| geometry.diagonal.map(|peak| peak.share))
    }

    /// The share within the query's stretch.
    pub(super) fn block(&self) -> Sums {
        self.share(|geometry| geometry.block)
    }

    fn share(&self, of: fn(&Geometry) -> Option<f64>) -> Sums {
        let [score, baseline] = self.geometry.each_ref().map(of);
        Sums::of(score.map(|score| Sample { score, baseline: baseline.unwrap_or(0.0) }))
    }
}
