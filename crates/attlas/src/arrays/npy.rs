//! NumPy's `.npy` format, versions 1 to 3 (NEP 1): numbers and fixed-width text; never a pickle.

use super::{Array, ArrayData, chunks, n_elements};

const MAGIC: &[u8] = b"\x93NUMPY";

/// What the header of a `.npy` file says.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Reads one `.npy` file.
///
/// # Errors
/// A sentence that names what was found.
pub fn parse(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a .npy file: it does not start with \\x93NUMPY")?;
    let cut = "the .npy header is cut short";
    let (header_len, rest) = match rest {
        [1, _, a, b, rest @ ..] => (u16::from_le_bytes([*a, *b]) as usize, rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [version, ..] if *version > 3 => return Err(format!("unknown .npy version {version}")),
        _ => return Err(cut.into()),
    };
    let (header, data) = rest.split_at_checked(header_len).ok_or(cut)?;
    let header = parse_header(std::str::from_utf8(header).map_err(|_| "the .npy header is not text")?)?;
    let n = n_elements(&header.shape)?;
    let (mut data, size) = read_elements(&header.descr, data)?;
    if data.len() < n {
        let Header { shape, .. } = header;
        return Err(format!("shape {shape:?} needs {n} elements of {size} bytes, but only {} are there", data.len()));
    }
    data.truncate(n);
    if header.fortran_order && header.shape.len() > 1 {
        data = data.in_row_major_order(&header.shape);
    }
    Ok(Array { shape: header.shape, data })
}

/// All whole elements in `bytes`, and the size of one.
fn read_elements(descr: &str, bytes: &[u8]) -> Result<(ArrayData, usize), String> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", ""));
    let big = order == ">";
    let numbers = |numbers: Vec<f32>, size| Ok((ArrayData::Numbers(numbers), size));
    let integers = |integers: Vec<i64>, size| Ok((ArrayData::Integers(integers), size));
    match kind {
        "f2" => numbers(chunks(bytes, |c| half::f16::from_le_bytes(ordered(c, big)).to_f32()), 2),
        "f4" => numbers(chunks(bytes, |c| f32::from_le_bytes(ordered(c, big))), 4),
        "f8" => numbers(chunks(bytes, |c| f64::from_le_bytes(ordered(c, big)) as f32), 8),
        "i4" => integers(chunks(bytes, |c| i64::from(i32::from_le_bytes(ordered(c, big)))), 4),
        "i8" => integers(chunks(bytes, |c| i64::from_le_bytes(ordered(c, big))), 8),
        "O" => Err("an array of Python objects (a pickle) is not read; save numbers, or text with dtype=str".into()),
        _ if kind.starts_with('U') => {
            let width = kind[1..].parse::<usize>().ok().and_then(|n| n.checked_mul(4)).filter(|n| *n > 0);
            let width = width.ok_or_else(|| format!("dtype \"{descr}\" is not read"))?;
            let text = |element: &[u8]| {
                let codes = chunks(element, |c| u32::from_le_bytes(ordered(c, big)));
                let end = codes.iter().rposition(|code| *code != 0).map_or(0, |last| last + 1);
                codes[..end].iter().map(|code| char::from_u32(*code).unwrap_or('\u{FFFD}')).collect::<String>()
            };
            Ok((ArrayData::Text(bytes.chunks_exact(width).map(text).collect()), width))
        }
        _ => Err(format!("dtype \"{descr}\" is not read; float16, float32, float64, int32, int64 and text are")),
    }
}

/// The bytes in little-endian order.
fn ordered<const N: usize>(mut bytes: [u8; N], big: bool) -> [u8; N] {
    if big {
        bytes.reverse();
    }
    bytes
}

impl ArrayData {
    fn len(&self) -> usize {
        match self {
            ArrayData::Numbers(values) => values.len(),
            ArrayData::Text(values) => values.len(),
            ArrayData::Integers(values) => values.len(),
        }
    }

    fn truncate(&mut self, n: usize) {
        match self {
            ArrayData::Numbers(values) => values.truncate(n),
            ArrayData::Text(values) => values.truncate(n),
            ArrayData::Integers(values) => values.truncate(n),
        }
    }

    /// The elements with the last axis fastest, from ones with the first axis fastest.
    fn in_row_major_order(self, shape: &[usize]) -> ArrayData {
        match self {
            ArrayData::Numbers(values) => ArrayData::Numbers(transpose(&values, shape)),
            ArrayData::Text(values) => ArrayData::Text(transpose(&values, shape)),
            ArrayData::Integers(values) => ArrayData::Integers(transpose(&values, shape)),
        }
    }
}

