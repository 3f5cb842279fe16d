//! What the name of an array says: the kind of attention, and the layer where it is one of several.

use crate::{Error, Kind};

/// What a name says of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The kind itself.
    Kind(Kind),
    /// Self-attention, of an encoder or of a decoder: transformers calls both `attentions`.
    SelfAttention,
    /// Nothing.
    Nothing,
}

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub said: Said,
    /// The layer; `None` for all layers in one array, or a single one.
    pub layer: Option<usize>,
}

/// What the names of all arrays of a file say, in their order.
///
/// # Errors
/// [`Error::BadWeights`] where several arrays of no kind have no number that tells their layers apart.
pub(super) fn read(names: &[&str]) -> Result<Vec<Name>, Error> {
    let mut read: Vec<Name> = names.iter().map(|name| of_one(name)).collect();
    let unnamed: Vec<usize> = (0..names.len()).filter(|index| read[*index].said == Said::Nothing).collect();
    if unnamed.len() < 2 {
        unnamed.into_iter().for_each(|only| read[only].layer = None); // a number tells nothing apart
        return Ok(read);
    }
    let numbers: Vec<Vec<usize>> = unnamed.iter().map(|index| numbers_in(names[*index])).collect();
    let n_numbers = numbers.iter().map(Vec::len).min().unwrap_or(0);
    let layer = (0..n_numbers).find(|place| {
        let mut values: Vec<usize> = numbers.iter().map(|numbers| numbers[*place]).collect();
        values.sort_unstable();
        values.windows(2).all(|pair| pair[0] != pair[1])
    });
    let Some(place) = layer else {
        return Err(Error::BadWeights(format!(
            "arrays \"{}\" and \"{}\": their names do not say which layer each is; a number in them would (0, 1, …), as \
             would the names encoder, decoder_self and decoder_cross",
            names[unnamed[0]], names[unnamed[1]]
        )));
    };
    for (index, numbers) in unnamed.into_iter().zip(numbers) {
        read[index].layer = Some(numbers[place]);
    }
    Ok(read)
}

/// What one name says by itself: `encoder`, `decoder_self.3`, `cross_attentions_0`, `attentions[1]`, `arr_2`.
fn of_one(name: &str) -> Name {
    if let Some(said) = kind(name) {
        return Name { said, layer: None };
    }
    let bare = name.strip_suffix(']').unwrap_or(name);
    let stem = bare.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let layer = bare[stem.len()..].parse().ok();
    let stem = stem.strip_suffix(['.', '_', '-', '/', '[']).unwrap_or(stem);
    match (kind(stem), layer) {
        (Some(said), Some(layer)) => Name { said, layer: Some(layer) },
        (None, Some(layer)) if stem == "arr" => Name { said: Said::Nothing, layer: Some(layer) },
        _ => Name { said: Said::Nothing, layer: None },
    }
}

/// The kind that a name without a number says: attlas's own names and those of transformers' outputs.
fn kind(name: &str) -> Option<Said> {
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| [kind.array_name(), kind.name()].contains(&name)) {
        return Some(Said::Kind(kind));
    }
    Some(match name {
        "encoder_attentions" | "encoder_self" => Said::Kind(Kind::Encoder),
        "decoder_attentions" => Said::Kind(Kind::Decoder),
        "cross_attentions" => Said::Kind(Kind::Cross),
        "attentions" => Said::SelfAttention,
        _ => return None,
    })
}

/// The whole numbers in a name, from left to right.
fn numbers_in(name: &str) -> Vec<usize> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds_and_layers(names: &[&str]) -> Vec<(Said, Option<usize>)> {
        read(names).unwrap().into_iter().map(|name| (name.said, name.layer)).collect()
    }

    #[test]
    fn the_names_of_transformers_outputs_are_known_with_their_layers() {
        let [encoder, decoder, cross] = Kind::ALL.map(Said::Kind);
        assert_eq!(
            kinds_and_layers(&["encoder_attentions", "decoder_attentions", "cross_attentions", "attentions"]),
            [(encoder, None), (decoder, None), (cross, None), (Said::SelfAttention, None)]
        );
        assert_eq!(
            kinds_and_layers(&["encoder.3", "decoder_attentions_0", "cross_attentions[11]", "attentions/2"]),
            [(encoder, Some(3)), (decoder, Some(0)), (cross, Some(11)), (Said::SelfAttention, Some(2))]
        );
    }

    #[test]
    fn several_arrays_of_no_name_are_layers_by_the_number_that_tells_them_apart() {
        let nothing = |layer| (Said::Nothing, layer);
        assert_eq!(kinds_and_layers(&["arr_0"]), [nothing(None)]);
        assert_eq!(kinds_and_layers(&["attention"]), [nothing(None)]);
        assert_eq!(kinds_and_layers(&["arr_0", "arr_10"]), [nothing(Some(0)), nothing(Some(10))]);
        let names = ["h2.layers.1.attn1", "h2.layers.0.attn1"];
        assert_eq!(kinds_and_layers(&names), [nothing(Some(1)), nothing(Some(0))]);
        let message = read(&["attention", "scores"]).unwrap_err().to_string();
        assert!(
            message.starts_with("arrays \"attention\" and \"scores\": their names do not say which layer"),
            "{message}"
        );
    }
}
