//! The table of the measures: what is looked for in a head, each defined once.
//!
//! Tables, JSON, the page and docs/measures.md are made of [`MEASURES`]; a new measure is one more entry of it.

use super::copies::{copies_of_next, duplicates, followers, in_all_rows, previous};
use super::measure::{Baseline, Measure, Reads};
use super::{
    Sample, Target, at_offset, breadth, distances, most_at_offset, most_at_rarest, nearby, of_class, recency,
    sink_with_choice,
};
use crate::Kind;

/// Knowing nothing but which keys there are to look at. It is also what a shuffling of each row's keys gives on average.
const UNIFORM: Baseline =
    Baseline { name: "uniform", says: "every query looks at all keys it may see alike", gives: "positions alone give" };
/// The same of a largest weight.
const DRAWN: Baseline = Baseline {
    name: "drawn",
    says: "every query looks most at one of the keys it may see, drawn at random",
    gives: "a key at random gives",
};
/// Knowing nothing but how many words there are to look at.
const CHANCE: Baseline = Baseline {
    name: "chance",
    says: "every target word looks most at a source word drawn at random",
    gives: "words at random give",
};
/// Knowing nothing but where in its text a word stands.
const DIAGONAL: Baseline = Baseline {
    name: "diagonal",
    says: "every target word looks most at the source word as far into its text as it is into its own",
    gives: "the diagonal gives",
};

const SELF_ATTENTION: &[Kind] = &[Kind::Encoder, Kind::Decoder];

