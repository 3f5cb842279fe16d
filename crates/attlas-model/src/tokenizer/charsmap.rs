//! The compiled map of characters of SentencePiece: a double array over bytes, then strings that end in NUL.
//!
//! The library follows its offsets unchecked; here every offset that a text can reach is followed first.

/// The bytes of the longest replacement, once every path of the array was seen to stay inside it.
///
/// Fails with the end of a sentence.
pub(super) fn longest_replacement(bytes: &[u8]) -> Result<usize, String> {
    let (units, strings) = split(bytes)?;
    let n_strings = strings.len();
    let ends: Vec<usize> = strings.bytes().enumerate().filter(|(_, byte)| *byte == 0).map(|(at, _)| at).collect();
    let mut longest = 0;
    let mut visited = vec![false; units.len()];
    let mut pending = vec![offset(unit_at(&units, 0)?)];
    while let Some(node) = pending.pop() {
        for byte in 1..=255usize {
            // Past the end a text could not be followed; the library indexes there without a check.
            let Some(&unit) = units.get(node ^ byte) else {
                return Err(format!("points to unit {}; it has {}", node ^ byte, units.len()));
            };
            if unit & 0x8000_00ff != byte as u32 || std::mem::replace(&mut visited[node ^ byte], true) {
                continue;
            }
            let next = node ^ byte ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = (unit_at(&units, next)? & 0x7fff_ffff) as usize;
                if value > n_strings || !strings.is_char_boundary(value) {
                    return Err(format!("points to byte {value} of {n_strings} bytes of text"));
                }
                let end = ends.get(ends.partition_point(|end| *end < value)).copied().unwrap_or(n_strings);
                longest = longest.max(end - value);
            }
            pending.push(next);
        }
    }
    Ok(longest)
}

/// The array and the strings.
fn split(bytes: &[u8]) -> Result<(Vec<u32>, &str), String> {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(format!("has {} bytes", bytes.len()));
    };
    let n_bytes = u32::from_le_bytes(*size) as usize;
    if !n_bytes.is_multiple_of(4) || n_bytes == 0 || n_bytes > rest.len() {
        return Err(format!("says that its array has {n_bytes} bytes, but {} follow", rest.len()));
    }
    let (array, strings) = rest.split_at(n_bytes);
    let units = array.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect(); // [n_units]
    let strings = std::str::from_utf8(strings).map_err(|error| format!("has strings that are not UTF-8: {error}"))?;
    Ok((units, strings))
}

fn unit_at(units: &[u32], index: usize) -> Result<u32, String> {
    units.get(index).copied().ok_or_else(|| format!("points to unit {index}; it has {}", units.len()))
}

/// How far a unit's children are (Yata's darts-clone).
fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6)
}
