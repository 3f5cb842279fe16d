//! Whether maps have to do with the output, on one card: each map permuted and made uniform, tokens erased by a ranking, and other
//! trainings of the model beside it.

use attlas::Kind;
use attlas::SplitMix64;
use serde_json::{Value, json};

use super::adversarial::Search;
use super::asked::Predicted;
use super::faithfulness::{Disturbed, Erasure, SHARES, Shift};
use super::knock_out::{Baseline, KindHead, Watch};
use super::score::{Score, id_named};
use crate::{Error, Model, Next, Side};

/// What is checked, and how.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The heads whose maps are changed.
    pub heads: Vec<KindHead>,
    /// Whether they are changed at once, in place of one by one.
    pub together: bool,
    /// How often each map is permuted.
    pub n_permutations: u16,
    /// Steps of the search by gradient for the most different map that keeps the output, for each head; none when `None`.
    pub n_steps: Option<u16>,
    /// How far the output may move, as total variation, where the most different map is looked for that keeps it: 0 to 1.
    pub budget: f64,
    /// The prediction that erasing is about; its foil is not used.
    pub predicted: Predicted<'a>,
    /// A ranking of the tokens, and what it is in words; what the maps give each token when `None`.
    pub ranking: Option<(&'a [Option<f64>], &'a str)>,
    /// The token that stands in the place of an erased one; the mask token, the unknown one or padding when `None`.
    pub erase_with: Option<&'a str>,
}

/// What erasing gave, and what it was about.
#[derive(Debug, Clone, PartialEq)]
pub struct Erasing {
    /// What is ranked, in words.
    pub ranking: String,
    /// The score, as a probability.
    pub score: Score,
    /// The token in the place of erased ones.
    pub with: u32,
    /// By the ranking.
    pub by_ranking: Erasure,
    /// In a random order, the mean over several.
    pub at_random: Erasure,
    /// How many.
    pub n_orders: usize,
}

/// Another training, and how far its output and its maps are.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// What it is called.
    pub name: String,
    /// How far its output and maps are.
    pub moved: Shift,
    /// How far each head's map is, in nats.
    pub of_heads: Vec<(KindHead, f64)>,
}

/// Everything that was found.
#[derive(Debug, Clone)]
pub struct Card {
    /// The model's name.
    pub model: String,
    /// Tokens of the text, source and target.
    pub n_tokens: usize,
    /// As asked.
    pub budget: f64,
    /// The maps, changed.
    pub maps: Vec<Disturbed>,
    /// The most different map of each that was sought by gradient and keeps the output, where that was asked for.
    pub sought: Option<Vec<Option<Shift>>>,
    /// All of the maps uniform at once.
    pub all_uniform: Shift,
    /// What erasing gave, or why nothing was erased.
    pub erasing: Result<Erasing, String>,
    /// Other trainings.
    pub beside: Vec<Beside>,
}

/// One map, and what is known of it besides.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The map, changed.
    pub map: &'a Disturbed,
    /// What the search by gradient found; `None` where it was not asked for.
    pub sought: Option<Option<Shift>>,
    /// How far the maps of other trainings are in the mean, in nats; `None` without others.
    pub beside: Option<f64>,
}

/// How many changed runs [`Card::of`] makes of the maps, steps of the search by gradient among them.
pub fn n_runs(question: &Question<'_>) -> usize {
    let n_sets = if question.together { 1 } else { question.heads.len() };
    let n_steps = question.heads.len() * usize::from(question.n_steps.unwrap_or(0));
    n_sets * (usize::from(question.n_permutations) + 1) + n_steps
}

