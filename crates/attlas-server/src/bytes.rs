//! Answers as bytes, little-endian: what `web/src/server_source.ts` reads.

use axum::body::Bytes;
use serde_json::json;

use crate::lines::{Line, Terms};
use crate::tile::Tile;

/// What stands for no place.
const NOWHERE: u32 = u32::MAX;

/// Height, width (u32), the largest size (f32), one in how many rows (u32); values (f32), masked (u8). Shapes `[height, width]`.
pub fn tile(tile: &Tile) -> Bytes {
    let n = tile.values.len();
    let mut bytes = Vec::with_capacity(16 + 5 * n);
    bytes.extend((tile.height as u32).to_le_bytes());
    bytes.extend((tile.width as u32).to_le_bytes());
    bytes.extend(tile.top.to_le_bytes());
    bytes.extend(u32::try_from(tile.every).unwrap_or(u32::MAX).to_le_bytes());
    push_numbers(&mut bytes, &tile.values);
    bytes.extend(tile.masked.iter().map(|masked| u8::from(*masked)));
    bytes.into()
}

/// How many (u32); removed, sink, entropy (f32); weights (f32), masked (u8). Shapes `[n]`.
pub fn line(line: &Line) -> Bytes {
    let mut bytes = Vec::with_capacity(16 + 5 * line.weights.len());
    bytes.extend((line.weights.len() as u32).to_le_bytes());
    push_numbers(&mut bytes, &[line.removed, line.sink, line.entropy]);
    push_numbers(&mut bytes, &line.weights);
    bytes.extend(line.masked.iter().map(|masked| u8::from(*masked)));
    bytes.into()
}

/// Layer, head (u32), value (f32; NaN where all is masked), place of the largest (u32; all ones where there is none).
pub fn push_head(bytes: &mut Vec<u8>, layer: usize, head: usize, found: Option<(f32, Option<usize>)>) {
    let (value, place) = found.unwrap_or((f32::NAN, None));
    bytes.extend((layer as u32).to_le_bytes());
    bytes.extend((head as u32).to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes.extend(place.map_or(NOWHERE, |place| place as u32).to_le_bytes());
}

/// The terms of a weight; null where something is no number, or not known.
pub fn terms(terms: &Terms) -> String {
    let Terms { weight, masked, score, query, key, scale, softcap, bias, lse, missing } = terms;
    let known = |numbers: &Vec<f32>| if numbers.is_empty() { None } else { Some(numbers.clone()) };
    json!({
        "weight": weight, "masked": masked, "score": score, "query": known(query), "key": known(key), "scale": scale,
        "softcap": softcap, "bias": bias, "lse": lse, "missing": missing,
    })
    .to_string()
}

fn push_numbers(bytes: &mut Vec<u8>, numbers: &[f32]) {
    if cfg!(target_endian = "little") {
        bytes.extend_from_slice(bytemuck::cast_slice(numbers));
    } else {
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    }
}
