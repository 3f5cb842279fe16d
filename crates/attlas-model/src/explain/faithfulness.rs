//! Whether maps and rankings have to do with the output: what becomes of it when weights are dealt out anew or made uniform, and
//! when the tokens that a ranking names are erased, or kept alone.
//!
//! A map can be changed at will without the output noticing (Jain and Wallace 2019), and an output that notices does not make a map
//! an explanation (Wiegreffe and Pinter 2019): these numbers say what cannot be concluded from a picture, not what can.

use attlas::analysis::{Rows, divergence, total_variation};
use attlas::recording::{Edit, Heads, NewWeights};
use attlas::{Kind, TokenRole, Tokens};

use super::adversarial::MapRow;
use super::knock_out::{Baseline, KindHead, Watch};
use super::score::{Form, Metric, Score, distribution};
use crate::block::edits::Row;
use crate::block::pass::{Plan, Purpose};
use crate::{Array, Error, Input, Model, Next, Pass, RunOptions, Side, Site};

/// Shares of a ranking's tokens that are erased or kept (DeYoung et al. 2020).
pub const SHARES: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.5];

/// What moves the output by less, as total variation, does not move it.
pub const NEGLIGIBLE: f64 = 0.01;

/// How far the output moved when the maps of some heads were changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Half the sum of the changes of all probabilities, mean over the rows of the output: in 0 ..= 1.
    pub tvd: f64,
    /// The Jensen–Shannon divergence of the output from the unchanged one, mean over its rows, in nats.
    pub jsd: f64,
    /// How far the maps themselves moved: the mean Jensen–Shannon divergence of their rows, in nats.
    pub of_maps: f64,
}

/// What becomes of the output when the maps of some heads are changed, all at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Disturbed {
    /// The heads.
    pub heads: Vec<KindHead>,
    /// Each row's weights dealt out anew among its visible keys, once for each seed.
    pub permuted: Vec<Shift>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// All visible keys alike.
    pub uniform: Shift,
}

impl Disturbed {
    /// The median over the permutations of how far the output moved, as total variation.
    pub fn median(&self) -> f64 {
        let mut all: Vec<f64> = self.permuted.iter().map(|moved| moved.tvd).collect();
        all.sort_by(f64::total_cmp);
        match all.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => all[n / 2],
            n => (all[n / 2 - 1] + all[n / 2]) / 2.0,
        }
    }

    /// The most that a permutation moved the output.
    pub fn largest(&self) -> f64 {
        self.permuted.iter().map(|moved| moved.tvd).fold(f64::NAN, f64::max)
    }

    /// The most different maps that were tried and keep the output within `budget`, as total variation; `None` where all moved it
    /// further. A search among the permutations and uniform maps: there may be maps that are more different.
    pub fn most_different(&self, budget: f64) -> Option<Shift> {
        self.most_different_of(budget).map(|(_, moved)| moved)
    }

    /// The same, with what the weights were changed to.
    pub(super) fn most_different_of(&self, budget: f64) -> Option<(NewWeights<Array>, Shift)> {
        let permuted = self.permuted.iter().zip(&self.seeds);
        let permuted = permuted.map(|(moved, seed)| (NewWeights::Permuted { seed: *seed }, *moved));
        let tried = permuted.chain([(NewWeights::Uniform, self.uniform)]).filter(|(_, moved)| moved.tvd <= budget);
        tried.reduce(|best, tried| if tried.1.of_maps > best.1.of_maps { tried } else { best })
    }

    /// The finding, as it can stand below a picture.
    pub fn note(&self) -> String {
        self.note_of(if self.heads.len() == 1 { "this map" } else { "these maps together" })
    }

    /// The finding of what was permuted, called `map`.
    pub fn note_of(&self, map: &str) -> String {
        let n = self.permuted.len();
        let of = if n == 1 { "one permutation".to_owned() } else { format!("median of {n} permutations") };
        if self.largest() < NEGLIGIBLE {
            return format!(
                "Permuting {map} does not move the output ({}, TVD, at most {}): what it looks at says nothing of this output.",
                percent(self.median()),
                percent(self.largest())
            );
        }
        format!(
            "Permuting {map} moves the output by {} (TVD, {of}; uniform weights {}).",
            percent(self.median()),
            percent(self.uniform.tvd)
        )
    }
}

