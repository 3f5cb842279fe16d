//! Tokens erased by a ranking: comprehensiveness and sufficiency, beside those of a random order.

use std::path::Path;

use attlas::Kind;
use attlas_model::explain::faithfulness::Erasure;
use attlas_model::explain::knock_out::{Baseline, KindHead};
use attlas_model::explain::score::Score;
use attlas_model::{Model, Side};

use super::CheckArguments;
use crate::failure::Failure;
use crate::inputs::read_utf8;
use crate::terminal::printable;
use crate::words::counted;

/// What erasing gave, and what it was about.
pub struct Erasing {
    /// What is ranked, in words.
    pub ranking: String,
    pub score: Score,
    /// What stands in the place of erased tokens.
    pub with: u32,
    pub by_ranking: Erasure,
    pub at_random: Erasure,
}

/// Why nothing was erased, in words, where the model or text does not allow it.
pub fn erasing(
    arguments: &CheckArguments,
    baseline: &Baseline<'_>,
    heads: &[KindHead],
) -> Result<Result<Erasing, String>, Failure> {
    let model = baseline.model();
    // keys of one kind are ranked: cross-attention's source, else the only side's
    let kind = [Kind::Cross, Kind::Encoder, Kind::Decoder]
        .into_iter()
        .find(|kind| heads.iter().any(|head| head.kind == *kind));
    let Some(kind) = kind else { return Ok(Err("no head is chosen".to_owned())) };
    let side = if kind == Kind::Decoder { Side::Target } else { Side::Source };
    let is_asked = arguments.ranking.is_some() || arguments.target.is_some() || arguments.erase_with.is_some();
    if baseline.input.features.is_some() && side == Side::Source {
        return Ok(Err("images and sounds have no tokens to erase".to_owned()));
    }
    let score = match model.likeliest(&baseline.input, &baseline.unchanged.logits, arguments.position) {
        Ok(score) => score,
        Err(error) if is_asked || arguments.position.is_some() => return Err(error.into()),
        Err(error) => return Ok(Err(format!("{error} (--position)"))),
    };
    let target = arguments.target.as_deref().map(|name| model.target_named(name)).transpose()?;
    let score = Score { target: target.unwrap_or(score.target), ..score };
    let with = match &arguments.erase_with {
        Some(name) => Some(token_named(model, name)?),
        None => model.erasing_id(),
    };
    let Some(with) = with else {
        return Ok(Err(format!("{} names no token for erased ones (--erase-with)", model.name())));
    };
    let of_kind: Vec<KindHead> = heads.iter().filter(|head| head.kind == kind).copied().collect();
    let (ranking, words) = match &arguments.ranking {
        Some(path) => (read_ranking(path)?, format!("the numbers of {}", path.display())),
        None => (
            baseline.received(&of_kind)?,
            format!("what {} of {} give each token", counted(of_kind.len(), "head"), kind.title()),
        ),
    };
    if ranking.iter().all(Option::is_none) {
        return Ok(Err("the text has special tokens alone".to_owned()));
    }
    let mut random = attlas::SplitMix64::at(0, &[ranking.len()]);
    let shuffled: Vec<Option<f64>> = ranking.iter().map(|rank| rank.map(|_| random.below(1 << 30) as f64)).collect();
    let by_ranking = baseline.erased(side, &ranking, with, &score)?;
    let at_random = baseline.erased(side, &shuffled, with, &score)?;
    Ok(Ok(Erasing { ranking: words, score, with, by_ranking, at_random }))
}

/// A token that the model reads.
fn token_named(model: &Model, name: &str) -> Result<u32, Failure> {
    let tokenizer = model.tokenizer();
    let found = tokenizer.and_then(|tokenizer| tokenizer.id(name)).or_else(|| name.parse().ok());
    found.ok_or_else(|| Failure::Input(format!("--erase-with {name}: {} has no such token", model.name())))
}

/// A number a line; nothing for a token that always stays.
fn read_ranking(path: &Path) -> Result<Vec<Option<f64>>, Failure> {
    let text = read_utf8(path)?;
    let number = |(line, text): (usize, &str)| match text.trim() {
        "" => Ok(None),
        text => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some).ok_or_else(|| {
            Failure::Input(format!(
                "{}: line {} is \"{}\", and a number was expected",
                path.display(),
                line + 1,
                printable(text)
            ))
        }),
    };
    text.lines().enumerate().map(number).collect()
}
