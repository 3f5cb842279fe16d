//! NumPy's `.npy` format, versions 1 to 3 (NEP 1): numbers and fixed-width text; never a pickle.

use std::io::{self, Read};

use super::Array;
use super::elements::{Layout, Problem, Room, Type};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read; NumPy's own are of some hundred bytes.
const MAX_HEADER: usize = 1 << 20;

/// Reads one `.npy` file from a stream that cannot give more than `n_bytes`.
///
/// # Errors
/// [`Problem`], before anything is allocated where the header alone tells.
pub fn read(source: &mut impl Read, n_bytes: u64, room: &mut Room) -> Result<Array, Problem> {
    let cut = || Problem::Bad("the .npy header is cut short".into());
    let mut fill = |bytes: &mut [u8]| {
        source.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut(),
            _ => Problem::Io(error),
        })
    };
    let mut magic = [0; MAGIC.len()];
    match fill(&mut magic) {
        Ok(()) if magic == MAGIC => {}
        Err(Problem::Io(error)) => return Err(Problem::Io(error)),
        _ => return Err(Problem::Bad("not a .npy file: it does not start with \\x93NUMPY".into())),
    }
    let mut version = [0; 2];
    fill(&mut version)?;
    let mut length = [0; 4];
    match version[0] {
        1 => fill(&mut length[..2])?,
        2 | 3 => fill(&mut length)?,
        version => return Err(Problem::Bad(format!("unknown .npy version {version}"))),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(Problem::Bad(format!("the .npy header has {length} bytes; {MAX_HEADER} are possible")));
    }
    let mut header = vec![0; length];
    fill(&mut header)?;
    let header = std::str::from_utf8(&header).map_err(|_| "the .npy header is not text".to_owned())?;
    parse_header(header)?.read(source, n_bytes, room)
}

/// The type that a description such as `<f4` names, and whether its bytes come the largest first.
fn element(descr: &str) -> Result<(Type, bool), String> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", ""));
    let element = match kind {
        "f2" => Type::F16,
        // NumPy has no bfloat16; so it writes that of ml_dtypes, while any other two bytes are "|V2"
        "V2" if order == "<" => Type::Bf16,
        "f4" => Type::F32,
        "f8" => Type::F64,
        "b1" => Type::Bool,
        "i1" => Type::I8,
        "u1" => Type::U8,
        "i2" => Type::I16,
        "i4" => Type::I32,
        "i8" => Type::I64,
        "O" => {
            return Err(
                "an array of Python objects (a pickle) is not read; save numbers, or text with dtype=str".into()
            );
        }
        _ => match kind.strip_prefix('U').map(|n| n.parse().ok().filter(|n| (1..=usize::MAX / 8).contains(n))) {
            Some(Some(n_letters)) => Type::Text(n_letters),
            Some(None) => return Err(format!("dtype \"{descr}\" is not read")),
            None => {
                let read = "truth values, int8, uint8, int16, int32, int64, bfloat16, float16, float32, float64 and text are; save it as float32";
                return Err(format!("dtype \"{descr}\" is not read; {read}"));
            }
        },
    };
    Ok((element, order == ">"))
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_header(text: &str) -> Result<Layout, String> {
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
    let is_fortran = if order.starts_with("True") {
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
    let (element, is_big_endian) = element(descr.0)?;
    Ok(Layout { element, is_big_endian, is_fortran, shape })
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
    use super::super::ArrayData;
    use super::*;

    fn parse(mut bytes: &[u8]) -> Result<Array, Problem> {
        let n_bytes = bytes.len() as u64;
        read(&mut bytes, n_bytes, &mut Room::new(1 << 20))
    }

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
            assert_eq!(found, Layout { element: Type::F32, is_big_endian: false, is_fortran: false, shape });
        }
    }

    #[test]
    fn fortran_order_and_big_endian_are_undone() {
        let data: Vec<u8> = [1.0f64, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|x| x.to_be_bytes()).collect();
        let array = parse(&file("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }", &data)).unwrap();
        assert_eq!(array.data, ArrayData::Numbers(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let data: Vec<u8> = (0..24_i32).flat_map(i32::to_le_bytes).collect();
        let array = parse(&file("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3, 4), }", &data)).unwrap();
        let wanted = (0..24).map(|at| at / 12 + at / 4 % 3 * 2 + at % 4 * 6).collect(); // a + 2 b + 6 c at [a, b, c]
        assert_eq!(array.data, ArrayData::Integers(wanted));
    }

    #[test]
    fn truth_values_and_small_whole_numbers_are_whole_numbers() {
        for (descr, data, wanted) in [
            ("|b1", vec![0, 1, 255], vec![0, 1, 1]),
            ("|i1", vec![0, 1, 255], vec![0, 1, -1]),
            ("|u1", vec![0, 1, 255], vec![0, 1, 255]),
            (">i2", vec![0, 7, 255, 255, 1, 0], vec![7, -1, 256]),
        ] {
            let about = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3,), }}");
            assert_eq!(parse(&file(&about, &data)).unwrap().data, ArrayData::Integers(wanted), "{descr}");
        }
    }

    #[test]
    fn text_of_any_script_survives() {
        let labels = ["chat", "猫", "🐈", ""];
        let array = parse(&text(&[4], &labels)).unwrap();
        assert_eq!(array.data, ArrayData::Text(labels.map(String::from).to_vec()));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused_with_a_sentence() {
        let refused = |bytes: &[u8]| match parse(bytes) {
            Err(Problem::Bad(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(refused(b"PK").starts_with("not a .npy file"));
        assert!(refused(b"\x93NUMPY\x01\x00\xff\xff{").contains("cut short"));
        assert!(refused(&file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &[])).contains("pickle"));
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }";
        assert!(refused(&file(huge, &[])).contains("more elements than any array"));
        let short = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
        let only = |n_bytes: usize| refused(&file(short, &vec![0; n_bytes]));
        assert_eq!(only(12), "shape [2, 2] needs 4 elements of 4 bytes, but only 3 are there");
        assert!(only(0).contains("but only 0 are there"));
        let claim = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999, 99), }";
        assert!(refused(&file(claim, &[])).contains("needs 989901 elements of 4 bytes, more than the"));
        assert!(
            refused(&file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[]))
                .contains("records")
        );
    }
}
