//! Tables as files: Parquet, CSV or JSON, by the name's ending. The same table gives the same bytes.

mod explanations;
mod pages;
mod parquet_file;
mod scores;

use std::io::{self, Write};
use std::path::Path;

use attlas::output::write_aside;
use attlas::printable::{csv_field, inert_json};
use rayon::prelude::*;
use serde_json::Value;

use crate::Error;

pub use explanations::{
    agreement_table, by_key_table, edges_table, effects_and_others_table, effects_table, experts_table,
    explained_table, lens_table, mixing_table, row_tokens, states_table,
};
pub use pages::Pages;
pub(crate) use pages::guarded;
pub use scores::scores_table;

/// A table: its columns, all of one length, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Each with its name.
    pub columns: Vec<(&'static str, Cells)>,
    /// What is said of the whole table, by name, and kept where a format has room for it (Parquet).
    pub notes: Vec<(String, String)>,
}

/// A column; a cell that holds nothing is `None`.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Texts.
    Text(Vec<Option<String>>),
    /// Whole numbers.
    Whole(Vec<Option<i64>>),
    /// Numbers; one that is not finite counts as nothing.
    Number(Vec<Option<f64>>),
    /// True or false.
    Flag(Vec<Option<bool>>),
    /// JSON: a value in JSON, its text elsewhere.
    Json(Vec<Option<Value>>),
    /// Bytes, in Parquet alone: other formats leave the column out.
    Bytes(Vec<Option<Vec<u8>>>),
}

/// The formats of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Apache Parquet, compressed with Snappy.
    Parquet,
    /// RFC 4180, names in the first line.
    Csv,
    /// An array of objects.
    Json,
}

impl TableFormat {
    /// The format that a file's name ends in.
    pub fn named_by(path: &Path) -> Option<TableFormat> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "parquet" => Some(TableFormat::Parquet),
            "csv" => Some(TableFormat::Csv),
            "json" => Some(TableFormat::Json),
            _ => None,
        }
    }
}

/// The bytes of a table as a Parquet file.
///
/// # Errors
/// When there is not enough memory for them.
pub fn parquet_bytes(table: &Table) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    parquet_file::write(&mut bytes, table)?;
    Ok(bytes)
}

/// Writes a table whole or not at all, whatever the name ends in.
///
/// # Errors
/// [`Error::Maps`] when it cannot be written.
pub fn write_table_as(format: TableFormat, path: &Path, table: &Table) -> Result<(), Error> {
    Ok(write_aside(path, |file| match format {
        TableFormat::Parquet => parquet_file::write(file, table),
        TableFormat::Csv => write_csv(file, table),
        TableFormat::Json => write_json(file, table),
    })?)
}

impl Table {
    /// How many rows it has.
    pub fn n_rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, cells)| cells.len())
    }

    /// The table as JSON: an array of a row's cells by name, bytes left out.
    pub fn json(&self) -> Value {
        (0..self.n_rows()).map(|row| self.row_json(row)).collect()
    }

    fn row_json(&self, row: usize) -> Value {
        let shown = self.columns.iter().filter(|(_, cells)| !matches!(cells, Cells::Bytes(_)));
        Value::Object(shown.map(|(name, cells)| ((*name).to_owned(), cells.json(row))).collect())
    }
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Cells::Text(cells) => cells.len(),
            Cells::Whole(cells) => cells.len(),
            Cells::Number(cells) => cells.len(),
            Cells::Flag(cells) => cells.len(),
            Cells::Json(cells) => cells.len(),
            Cells::Bytes(cells) => cells.len(),
        }
    }

    fn json(&self, row: usize) -> Value {
        match self {
            Cells::Text(cells) => cells.get(row).cloned().flatten().into(),
            Cells::Whole(cells) => cells.get(row).copied().flatten().into(),
            Cells::Number(cells) => cells.get(row).copied().flatten().into(), // what is not finite becomes null
            Cells::Flag(cells) => cells.get(row).copied().flatten().into(),
            Cells::Json(cells) => cells.get(row).cloned().flatten().into(),
            Cells::Bytes(_) => Value::Null,
        }
    }

    /// A field of CSV; nothing is an empty one.
    fn csv(&self, row: usize) -> String {
        match (self, self.json(row)) {
            (_, Value::Null) => String::new(),
            (Cells::Json(_), value) => csv_field(&value.to_string()),
            (_, Value::String(text)) => csv_field(&text),
            (_, value) => value.to_string(),
        }
    }
}

fn write_csv(file: &mut impl Write, table: &Table) -> io::Result<()> {
    let shown: Vec<_> = table.columns.iter().filter(|(_, cells)| !matches!(cells, Cells::Bytes(_))).collect();
    let line = |fields: Vec<String>| fields.join(",");
    writeln!(file, "{}", line(shown.iter().map(|(name, _)| (*name).to_owned()).collect()))?;
    for row in 0..table.n_rows() {
        writeln!(file, "{}", line(shown.iter().map(|(_, cells)| cells.csv(row)).collect()))?;
    }
    Ok(())
}

/// One row a line.
fn write_json(file: &mut impl Write, table: &Table) -> io::Result<()> {
    let line = |row: usize| inert_json(&table.row_json(row).to_string());
    let lines: Vec<String> = (0..table.n_rows()).into_par_iter().map(line).collect();
    writeln!(file, "[")?;
    for (index, line) in lines.iter().enumerate() {
        let comma = if index + 1 < lines.len() { "," } else { "" };
        writeln!(file, "{line}{comma}")?;
    }
    writeln!(file, "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = vec![
            ("word", Cells::Text(vec![Some("=a \"b\"\u{9b}".into()), None])),
            ("n", Cells::Whole(vec![Some(-3), None])),
            ("score", Cells::Number(vec![Some(0.5), Some(f64::NAN)])),
            ("named", Cells::Flag(vec![Some(true), None])),
            ("list", Cells::Json(vec![Some(serde_json::json!([{ "a": "é" }])), None])),
            ("sums", Cells::Bytes(vec![Some(vec![0, 255]), None])),
        ];
        Table { columns, notes: vec![("about".into(), "a test".into())] }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).expect("memory is written");
        String::from_utf8(bytes).expect("it is text")
    }

    #[test]
    fn csv_keeps_texts_texts_and_leaves_empty_what_is_not_there() {
        let text = written(|file| write_csv(file, &table()));
        assert_eq!(
            text,
            "word,n,score,named,list\n\"'=a \"\"b\"\"⟨U+009B⟩\",-3,0.5,true,\"[{\"\"a\"\":\"\"é\"\"}]\"\n,,,,\n"
        );
    }

    #[test]
    fn json_is_an_array_of_rows_and_has_null_for_what_is_not_there() {
        let text = written(|file| write_json(file, &table()));
        let rows: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(rows[0]["word"], "=a \"b\"\u{9b}");
        assert_eq!(rows[1], serde_json::json!({ "word": null, "n": null, "score": null, "named": null, "list": null }));
        assert!(!text.contains('\u{9b}'), "{text}");
    }
}
