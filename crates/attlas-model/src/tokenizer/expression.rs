//! A regular expression from a file, searched for with counted steps.
//!
//! The engine that backtracks bounds one match, not what all places of a text cost together. So each place is walked first
//! by an automaton of the expression without its look-around: it counts how far any way through the expression can read
//! from there, and knows where nothing can match. The engine is asked at the places that are left, as long as there are
//! steps for it. An expression that never looks around is matched by its automaton alone.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};

use fancy_regex::{Error, Expr, LookAround, Regex, RegexBuilder, RuntimeError};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind};

/// The largest automaton, in bytes, before it is made deterministic where it is walked.
const MAX_AUTOMATON_BYTES: usize = 10 << 20;
/// What it costs that the automaton's memory is full and is filled again, in steps.
const REFILL_STEPS: u64 = 1 << 22;
/// How often the engine may go back at one place: seldom at first, because what it is granted counts as spent. Expressions
/// in use go back up to 15 times.
const MAX_BACKTRACKS: [usize; 4] = [16, 512, 16_384, 1_000_000];

/// The steps that are left for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps(pub u64);

/// There are no steps left, or the engine could not hold all the ways back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManySteps;

impl Steps {
    fn take(&mut self, n: u64) -> Result<(), TooManySteps> {
        self.0 = self.0.checked_sub(n).ok_or(TooManySteps)?;
        Ok(())
    }
}

/// A compiled expression; cheap to copy.
#[derive(Debug, Clone)]
pub(super) struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: String,
    automaton: DFA,
    caches: Pool<Cache, NewCache>,
    /// Finds the match at one place; none where the automaton does.
    engine: Option<Engine>,
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// What the automaton can say of a place.
struct Walk {
    /// Bytes that were read.
    n_read: usize,
    /// Where the last match ends.
    end: Option<usize>,
}

