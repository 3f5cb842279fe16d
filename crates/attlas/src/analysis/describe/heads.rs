//! What the heads of a kind are: how many stand out and for what, how many stay near, how many look at what is new.

use super::targets::on_its_sink;
use super::{MIN_SCORES, Number, OfKind, Rank, Ranked, percent};
use crate::Kind;
use crate::analysis::{HeadClass, HeadSums, Measure, Standout, classes as classes_of};
use crate::printable::counted;

/// How many heads stand out, for what, and the strongest with its reason.
pub(super) fn classes(of: &OfKind<'_>) -> Option<Ranked> {
    let heads: Vec<HeadSums> = of.heads.iter().map(|head| (*head).clone()).collect();
    let classes = classes_of(&heads);
    let n_named = classes.iter().filter(|class| !class.named.is_empty()).count();
    let mut numbers = vec![Number::count("heads that stand out", n_named), Number::count("heads", classes.len())];
    let Some(strongest) = strongest(&classes) else { return Some((Rank::Classes, nothing(of, numbers))) };
    let mix = mix(&classes);
    let parts: Vec<String> = mix.iter().map(|(title, n)| format!("{n} {title}")).collect();
    numbers.extend(mix.iter().map(|(title, n)| Number::count(format!("heads: {title}"), *n)));
    let reason = on_its_sink(of, strongest.head, &strongest.score).unwrap_or_else(|| strongest.reason());
    let text = format!(
        "{}: {n_named} of {} {} out (each counted once, by its narrowest name: {}); most strongly{} {reason}.",
        of.name(),
        counted(classes.len(), "head"),
        if n_named == 1 { "stands" } else { "stand" },
        parts.join(", "),
        if is_plain(&strongest) { "" } else { ", narrow names before general ones," },
    );
    numbers.extend(Number::of(&strongest.score));
    Some((Rank::Classes, of.sentence(text, Some(strongest.head), strongest.measure.name, numbers)))
}

/// That no head stands out, or that the text is too short for one to.
fn nothing(of: &OfKind<'_>, mut numbers: Vec<Number>) -> super::Sentence {
    let n_queries = of.heads.iter().map(|head| head.n_queries).max().unwrap_or(0);
    let n_heads = of.heads.len();
    let text = if n_queries < MIN_SCORES {
        numbers.push(Number::new("queries", n_queries as f64));
        let (of_them, queries) = (counted(n_heads, "head"), if n_queries == 1 { "query is" } else { "queries are" });
        format!("{}: {n_queries} {queries} too few to name any of {of_them}; it takes {MIN_SCORES}.", of.name())
    } else {
        format!("{}: none of {} stands out over its baseline.", of.name(), counted(n_heads, "head"))
    };
    super::Sentence { measure: None, ..of.sentence(text, None, "", numbers) }
}

/// The standout with the largest part of what its baseline leaves, or the highest score where there is no baseline: of narrow
/// measures and few heads, if there is one.
fn strongest(classes: &[HeadClass]) -> Option<Standout> {
    let first = classes.iter().filter_map(|class| class.named.first().copied());
    first.reduce(|best, next| {
        let order = is_plain(&best).cmp(&is_plain(&next)).then(next.strength().total_cmp(&best.strength()));
        let order = order.then(next.score.value.total_cmp(&best.score.value));
        if order.is_gt() { next } else { best }
    })
}

/// Whether a name is general, or true of most heads.
fn is_plain(one: &Standout) -> bool {
    one.measure.is_general || one.is_usual()
}

