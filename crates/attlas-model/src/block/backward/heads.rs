//! Back through attention itself: from what heads give to queries, keys and values, a few rows of a map at a time.

use std::ops::Range;

use attlas::Bias;
use attlas::attention::{Inputs, reference};
use attlas_kernels::{Matrix, Onto, Slope, Threads, multiply};

use super::Rules;
use crate::block::edits::{Origins, Row};
use crate::block::maps::{Maps, Part};

/// What goes back to one key–value head of an item and to the query heads that read it.
#[derive(Debug, Default)]
pub(super) struct GroupGradients {
    /// Shape `[group, n_queries, d_head]`.
    pub queries: Vec<f32>,
    /// Shape `[n_keys, d_head]`.
    pub keys: Vec<f32>,
    /// Shape `[n_keys, d_value]`.
    pub values: Vec<f32>,
    /// Of the weights; empty unless it is kept. Shape `[group, n_queries, n_keys]`.
    pub weights: Vec<f32>,
    /// Of the scores; empty unless it is kept. Shape `[group, n_queries, n_keys]`.
    pub scores: Vec<f32>,
    /// Of the table of relative positions; empty unless it is summed. Shape `[group, n_offsets]`.
    pub relative: Vec<f64>,
    /// Of the sinks; empty unless it is summed. Shape `[group]`.
    pub sinks: Vec<f64>,
}

impl GroupGradients {
    /// Whose gradients are not finite: one of the group's query heads, or all, where it is those of their common keys or values.
    pub fn not_finite(&self, group_size: usize) -> Option<Range<usize>> {
        let is_bad = |numbers: &[f32]| numbers.iter().any(|number| !number.is_finite());
        let n = (self.queries.len() / group_size).max(1);
        let member = self.queries.chunks_exact(n).position(is_bad).map(|member| member..member + 1);
        member.or_else(|| (is_bad(&self.keys) || is_bad(&self.values)).then_some(0..group_size))
    }
}

/// One key–value head of an item, and what comes back from the heads that read it.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    /// The item's maps.
    pub maps: Maps<'a>,
    /// The key–value head.
    pub kv_head: usize,
    /// The gradient of what heads give. Shape `[n_queries, n_heads, d_value]`.
    pub d_context: &'a [f32],
    pub rules: Rules,
    /// Whether gradients of weights and of scores are kept.
    pub keeps: [bool; 2],
    /// Whether those of the table of relative positions and of the sinks are summed.
    pub sums: bool,
}

/// Numbers of one row, in memory that is used again. Shapes `[n_keys]`.
#[derive(Default)]
struct Scratch {
    weights: Vec<f64>,
    d_weights: Vec<f64>,
}

