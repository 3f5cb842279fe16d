//! What could not be measured, and why.

use std::collections::BTreeMap;

use super::{Number, Rank, Ranked, Sentence, listed};
use crate::Kind;
use crate::analysis::HeadSums;

/// Heads named in a sentence at most.
const MAX_HEADS: usize = 3;

/// A recording without attention weights, or none of what is asked for.
pub(super) fn no_heads() -> Sentence {
    let text = "0 heads: there are no attention weights to look at.".to_owned();
    Sentence { text, kind: None, layer: None, head: None, measure: None, numbers: vec![Number::count("heads", 0)] }
}

/// The heads that say nothing because some of their weights are no finite numbers.
pub(super) fn broken(kind: Kind, heads: &[&HeadSums]) -> Option<Ranked> {
    let broken: Vec<_> = heads.iter().filter(|head| head.is_broken()).map(|head| head.head).collect();
    let first = broken.first()?;
    let names: Vec<String> = broken.iter().map(ToString::to_string).collect();
    let text = format!(
        "{} of {} {kind} heads cannot be measured: some of their weights are no finite numbers ({}).",
        broken.len(),
        heads.len(),
        listed(&names, MAX_HEADS)
    );
    let numbers = vec![Number::count("heads not measured", broken.len()), Number::count("heads", heads.len())];
    let (layer, head) = (Some(first.layer), Some(first.head));
    Some((Rank::Broken, Sentence { text, kind: Some(kind), layer, head, measure: None, numbers }))
}

/// The measures that no head has a score of because something is missing that they need.
pub(super) fn not_measured(heads: &[HeadSums]) -> Option<Ranked> {
    let mut measures = BTreeMap::new(); // whether some head has a score, by name
    let mut order = Vec::new();
    for (measure, score) in heads.iter().filter(|head| !head.is_broken()).flat_map(HeadSums::scores_or_reasons) {
        let has_score = measures.entry(measure.name).or_insert_with(|| {
            order.push(measure);
            false
        });
        *has_score |= score.is_ok();
    }
    let mut by_need: Vec<(&str, Vec<&str>)> = Vec::new();
    let absent: Vec<_> = order.into_iter().filter(|measure| measures.get(measure.name) == Some(&false)).collect();
    for measure in &absent {
        match by_need.iter_mut().find(|(needs, _)| *needs == measure.needs) {
            Some((_, names)) => names.push(measure.name),
            None => by_need.push((measure.needs, vec![measure.name])),
        }
    }
    let reasons: Vec<String> = by_need.iter().map(|(needs, names)| format!("{} ({needs})", names.join(", "))).collect();
    let text = format!(
        "{} of {} measures have no score here, for want of what they need: {}.",
        absent.len(),
        measures.len(),
        reasons.join("; ")
    );
    let numbers =
        vec![Number::count("measures without a score", absent.len()), Number::count("measures", measures.len())];
    let sentence = Sentence { text, kind: None, layer: None, head: None, measure: None, numbers };
    (!absent.is_empty()).then_some((Rank::Absent, sentence))
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use crate::Kind;
    use crate::analysis::rows::tests::recording;

    #[test]
    fn a_head_with_a_weight_that_is_no_number_is_said_to_be_unmeasured_and_takes_no_part() {
        let mut weights = vec![0.0; 100]; // [10, 10]
        (0..10).for_each(|query: usize| weights[query * 10 + query.saturating_sub(1)] = 1.0);
        let mut broken = weights.clone();
        broken[42] = f32::NAN;
        weights.extend(broken);
        let mut recording = recording(Kind::Encoder, weights, 10, 10);
        (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
        let said = said(&recording);
        assert_eq!(
            said[0].text,
            "1 of 2 encoder heads cannot be measured: some of their weights are no finite numbers (L0H1)."
        );
        assert!(said[1].text.starts_with("Encoder: 1 of 1 head stands out"), "{}", said[1].text);
    }

    #[test]
    fn nothing_but_broken_heads_leaves_one_sentence() {
        let said = said(&recording(Kind::Decoder, vec![f32::NAN; 25], 5, 5));
        assert_eq!(said.len(), 1, "{said:#?}");
    }

    #[test]
    fn what_has_no_score_is_said_with_what_it_needs() {
        let said = said(&recording(Kind::Encoder, vec![0.2; 25], 5, 5));
        let last = said.last().expect("there are sentences");
        assert!(last.text.contains("rare (counts of the tokens in a corpus)"), "{}", last.text);
        assert!(last.text.contains("duplicate, induction (a token that occurs twice)"), "{}", last.text);
    }
}