/// Every measure: what names a head first, then plain numbers.
pub static MEASURES: [Measure; 35] = [
    Measure {
        name: "previous",
        title: "previous token",
        cross_title: Some("position before"),
        says: "mean weight one position back",
        formula: "(1/n) Σ_q w(q, q − 1); a query without such a key counts as 0",
        threshold: Some(0.5),
        paper: "Clark et al. 2019, §3.1",
        reads: Reads::Weight(|query, _| Some(at_offset(query, -1))),
        ..WEIGHT
    },
    Measure {
        name: "self",
        title: "own token",
        cross_title: Some("same position"),
        says: "mean weight on the query's own position",
        formula: "(1/n) Σ_q w(q, q); a query without such a key counts as 0",
        threshold: Some(0.5),
        paper: "Clark et al. 2019, §3.1",
        reads: Reads::Weight(|query, _| Some(at_offset(query, 0))),
        ..WEIGHT
    },
    Measure {
        name: "next",
        title: "next token",
        cross_title: Some("position after"),
        says: "mean weight one position ahead",
        formula: "(1/n) Σ_q w(q, q + 1); a query without such a key counts as 0",
        threshold: Some(0.5),
        paper: "Clark et al. 2019, §3.1",
        kinds: &[Kind::Encoder, Kind::Cross],
        reads: Reads::Weight(|query, _| Some(at_offset(query, 1))),
        ..WEIGHT
    },
    Measure {
        name: "positional",
        is_general: true,
        title: "positional",
        says: "share of queries whose largest weight lies at the same offset, the best of five",
        formula: "max over o of (1/n) Σ_q [argmax_k w(q,k) = q + o], the end token's row and column left out",
        unit: "share of the queries",
        threshold: Some(0.9),
        baseline: Some(DRAWN),
        paper: "Voita et al. 2019, §5.1",
        variants: &["offset -2", "offset -1", "offset 0", "offset +1", "offset +2"],
        needs: "a query that is not the end token",
        reads: Reads::Most(|query, variant| most_at_offset(query, variant as i64 - 2)),
        ..WEIGHT
    },
    Measure {
        name: "local",
        is_general: true,
        title: "local",
        says: "mean weight within two positions, the query's own included",
        formula: "(1/n) Σ_q Σ_{|q−k| ≤ 2} w(q,k)",
        threshold: Some(0.8),
        paper: "own; windows as in Clark et al. 2019, §3.1",
        kinds: SELF_ATTENTION,
        reads: Reads::Weight(|query, _| Some(nearby(query))),
        ..WEIGHT
    },
    Measure {
        name: "first",
        is_general: true,
        title: "first token",
        says: "mean weight on the first token",
        formula: "(1/n) Σ_q w(q, 0)",
        threshold: Some(0.6),
        paper: "Clark et al. 2019, §3.2 ([CLS])",
        kinds: SELF_ATTENTION,
        needs: "a token that is not padding",
        reads: Reads::Weight(|query, _| Some(Target::at(query, Some(query.columns.all.first()?)))),
        ..WEIGHT
    },
    Measure {
        name: "sink",
        title: "sink",
        says: "mean weight that one of the first four tokens gets from itself and all later ones, the best of the four",
        formula: "max over k < 4 of α_k = mean of w(q,k) over q ≥ k, of queries that see more than one key and whose token is not \
                  that of k again",
        threshold: Some(0.3),
        paper: "Gu et al. 2025, eq. 2, whose α_k counts those queries, too, on 64 tokens",
        kinds: SELF_ATTENTION,
        variants: &["token 0", "token 1", "token 2", "token 3"],
        needs: "a query that sees two tokens or more",
        reads: Reads::Weight(|query, nth| sink_with_choice(query, query.columns.all.nth(nth)?)),
        ..WEIGHT
    },
    Measure {
        name: "separator",
        title: "separator",
        says: "mean weight on separators and end tokens",
        formula: "(1/n) Σ_q Σ_k w(q,k) over the keys that separate or end texts, in texts that have any",
        threshold: Some(0.6),
        paper: "Clark et al. 2019, §3.2",
        needs: "a separator or end token among the keys",
        reads: Reads::Weight(|query, _| of_class(query, &query.columns.separators)),
        ..WEIGHT
    },
    Measure {
        name: "punctuation",
        title: "punctuation",
        says: "mean weight on punctuation",
        formula: "(1/n) Σ_q Σ_k w(q,k) over the keys of text without a letter or digit, in texts that have any",
        threshold: Some(0.6),
        paper: "Clark et al. 2019, §3.2",
        needs: "punctuation among the keys",
        reads: Reads::Weight(|query, _| of_class(query, &query.columns.punctuation)),
        ..WEIGHT
    },
    Measure {
        name: "functional",
        is_general: true,
        title: "functional tokens",
        says: "mean weight on tokens without content of their own: separators, punctuation, words of grammar",
        formula: "(1/n) Σ_q Σ_k w(q,k) over separators, punctuation and tokens that are one of about 150 English and French words",
        threshold: Some(0.8),
        paper: "own; classes after Clark et al. 2019, §3.2",
        needs: "a separator, punctuation or an English or French word of grammar among the keys",
        reads: Reads::Weight(|query, _| of_class(query, &query.columns.functional)),
        ..WEIGHT
    },
    Measure {
        name: "recency",
        is_general: true,
        title: "recent tokens",
        says: "how recent the tokens are that a query looks at: 0 the oldest it sees, 1 the newest",
        formula: "(1/n) Σ_q Σ_k w(q,k) r(k) / Σ_k w(q,k), r rising from 0 to 1 over the keys that q sees",
        unit: "rank among the visible keys",
        threshold: Some(0.9),
        paper: "own",
        kinds: &[Kind::Decoder],
        needs: "a query that sees two tokens or more",
        reads: Reads::Rows(recency),
        ..WEIGHT
    },
    Measure {
        name: "rare",
        title: "rare token",
        says: "share of queries whose largest weight lies on the rarest token of the text, or on one as rare",
        formula: "(1/n) Σ_q [argmax_k w(q,k) is a token with the smallest count in a corpus], the end token's row and column left out",
        unit: "share of the queries",
        threshold: Some(0.5),
        baseline: Some(DRAWN),
        paper: "Voita et al. 2019, §5.3",
        needs: "counts of the tokens in a corpus",
        reads: Reads::Most(|query, _| most_at_rarest(query, 1)),
        ..WEIGHT
    },
    Measure {
        name: "duplicate",
        on_repeats: true,
        title: "duplicate token",
        says: "mean weight on earlier copies of the query's token",
        formula: "mean of Σ_k w(q,k) [t_k = t_q, k < q] over the queries that have such a key",
        threshold: Some(0.4),
        paper: "Wang et al. 2023, §3.1, as a mean over eligible queries",
        kinds: SELF_ATTENTION,
        needs: "a token that occurs twice",
        reads: Reads::Weight(|query, _| duplicates(query)),
        ..WEIGHT
    },
    Measure {
        name: "induction",
        on_repeats: true,
        title: "induction",
        says: "mean weight on the tokens that followed earlier copies of the query's token",
        formula: "mean of Σ_k w(q,k) [t_{k−1} = t_q, k − 1 < q] over the queries that have such a key",
        threshold: Some(0.4),
        paper: "Olsson et al. 2022, as a mean over eligible queries",
        kinds: SELF_ATTENTION,
        needs: "a token that occurs twice",
        reads: Reads::Weight(|query, _| followers(query)),
        ..WEIGHT
    },
    Measure {
        name: "repetition",
        on_repeats: true,
        title: "copies of what comes",
        says: "mean weight on earlier copies of the token that is about to be written",
        formula: "mean of Σ_k w(q,k) [t_k = t_{q+1}, k ≤ q] over the queries that have such a key",
        threshold: Some(0.4),
        paper: "own",
        kinds: &[Kind::Decoder],
        needs: "a token that is written again",
        reads: Reads::Weight(|query, _| copies_of_next(query)),
        ..WEIGHT
    },
    Measure {
        name: "phrase",
        title: "own phrase",
        says: "mean weight on the other tokens of the smallest constituent around the query",
        formula: "mean of Σ_{k ≠ q} w(q,k) [k in the smallest constituent of two words or more that holds q] over the queries in one",
        threshold: Some(0.6),
        paper: "own; constituents are the yields of a dependency tree",
        kinds: SELF_ATTENTION,
        needs: "a tree of the sentence",
        reads: Reads::Weight(|query, _| {
            let phrase = query.columns.phrases.get(query.position)?.clone()?;
            Target::seen(query, phrase.filter(|key| *key != query.position))
        }),
        ..WEIGHT
    },
    Measure {
        name: "retrieval",
        title: "retrieval",
        says: "share of the needle's tokens that are generated while the largest weight lies on them",
        formula: "(1/|needle|) Σ_k [for some generating query q: argmax_j w(q,j) = k and t_{q+1} = t_k], k in the needle",
        unit: "share of the needle's tokens",
        over: "tokens of the needle",
        threshold: Some(0.1),
        baseline: None,
        paper: "Wu et al. 2024, §2",
        kinds: &[Kind::Decoder],
        needs: "a needle in a text that is read whole, and tokens generated after it",
        reads: Reads::Whole(|gathered, _| gathered.retrieval()),
        ..WEIGHT
    },
    Measure {
        name: "alignment",
        title: "alignment",
        says: "share of target words whose largest weight lies on the source word that a reference gives, the better of two rows",
        formula: "mean of [argmax_s w(t,s) is right] over the target words t of the reference, in the row that predicts t and in the row \
                  that has read it; weights are summed over the pieces of a source word and averaged over those of a target word",
        unit: "share of the target words",
        over: "target words",
        threshold: Some(0.75),
        baseline: Some(DIAGONAL),
        paper: "Kobayashi et al. 2020, §5, for the rows; references are gold links or a dictionary's",
        kinds: &[Kind::Cross],
        variants: &["the row that predicts the word", "the row that has read it"],
        needs: "a reference: gold links, or a dictionary",
        reads: Reads::Whole(|gathered, variant| gathered.alignment(variant)),
        ..WEIGHT
    },
    Measure {
        name: "agreement",
        is_general: true,
        title: "both ways alike",
        says: "share of target words that the source word they look at most is looked at most by",
        formula: "mean of [argmax_t′ w(t′, argmax_s w(t,s)) = t] over the target words t",
        unit: "share of the target words",
        over: "target words",
        threshold: Some(0.75),
        baseline: Some(CHANCE),
        paper: "Och & Ney 2003, §4.1, for two directions; whether the links are right takes a reference",
        kinds: &[Kind::Cross],
        needs: WHOLE,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.agreement())),
        ..WEIGHT
    },
    Measure {
        name: "coverage",
        is_general: true,
        title: "coverage",
        says: "share of source words that some target word looks at most",
        formula: "(1/n) Σ_s [some target word's largest weight lies on source word s], for heads whose largest weights average ½ or more; \
                  weights are summed over the pieces of a source word and averaged over those of a target word, special tokens are left out",
        unit: "share of the source words",
        over: "source words",
        threshold: Some(0.8),
        baseline: Some(CHANCE),
        paper: "Clark et al. 2019, §4.1, for words; whether the links are right takes a reference",
        kinds: &[Kind::Cross],
        needs: POINTED,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.coverage())),
        ..WEIGHT
    },
    Measure {
        name: "monotone",
        is_general: true,
        title: "word order kept",
        says: "for each target word, the share of earlier ones that look at an earlier source word, ties counted half",
        formula: "mean over target words t of mean over t′ < t of [a(t′) < a(t)] + ½ [a(t′) = a(t)], a(t) the source word t looks at most",
        unit: "share of the earlier words",
        over: "target words",
        threshold: Some(0.9),
        baseline: Some(CHANCE),
        paper: "own; Kendall's τ counts the same pairs",
        kinds: &[Kind::Cross],
        needs: WHOLE,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.monotone())),
        ..WEIGHT
    },
    Measure {
        name: "reordering",
        title: "crossing links",
        says: "for each target word, the share of earlier ones that look at a later source word",
        formula: "mean over target words t of mean over t′ < t of [a(t′) > a(t)], a(t) the source word t looks at most",
        unit: "share of the earlier words",
        over: "target words",
        threshold: None,
        baseline: Some(CHANCE),
        paper: "own; Kendall's τ counts the same pairs",
        kinds: &[Kind::Cross],
        needs: WHOLE,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.crossings())),
        ..WEIGHT
    },
    Measure {
        name: "many-to-one",
        title: "many to one",
        says: "share of the linked source words that two or more target words look at most",
        formula: "mean of [two or more t with a(t) = s] over the source words s with one or more, for heads whose largest weights average \
                  ½ or more",
        unit: "share of the linked source words",
        over: "source words",
        threshold: None,
        baseline: Some(CHANCE),
        paper: "own",
        kinds: &[Kind::Cross],
        needs: POINTED,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.many_to_one())),
        ..WEIGHT
    },
    Measure {
        name: "one-to-many",
        title: "one to many",
        says: "share of target words that look at two or more source words alike",
        formula: "mean over target words of [the second largest weight on a source word is half the largest or more]",
        unit: "share of the target words",
        over: "target words",
        threshold: None,
        baseline: None,
        paper: "own",
        kinds: &[Kind::Cross],
        needs: WHOLE,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.one_to_many())),
        ..WEIGHT
    },
    Measure {
        name: "fertility",
        title: "fertility",
        says: "target words for each source word that is looked at most at all",
        formula: "mean of |{t: a(t) = s}| over the source words s with one or more, for heads whose largest weights average ½ or more",
        unit: "target words",
        over: "source words",
        range: (1.0, f64::MAX),
        threshold: None,
        baseline: Some(CHANCE),
        paper: "Brown et al. 1993, §4.4, for the word",
        kinds: &[Kind::Cross],
        needs: POINTED,
        reads: Reads::Whole(|gathered, _| gathered.words(|words| words.fertility())),
        ..WEIGHT
    },
    Measure {
        name: "vertical",
        title: "vertical stripe",
        says: "largest share of a text's weight that one key gets",
        formula: "max_k Σ_q w(q,k) / Σ_q Σ_k w(q,k)",
        unit: "share of all weight",
        over: "texts",
        threshold: None,
        baseline: Some(UNIFORM),
        paper: "own; the shapes are those of Kovaleva et al. 2019, §4.1",
        needs: "a row with weight",
        reads: Reads::Whole(|gathered, _| gathered.vertical()),
        ..WEIGHT
    },
    Measure {
        name: "diagonal",
        title: "diagonal stripe",
        says: "largest share of a text's weight that lies at one offset",
        formula: "max_o Σ_q w(q, q + o) / Σ_q Σ_k w(q,k)",
        unit: "share of all weight",
        over: "texts",
        threshold: None,
        baseline: Some(UNIFORM),
        paper: "own; the shapes are those of Kovaleva et al. 2019, §4.1",
        needs: "a row with weight",
        reads: Reads::Whole(|gathered, _| gathered.diagonal()),
        ..WEIGHT
    },
    Measure {
        name: "block",
        title: "own stretch",
        says: "share of a text's weight that stays in the query's stretch between separators",
        formula: "Σ_q Σ_{k in the stretch of q} w(q,k) / Σ_q Σ_k w(q,k), in texts that a separator parts",
        unit: "share of all weight",
        over: "texts",
        threshold: None,
        baseline: Some(UNIFORM),
        paper: "own; the shapes are those of Kovaleva et al. 2019, §4.1",
        kinds: SELF_ATTENTION,
        needs: "a separator with text behind it",
        reads: Reads::Whole(|gathered, _| gathered.block()),
        ..WEIGHT
    },
    Measure {
        name: "confidence",
        title: "confidence",
        says: "mean of each row's largest weight",
        formula: "(1/n) Σ_q max_k w(q,k), the end token's row and column left out",
        threshold: None,
        paper: "Voita et al. 2019, §4",
        needs: "a query that is not the end token",
        reads: Reads::Rows(breadth::confidence_sample),
        ..WEIGHT
    },
    Measure {
        name: "distance",
        title: "distance",
        says: "how many positions away a query looks, on average",
        formula: "(1/n) Σ_q Σ_k w(q,k) |q − k|",
        unit: "positions",
        range: (0.0, f64::MAX),
        threshold: None,
        paper: "Vig & Belinkov 2019, §4.3",
        kinds: SELF_ATTENTION,
        reads: Reads::Weight(|query, _| Some(distances(query))),
        ..WEIGHT
    },
    Measure {
        name: "entropy",
        title: "entropy",
        says: "how broadly a query looks, in nats",
        formula: "(1/n) Σ_q H(q), H(q) = −Σ_k w(q,k) ln w(q,k)",
        unit: "nats",
        range: (0.0, f64::MAX),
        threshold: None,
        paper: "Clark et al. 2019, §3.3, without their smoothing",
        reads: Reads::Rows(|row| Some(Sample { score: row.entropy(), baseline: row.largest_entropy() })),
        ..WEIGHT
    },
    Measure {
        name: "broad",
        is_general: true,
        title: "broad",
        says: "entropy over that of looking at all visible keys alike",
        formula: "(1/n) Σ_q H(q) / ln(keys that q sees) over the queries that see five or more: of two or three, every head's look broad",
        unit: "share of the entropy of uniform attention",
        threshold: Some(0.8),
        baseline: None,
        paper: "Clark et al. 2019, §3.3, who give nats",
        needs: "a query that sees five tokens or more",
        reads: Reads::Rows(breadth::broad_sample),
        ..WEIGHT
    },
    Measure {
        name: "tl-previous",
        on_repeats: true,
        title: "TransformerLens previous token",
        says: "previous_token_head as TransformerLens' detect_head scores it",
        formula: "Σ A·D / Σ A with D[q, q − 1] = 1 and no exclusions: a query without a target counts as 0",
        threshold: None,
        paper: "TransformerLens, detect_head, error measure \"mul\"",
        kinds: SELF_ATTENTION,
        reads: Reads::Weight(|query, _| in_all_rows(previous(query))),
        ..WEIGHT
    },
    Measure {
        name: "tl-duplicate",
        on_repeats: true,
        title: "TransformerLens duplicate token",
        says: "duplicate_token_head as TransformerLens' detect_head scores it",
        formula: "Σ A·D / Σ A with D[q,k] = [t_k = t_q, k < q] and no exclusions: a query without a target counts as 0",
        threshold: None,
        paper: "TransformerLens, detect_head, error measure \"mul\"",
        kinds: SELF_ATTENTION,
        reads: Reads::Weight(|query, _| in_all_rows(duplicates(query))),
        ..WEIGHT
    },
    Measure {
        name: "tl-induction",
        on_repeats: true,
        title: "TransformerLens induction",
        says: "induction_head as TransformerLens' detect_head scores it",
        formula: "Σ A·D / Σ A with D[q,k] = [t_{k−1} = t_q, k − 1 < q] and no exclusions: a query without a target counts as 0, which \
                  gives an ideal induction head 0.48 on tokens repeated twice",
        threshold: None,
        paper: "TransformerLens, detect_head, error measure \"mul\"",
        kinds: SELF_ATTENTION,
        reads: Reads::Weight(|query, _| in_all_rows(followers(query))),
        ..WEIGHT
    },
];

/// What measures of words need.
const WHOLE: &str = "two words or more on either side, in a text that is read whole";
/// The same of those that want decided heads.
const POINTED: &str = "a text that is read whole, and a head whose largest weights average ½ or more";

/// What most measures have in common: they are a share of the weight of a row.
const WEIGHT: Measure = Measure {
    name: "",
    title: "",
    cross_title: None,
    says: "",
    formula: "",
    unit: "share of a query's weight",
    over: "queries",
    range: (0.0, 1.0),
    threshold: None,
    baseline: Some(UNIFORM),
    paper: "",
    kinds: &Kind::ALL,
    variants: &[],
    is_general: false,
    on_repeats: false,
    needs: "a query",
    reads: Reads::Rows(|_| None),
};
