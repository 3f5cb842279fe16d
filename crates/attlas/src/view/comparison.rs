//! Two recordings compared, as it is shown: the heads in a table, one head's maps with their difference, and the words for both.

use super::distances::rows;
use crate::analysis::{ComparedHead, ComparedText, Comparison};
use crate::figure::{self, Axis, ColorScale, Figure, Panel, Scale, Style};
use crate::printable::counted;
use crate::{AttentionMap, Error, HeadId, Kind, Pooled, Pooling, Quantity, Recording, Tokens};

/// Numbers of one map that are held at most; a larger one is pooled into tiles.
const MAX_WEIGHTS: usize = 1 << 22;
const TILES: usize = 512;
/// Heads named in a sentence at most.
const MOST_NAMED: usize = 8;
/// What the numbers are.
const DIVERGENCE: &str = "Jensen–Shannon divergence in nats: 0 for the same weights, ln 2 = 0.693 for none in common";

/// The column of what goes to keys that are not compared.
const ELSEWHERE: &str = "(elsewhere)";

/// A head has changed little when its divergence is less than this share of that between two heads.
const LITTLE: f64 = 0.1;

impl Comparison {
    /// The divergence below which a head is said to have changed little: a tenth of that between two heads of the first recording
    /// in the middle. `None` where there is no such divergence, or it is 0.
    pub fn little(&self) -> Option<f64> {
        self.between_heads.map(|between| LITTLE * between).filter(|little| *little > 0.0)
    }

    /// What was compared, and what was left out, in sentences; A is the first recording, B the second.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![self.in_common()];
        if !self.texts.iter().all(|text| text.by_text) {
            remarks.push("a recording has no tokens, so rows and columns go together by their places".to_owned());
        }
        if let [Some(a), Some(b)] = self.elsewhere()
            && (a > 0.0 || b > 0.0)
        {
            remarks.push(format!(
                "the rows compared give {:.1} % of their weight in A and {:.1} % in B to keys that are not compared or to a learned \
                 sink: together they count as one more key",
                100.0 * a,
                100.0 * b
            ));
        }
        if self.n_rows < self.n_queries {
            remarks.push(format!("measured on {}, evenly spaced", rows(self.n_rows as u64, self.n_queries as u64)));
        }
        for (which, heads) in [("A", &self.only_first), ("B", &self.only_second)] {
            if !heads.is_empty() {
                remarks.push(format!(
                    "{} of {which} without a counterpart: {}",
                    counted(heads.len(), "head"),
                    named(heads)
                ));
            }
        }
        remarks
    }

    /// How many tokens both have.
    fn in_common(&self) -> String {
        let sum = |number: fn(&ComparedText) -> usize| self.texts.iter().map(number).sum::<usize>();
        let axis = |what: &str, common: usize, [a, b]: [usize; 2]| {
            if (common, common) == (a, b) {
                return format!("all {} in common", counted(common, what));
            }
            format!("{} in common, of {a} in A and {b} in B", counted(common, what))
        };
        let queries = [sum(|text| text.n_queries[0]), sum(|text| text.n_queries[1])];
        let keys = [sum(|text| text.n_keys[0]), sum(|text| text.n_keys[1])];
        // of cross-attention the two axes are two texts, also where they are of one length
        let is_one_text = self.kind != Kind::Cross && self.texts.iter().all(|text| text.queries == text.keys);
        let in_common = match is_one_text && queries == keys {
            true => axis("token", self.n_queries, queries),
            false => {
                let of_keys = axis("key token", sum(|text| text.keys.len()), keys);
                format!("{}; {of_keys}", axis("query token", self.n_queries, queries))
            }
        };
        match self.texts.len() {
            1 => in_common,
            n => format!("{n} texts: {in_common}"),
        }
    }

    /// What a divergence is to be held against, in words; `None` of a single head.
    pub fn baseline_in_words(&self) -> Option<String> {
        let between = self.between_heads?;
        Some(format!("two different heads of A are {} apart in the middle", digits(between)))
    }

    /// How many heads changed little, and what that is held against, in a sentence; `None` where nothing says what little is.
    pub fn changed_little(&self) -> Option<String> {
        let known: Vec<f64> = self.heads.iter().filter_map(ComparedHead::divergence).collect();
        let baseline = self.baseline_in_words().map_or(String::new(), |baseline| format!("; {baseline}"));
        let all = counted(self.heads.len(), "head");
        if !self.heads.is_empty() && known.len() == self.heads.len() && known.iter().all(|one| *one == 0.0) {
            return Some(format!("the same weights in A and B, in {all}{baseline}"));
        }
        let little = self.little()?;
        Some(format!(
            "{} of {} changed little, by less than {}, a tenth of what heads differ by{baseline}",
            known.iter().filter(|divergence| **divergence < little).count(),
            counted(known.len(), "head"),
            digits(little)
        ))
    }

    /// What the compared rows give to other keys and a sink, on average over the texts by their rows.
    fn elsewhere(&self) -> [Option<f64>; 2] {
        [0, 1].map(|side| {
            let known = self.texts.iter().filter_map(|text| Some((text.elsewhere[side]?, text.queries.len() as f64)));
            let (sum, n) = known.fold((0.0, 0.0), |(sum, n), (share, rows)| (sum + share * rows, n + rows));
            (n > 0.0).then(|| sum / n)
        })
    }
}