/// `12 %`, `0.3 %`, `0.004 %`; `–` of no number.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent.abs() {
        x if x.is_nan() => "–".to_owned(),
        x if x >= 10.0 => format!("{percent:.0} %"),
        x if x >= 0.05 || x == 0.0 => format!("{percent:.1} %"),
        x if x >= 0.0005 => format!("{percent:.3} %"),
        _ => "<0.001 %".to_owned(),
    }
}

/// What erasing tokens by a ranking does to a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Erasure {
    /// How many tokens each of [`SHARES`] is: `max(1, ⌈share · n⌉)`.
    pub n_erased: [usize; 5],
    /// `p − p(the highest ranked erased)`: large when what the ranking names was needed.
    pub comprehensiveness: [f64; 5],
    /// `p − p(all others erased)`: near 0, or below, when what the ranking names is enough.
    pub sufficiency: [f64; 5],
}

impl Erasure {
    /// The mean over erasures of as many tokens; `None` of none.
    pub fn mean(erasures: &[Erasure]) -> Option<Erasure> {
        let first = erasures.first()?;
        let mean = |of: fn(&Erasure) -> &[f64; 5]| {
            std::array::from_fn(|at| erasures.iter().map(|one| of(one)[at]).sum::<f64>() / erasures.len() as f64)
        };
        let (comprehensiveness, sufficiency) = (mean(|one| &one.comprehensiveness), mean(|one| &one.sufficiency));
        Some(Erasure { n_erased: first.n_erased, comprehensiveness, sufficiency })
    }

    /// The mean over the shares: the area over the perturbation curve (AOPC), of comprehensiveness and of sufficiency.
    pub fn aopc(&self) -> [f64; 2] {
        [&self.comprehensiveness, &self.sufficiency].map(|points| points.iter().sum::<f64>() / points.len() as f64)
    }
}

