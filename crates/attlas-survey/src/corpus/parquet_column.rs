//! The texts of one column of a Parquet file.

use std::path::{Path, PathBuf};

use parquet::basic::{Compression, ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::{CorpusItem, CorpusText, checked};
use crate::Error;
use crate::table::{Pages, guarded};

/// Rows that are decoded at a time.
const N_ROWS: usize = 256;

/// The texts of a column, row group by row group.
pub struct ParquetColumn {
    path: PathBuf,
    file: SerializedFileReader<Pages>,
    /// The place of the column in the schema.
    column: usize,
    /// Whether a cell may hold nothing.
    is_optional: bool,
    /// The row group that comes next.
    group: usize,
    reader: Option<ColumnReaderImpl<ByteArrayType>>,
    /// Rows that were decoded, the next one last; nothing for a cell that holds nothing.
    rows: Vec<Option<ByteArray>>,
    /// The row that comes next, counted from 0.
    number: u64,
}

impl ParquetColumn {
    /// Opens a file and looks for a column of texts.
    ///
    /// # Errors
    /// [`Error::NoColumn`] names the columns there are, and the codec of one that cannot be unpacked.
    pub fn open(path: &Path, column: &str) -> Result<ParquetColumn, Error> {
        let failed = |problem: String| Error::file(path, problem);
        let file = Pages::open(path).map_err(|problem| failed(problem.to_string()))?;
        let file = guarded(|| SerializedFileReader::new(file))
            .map_err(|problem| failed(format!("is no Parquet file: {problem}")))?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let texts: Vec<(usize, String)> = (0..schema.num_columns())
            .filter(|index| holds_texts(&schema.column(*index)))
            .map(|index| (index, schema.column(index).path().string()))
            .collect();
        let Some((index, _)) = texts.iter().find(|(_, name)| name == column) else {
            let names: Vec<String> = texts.iter().take(12).map(|(_, name)| format!("\"{name}\"")).collect();
            return Err(match names.is_empty() {
                true => failed("has no column of texts".to_owned()),
                false => {
                    Error::NoColumn { path: path.to_owned(), column: column.to_owned(), there_are: names.join(", ") }
                }
            });
        };
        let is_optional = schema.column(*index).max_def_level() > 0;
        let groups = file.metadata().row_groups();
        if let Some(codec) =
            groups.iter().map(|group| group.column(*index).compression()).find(|codec| !can_unpack(*codec))
        {
            let codec = codec.to_string();
            let codec = codec.split('(').next().unwrap_or_default();
            return Err(failed(format!(
                "column \"{column}\" is packed with {codec}, which attlas cannot unpack; write it with Snappy, gzip or none, \
                 for example with pyarrow: write_table(table, path, compression=\"snappy\")"
            )));
        }
        let (column, rows) = (*index, Vec::new());
        Ok(ParquetColumn { path: path.to_owned(), file, column, is_optional, group: 0, reader: None, rows, number: 0 })
    }

    /// Which share of the rows was read, in 0 ..= 1.
    pub fn share(&self) -> f64 {
        super::share(self.number, u64::try_from(self.file.metadata().file_metadata().num_rows()).unwrap_or(0))
    }

    /// The next text. Cells that hold nothing, or nothing but white space, are passed over.
    pub fn next(&mut self) -> Result<Option<CorpusItem>, Error> {
        loop {
            if self.rows.is_empty() && !self.decode()? {
                return Ok(None);
            }
            let Some(cell) = self.rows.pop() else { continue };
            let number = self.number;
            self.number += 1;
            let Some(cell) = cell else { continue };
            let text = match cell.as_utf8() {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => checked(text.to_owned()),
                Err(_) => Err("is not UTF-8".to_owned()),
            };
            return Ok(Some(CorpusItem {
                number: Some(number),
                text: text.map(|source| CorpusText { source, target: None }),
            }));
        }
    }

    /// Decodes some rows more; whether there were any.
    fn decode(&mut self) -> Result<bool, Error> {
        let row = self.number;
        let rows = guarded(|| self.decode_rows());
        rows.map_err(|problem| Error::file(&self.path, format!("cannot be read from row {row} on: {problem}")))
    }

    fn decode_rows(&mut self) -> Result<bool, ParquetError> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None if self.group == self.file.num_row_groups() => return Ok(false),
                None => {
                    let group = self.file.get_row_group(self.group)?;
                    self.group += 1;
                    self.reader.insert(texts_of(group.as_ref(), self.column)?)
                }
            };
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let levels_wanted = self.is_optional.then_some(&mut levels);
            let (n_rows, ..) = reader.read_records(N_ROWS, levels_wanted, None, &mut values)?;
            if n_rows == 0 {
                self.reader = None;
                continue;
            }
            let mut values = values.into_iter();
            self.rows = match self.is_optional {
                true => levels.into_iter().map(|level| if level > 0 { values.next() } else { None }).collect(),
                false => values.map(Some).collect(),
            };
            self.rows.reverse();
            return Ok(true);
        }
    }
}