impl Card {
    /// Changes the maps, erases tokens, and says what became of the output. `others` are other trainings, each with what it is called;
    /// `watch` is told how many changed runs are done.
    ///
    /// # Errors
    /// When there is no such head, token or position, or as [`Baseline::values`] and [`Baseline::adversarial`]; [`Error::Stopped`] when
    /// `watch` says so.
    pub fn of(
        baseline: &Baseline<'_>,
        question: &Question<'_>,
        others: &[(String, Model)],
        watch: &mut Watch<'_>,
    ) -> Result<Card, Error> {
        if !(question.budget.is_finite() && (0.0..=1.0).contains(&question.budget)) {
            return Err(Error::Plan(format!("the budget is {}; a share from 0 to 1 was expected", question.budget)));
        }
        let sets: Vec<Vec<KindHead>> = match question.together {
            true => vec![question.heads.clone()],
            false => question.heads.iter().map(|head| vec![*head]).collect(),
        };
        let seeds: Vec<u64> = (0..u64::from(question.n_permutations)).collect();
        let beside = |(name, other): &(String, Model)| {
            let (moved, of_heads) = baseline.beside(other)?;
            Ok(Beside { name: name.clone(), moved, of_heads })
        };
        let maps = baseline.disturbed(&sets, &seeds, watch)?;
        let n_done = sets.len() * (seeds.len() + 1);
        let sought =
            question.n_steps.map(|steps| sought(baseline, question, &maps, steps, n_done, watch)).transpose()?;
        Ok(Card {
            model: baseline.model().name().to_owned(),
            n_tokens: baseline.input.source.len() + baseline.input.target.len(),
            budget: question.budget,
            maps,
            sought,
            all_uniform: all_uniform(baseline, &question.heads)?,
            erasing: erasing(baseline, question, &mut || watch(n_runs(question)))?,
            beside: others.iter().map(beside).collect::<Result<_, Error>>()?,
        })
    }

    /// The maps, each with what is known of it besides.
    pub fn rows(&self) -> Vec<Row<'_>> {
        self.maps.iter().enumerate().map(|(place, map)| self.row(place, map)).collect()
    }

    fn row<'s>(&'s self, place: usize, map: &'s Disturbed) -> Row<'s> {
        let of_heads = |beside: &Beside| {
            let own = beside.of_heads.iter().filter(|(head, _)| map.heads.contains(head));
            own.map(|(_, jsd)| jsd).sum::<f64>() / map.heads.len().max(1) as f64
        };
        let beside: Vec<f64> = self.beside.iter().map(of_heads).collect();
        let sought = self.sought.as_ref().and_then(|sought| sought.get(place).copied());
        Row { map, sought, beside: mean(&beside) }
    }

    /// The same as data: `{model, n_tokens, budget, maps, all_uniform, erasing, beside}`.
    pub fn json(&self) -> Value {
        let beside =
            |other: &Beside| json!({"model": other.name, "tvd": other.moved.tvd, "of_maps_jsd": other.moved.of_maps});
        json!({
            "model": self.model,
            "n_tokens": self.n_tokens,
            "budget": self.budget,
            "maps": self.rows().iter().map(|row| map_json(row, self.budget)).collect::<Vec<_>>(),
            "all_uniform": {"tvd": self.all_uniform.tvd, "jsd": self.all_uniform.jsd},
            "erasing": erasing_json(&self.erasing),
            "beside": self.beside.iter().map(beside).collect::<Vec<_>>(),
        })
    }
}

