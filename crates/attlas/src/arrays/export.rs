//! The dense maps of a recording, written one by one: nothing larger than one head's map is held.

use std::borrow::Cow;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use serde_json::json;

use super::{EXPORT_KEY, ExportMetadata, extension, npy};
use crate::output::write_aside;
use crate::printable::csv_field;
use crate::recording::{safetensors_header, write_f32};
use crate::{AttentionMap, Error, Kind, Layer, Quantity, Recording, Remedy, RowTokens, Tokens};

/// Which maps to export; all weights by default.
#[derive(Debug, Clone)]
pub struct Selection {
    /// What the maps are of.
    pub quantity: Quantity,
    /// One kind of attention only.
    pub kind: Option<Kind>,
    /// One text of a batch only, with its padding.
    pub item: Option<usize>,
    /// One layer only, by its true index.
    pub layer: Option<usize>,
    /// One head only.
    pub head: Option<usize>,
    /// Some queries only.
    pub rows: Option<Range<usize>>,
    /// Some keys only.
    pub columns: Option<Range<usize>>,
    /// Bytes of maps that are written at most.
    pub max_bytes: u64,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection {
            quantity: Quantity::Weight,
            kind: None,
            item: None,
            layer: None,
            head: None,
            rows: None,
            columns: None,
            max_bytes: super::DEFAULT_MAX_BYTES,
        }
    }
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// NumPy archive.
    Npz,
    /// safetensors; tokens as JSON in its metadata.
    Safetensors,
    /// One line per weight.
    Csv,
    /// Nested lists.
    Json,
}

impl Format {
    /// The format that the extension of `path` names.
    ///
    /// # Errors
    /// [`Error::BadWeights`] lists the extensions there are.
    pub fn of(path: &Path) -> Result<Format, Error> {
        match extension(path).as_str() {
            "npz" => Ok(Format::Npz),
            "safetensors" => Ok(Format::Safetensors),
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            other => Err(Error::BadWeights(format!(
                "{}: exports are .npz, .safetensors, .csv or .json files, not \".{other}\"",
                path.display()
            ))),
        }
    }
}

/// One array of the export: its name, its shape, and what the maps are of that it is made of.
struct DenseArray<'a> {
    recording: &'a Recording,
    name: String,
    shape: Vec<usize>,
    quantity: Quantity,
    kind: Kind,
    items: Range<usize>,
    layers: Vec<&'a Layer>,
    heads: Vec<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<'a> DenseArray<'a> {
    /// The maps in order, each with its text; each is read when its turn comes.
    fn maps(&self) -> impl Iterator<Item = io::Result<(usize, AttentionMap<'a>)>> {
        let recording = self.recording;
        let places = self.layers.iter().flat_map(move |layer| {
            let heads = move |item| self.heads.iter().map(move |head| (*layer, item, *head));
            self.items.clone().flat_map(heads)
        });
        places.map(move |(layer, item, head)| {
            let map = recording.map_of(layer, item, head).map_err(io::Error::other)?;
            Ok((item, map))
        })
    }

    /// The true indices of the layers.
    fn indices(&self) -> Vec<i64> {
        self.layers.iter().map(|layer| layer.index as i64).collect()
    }

    fn n_bytes(&self) -> u64 {
        self.shape.iter().fold(4, |n: u64, size| n.saturating_mul(*size as u64))
    }
}

/// Writes the selected dense maps and the tokens to `path`, in the format its extension names.
///
/// Weights of keys that a query does not see, by position, mask or padding, are 0. Where a recording has several stacks
/// of a kind, those of the first are written.
///
/// Of one text whose layers have the same shape, each kind is one array `[layers, heads, queries, keys]`, named
/// `encoder`, `decoder_self`, `decoder_cross`; else each layer is one, `encoder.3`: `[batch, heads, queries, keys]`. Maps of
/// another quantity than weights have its name behind that of their kind: `encoder_norm`, `encoder_norm.3`.
///
/// # Errors
/// When the selection names what does not exist, is larger than its limit, or the file cannot be written.
pub fn export(recording: &Recording, selection: &Selection, path: &Path) -> Result<(), Error> {
    let format = Format::of(path)?;
    let layers = chosen(recording, selection)?;
    let arrays = select(recording, &layers, selection)?;
    let needed = arrays.iter().map(DenseArray::n_bytes).fold(0, u64::saturating_add);
    if needed > selection.max_bytes {
        return Err(Error::Limit {
            what: match selection.quantity {
                Quantity::Weight => "the dense weights".into(),
                other => format!("the dense maps of {}", other.words()),
            },
            needed,
            limit: selection.max_bytes,
            remedy: Remedy::ChooseFewer,
        });
    }
    let tokens = Labels::of(recording, selection);
    write_aside(path, |file| match format {
        Format::Npz => write_npz(file, &arrays, &tokens),
        Format::Safetensors => write_safetensors(file, &arrays, &tokens),
        Format::Csv => write_csv(file, &arrays),
        Format::Json => write_json(file, &arrays, &tokens),
    })
}