fn transpose<T: Clone>(values: &[T], shape: &[usize]) -> Vec<T> {
    (0..values.len())
        .map(|index| {
            // the position of the element that comes `index`-th when the last axis is fastest
            let mut left = index;
            let mut positions: Vec<usize> = shape.iter().rev().map(|size| (left % size, left /= size).0).collect();
            positions.reverse();
            let position = positions.iter().zip(shape).rev().fold(0, |sum, (at, size)| sum * size + at);
            values[position].clone()
        })
        .collect()
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_header(text: &str) -> Result<Header, String> {
    let bad =
        || format!("the .npy header {:?} is not understood", text.trim_end().chars().take(80).collect::<String>());
    let body = text.trim().strip_prefix('{').and_then(|body| body.strip_suffix('}')).ok_or_else(bad)?;
    let value = |key: &str| {
        let start = body.find(&format!("'{key}'")).map(|at| at + key.len() + 2)?;
        body[start..].trim_start().strip_prefix(':').map(str::trim_start)
    };
    let descr = value("descr").ok_or_else(bad)?;
    let Some(descr) = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) else {
        return Err("an array of records is not read; save each field by itself".into());
    };
    let order = value("fortran_order").ok_or_else(bad)?;
    let fortran_order = if order.starts_with("True") {
        true
    } else if order.starts_with("False") {
        false
    } else {
        return Err(bad());
    };
    let shape = value("shape").and_then(|rest| rest.strip_prefix('(')?.split_once(')')).ok_or_else(bad)?;
    let sizes = shape.0.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
    if shape.len() > 32 {
        return Err(bad());
    }
    Ok(Header { descr: descr.0.to_string(), fortran_order, shape })
}

/// The header of a `.npy` file, padded so that the data start at a multiple of 64 bytes.
pub fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}").into_bytes();
    let padded = (MAGIC.len() + 4 + dict.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    dict.resize(padded - 1, b' ');
    dict.push(b'\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&dict);
    bytes
}

/// A whole `.npy` file of text.
pub fn text(shape: &[usize], labels: &[&str]) -> Vec<u8> {
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(1);
    let mut bytes = header(&format!("<U{width}"), shape);
    for label in labels {
        let padding = std::iter::repeat_n('\0', width - label.chars().count());
        bytes.extend(label.chars().chain(padding).flat_map(|letter| u32::from(letter).to_le_bytes()));
    }
    bytes
}

/// A whole `.npy` file of whole numbers.
pub fn integers(shape: &[usize], values: &[i64]) -> Vec<u8> {
    let mut bytes = header("<i8", shape);
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(dict.len() as u16).to_le_bytes());
        bytes.extend_from_slice(dict.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn a_header_written_is_a_header_read() {
        for shape in [vec![], vec![5], vec![2, 3], vec![1, 2, 3, 4]] {
            let bytes = header("<f4", &shape);
            assert_eq!(bytes.len() % 64, 0);
            let found = parse_header(std::str::from_utf8(&bytes[10..]).unwrap()).unwrap();
            assert_eq!(found, Header { descr: "<f4".into(), fortran_order: false, shape });
        }
    }

    #[test]
    fn fortran_order_and_big_endian_are_undone() {
        let data: Vec<u8> = [1.0f64, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|x| x.to_be_bytes()).collect();
        let array = parse(&file("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }", &data)).unwrap();
        assert_eq!(array.data, ArrayData::Numbers(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    }

    #[test]
    fn text_of_any_script_survives() {
        let labels = ["chat", "猫", "🐈", ""];
        let array = parse(&text(&[4], &labels)).unwrap();
        assert_eq!(array.data, ArrayData::Text(labels.map(String::from).to_vec()));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused_with_a_sentence() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert!(refused(b"PK").starts_with("not a .npy file"));
        assert!(refused(b"\x93NUMPY\x01\x00\xff\xff{").contains("cut short"));
        assert!(refused(&file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &[])).contains("pickle"));
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }";
        assert!(refused(&file(huge, &[])).contains("more elements than any array"));
        let short = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
        assert_eq!(refused(&file(short, &[0; 12])), "shape [2, 2] needs 4 elements of 4 bytes, but only 3 are there");
        assert!(
            refused(&file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[]))
                .contains("records")
        );
    }
}