/// How many heads are of each class, the most first.
fn mix(classes: &[HeadClass]) -> Vec<(&'static str, usize)> {
    let mut mix: Vec<(&'static str, usize)> = Vec::new();
    for title in classes.iter().filter(|class| !class.named.is_empty()).map(HeadClass::title) {
        match mix.iter_mut().find(|(known, _)| *known == title) {
            Some((_, n)) => *n += 1,
            None => mix.push((title, 1)),
        }
    }
    mix.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    mix
}

/// How many encoder heads keep to their neighbours, where some do.
pub(super) fn local(of: &OfKind<'_>) -> Option<Ranked> {
    let measure = Measure::named("local").filter(|_| of.kind == Kind::Encoder)?;
    let (head, score) = of.best(measure.name)?;
    let (n_named, n_heads) = (of.n_named(measure), of.heads.len());
    let threshold = percent(measure.threshold?);
    let text = format!(
        "{}: {n_named} of {} {} {threshold} or more of the weight within two positions; most of all {head}, {} (looking at all \
         alike would give {}).",
        of.name(),
        counted(n_heads, "head"),
        if n_named == 1 { "keeps" } else { "keep" },
        percent(score.value),
        percent(score.baseline?)
    );
    let mut numbers = vec![Number::count("local heads", n_named), Number::count("heads", n_heads)];
    numbers.extend(Number::of(&score));
    (n_named > 0).then(|| (Rank::Local, of.sentence(text, Some(head), measure.name, numbers)))
}

/// How many decoder heads look at newer tokens than looking at all alike would, and how many at older ones.
pub(super) fn recency(of: &OfKind<'_>) -> Option<Ranked> {
    let measure = Measure::named("recency").filter(|_| of.kind == Kind::Decoder)?;
    let scores: Vec<_> =
        of.heads.iter().filter_map(|head| head.score(measure.name)).filter(|score| score.n >= MIN_SCORES).collect();
    let (first, n) = (scores.first()?, scores.len());
    let alike = first.baseline?;
    let mean = scores.iter().map(|score| score.value).sum::<f64>() / n as f64;
    let surely = |is: fn((f64, f64), f64) -> bool| {
        scores.iter().filter(|score| score.interval.is_some_and(|interval| is(interval, alike))).count()
    };
    let (n_newer, n_older) = (surely(|(low, _), alike| low > alike), surely(|(_, high), alike| high < alike));
    let text = format!(
        "{}: {n_older} of {} {} at older tokens than looking at all alike would, {n_newer} at newer ones (95 % intervals; recency \
         {mean:.2} on average over the heads, from 0, the oldest, to 1; all alike: {alike:.2}).",
        of.name(),
        counted(n, "head"),
        if n_older == 1 { "looks" } else { "look" }
    );
    let numbers = vec![
        Number::count("heads that look at older tokens", n_older),
        Number::count("heads that look at newer tokens", n_newer),
        Number::count("heads", n),
        Number::new("mean", mean),
        Number::new("baseline", alike),
    ];
    (n_newer + n_older > 0).then(|| (Rank::Recency, of.sentence(text, None, measure.name, numbers)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use crate::Kind;
    use crate::analysis::rows::tests::recording;

    /// An n × n map that looks one token back.
    fn previous_token_head(n: usize) -> Vec<f32> {
        let mut weights = vec![0.0; n * n]; // [n, n]
        (0..n).for_each(|query| weights[query * n + query.saturating_sub(1)] = 1.0);
        weights
    }

    #[test]
    fn a_planted_previous_token_head_is_said_with_the_planted_number() {
        let mut recording = recording(Kind::Encoder, [vec![0.1; 100], previous_token_head(10)].concat(), 10, 10);
        (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
        let said = said(&recording);
        assert_eq!(
            said[0].text,
            "Encoder: 2 of 2 heads stand out (each counted once, by its narrowest name: 1 broad, 1 previous token); most strongly, narrow \
             names before general ones, L0H1: previous token, 0.90 of a query's weight; positions alone give 0.09."
        );
        assert_eq!((said[0].layer, said[0].head, said[0].measure), (Some(0), Some(1), Some("previous")));
        let score = said[0].numbers.iter().find(|number| number.name == "score").expect("it has one");
        assert!((score.value - 0.9).abs() < 1e-6);
        let local = said.iter().find(|one| one.measure == Some("local")).expect("the head is local");
        assert!(local.text.starts_with("Encoder: 1 of 2 heads keeps 80 % or more"), "{}", local.text);
        assert!(local.text.contains("L0H1, 100 % (looking at all alike would give 44 %)"), "{}", local.text);
    }

    #[test]
    fn of_broad_heads_the_broadest_is_named() {
        let narrower: Vec<f32> = (0..100).map(|cell| if cell % 10 % 2 == 0 { 0.15 } else { 0.05 }).collect();
        let mut recording = recording(Kind::Encoder, [narrower, vec![0.1; 100]].concat(), 10, 10);
        (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
        let said = said(&recording);
        assert!(said[0].text.contains("2 broad); most strongly L0H1: broad, 1.00"), "{}", said[0].text);
    }

    #[test]
    fn where_nothing_stands_out_the_heads_looked_at_are_counted() {
        // every query has half its weight on a key of its own, and the rest spread
        let weights: Vec<f32> =
            (0..100).map(|cell| if cell % 10 == cell / 10 * 3 % 10 { 0.55 } else { 0.05 }).collect();
        let said = said(&recording(Kind::Encoder, weights, 10, 10));
        assert_eq!(said[0].text, "Encoder: none of 1 head stands out over its baseline.");
        assert_eq!(said[0].head, None);
    }

    #[test]
    fn one_token_is_too_few_to_name_a_head() {
        for kind in [Kind::Encoder, Kind::Decoder] {
            let said = said(&recording(kind, vec![1.0], 1, 1));
            assert!(
                said[0].text.ends_with("1 query is too few to name any of 1 head; it takes 5."),
                "{}",
                said[0].text
            );
        }
    }

    #[test]
    fn of_fewer_than_five_queries_no_sentence_says_what_heads_surely_do() {
        let mut weights = vec![0.0; 16]; // [4, 4]
        (0..4).for_each(|query| weights[query * 5] = 1.0);
        let said = said(&recording(Kind::Decoder, weights, 4, 4));
        assert!(said[0].text.ends_with("4 queries are too few to name any of 1 head; it takes 5."), "{}", said[0].text);
        assert!(!said.iter().any(|one| one.text.contains("95 %")), "{said:#?}");
    }

    #[test]
    fn decoder_heads_that_look_at_newer_tokens_are_counted() {
        let mut weights = vec![0.0; 100]; // [10, 10]
        (0..10).for_each(|query| weights[query * 11] = 1.0);
        let said = said(&recording(Kind::Decoder, weights, 10, 10));
        let recency = said.iter().find(|one| one.measure == Some("recency")).expect("rows see several tokens");
        assert!(recency.text.starts_with("Decoder: 0 of 1 head look at older tokens"), "{}", recency.text);
        assert!(recency.text.contains("1 at newer ones (95 % intervals; recency 1.00 on average"), "{}", recency.text);
    }
}