impl Selection {
    /// The texts of a recording that are meant.
    fn items(&self, recording: &Recording) -> Range<usize> {
        self.item.map_or(0..recording.items.len(), |item| item..item + 1)
    }
}

/// The layers of a kind.
type OfKind<'a> = (Kind, Vec<Cow<'a, Layer>>);

/// The layers that are meant, of each kind.
fn chosen<'a>(recording: &'a Recording, selection: &Selection) -> Result<Vec<OfKind<'a>>, Error> {
    let n_items = recording.items.len();
    if let Some(item) = selection.item.filter(|item| *item >= n_items) {
        return Err(Error::NoItem { item, n_items });
    }
    let quantity = selection.quantity;
    recording.default_kind_in(quantity)?; // refuses a recording of other maps
    let of_kind = |kind: Kind| match (selection.layer, selection.kind) {
        (Some(index), Some(_)) => Ok(vec![recording.layer_in(quantity, kind, index)?]),
        // without a kind, a kind that lacks the layer is left out, unless all do
        (Some(index), None) => {
            Ok(recording.layers_in(quantity, kind).into_iter().filter(|layer| layer.index == index).collect())
        }
        (None, _) => {
            recording.last_layer_in(quantity, kind)?; // says which kinds there are
            Ok(recording.layers_in(quantity, kind))
        }
    };
    let kinds = selection.kind.map_or_else(|| recording.kinds_in(quantity), |kind| vec![kind]);
    let all = kinds.iter().map(|kind| Ok((*kind, of_kind(*kind)?))).collect::<Result<Vec<_>, Error>>()?;
    if let (true, Some(index), Some(kind)) =
        (all.iter().all(|(_, layers)| layers.is_empty()), selection.layer, kinds.first())
    {
        recording.layer_in(quantity, *kind, index)?; // says which layers there are
    }
    Ok(all)
}

/// The arrays that layers of each kind are written as.
fn select<'a>(
    recording: &'a Recording,
    chosen: &'a [OfKind<'a>],
    selection: &Selection,
) -> Result<Vec<DenseArray<'a>>, Error> {
    let mut arrays = Vec::new();
    for (kind, layers) in chosen {
        let layers: Vec<&Layer> = layers.iter().map(Cow::as_ref).collect();
        let alike = layers.windows(2).all(|pair| pair[0].shape.n_heads == pair[1].shape.n_heads);
        if selection.items(recording).len() == 1 && alike && !layers.is_empty() {
            arrays.push(dense_array(recording, selection, *kind, &layers, None)?);
        } else {
            for layer in layers {
                arrays.push(dense_array(recording, selection, *kind, &[layer], Some(layer.index))?);
            }
        }
    }
    Ok(arrays)
}

fn dense_array<'a>(
    recording: &'a Recording,
    selection: &Selection,
    kind: Kind,
    layers: &[&'a Layer],
    of_batch: Option<usize>,
) -> Result<DenseArray<'a>, Error> {
    let shape = layers[0].shape;
    let rows = clip("rows", selection.rows.as_ref(), shape.n_queries, kind)?;
    let columns = clip("columns", selection.columns.as_ref(), shape.n_keys, kind)?;
    let heads: Vec<usize> = selection.head.map_or((0..shape.n_heads).collect(), |head| vec![head]);
    for layer in layers {
        heads.iter().try_for_each(|head| layer.check_head(*head))?;
    }
    let items = selection.items(recording);
    let outer = if of_batch.is_some() { items.len() } else { layers.len() };
    let of_kind = match selection.quantity {
        Quantity::Weight => kind.array_name().to_owned(),
        other => format!("{}_{}", kind.array_name(), other.name()),
    };
    let name = of_batch.map_or_else(|| of_kind.clone(), |index| format!("{of_kind}.{index}"));
    Ok(DenseArray {
        recording,
        name,
        shape: vec![outer, heads.len(), rows.len(), columns.len()],
        quantity: selection.quantity,
        kind,
        items,
        layers: layers.to_vec(),
        heads,
        rows,
        columns,
    })
}

