//! What draws the most: a sink, the end token, earlier copies of a token.

use super::{MIN_SCORES, Number, OfKind, Rank, Ranked, percent, quoted};
use crate::HeadId;
use crate::analysis::{Measure, Score, is_separator};
use crate::printable::counted;

/// The mean weight on the end token that is worth a sentence, as for a sink.
const MIN_END: f64 = 0.3;

/// The strongest sink, where a head is named for one.
pub(super) fn sink(of: &OfKind<'_>) -> Option<Ranked> {
    let measure = Measure::named("sink")?;
    let (head, score) = of.best(measure.name).filter(|(_, score)| measure.names(score))?;
    let place = measure.variants.iter().position(|variant| Some(*variant) == score.variant)?;
    let n_named = of.n_named(measure);
    let text = format!(
        "{}: {}; {n_named} of {} {} such a sink.",
        of.name(),
        on_its_sink(of, head, &score)?,
        counted(of.heads.len(), "head"),
        if n_named == 1 { "has" } else { "have" }
    );
    let mut numbers = Number::of(&score);
    numbers.extend([Number::count("heads with a sink", n_named), Number::count("heads", of.heads.len())]);
    numbers.push(Number::count("token", place));
    Some((Rank::Sink, of.sentence(text, Some(head), measure.name, numbers)))
}

/// `L0H1 puts 45 % of its weight on “<s>”, token 0, on average (…)`.
pub(super) fn on_its_sink(of: &OfKind<'_>, head: HeadId, score: &Score) -> Option<String> {
    let place = Measure::named("sink")?.variants.iter().position(|variant| Some(*variant) == score.variant)?;
    let token = of.key_tokens().get(place).map_or(String::new(), |token| format!("{}, ", quoted(&token.text)));
    Some(format!(
        "{head} puts {} of its weight on {token}token {place}, on average (queries that see one key only left out; looking at all \
         alike would give {})",
        percent(score.value),
        percent(score.baseline?)
    ))
}

/// The head that looks most at separators and end tokens, where it does so much and more than by chance.
pub(super) fn end(of: &OfKind<'_>) -> Option<Ranked> {
    let measure = Measure::named("separator")?;
    let (head, score) = of.best(measure.name).filter(|(_, score)| score.value >= MIN_END && is_over(score))?;
    let tokens = of.key_tokens();
    let separators: Vec<usize> = (0..tokens.len()).filter(|key| is_separator(&tokens[*key])).collect();
    let what = match separators[..] {
        // one at the very beginning is a sink's
        [0] => return None,
        [only] => format!("the end token {}", quoted(&tokens[only].text)),
        _ => format!("the {} separators and end tokens", separators.len()),
    };
    let baseline = percent(score.baseline?);
    let text = format!(
        "{}: {head} puts {} of its weight on {what} (looking at all alike would give {baseline}).",
        of.name(),
        percent(score.value)
    );
    Some((Rank::End, of.sentence(text, Some(head), measure.name, Number::of(&score))))
}

/// What heads do where tokens repeat: the head that looks most behind earlier copies, or at them, or that none does.
pub(super) fn copies(of: &OfKind<'_>) -> Option<Ranked> {
    let scored = |name: &str, what: &'static str| Some((Measure::named(name)?, of.best(name)?, what));
    let behind = scored("induction", "what followed earlier copies of the token that it reads");
    let copies = scored("duplicate", "earlier copies of the token that it reads");
    let is_named = |(measure, (_, score), _): &(&Measure, (_, Score), _)| measure.names(score);
    let named = [behind, copies].into_iter().flatten().find(is_named);
    let (measure, (head, score), what) = named.or(behind).filter(|(_, (_, score), _)| score.n >= MIN_SCORES)?;
    let (n, share, baseline) = (format!("{} queries", score.n), percent(score.value), percent(score.baseline?));
    let (rank, text) = match named {
        Some(_) => (
            Rank::Copies,
            format!(
                "{}: {head} puts {share} of its weight on {what}, over {n} (looking at all alike would give {baseline}).",
                of.name()
            ),
        ),
        None => (
            Rank::NoCopies,
            format!(
                "{}: tokens repeat, and none of {} looks much behind earlier copies; {head} most, {share} over {n} (looking at all \
                 alike would give {baseline}).",
                of.name(),
                counted(of.heads.len(), "head")
            ),
        ),
    };
    let mut numbers = Number::of(&score);
    numbers.push(Number::count("heads", of.heads.len()));
    Some((rank, of.sentence(text, Some(head), measure.name, numbers)))
}

