//! Matrices of eight-bit floats (E4M3: four bits of exponent, three of mantissa) times a scale for all, a row or a block.

use std::io;
use std::sync::Arc;

use attlas_kernels::Code;
use rayon::prelude::*;

use super::grid::holds_numbers;
use crate::Error;
use crate::config::file::ConfigFile;
use crate::error::Clash;
use crate::weights::convert::{bytes_of, floats};
use crate::weights::stored_rows::StoredRows;
use crate::weights::{Bytes, Checkpoint, Dtype, Tensor};

/// What the scale of a matrix is called, after its name.
const SCALES: [&str; 2] = ["_scale_inv", "_scale"];
/// What belongs to a layer's activations, which are not packed here.
const OF_ACTIVATIONS: [&str; 3] = ["input_scale", "activation_scale", "input_scale_ub"];

/// The weights with every matrix unpacked.
pub(super) fn unpacked(settings: &ConfigFile, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
    let mut checkpoint = checkpoint;
    let block = match settings.numbers("weight_block_size")? {
        None => None,
        Some(sides) => match sides[..] {
            [rows, columns] if rows >= 1.0 && columns >= 1.0 => Some([rows as usize, columns as usize]),
            _ => return Err(settings.error("weight_block_size", "must be two numbers above 0")),
        },
    };
    let is_packed = |name: &&str| checkpoint.get(name).is_some_and(|tensor| tensor.dtype.name() == "f8_e4m3");
    let packed: Vec<String> = checkpoint.names().filter(is_packed).map(str::to_owned).collect();
    for name in packed {
        let matrix = Packed::find(block, &checkpoint, &name)?;
        for ending in SCALES {
            checkpoint.take(&format!("{name}{ending}"));
        }
        let layer = name.strip_suffix("weight").unwrap_or(&name);
        for ending in OF_ACTIVATIONS {
            checkpoint.take(&format!("{layer}{ending}"));
        }
        checkpoint.put(name, matrix.tensor());
    }
    Ok(checkpoint)
}

/// A packed matrix.
struct Packed {
    numbers: Tensor,
    /// One number for each block.
    scales: Tensor,
    /// Rows and columns of a block.
    block: [usize; 2],
}

impl Packed {
    /// # Errors
    /// When there is no scale, or not as many as there are blocks.
    fn find(block: Option<[usize; 2]>, checkpoint: &Checkpoint, name: &str) -> Result<Packed, Error> {
        let numbers = checkpoint.get(name).cloned();
        let Some((numbers, [rows, columns])) = numbers.and_then(|numbers| {
            let sizes = <[usize; 2]>::try_from(numbers.shape.as_slice()).ok()?;
            Some((numbers, sizes))
        }) else {
            return Err(Error::tensor(checkpoint.path(), name, "is stored as f8_e4m3, but is no matrix"));
        };
        holds_numbers(&numbers.path, name, [rows, columns])?;
        let scale_names = SCALES.map(|ending| format!("{name}{ending}"));
        let found = scale_names.iter().find_map(|name| Some((name, checkpoint.get(name)?.clone())));
        let Some((scale_name, scales)) = found else {
            return Err(Error::misfit(checkpoint.path(), &scale_names[1], Clash::Missing { asked: vec![1] }));
        };
        let asked = block.map(|[high, wide]| [rows.div_ceil(high), columns.div_ceil(wide)]);
        let block = match scales.shape[..] {
            [] | [1] | [1, 1] => [rows.max(1), columns.max(1)],
            [n] | [n, 1] if n == rows => [1, columns.max(1)],
            [high, wide] if asked == Some([high, wide]) => block.unwrap_or([1, 1]),
            _ => {
                let asked = asked.map_or(vec![rows, 1], |asked| asked.to_vec());
                let clash = Clash::Shape { found: scales.shape.clone(), asked };
                return Err(Error::misfit(&scales.path, scale_name, clash));
            }
        };
        Ok(Packed { numbers, scales, block })
    }

    /// The matrix, unpacked when it is read.
    fn tensor(self) -> Tensor {
        let (shape, path) = (self.numbers.shape.clone(), Arc::clone(&self.numbers.path));
        let n_bytes = self.numbers.len() * size_of::<f32>();
        let rows = self.rows();
        let bytes = Bytes::made(n_bytes, move || self.unpack());
        let bytes = match rows {
            Some(rows) => bytes.of_rows(rows),
            None => bytes,
        };
        Tensor { dtype: Dtype::F32, shape, path, bytes }
    }