fn clip(axis: &'static str, asked: Option<&Range<usize>>, n: usize, kind: Kind) -> Result<Range<usize>, Error> {
    match asked {
        None => Ok(0..n),
        Some(range) if range.start < range.end && range.end <= n => Ok(range.clone()),
        Some(range) => Err(Error::OutsideMap { axis, range: range.clone(), kind, n }),
    }
}

/// The token labels of an export, one row per text.
struct Labels<'a> {
    source: Vec<Vec<&'a str>>,
    target: Vec<Vec<&'a str>>,
}

impl<'a> Labels<'a> {
    fn of(recording: &'a Recording, selection: &Selection) -> Labels<'a> {
        let kinds = selection.kind.map_or_else(|| recording.kinds_in(selection.quantity), |kind| vec![kind]);
        let labels = |side: fn(&'a crate::Item) -> &'a Tokens, range: Option<&Range<usize>>| {
            let row = |item: &'a crate::Item| {
                let labels: Vec<&str> = side(item).labels().collect();
                range.and_then(|range| labels.get(range.clone())).unwrap_or(&labels).to_vec()
            };
            recording.items[selection.items(recording)].iter().map(row).collect()
        };
        // with one kind, the tokens are cut to the rows and columns as well
        let ranges = match kinds.as_slice() {
            [Kind::Cross] => (selection.columns.as_ref(), selection.rows.as_ref()),
            _ => (None, None),
        };
        Labels { source: labels(|item| &item.source, ranges.0), target: labels(|item| &item.target, ranges.1) }
    }

    /// The sides that have tokens, by the name of their array.
    fn named(&self) -> Vec<(&'static str, &Vec<Vec<&'a str>>)> {
        [("source_tokens", &self.source), ("target_tokens", &self.target)]
            .into_iter()
            .filter(|(_, rows)| rows.iter().any(|row| !row.is_empty()))
            .collect()
    }
}

/// A file that takes everything in silence once it has failed: the archive's writer, when it is dropped after a failure,
/// tries to finish, and would print that it cannot.
struct Quiet<'a> {
    file: &'a mut crate::output::Aside,
    has_failed: bool,
    position: u64,
    end: u64,
}

impl Write for Quiet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = if self.has_failed {
            bytes.len()
        } else {
            self.file.write(bytes).inspect_err(|_| self.has_failed = true)?
        };
        self.position += n as u64;
        self.end = self.end.max(self.position);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.has_failed { Ok(()) } else { self.file.flush().inspect_err(|_| self.has_failed = true) }
    }
}

impl Seek for Quiet<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if !self.has_failed {
            self.position = self.file.seek(to).inspect_err(|_| self.has_failed = true)?;
            return Ok(self.position);
        }
        let (from, by) = match to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::Current(by) => (self.position, by),
            SeekFrom::End(by) => (self.end, by),
        };
        self.position = from.saturating_add_signed(by);
        Ok(self.position)
    }
}

fn write_npz(file: &mut crate::output::Aside, arrays: &[DenseArray<'_>], tokens: &Labels<'_>) -> io::Result<()> {
    let mut archive = zip::ZipWriter::new(Quiet { file, has_failed: false, position: 0, end: 0 });
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default()) // the same input gives the same bytes
        .unix_permissions(0o644);
    for array in arrays {
        archive
            .start_file(format!("{}.npy", array.name), options.large_file(array.n_bytes() > u64::from(u32::MAX / 2)))?;
        archive.write_all(&npy::header("<f4", &array.shape))?;
        for map in array.maps() {
            let (_, map) = map?;
            write_f32(&mut archive, &map.tile(array.rows.clone(), array.columns.clone()))?;
        }
        if !array.name.contains('.') {
            let layers = array.indices();
            archive.start_file(format!("{}_layers.npy", array.name), options)?;
            archive.write_all(&npy::integers(&[layers.len()], &layers))?;
        }
    }
    for (name, rows) in tokens.named() {
        archive.start_file(format!("{name}.npy"), options)?;
        let labels: Vec<&str> = rows.iter().flatten().copied().collect();
        let shape = if rows.len() == 1 { vec![labels.len()] } else { vec![rows.len(), labels.len() / rows.len()] };
        archive.write_all(&npy::text(&shape, &labels))?;
    }
    archive.finish()?;
    Ok(())
}

