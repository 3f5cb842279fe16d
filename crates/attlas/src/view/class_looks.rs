//! Colours and letters of classes of heads: the same in every picture.

use crate::analysis::Measure;
use crate::figure::Rgb;
use crate::figure::okabe_ito::{BLUE, ORANGE, PURPLE, SKY, VERMILLION, YELLOW};

/// How a class looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Where it stands among all classes.
    pub place: usize,
    /// Its letters.
    pub code: String,
    /// Its colour.
    pub color: Rgb,
}

// After Okabe & Ito 2008, with a pale or dark relative where a family of classes has several. Any two but the two palest
// stay apart for protan, deutan and tritan eyes, ΔE₇₆ 13 or more (Machado et al. 2009, severity 1).
const NAVY: Rgb = Rgb([22, 48, 95]);
const PALE_BLUE: Rgb = Rgb([203, 227, 247]);
const DEEP_GREEN: Rgb = Rgb([0, 144, 104]);
const PALE_GREEN: Rgb = Rgb([127, 209, 166]);
const PALE_PURPLE: Rgb = Rgb([243, 191, 220]);
const GREY: Rgb = Rgb([80, 85, 91]);

/// By the measure's name; classes that share a colour are of one family, or grey.
const LOOKS: [(&str, &str, Rgb); 22] = [
    ("previous", "Pr", BLUE),
    ("self", "Ow", SKY),
    ("next", "Ne", NAVY),
    ("positional", "Po", PALE_BLUE),
    ("local", "Lo", PALE_BLUE),
    ("first", "Fi", VERMILLION),
    ("sink", "Si", VERMILLION),
    ("separator", "Se", ORANGE),
    ("punctuation", "Pu", ORANGE),
    ("functional", "Fu", ORANGE),
    ("induction", "In", DEEP_GREEN),
    ("duplicate", "Du", PALE_GREEN),
    ("repetition", "Co", PALE_GREEN),
    ("retrieval", "Rt", PALE_GREEN),
    ("alignment", "Al", PURPLE),
    ("agreement", "Bo", PALE_PURPLE),
    ("coverage", "Cv", PALE_PURPLE),
    ("monotone", "Mo", PALE_PURPLE),
    ("broad", "Br", YELLOW),
    ("recency", "Re", GREY),
    ("rare", "Ra", GREY),
    ("phrase", "Ph", GREY),
];

/// How the class that a measure names looks; one that is not in the list is grey, with the first two letters of its name.
pub fn look_of(measure: &Measure) -> Look {
    match LOOKS.iter().position(|(name, ..)| *name == measure.name) {
        Some(place) => Look { place, code: LOOKS[place].1.to_owned(), color: LOOKS[place].2 },
        None => {
            let among = crate::analysis::MEASURES.iter().position(|other| other == measure).unwrap_or_default();
            Look { place: LOOKS.len() + among, code: measure.name.chars().take(2).collect(), color: GREY }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::MEASURES;

    #[test]
    fn every_measure_that_names_a_head_has_letters_of_its_own_and_no_other_is_in_the_list() {
        let mut names: Vec<&str> = MEASURES.iter().filter(|one| one.threshold.is_some()).map(|one| one.name).collect();
        let mut listed: Vec<&str> = LOOKS.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, names);
        let mut codes: Vec<&str> = LOOKS.iter().map(|(_, code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), LOOKS.len());
    }

    #[test]
    fn a_measure_that_is_not_in_the_list_is_grey_with_its_first_letters() {
        let entropy = look_of(Measure::named("entropy").expect("it is a measure"));
        assert_eq!((entropy.code.as_str(), entropy.color), ("en", GREY));
        assert!(entropy.place >= LOOKS.len());
    }
}
