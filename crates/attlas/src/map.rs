//! One head's attention map, answered piece by piece.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use crate::attention::{Recorded, Shape, needs_f64};
use crate::recording::Factored;
use crate::{Error, HeadId, Item, Kind, Layer, MaskRow, Pooled, Pooling, Quantity, TokenRole, Tokens, Trace, Weights};

/// Rows and columns from which a tile is worth the blocked kernel.
const BLOCKED_FROM: usize = 4;

/// One head's map for one text: rows are queries, columns are keys. No weight is computed until it is asked for; what it
/// is computed from was read when the map was made, so that nothing can fail afterwards.
#[derive(Debug, Clone)]
pub struct AttentionMap<'a> {
    layer: &'a Layer,
    item: usize,
    tokens: &'a Item,
    head: usize,
    /// Which keys are no padding, where some are. Shape `[n_keys]`.
    key_valid: Option<Cow<'a, [bool]>>,
    held: Held<'a>,
    /// The length of each key's value vector behind the head's output projection, where the numbers are weight × that
    /// length. Shape `[n_keys]`.
    value_norms: Option<Cow<'a, [f32]>>,
    /// Whether scores are too large for f32; all rows must be looked at to know it.
    needs_f64: OnceLock<bool>,
}

/// One head's numbers; 16 bits are widened.
#[derive(Clone)]
enum Held<'a> {
    /// Some rows of a dense map. Shape `[rows.len(), n_keys]`.
    Dense { rows: Range<usize>, numbers: Cow<'a, [f32]> },
    Factored {
        factored: &'a Factored,
        /// Shape `[n_queries, d_head]`.
        queries: Cow<'a, [f32]>,
        /// Shape `[n_keys, d_head]`.
        keys: Cow<'a, [f32]>,
        /// Shape `[n_queries]`.
        lse: Cow<'a, [f64]>,
    },
}

/// One head's numbers in memory, of which its map is made at no cost as often as it is asked for
/// ([`Recording::map_over`](crate::Recording::map_over)).
#[derive(Debug, Clone)]
pub struct HeadNumbers {
    held: HeldNumbers,
    key_valid: Option<Vec<bool>>,
    value_norms: Option<Vec<f32>>,
    needs_f64: OnceLock<bool>,
}

#[derive(Debug, Clone)]
enum HeldNumbers {
    /// Shape `[n_queries, n_keys]`.
    Dense(Vec<f32>),
    /// Shapes `[n_queries, d_head]`, `[n_keys, d_head]`, `[n_queries]`.
    Factored { queries: Vec<f32>, keys: Vec<f32>, lse: Vec<f64> },
}

impl HeadNumbers {
    /// How much memory they take.
    pub fn n_bytes(&self) -> usize {
        let held = match &self.held {
            HeldNumbers::Dense(numbers) => 4 * numbers.len(),
            HeldNumbers::Factored { queries, keys, lse } => 4 * (queries.len() + keys.len()) + 8 * lse.len(),
        };
        held + self.key_valid.as_ref().map_or(0, Vec::len) + 4 * self.value_norms.as_ref().map_or(0, Vec::len)
    }
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Held::Dense { .. } => "Dense",
            Held::Factored { .. } => "Factored",
        })
    }
}

impl<'a> Held<'a> {
    /// Reads the numbers of head `head` of text `item`; of a dense map, `rows` only.
    fn read(layer: &'a Layer, item: usize, head: usize, rows: Range<usize>) -> Result<Held<'a>, Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = layer.shape;
        let first_row = (item * n_heads + head) * n_queries;
        Ok(match &layer.weights {
            Weights::Dense(weights) => {
                let numbers = weights.read((first_row + rows.start) * n_keys..(first_row + rows.end) * n_keys)?;
                Held::Dense { rows, numbers }
            }
            Weights::Factored(factored) => {
                let first_key = (item * n_kv_heads + layer.shape.kv_head(head)) * n_keys;
                Held::Factored {
                    factored,
                    queries: factored.queries.read(first_row * d_head..(first_row + n_queries) * d_head)?,
                    keys: factored.keys.read(first_key * d_head..(first_key + n_keys) * d_head)?,
                    lse: factored.lse.read(first_row..first_row + n_queries)?,
                }
            }
        })
    }
}