fn write_safetensors(file: &mut impl Write, arrays: &[DenseArray<'_>], tokens: &Labels<'_>) -> io::Result<()> {
    let mut about = ExportMetadata::default();
    for array in arrays.iter().filter(|array| !array.name.contains('.')) {
        about.layers.insert(format!("{}_layers", array.name), array.indices());
    }
    for (name, rows) in tokens.named() {
        let rows = rows.iter().map(|row| row.iter().map(|label| label.to_string()).collect()).collect();
        about.tokens.insert(name.into(), rows);
    }
    let names = arrays.iter().map(|array| (array.name.as_str(), "f32", array.shape.as_slice()));
    let header = safetensors_header(names, (EXPORT_KEY, &json!(about).to_string())).map_err(io::Error::other)?;
    file.write_all(&header)?;
    for array in arrays {
        for map in array.maps() {
            let (_, map) = map?;
            write_f32(file, &map.tile(array.rows.clone(), array.columns.clone()))?;
        }
    }
    Ok(())
}

/// `text,kind,layer,head,query,key,query_token,key_token,weight,predicted_token`: one line per cell (RFC 4180); of another quantity
/// its name stands for `weight`. A row of a decoder has read one token and predicts another; what it predicts is empty where that
/// is not known.
fn write_csv(file: &mut impl Write, arrays: &[DenseArray<'_>]) -> io::Result<()> {
    let number = arrays.first().map_or(Quantity::Weight, |array| array.quantity).name();
    writeln!(file, "text,kind,layer,head,query,key,query_token,key_token,{number},predicted_token")?;
    for array in arrays {
        for map in array.maps() {
            let (item, map) = map?;
            let id = map.id();
            let (queries, keys) = (&map.query_tokens().tokens, &map.key_tokens().tokens);
            let predicted = match RowTokens::Predicted.known(&map) {
                RowTokens::Predicted => map.item().predicted.tokens.as_slice(),
                RowTokens::Read => &[],
            };
            for query in array.rows.clone() {
                let predicted = predicted.get(query).map_or(String::new(), |token| csv_field(&token.text));
                let row = map.tile(query..query + 1, array.columns.clone());
                for (key, weight) in array.columns.clone().zip(row) {
                    let (query_token, key_token) = (csv_field(&queries[query].text), csv_field(&keys[key].text));
                    writeln!(
                        file,
                        "{item},{},{},{},{query},{key},{query_token},{key_token},{weight},{predicted}",
                        array.kind, id.layer, id.head
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn write_json(file: &mut impl Write, arrays: &[DenseArray<'_>], tokens: &Labels<'_>) -> io::Result<()> {
    write!(file, "{{")?;
    for (name, rows) in tokens.named() {
        write!(file, "{}:{},", json!(name), if rows.len() == 1 { json!(rows[0]) } else { json!(rows) })?;
    }
    for (index, array) in arrays.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(
            file,
            "{comma}\n{}:{{\"layers\":{},\"shape\":{},\"{}\":[",
            json!(array.name),
            json!(array.indices()),
            json!(array.shape),
            if array.quantity == Quantity::Weight { "weights" } else { array.quantity.name() }
        )?;
        let n_heads = array.shape[1];
        for (position, map) in array.maps().enumerate() {
            let (_, map) = map?;
            let open = if position == 0 {
                "["
            } else if position % n_heads == 0 {
                "],["
            } else {
                ","
            };
            let tile = map.tile(array.rows.clone(), array.columns.clone());
            let rows: Vec<&[f32]> = tile.chunks(array.columns.len()).collect();
            write!(file, "{open}\n{}", json!(rows))?;
        }
        write!(file, "]]}}")?;
    }
    writeln!(file, "}}")
}
