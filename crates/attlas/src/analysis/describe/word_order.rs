//! Cross-attention between words: whether it keeps their order, which cross, which nobody looks at.

use super::{MIN_SCORES, Number, OfKind, Rank, Ranked, Sentence, listed, quoted};
use crate::analysis::{HeadSums, Measure, Score, WordLinks, word_links};
use crate::{Error, HeadId, Kind, RowTokens, Tokens};

/// Words named in a sentence at most.
const MAX_WORDS: usize = 3;

/// The words of both texts, and which look at which in one head.
struct Words {
    head: HeadId,
    targets: Vec<String>,
    sources: Vec<String>,
    links: WordLinks,
    /// Which row of a word was looked at, where that is not the usual one.
    rows: &'static str,
}

/// Says that words were looked for in other rows than those that are usually meant.
const ROWS_READ: &str = ", in the rows that read a word, since the recording does not say which word each row predicts";

/// What the head that seems to align says of the words, where one keeps their order more than chance would.
pub(super) fn sentences(of: &OfKind<'_>) -> Result<Vec<Ranked>, Error> {
    let Some(monotone) = Measure::named("monotone").filter(|_| of.kind == Kind::Cross) else { return Ok(Vec::new()) };
    let Some((most, score)) = of.best(monotone.name) else { return Ok(Vec::new()) };
    let rows = rows_of(of, most)?;
    let ordered: Vec<(HeadId, Score, f64)> = of.heads.iter().filter_map(|head| decided(head)).collect();
    let surest = ordered.iter().copied().reduce(|best, next| if next.2 > best.2 { next } else { best });
    Ok(match surest {
        None => vec![(Rank::WordOrder, no_order(of, monotone, most, &score, rows))],
        Some((head, score, _)) => {
            let words = Words::of(of, head, rows)?;
            order(of, &words, &score, ordered.len()).into_iter().chain(shares(of, &words)).collect()
        }
    })
}

/// A head that keeps word order, how much, and how decided it is.
fn decided(head: &HeadSums) -> Option<(HeadId, Score, f64)> {
    let score = head.score("monotone").filter(keeps_order)?;
    Some((head.head, score, head.score("confidence").map_or(0.0, |score| score.value)))
}

/// Whether words are in order more surely than words at random would be.
fn keeps_order(score: &Score) -> bool {
    let low = score.interval.map(|(low, _)| low);
    score.n >= MIN_SCORES && low.zip(score.baseline).is_some_and(|(low, baseline)| low > baseline)
}