impl<'a> AttentionMap<'a> {
    /// The map of head `head` of text `item`, whose tokens are `tokens`; of a dense one only `rows` are read, and may be
    /// asked for.
    ///
    /// # Errors
    /// When its numbers lie in a file that cannot be read.
    pub(crate) fn new(
        layer: &'a Layer,
        item: usize,
        tokens: &'a Item,
        head: usize,
        rows: Range<usize>,
    ) -> Result<AttentionMap<'a>, Error> {
        let held = Held::read(layer, item, head, rows)?;
        AttentionMap::holding(layer, item, tokens, head, held)
    }

    fn holding(
        layer: &'a Layer,
        item: usize,
        tokens: &'a Item,
        head: usize,
        held: Held<'a>,
    ) -> Result<AttentionMap<'a>, Error> {
        let keys = &layer.key_tokens(tokens).tokens;
        let padded = keys.iter().any(|token| token.role == TokenRole::Padding);
        let key_valid = padded.then(|| keys.iter().map(|token| token.role != TokenRole::Padding).collect());
        let value_norms = value_norms(layer, item, head)?;
        Ok(AttentionMap { layer, item, tokens, head, key_valid, held, value_norms, needs_f64: OnceLock::new() })
    }

    /// The map of numbers that [`into_numbers`](Self::into_numbers) gave.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when they are those of a map of another size.
    pub(crate) fn over(
        layer: &'a Layer,
        item: usize,
        tokens: &'a Item,
        head: usize,
        numbers: &'a HeadNumbers,
    ) -> Result<AttentionMap<'a>, Error> {
        let Shape { n_queries, n_keys, d_head, .. } = layer.shape;
        let held = match (&numbers.held, layer.factored()) {
            (HeldNumbers::Dense(numbers), None) if numbers.len() == n_queries * n_keys => {
                Held::Dense { rows: 0..n_queries, numbers: Cow::Borrowed(numbers) }
            }
            (HeldNumbers::Factored { queries, keys, lse }, Some(factored))
                if (queries.len(), keys.len(), lse.len()) == (n_queries * d_head, n_keys * d_head, n_queries) =>
            {
                let (queries, keys) = (Cow::Borrowed(&queries[..]), Cow::Borrowed(&keys[..]));
                Held::Factored { factored, queries, keys, lse: Cow::Borrowed(lse) }
            }
            _ => return Err(Error::Inconsistent(format!("the numbers held are not those of a head of {layer}"))),
        };
        Ok(AttentionMap {
            layer,
            item,
            tokens,
            head,
            key_valid: numbers.key_valid.as_deref().map(Cow::Borrowed),
            held,
            value_norms: numbers.value_norms.as_deref().map(Cow::Borrowed),
            needs_f64: numbers.needs_f64.clone(),
        })
    }

    /// The map's numbers, in memory whatever they were computed from lies in.
    ///
    /// # Errors
    /// When only some rows of a dense map were read, and the others cannot be.
    pub fn into_numbers(mut self) -> Result<HeadNumbers, Error> {
        self.turn_to(0..self.n_queries())?;
        self.recorded(); // looks whether scores are large
        let held = match self.held {
            Held::Dense { numbers, .. } => HeldNumbers::Dense(numbers.into_owned()),
            Held::Factored { queries, keys, lse, .. } => {
                HeldNumbers::Factored { queries: queries.into_owned(), keys: keys.into_owned(), lse: lse.into_owned() }
            }
        };
        Ok(HeadNumbers {
            held,
            key_valid: self.key_valid.map(Cow::into_owned),
            value_norms: self.value_norms.map(Cow::into_owned),
            needs_f64: self.needs_f64,
        })
    }

    /// The weights of some queries, in rising order, over all keys, of a map of whose queries no others are read.
    /// Shape `[queries.len(), n_keys]`.
    pub(crate) fn rows_read(
        layer: &'a Layer,
        item: usize,
        tokens: &'a Item,
        head: usize,
        queries: &[usize],
    ) -> Result<Vec<f32>, Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = layer.shape;
        let first_row = (item * n_heads + head) * n_queries;
        let stretches = || queries.chunk_by(|a, b| a + 1 == *b).map(|stretch| stretch[0]..stretch[0] + stretch.len());
        let Weights::Factored(factored) = &layer.weights else {
            let mut map = AttentionMap::new(layer, item, tokens, head, 0..0)?;
            let mut rows = Vec::with_capacity(queries.len() * n_keys); // [queries, n_keys]
            for stretch in stretches() {
                map.turn_to(stretch.clone())?;
                rows.extend(map.tile(stretch, 0..n_keys));
            }
            return Ok(rows);
        };
        let first_key = (item * n_kv_heads + layer.shape.kv_head(head)) * n_keys;
        let held = Held::Factored {
            factored,
            queries: Cow::Borrowed(&[]),
            keys: factored.keys.read(first_key * d_head..(first_key + n_keys) * d_head)?,
            lse: factored.lse.read(first_row..first_row + n_queries)?,
        };
        let map = AttentionMap::holding(layer, item, tokens, head, held)?;
        let Some(recorded) = map.recorded().filter(|recorded| !recorded.needs_f64) else {
            return Ok(AttentionMap::new(layer, item, tokens, head, 0..n_queries)?.rows(queries, 0..n_keys));
        };
        let mut read = Vec::with_capacity(queries.len() * d_head); // [queries, d_head]
        for stretch in stretches() {
            read.extend_from_slice(
                &factored.queries.read((first_row + stretch.start) * d_head..(first_row + stretch.end) * d_head)?,
            );
        }
        let mut rows = recorded.rows_of(queries, &read, 0..n_keys);
        map.weigh_values(0..n_keys, &mut rows);
        Ok(rows)
    }

    /// Reads other rows of a dense map in place of those that are held; does nothing where all that is needed is held.
    fn turn_to(&mut self, rows: Range<usize>) -> Result<(), Error> {
        if let Held::Dense { .. } = self.held {
            self.held = Held::read(self.layer, self.item, self.head, rows)?;
        }
        Ok(())
    }

    /// The weights of few queries over few keys, of a map of which nothing else is read; each is as exact as in a row.
    /// Shape `[queries.len(), keys.len()]`.
    pub(crate) fn few_read(
        layer: &'a Layer,
        item: usize,
        tokens: &'a Item,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Vec<f32>, Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = layer.shape;
        let Weights::Factored(factored) = &layer.weights else {
            return Ok(AttentionMap::new(layer, item, tokens, head, queries.clone())?.tile(queries, keys));
        };
        let first_row = (item * n_heads + head) * n_queries;
        let first_key = (item * n_kv_heads + layer.shape.kv_head(head)) * n_keys;
        let (rows, columns) =
            (first_row + queries.start..first_row + queries.end, first_key + keys.start..first_key + keys.end);
        let read_queries = factored.queries.read(rows.start * d_head..rows.end * d_head)?;
        let read_keys = factored.keys.read(columns.start * d_head..columns.end * d_head)?;
        let lse = factored.lse.read(rows)?;
        let nothing = || Cow::Borrowed(&[][..]);
        let held = Held::Factored { factored, queries: nothing(), keys: nothing(), lse: Cow::Borrowed(&[]) };
        let map = AttentionMap::holding(layer, item, tokens, head, held)?;
        let mut weights = vec![0.0; queries.len() * keys.len()]; // [queries, keys]
        for (at, (query, row)) in queries.zip(weights.chunks_mut(keys.len().max(1))).enumerate() {
            let q = &read_queries[at * d_head..][..d_head];
            map.fill_factored(factored, (query, q, lse[at]), keys.clone(), (keys.start, &read_keys), row);
        }
        map.weigh_values(keys, &mut weights);
        Ok(weights)
    }

    /// The kind of attention.
    pub fn kind(&self) -> Kind {
        self.layer.kind
    }

    /// What the numbers are; the words below say weights, and mean these.
    pub fn quantity(&self) -> Quantity {
        self.layer.quantity
    }

    /// Which head this is.
    pub fn id(&self) -> HeadId {
        HeadId { layer: self.layer.index, head: self.head }
    }

    /// Rows, padding included.
    pub fn n_queries(&self) -> usize {
        self.shape().n_queries
    }

    /// Columns, padding included.
    pub fn n_keys(&self) -> usize {
        self.shape().n_keys
    }

    /// The tokens along the rows.
    pub fn query_tokens(&self) -> &'a Tokens {
        self.layer.query_tokens(self.tokens)
    }

    /// The tokens along the columns.
    pub fn key_tokens(&self) -> &'a Tokens {
        self.layer.key_tokens(self.tokens)
    }

    /// The text that the map is of, with the tokens of all its axes.
    pub fn item(&self) -> &'a Item {
        self.tokens
    }

    /// From the first key that `query` may look at to the last, padding not considered; a mask may hide some between
    /// (see [`sees`](Self::sees)). For dense weights nothing is known: all keys.
    pub fn visible_keys(&self, query: usize) -> Range<usize> {
        let Some(factored) = self.layer.factored() else { return 0..self.n_keys() };
        let band = factored.scoring.visible_keys(query, self.n_keys());
        let Some(mask) = self.mask_row(factored, query) else { return band };
        let seen = mask.hull(self.n_keys());
        let start = band.start.max(seen.start);
        start..band.end.min(seen.end).max(start)
    }

    /// Whether `query` may look at `key`: band, mask and padding let it through. For dense weights padding alone is known.
    pub fn sees(&self, query: usize, key: usize) -> bool {
        let in_reach = self.layer.factored().is_none_or(|factored| {
            factored.scoring.visible_keys(query, self.n_keys()).contains(&key)
                && self.mask_row(factored, query).is_none_or(|mask| mask.sees(key))
        });
        in_reach && self.key_valid.as_ref().is_none_or(|valid| valid[key])
    }

    /// Whether [`sees`](Self::sees) says more than [`visible_keys`](Self::visible_keys) and the tokens.
    pub(crate) fn is_masked(&self) -> bool {
        self.layer.factored().is_some_and(|factored| factored.mask.is_some())
    }

    fn mask_row<'b>(&self, factored: &'b Factored, query: usize) -> Option<MaskRow<'b>> {
        factored.mask.as_ref().map(|mask| mask.of_item(self.item, self.shape()).row(self.head, query))
    }

    /// Each key's bias, where the layer has one. Shape `[n_keys]`.
    fn key_bias<'b>(&self, factored: &'b Factored) -> Option<&'b [f32]> {
        let Shape { n_heads, n_keys, .. } = *self.shape();
        factored.key_bias.as_ref().map(|bias| {
            let item = if bias.len() == n_heads * n_keys { 0 } else { self.item };
            &bias[(item * n_heads + self.head) * n_keys..][..n_keys]
        })
    }

    /// The position of query 0 among the keys: 0 when both start together.
    pub fn query_offset(&self) -> usize {
        self.layer.first_position()
    }

    fn shape(&self) -> &Shape {
        &self.layer.shape
    }

    /// Multiplies weights of `keys` by the lengths of their values, where that is what the map is of.
    /// Shape of `numbers`: `[any, keys.len()]`.
    fn weigh_values(&self, keys: Range<usize>, numbers: &mut [f32]) {
        if let Some(norms) = self.value_norms.as_ref().filter(|_| !keys.is_empty()) {
            for row in numbers.chunks_exact_mut(keys.len()) {
                row.iter_mut().zip(&norms[keys.clone()]).for_each(|(number, norm)| *number *= norm);
            }
        }
    }

    /// The weights of one query over all keys. Shape `[n_keys]`, in 0 ..= 1; sums to 1 − [sink mass](Self::sink_mass).
    ///
    /// # Panics
    /// When `query` is not below [`n_queries`](Self::n_queries).
    pub fn row(&self, query: usize) -> Vec<f32> {
        self.tile(query..query + 1, 0..self.n_keys())
    }

    /// The weights that all queries give one key. Shape `[n_queries]`.
    ///
    /// # Panics
    /// When `key` is not below [`n_keys`](Self::n_keys).
    pub fn column(&self, key: usize) -> Vec<f32> {
        match &self.held {
            Held::Factored { factored, queries, keys, lse } if key < self.n_keys() => {
                let d_head = self.shape().d_head;
                let mut column = self.factored_column(factored, key, queries, &keys[key * d_head..][..d_head], lse);
                self.weigh_values(key..key + 1, &mut column);
                column
            }
            _ => self.tile(0..self.n_queries(), key..key + 1),
        }
    }

    /// A column as rows are computed, but all that one key needs is looked up once.
    fn factored_column(&self, factored: &Factored, key: usize, queries: &[f32], k: &[f32], lse: &[f64]) -> Vec<f32> {
        let Shape { n_queries, d_head, .. } = *self.shape();
        let mut column = vec![0.0; n_queries]; // [n_queries]
        if self.key_valid.as_ref().is_some_and(|valid| !valid[key]) {
            return column;
        }
        let bias = self.key_bias(factored).map_or(0.0, |bias| f64::from(bias[key]));
        for (query, weight) in column.iter_mut().enumerate() {
            if lse[query] == f64::NEG_INFINITY || !factored.scoring.visible_keys(query, self.n_keys()).contains(&key) {
                continue;
            }
            if self.mask_row(factored, query).is_none_or(|mask| mask.sees(key)) {
                let dot = dot(&queries[query * d_head..][..d_head], k);
                *weight = (factored.scoring.score(self.head, query, key, dot) + bias - lse[query]).exp() as f32;
            }
        }
        column
    }

    /// The whole map. Shape `[n_queries, n_keys]`.
    pub fn dense(&self) -> Vec<f32> {
        self.tile(0..self.n_queries(), 0..self.n_keys())
    }

    /// The weights of some queries over some keys. Shape `[queries.len(), keys.len()]`.
    ///
    /// # Panics
    /// When a range reaches outside the map.
    pub fn tile(&self, queries: Range<usize>, keys: Range<usize>) -> Vec<f32> {
        assert!(queries.end <= self.n_queries() && keys.end <= self.n_keys(), "the tile reaches outside the map");
        if queries.len() >= BLOCKED_FROM
            && keys.len() >= BLOCKED_FROM
            && let Some(recorded) = self.recorded()
        {
            let mut tile = recorded.tile(queries, keys.clone());
            self.weigh_values(keys, &mut tile);
            return tile;
        }
        let mut tile = vec![0.0; queries.len() * keys.len()]; // [queries, keys]
        for (query, row) in queries.zip(tile.chunks_mut(keys.len().max(1))) {
            self.fill_row(query, keys.clone(), row);
        }
        tile
    }

    /// The weights of some queries, in rising order, over `keys`. Shape `[queries.len(), keys.len()]`.
    ///
    /// # Panics
    /// When a query or a key is outside the map.
    pub fn rows(&self, queries: &[usize], keys: Range<usize>) -> Vec<f32> {
        match queries {
            // neighbours: the blocked kernel
            [first, .., last] if last - first + 1 == queries.len() => self.tile(*first..last + 1, keys),
            _ if queries.len() >= BLOCKED_FROM
                && keys.len() >= BLOCKED_FROM
                && let Some(recorded) = self.recorded() =>
            {
                let mut rows = recorded.rows(queries, keys.clone());
                self.weigh_values(keys, &mut rows);
                rows
            }
            _ => {
                let mut weights = vec![0.0; queries.len() * keys.len()]; // [queries, keys]
                for (&query, row) in queries.iter().zip(weights.chunks_mut(keys.len().max(1))) {
                    self.fill_row(query, keys.clone(), row);
                }
                weights
            }
        }
    }

    /// The weights of `query` over `keys`, written to `row`. Shape `[keys.len()]`.
    ///
    /// # Panics
    /// When the query or a key is outside the map, or `row` has another length than `keys`.
    pub fn fill_row(&self, query: usize, keys: Range<usize>, row: &mut [f32]) {
        let shape = self.shape();
        assert!(query < shape.n_queries && keys.end <= shape.n_keys && row.len() == keys.len());
        match &self.held {
            Held::Dense { rows, numbers } => {
                assert!(rows.contains(&query), "the row was read");
                row.copy_from_slice(&numbers[(query - rows.start) * shape.n_keys..][keys.clone()]);
            }
            Held::Factored { factored, queries, keys: all_keys, lse } => {
                let q = &queries[query * shape.d_head..][..shape.d_head];
                self.fill_factored(factored, (query, q, lse[query]), keys.clone(), (0, all_keys), row);
            }
        }
        self.weigh_values(keys, row);
    }

    fn fill_factored(
        &self,
        factored: &Factored,
        (query, q, lse): (usize, &[f32], f64),
        keys: Range<usize>,
        (first_key, held_keys): (usize, &[f32]),
        row: &mut [f32],
    ) {
        let shape = self.shape();
        let seen = factored.scoring.visible_keys(query, shape.n_keys);
        let seen = seen.start.max(keys.start)..seen.end.min(keys.end);
        row.fill(0.0);
        if lse == f64::NEG_INFINITY || seen.is_empty() {
            return;
        }
        let seen_keys = &held_keys[(seen.start - first_key) * shape.d_head..(seen.end - first_key) * shape.d_head];
        let (mask, key_bias) = (self.mask_row(factored, query), self.key_bias(factored));
        for (key, k) in seen.zip(seen_keys.chunks_exact(shape.d_head)) {
            let is_valid = self.key_valid.as_ref().is_none_or(|valid| valid[key]);
            if is_valid && mask.is_none_or(|mask| mask.sees(key)) {
                let score = factored.scoring.score(self.head, query, key, dot(q, k));
                let score = score + key_bias.map_or(0.0, |bias| f64::from(bias[key]));
                row[key - keys.start] = (score - lse).exp() as f32;
            }
        }
    }

    /// Each row's log-sum-exp, where the weights are made of queries and keys. Shape `[n_queries]`.
    pub(crate) fn lse(&self) -> Option<&[f64]> {
        match &self.held {
            Held::Factored { lse, .. } => Some(lse),
            Held::Dense { .. } => None,
        }
    }

    /// The weight that a learned sink takes from `query`'s row, in 0 ..= 1; 0 where the model has no sink, and 1 where
    /// the row sees no key.
    pub fn sink_mass(&self, query: usize) -> f32 {
        let Held::Factored { factored, lse, .. } = &self.held else { return 0.0 };
        let Some(sinks) = &factored.scoring.sinks else { return 0.0 };
        match lse[query] {
            f64::NEG_INFINITY => 1.0,
            lse => (f64::from(sinks[self.head]) - lse).exp() as f32,
        }
    }

    /// An overview in `pooling` tiles: maximum, sum and arg-max of each.
    pub fn pooled(&self, pooling: Pooling) -> Pooled {
        let (n_queries, n_keys) = (self.n_queries(), self.n_keys());
        let is_fine = pooling.is_fine(n_keys);
        if let Some(recorded) =
            self.recorded().filter(|recorded| !is_fine && !recorded.needs_f64 && self.value_norms.is_none())
        {
            return recorded.pooled(pooling);
        }
        Pooled::of_weights(pooling, (n_queries, n_keys), |queries| self.tile(queries, 0..n_keys))
    }

    /// The exact log-sum-exps of some rows, computed again in f64; none for dense weights. Shape `[queries.len()]`.
    pub(crate) fn log_sum_exp(&self, queries: &[usize]) -> Vec<f64> {
        self.recorded().map_or(Vec::new(), |recorded| recorded.log_sum_exp(queries))
    }

    /// What the blocked kernel needs to compute weights; `None` for dense ones.
    fn recorded(&self) -> Option<Recorded<'_>> {
        let Held::Factored { factored, queries, keys, lse } = &self.held else { return None };
        Some(Recorded {
            head: self.head,
            scoring: &factored.scoring,
            queries,
            keys,
            d_head: self.shape().d_head,
            lse,
            key_valid: self.key_valid.as_deref(),
            mask: factored.mask.as_ref().map(|mask| mask.of_item(self.item, self.shape())),
            key_bias: self.key_bias(factored),
            n_keys: self.n_keys(),
            // padding is looked at apart only where it may matter
            needs_f64: *self
                .needs_f64
                .get_or_init(|| needs_f64(lse) && needs_f64(&self.query_tokens().without_padding(lse))),
        })
    }
}

/// The lengths that weights of the map are multiplied by: of a layer of norms that keeps them beside weights.
fn value_norms(layer: &Layer, item: usize, head: usize) -> Result<Option<Cow<'_, [f32]>>, Error> {
    let Shape { n_heads, n_keys, .. } = layer.shape;
    let kept = layer.traces.get(Trace::ValueNorms).filter(|_| layer.quantity == Quantity::Norm);
    let start = (item * n_heads + head) * n_keys;
    kept.map(|norms| norms.read(start..start + n_keys)).transpose()
}

/// The dot product, summed in f64 so that a single row is as exact as its log-sum-exp.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    sums.iter().sum::<f64>() + rest
}