/// Whether a column holds one text a row.
fn holds_texts(column: &ColumnDescriptor) -> bool {
    let is_text = matches!(
        (column.logical_type_ref(), column.converted_type()),
        (Some(LogicalType::String), _) | (None, ConvertedType::UTF8 | ConvertedType::NONE)
    );
    column.physical_type() == Physical::BYTE_ARRAY
        && is_text
        && column.max_rep_level() == 0
        && column.max_def_level() <= 1
}

fn can_unpack(codec: Compression) -> bool {
    matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_))
}

fn texts_of(group: &dyn RowGroupReader, column: usize) -> Result<ColumnReaderImpl<ByteArrayType>, ParquetError> {
    match group.get_column_reader(column)? {
        ColumnReader::ByteArrayColumnReader(reader) => Ok(reader),
        _ => Err(ParquetError::General("the column's type differs from the schema's".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Cells, Table, TableFormat, write_table_as};

    fn file(texts: Vec<Option<String>>) -> tempfile::TempPath {
        let path = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a file").into_temp_path();
        let numbers = Cells::Whole(vec![Some(1); texts.len()]);
        let columns = vec![("id", numbers), ("words", Cells::Text(texts))];
        write_table_as(TableFormat::Parquet, &path, &Table { columns, notes: Vec::new() }).expect("it is written");
        path
    }

    fn texts(column: &mut ParquetColumn) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        while let Some(item) = column.next().expect("the file is read") {
            all.push((
                item.number.expect("rows are counted"),
                item.text.map_or_else(|problem| format!("! {problem}"), |text| text.source),
            ));
        }
        all
    }

    #[test]
    fn the_texts_of_a_column_come_with_their_rows_and_empty_cells_are_passed_over() {
        let path = file(vec![Some("a".into()), None, Some(" ".into()), Some("n\0l".into()), Some("é".into())]);
        let mut column = ParquetColumn::open(&path, "words").expect("there is such a column");
        let expected = [(0, "a"), (3, "! has a NUL character, which no text has"), (4, "é")];
        assert_eq!(texts(&mut column), expected.map(|(row, text)| (row, text.to_owned())));
    }

    #[test]
    fn a_column_of_many_rows_is_read_whole() {
        let all: Vec<String> = (0..3 * N_ROWS + 7).map(|row| format!("text {}", row % 50)).collect();
        let path = file(all.iter().cloned().map(Some).collect());
        let mut column = ParquetColumn::open(&path, "words").expect("there is such a column");
        assert_eq!(texts(&mut column).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_column_that_is_not_there_is_an_error_that_names_those_there_are() {
        let path = file(vec![Some("a".into())]);
        for name in ["text", "id"] {
            let message = ParquetColumn::open(&path, name).err().expect("it is refused").to_string();
            assert!(message.ends_with(&format!("has no column \"{name}\" of texts, but \"words\"")), "{message}");
        }
    }

    #[test]
    fn a_page_that_asks_for_two_gigabytes_is_refused() {
        let path = file((0..300).map(|row| Some(format!("text {row}"))).collect());
        let column = ParquetColumn::open(&path, "words").expect("there is such a column");
        let chunk = column.file.metadata().row_group(0).column(column.column);
        let first = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let mut bytes = std::fs::read(&path).expect("it is read");
        let size = usize::try_from(first).expect("an offset") + 3; // after the kind, and the byte that says that a number comes
        let n = bytes[size..].iter().position(|byte| byte & 0x80 == 0).expect("a number ends") + 1;
        // the description of the file is found from its end
        bytes.splice(size..size + n, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        std::fs::write(&path, &bytes).expect("it is written");
        let mut column = ParquetColumn::open(&path, "words").expect("there is such a column");
        let message = column.next().expect_err("it is refused").to_string();
        assert!(message.contains("a page is said to have 2147483647 bytes; pages of up to 268435456"), "{message}");
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_an_error() {
        let path = file((0..300).map(|row| Some(format!("text {row}"))).collect());
        let whole = std::fs::read(&path).expect("it is read");
        for n in [0, 4, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..n]).expect("it is written");
            assert!(ParquetColumn::open(&path, "words").is_err(), "{n} bytes");
        }
        for at in 4..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).expect("it is written");
            // an error or other texts, and no end of the process
            if let Ok(mut column) = ParquetColumn::open(&path, "words") {
                while let Ok(Some(_)) = column.next() {}
            }
        }
    }
}