impl Expression {
    /// Compiles an expression, or says why not.
    pub fn new(text: &str) -> Result<Expression, String> {
        let tree = Expr::parse_tree(text).map_err(|error| error.to_string())?;
        let mut reach = Reach::default();
        reach.write(&tree.expr);
        if let Some(what) = reach.refused {
            return Err(format!("it {what}"));
        }
        let kind = if reach.is_inexact { MatchKind::All } else { MatchKind::LeftmostFirst };
        let automaton = DFA::builder()
            .configure(DFA::config().match_kind(kind).skip_cache_capacity_check(true))
            .thompson(thompson::Config::new().nfa_size_limit(Some(MAX_AUTOMATON_BYTES)))
            .build(&reach.text)
            .map_err(|error| error.to_string())?;
        let engine = if reach.is_inexact { Some(Engine::new(text, reach.looks_back)?) } else { None };
        let maker = automaton.clone();
        let caches: Pool<Cache, NewCache> = Pool::new(Box::new(move || maker.create_cache()));
        Ok(Expression(Arc::new(Compiled { text: text.to_owned(), automaton, caches, engine })))
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The places of all matches, one after the other, as the libraries find them: the first that matches from the left,
    /// no empty match right behind another.
    pub fn find_all(&self, text: &str, steps: &mut Steps) -> Result<Vec<(usize, usize)>, TooManySteps> {
        let mut cache = self.0.caches.get();
        let mut matches = Vec::new();
        let (mut from, mut last_end) = (0, None);
        while let Some((start, end)) = self.find(text, from, &mut cache, steps)? {
            from = if start == end { next_place(text, end) } else { end };
            if start < end || last_end != Some(end) {
                matches.push((start, end));
                last_end = Some(end);
            }
        }
        Ok(matches)
    }

    fn find(
        &self,
        text: &str,
        from: usize,
        cache: &mut Cache,
        steps: &mut Steps,
    ) -> Result<Option<(usize, usize)>, TooManySteps> {
        let mut start = from;
        while start <= text.len() {
            let n_refills = cache.clear_count();
            let walk = self.walk(text, start, cache)?;
            steps.take(1 + walk.n_read as u64 + REFILL_STEPS * (cache.clear_count() - n_refills) as u64)?;
            let found = match (&self.0.engine, walk.end) {
                (_, None) => None,
                (None, Some(end)) => Some((start, end)),
                (Some(engine), Some(_)) => engine.at(text, start, walk.n_read, steps)?,
            };
            if found.is_some() {
                return Ok(found);
            }
            start = next_place(text, start);
        }
        Ok(None)
    }

    /// Follows the automaton from a place until nothing more can match.
    fn walk(&self, text: &str, start: usize, cache: &mut Cache) -> Result<Walk, TooManySteps> {
        let automaton = &self.0.automaton;
        let input = Input::new(text).anchored(Anchored::Yes).range(start..);
        let mut state = automaton.start_state_forward(cache, &input).map_err(|_| TooManySteps)?;
        let mut end = None;
        for (n_read, byte) in text.as_bytes()[start..].iter().enumerate() {
            state = automaton.next_state(cache, state, *byte).map_err(|_| TooManySteps)?;
            if state.is_tagged() {
                // a match is known one byte after its end
                if state.is_match() {
                    end = Some(start + n_read);
                } else if state.is_dead() {
                    return Ok(Walk { n_read: n_read + 1, end });
                } else if state.is_quit() {
                    return Err(TooManySteps);
                }
            }
        }
        state = automaton.next_eoi_state(cache, state).map_err(|_| TooManySteps)?;
        Ok(Walk { n_read: text.len() - start, end: if state.is_match() { Some(text.len()) } else { end } })
    }
}

/// Where the next character begins; beyond the text after its end.
fn next_place(text: &str, place: usize) -> usize {
    place + text[place..].chars().next().map_or(1, char::len_utf8)
}

/// The engine that backtracks, at one place at a time.
#[derive(Debug)]
struct Engine {
    /// The expression, to match where the search begins and nowhere else.
    anchored: String,
    /// Whether it may read all that lies before a place.
    looks_back: bool,
    first: Regex,
    /// The same with more ways back, made when they are needed.
    more: [OnceLock<Regex>; MAX_BACKTRACKS.len() - 1],
}

impl Engine {
    fn new(text: &str, looks_back: bool) -> Result<Engine, String> {
        // In an atomic group the engine leaves alternatives that do not look around to automata, as it does outside of any.
        // An expression of several lines may end in a comment.
        let forms = [format!("\\G(?>{text})"), format!("\\G(?>{text}\n)")];
        let mut compiled = forms.into_iter().map(|form| (compile(&form, MAX_BACKTRACKS[0]), form));
        let (first, anchored) = match compiled.next() {
            Some((Ok(first), anchored)) => (first, anchored),
            Some((Err(error), _)) => match compiled.next() {
                Some((Ok(first), anchored)) => (first, anchored),
                _ => return Err(error.to_string()),
            },
            None => return Err("cannot be compiled".to_owned()),
        };
        Ok(Engine { anchored, looks_back, first, more: Default::default() })
    }

    /// The match at a place from which `n_read` bytes can be read.
    fn at(
        &self,
        text: &str,
        place: usize,
        n_read: usize,
        steps: &mut Steps,
    ) -> Result<Option<(usize, usize)>, TooManySteps> {
        let n_read = 1 + n_read + if self.looks_back { place } else { 0 };
        for (level, most) in MAX_BACKTRACKS.into_iter().enumerate() {
            steps.take((most as u64).saturating_mul(n_read as u64))?;
            match self.regex(level)?.find_from_pos(text, place) {
                Ok(found) => return Ok(found.map(|found| (found.start(), found.end()))),
                Err(Error::RuntimeError(RuntimeError::BacktrackLimitExceeded)) => {}
                Err(_) => return Err(TooManySteps),
            }
        }
        Err(TooManySteps)
    }