/// The mean; `None` of nothing.
pub fn mean(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

/// For each head, the most different map that was found to keep the output; `None` where none did.
fn sought(
    baseline: &Baseline<'_>,
    question: &Question<'_>,
    maps: &[Disturbed],
    n_steps: u16,
    n_done: usize,
    watch: &mut Watch<'_>,
) -> Result<Vec<Option<Shift>>, Error> {
    if question.together {
        return Err(Error::Plan("maps are sought by gradient one by one, not together".to_owned()));
    }
    let search = Search { budget: question.budget, n_steps: usize::from(n_steps), seed: 0 };
    let of_head = |(place, head): (usize, &KindHead)| {
        let watch = &mut |step| watch(n_done + place * search.n_steps + step);
        baseline.adversarial(*head, maps.get(place), search, watch)
    };
    question.heads.iter().enumerate().map(of_head).collect()
}

/// How far the output moves when all of the maps are uniform at once.
fn all_uniform(baseline: &Baseline<'_>, heads: &[KindHead]) -> Result<Shift, Error> {
    let found = baseline.disturbed(&[heads.to_vec()], &[], &mut |_| Next::Continue)?;
    found.first().map(|all| all.uniform).ok_or_else(|| Error::Plan("no head is chosen".to_owned()))
}

fn map_json(row: &Row<'_>, budget: f64) -> Value {
    let map = row.map;
    let head = |head: &KindHead| json!({"kind": head.kind.name(), "layer": head.head.layer, "head": head.head.head});
    let shift = |moved: Shift| json!({"of_maps_jsd": moved.of_maps, "tvd": moved.tvd});
    let mut value = json!({
        "heads": map.heads.iter().map(head).collect::<Vec<_>>(),
        "permuted_tvd": map.permuted.iter().map(|moved| moved.tvd).collect::<Vec<_>>(),
        "permuted_jsd": map.permuted.iter().map(|moved| moved.jsd).collect::<Vec<_>>(),
        "median_tvd": map.median(),
        "uniform_tvd": map.uniform.tvd,
        "uniform_jsd": map.uniform.jsd,
        "most_different_kept": map.most_different(budget).map(shift),
        "note": map.note(),
    });
    if let Some(sought) = row.sought {
        value["adversarial"] = json!(sought.map(shift));
    }
    if let Some(beside) = row.beside {
        value["beside_jsd"] = json!(beside);
    }
    value
}

fn erasing_json(erasing: &Result<Erasing, String>) -> Value {
    let erasure = |erasure: &Erasure| {
        let [comprehensiveness, sufficiency] = erasure.aopc();
        json!({
            "n_erased": erasure.n_erased, "comprehensiveness": erasure.comprehensiveness, "sufficiency": erasure.sufficiency,
            "comprehensiveness_aopc": comprehensiveness, "sufficiency_aopc": sufficiency,
        })
    };
    match erasing {
        Err(why) => json!({"absent": why}),
        Ok(erasing) => json!({
            "ranking": erasing.ranking, "position": erasing.score.position, "target": erasing.score.target,
            "erased_with": erasing.with, "shares": SHARES,
            "by_ranking": erasure(&erasing.by_ranking), "at_random": erasure(&erasing.at_random), "n_random_orders": erasing.n_orders,
        }),
    }
}

/// What erasing gives, or why nothing is erased, in words, where the model or text does not allow it and nobody asked for it.
fn erasing(
    baseline: &Baseline<'_>,
    question: &Question<'_>,
    watch: &mut dyn FnMut() -> Next,
) -> Result<Result<Erasing, String>, Error> {
    let model = baseline.model();
    // keys of one kind are ranked: cross-attention's source, else the only side's
    let kind = [Kind::Cross, Kind::Encoder, Kind::Decoder]
        .into_iter()
        .find(|kind| question.heads.iter().any(|head| head.kind == *kind));
    let Some(kind) = kind else { return Ok(Err("no head is chosen".to_owned())) };
    let side = if kind == Kind::Decoder { Side::Target } else { Side::Source };
    let Predicted { target, position, .. } = question.predicted;
    let is_asked =
        question.ranking.is_some() || target.is_some() || question.erase_with.is_some() || position.is_some();
    if baseline.input.features.is_some() && side == Side::Source {
        return Ok(Err("images and sounds have no tokens to erase".to_owned()));
    }
    let score = match model.likeliest(&baseline.input, &baseline.unchanged.logits, position) {
        Ok(score) => score,
        Err(error) if is_asked => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let target = target.map(|name| model.target_named(name)).transpose()?;
    let score = Score { target: target.unwrap_or(score.target), ..score };
    let with = match question.erase_with {
        Some(name) => Some(token_named(model, name)?),
        None => model.erasing_id(),
    };
    let Some(with) = with else {
        return Ok(Err(format!("{} names no token for erased ones: name one", model.name())));
    };
    let (ranking, words) = ranked(baseline, question, kind)?;
    if ranking.iter().all(Option::is_none) {
        return Ok(Err("the text has special tokens alone".to_owned()));
    }
    let by_ranking = baseline.erased(side, &ranking, with, &score)?;
    let orders = random_orders(&ranking);
    let erased = |order: &Vec<Option<f64>>| match watch() {
        Next::Stop => Err(Error::Stopped),
        Next::Continue => baseline.erased(side, order, with, &score),
    };
    let erasures = orders.iter().map(erased).collect::<Result<Vec<Erasure>, Error>>()?;
    let at_random = Erasure::mean(&erasures).unwrap_or_else(|| by_ranking.clone());
    Ok(Ok(Erasing { ranking: words, score, with, by_ranking, at_random, n_orders: orders.len() }))
}

/// The ranking of the tokens that heads of a kind look at: the one that was given, else what the heads give each; and what it is in words.
fn ranked(baseline: &Baseline<'_>, question: &Question<'_>, kind: Kind) -> Result<(Vec<Option<f64>>, String), Error> {
    if let Some((ranking, words)) = question.ranking {
        return Ok((ranking.to_vec(), words.to_owned()));
    }
    let heads: Vec<KindHead> = question.heads.iter().filter(|head| head.kind == kind).copied().collect();
    let words = match heads.len() {
        1 => format!("what 1 head of {} gives each token", kind.title()),
        n => format!("what {n} heads of {} give each token", kind.title()),
    };
    Ok((baseline.received(&heads)?, words))
}

/// Orders over which erasing at random takes the mean.
const N_ORDERS: usize = 20;

/// Random orders of the ranked tokens. Of [`N_ORDERS`] tokens or fewer, one order begun at each of them: every token is the first once, so
/// that what one erased token does is exact.
fn random_orders(ranking: &[Option<f64>]) -> Vec<Vec<Option<f64>>> {
    let ranked: Vec<usize> = (0..ranking.len()).filter(|place| ranking[*place].is_some()).collect();
    let shuffled = |seed: usize| -> Vec<usize> {
        let mut random = SplitMix64::at(seed as u64, &[ranking.len()]);
        let mut order = ranked.clone();
        (1..order.len()).rev().for_each(|last| order.swap(last, random.below(last + 1)));
        order
    };
    let begun_at = |first: usize| {
        let mut order = shuffled(0);
        order.rotate_left(first);
        order
    };
    let n = ranked.len();
    let orders: Vec<Vec<usize>> =
        if n <= N_ORDERS { (0..n).map(begun_at).collect() } else { (0..N_ORDERS).map(shuffled).collect() };
    let as_ranking = |order: &Vec<usize>| {
        let mut ranks = vec![None; ranking.len()];
        order.iter().enumerate().for_each(|(place, token)| ranks[*token] = Some((n - place) as f64));
        ranks
    };
    orders.iter().map(as_ranking).collect()
}

/// A token that the model reads.
fn token_named(model: &Model, name: &str) -> Result<u32, Error> {
    let piece = || model.tokenizer().and_then(|tokenizer| tokenizer.id(name));
    let found = id_named(name).or_else(piece).or_else(|| name.parse().ok());
    found.ok_or_else(|| Error::Input(format!("{} has no token \"{name}\" to erase with", model.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_random_every_token_of_a_short_text_is_the_first_once() {
        let orders = random_orders(&[Some(0.3), None, Some(0.1), Some(0.9)]);
        let mut firsts: Vec<usize> =
            orders.iter().filter_map(|order| order.iter().position(|rank| *rank == Some(3.0))).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [0, 2, 3]);
        assert!(orders.iter().all(|order| order[1].is_none()));
        let long = random_orders(&[Some(1.0); 50]);
        assert!(long.len() == N_ORDERS && long[0] != long[1]);
    }
}