/// Whether a score is more than chance: of five rows or more, its interval over the baseline.
fn is_over(score: &Score) -> bool {
    let over = score.interval.zip(score.baseline).is_some_and(|((low, _), baseline)| low > baseline);
    score.n >= MIN_SCORES && over
}

#[cfg(test)]
mod tests {
    use super::super::Sentence;
    use super::super::tests::said;
    use crate::analysis::rows::tests::recording;
    use crate::{Kind, Recording, Token, TokenRole};

    /// The sentence of a measure.
    fn about<'a>(said: &'a [Sentence], measure: &str) -> Option<&'a Sentence> {
        said.iter().find(|one| one.measure == Some(measure))
    }

    /// A causal head of 40 tokens that puts `share` on token 0 and the rest on the token it reads.
    fn sink(share: f32) -> Recording {
        let n = 40;
        let mut weights = vec![0.0; n * n]; // [n, n]
        for query in 0..n {
            weights[query * n] += share;
            weights[query * (n + 1)] += 1.0 - share;
        }
        recording(Kind::Decoder, weights, n, n)
    }

    #[test]
    fn a_planted_sink_of_forty_percent_is_said_with_its_token() {
        let mut recording = sink(0.4);
        recording.items[0].target.tokens[0].text = "\u{1b}]0;x".into();
        let said = said(&recording);
        let sentence = about(&said, "sink").expect("the sink is named");
        assert!(
            sentence.text.contains(
                "L0H0 puts 40 % of its weight on “␛]0;x”, token 0, on average (queries that see one key only left out;"
            ),
            "{}",
            sentence.text
        );
        assert!((sentence.numbers[0].value - 0.4).abs() < 1e-6);
        assert_eq!(about(&super::super::tests::said(&sink(0.2)), "sink"), None, "below the threshold");
    }

    #[test]
    fn a_recording_without_tokens_has_sinks_by_their_place() {
        let mut recording = sink(0.4);
        recording.items[0].target.tokens.clear();
        let said = said(&recording);
        let text = &about(&said, "sink").expect("the sink is named").text;
        assert!(text.contains("of its weight on token 0, on average ("), "{text}");
    }

    #[test]
    fn the_head_that_looks_most_at_the_end_token_is_said_from_thirty_percent_on() {
        let with_end = |share: f32| {
            let rest = (1.0 - share) / 9.0;
            let weights = (0..100).map(|cell| if cell % 10 == 9 { share } else { rest }).collect();
            let mut recording = recording(Kind::Cross, weights, 10, 10);
            recording.items[0].source.tokens[9] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
            said(&recording)
        };
        let said = with_end(0.41);
        assert_eq!(
            about(&said, "separator").expect("41 %").text,
            "Cross-attention: L0H0 puts 41 % of its weight on the end token “</s>” (looking at all alike would give 10 %)."
        );
        assert_eq!(about(&with_end(0.29), "separator"), None);
    }

    #[test]
    fn an_induction_head_is_said_where_tokens_repeat_and_its_absence_otherwise() {
        let (n, period) = (20, 5);
        // a head that looks behind earlier copies with `share` of its weight, else at its own token; one that looks one token back
        let said_of = |share: f32| {
            let mut weights = vec![0.0; 2 * n * n]; // [2, n, n]
            for query in 0..n {
                weights[query * (n + 1)] = 1.0 - share;
                weights[query * n + if query < period { query } else { query - period + 1 }] += share;
                weights[n * n + query * n + query.saturating_sub(1)] = 1.0;
            }
            let mut recording = recording(Kind::Decoder, weights, n, n);
            (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
            for (place, token) in recording.items[0].target.tokens.iter_mut().enumerate() {
                token.text = ["a", "b", "c", "d", "e"][place % period].into();
            }
            let found = about(&said(&recording), "induction").expect("tokens repeat").clone();
            assert_eq!(found.head, Some(0));
            found.text
        };
        assert!(
            said_of(0.6).starts_with("Decoder: L0H0 puts 60 % of its weight on what followed earlier copies"),
            "{}",
            said_of(0.6)
        );
        assert!(
            said_of(0.1).contains("none of 2 heads looks much behind earlier copies; L0H0 most, 10 % over 15 queries"),
            "{}",
            said_of(0.1)
        );
    }
}
