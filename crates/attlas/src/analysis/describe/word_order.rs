//! Cross-attention between words: whether it keeps their order, which cross, which nobody looks at.

use super::{MIN_SCORES, Number, OfKind, Rank, Ranked, listed, quoted};
use crate::analysis::{Measure, Score, WordLinks, word_links};
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

/// What the head that agrees best both ways says of the words, where one is named for that.
pub(super) fn sentences(of: &OfKind<'_>) -> Result<Vec<Ranked>, Error> {
    let measure = Measure::named("agreement").filter(|_| of.kind == Kind::Cross);
    let Some((measure, (head, agreement))) = measure.and_then(|measure| Some((measure, best(of)?))) else {
        return Ok(Vec::new());
    };
    let map = of.recording.map(of.item, Kind::Cross, head.layer, head.head)?;
    let rows = if RowTokens::Predicted.known(&map) == RowTokens::Predicted { "" } else { ROWS_READ };
    if !measure.names(&agreement) {
        return Ok(disagreement(of, measure, head, &agreement, rows).into_iter().collect());
    }
    let words = Words {
        head,
        targets: names(RowTokens::Predicted.of(&map)),
        sources: names(map.key_tokens()),
        links: word_links(&map, RowTokens::Predicted),
        rows,
    };
    Ok(order(of, &words, &agreement).into_iter().chain(shares(of, &words)).collect())
}

/// The head that agrees best both ways; of equals the one with the largest weights.
fn best(of: &OfKind<'_>) -> Option<(HeadId, Score)> {
    let scored = of.heads.iter().filter_map(|head| {
        let confidence = head.score("confidence").map_or(0.0, |score| score.value);
        Some((head.head, head.score("agreement")?, confidence))
    });
    let better = |a: &(HeadId, Score, f64), b: &(HeadId, Score, f64)| {
        a.1.value.total_cmp(&b.1.value).then(a.2.total_cmp(&b.2)).is_gt()
    };
    let best = scored.reduce(|best, next| if better(&next, &best) { next } else { best });
    best.map(|(head, score, _)| (head, score))
}

/// For how many words the two directions agree, beside what words at random would give: `for 8 of 9 target words`, `words at
/// random: about 1 of 9`.
fn agreeing(agreement: &Score) -> Option<(String, String)> {
    let n = agreement.n as f64;
    let agree = format!("for {:.0} of {n} target words", agreement.value * n);
    Some((agree, format!("words at random: about {:.0} of {n}", agreement.baseline? * n)))
}

/// That no head is good enough to read the order of words from, or that there are too few words.
fn disagreement(of: &OfKind<'_>, measure: &Measure, head: HeadId, agreement: &Score, rows: &str) -> Option<Ranked> {
    let (agree, at_random) = agreeing(agreement)?;
    let text = if agreement.n < MIN_SCORES {
        format!(
            "{}: both directions of {head} agree {agree}{rows}, too few to name a head and to read word order from it (it takes \
             {MIN_SCORES}).",
            of.name()
        )
    } else {
        format!(
            "{}: no head's two directions agree surely enough to read word order from it; the best, {head}, agrees \
             {agree} ({at_random}){rows}.",
            of.name()
        )
    };
    Some((Rank::WordOrder, of.sentence(text, Some(head), measure.name, Number::of(agreement))))
}

/// For how many words the order of the source is kept, and which links cross.
fn order(of: &OfKind<'_>, words: &Words, agreement: &Score) -> Option<Ranked> {
    let monotone = Measure::named("monotone")?;
    let score = of.heads.iter().find(|head| head.head == words.head)?.score(monotone.name)?;
    let crossing: Vec<String> = words.crossing().map(|(target, source)| words.link(target, source)).collect();
    let (n, n_crossing) = (score.n as usize, crossing.len());
    let which = match n_crossing {
        0 => String::new(),
        1 => format!("; {} crosses", crossing[0]),
        _ => format!("; {} cross", listed(&crossing, MAX_WORDS)),
    };
    let (agree, at_random) = agreeing(agreement)?;
    let is_named = if monotone.names(&score) { "" } else { ", not enough to name the head for it" };
    let text = format!(
        "{}: {} of {n} target words after the first do not cross an earlier one in {} (word order kept: {:.2}, at random \
         {:.2}{is_named}), the head whose two directions agree best ({agree}; {at_random}){}{which}.",
        of.name(),
        n - n_crossing.min(n),
        words.head,
        score.value,
        score.baseline?,
        words.rows
    );
    let mut numbers = vec![
        Number::count("words in order", n - n_crossing.min(n)),
        Number::count("crossing words", n_crossing),
        Number::new("agreement", agreement.value),
        Number::new("words", agreement.n as f64),
    ];
    numbers.extend(Number::of(&score));
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
    /// `“rouge” ← “red”`.
    fn link(&self, target: usize, source: usize) -> String {
        format!("{} ← {}", quoted(&self.targets[target]), quoted(&self.sources[source]))
    }

    /// The target words that look at an earlier source word than one before them, with the word they look at most.
    fn crossing(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut furthest = 0;
        let linked = self.links.links().enumerate().filter_map(|(target, source)| Some((target, source?)));
        linked.filter(move |(_, source)| {
            let crosses = *source < furthest;
            furthest = furthest.max(*source);
            crosses
        })
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
    use crate::analysis::rows::tests::recording as recording_of;
    use crate::analysis::{RowTokens, measure, word_links};
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
            "Cross-attention: 4 of 5 target words after the first do not cross an earlier one in L0H0 (word order kept: 0.95, at random \
             0.50), the head whose two directions agree best (for 6 of 6 target words; words at random: about 1 of 6); “rouge” ← \
             “red” crosses."
        );
        assert_eq!((said[0].kind, said[0].layer, said[0].head), (Some(Kind::Cross), Some(0), Some(0)));
        // the numbers are those of the measures
        let head = &measure(&recording, 0).expect("the text exists")[0];
        let number = |name: &str| said[0].numbers.iter().find(|number| number.name == name).expect("it is there").value;
        assert_eq!(Some(number("score")), head.score("monotone").map(|score| score.value));
        assert_eq!(Some(number("agreement")), head.score("agreement").map(|score| score.value));
        let map = recording.map(0, Kind::Cross, 0, 0).expect("the head exists");
        let links: Vec<usize> = word_links(&map, RowTokens::Predicted).links().flatten().collect();
        let crosses = |target: &usize| links[..*target].iter().any(|earlier| *earlier > links[*target]);
        assert_eq!(number("crossing words") as usize, (1..links.len()).filter(crosses).count());
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
            "Cross-attention: both directions of L0H0 agree for 4 of 4 target words, too few to name a head and to read word order \
             from it (it takes 5)."
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
        let text = &about(&said, "agreement").expect("it was measured").text;
        assert!(
            text.contains("the best, L0H0, agrees for 1 of 6 target words (words at random: about 1 of 6)"),
            "{text}"
        );
        assert_eq!(about(&said, "monotone"), None);
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
        assert!(said[0].text.contains("4 of 5 target words after the first do not cross"), "{}", said[0].text);
        assert!(!said.iter().any(|one| one.text.contains("<pad>")), "{said:#?}");
    }
}
