//! How far methods rank the same tokens alike: every pair of them, and the tokens that each puts first.

use attlas::Quantity;
use attlas::analysis::rank_correlation;
use attlas::figure::{Axis, ColorScale, Figure, Panel, Scale, Style, table};
use attlas::printable::printable;

use super::method::Method;
use super::side_by_side::{Explained, short_title};
use crate::Error;

/// Tokens from which ranks say something.
const MIN_RANKED: usize = 4;

/// Rank correlations of the sizes of scores, over tokens that the explained position can depend on: those to which any method
/// gives something. Of each two methods, the tokens of which either says nothing are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The methods.
    pub methods: Vec<Method>,
    /// Their short titles.
    pub titles: Vec<String>,
    /// How many tokens were ranked.
    pub n_tokens: usize,
    /// `None` where a method gives all tokens the same. Shape `[methods][methods]`.
    pub correlations: Vec<Vec<Option<f64>>>,
}

impl Agreement {
    /// Of several methods; `None` of one alone, and of too few tokens for ranks to say anything.
    pub fn of(explained: &Explained) -> Option<Agreement> {
        let sizes: Vec<Vec<f64>> =
            explained.attributions.iter().map(|one| Explained::scores(one).map(f64::abs).collect()).collect();
        let is_seen = |place: &usize| sizes.iter().any(|sizes| sizes[*place] > 0.0);
        let seen: Vec<usize> = (0..explained.places.len()).filter(is_seen).collect();
        if sizes.len() < 2 || seen.len() < MIN_RANKED {
            return None;
        }
        let ranked: Vec<Vec<f64>> =
            sizes.iter().map(|sizes| seen.iter().map(|place| sizes[*place]).collect()).collect();
        let row = |a: &Vec<f64>| ranked.iter().map(|b| of_both(a, b)).collect();
        Some(Agreement {
            methods: explained.attributions.iter().map(|one| one.method).collect(),
            titles: explained.attributions.iter().map(short_title).collect(),
            n_tokens: seen.len(),
            correlations: ranked.iter().map(row).collect(),
        })
    }

    /// Each two methods once, with how far they rank alike.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize, Option<f64>)> + '_ {
        let n = self.methods.len();
        (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b, self.correlations[a][b])))
    }

    /// Which two methods are farthest apart, and which is nearest to what is measured and farthest from it.
    pub fn sentences(&self) -> Vec<String> {
        let known = || self.pairs().filter_map(|(a, b, found)| Some((a, b, found?)));
        let title = |place: usize| self.methods[place].definition().title;
        let mut sentences = Vec::new();
        if let Some((a, b, found)) = known().min_by(|x, y| x.2.total_cmp(&y.2)) {
            sentences.push(format!("Farthest apart are {} and {} ({found:+.2}).", title(a), title(b)));
        }
        let measured = self.methods.iter().position(|method| *method == Method::LeaveOut);
        let of_measured = measured.map(|place| -> Vec<(usize, f64)> {
            let others =
                self.correlations[place].iter().enumerate().filter(|(other, _)| !self.methods[*other].is_measured());
            others.filter_map(|(other, found)| Some((other, (*found)?))).collect()
        });
        let of_measured = of_measured.unwrap_or_default();
        let by = |a: &&(usize, f64), b: &&(usize, f64)| a.1.total_cmp(&b.1);
        if let (Some(nearest), Some(farthest)) = (of_measured.iter().max_by(by), of_measured.iter().min_by(by))
            && nearest.0 != farthest.0
        {
            sentences.push(format!(
                "Nearest to leaving out is {} ({:+.2}), farthest from it {} ({:+.2}).",
                title(nearest.0),
                nearest.1,
                title(farthest.0),
                farthest.1
            ));
        }
        sentences
    }

    /// The matrix as a picture, each number in its cell.
    ///
    /// # Errors
    /// When the numbers are no map.
    pub fn figure(&self, style: &Style) -> Result<Figure, Error> {
        let n = self.methods.len();
        let numbers: Vec<f32> =
            self.correlations.iter().flatten().map(|found| found.map_or(f32::NAN, |x| x as f32)).collect();
        let texts: Vec<String> = self
            .correlations
            .iter()
            .flatten()
            .map(|found| found.map_or_else(|| "–".to_owned(), |x| format!("{x:.2}").replace('-', "−")))
            .collect();
        let scale = ColorScale::over(&numbers, Quantity::Difference, Scale::Linear).called("rank correlation");
        let axis = |name: &str| Axis::labelled(name, self.titles.iter().take(n).cloned());
        let panel = Panel::new("", numbers, axis("method"), axis("method"))?.measuring(Quantity::Difference);
        let mut captions = vec![format!(
            "Spearman's rank correlation of the sizes of scores, over {} tokens, those left out of which a method says nothing; – where one \
             gives all of them the same.",
            self.n_tokens
        )];
        captions.extend(self.sentences());
        let title = "How far each two methods rank the tokens alike".to_owned();
        Ok(table(&panel, &texts, &scale, &Style { title, captions, ..style.clone() }))
    }
}

/// The rank correlation over the tokens of which both say something; `None` of too few.
fn of_both(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan()).unzip();
    if a.len() < MIN_RANKED { None } else { rank_correlation(&a, &b) }
}

/// Which token each method gives most to, in words: `Most is given to "red" at source 1 by 8; "pomme" at target 2 by 2 (leave out, grad
/// × input).`
pub fn firsts(explained: &Explained) -> Option<String> {
    if explained.attributions.len() < 2 {
        return None;
    }
    let mut by_place: Vec<(usize, Vec<String>)> = Vec::new();
    for attribution in &explained.attributions {
        let size = |score: f64| if score.is_nan() { 0.0 } else { score.abs() };
        let sizes: Vec<f64> = Explained::scores(attribution).map(size).collect();
        let first = (0..sizes.len()).reduce(|best, place| if sizes[place] > sizes[best] { place } else { best })?;
        if sizes[first] == 0.0 {
            continue;
        }
        match by_place.iter_mut().find(|(place, _)| *place == first) {
            Some((_, methods)) => methods.push(short_title(attribution)),
            None => by_place.push((first, vec![short_title(attribution)])),
        }
    }
    by_place.sort_by_key(|(place, methods)| (std::cmp::Reverse(methods.len()), *place));
    let in_words = |(place, methods): &(usize, Vec<String>)| {
        let place = &explained.places[*place];
        let token = printable(place.token.trim());
        let who = if methods.len() > 3 { String::new() } else { format!(" ({})", methods.join(", ")) };
        format!("\"{token}\" at {} {} by {}{who}", place.side.name(), place.position, methods.len())
    };
    Some(format!("Most is given to {}.", by_place.iter().map(in_words).collect::<Vec<_>>().join("; ")))
}