/// `L0H1, L0H2 …`
fn named(heads: &[HeadId]) -> String {
    let names: Vec<String> = heads.iter().take(MOST_NAMED).map(HeadId::to_string).collect();
    format!("{}{}", names.join(", "), if heads.len() > MOST_NAMED { " …" } else { "" })
}

/// How far each head is from its counterpart: layers × heads of the first recording, a cell for each with its divergence, and its
/// counterpart where that is another head. `names` are those of both recordings.
///
/// # Errors
/// When there is no head.
pub fn comparison(comparisons: &[Comparison], names: [&str; 2], style: &Style) -> Result<Figure, Error> {
    let mut labels = Vec::new();
    let mut lines: Vec<Vec<(usize, f32, String)>> = Vec::new(); // head, divergence, text
    for of_kind in comparisons {
        let mut heads: Vec<(HeadId, f32, String)> = of_kind.heads.iter().map(cell).collect();
        heads.extend(of_kind.only_first.iter().map(|head| (*head, f32::NAN, "–".to_owned())));
        heads.sort_by_key(|(head, ..)| *head);
        for layer in heads.chunk_by(|a, b| a.0.layer == b.0.layer) {
            let index = layer[0].0.layer;
            labels.push(if comparisons.len() > 1 { format!("{} {index}", of_kind.kind) } else { index.to_string() });
            lines.push(layer.iter().map(|(head, divergence, text)| (head.head, *divergence, text.clone())).collect());
        }
    }
    let n_columns = lines.iter().flatten().map(|(head, ..)| head + 1).max().unwrap_or(0);
    let mut numbers = vec![f32::NAN; lines.len() * n_columns]; // [layers, heads]
    let mut texts = vec![String::new(); numbers.len()];
    for (row, line) in lines.into_iter().enumerate() {
        for (head, divergence, text) in line {
            numbers[row * n_columns + head] = divergence;
            texts[row * n_columns + head] = text;
        }
    }
    // a change of next to nothing is not to look like one of the whole
    let between: Vec<f32> =
        comparisons.iter().filter_map(|one| one.between_heads.map(|between| between as f32)).collect();
    let scale = ColorScale::over(numbers.iter().chain(&between), Quantity::Weight, Scale::Linear).called(DIVERGENCE);
    let panel = Panel::new("", numbers, Axis::labelled("layer", labels), Axis::counted("head", n_columns))?;
    let title = match comparisons {
        [one] => format!("{}: how far heads are from their counterparts", one.kind.title()),
        _ => "How far heads are from their counterparts".to_owned(),
    };
    let captions = captions(comparisons, names);
    Ok(figure::table(&panel, &texts, &scale, &styled(style, &title, captions)))
}

