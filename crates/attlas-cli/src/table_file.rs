//! Tables that a command writes, by the ending of the output's name.

use std::path::Path;

pub use attlas_survey::table::{Cells, Table, TableFormat, scores_table, write_table_as};

use crate::failure::Failure;

/// The format of an output.
///
/// # Errors
/// [`Failure::Usage`] when its name ends in none.
pub fn table_format(path: &Path) -> Result<TableFormat, Failure> {
    TableFormat::named_by(path).ok_or_else(|| {
        let path = path.display();
        Failure::Usage(format!("-o {path}: a table is a .parquet, .csv or .json file; give it one of these endings"))
    })
}

/// Writes a table whole or not at all, in the format that the name ends in.
///
/// # Errors
/// As [`table_format`], and [`Failure::Output`] when it cannot be written.
pub fn write_table(path: &Path, table: &Table) -> Result<(), Failure> {
    Ok(write_table_as(table_format(path)?, path, table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_format_is_refused_with_those_there_are() {
        assert_eq!(table_format(Path::new("a/b.PARQUET")).expect("a format"), TableFormat::Parquet);
        let message = table_format(Path::new("b.xlsx")).unwrap_err().to_string();
        assert_eq!(message, "-o b.xlsx: a table is a .parquet, .csv or .json file; give it one of these endings");
    }
}
