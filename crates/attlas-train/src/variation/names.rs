//! Names and numbers that stand in both texts of a pair, and others in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::data::Random;

/// The names of a file of pairs.
#[derive(Debug)]
pub struct Names {
    all: BTreeSet<String>,
    /// The same by [`kind`], in order.
    kinds: [Vec<String>; N_KINDS],
}

const N_KINDS: usize = 4;

/// Pairs in which a word must stand inside both sentences, not at their beginning, to be a name.
const N_INSIDE: usize = 2;

impl Names {
    /// The capitalised words that stand once in both texts of a pair, inside the target sentence in two pairs or more, and in
    /// no source in lower case.
    pub fn of(texts: &[(String, String)]) -> Names {
        let mut n_inside: BTreeMap<&str, usize> = BTreeMap::new();
        let mut lower: BTreeSet<&str> = BTreeSet::new();
        for (source, target) in texts {
            let words = words(source);
            lower.extend(
                words.iter().map(|word| &source[word.clone()]).filter(|word| word.starts_with(char::is_lowercase)),
            );
            for (word, [_, place]) in shared(source, target) {
                if is_capitalised(word) {
                    *n_inside.entry(word).or_default() += usize::from(!begins_sentence(&target[..place.start]));
                }
            }
        }
        let is_name =
            |(word, n_inside): &(&str, usize)| *n_inside >= N_INSIDE && !lower.contains(word.to_lowercase().as_str());
        let all: BTreeSet<String> = n_inside.into_iter().filter(is_name).map(|(word, _)| word.to_string()).collect();
        let mut kinds: [Vec<String>; N_KINDS] = Default::default();
        all.iter().for_each(|name| kinds[kind(name)].push(name.clone()));
        Names { all, kinds }
    }

    /// A pair with other names and numbers; `None` where it has none that stand once in both texts.
    pub fn swap(&self, source: &str, target: &str, random: &mut Random) -> Option<(String, String)> {
        let mut swaps: Vec<([Range<usize>; 2], String)> = Vec::new();
        for (word, places) in shared(source, target) {
            if is_number(word) {
                swaps.push((places, other_number(word, random)));
            } else if self.all.contains(word) {
                swaps.push((places, self.other_name(word, random)));
            }
        }
        if swaps.is_empty() {
            return None;
        }
        let swapped = |text: &str, side: usize| {
            let mut swaps: Vec<_> = swaps.iter().map(|(places, other)| (places[side].clone(), other)).collect();
            swaps.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
            let mut text = text.to_string();
            swaps.into_iter().for_each(|(place, other)| text.replace_range(place, other));
            text
        };
        Some((swapped(source, 0), swapped(target, 1)))
    }

    /// One of the file's names of the same kind, or as often one that nobody has.
    fn other_name(&self, name: &str, random: &mut Random) -> String {
        let known = &self.kinds[kind(name)];
        if random.happens(0.5) { made_up(kind(name), random) } else { known[random.below(known.len())].clone() }
    }
}

/// What French makes of a name: whether words before it are elided (it begins with a vowel), and mostly whether it is feminine
/// (it ends in a or e).
fn kind(name: &str) -> usize {
    let begins = name.starts_with(['A', 'E', 'I', 'O', 'U', 'É', 'È', 'Ê', 'Î', 'Ô', 'Â', 'H', 'Y']);
    2 * usize::from(begins) + usize::from(name.ends_with(['a', 'e']))
}

/// A name that can be pronounced: two or three syllables.
fn made_up(kind: usize, random: &mut Random) -> String {
    const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];
    const BEGINNINGS: [&str; 30] = [
        "b", "c", "d", "f", "g", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "ch", "cl", "dr",
        "fl", "gr", "kr", "pl", "pr", "sh", "st", "th", "tr",
    ];
    const ENDS: [&str; 8] = ["n", "r", "l", "s", "m", "t", "k", "d"];
    let mut pick = |from: &[&'static str]| from[random.below(from.len())];
    let mut name = if kind >= 2 { pick(&VOWELS).to_string() } else { pick(&BEGINNINGS).to_string() + pick(&VOWELS) };
    let more = pick(&["", "+"]);
    if !more.is_empty() {
        name += pick(&BEGINNINGS);
        name += pick(&VOWELS);
    }
    name += pick(&BEGINNINGS);
    if kind % 2 == 1 {
        name += pick(&["a", "e"]);
    } else {
        name += pick(&VOWELS);
        name += pick(&ENDS);
    }
    let first = name.remove(0).to_uppercase().to_string();
    first + &name
}

