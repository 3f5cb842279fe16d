//! Tables as Parquet files: one row group, every column optional, no clock.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::{Cells, Table};

/// Writes a table.
pub fn write(file: &mut (impl Write + Send), table: &Table) -> io::Result<()> {
    written(file, table).map_err(io_error)
}

fn written(file: &mut (impl Write + Send), table: &Table) -> Result<(), ParquetError> {
    let columns = table.columns.iter().map(|(name, cells)| column_type(name, cells));
    let schema = Type::group_type_builder("table").with_fields(columns.collect::<Result<_, _>>()?).build()?;
    let note = |(key, value): &(String, String)| KeyValue::new(key.clone(), value.clone());
    let properties = WriterProperties::builder()
        .set_created_by(concat!("attlas version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(table.notes.iter().map(note).collect()))
        .build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let mut rows = writer.next_row_group()?;
    for (_, cells) in &table.columns {
        if let Some(mut column) = rows.next_column()? {
            write_cells(&mut column, cells)?;
            column.close()?;
        }
    }
    rows.close()?;
    writer.close()?;
    Ok(())
}

fn column_type(name: &str, cells: &Cells) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match cells {
        Cells::Text(_) | Cells::Json(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Cells::Whole(_) => (Physical::INT64, None),
        Cells::Number(_) => (Physical::DOUBLE, None),
        Cells::Flag(_) => (Physical::BOOLEAN, None),
        Cells::Bytes(_) => (Physical::BYTE_ARRAY, None),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    Ok(Arc::new(builder.with_logical_type(logical).build()?))
}

fn write_cells(column: &mut SerializedColumnWriter<'_>, cells: &Cells) -> Result<(), ParquetError> {
    match cells {
        Cells::Text(cells) => {
            write_some::<ByteArrayType, _>(column, cells, |text| Some(ByteArray::from(text.as_str())))
        }
        Cells::Json(cells) => {
            write_some::<ByteArrayType, _>(column, cells, |value| Some(ByteArray::from(value.to_string().as_str())))
        }
        Cells::Whole(cells) => write_some::<Int64Type, _>(column, cells, |number| Some(*number)),
        Cells::Number(cells) => {
            write_some::<DoubleType, _>(column, cells, |number| number.is_finite().then_some(*number))
        }
        Cells::Flag(cells) => write_some::<BoolType, _>(column, cells, |flag| Some(*flag)),
        Cells::Bytes(cells) => {
            write_some::<ByteArrayType, _>(column, cells, |bytes| Some(ByteArray::from(bytes.clone())))
        }
    }
}

/// Writes the cells that hold something, and which do.
fn write_some<T: DataType, C>(
    column: &mut SerializedColumnWriter<'_>,
    cells: &[Option<C>],
    value: impl Fn(&C) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let cells: Vec<Option<T::T>> = cells.iter().map(|cell| cell.as_ref().and_then(&value)).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}

/// What the system said, where it was the system: a full disk is told as one.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    fn bytes(table: &Table) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, table).expect("memory is written");
        bytes
    }

    #[test]
    fn a_table_comes_back_from_parquet_as_it_was_and_has_the_same_bytes_each_time() {
        let columns = vec![
            ("word", Cells::Text(vec![Some("été".into()), None, Some(String::new())])),
            ("n", Cells::Whole(vec![Some(i64::MIN), None, Some(7)])),
            ("score", Cells::Number(vec![Some(0.1), Some(f64::NAN), None])),
            ("named", Cells::Flag(vec![Some(true), None, Some(false)])),
            ("sums", Cells::Bytes(vec![Some(vec![0, 255]), None, Some(Vec::new())])),
        ];
        let table = Table { columns, notes: vec![("about".into(), "a test".into())] };
        let first = bytes(&table);
        assert_eq!(first, bytes(&table));
        let reader = SerializedFileReader::new(bytes::Bytes::from(first)).expect("it is a Parquet file");
        let about = reader.metadata().file_metadata();
        assert_eq!(about.created_by(), Some(concat!("attlas version ", env!("CARGO_PKG_VERSION"))));
        assert_eq!(about.key_value_metadata().expect("notes")[0].value.as_deref(), Some("a test"));
        let rows: Vec<_> = reader.get_row_iter(None).expect("rows").collect::<Result<_, _>>().expect("sound rows");
        assert_eq!(
            rows[0].to_string(),
            "{word: \"été\", n: -9223372036854775808, score: 0.1, named: true, sums: [0, 255]}"
        );
        assert_eq!(rows[1].to_string(), "{word: null, n: null, score: null, named: null, sums: null}");
        assert_eq!((rows[2].get_string(0).expect("a text").as_str(), rows[2].get_long(1).expect("a number")), ("", 7));
    }

    #[test]
    fn a_table_without_rows_is_a_file_too() {
        let table = Table { columns: vec![("score", Cells::Number(Vec::new()))], notes: Vec::new() };
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes(&table))).expect("it is a Parquet file");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