    fn regex(&self, level: usize) -> Result<&Regex, TooManySteps> {
        let Some(place) = level.checked_sub(1).and_then(|more| self.more.get(more)) else { return Ok(&self.first) };
        if let Some(regex) = place.get() {
            return Ok(regex);
        }
        let regex = compile(&self.anchored, MAX_BACKTRACKS[level]).map_err(|_| TooManySteps)?;
        Ok(place.get_or_init(|| regex))
    }
}

fn compile(text: &str, backtracks: usize) -> Result<Regex, Error> {
    RegexBuilder::new(text).backtrack_limit(backtracks).build()
}

/// An expression that reads whatever another reads, and matches wherever it matches, but does not look around.
#[derive(Default)]
struct Reach {
    text: String,
    /// Whether it may match more.
    is_inexact: bool,
    /// Whether the other may read what lies before a place, without limit.
    looks_back: bool,
    /// What is not followed, as the end of a sentence.
    refused: Option<&'static str>,
}

impl Reach {
    fn write(&mut self, expression: &Expr) {
        match expression {
            Expr::Empty => {}
            Expr::Any { .. } | Expr::Literal { .. } | Expr::Delegate { .. } => expression.to_str(&mut self.text, 3),
            Expr::Concat(parts) => self.concat(parts),
            Expr::Alt(parts) => self.group(|reach| {
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        reach.text.push('|');
                    }
                    reach.write(part);
                }
            }),
            Expr::Group(inner) => self.group(|reach| reach.write(inner)),
            Expr::AtomicGroup(inner) => {
                self.is_inexact = true;
                self.group(|reach| reach.write(inner));
            }
            Expr::LookAround(..) => self.concat(std::slice::from_ref(expression)),
            Expr::Repeat { child, lo, hi, greedy } => {
                self.group(|reach| reach.write(child));
                let most = if *hi == usize::MAX { String::new() } else { hi.to_string() };
                self.text.push_str(&format!("{{{lo},{most}}}{}", if *greedy { "" } else { "?" }));
            }
            Expr::Assertion(_) | Expr::KeepOut => self.is_inexact = true,
            Expr::ContinueFromPreviousMatchEnd => self.refused = Some("asks for the end of the match before"),
            // what a back-reference reads is not known before
            _ => {
                self.is_inexact = true;
                self.text.push_str("(?s:.)*");
            }
        }
    }

    fn group(&mut self, inner: impl FnOnce(&mut Reach)) {
        self.text.push_str("(?:");
        inner(self);
        self.text.push(')');
    }

    /// Parts in a row; what a look ahead reads may be read instead of what follows it.
    fn concat(&mut self, parts: &[Expr]) {
        for (index, part) in parts.iter().enumerate() {
            match part {
                Expr::LookAround(inner, LookAround::LookAhead | LookAround::LookAheadNeg) => {
                    self.is_inexact = true;
                    return self.group(|reach| {
                        reach.write(inner);
                        reach.text.push('|');
                        reach.concat(&parts[index + 1..]);
                    });
                }
                Expr::LookAround(inner, LookAround::LookBehind | LookAround::LookBehindNeg) => {
                    self.is_inexact = true;
                    self.looks_back |= repeats(inner);
                }
                _ => self.write(part),
            }
        }
    }
}