/// What must be said of the rows that are looked at.
fn rows_of(of: &OfKind<'_>, head: HeadId) -> Result<&'static str, Error> {
    let map = of.recording.map(of.item, Kind::Cross, head.layer, head.head)?;
    Ok(if RowTokens::Predicted.known(&map) == RowTokens::Predicted { "" } else { ROWS_READ })
}

/// That no head is good enough to read the order of words from, or that there are too few words.
fn no_order(of: &OfKind<'_>, measure: &Measure, head: HeadId, score: &Score, rows: &str) -> Sentence {
    let text = if score.n < MIN_SCORES {
        let (n, least) = (score.n + 1, MIN_SCORES + 1);
        format!("{}: {n} target words are too few to read word order from{rows} (it takes {least}).", of.name())
    } else {
        format!(
            "{}: no head keeps word order surely more than words at random would; the most, {head}, keeps {:.2} of it (at random \
             {:.2}){rows}.",
            of.name(),
            score.value,
            score.baseline.unwrap_or_default()
        )
    };
    of.sentence(text, Some(head), measure.name, Number::of(score))
}

/// How many pairs of words are in the order of the source, and which words must be left out for all to be.
fn order(of: &OfKind<'_>, words: &Words, score: &Score, n_ordered: usize) -> Option<Ranked> {
    let monotone = Measure::named("monotone")?;
    let crossing: Vec<String> =
        words.crossing().into_iter().map(|(target, source)| words.link(target, source)).collect();
    let which = match crossing.len() {
        0 => String::new(),
        1 => format!("; {} crosses", crossing[0]),
        _ => format!("; {} cross", listed(&crossing, MAX_WORDS)),
    };
    let (n_pairs, n_crossing) = words.pairs();
    let is_named = if monotone.names(score) { "" } else { ", not enough to name the head for it" };
    let chosen = match n_ordered {
        1 => "the only head that keeps it surely more than chance would".to_owned(),
        _ => {
            format!("of {n_ordered} heads that keep it surely more than chance would the one with the largest weights")
        }
    };
    let text = format!(
        "{}: {} of {n_pairs} pairs of target words do not cross in {} (word order kept: {:.2}, at random {:.2}{is_named}), {chosen}{}{which}.",
        of.name(),
        n_pairs - n_crossing,
        words.head,
        score.value,
        score.baseline?,
        words.rows
    );
    let mut numbers = vec![
        Number::count("pairs in order", n_pairs - n_crossing),
        Number::count("pairs", n_pairs),
        Number::count("crossing words", crossing.len()),
        Number::count("heads that keep word order", n_ordered),
    ];
    numbers.extend(Number::of(score));
    Some((Rank::WordOrder, of.sentence(text, Some(words.head), monotone.name, numbers)))
}

/// How many source words several target words look at, and how many none does; of a head whose largest weights say something.
fn shares(of: &OfKind<'_>, words: &Words) -> Option<Ranked> {
    let coverage = Measure::named("coverage")?;
    let score = of.heads.iter().find(|head| head.head == words.head)?.score(coverage.name)?;
    let lookers = words.lookers();
    let names = |targets: &[usize]| -> String {
        targets.iter().map(|target| quoted(&words.targets[*target])).collect::<Vec<_>>().join(", ")
    };
    let shared = lookers.iter().enumerate().filter(|(_, targets)| targets.len() > 1);
    let shared = shared.map(|(source, targets)| format!("{} ← {}", names(targets), quoted(&words.sources[source])));
    let shared: Vec<String> = shared.collect();
    let left = lookers.iter().enumerate().filter(|(_, targets)| targets.is_empty());
    let left: Vec<String> = left.map(|(source, _)| quoted(&words.sources[source])).collect();
    let beside = |names: &[String]| match names.len() {
        0 => String::new(),
        _ => format!(" ({})", listed(names, MAX_WORDS)),
    };
    let (rank, what) = match (shared.len(), left.len()) {
        (0, 0) => (Rank::Local, format!("each of {} source words is looked at most by one target word", lookers.len())),
        (n_shared, n_left) => {
            let are = if n_shared == 1 { "is" } else { "are" };
            let (shared, left, n) = (beside(&shared), beside(&left), lookers.len());
            let what = format!(
                "{n_shared} of {n} source words {are} looked at most by several target words{shared}, and {n_left} by none{left}"
            );
            (Rank::Words, what)
        }
    };
    let text = format!("{}: in {}, {what}.", of.name(), words.head);
    let mut numbers = vec![
        Number::count("source words of several", shared.len()),
        Number::count("source words of none", left.len()),
        Number::count("source words", lookers.len()),
    ];
    numbers.extend(Number::of(&score));
    Some((rank, of.sentence(text, Some(words.head), coverage.name, numbers)))
}

impl Words {
    fn of(of: &OfKind<'_>, head: HeadId, rows: &'static str) -> Result<Words, Error> {
        let map = of.recording.map(of.item, Kind::Cross, head.layer, head.head)?;
        Ok(Words {
            head,
            targets: names(RowTokens::Predicted.of(&map)),
            sources: names(map.key_tokens()),
            links: word_links(&map, RowTokens::Predicted),
            rows,
        })
    }

    /// `“rouge” ← “red”`.
    fn link(&self, target: usize, source: usize) -> String {
        format!("{} ← {}", quoted(&self.targets[target]), quoted(&self.sources[source]))
    }

    /// The target words that look at a source word, with that word.
    fn linked(&self) -> Vec<(usize, usize)> {
        self.links.links().enumerate().filter_map(|(target, source)| Some((target, source?))).collect()
    }

    /// The fewest target words without which no two links cross, of equally few the later; with the word each looks at most.
    fn crossing(&self) -> Vec<(usize, usize)> {
        let linked = self.linked();
        // how many links may follow one another in order from each on
        let mut lengths = vec![1; linked.len()]; // [links]
        for link in (0..linked.len()).rev() {
            let after = (link + 1..linked.len()).filter(|later| linked[*later].1 >= linked[link].1);
            lengths[link] = 1 + after.map(|later| lengths[later]).max().unwrap_or(0);
        }
        let (mut left, mut furthest) = (lengths.iter().copied().max().unwrap_or(0), 0);
        let mut crossing = Vec::new();
        for (link, length) in linked.into_iter().zip(lengths) {
            if length == left && link.1 >= furthest {
                (left, furthest) = (left - 1, link.1);
            } else {
                crossing.push(link);
            }
        }
        crossing
    }

    /// How many pairs of linked target words there are, and how many of them cross.
    fn pairs(&self) -> (usize, usize) {
        let linked = self.linked();
        let after = |link: usize| (0..link).filter(|earlier| linked[*earlier].1 > linked[link].1).count();
        (linked.len() * linked.len().saturating_sub(1) / 2, (0..linked.len()).map(after).sum())
    }

    /// Which target words look most at each source word. Shape `[source words]`.
    fn lookers(&self) -> Vec<Vec<usize>> {
        let mut lookers = vec![Vec::new(); self.sources.len()];
        for (target, source) in self.links.links().enumerate() {
            source.into_iter().for_each(|source| lookers[source].push(target));
        }
        lookers
    }
}

/// The words of a text that are no special tokens and no padding, as [`WordLinks`] counts them.
fn names(tokens: &Tokens) -> Vec<String> {
    tokens.merged().tokens.into_iter().filter(|token| token.is_text()).map(|token| token.text).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Sentence;
    use super::super::tests::said;
    use super::ROWS_READ;
    use crate::analysis::measure;
    use crate::analysis::rows::tests::recording as recording_of;
    use crate::{Kind, Recording, Token, TokenRole};

    /// A cross-attention head whose target words look at the source words of these places, 0.9 each.
    fn linked(sources: &[(&str, usize)], words: &[&str]) -> Recording {
        let (n, n_keys) = (sources.len(), words.len());
        let mut weights = vec![0.1 / (n_keys - 1) as f32; n * n_keys]; // [n, n_keys]
        sources.iter().enumerate().for_each(|(row, (_, source))| weights[row * n_keys + source] = 0.9);
        let mut recording = recording_of(Kind::Cross, weights, n, n_keys);
        let item = &mut recording.items[0];
        item.predicted = item.target.clone();
        item.predicted.tokens.iter_mut().zip(sources).for_each(|(token, (text, _))| token.text = (*text).into());
        item.target.tokens.iter_mut().zip(sources).for_each(|(token, (text, _))| token.text = (*text).into());
        item.source.tokens.iter_mut().zip(words).for_each(|(token, text)| token.text = (*text).into());
        recording
    }

    fn about<'a>(said: &'a [Sentence], measure: &str) -> Option<&'a Sentence> {
        said.iter().find(|one| one.measure == Some(measure))
    }

    const APPLE: [(&str, usize); 6] = [("elle", 0), ("mange", 1), ("une", 2), ("pomme", 4), ("rouge", 3), (".", 5)];
    const WORDS: [&str; 6] = ["she", "eats", "a", "red", "apple", "."];

    #[test]
    fn a_planted_crossing_is_said_with_its_words() {
        let recording = linked(&APPLE, &WORDS);
        let said = said(&recording);
        assert_eq!(
            said[0].text,
            "Cross-attention: 14 of 15 pairs of target words do not cross in L0H0 (word order kept: 0.95, at random 0.50, not enough \
             to name the head for it), the only head that keeps it surely more than chance would; “rouge” ← “red” crosses."
        );
        assert_eq!((said[0].kind, said[0].layer, said[0].head), (Some(Kind::Cross), Some(0), Some(0)));
        // the numbers are those of the measures
        let head = &measure(&recording, 0).expect("the text exists")[0];
        let number = |name: &str| said[0].numbers.iter().find(|number| number.name == name).expect("it is there").value;
        assert_eq!(Some(number("score")), head.score("monotone").map(|score| score.value));
        assert_eq!((number("pairs"), number("crossing words")), (15.0, 1.0));
    }

    #[test]
    fn a_word_far_ahead_crosses_alone_and_those_behind_it_are_in_order() {
        let names: Vec<String> = (0..15).map(|place| format!("s{place}")).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        let in_order = (0..12).map(|place| ("mot", place));
        let looks: Vec<(&str, usize)> = [("hier", 13)].into_iter().chain(in_order).chain([(".", 14)]).collect();
        let text = &said(&linked(&looks, &words))[0].text;
        assert!(text.contains("79 of 91 pairs") && text.ends_with("; “hier” ← “s13” crosses."), "{text}");
    }

    #[test]
    fn of_heads_that_keep_word_order_the_most_decided_one_is_read() {
        // the first head looks one word off, and less sharply
        let mut off = vec![0.08; 36]; // [6, 6]
        (0..6_usize).for_each(|row| off[row * 6 + row.saturating_sub(1)] = 0.6);
        let mut recording = linked(&APPLE, &WORDS);
        let mut both = off;
        for row in 0..6 {
            both.extend(recording.map(0, Kind::Cross, 0, 0).expect("the head exists").row(row));
        }
        recording.layers = recording_of(Kind::Cross, both, 6, 6).layers;
        (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
        let said = said(&recording);
        let one = about(&said, "monotone").expect("both keep word order");
        assert_eq!(one.head, Some(1), "{}", one.text);
        assert!(
            one.text.contains("of 2 heads that keep it surely more than chance would the one with"),
            "{}",
            one.text
        );
    }

    #[test]
    fn rows_whose_predicted_words_are_unknown_are_said_to_be_those_that_read() {
        let mut recording = linked(&APPLE, &WORDS);
        assert!(!said(&recording)[0].text.contains("rows that read"), "{}", said(&recording)[0].text);
        recording.items[0].predicted.tokens.clear();
        let text = &said(&recording)[0].text;
        assert!(text.contains(ROWS_READ), "{text}");
    }

    #[test]
    fn of_four_words_it_is_said_that_they_are_too_few() {
        let recording = linked(&APPLE[..4], &WORDS[..5]);
        assert_eq!(
            said(&recording)[0].text,
            "Cross-attention: 4 target words are too few to read word order from (it takes 6)."
        );
    }

    #[test]
    fn words_that_several_look_at_and_those_that_nobody_does_are_named() {
        let looks = [("il", 0), ("ne", 2), ("dort", 3), ("pas", 2), ("la", 5), ("nuit", 6), ("là", 7), ("!", 8)];
        let words = ["he", "does", "not", "sleep", "at", "the", "night", "there", "!"];
        let recording = linked(&looks, &words);
        let said = said(&recording);
        assert_eq!(
            about(&said, "coverage").expect("the head is decided").text,
            "Cross-attention: in L0H0, 1 of 9 source words is looked at most by several target words (“ne”, “pas” ← “not”), and 2 by \
             none (“does” and “at”)."
        );
    }

    #[test]
    fn a_head_that_looks_everywhere_alike_has_no_word_order() {
        let mut recording = linked(&APPLE, &WORDS);
        recording.layers = recording_of(Kind::Cross, [0.5, 0.1, 0.1, 0.1, 0.1, 0.1].repeat(6), 6, 6).layers;
        let said = said(&recording);
        let text = &about(&said, "monotone").expect("it was measured").text;
        assert!(
            text.contains(
                "no head keeps word order surely more than words at random would; the most, L0H0, keeps 0.50"
            ),
            "{text}"
        );
        assert_eq!(about(&said, "coverage"), None);
    }

    #[test]
    fn padding_and_special_tokens_are_no_words() {
        let looks =
            [("elle", 0), ("mange", 1), ("une", 2), ("pomme", 4), ("rouge", 3), (".", 5), ("</s>", 6), ("<pad>", 7)];
        let words = ["she", "eats", "a", "red", "apple", ".", "</s>", "<pad>"];
        let mut recording = linked(&looks, &words);
        let item = &mut recording.items[0];
        for tokens in [&mut item.source, &mut item.target, &mut item.predicted] {
            tokens.tokens[6] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
            tokens.tokens[7] = Token { role: TokenRole::Padding, ..Token::labelled("<pad>") };
        }
        let said = said(&recording);
        assert!(said[0].text.contains("14 of 15 pairs of target words do not cross"), "{}", said[0].text);
        assert!(!said.iter().any(|one| one.text.contains("<pad>")), "{said:#?}");
    }
}
