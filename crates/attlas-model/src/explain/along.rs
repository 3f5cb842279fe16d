//! Integrated gradients: the gradient's mean along a straight way, and where the way is not smooth, more places just there.
//!
//! Where a network switches units on and off (ReLU), the gradient along the way jumps, hundreds of times in a small translator, and no
//! quadrature of a few places meets the integral. What the score gains on each stretch of the way is known without any gradient: it is the
//! score at its end less that at its beginning. So each stretch knows its own error, and those with the largest are halved.

use super::attribution::{Attribution, Completeness, IntegrationPath, Moved};
use super::method::Method;
use super::quadrature::gauss_legendre;
use super::read::{Explained, Read, ReadSide, Watch};
use crate::Error;

/// Stretches that a way which is not smooth is cut into at first, and places on each.
const N_STRETCHES: usize = 20;
const N_PLACES: usize = 3;
/// Gradients that are computed for it, as a multiple of the steps that were asked for, at most.
const MOST: usize = 8;

/// A part of the way from nothing (0) to the input (1).
struct Stretch {
    ends: [f64; 2],
    /// The score at both ends.
    values: [f64; 2],
    /// What each token gains on it, source and target.
    gains: [Vec<f64>; 2],
}

impl Stretch {
    /// How far what the tokens gain is from what the score does.
    fn error(&self) -> f64 {
        self.gains.iter().flatten().sum::<f64>() - (self.values[1] - self.values[0])
    }
}

impl Explained<'_> {
    /// The part of each token in what the score gains along the way: by as many steps as are asked for, and by more, where these do not sum
    /// to what they should.
    pub(super) fn along(&self, way: IntegrationPath, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let values = self.values_at(&[0.0, 1.0], way.moved, watch)?;
        let whole = Stretch { ends: [0.0, 1.0], values: [values[0], values[1]], gains: Default::default() };
        let smooth = self.integrated(vec![whole], way.n_steps, way.moved, watch)?;
        let found = self.attributed(&smooth);
        let is_complete = found.completeness.is_some_and(|completeness| completeness.holds());
        if is_complete || MOST * way.n_steps < 2 * N_STRETCHES * N_PLACES {
            return Ok(found);
        }
        let cut = self.refined(way, watch)?;
        let refined = self.attributed(&cut);
        let error = |attribution: &Attribution| attribution.completeness.map_or(f64::INFINITY, |found| found.error());
        Ok(if error(&refined) < error(&found) { refined } else { found })
    }

    /// The way in stretches, halved where the error is largest until the sum holds or enough is computed.
    fn refined(&self, way: IntegrationPath, watch: &mut Watch<'_>) -> Result<Vec<Stretch>, Error> {
        let ends: Vec<f64> = (0..=N_STRETCHES).map(|place| place as f64 / N_STRETCHES as f64).collect();
        let values = self.values_at(&ends, way.moved, watch)?;
        let stretch = |place: usize| Stretch {
            ends: [ends[place], ends[place + 1]],
            values: [values[place], values[place + 1]],
            gains: Default::default(),
        };
        let whole = (values[N_STRETCHES] - values[0]).abs();
        let mut done = self.integrated((0..N_STRETCHES).map(stretch).collect(), N_PLACES, way.moved, watch)?;
        // stretches that may be halved
        let mut n_left = (MOST * way.n_steps).saturating_sub(N_STRETCHES * N_PLACES) / (2 * N_PLACES);
        loop {
            done.sort_by(|a, b| b.error().abs().total_cmp(&a.error().abs()).then(a.ends[0].total_cmp(&b.ends[0])));
            let error: f64 = done.iter().map(Stretch::error).sum();
            // those that are about as wrong as the worst: a corner next to the beginning takes many halvings of one
            let worst = done.first().map_or(0.0, |stretch| stretch.error().abs());
            let n = done.iter().take_while(|stretch| stretch.error().abs() >= 0.25 * worst).count().min(n_left);
            if error.abs() <= 0.5 * Completeness::TOLERANCE * whole || n == 0 {
                return Ok(done);
            }
            n_left -= n;
            let middles: Vec<f64> = done[..n].iter().map(|stretch| stretch.ends.iter().sum::<f64>() / 2.0).collect();
            let values = self.values_at(&middles, way.moved, watch)?;
            let halves = done.drain(..n).zip(middles.into_iter().zip(values)).flat_map(|(stretch, (middle, value))| {
                let [from, to] = stretch.ends;
                let [before, after] = stretch.values;
                let half = |ends, values| Stretch { ends, values, gains: Default::default() };
                [half([from, middle], [before, value]), half([middle, to], [value, after])]
            });
            let halves: Vec<Stretch> = halves.collect();
            done.extend(self.integrated(halves, N_PLACES, way.moved, watch)?);
        }
    }

    /// What the input is at a place of the way.
    fn read_at(&self, place: f64, moved: Moved) -> Read {
        let scaled = |side: &Option<ReadSide>, moves: bool| {
            side.as_ref().map(|side| if moves { side.scaled(place) } else { side.clone() })
        };
        Read {
            source: scaled(&self.read.source, moved != Moved::Target),
            target: scaled(&self.read.target, moved != Moved::Source),
        }
    }

    /// The score at places of the way. Shape `[places]`.
    fn values_at(&self, places: &[f64], moved: Moved, watch: &mut Watch<'_>) -> Result<Vec<f64>, Error> {
        self.values(places.len(), &|step| self.read_at(places[step], moved), watch)
    }

    /// The stretches with what each token gains on them, by `n` places on each.
    fn integrated(
        &self,
        mut stretches: Vec<Stretch>,
        n: usize,
        moved: Moved,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Stretch>, Error> {
        let places = gauss_legendre(n);
        let at = |step: usize| -> (f64, f64) {
            let [from, to] = stretches[step / n].ends;
            let (place, weight) = places[step % n];
            (from + (to - from) * place, (to - from) * weight)
        };
        let all: Vec<(f64, f64)> = (0..stretches.len() * n).map(at).collect();
        let moves = [moved != Moved::Target, moved != Moved::Source];
        let mut visit = |step: usize, _: f64, gradient: Read| {
            let sums = self.sums(&gradient, |x, g| x * g);
            for ((gains, sums), moves) in stretches[step / n].gains.iter_mut().zip(sums).zip(moves) {
                if moves {
                    gains.resize(sums.len(), 0.0);
                    gains.iter_mut().zip(sums).for_each(|(gain, sum)| *gain += all[step].1 * sum);
                }
            }
        };
        self.each_gradient(all.len(), &|step| self.read_at(all[step].0, moved), &mut visit, watch)?;
        Ok(stretches)
    }

    /// The sum over the stretches, with what it should be.
    fn attributed(&self, stretches: &[Stretch]) -> Attribution {
        let mut scores: [Vec<f64>; 2] = Default::default(); // [source, target]
        for stretch in stretches {
            for (total, gains) in scores.iter_mut().zip(&stretch.gains) {
                total.resize(gains.len(), 0.0);
                total.iter_mut().zip(gains).for_each(|(total, gain)| *total += gain);
            }
        }
        let first = stretches.iter().min_by(|a, b| a.ends[0].total_cmp(&b.ends[0])).map_or(0.0, |one| one.values[0]);
        let last = stretches.iter().max_by(|a, b| a.ends[1].total_cmp(&b.ends[1])).map_or(0.0, |one| one.values[1]);
        let mut attribution = self.attribution(Method::IntegratedGradients, last, scores);
        attribution.completeness = Some(Completeness { sum: attribution.sum(), whole: last - first });
        attribution
    }
}
