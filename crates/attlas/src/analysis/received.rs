//! Where attention goes: what each key receives of all queries together, and what goes to spans of keys, to padding, to a
//! learned sink.

use std::ops::Range;

use super::{Keys, Row, Rows, Sample, Span, Sums};
use crate::grid::mean_rows;
use crate::{AttentionMap, Error, Kind, Layer, Recording};

/// Rows whose means over heads are computed at a time: at least so many, and more while they have so few weights.
const BAND_ROWS: usize = 16;
const BAND_WEIGHTS: usize = 1 << 16;

/// What is asked of a map.
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    /// The text of the batch, counted from 0.
    pub item: usize,
    /// Keys whose share is wanted together; they may overlap.
    pub spans: &'a [Span],
    /// The first so many of the spans are also given row by row.
    pub n_by_row: usize,
    /// Only these queries, by position: counted from 0, padding left out. All where nothing is said.
    pub queries: Option<Range<usize>>,
}

/// What the keys of a map receive; every row is read, none is sampled.
///
/// Of key `k` the share is `(1/n) Σ_q w(q,k)`, of keys `S` it is `(1/n) Σ_q Σ_{k ∈ S} w(q,k)`: a share of a query's weight, in
/// 0 ..= 1. The baseline of both is what looking at all visible keys alike gives, `(1/n) Σ_q |S ∩ visible(q)| / |visible(q)|`,
/// which under a causal mask is larger the earlier a key stands; of a mean over heads, the mean of theirs. Two means are to be
/// had: over all queries read ([`over_all`](Self::over_all)), where the shares of all keys, padding, the sink and nowhere add up
/// to 1, and over those that may see a key of it (the sums themselves).
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The kind of attention.
    pub kind: Kind,
    /// The layer's index in the model.
    pub layer: usize,
    /// The head; `None` for the mean over the layer's heads, which are averaged before anything is summed.
    pub head: Option<usize>,
    /// Rows that were read.
    pub n_rows: u64,
    /// Of each key that is not padding, in order: over the rows that may see it.
    pub keys: Vec<Sums>,
    /// Of each span that was asked for, in order: over the rows that may see a key of it.
    pub spans: Vec<Sums>,
    /// What each row that was read gives to a span, for the first spans. Shape `[n_by_row, n_rows]`.
    pub rows: Vec<Vec<f32>>,
    /// What padded keys hold, which should be nothing; `None` where the text has none.
    pub padding: Option<Sums>,
    /// What a learned sink takes; `None` where the layer has none.
    pub sink: Option<Sums>,
    /// What rows lack to a sum of 1: no key and no sink holds it; without a mean where a row is not finite. `None` where all sum
    /// to 1 as nearly as the recording's numbers can ([`Provenance::row_sum_tolerance`](crate::Provenance::row_sum_tolerance)).
    pub nowhere: Option<Sums>,
    /// What of the map fails its checks, in a sentence.
    pub problem: Option<String>,
}

impl Received {
    /// What the keys of one head receive, or of the mean over the heads of its layer.
    ///
    /// # Errors
    /// When head, text or queries do not exist, or the recording cannot be read.
    pub fn of(
        recording: &Recording,
        layer: &Layer,
        head: Option<usize>,
        question: &Question<'_>,
    ) -> Result<Received, Error> {
        let heads: Vec<usize> = head.map_or_else(|| (0..layer.shape.n_heads).collect(), |head| vec![head]);
        let maps = heads.iter().map(|head| recording.map_of(layer, question.item, *head));
        let maps: Vec<AttentionMap<'_>> = maps.collect::<Result<_, _>>()?;
        let [first, ..] = maps.as_slice() else {
            return Err(Error::Inconsistent(format!("{} layer {} has no head", layer.kind, layer.index)));
        };
        let mut reader = Reader::new(first, question);
        let rows = Rows::of(first);
        let queries = queries_read(&rows, first, question.queries.as_ref())?;
        let mut band = Band::new(&maps);
        let mut place = 0;
        rows.for_each(|row| {
            if queries.contains(&place) {
                let sink = band.sink(row.query);
                let alike = band.alike(row);
                let mut mean = row.clone();
                mean.weights = band.row(row);
                reader.add(&mean, question.spans, &alike, sink);
            }
            place += 1;
        });
        let problem = recording.check_maps(layer, question.item..question.item + 1, &heads)?.problem();
        let tolerance = f64::from(recording.provenance.row_sum_tolerance());
        let head = if let [head] = heads.as_slice() { Some(*head) } else { None };
        Ok(Received { kind: layer.kind, layer: layer.index, head, problem, ..reader.finish(tolerance) })
    }

