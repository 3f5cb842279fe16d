//! What tokens and spans receive: the spans that are asked for, the numbers as JSON and in the terminal, the picture.

mod drawn;
mod json;
mod table;

use attlas::analysis::{CHAT_MARKS, Received, Span, Sums, roles, turns};
use attlas::{Item, Layer, Recording, TokenRole, Tokens};

pub use drawn::figure;
pub use json::print_json;
pub use table::print_table;

use crate::failure::Failure;
use crate::inputs::NamedSpan;
use crate::terminal::remark;

/// What one text's tokens receive, map by map.
pub struct OfText<'a> {
    pub recording: &'a Recording,
    pub item: usize,
    /// The first layer that was read: the axes of all of them.
    pub layer: &'a Layer,
    /// The spans asked for, then those of roles.
    pub spans: Vec<Span>,
    /// The position of the first query that was read, padding left out.
    pub first_query: usize,
    /// One for each map.
    pub maps: Vec<Received>,
}

/// A share of a map, over all queries and over those that may see it.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    pub over_all: Sums,
    pub where_seen: Sums,
    /// Whether uniform attention gives it anything: a sink is no key.
    pub has_baseline: bool,
}

impl Share {
    /// The mean share of a query's weight.
    pub fn score(&self) -> Option<f64> {
        self.over_all.mean()
    }

    /// What looking at all visible keys alike gives.
    pub fn baseline(&self) -> Option<f64> {
        self.over_all.mean_baseline().filter(|_| self.has_baseline)
    }

    /// The 95 % interval of the score: see [`Sums::interval_of_shares`].
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.over_all.interval_of_shares()
    }
}

impl OfText<'_> {
    /// The keys that are not padding: their tokens, where the recording has any, in order.
    pub fn keys(&self) -> Vec<usize> {
        self.key_tokens().unpadded(self.layer.shape.n_keys)
    }

    pub fn key_tokens(&self) -> &Tokens {
        self.layer.key_tokens(&self.recording.items[self.item])
    }

    /// The labels of the queries that were read, in order; none for arrays that came without tokens.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        let tokens = &self.layer.query_tokens(&self.recording.items[self.item]).tokens;
        let real = tokens.iter().filter(|token| token.role != TokenRole::Padding);
        real.skip(self.first_query).map(|token| token.text.trim())
    }

    /// How a map is called among the others: `L3`, or `L3H7`.
    pub fn name(map: &Received) -> String {
        map.head.map_or_else(|| format!("L{}", map.layer), |head| format!("L{}H{head}", map.layer))
    }

    /// `40 queries`: how many were read.
    pub fn queries_in_words(&self) -> String {
        match self.maps.first().map_or(0, |map| map.n_rows) {
            1 => "1 query".to_owned(),
            n => format!("{n} queries"),
        }
    }

    /// Which maps these are: `mean over the heads of each layer`, `L3H7`, `each head by itself`.
    pub fn which(&self) -> String {
        let n_heads = self.layer.shape.n_heads;
        match self.maps.as_slice() {
            [map] if map.head.is_none() => format!("layer {}, mean of {n_heads} heads", map.layer),
            [map] => OfText::name(map),
            maps if maps.iter().all(|map| map.head.is_none()) => "mean over the heads of each layer".into(),
            maps if maps.iter().all(|map| map.head == maps[0].head) => {
                format!("head {} of each layer", maps[0].head.unwrap_or_default())
            }
            _ => "each head by itself".into(),
        }
    }

    /// What each span receives in a map, and then padding, a sink and nowhere, where there are any in any map; by name.
    pub fn shares<'b>(&'b self, map: &'b Received) -> impl Iterator<Item = (&'b str, Option<&'b Span>, Share)> {
        let spans = self.spans.iter().zip(&map.spans).map(|(span, sums)| {
            let share = Share { over_all: map.over_all(sums), where_seen: *sums, has_baseline: true };
            (span.name.as_str(), Some(span), share)
        });
        let none = Sums { n: map.n_rows, ..Sums::default() };
        let besides = |name, of: fn(&Received) -> Option<Sums>| {
            let sums = of(map).unwrap_or(none);
            let share = Share { over_all: sums, where_seen: sums, has_baseline: false };
            self.maps.iter().any(|map| of(map).is_some()).then_some((name, None, share))
        };
        let besides = [
            besides("padding", |map| map.padding),
            besides("sink", |map| map.sink),
            besides("nowhere", |map| map.nowhere),
        ];
        spans.chain(besides.into_iter().flatten())
    }

    /// What a key receives in a map, by its place among those that are not padding.
    pub fn of_key(map: &Received, place: usize) -> Share {
        let sums = map.keys[place];
        Share { over_all: map.over_all(&sums), where_seen: sums, has_baseline: true }
    }

    /// The mean over the maps of a number of a key's; no number where one map has none.
    pub fn mean_of_key(&self, place: usize, number: fn(&Share) -> Option<f64>) -> f64 {
        let numbers = self.maps.iter().map(|map| number(&OfText::of_key(map, place)).unwrap_or(f64::NAN));
        numbers.sum::<f64>() / self.maps.len() as f64
    }

    /// Spans of which the text's first token alone has more than half, whatever it stands for: it often is what queries look at
    /// that look at nothing.
    pub fn mostly_first(&self) -> Option<String> {
        const LEAST: f64 = 0.05; // less is not worth a word
        let mean = |share: &dyn Fn(&Received) -> Option<f64>| {
            let shares: Option<Vec<f64>> = self.maps.iter().map(share).collect();
            shares.map(|shares| shares.iter().sum::<f64>() / shares.len().max(1) as f64)
        };
        let first = mean(&|map| map.over_all(map.keys.first()?).mean()).filter(|first| *first >= LEAST)?;
        let first_key = self.keys().first().copied();
        let of_span = |(place, span): (usize, &Span)| {
            let is_more = first_key.is_some_and(|key| span.keys.contains(key)) && span.len() > 1 && span.name != "text";
            let all = mean(&|map| map.over_all(map.spans.get(place)?).mean()).filter(|_| is_more)?;
            (first > 0.5 * all).then(|| format!("{} ({all:.2})", span.name))
        };
        let spans: Vec<String> = self.spans.iter().enumerate().filter_map(of_span).collect();
        let names = spans.join(", ");
        (!spans.is_empty()).then(|| format!("the first token alone receives {first:.2}, most of what goes to {names}"))
    }

    /// Why no turns are told of a text that holds a mark of a chat; `None` where there is no such mark, or it is a token.
    pub fn untold_turns(&self) -> Option<String> {
        let tokens = self.key_tokens();
        let mark = CHAT_MARKS.into_iter().find(|mark| tokens.text.contains(mark))?;
        let is_untold = turns(tokens, self.layer.shape.n_keys).is_empty()
            && !tokens.tokens.iter().any(|token| token.text.trim() == mark);
        is_untold.then(|| {
            format!(
                "the text holds {mark}, but the model's tokenizer has no such token, so no turns of a chat are told"
            )
        })
    }

    /// What of the maps fails its checks.
    pub fn complaint(&self) -> Option<String> {
        let mut failed = self.maps.iter().filter_map(|map| Some((map, map.problem.as_ref()?)));
        let (first, problem) = failed.next()?;
        let more = match failed.count() {
            0 => String::new(),
            n => format!(" (and {n} more of the maps)"),
        };
        Some(format!("{} {}{more} fails its checks: {problem}", first.kind, OfText::name(first)))
    }
}