impl Group<'_> {
    /// Goes back through all heads of the group.
    pub fn go_back(self) -> GroupGradients {
        let Inputs { shape, scoring, .. } = self.maps.inputs;
        let group = shape.n_heads / shape.n_kv_heads;
        let n_offsets = if let Bias::Relative { n_offsets, .. } = scoring.bias { Some(n_offsets) } else { None };
        let n_dense = |keeps: bool| if keeps { group * shape.n_queries * shape.n_keys } else { 0 };
        let mut gradients = GroupGradients {
            queries: vec![0.0; group * shape.n_queries * shape.d_head],
            keys: vec![0.0; shape.n_keys * shape.d_head],
            values: vec![0.0; shape.n_keys * shape.d_value],
            weights: vec![0.0; n_dense(self.keeps[0])],
            scores: vec![0.0; n_dense(self.keeps[1])],
            relative: vec![0.0; group * n_offsets.filter(|_| self.sums).unwrap_or(0)],
            sinks: vec![0.0; if self.sums && scoring.sinks.is_some() { group } else { 0 }],
        };
        let all_keys = self.keeps[0] || !self.maps.edits.is_empty();
        let mut scratch = Scratch::default();
        for member in 0..group {
            for part in self.maps.parts(self.kv_head * group + member, all_keys) {
                self.part_back(&part, &mut gradients, &mut scratch);
            }
        }
        gradients
    }

    fn part_back(self, part: &Part, gradients: &mut GroupGradients, scratch: &mut Scratch) {
        let maps = self.maps;
        let shape = maps.inputs.shape;
        let member = self.member(part);
        let (n, n_keys) = (part.queries.len(), part.keys.len());
        let (d_head, d_value) = (shape.d_head, shape.d_value);
        // 1. what comes back
        let d_outputs: Vec<f32> =
            part.queries.clone().flat_map(|query| self.d_output(part.head, query)).copied().collect(); // [n, d_value]
        if n_keys == 0 || d_outputs.iter().all(|d| *d == 0.0) {
            return;
        }
        let d_outputs = Matrix::new(&d_outputs, n, d_value);
        // 2. dot products, which become weights, and gradients of weights, which become those of dot products
        let mut weights = maps.kept(part).map_or_else(|| maps.dots(part), <[f32]>::to_vec); // [n, n_keys]
        let mut d_dots = vec![0.0; n * n_keys]; // [n, n_keys]
        multiply(d_outputs, maps.values(part).transposed(), Onto::Replace, Threads::One, &mut d_dots);
        maps.dropout.apply_from(part.first, &mut d_dots);
        for (query, (weights, d_dots)) in
            part.queries.clone().zip(weights.chunks_exact_mut(n_keys).zip(d_dots.chunks_exact_mut(n_keys)))
        {
            if self.keeps[0] {
                let place = (member * shape.n_queries + query) * shape.n_keys + part.keys.start;
                gradients.weights[place..][..n_keys].copy_from_slice(d_dots);
            }
            self.row_back(part, query, weights, d_dots, gradients, scratch);
        }
        maps.dropout.apply_from(part.first, &mut weights);
        // 3. queries, keys and values
        let (weights, d_dots) = (Matrix::new(&weights, n, n_keys), Matrix::new(&d_dots, n, n_keys));
        let d_queries =
            &mut gradients.queries[(member * shape.n_queries + part.queries.start) * d_head..][..n * d_head];
        multiply(d_dots, maps.keys(part), Onto::Replace, Threads::One, d_queries);
        let d_keys = &mut gradients.keys[part.keys.start * d_head..][..n_keys * d_head];
        multiply(d_dots.transposed(), maps.queries(part), Onto::Add, Threads::One, d_keys);
        let d_values = &mut gradients.values[part.keys.start * d_value..][..n_keys * d_value];
        multiply(weights.transposed(), d_outputs, Onto::Add, Threads::One, d_values);
    }

    /// Which of the group's query heads a part is of.
    fn member(&self, part: &Part) -> usize {
        let shape = self.maps.inputs.shape;
        part.head % (shape.n_heads / shape.n_kv_heads)
    }

    /// What comes back from one head at one query. Shape `[d_value]`.
    fn d_output(&self, head: usize, query: usize) -> &[f32] {
        let shape = self.maps.inputs.shape;
        &self.d_context[(query * shape.n_heads + head) * shape.d_value..][..shape.d_value]
    }

    /// One row: `weights` holds dot products before (kept weights where there are any) and weights, times the rule's factor, after; `d_dots` holds the gradients
    /// of the weights before, of the dot products after. `∂S/∂score_k = w_k · (∂S/∂w_k − Σ_j w_j ∂S/∂w_j)`. Shapes `[n_keys]`.
    fn row_back(
        &self,
        part: &Part,
        query: usize,
        weights: &mut [f32],
        d_dots: &mut [f32],
        gradients: &mut GroupGradients,
        scratch: &mut Scratch,
    ) {
        let scoring = self.maps.inputs.scoring;
        let Scratch { weights: row, d_weights: d_row } = scratch;
        // 1. weights as they come from scores, and as they are used
        let is_kept = self.maps.kept(part).is_some();
        if is_kept {
            row.clear();
            row.extend(weights.iter().map(|weight| f64::from(*weight)));
        } else {
            self.maps.scores(part, query, weights, row);
        }
        let sink = self.maps.sink(part.head);
        let place = Row { text: self.maps.text, head: part.head, query };
        let origins = if self.maps.edits.touch(place) { self.maps.edits.origins(place, row) } else { Origins::Own };
        let used = (origins != Origins::Own).then(|| {
            let mut used = row.clone();
            self.maps.edits.weigh(place, sink, &mut used);
            used
        });
        let lse = if is_kept { f64::NEG_INFINITY } else { reference::log_sum_exp(row, sink) };
        if !is_kept {
            reference::weigh(row, lse);
        }
        // 2. gradients of scores
        origins.d_weights(d_dots, d_row);
        let mean: f64 = row.iter().zip(&*d_row).map(|(weight, d)| weight * d).sum();
        d_row.iter_mut().zip(&*row).for_each(|(d, weight)| *d = weight * (*d - mean));
        if let Some(sum) = gradients.sinks.get_mut(self.member(part)) {
            let of_sink = 1.0 - row.iter().sum::<f64>(); // nothing comes back from where this weight goes
            *sum -= of_sink * mean;
        }
        self.keep_scores(part, query, d_row, gradients);
        // 3. gradients of dot products
        let slope = |dot: f32| match self.rules.slope() {
            Slope::Derivative => scoring.slope(f64::from(dot)),
            Slope::Share => scoring.share(f64::from(dot)),
        };
        let [of_queries_and_keys, of_values] = self.rules.of_attention().map(f64::from);
        let used = used.as_ref().unwrap_or(row);
        for (((slot, weight), d), used) in d_dots.iter_mut().zip(weights).zip(&*d_row).zip(used) {
            *slot = if *d == 0.0 { 0.0 } else { (d * slope(*weight) * of_queries_and_keys) as f32 };
            *weight = (used * of_values) as f32;
        }
    }

    /// Keeps the gradients of a row's scores, and adds them to those of the table of relative positions. Shape `[n_keys]`.
    fn keep_scores(&self, part: &Part, query: usize, d_scores: &[f64], gradients: &mut GroupGradients) {
        let Inputs { shape, scoring, .. } = self.maps.inputs;
        let member = self.member(part);
        if self.keeps[1] {
            let place = (member * shape.n_queries + query) * shape.n_keys + part.keys.start;
            let slots = &mut gradients.scores[place..][..d_scores.len()];
            slots.iter_mut().zip(d_scores).for_each(|(slot, d)| *slot = *d as f32);
        }
        if !gradients.relative.is_empty() {
            let position = (query - part.origin[0] + scoring.query_offset) as i64;
            for (key, d) in (part.keys.start - part.origin[1]..).zip(d_scores) {
                if let Some(place) = scoring.bias.place(member, key as i64 - position) {
                    gradients.relative[place] += d;
                }
            }
        }
    }
}