    /// A share over all rows that were read: those that may not see it give it 0.
    pub fn over_all(&self, of_seeing: &Sums) -> Sums {
        Sums { n: self.n_rows - of_seeing.n_not_finite.min(self.n_rows), ..*of_seeing }
    }
}

/// Which of the rows are read.
fn queries_read(rows: &Rows<'_>, map: &AttentionMap<'_>, asked: Option<&Range<usize>>) -> Result<Range<usize>, Error> {
    let n = rows.n_rows();
    match asked {
        None => Ok(0..n),
        Some(range) if range.start < range.end && range.end <= n => Ok(range.clone()),
        Some(range) => Err(Error::OutsideMap { axis: "rows", range: range.clone(), kind: map.kind(), n }),
    }
}

/// The rows of several heads of a layer, averaged, some at a time.
struct Band<'a> {
    maps: &'a [AttentionMap<'a>],
    held: Range<usize>,
    /// Shape `[held.len(), n_keys]`.
    weights: Vec<f32>,
}

impl<'a> Band<'a> {
    fn new(maps: &'a [AttentionMap<'a>]) -> Band<'a> {
        Band { maps, held: 0..0, weights: Vec::new() }
    }

    /// The row's weights, in the mean over the heads. Shape `[n_keys]`.
    fn row<'b>(&'b mut self, row: &'b Row<'_>) -> &'b [f32] {
        let [first, _, ..] = self.maps else { return row.weights };
        let (n_queries, n_keys) = (first.n_queries(), first.n_keys());
        if !self.held.contains(&row.query) {
            let n_rows = (BAND_WEIGHTS / n_keys.max(1)).max(BAND_ROWS);
            self.held = row.query..row.query.saturating_add(n_rows).min(n_queries);
            self.weights = mean_rows(self.maps, self.held.clone());
        }
        &self.weights[(row.query - self.held.start) * n_keys..][..n_keys]
    }

    /// What looking at all visible keys alike gives to each, in the mean over the heads, whose masks may differ. Shape `[n_keys]`.
    fn alike(&self, row: &Row<'_>) -> Vec<f64> {
        let mut shares = vec![0.0; row.weights.len()]; // [n_keys]
        if let [first, _, ..] = self.maps
            && first.is_masked()
        {
            for map in self.maps {
                let seen: Vec<usize> = map.visible_keys(row.query).filter(|key| map.sees(row.query, *key)).collect();
                let share = 1.0 / (seen.len() * self.maps.len()) as f64;
                seen.into_iter().for_each(|key| shares[key] += share);
            }
        } else {
            let share = 1.0 / row.n_visible().max(1) as f64;
            row.visible_keys().for_each(|key| shares[key] = share);
        }
        shares
    }

    /// What a learned sink takes of a query, in the mean over the heads.
    fn sink(&self, query: usize) -> f64 {
        self.maps.iter().map(|map| f64::from(map.sink_mass(query))).sum::<f64>() / self.maps.len() as f64
    }
}

/// What was read so far.
struct Reader {
    received: Received,
    /// The keys that are not padding, and those that are.
    all: Keys,
    padded: Keys,
    has_sink: bool,
    largest_lack: f64,
    nowhere: Sums,
    sink: Sums,
}

impl Reader {
    fn new(map: &AttentionMap<'_>, question: &Question<'_>) -> Reader {
        let n_keys = map.n_keys();
        let all = map.key_tokens().unpadded(n_keys);
        let is_valid = |key: usize| all.binary_search(&key).is_ok();
        let padded = Keys::new(n_keys, |key| !is_valid(key));
        let received = Received {
            kind: map.kind(),
            layer: map.id().layer,
            head: None,
            n_rows: 0,
            keys: vec![Sums::default(); all.len()],
            spans: vec![Sums::default(); question.spans.len()],
            rows: vec![Vec::new(); question.n_by_row.min(question.spans.len())],
            padding: (!padded.is_empty()).then(Sums::default),
            sink: None,
            nowhere: None,
            problem: None,
        };
        Reader {
            received,
            all: Keys::new(n_keys, is_valid),
            padded,
            has_sink: false,
            largest_lack: 0.0,
            nowhere: Sums::default(),
            sink: Sums::default(),
        }
    }