impl Baseline<'_> {
    /// Changes the maps of each set of heads, all of a set at once: permuted once for each seed, and uniform.
    ///
    /// # Errors
    /// As [`Baseline::values`], and when there is no such head.
    pub fn disturbed(
        &self,
        sets: &[Vec<KindHead>],
        seeds: &[u64],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Disturbed>, Error> {
        sets.iter().flatten().try_for_each(|head| self.check_head(*head))?;
        let n_ways = seeds.len() + 1;
        let to = |way: usize| seeds.get(way).map_or(NewWeights::Uniform, |seed| NewWeights::Permuted { seed: *seed });
        let edits = |place: usize| -> Vec<Edit<Array>> {
            let change = |head: &KindHead| Edit::Weights { heads: head.heads(), to: to(place % n_ways) };
            sets[place / n_ways].iter().map(change).collect()
        };
        let metrics = [Metric::TotalVariation, Metric::JensenShannon];
        let moved = self.values(&metrics, sets.len() * n_ways, &edits, watch)?;
        let of_set = |(set, moved): (&Vec<KindHead>, &[Vec<f64>])| -> Result<Disturbed, Error> {
            let mut ways = Vec::with_capacity(n_ways);
            for (way, moved) in moved.iter().enumerate() {
                ways.push(Shift { tvd: moved[0], jsd: moved[1], of_maps: self.moved_maps(set, &to(way))? });
            }
            let uniform = ways.remove(n_ways - 1);
            Ok(Disturbed { heads: set.clone(), permuted: ways, seeds: seeds.to_vec(), uniform })
        };
        sets.iter().zip(moved.chunks_exact(n_ways)).map(of_set).collect()
    }

    /// How far the maps of heads move when their weights are changed so.
    fn moved_maps(&self, heads: &[KindHead], to: &NewWeights<Array>) -> Result<f64, Error> {
        let mut sum = 0.0;
        for head in heads {
            let before = self.map_rows(*head)?;
            let changed = self.changed_rows(*head, &before, to);
            let n = before.len().max(1) as f64;
            sum += before.iter().zip(&changed).map(|(row, q)| row.divergence(q)).sum::<f64>() / n;
        }
        Ok(sum / heads.len().max(1) as f64)
    }

    /// The rows of a head's map.
    pub(super) fn map_rows(&self, head: KindHead) -> Result<Vec<MapRow>, Error> {
        let map = self.map_of(head)?;
        Ok(Rows::of(&map).map(|row| {
            let keys: Vec<usize> = row.visible_keys().collect();
            let weights = keys.iter().map(|key| row.weights.get(*key).copied().map_or(0.0, f64::from)).collect();
            MapRow { query: row.query, keys, weights }
        }))
    }

    /// The same rows after a change of the weights.
    pub(super) fn changed_rows(&self, head: KindHead, rows: &[MapRow], to: &NewWeights<Array>) -> Vec<Vec<f64>> {
        let edit = Edit::Weights { heads: head.heads(), to: to.clone() };
        let pass = Pass { edits: vec![edit], ..Pass::keeping([]) };
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let edits = plan.weight_edits(head.kind, head.head.layer);
        let changed = |row: &MapRow| {
            // scores whose softmax these weights are, with what a sink takes
            let mut scores: Vec<f64> = row.weights.iter().map(|weight| weight.max(f64::MIN_POSITIVE).ln()).collect();
            edits.weigh(Row { text: 0, head: head.head.head, query: row.query }, row.rest().ln(), &mut scores);
            scores
        };
        rows.iter().map(changed).collect()
    }

    /// The change of the output with given weights for heads of a layer. Shape of `weights`: `[1, heads, queries, keys]`.
    ///
    /// # Errors
    /// As [`Baseline::values`].
    pub fn moved_by(&self, heads: &Heads, weights: &Array) -> Result<[f64; 2], Error> {
        let edits = |_| vec![Edit::Weights { heads: heads.clone(), to: NewWeights::Given(weights.clone()) }];
        let metrics = [Metric::TotalVariation, Metric::JensenShannon];
        let found = self.values(&metrics, 1, &edits, &mut |_| Next::Continue)?;
        Ok([found[0][0], found[0][1]])
    }

    /// What each token is given by the rows of some heads, mean over rows and heads: a ranking of the keys. Special tokens and
    /// padding have none. Shape `[n_keys]`.
    ///
    /// # Errors
    /// When the heads are not of one kind, or not there.
    pub fn received(&self, heads: &[KindHead]) -> Result<Vec<Option<f64>>, Error> {
        let Some(first) = heads.first() else { return Err(Error::Plan("no head is chosen".to_owned())) };
        let mut sums: Vec<f64> = Vec::new();
        for head in heads {
            self.check_head(*head)?;
            if head.kind != first.kind {
                return Err(Error::Plan(format!("{} and {} look at different keys", first.kind, head.kind)));
            }
            let map = self.map_of(*head)?;
            sums.resize(map.n_keys(), 0.0);
            let rows = Rows::of(&map);
            let n = (rows.n_rows() * heads.len()).max(1) as f64;
            rows.for_each(|row| {
                sums.iter_mut().zip(row.weights).for_each(|(sum, weight)| *sum += f64::from(*weight) / n)
            });
        }
        let tokens = self.keys_of(first.kind);
        let is_text = |place: usize| tokens.tokens.get(place).is_some_and(|token| token.role == TokenRole::Text);
        Ok(sums.into_iter().enumerate().map(|(place, sum)| is_text(place).then_some(sum)).collect())
    }

    /// The tokens that heads of a kind look at.
    pub fn keys_of(&self, kind: Kind) -> &Tokens {
        if kind == Kind::Decoder { &self.input.target } else { &self.input.source }
    }

    /// Erases tokens by a ranking, the highest first: comprehensiveness and sufficiency of the score's probability (DeYoung et
    /// al. 2020). A token is erased by `with` standing in its place; one of rank `None` always stays. `side` says
    /// which tokens these are.
    ///
    /// # Errors
    /// When the ranking is not as long as the text, ranks nothing, or as [`Model::run`].
    pub fn erased(&self, side: Side, ranking: &[Option<f64>], with: u32, score: &Score) -> Result<Erasure, Error> {
        let tokens = if side == Side::Source { &self.input.source } else { &self.input.target };
        if ranking.len() != tokens.len() {
            return Err(Error::Input(format!("the ranking has {} numbers for {} tokens", ranking.len(), tokens.len())));
        }
        let mut order: Vec<usize> = (0..ranking.len()).filter(|place| ranking[*place].is_some()).collect();
        if order.is_empty() || ranking.iter().flatten().any(|rank| rank.is_nan()) {
            return Err(Error::Input(
                "a ranking needs a number for one token at least, and none that is NaN".to_owned(),
            ));
        }
        order.sort_by(|a, b| ranking[*b].unwrap_or(0.0).total_cmp(&ranking[*a].unwrap_or(0.0)).then(a.cmp(b)));
        let score = Score { item: 0, foil: None, form: Form::Probability, ..*score };
        let before = score.value(&self.unchanged.logits)?;
        let without = |places: &[usize]| -> Result<f64, Error> {
            let erased = self.model().erasing(&self.input, side, places, with)?;
            let pass = Pass::keeping([Site::Logits]);
            let run = self.model().run(&[erased], &RunOptions { pass, ..RunOptions::default() })?;
            let logits = run.logits.ok_or_else(|| Error::Unsupported("the model has no logits".to_owned()))?;
            Ok(before - score.value(&logits)?)
        };
        let n_erased = SHARES.map(|share| ((share * order.len() as f64).ceil() as usize).clamp(1, order.len()));
        let mut erasure = Erasure { n_erased, comprehensiveness: [0.0; 5], sufficiency: [0.0; 5] };
        for (place, n) in n_erased.into_iter().enumerate() {
            if let Some(before) = place.checked_sub(1).filter(|before| n_erased[*before] == n) {
                erasure.comprehensiveness[place] = erasure.comprehensiveness[before];
                erasure.sufficiency[place] = erasure.sufficiency[before];
                continue;
            }
            erasure.comprehensiveness[place] = without(&order[..n])?;
            erasure.sufficiency[place] = without(&order[n..])?;
        }
        Ok(erasure)
    }

    /// How far another model of the same shape is from this one on the same text: how far its output moved, and how far each head's map
    /// did. What two trainings of one model differ by is the measure for what a change of maps means (Wiegreffe and
    /// Pinter 2019).
    ///
    /// # Errors
    /// When the models have other heads or other logits, or the other one cannot read the text.
    pub fn beside(&self, other: &Model) -> Result<(Shift, Vec<(KindHead, f64)>), Error> {
        let own = self.model();
        if own.heads() != other.heads() || own.transformer.n_logits() != other.transformer.n_logits() {
            return Err(Error::Input(format!(
                "{} has {} and {} has {}: two trainings are compared of one model",
                own.name(),
                own.heads_in_words(),
                other.name(),
                other.heads_in_words()
            )));
        }
        let run = Baseline::of(other, &self.input)?;
        let rows = &self.unchanged.rows;
        let (mut tvd, mut jsd) = (0.0, 0.0);
        let (before, after) = (self.unchanged.at(rows)?, run.unchanged.at(rows)?);
        let width = before.shape[1].max(1);
        for (p, q) in before.values.chunks_exact(width).zip(after.values.chunks_exact(width)) {
            let (p, q) = (distribution(p), distribution(q));
            tvd += total_variation(&p, &q);
            jsd += divergence(&p, &q);
        }
        let mut of_heads = Vec::new();
        for head in own.heads() {
            let (p, q) = (self.map_rows(head)?, run.map_rows(head)?);
            let sum: f64 = p.iter().zip(&q).map(|(p, q)| p.divergence(&q.weights)).sum();
            of_heads.push((head, sum / p.len().max(1) as f64));
        }
        let n = rows.len().max(1) as f64;
        let of_maps = of_heads.iter().map(|(_, jsd)| jsd).sum::<f64>() / of_heads.len().max(1) as f64;
        Ok((Shift { tvd: tvd / n, jsd: jsd / n, of_maps }, of_heads))
    }
}

impl Model {
    /// What stands in the place of an erased token: the mask token, else the unknown one, else padding; `None` where the model
    /// knows none of them.
    pub fn erasing_id(&self) -> Option<u32> {
        let tokenizer = self.tokenizer();
        let named = |names: &[&str]| names.iter().find_map(|name| tokenizer?.id(name));
        named(&["[MASK]", "<mask>"]).or_else(|| named(&["[UNK]", "<unk>", "<|endoftext|>"])).or(self
            .transformer
            .architecture
            .ids
            .padding)
    }

    /// The input with other tokens at some places.
    ///
    /// # Errors
    /// When the model has no such token, or reads no tokens there.
    fn erasing(&self, input: &Input, side: Side, places: &[usize], with: u32) -> Result<Input, Error> {
        if input.features.is_some() && side == Side::Source {
            return Err(Error::Unsupported(format!(
                "{} reads no tokens there, and places of images or sounds are not erased",
                self.name()
            )));
        }
        let token = attlas::Token { role: TokenRole::Text, ..self.token(with) };
        let mut erased = input.clone();
        let tokens = if side == Side::Source { &mut erased.source } else { &mut erased.target };
        for place in places {
            tokens.tokens[*place] = token.clone();
        }
        Ok(erased)
    }
}
