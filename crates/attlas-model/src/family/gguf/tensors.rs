//! The tensors of a GGUF file under the names, and in the order, of Hugging Face.

use std::collections::BTreeMap;

use crate::Error;
use crate::weights::gguf::Gguf;
use crate::weights::stored_rows::StoredRows;
use crate::weights::{Bytes, Dtype, Tensor};

/// Tensors that say how positions turn, which become part of the configuration.
pub(super) const OF_POSITIONS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

impl Gguf {
    /// The tensors under Hugging Face's names, queries and keys in its order of rows.
    ///
    /// # Errors
    /// Another architecture than those that are read, a tensor whose name none of its models has, or whose rows are no
    /// whole number of heads.
    pub fn hugging_face_tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let kind = self.kind()?;
        let heads = |name: &str| self.number(&format!("{}.attention.{name}", kind.architecture));
        let n_heads = heads("head_count").unwrap_or(0);
        let n_kv_heads = heads("head_count_kv").unwrap_or(n_heads);
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| !OF_POSITIONS.contains(&name.as_str())) {
            let Some(names) = kind.names(name) else {
                let example = if kind.model_type == "bert" { "token_embd_norm" } else { "output_norm" };
                let message =
                    format!("has a name that no {} model has (token_embd, {example}, blk.N.…)", kind.architecture);
                return Err(Error::tensor(&self.path, name, message));
            };
            let turned_heads = match names[0].rsplit('.').nth(1) {
                Some("q_proj") if kind.neighbours_turn => Some(n_heads),
                Some("k_proj") if kind.neighbours_turn => Some(n_kv_heads),
                _ => None,
            };
            match (turned_heads, names.as_slice()) {
                (Some(n_heads), [new]) => {
                    tensors.insert(new.clone(), self.halves(tensor, name, n_heads)?);
                }
                (None, [new]) if kind.norms_have_one && new.ends_with("norm.weight") => {
                    tensors.insert(new.clone(), less_one(tensor));
                }
                (None, [new]) => {
                    tensors.insert(new.clone(), tensor.clone());
                }
                (_, several) => {
                    let all = self.query_key_value(tensor, name, [n_heads, n_kv_heads, n_kv_heads])?;
                    tensors.extend(several.iter().cloned().zip(all));
                }
            }
        }
        Ok(tensors)
    }

    /// Reorders the rows of each head from pairs of neighbours to two halves: row `j · half + i` is row `2 i + j`.
    fn halves(&self, tensor: &Tensor, name: &str, n_heads: u64) -> Result<Tensor, Error> {
        let n_rows = tensor.shape.first().copied().unwrap_or(0);
        let n_heads = usize::try_from(n_heads).unwrap_or(usize::MAX);
        if n_heads == 0 || n_rows == 0 || n_rows % n_heads != 0 || (n_rows / n_heads) % 2 != 0 {
            return Err(Error::tensor(
                &self.path,
                name,
                format!("has {n_rows} rows, which are no {n_heads} heads of even width"),
            ));
        }
        let d_head = n_rows / n_heads;
        // row `half · d_head / 2 + pair` of a head is stored as its row `2 · pair + half`
        let place = move |row: usize| {
            let (head, within) = (row / d_head, row % d_head);
            let (half, pair) = (within / (d_head / 2), within % (d_head / 2));
            head * d_head + 2 * pair + half
        };
        Ok(some_rows(tensor, n_rows, place))
    }

    /// The rows of queries, of keys and of values of a tensor that holds them one above the other, by their numbers of heads.
    fn query_key_value(&self, tensor: &Tensor, name: &str, n_heads: [u64; 3]) -> Result<[Tensor; 3], Error> {
        let n_rows = tensor.shape.first().copied().unwrap_or(0);
        let n_heads = n_heads.map(|n| usize::try_from(n).unwrap_or(usize::MAX >> 2));
        let n_all: usize = n_heads.iter().sum();
        if n_all == 0 || n_rows == 0 || n_rows % n_all != 0 {
            let message = format!("has {n_rows} rows, which are no queries, keys and values of {n_heads:?} heads");
            return Err(Error::tensor(&self.path, name, message));
        }
        let mut start = 0;
        Ok(n_heads.map(|n| {
            let (first, n) = (start, n * (n_rows / n_all));
            start += n;
            some_rows(tensor, n, move |row| first + row)
        }))
    }
}

/// So many rows of a tensor: row `r` is its row `place(r)`.
fn some_rows(tensor: &Tensor, n: usize, place: impl Fn(usize) -> usize + Clone + Send + Sync + 'static) -> Tensor {
    let row_bytes = tensor.bytes.len() / tensor.shape.first().copied().unwrap_or(1).max(1);
    let (source, place_of_bytes) = (tensor.bytes.clone(), place.clone());
    let bytes = Bytes::made(n * row_bytes, move || {
        let mut stored = vec![0; source.len()];
        source.read(0, &mut stored)?;
        let row = |row: usize| &stored[place_of_bytes(row) * row_bytes..][..row_bytes];
        Ok((0..n).flat_map(row).copied().collect())
    });
    let bytes = match StoredRows::of(tensor, None) {
        Some(rows) => bytes.of_rows(rows.ordered(place)),
        None => bytes,
    };
    let mut shape = tensor.shape.clone();
    shape.iter_mut().take(1).for_each(|size| *size = n);
    Tensor { bytes, shape, ..tensor.clone() }
}

/// A norm's weights less 1.
fn less_one(tensor: &Tensor) -> Tensor {
    let source = tensor.clone();
    let bytes = Bytes::made(tensor.len() * size_of::<f32>(), move || {
        let numbers = source.read().map_err(std::io::Error::other)?;
        Ok(numbers.iter().flat_map(|number| (number - 1.0).to_le_bytes()).collect())
    });
    Tensor { dtype: Dtype::F32, bytes, ..tensor.clone() }
}
