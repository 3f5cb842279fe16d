//! Tables that a command writes, by the ending of the output's name.

use std::path::Path;

use attlas::figure::Format;
pub use attlas_survey::table::{Cells, Table, TableFormat, scores_table, write_table_as};

use crate::commands::draw::{StyleArguments, format_of};
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

/// What a command writes that gives its numbers as a table or draws them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableOrPicture {
    Table,
    Picture(Format),
}

impl TableOrPicture {
    /// What a file's name ends in; `what` is written, for messages.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it ends in neither.
    pub fn of(output: &Path, what: &str) -> Result<TableOrPicture, Failure> {
        match (TableFormat::named_by(output), format_of(output)) {
            (Some(_), _) => Ok(TableOrPicture::Table),
            (None, Ok(format)) => Ok(TableOrPicture::Picture(format)),
            (None, Err(_)) => Err(Failure::Usage(format!(
                "-o {}: {what} are written as .parquet, .csv, .json, .svg, .pdf or .png; give it one of these endings",
                output.display()
            ))),
        }
    }

    /// The same of an output that may not be asked for, before anything is run: options of a picture need one.
    ///
    /// # Errors
    /// [`Failure::Usage`] as [`TableOrPicture::of`], and when an option says nothing about what is written.
    pub fn asked(output: Option<&Path>, style: &StyleArguments, what: &str) -> Result<Option<TableOrPicture>, Failure> {
        let form = output.map(|output| TableOrPicture::of(output, what)).transpose()?;
        match (form, output, style.first_given()) {
            (None, _, Some(option)) => Err(Failure::Usage(format!("{option} is for a picture, and -o names none"))),
            (Some(TableOrPicture::Table), Some(output), Some(option)) => {
                Err(Failure::Usage(format!("{option} is for a picture, and -o {} is a table", output.display())))
            }
            (Some(TableOrPicture::Picture(format)), Some(output), _) => {
                style.check(format, output)?;
                Ok(form)
            }
            _ => Ok(form),
        }
    }
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