/// What stands below the table.
fn captions(comparisons: &[Comparison], names: [&str; 2]) -> Vec<String> {
    let of_kind = |one: &Comparison, remark: String| match comparisons.len() {
        1 => remark,
        _ => format!("{}: {remark}", one.kind),
    };
    let mut captions = vec![format!("A: {}", names[0]), format!("B: {}", names[1])];
    for one in comparisons {
        captions.extend(one.remarks().into_iter().map(|remark| of_kind(one, remark)));
        captions.extend(one.changed_little().or(one.baseline_in_words()).map(|words| of_kind(one, words)));
    }
    if comparisons.iter().any(|one| one.between_heads.is_some()) {
        captions.push("The colours end at the largest of these numbers, or at what two different heads of A are apart in the middle where that is more.".to_owned());
    }
    if comparisons.iter().flat_map(|one| &one.heads).any(|head| head.divergence().is_none()) {
        captions.push("?: a row has a number that is no weight, or no row of both sees a key".to_owned());
    }
    if comparisons.iter().flat_map(|one| &one.heads).any(|head| head.first != head.second) {
        captions.push("below a number: the head of B that goes with it".to_owned());
    }
    captions
}

/// The head, its divergence, and the text of its cell.
fn cell(head: &ComparedHead) -> (HeadId, f32, String) {
    let divergence = head.divergence();
    let number = divergence.map_or("?".to_owned(), digits);
    let other = if head.first == head.second { String::new() } else { format!("\n{}", head.second) };
    (head.first, divergence.map_or(f32::NAN, |divergence| divergence as f32), format!("{number}{other}"))
}

/// A divergence with two digits that say something: `0.16`, `0.0031`, `0`.
pub fn digits(divergence: f64) -> String {
    match divergence {
        0.0 => "0".to_owned(),
        tiny if tiny < 1e-4 => "< 0.0001".to_owned(),
        _ => format!("{divergence:.*}", (1 - divergence.log10().floor() as i32).clamp(2, 5) as usize),
    }
}

fn styled(style: &Style, title: &str, captions: Vec<String>) -> Style {
    let title = if style.title.is_empty() { title.to_owned() } else { style.title.clone() };
    Style { title, captions: [captions, style.captions.clone()].concat(), ..style.clone() }
}

/// A head's map, that of its counterpart, and the second less the first, for the tokens that both have.
#[derive(Debug, Clone, PartialEq)]
pub struct DifferenceView {
    panels: [Panel; 3],
    problem: Option<String>,
    title: String,
    remarks: Vec<String>,
}