impl Origins {
    /// The gradients of the weights as they come from scores, from those of the weights that are used. Shapes `[n_keys]`.
    fn d_weights(&self, d_used: &[f32], d_weights: &mut Vec<f64>) {
        d_weights.clear();
        d_weights.resize(d_used.len(), 0.0);
        match self {
            Origins::Own => d_weights.iter_mut().zip(d_used).for_each(|(slot, d)| *slot = f64::from(*d)),
            Origins::Given => {}
            Origins::Dealt(places) => {
                places.iter().zip(d_used).for_each(|(place, d)| d_weights[*place] = f64::from(*d));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use attlas::attention::Shape;
    use attlas::recording::{Edit, Heads, NewWeights, Which};
    use attlas::{Kind, Scoring, Visibility};

    use super::*;
    use crate::block::backward::differences::{self, numbers, widened};
    use crate::block::dropout::Dropout;
    use crate::block::edits::WeightEdits;
    use crate::block::pass::{Array, Pass, Plan, Purpose};

    /// One item with its numbers.
    #[derive(Clone)]
    struct Case {
        shape: Shape,
        scoring: Scoring,
        key_valid: Option<Vec<bool>>,
        key_bias: Option<Vec<f32>>,
        edits: Vec<Edit<Array>>,
        /// Queries, keys, values and what comes back from the heads.
        arrays: [Vec<f32>; 4],
    }

    impl Case {
        fn new([n_heads, n_kv_heads, n_queries, n_keys]: [usize; 4], visibility: Visibility) -> Case {
            let (d_head, d_value) = (3, 2);
            let shape = Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, d_value };
            let sizes = [n_heads * n_queries * d_head, n_kv_heads * n_keys * d_head, n_kv_heads * n_keys * d_value];
            let [queries, keys, values] = [0, 1, 2].map(|part| numbers(sizes[part], part + 1));
            Case {
                shape,
                scoring: Scoring::scaled_dot_product(d_head, visibility),
                key_valid: None,
                key_bias: None,
                edits: Vec::new(),
                arrays: [queries, keys, values, numbers(n_queries * n_heads * d_value, 4)],
            }
        }

        /// Queries, keys, values, the table of relative positions and the sinks, in f64; empty where there are none.
        fn numbers(&self) -> [Vec<f64>; 5] {
            let table = if let Bias::Relative { table, .. } = &self.scoring.bias { table.as_slice() } else { &[] };
            let sinks = self.scoring.sinks.as_deref().unwrap_or_default();
            let [queries, keys, values, _] = &self.arrays;
            [queries, keys, values, table, sinks].map(widened)
        }

        /// `Σ context · d_context`, in f64, from [`numbers`](Case::numbers).
        fn score(&self, edits: &WeightEdits<'_>, [queries, keys, values, table, sinks]: &[Vec<f64>; 5]) -> f64 {
            let Shape { n_heads, n_queries, n_keys, d_head, d_value, .. } = self.shape;
            let scoring = &self.scoring;
            let mut sum = 0.0;
            for (head, query) in (0..n_heads).flat_map(|head| (0..n_queries).map(move |query| (head, query))) {
                let kv_head = self.shape.kv_head(head);
                let visible = scoring.visible_keys(query, n_keys);
                let q = &queries[(head * n_queries + query) * d_head..][..d_head];
                let score = |key: usize| {
                    let k = &keys[(kv_head * n_keys + key) * d_head..][..d_head];
                    let of_key = self.key_bias.as_ref().map_or(0.0, |bias| f64::from(bias[head * n_keys + key]));
                    let of_offset =
                        scoring.bias.place(head, key as i64 - query as i64).map_or(0.0, |place| table[place]);
                    let is_seen = visible.contains(&key) && self.key_valid.as_ref().is_none_or(|valid| valid[key]);
                    let dot = q.iter().zip(k).map(|(q, k)| q * k).sum();
                    if is_seen { scoring.capped(dot) + of_offset + of_key } else { f64::NEG_INFINITY }
                };
                let mut weights: Vec<f64> = (0..n_keys).map(score).collect();
                let sink = sinks.get(head).copied().unwrap_or(f64::NEG_INFINITY);
                edits.weigh(Row { text: 0, head, query }, sink, &mut weights);
                let d_output = &self.arrays[3][(query * n_heads + head) * d_value..][..d_value];
                for (key, weight) in weights.iter().enumerate() {
                    let v = &values[(kv_head * n_keys + key) * d_value..][..d_value];
                    sum += weight * v.iter().zip(d_output).map(|(v, d)| v * f64::from(*d)).sum::<f64>();
                }
            }
            sum
        }

        /// Compares what goes back with central differences, at about `n` places of each array.
        fn check(&self, n: usize, what: &str) {
            let pass = Pass { keep: Vec::new(), edits: self.edits.clone() };
            let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
            let edits = plan.weight_edits(Kind::Encoder, 0);
            let [queries, keys, values, d_context] = &self.arrays;
            let key_bias = self.key_bias.as_deref();
            let (shape, scoring, key_valid) = (self.shape, &self.scoring, self.key_valid.as_deref());
            let inputs = Inputs { queries, keys, values, shape, scoring, key_valid, mask: None, key_bias };
            let group = |kv_head: usize, keeps: [bool; 2], sums: bool| {
                let maps = Maps {
                    inputs,
                    added: None,
                    text: 0,
                    edits: &edits,
                    dropout: Dropout::OFF,
                    packing: None,
                    weights: &[],
                };
                Group { maps, kv_head, d_context, rules: Rules::Gradient, keeps, sums }.go_back()
            };
            let groups: Vec<GroupGradients> =
                (0..shape.n_kv_heads).map(|kv_head| group(kv_head, [false; 2], true)).collect();
            let joined = |part: fn(&GroupGradients) -> &Vec<f32>| -> Vec<f64> {
                groups.iter().flat_map(|group| widened(part(group))).collect()
            };
            let found = [
                joined(|group| &group.queries),
                joined(|group| &group.keys),
                joined(|group| &group.values),
                groups.iter().flat_map(|group| &group.relative).copied().collect(),
                groups.iter().flat_map(|group| &group.sinks).copied().collect(),
            ];
            differences::check(what, n, found, &self.numbers(), |at| self.score(&edits, at));
            // dense gradients are kept without changing the others
            let kept = group(0, [true; 2], false);
            assert_eq!((&kept.queries, &kept.values), (&groups[0].queries, &groups[0].values), "{what}");
            assert!(kept.relative.is_empty() && kept.sinks.is_empty(), "{what}");
            assert!(kept.weights.len() == kept.scores.len() && !kept.weights.is_empty(), "{what}");
        }
    }

    #[test]
    fn grouped_heads_go_back_as_central_differences_in_f64_do_with_cap_sink_and_bias() {
        let case = Case::new([4, 2, 5, 5], Visibility::CAUSAL);
        case.check(100, "causal");
        let table = numbers(4 * 3, 7);
        let bias = Bias::Relative { first: -2, table, n_offsets: 3 };
        let scoring = Scoring { softcap: Some(0.7), sinks: Some(numbers(4, 5)), bias, ..case.scoring.clone() };
        Case { scoring, ..case }.check(100, "cap, sink and bias");
    }

    #[test]
    fn keys_that_several_heads_read_are_blamed_on_all_of_them() {
        let gradients = |queries: [f32; 4], keys: f32, values: f32| GroupGradients {
            queries: queries.to_vec(),
            keys: vec![keys],
            values: vec![0.0, values],
            ..GroupGradients::default()
        };
        assert_eq!(gradients([0.0; 4], 1.0, 2.0).not_finite(2), None);
        assert_eq!(gradients([0.0, 0.0, f32::NAN, 0.0], f32::NAN, 0.0).not_finite(2), Some(1..2));
        assert_eq!(gradients([0.0; 4], f32::INFINITY, 0.0).not_finite(2), Some(0..2));
        assert_eq!(gradients([0.0; 4], 0.0, f32::NAN).not_finite(4), Some(0..4));
    }

    #[test]
    fn by_rules_dot_products_that_are_cut_have_the_relevance_of_their_scores() {
        let case = Case::new([1, 1, 5, 5], Visibility::CAUSAL);
        let scoring = Scoring { softcap: Some(0.3), ..case.scoring.clone() };
        let [queries, keys, values, d_context] = &case.arrays;
        let shape = case.shape;
        let inputs =
            Inputs { queries, keys, values, shape, scoring: &scoring, key_valid: None, mask: None, key_bias: None };
        let pass = Pass::default();
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let edits = plan.weight_edits(Kind::Encoder, 0);
        let (rules, keeps) = (Rules::AttnLrp, [false, true]);
        let maps =
            Maps { inputs, added: None, text: 0, edits: &edits, dropout: Dropout::OFF, packing: None, weights: &[] };
        let found = Group { maps, kv_head: 0, d_context, rules, keeps, sums: false }.go_back();
        let product = |x: &[f32], d: &[f32]| x.iter().zip(d).map(|(x, d)| f64::from(*x) * f64::from(*d)).sum::<f64>();
        let dot = |query: usize, key: usize| product(&queries[query * 3..][..3], &keys[key * 3..][..3]);
        let of_scores: f64 = (0..5)
            .flat_map(|query| (0..=query).map(move |key| (query, key)))
            .map(|(query, key)| {
                f64::from(found.scores[query * 5 + key]) * scoring.score(0, query, key, dot(query, key))
            })
            .sum();
        let of_sides = product(queries, &found.queries) + product(keys, &found.keys);
        assert!(of_scores.abs() > 0.01 && (of_sides - 0.5 * of_scores).abs() < 1e-6, "{of_sides} {of_scores}");
    }

    #[test]
    fn more_rows_than_are_computed_together_go_back_with_padding_windows_and_a_bias_of_each_key() {
        let case = Case::new([2, 1, 70, 70], Visibility { before: Some(9), after: Some(2) });
        let bias = Bias::Relative { first: -4, table: numbers(2 * 6, 7), n_offsets: 6 };
        let scoring = Scoring { bias, sinks: Some(numbers(2, 5)), ..case.scoring.clone() };
        Case { scoring, ..case }.check(12, "window");
        let case = Case::new([2, 2, 70, 67], Visibility::FULL);
        let key_valid = Some((0..67).map(|key| key % 5 != 3).collect());
        let key_bias = Some(numbers(2 * 67, 6));
        Case { key_valid, key_bias, ..case }.check(12, "padding");
        // queries that see no key
        Case::new([1, 1, 6, 4], Visibility { before: Some(1), after: Some(-1) }).check(30, "nothing seen");
    }

    #[test]
    fn nothing_goes_back_through_given_weights_and_dealt_ones_go_back_to_where_they_were() {
        let one = |head: usize| Heads { heads: Which::These(vec![head]), ..Heads::all(Kind::Encoder, 0) };
        let given = Array { shape: vec![1, 1, 2, 5], values: vec![0.1, 0.2, 0.3, 0.0, 0.0, 0.2, 0.2, 0.2, 0.2, 0.2] };
        let some = Heads { queries: Which::Range(1, 4), ..one(2) };
        let edits = vec![
            Edit::Edges { heads: one(0), keys: Which::These(vec![0, 3]) },
            Edit::Weights { heads: one(1), to: NewWeights::Uniform },
            Edit::Edges { heads: one(1), keys: Which::These(vec![1]) },
            Edit::Edges { heads: some.clone(), keys: Which::These(vec![2]) },
            Edit::Weights { heads: some, to: NewWeights::Permuted { seed: 3 } },
            Edit::Weights {
                heads: Heads { queries: Which::These(vec![0, 4]), ..one(3) },
                to: NewWeights::Given(given),
            },
        ];
        let case = Case::new([4, 2, 5, 5], Visibility { before: None, after: Some(1) });
        let bias = Bias::Relative { first: -1, table: numbers(4 * 3, 7), n_offsets: 3 };
        let scoring = Scoring { bias, sinks: Some(numbers(4, 5)), ..case.scoring.clone() };
        Case { edits: edits.clone(), scoring, ..case.clone() }.check(100, "edits, sinks and bias");
        Case { edits, ..case }.check(100, "edits");
    }
}