    /// Takes in a row; `alike` is what each key would get were all visible ones looked at alike, `sink` what a learned sink takes.
    fn add(&mut self, row: &Row<'_>, spans: &[Span], alike: &[f64], sink: f64) {
        let received = &mut self.received;
        received.n_rows += 1;
        let whole = 0..row.weights.len();
        for (&key, sums) in self.all.within(&whole).iter().zip(&mut received.keys) {
            let (score, baseline) = (f64::from(row.weights[key]), alike[key]);
            if baseline > 0.0 || score != 0.0 {
                sums.add(Sample { score, baseline });
            }
        }
        self.add_spans(row, spans, alike);
        let padding = mass(row, self.padded.within(&whole));
        if let Some(sums) = &mut self.received.padding {
            sums.add(Sample { score: padding, baseline: 0.0 });
        }
        let lack = 1.0 - mass(row, self.all.within(&whole)) - padding - sink;
        let lack = if lack.is_finite() { lack.max(0.0) } else { f64::NAN };
        self.has_sink |= sink != 0.0;
        self.largest_lack = self.largest_lack.max(lack);
        self.sink.add(Sample { score: sink, baseline: 0.0 });
        self.nowhere.add(Sample { score: lack, baseline: 0.0 });
    }

    /// Takes in what a row gives to the spans.
    fn add_spans(&mut self, row: &Row<'_>, spans: &[Span], alike: &[f64]) {
        let received = &mut self.received;
        for (place, (span, sums)) in spans.iter().zip(&mut received.spans).enumerate() {
            let keys = span.keys.within(&(0..row.weights.len()));
            let baseline: f64 = keys.iter().map(|key| alike[*key]).sum();
            let score = mass(row, keys);
            if baseline > 0.0 || score != 0.0 {
                sums.add(Sample { score, baseline });
            }
            received.rows.get_mut(place).into_iter().for_each(|rows| rows.push(score as f32));
        }
    }

    /// What was read, where rows sum to 1 within `tolerance`.
    fn finish(self, tolerance: f64) -> Received {
        // a row of which nobody knows what it lacks leaves its number in, which then says nothing
        let lacks = self.largest_lack > tolerance || self.nowhere.n_not_finite > 0;
        Received { sink: self.has_sink.then_some(self.sink), nowhere: lacks.then_some(self.nowhere), ..self.received }
    }
}