/// Whether the text that an expression matches may be much longer than the expression.
fn repeats(expression: &Expr) -> bool {
    match expression {
        Expr::Concat(parts) | Expr::Alt(parts) => parts.iter().any(repeats),
        Expr::Group(inner) | Expr::AtomicGroup(inner) | Expr::LookAround(inner, _) => repeats(inner),
        Expr::Empty | Expr::Any { .. } | Expr::Literal { .. } | Expr::Delegate { .. } | Expr::Assertion(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const TEXT: &str = "It's  the CAT'S 12345 données…\r\n\r\n   naïve, I'LL 日本語 abcabc aab\t \u{1f600}--- x=a+b; n't can't\n  end  ";

    /// The matches of the engine alone.
    fn by_engine(expression: &str, text: &str) -> Vec<(usize, usize)> {
        let regex = Regex::new(expression).expect("an expression");
        regex.find_iter(text).map(|found| found.expect("a match")).map(|found| (found.start(), found.end())).collect()
    }

    fn found(expression: &str, text: &str, steps: u64) -> (Result<Vec<(usize, usize)>, TooManySteps>, u64) {
        let mut left = Steps(steps);
        let found = Expression::new(expression).expect("an expression").find_all(text, &mut left);
        (found, steps - left.0)
    }

    #[test]
    fn matches_are_those_of_the_engine_alone() {
        let expressions = [
            GPT2,
            LLAMA3,
            O200K,
            r" {2,}",
            r"\s+",
            r"\w+|[^\w\s]+",
            r"a*",
            r"",
            r"(?:)|b",
            r"a|ab|abc",
            r"abc|ab|a",
            r"a*?b",
            r"(a+)+b",
            r"\bc",
            r"\b",
            r"^It|  $",
            r"(?m)^\s|$",
            r"(?<=a)b",
            r"(?<!a)b",
            r"(?<=[a-c]*)b",
            r"(?=a)",
            r"(?!a)",
            r"(?>a|ab)c",
            r"(a|b)\1",
            r"(?x) a  b # two letters",
            r"(?x) a (?=b) # the first",
            r"a\Kb",
            r"a++b",
            r"(?i)cat's",
            r"(?:(?!n't\b)[\p{L}])+'(?=\p{L})",
            r"(?=(\d{3})+(?!\d))",
            r"(?s).",
            r".",
            r"(?<word>a)b",
            r"[^\S\n]+",
            r"日|本(?=語)",
        ];
        for expression in expressions {
            for text in [TEXT, "", "a", "ab", "  ", "aabbab cab"] {
                let (matches, _) = found(expression, text, u64::MAX);
                assert_eq!(matches.as_ref(), Ok(&by_engine(expression, text)), "{expression:?} in {text:?}");
            }
        }
    }

    #[test]
    fn expressions_in_use_take_few_steps_for_each_byte_of_any_text() {
        let texts = [TEXT.repeat(100), " ".repeat(9_000), "A".repeat(9_000), "1".repeat(9_000), "?!".repeat(4_000)];
        for expression in [GPT2, LLAMA3, O200K] {
            for text in &texts {
                let (matches, n_steps) = found(expression, text, u64::MAX);
                assert!(matches.is_ok());
                assert!(n_steps <= 64 * text.len() as u64, "{n_steps} for {} bytes: {expression}", text.len());
            }
        }
    }

    #[test]
    fn steps_are_counted_over_all_places_and_end_the_search() {
        // each goes far, or back often, and then matches a character: n places of n steps or more
        let n = 20_000;
        for expression in
            [r"(?:a*a*(?=b)|.)", r"(?=a*b)a|a", r"a*b|a", r"a[^b]*b|c|a", r"(a|a)*(?=b)", r"(?<=a*)a(?=b)|a"]
        {
            let (matches, n_steps) = found(expression, &"a".repeat(n), 1 << 26);
            assert_eq!(matches, Err(TooManySteps), "{expression} took {n_steps}");
        }
        // the same on a short text, or where nothing is read twice, is no fault
        assert!(found(r"(?:a*a*(?=b)|.)", &"a".repeat(50), 1 << 26).0.is_ok());
        let (matches, n_steps) = found(r"a*b|a", &"ab".repeat(n), 1 << 26);
        assert!(matches.is_ok_and(|matches| matches.len() == n) && n_steps <= 6 * n as u64, "{n_steps}");
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        assert!(Expression::new(r"\Ga").expect_err("a refusal").contains("the match before"));
        assert!(Expression::new(r"(?:\p{L}{1000}){1000}").is_err());
        assert!(Expression::new("(").is_err());
    }
}
