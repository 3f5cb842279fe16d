//! What tokens and spans receive, as a picture.

use attlas::Kind;
use attlas::figure::{self, Axis, Bars, ColorScale, Figure, Panel, Profile};

use super::{OfText, Share};
use crate::commands::draw::StyleArguments;
use crate::failure::Failure;
use crate::view::Special;
use crate::words::counted;

/// Spans that have room in a picture.
const MOST_GROUPS: usize = 24;

/// Bars of the tokens over a strip of the maps, and bars of the spans map by map.
pub fn figure(text: &OfText<'_>, style: &StyleArguments, silence: Special) -> Result<Figure, Failure> {
    let (places, silent) = places(text, silence);
    let of_map = |map| places.iter().map(move |place| number(OfText::of_key(map, *place).score()));
    let numbers = text.maps.iter().flat_map(of_map);
    let numbers: Vec<f32> = numbers.collect(); // [n_maps, n_places]
    let names = text.maps.iter().map(OfText::name);
    let rows = Axis::labelled(format!("received, {}", text.which()), names);
    let panel = Panel::new("", numbers, rows, keys(text, &places))?;
    let mean = |of: fn(&Share) -> Option<f64>| {
        places.iter().map(|place| text.mean_of_key(*place, of) as f32).collect::<Vec<f32>>() // [n_places]
    };
    let name = match text.maps.len() {
        1 => "received".to_owned(),
        n => format!("received, mean of {n} maps"),
    };
    let columns = Bars { name, numbers: mean(Share::score), expected: mean(Share::baseline) };
    let scale = ColorScale::of([&panel], style.scale()).called("mean share of a query's weight that a token receives");
    let groups = groups(text);
    let groups_are = "received by spans, map by map".to_owned();
    let title = format!("{}: where attention goes", text.layer.kind.title());
    let style = style.of_several(&title, captions(text, &groups, silent));
    let groups = groups.into_iter().take(MOST_GROUPS).collect();
    Ok(figure::profile(&Profile { panel, columns, groups, groups_are }, &scale, &style))
}

fn number(number: Option<f64>) -> f32 {
    number.map_or(f32::NAN, |number| number as f32)
}

/// The tokens drawn, by position, and how many hold silence that is left out.
fn places(text: &OfText<'_>, silence: Special) -> (Vec<usize>, usize) {
    let keys = text.keys();
    let has_sound = text.layer.kind != Kind::Decoder && text.layer.key_axis.is_none();
    let silent = text.recording.items[text.item].silence();
    let is_silent = |place: &usize| has_sound && silent.contains(&keys[*place]);
    let sound: Vec<usize> = (0..keys.len()).filter(|place| !is_silent(place)).collect();
    match silence {
        Special::Hide if !sound.is_empty() => (sound.clone(), keys.len() - sound.len()),
        _ => ((0..keys.len()).collect(), 0),
    }
}

/// The axis of the tokens.
fn keys(text: &OfText<'_>, places: &[usize]) -> Axis {
    let usual = if text.layer.kind == Kind::Decoder { "target" } else { "source" };
    let name = format!("key ({} token)", text.layer.key_axis.as_deref().unwrap_or(usual));
    let (keys, tokens) = (text.keys(), &text.key_tokens().tokens);
    if tokens.is_empty() {
        return Axis::counted(name, places.len());
    }
    let label = |place: &usize| tokens.get(keys[*place]).map_or(String::new(), |token| token.text.clone());
    Axis::labelled(name, places.iter().map(label))
}

/// What each span receives, map by map; the tokens of text, which are all others than the special ones, say nothing more.
fn groups(text: &OfText<'_>) -> Vec<Bars> {
    let by_map: Vec<Vec<_>> = text.maps.iter().map(|map| text.shares(map).collect()).collect();
    let Some(first) = by_map.first() else { return Vec::new() };
    let of = |place: usize, of: fn(&Share) -> Option<f64>| {
        by_map.iter().map(|shares| number(of(&shares[place].2))).collect::<Vec<f32>>() // [n_maps]
    };
    let bars = |place: usize| Bars {
        name: first[place].0.to_owned(),
        numbers: of(place, Share::score),
        expected: of(place, Share::baseline),
    };
    let is_shown = |place: &usize| first[*place].0 != "text";
    (0..first.len()).filter(is_shown).map(bars).collect()
}

fn captions(text: &OfText<'_>, groups: &[Bars], n_silent: usize) -> Vec<String> {
    let mut captions = Vec::new();
    let provenance = &text.recording.provenance;
    if !provenance.model.is_empty() {
        captions.push(format!("model: {}", provenance.model));
    }
    if text.recording.items.len() > 1 {
        captions.push(format!("text {} of {}, counted from 0", text.item, text.recording.items.len()));
    }
    captions.extend(text.complaint());
    let queries = text.queries_in_words();
    captions.push(format!(
        "received: the share of a query's weight, mean over {queries}, every one of them read; lines: what looking at all visible \
         tokens alike gives"
    ));
    if text.layer.kind == Kind::Decoder {
        captions
            .push("under a causal mask early tokens are seen by more queries: the line says what that gives".into());
    }
    captions.extend(text.mostly_first());
    if n_silent > 0 {
        captions
            .push(format!("{} of added silence left out; the span says what they receive", counted(n_silent, "token")));
    }
    if groups.len() > MOST_GROUPS {
        captions.push(format!("the first {MOST_GROUPS} of {} spans", groups.len()));
    }
    captions.push("weights are not importance".into());
    captions.extend(text.recording.remarks_on(text.item, text.layer.kind));
    captions
}
