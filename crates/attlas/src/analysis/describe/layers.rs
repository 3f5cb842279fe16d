//! How far the first and the last layer look, and whether that differs.

use super::{MIN_SCORES, Number, OfKind, Rank, Ranked};
use crate::analysis::{HeadSums, LayerProfile, MAX_WEIGHTS, Rows, Sample, Sums, distances, layer_profiles};
use crate::{Error, Kind, Recording};

/// Mean distances of the first layer and of the last, beside that of looking at all alike.
pub(super) fn distance(of: &OfKind<'_>) -> Result<Option<Ranked>, Error> {
    let heads: Vec<HeadSums> = of.heads.iter().map(|head| (*head).clone()).collect();
    let profiles = layer_profiles(&heads);
    let mut known = profiles.iter().filter_map(|profile| Some((profile, profile.distance?, profile.uniform_distance?)));
    let Some((first, near, alike)) = known.next() else { return Ok(None) };
    let mut numbers = vec![Number::new(format!("layer {}", first.layer), near)];
    let end = format!("looking at all alike would give {alike:.1}");
    let text = match known.next_back() {
        None => format!("heads of layer {} look {near:.1} tokens away on average; {end}.", first.layer),
        Some((last, far, _)) => {
            numbers.push(Number::new(format!("layer {}", last.layer), far));
            let difference = difference(of, first, last)?;
            let interval = difference.interval().filter(|_| difference.n >= MIN_SCORES);
            let how = match interval {
                Some((low, _)) if low > 0.0 => "further",
                Some((_, high)) if high < 0.0 => "nearer",
                _ => "no sure difference",
            };
            let interval = interval.map_or(String::new(), |(low, high)| {
                numbers.extend([Number::new("difference low", low), Number::new("difference high", high)]);
                numbers.push(Number::new("n_rows", difference.n as f64));
                format!(" (difference {low:.1} to {high:.1}, 95 % interval over {} rows)", difference.n)
                    .replace("-", "−")
            });
            format!(
                "heads of layer {} look {near:.1} tokens away on average, those of layer {} {far:.1}, {how}{interval}; {end}.",
                first.layer, last.layer
            )
        }
    };
    numbers.push(Number::new("baseline", alike));
    let mut sentence = of.sentence(format!("{}: {text}", of.name()), None, "distance", numbers);
    sentence.layer = Some(first.layer);
    Ok(Some((Rank::Distance, sentence)))
}

/// For each row, how much further the heads of the last layer look, on average, than those of the first. The same queries stand on
/// both sides, so that what a query's place does to its distance falls out.
fn difference(of: &OfKind<'_>, first: &LayerProfile, last: &LayerProfile) -> Result<Sums, Error> {
    let (near, far) = (row_distances(of, first.layer)?, row_distances(of, last.layer)?);
    if near.len() != far.len() {
        return Ok(Sums::default());
    }
    let differences = near.iter().zip(&far).map(|(near, far)| Sample { score: far - near, baseline: 0.0 });
    Ok(Sums::of(differences))
}

/// The distance of each row that was measured, a mean over the heads of a layer. Shape `[n_rows]`.
fn row_distances(of: &OfKind<'_>, layer: usize) -> Result<Vec<f64>, Error> {
    let heads: Vec<usize> =
        of.heads.iter().filter(|head| head.head.layer == layer).map(|head| head.head.head).collect();
    let mut sums: Vec<f64> = Vec::new(); // [n_rows]
    for head in &heads {
        let distances = of_head(of.recording, of.item, of.kind, layer, *head)?;
        sums.resize(distances.len(), 0.0);
        sums.iter_mut().zip(distances).for_each(|(sum, distance)| *sum += distance);
    }
    sums.iter_mut().for_each(|sum| *sum /= heads.len() as f64);
    Ok(sums)
}

fn of_head(recording: &Recording, item: usize, kind: Kind, layer: usize, head: usize) -> Result<Vec<f64>, Error> {
    let map = recording.map(item, kind, layer, head)?;
    Ok(Rows::sampled(&map, MAX_WEIGHTS).map(|row| distances(row).weight_of(row).score))
}

#[cfg(test)]
mod tests {
    use super::super::Sentence;
    use super::super::tests::said;
    use crate::analysis::rows::tests::recording;
    use crate::analysis::{layer_profiles, measure};
    use crate::{Kind, Recording};

    /// Two layers of one head on ten tokens: the first looks `near` tokens ahead, the second `far`, round the end.
    fn layers(near: usize, far: usize) -> Recording {
        let looks = |ahead: usize| {
            let mut weights = vec![0.0; 100]; // [10, 10]
            (0..10).for_each(|query| weights[query * 10 + (query + ahead) % 10] = 1.0);
            recording(Kind::Encoder, weights, 10, 10)
        };
        let mut recording = looks(near);
        let mut second = looks(far).layers.remove(0);
        second.index = 1;
        recording.layers.push(second);
        recording
    }

    fn distance(recording: &Recording) -> Sentence {
        said(recording).into_iter().find(|one| one.measure == Some("distance")).expect("self-attention has distances")
    }

    #[test]
    fn a_later_layer_that_surely_looks_further_is_said_to() {
        let recording = layers(0, 5);
        let sentence = distance(&recording);
        assert_eq!(
            sentence.text,
            "Encoder: heads of layer 0 look 0.0 tokens away on average, those of layer 1 5.0, further (difference 5.0 to 5.0, 95 % \
             interval over 10 rows); looking at all alike would give 3.3."
        );
        let profiles = layer_profiles(&measure(&recording, 0).expect("the text exists"));
        assert_eq!(profiles[1].distance, Some(sentence.numbers[1].value));
        assert_eq!(profiles[0].uniform_distance, Some(sentence.numbers.last().expect("a baseline").value));
    }

    #[test]
    fn a_difference_within_its_uncertainty_is_none() {
        // 1.8 of one round the end, 3.2 of two: rows at the end take it all
        let sentence = distance(&layers(1, 2));
        assert!(sentence.text.contains("layer 1 3.2, no sure difference (difference −"), "{}", sentence.text);
    }

    #[test]
    fn one_layer_stands_beside_what_looking_at_all_alike_would_give() {
        let sentence = distance(&recording(Kind::Encoder, vec![0.1; 100], 10, 10));
        assert_eq!(
            sentence.text,
            "Encoder: heads of layer 0 look 3.3 tokens away on average; looking at all alike would give 3.3."
        );
    }
}
