//! A view of an alignment: the weights between the words of two texts.

use std::collections::BTreeMap;

use super::{View, columns_are, origin, rows_are};
use crate::analysis::alignment::{Unit, WordMap};
use crate::figure::{Axis, Panel};
use crate::{AttentionMap, Error, HeadId, Kind, Quantity, Recording};

impl View {
    /// The weights between the words of text `item`, as `words` reads them from heads of this recording; the view says whether
    /// they are a mean.
    ///
    /// # Errors
    /// When a layer or head does not exist, there is nothing to draw, or there are more cells than are held: [`WordMap::weights`].
    pub fn of_words(recording: &Recording, item: usize, words: &WordMap<'_>) -> Result<View, Error> {
        let heads: Vec<HeadId> = words.heads().iter().map(AttentionMap::id).collect();
        let mut of_layers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        heads.iter().for_each(|id| of_layers.entry(id.layer).or_default().push(id.head));
        let mut problem = None;
        for (layer, heads) in &of_layers {
            let checked = recording.check_maps(recording.layer(Kind::Cross, *layer)?, item..item + 1, heads)?;
            problem = problem.or(checked.problem());
        }
        let layer = recording.layer(Kind::Cross, heads.first().map_or(0, |id| id.layer))?;
        let (rows_are, columns_are) = (rows_are(layer, words.rows()), columns_are(layer));
        let thing = if words.unit() == Unit::Tokens { "token" } else { "word" };
        let rows = Axis::labelled(format!("query ({rows_are} {thing})"), words.target());
        let columns = Axis::labelled(format!("key ({columns_are} {thing})"), words.source());
        let weights = words.weights()?; // [n_target, n_source]
        let mut removed = vec![0.0; words.target().len()]; // [n_target]
        let (mut sum, mut n_rows) = (0.0, 0_u32);
        // a word that no token belongs to has no row, and leaves nothing out
        words.for_each_row(|target, row| {
            removed[target] = (1.0 - row.iter().sum::<f32>()).clamp(0.0, 1.0);
            sum += f64::from(removed[target]);
            n_rows += 1;
        });
        let mean = sum / f64::from(n_rows.max(1));
        let failed = problem.as_ref().map(|problem| format!("this map fails its checks: {problem}"));
        let is_mean = heads.len() > 1;
        let of_mean = is_mean.then(|| format!("mean over {} heads: a head may look otherwise", heads.len()));
        let of_words = format!(
            "{}; special tokens are left out, with {:.0} % of the weight on average",
            words.unit().says(),
            100.0 * mean
        );
        Ok(View {
            kind: Kind::Cross,
            words: Quantity::Weight.words(),
            panel: Panel::new(title(recording, &heads), weights, rows, columns)?,
            rows_are,
            columns_are,
            removed,
            sinks: Vec::new(),
            problem,
            remarks: failed.into_iter().chain(of_mean).chain([of_words]).collect(),
            origin: origin(recording, item),
            notes: recording.remarks_on(item, Kind::Cross),
        })
    }
}

/// What heads are called together: `L2H4`, `L2, mean of 8 heads`, `mean of L1H2, L2H4`.
pub fn title(recording: &Recording, heads: &[HeadId]) -> String {
    let n_heads = |layer: usize| recording.layer(Kind::Cross, layer).map_or(0, |layer| layer.shape.n_heads);
    match heads {
        [] => "no head".to_owned(),
        [one] => one.to_string(),
        [first, ..] if heads.len() == n_heads(first.layer) && heads.iter().all(|id| id.layer == first.layer) => {
            format!("L{}, mean of {} heads", first.layer, heads.len())
        }
        several => {
            let names: Vec<String> = several.iter().map(HeadId::to_string).collect();
            format!("mean of {}", names.join(", "))
        }
    }
}