/// The weight on some keys together.
fn mass(row: &Row<'_>, keys: &[usize]) -> f64 {
    keys.iter().map(|key| f64::from(row.weights[*key])).sum()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::attention::Shape;
    use crate::recording::Factored;
    use crate::{Buffer, Mask, Recording, Scoring, Token, TokenRole, Visibility};

    /// What the first head of a recording's first layer receives.
    fn of(recording: &Recording, spans: &[Span]) -> Received {
        let question = Question { spans, ..Question::default() };
        Received::of(recording, &recording.layers[0], Some(0), &question).expect("the head exists")
    }

    fn mean(sums: &Sums) -> f64 {
        sums.mean().expect("there are rows")
    }

    fn near(found: &[f64], expected: &[f64]) {
        let is_near = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(is_near, "{found:?}, not {expected:?}");
    }

    const CAUSAL: [f32; 9] = [1.0, 0.0, 0.0, 0.4, 0.6, 0.0, 0.1, 0.2, 0.7];

    #[test]
    fn a_key_receives_the_mean_of_its_column_beside_what_uniform_attention_gives_it() {
        let recording = recording(Kind::Decoder, CAUSAL.to_vec(), 3, 3);
        let received = of(&recording, &[]);
        let all: Vec<Sums> = received.keys.iter().map(|sums| received.over_all(sums)).collect();
        near(&all.iter().map(mean).collect::<Vec<_>>(), &[0.5, 0.8 / 3.0, 0.7 / 3.0]);
        let baselines: Vec<f64> = all.iter().map(|sums| sums.mean_baseline().expect("rows")).collect();
        near(&baselines, &[(1.0 + 0.5 + 1.0 / 3.0) / 3.0, (0.5 + 1.0 / 3.0) / 3.0, 1.0 / 9.0]);
        // over the queries that may see it
        near(&received.keys.iter().map(mean).collect::<Vec<_>>(), &[0.5, 0.4, 0.7]);
        assert_eq!(received.keys.iter().map(|sums| sums.n).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!((received.n_rows, received.sink, received.nowhere, received.padding), (3, None, None, None));
    }

    #[test]
    fn the_interval_over_all_rows_counts_rows_that_do_not_see_a_key_as_0() {
        let received = of(&recording(Kind::Decoder, CAUSAL.to_vec(), 3, 3), &[]);
        let mut whole = Sums::default();
        [0.0, 0.6, 0.2].iter().for_each(|score| whole.add(Sample { score: f64::from(*score as f32), baseline: 0.0 }));
        assert_eq!(received.over_all(&received.keys[1]).interval(), whole.interval());
    }

    #[test]
    fn a_span_receives_what_its_keys_receive_together() {
        let recording = recording(Kind::Decoder, CAUSAL.to_vec(), 3, 3);
        let tokens = &recording.items[0].target;
        let span = |range| Span::of("a", range, tokens, 3).expect("it is inside");
        let spans = [span(0..2), span(1..3), span(0..3)];
        let question = Question { spans: &spans, n_by_row: 2, ..Question::default() };
        let received = Received::of(&recording, &recording.layers[0], Some(0), &question).expect("the head exists");
        assert_eq!(received.rows, [[1.0, 1.0, 0.3], [0.0, 0.6, 0.9]], "row by row");
        let all: Vec<f64> = received.spans.iter().map(|sums| mean(&received.over_all(sums))).collect();
        near(&all, &[2.3 / 3.0, 1.5 / 3.0, 1.0]);
        near(&[mean(&received.spans[1])], &[0.75]);
        let baseline = received.over_all(&received.spans[1]).mean_baseline().expect("rows");
        near(&[baseline], &[(0.0 + 0.5 + 2.0 / 3.0) / 3.0]);
    }

    #[test]
    fn the_mean_over_heads_is_taken_before_rows_are_summed() {
        let mut recording = recording(Kind::Encoder, [[0.9, 0.1, 0.5, 0.5], [0.3, 0.7, 0.5, 0.5]].concat(), 2, 2);
        recording.layers[0].shape.n_heads = 2;
        recording.layers[0].shape.n_kv_heads = 2;
        let received = Received::of(&recording, &recording.layers[0], None, &Question::default()).expect("two heads");
        near(&received.keys.iter().map(mean).collect::<Vec<_>>(), &[0.55, 0.45]);
        let mut rows = Sums::default();
        [0.6, 0.5].iter().for_each(|score| rows.add(Sample { score: f64::from(*score as f32), baseline: 0.5 }));
        let [found, expected] = [&received.keys[0], &rows].map(|sums| sums.interval().expect("two rows"));
        near(&[found.0, found.1], &[expected.0, expected.1]);
        assert_eq!((received.head, received.n_rows), (None, 2));
    }

    #[test]
    fn only_the_queries_that_are_asked_for_are_read() {
        let recording = recording(Kind::Decoder, CAUSAL.to_vec(), 3, 3);
        let asked = |queries| {
            let question = Question { queries: Some(queries), ..Question::default() };
            Received::of(&recording, &recording.layers[0], Some(0), &question)
        };
        let received = asked(1..3).expect("two rows");
        near(&[mean(&received.over_all(&received.keys[0]))], &[0.25]);
        assert_eq!(received.n_rows, 2);
        for range in [2..4, 1..1] {
            assert!(matches!(asked(range), Err(Error::OutsideMap { n: 3, .. })));
        }
    }

    #[test]
    fn padding_is_no_key_and_what_it_holds_all_the_same_is_said() {
        let mut recording = recording(Kind::Encoder, vec![0.2, 0.5, 0.3, 0.6, 0.4, 0.0, 0.3, 0.3, 0.4], 3, 3);
        recording.items[0].source.tokens[2] = Token { role: TokenRole::Padding, ..Token::labelled("<pad>") };
        let received = of(&recording, &[]);
        assert_eq!((received.keys.len(), received.n_rows), (2, 2));
        near(&[mean(&received.padding.expect("a padded key"))], &[0.15]);
        assert!(received.problem.is_some(), "weight on padding fails the checks");
    }

    #[test]
    fn what_no_key_holds_is_said_and_a_row_that_is_no_number_silences_its_keys() {
        let received = of(&recording(Kind::Encoder, vec![0.5, 0.1, 0.0, 0.0], 2, 2), &[]);
        near(&[mean(&received.nowhere.expect("rows lack weight"))], &[0.7]);
        let received = of(&recording(Kind::Encoder, vec![f32::NAN, 0.5, 0.5, 0.5], 2, 2), &[]);
        assert_eq!(received.over_all(&received.keys[0]).mean(), None);
        assert_eq!(received.over_all(&received.keys[1]).mean(), Some(0.5));
        assert_eq!(received.nowhere.map(|sums| sums.mean()), Some(None), "nobody knows what that row lacks");
        assert!(received.problem.is_some());
    }

    #[test]
    fn the_baseline_of_a_mean_over_heads_is_the_mean_of_what_their_own_masks_give() {
        let mut recording = recording(Kind::Encoder, Vec::new(), 2, 2);
        let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: 2, n_keys: 2, d_head: 1, d_value: 0 };
        // the first head's first query sees the first key alone; scores are 0, so all visible keys are looked at alike
        let mask = Mask::from_dense(&[true, false, true, true, true, true, true, true], [1, 2, 2, 2]);
        let lse: Vec<f64> = [1.0, 2.0, 2.0, 2.0].iter().map(|n: &f64| n.ln()).collect(); // [2, 2]
        let zeros = || Buffer::from(vec![0.0_f32; 4]).into();
        let scoring = Scoring::scaled_dot_product(1, Visibility::FULL);
        let (queries, keys) = (zeros(), zeros());
        let weights = Factored { scoring, queries, keys, lse: lse.into(), mask: Some(mask), key_bias: None };
        recording.layers = vec![Layer::new(Kind::Encoder, 0, shape, weights)];
        let tokens = &recording.items[0].source;
        let spans = [Span::of("second", 1..2, tokens, 2).expect("it is inside")];
        let question = Question { spans: &spans, ..Question::default() };
        let received = Received::of(&recording, &recording.layers[0], None, &question).expect("two heads");
        for (sums, share) in [(&received.keys[0], 0.625), (&received.keys[1], 0.375), (&received.spans[0], 0.375)] {
            let all = received.over_all(sums);
            near(&[mean(&all), all.mean_baseline().expect("rows")], &[share, share]);
        }
    }

    #[test]
    fn one_token_receives_all_of_itself_and_has_no_interval() {
        let received = of(&recording(Kind::Encoder, vec![1.0], 1, 1), &[]);
        let sums = received.over_all(&received.keys[0]);
        assert_eq!((sums.mean(), sums.mean_baseline(), sums.interval()), (Some(1.0), Some(1.0), None));
    }

    /// Many bands of a causal head of width 1 with a learned sink, and its layer's second head.
    fn with_sinks(n: usize) -> Recording {
        let mut recording = recording(Kind::Decoder, Vec::new(), n, n);
        let shape = Shape { n_heads: 2, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 0 };
        let mut scoring = Scoring::scaled_dot_product(1, Visibility::CAUSAL);
        scoring.sinks = Some(vec![0.5, -0.5]);
        let queries: Vec<f32> = (0..2 * n).map(|row| (row * 7 % 11) as f32 / 11.0).collect(); // [2, n]
        let keys: Vec<f32> = (0..n).map(|key| (key * 5 % 13) as f32 / 13.0).collect(); // [n]
        let lse = |row: usize| {
            let (head, query) = (row / n, row % n);
            let scores = keys[..=query].iter().map(|key| (f64::from(queries[row]) * f64::from(*key)).exp());
            (scores.sum::<f64>() + [0.5_f64, -0.5][head].exp()).ln()
        };
        let lse: Vec<f64> = (0..2 * n).map(lse).collect(); // [2, n]
        let queries = Buffer::from(queries).into();
        let keys = Buffer::from(keys).into();
        let weights = Factored { scoring, queries, keys, lse: lse.into(), mask: None, key_bias: None };
        recording.layers = vec![Layer::new(Kind::Decoder, 0, shape, weights)];
        recording
    }

    #[test]
    fn keys_and_a_learned_sink_add_up_to_1_over_many_bands() {
        let n = 700;
        let recording = with_sinks(n);
        for head in [Some(0), Some(1), None] {
            let received = Received::of(&recording, &recording.layers[0], head, &Question::default()).expect("a layer");
            let keys: f64 = received.keys.iter().map(|sums| mean(&received.over_all(sums))).sum();
            let sink = mean(&received.sink.expect("it has a sink"));
            assert!((keys + sink - 1.0).abs() < 1e-5 && sink > 0.001, "{head:?}: {keys} {sink}");
            assert_eq!((received.nowhere, received.keys[n - 1].n), (None, 1));
        }
    }

    #[test]
    fn a_mean_over_bands_is_that_of_the_heads() {
        let recording = with_sinks(700);
        let of = |head| Received::of(&recording, &recording.layers[0], head, &Question::default()).expect("a layer");
        let (both, heads) = (of(None), [of(Some(0)), of(Some(1))]);
        for key in [0, 1, 350, 699] {
            let [one, other] = &heads;
            let expected = 0.5 * (mean(&one.keys[key]) + mean(&other.keys[key]));
            assert!((mean(&both.keys[key]) - expected).abs() < 1e-6, "key {key}");
        }
    }
}