/// Refuses two spans of one name.
pub fn no_two_alike(spans: &[NamedSpan]) -> Result<(), Failure> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::Usage(format!("--span: two spans are named \"{}\"; name them apart", pair[0]))),
        None => Ok(()),
    }
}

/// The spans asked for as keys of a layer, then those of roles, of which one gives way to a span of its name. `item` is said
/// where there are several texts.
pub fn spans_of(asked: &[NamedSpan], tokens: &Item, layer: &Layer, item: Option<usize>) -> Result<Vec<Span>, Failure> {
    let keys = layer.key_tokens(tokens);
    let n_keys = layer.shape.n_keys;
    let n = keys.unpadded(n_keys).len();
    let mut spans = Vec::with_capacity(asked.len());
    for NamedSpan { name, range } in asked {
        let span = Span::of(name, range.range(n), keys, n_keys);
        spans.push(span.ok_or_else(|| {
            let of_text = item.map_or(String::new(), |item| format!(" of text {item}"));
            let end = range.end.map_or(String::new(), |end| end.to_string());
            Failure::Usage(format!(
                "--span {name}: tokens {}:{end} are outside the keys{of_text}, which are 0:{n}",
                range.start
            ))
        })?);
    }
    say_overlaps(&spans);
    let is_free = |role: &Span| !asked.iter().any(|span| span.name == role.name);
    spans.extend(roles(tokens, layer).into_iter().filter(is_free));
    Ok(spans)
}

fn say_overlaps(spans: &[Span]) {
    for (place, span) in spans.iter().enumerate() {
        if let Some(other) = spans[..place].iter().find(|other| other.overlaps(span)) {
            remark(&format!("the spans {} and {} share tokens: their shares do not add up", other.name, span.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use attlas::analysis::{Sample, interval_of_share};

    use super::*;

    #[test]
    fn a_token_that_no_query_looks_at_is_not_sure_to_be_looked_at_by_none() {
        let nothing = Sums::of([Sample { score: 0.0, baseline: 0.2 }; 5]);
        let share = Share { over_all: nothing, where_seen: nothing, has_baseline: true };
        assert_eq!((share.score(), share.interval()), (Some(0.0), Some(interval_of_share(0.0, 5))));
    }
}