impl DifferenceView {
    /// The maps of a pair of heads of `comparison` on one of its texts.
    ///
    /// # Errors
    /// When a head does not exist, or a file cannot be read.
    pub fn of(
        recordings: [&Recording; 2],
        comparison: &Comparison,
        head: &ComparedHead,
        text: usize,
    ) -> Result<DifferenceView, Error> {
        let Some(compared) = comparison.texts.get(text) else {
            return Err(Error::NoItem { item: text, n_items: comparison.texts.len() });
        };
        let kind = comparison.kind;
        let map = |side: usize, id: HeadId| recordings[side].map(compared.items[side], kind, id.layer, id.head);
        let (first, second) = (map(0, head.first)?, map(1, head.second)?);
        let numbers = maps([&first, &second], compared, MAX_WEIGHTS);
        let names = [format!("A: {}", head.first), format!("B: {}", head.second), "B less A".to_owned()];
        let [a, b, less] = numbers;
        let is_elsewhere_drawn = has_elsewhere(compared) && matches!(less, Numbers::All(_));
        let panel = |title: &str, numbers: Numbers| numbers.panel(title, &first, compared);
        let panels =
            [panel(&names[0], a)?, panel(&names[1], b)?, panel(&names[2], less)?.measuring(Quantity::Difference)];
        let mut problem = None;
        for (side, id) in [(0, head.first), (1, head.second)] {
            let item = compared.items[side];
            let layer = recordings[side].layer(kind, id.layer)?;
            let found = recordings[side].check_maps(layer, item..item + 1, &[id.head])?.problem();
            problem = problem.or(found.map(|found| format!("{} {id} of {}: {found}", kind, ["A", "B"][side])));
        }
        let divergence = divergence_in_words(head);
        let mut remarks = vec![match comparison.baseline_in_words() {
            Some(baseline) => format!("{divergence}; {baseline}"),
            None => divergence,
        }];
        remarks.extend(problem.iter().map(|problem| format!("a map fails its checks: {problem}")));
        remarks.extend(comparison.remarks());
        if is_elsewhere_drawn {
            remarks.push(format!("{ELSEWHERE}: what a row gives to keys that are not compared, and to a learned sink"));
        } else if has_elsewhere(compared) {
            remarks.push("what rows give to keys that are not compared has no column: the text is too long".to_owned());
        }
        let title = match head.first == head.second {
            true => format!("{} {} in A and B", kind.title(), head.first),
            false => format!("{} {} in A and {} in B", kind.title(), head.first, head.second),
        };
        Ok(DifferenceView { panels, problem, title, remarks })
    }

    /// The maps: of the first recording, of the second, and the second less the first.
    pub fn panels(&self) -> &[Panel; 3] {
        &self.panels
    }

    /// What is wrong with the numbers, where they fail their checks.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The picture; `names` are those of both recordings.
    pub fn figure(&self, names: [&str; 2], kind: Scale, style: &Style) -> Figure {
        let maps = ColorScale::of(&self.panels[..2], kind).called("attention weight in A and in B");
        let less =
            ColorScale::of(&self.panels[2..], kind).called("weight in B less weight in A: orange where B looks more");
        let mut captions = vec![format!("A: {}", names[0]), format!("B: {}", names[1])];
        captions.extend(self.remarks.iter().cloned());
        figure::difference(&self.panels, [&maps, &less], &styled(style, &self.title, captions))
    }
}

/// The divergence of a pair of heads with its interval, or why there is none.
fn divergence_in_words(head: &ComparedHead) -> String {
    match (head.divergence(), head.interval()) {
        (Some(mean), Some((low, high))) => {
            let [mean, low, high] = [mean, low, high].map(digits);
            format!("Jensen–Shannon divergence {mean} nats (95 % interval {low} to {high})")
        }
        (Some(mean), None) => format!("Jensen–Shannon divergence {} nats", digits(mean)),
        (None, _) => "no divergence: a row has a number that is no weight, or sees no key".to_owned(),
    }
}

/// The numbers of one panel: all, or the largest of each tile.
enum Numbers {
    All(Vec<f32>),
    Tiles(Pooled),
}

impl Numbers {
    fn panel(self, title: &str, map: &AttentionMap<'_>, text: &ComparedText) -> Result<Panel, Error> {
        let [rows, columns] = axis_names(map);
        let labels = |tokens: &Tokens, places: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            places.filter_map(|place| Some(tokens.tokens.get(place)?.text.clone())).collect()
        };
        match self {
            Numbers::Tiles(pooled) => {
                let axis = |name, n_tiles, n| Axis::tiles(name, n_tiles, 0..n);
                let rows = axis(rows, pooled.rows, pooled.n_queries);
                Panel::new(title, pooled.max, rows, axis(columns, pooled.columns, pooled.n_keys))
            }
            Numbers::All(numbers) => {
                let axis = |name, labels: Vec<String>, n: usize| match labels.len() == n {
                    true => Axis::labelled(name, labels),
                    false => Axis::counted(name, n),
                };
                let of_rows = labels(map.query_tokens(), &mut text.queries.iter().map(|pair| pair.0));
                let mut of_columns = labels(map.key_tokens(), &mut text.keys.iter().map(|pair| pair.0));
                let rows = axis(rows, of_rows, text.queries.len());
                if !has_elsewhere(text) {
                    return Panel::new(title, numbers, rows, axis(columns, of_columns, text.keys.len()));
                }
                if of_columns.len() != text.keys.len() {
                    of_columns = (0..text.keys.len()).map(|place| place.to_string()).collect();
                }
                of_columns.push(ELSEWHERE.to_owned());
                Panel::new(title, numbers, rows, Axis::labelled(columns, of_columns))
            }
        }
    }
}