    /// The rows as they are stored, where a scale is that of whole rows or of 128 columns and can be read.
    fn rows(&self) -> Option<StoredRows> {
        let [high, wide] = self.block;
        let code = match self.numbers.shape[1] {
            n_columns if wide >= n_columns => Code::Fp8,
            n_columns if wide == Code::Fp8Blocks.block() && n_columns.is_multiple_of(wide) => Code::Fp8Blocks,
            _ => return None,
        };
        let scales = floats(&self.scales).ok()?;
        Some(StoredRows::scaled(code, self.numbers.bytes.clone(), Arc::new(scales), high))
    }

    fn unpack(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.numbers.bytes.len()]; // [rows, columns]
        self.numbers.bytes.read(0, &mut bytes)?;
        let scales = floats(&self.scales)?;
        let n_columns = self.numbers.shape[1].max(1);
        let ([high, wide], n_across) = (self.block, n_columns.div_ceil(self.block[1]));
        let mut weight = vec![0.0; bytes.len()]; // [rows, columns]
        let rows = weight.par_chunks_mut(n_columns).zip(bytes.par_chunks(n_columns));
        rows.enumerate().for_each(|(row, (values, bytes))| {
            for (column, (value, byte)) in values.iter_mut().zip(bytes).enumerate() {
                *value = e4m3(*byte) * scales[row / high * n_across + column / wide];
            }
        });
        Ok(bytes_of(&weight))
    }
}

/// The number of a byte: exponents begin at −6, there is no infinity, and all bits but the sign set are no number.
fn e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let size = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2_f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_stay_packed_are_the_same_numbers_bit_by_bit() {
        let memory = |bytes: Vec<u8>| Bytes::Memory { offset: 0, len: bytes.len(), bytes: Arc::new(bytes) };
        let path: Arc<std::path::Path> = Arc::from(std::path::Path::new("x.safetensors"));
        let (n_rows, n_columns) = (37, 256);
        let codes: Vec<u8> = (0..n_rows * n_columns).map(|i| ((i * 2_654_435_761) >> 13) as u8 & 0xf7).collect();
        let of = |block: [usize; 2], shape: [usize; 2]| {
            let scales: Vec<f32> = (0..shape[0] * shape[1]).map(|i| 0.01 + i as f32 / 7.0).collect();
            let tensor = |dtype, shape: [usize; 2], bytes| Tensor {
                dtype,
                shape: shape.to_vec(),
                bytes: memory(bytes),
                path: Arc::clone(&path),
            };
            let numbers = tensor(Dtype::Other { name: "f8_e4m3", bits: 8 }, [n_rows, n_columns], codes.clone());
            Packed { numbers, scales: tensor(Dtype::F32, shape, bytes_of(&scales)), block }
        };
        for (block, shape, code) in [
            ([n_rows, n_columns], [1, 1], Code::Fp8),
            ([1, n_columns], [n_rows, 1], Code::Fp8),
            ([16, 128], [3, 2], Code::Fp8Blocks),
        ] {
            let packed = of(block, shape);
            let rows = packed.rows().unwrap();
            assert_eq!(rows.code, code);
            let parts = [attlas_kernels::Part { code, n_rows }];
            let read = |_: usize, range: std::ops::Range<usize>, slots: &mut [u8]| rows.read(n_columns, range, slots);
            let coded = attlas_kernels::Coded::read(&parts, n_columns, read).unwrap().unwrap();
            let mut found = vec![0.0; n_rows * n_columns]; // [n_rows, n_columns]
            coded.rows(&mut found);
            assert!(bytes_of(&found) == packed.unpack().unwrap(), "{code:?}");
        }
        assert!(of([16, 64], [3, 4]).rows().is_none());
    }

    #[test]
    fn bytes_are_the_numbers_that_the_format_says() {
        for (byte, number) in
            [(0x00, 0.0), (0x01, 0.001_953_125), (0x08, 0.015_625), (0x38, 1.0), (0xB9, -1.125), (0x7E, 448.0)]
        {
            assert_eq!(e4m3(byte), number, "{byte:#x}");
        }
        assert!(e4m3(0x7F).is_nan() && e4m3(0xFF).is_nan());
    }
}