/// As many digits, and no more zeros at the beginning; one digit is 2 to 9, so that a plural stays one.
fn other_number(number: &str, random: &mut Random) -> String {
    let digit = |(place, digit): (usize, char)| {
        let least = match (place, digit) {
            (0, _) if number.len() == 1 => 2,
            (0, '0') => 0,
            (0, _) => 1,
            _ => 0,
        };
        char::from(b'0' + (least + random.below(10 - least)) as u8)
    };
    number.char_indices().map(digit).collect()
}

/// Digits whose noun is a plural whatever they are.
fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit()) && !matches!(word, "0" | "1")
}

/// `Tom`, not `TV`, `I` or `McDonald`.
fn is_capitalised(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase) && word.chars().nth(1).is_some() && letters.all(char::is_lowercase)
}

/// The words that stand exactly once in each text, with their places there, in the order of the source.
fn shared<'a>(source: &'a str, target: &str) -> Vec<(&'a str, [Range<usize>; 2])> {
    let (in_source, in_target) = (words(source), words(target));
    let only = |words: &[Range<usize>], text: &str, word: &str| {
        let mut places = words.iter().filter(|place| &text[(*place).clone()] == word);
        places.next().filter(|_| places.next().is_none()).cloned()
    };
    let places = in_source.iter().filter_map(|place| {
        let word = &source[place.clone()];
        let may_be = word.starts_with(|first: char| first.is_uppercase() || first.is_ascii_digit());
        let found = may_be.then(|| only(&in_target, target, word)).flatten()?;
        only(&in_source, source, word).map(|place| (word, [place, found]))
    });
    places.collect()
}

/// The runs of letters and digits that no hyphen ties to others.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (place, symbol) in text.char_indices().chain([(text.len(), ' ')]) {
        match (symbol.is_alphanumeric(), start) {
            (true, None) => start = Some(place),
            (false, Some(first)) => {
                words.push(first..place);
                start = None;
            }
            _ => {}
        }
    }
    words.retain(|word| !text[..word.start].ends_with('-') && !text[word.end..].starts_with('-'));
    words
}

/// Whether a word after this text has its capital from its place.
fn begins_sentence(before: &str) -> bool {
    let before = before.trim_end_matches(|symbol: char| symbol.is_whitespace() || "«“\"'(–—-".contains(symbol));
    before.is_empty() || before.ends_with(['.', '!', '?', ':', ';', '…', '»', '”'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let pairs = [
            ("Does Tom like Boston?", "Est-ce que Tom aime Boston ?"),
            ("I know Tom and Anna.", "Je connais Tom et Anna."),
            ("Long live Boston!", "Vive Boston !"),
            ("I met Anna.", "J'ai rencontré Anna."),
            // of both languages, but no names
            ("Six tables.", "Six tables."),
            ("I read page Six: Table", "J'ai lu la page Six et Table"),
            ("The Table", "La Table"),
            ("My table", "Ma table"),
        ];
        Names::of(&pairs.map(|(source, target)| (source.to_string(), target.to_string())))
    }

    #[test]
    fn names_are_capitalised_words_of_both_texts_that_are_no_word_in_lower_case() {
        assert_eq!(names().all.into_iter().collect::<Vec<_>>(), ["Anna", "Boston", "Tom"]);
    }

    #[test]
    fn names_and_numbers_are_others_on_both_sides_alike() {
        let names = names();
        let mut random = Random::new(5);
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            let source = "Tom's 12 dogs saw Anna in 1969.";
            let (source, target) =
                names.swap(source, "Les 12 chiens de Tom ont vu Anna en 1969.", &mut random).unwrap();
            let (source, target) = (source.as_str(), target.as_str());
            let (tom, rest) = source.split_once("'s ").unwrap();
            let (twelve, rest) = rest.split_once(" dogs saw ").unwrap();
            let (anna, year) = rest.split_once(" in ").unwrap();
            assert_eq!(target, format!("Les {twelve} chiens de {tom} ont vu {anna} en {year}"));
            assert_eq!((twelve.len(), year.len()), (2, 5));
            assert!(kind(tom) == kind("Tom") && kind(anna) == kind("Anna"), "{source}");
            assert!(is_capitalised(tom) && is_capitalised(anna), "{source}");
            seen.insert(tom.to_string());
        }
        assert!(seen.contains("Boston") && seen.len() > 15, "{seen:?}");
    }

    #[test]
    fn what_stands_in_one_text_alone_or_twice_or_in_part_of_a_word_stays() {
        let names = names();
        let mut random = Random::new(5);
        for (source, target) in [
            ("Tom is here.", "Il est là."),
            ("Tom and Tom.", "Tom et Tom."),
            ("The 21st.", "Le 21e."),
            ("1 dog.", "1 chien."),
            ("Tom-cat", "Tom-chat"),
            ("Long live him!", "Vive lui !"),
        ] {
            assert_eq!(names.swap(source, target, &mut random), None, "{source}");
        }
    }
}