/// What rows and columns are: rows go together by the token that was read.
fn axis_names(map: &AttentionMap<'_>) -> [String; 2] {
    let [rows, columns] = match map.kind() {
        Kind::Encoder => ["query (source token)", "key (source token)"],
        Kind::Decoder => ["query (target token, as read)", "key (target token)"],
        Kind::Cross => ["query (target token, as read)", "key (source token)"],
    };
    [rows.to_owned(), columns.to_owned()]
}

/// Which keys of a map are compared, and whether what goes to the others is one number more.
struct Places<'a> {
    keys: &'a Vec<usize>,
    others: Option<Vec<usize>>,
}

impl<'a> Places<'a> {
    fn of(keys: &'a Vec<usize>, n_keys: usize, with_elsewhere: bool) -> Places<'a> {
        // rising, as the keys in common of two texts are
        let others = || (0..n_keys).filter(|key| keys.binary_search(key).is_err()).collect();
        Places { keys, others: with_elsewhere.then(others) }
    }

    /// The weights of a query. Shape `[common keys]`, and one more where it is asked for.
    fn weights(&self, map: &AttentionMap<'_>, query: usize) -> Vec<f32> {
        let row = map.row(query);
        let mut weights: Vec<f32> = self.keys.iter().map(|&key| row[key]).collect();
        weights.extend(self.others.as_ref().map(|others| {
            let rest: f64 = others.iter().map(|&key| f64::from(row[key])).sum();
            (rest + f64::from(map.sink_mass(query))) as f32
        }));
        weights
    }
}

/// Whether rows of either side give something to keys that are not compared, or to a sink.
fn has_elsewhere(text: &ComparedText) -> bool {
    text.elsewhere.iter().flatten().any(|share| *share > 0.0)
}

/// Both maps where the texts agree, with what goes elsewhere in a column of its own where there is any and no tiles, and the second less the first; in tiles where there are more than `max_weights`.
fn maps(maps: [&AttentionMap<'_>; 2], text: &ComparedText, max_weights: usize) -> [Numbers; 3] {
    let (n_rows, n_columns) = (text.queries.len(), text.keys.len());
    let is_whole = n_rows.saturating_mul(n_columns) <= max_weights;
    let new = || match is_whole {
        true => Numbers::All(Vec::with_capacity(n_rows * n_columns)),
        false => Numbers::Tiles(Pooled::empty(Pooling { rows: TILES, columns: TILES }, n_rows, n_columns)),
    };
    let mut all = [new(), new(), new()];
    let with_elsewhere = is_whole && has_elsewhere(text);
    let keys = [text.keys.iter().map(|pair| pair.0).collect(), text.keys.iter().map(|pair| pair.1).collect()];
    let places = [0, 1].map(|side| Places::of(&keys[side], maps[side].n_keys(), with_elsewhere));
    for (row, &(in_first, in_second)) in text.queries.iter().enumerate() {
        let a = places[0].weights(maps[0], in_first);
        let b = places[1].weights(maps[1], in_second);
        let less: Vec<f32> = b.iter().zip(&a).map(|(b, a)| b - a).collect();
        for (numbers, weights) in all.iter_mut().zip([a, b, less]) {
            match numbers {
                Numbers::All(all) => all.extend(weights),
                Numbers::Tiles(pooled) => pooled.add_row(row, &weights),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Matching, compare};
    use crate::attention::Shape;
    use crate::{Buffer, Item, Layer, Provenance};

    /// An encoder of one head that looks at one key from each query.
    fn recording(n: usize, key: impl Fn(usize) -> usize) -> Recording {
        let mut weights = vec![0.0; n * n]; // [n, n]
        (0..n).for_each(|query| weights[query * n + key(query)] = 1.0);
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
        let source = Tokens::from_labels((0..n).map(|place| place.to_string()));
        Recording {
            items: vec![Item { source, ..Item::default() }],
            layers: vec![Layer::new(Kind::Encoder, 0, shape, Buffer::from(weights))],
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn a_map_too_large_to_be_held_is_drawn_in_tiles_that_keep_what_differs() {
        let n = 700;
        let (a, b) = (recording(n, |_| 0), recording(n, |query| if query == 650 { 699 } else { 0 }));
        let found = compare([&a, &b], Kind::Encoder, &[(0, 0)], Matching::Index).expect("the same tokens");
        let map = |recording: &Recording| -> Vec<f32> {
            let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
            let other = b.map(0, Kind::Encoder, 0, 0).expect("the head exists");
            let [_, _, less] = maps([&map, &other], &found.texts[0], n * n - 1);
            less.panel("less", &map, &found.texts[0]).expect("there are tiles").weights().to_vec()
        };
        let less = map(&a);
        assert_eq!(less.len(), TILES * TILES);
        let (row, last) = (650 * TILES / n, TILES - 1);
        assert_eq!((less[row * TILES], less[row * TILES + last]), (-1.0, 1.0));
        assert_eq!(less.iter().filter(|number| **number != 0.0).count(), 2);
        assert!(map(&b).iter().all(|number| *number == 0.0));
    }

    #[test]
    fn what_goes_to_keys_of_one_side_has_a_column() {
        let (a, b) = (recording(3, |query| [2, 1, 2][query]), recording(2, |query| query));
        let found = compare([&a, &b], Kind::Encoder, &[(0, 0)], Matching::Index).expect("two tokens in common");
        let view = DifferenceView::of([&a, &b], &found, &found.heads[0], 0).expect("the head exists");
        let weights = view.panels().each_ref().map(|panel| panel.weights().to_vec());
        assert_eq!(weights[0], [0.0, 0.0, 1.0, 0.0, 1.0, 0.0], "the first token looks at the third, which B lacks");
        assert_eq!(weights[1], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(weights[2], [1.0, 0.0, -1.0, 0.0, 0.0, 0.0]);
        assert!(view.remarks.iter().any(|remark| remark.starts_with(ELSEWHERE)), "{:?}", view.remarks);
    }

    #[test]
    fn two_texts_of_one_length_are_not_said_to_be_one() {
        let same = recording(3, |query| query);
        let mut found = compare([&same, &same], Kind::Encoder, &[(0, 0)], Matching::Index).expect("the same tokens");
        assert_eq!(found.remarks()[0], "all 3 tokens in common");
        found.kind = Kind::Cross;
        assert_eq!(found.remarks()[0], "all 3 query tokens in common; all 3 key tokens in common");
    }

    #[test]
    fn the_colours_do_not_end_below_what_two_heads_differ_by() {
        let same = recording(3, |query| query);
        let mut found = compare([&same, &same], Kind::Encoder, &[(0, 0)], Matching::Index).expect("the same tokens");
        found.between_heads = Some(0.4);
        let picture = comparison(&[found], ["a", "b"], &Style::default()).expect("one head").to_svg();
        assert!(picture.contains(">0.4<") && picture.contains("the same weights in A and B"), "{picture}");
    }

    #[test]
    fn a_divergence_is_written_with_two_digits_that_say_something() {
        let written = [0.0, 0.00003, 0.00012, 0.0031, 0.098, 0.5, 0.693].map(digits);
        assert_eq!(written, ["0", "< 0.0001", "0.00012", "0.0031", "0.098", "0.50", "0.69"]);
    }
}
