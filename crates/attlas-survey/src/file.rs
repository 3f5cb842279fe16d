//! A survey as a table: a row for each head and measure, with the sums of every shard, so that surveys merge exactly.

use std::io::BufRead;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use attlas::analysis::{MEASURES, Measure, Score, ScoreRow, Sums};
use attlas::survey::{Cell, Example, Examples, N_SHARDS, Place, Resamples, Survey, packed_sums, unpacked_sums};
use attlas::{HeadId, Kind};
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::record::{Field, Row, RowAccessor};
use parquet::schema::types::Type;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::table::{Cells, Pages, Table, guarded, parquet_bytes, scores_table};
use crate::{About, Error, Skipped, SurveyFile};

/// The name under which a Parquet file says what the survey is about.
const NOTE: &str = "attlas.survey";
/// Larger files are no surveys: that of a model with 4,096 heads has a tenth of it.
const MAX_FILE_BYTES: u64 = 4 << 30;
/// The column of a table of parts that holds the bytes of their surveys.
const STATES: &str = "state";
/// What is said of a table that is no survey.
const NO_SURVEY: &str = "is a table, but no survey: nothing in it says of which model and corpus";
/// The columns that a survey is read back from.
const COLUMNS: [&str; 6] = ["kind", "layer", "head", "measure", "examples", "sums"];

/// The table of a survey. Without `resamples` there are no intervals, which a state needs not.
pub fn survey_table(file: &SurveyFile, resamples: Option<&Resamples>) -> Table {
    let survey = &file.survey;
    let none = Resamples::of(&[0; N_SHARDS]);
    let row = |cells: Range<usize>| {
        let examples = examples_json(survey, cells.clone());
        let sums: Vec<u8> = cells.clone().flat_map(|cell| packed_sums(&survey.shard_sums(cell))).collect();
        (score_row(survey, cells, resamples.unwrap_or(&none)), Some(examples), Some(sums))
    };
    let rows: Vec<(ScoreRow, Option<Value>, Option<Vec<u8>>)> = rows_of(survey).into_par_iter().map(row).collect();
    let (rows, (examples, sums)): (Vec<ScoreRow>, (Vec<_>, Vec<_>)) =
        rows.into_iter().map(|(row, examples, sums)| (row, (examples, sums))).unzip();
    let mut table = scores_table(&rows);
    table.columns.push(("examples", Cells::Json(examples)));
    table.columns.push(("sums", Cells::Bytes(sums)));
    let mut about = file.about.clone();
    about.n_texts = survey.n_texts().to_vec();
    table.notes.push((NOTE.to_owned(), json!(about).to_string()));
    table
}

/// The texts where each head scores highest, best first: a row for each text, of each head, measure and variant.
pub fn examples_table(survey: &Survey) -> Table {
    let rows: Vec<(Cell, usize, &Example)> = survey
        .cells()
        .iter()
        .enumerate()
        .flat_map(|(index, cell)| {
            survey.examples(index).as_slice().iter().enumerate().map(|(rank, example)| (*cell, rank, example))
        })
        .collect();
    let place = |of: fn(&Place) -> &str| {
        Cells::Text(rows.iter().map(|(.., example)| example.place.as_ref().map(|place| of(place).to_owned())).collect())
    };
    let number = |of: fn(&Place) -> usize| {
        Cells::Whole(rows.iter().map(|(.., example)| i64::try_from(of(example.place.as_ref()?)).ok()).collect())
    };
    let text = |of: fn(&(Cell, usize, &Example)) -> Option<String>| Cells::Text(rows.iter().map(of).collect());
    let whole = |of: fn(&(Cell, usize, &Example)) -> usize| {
        Cells::Whole(rows.iter().map(|row| i64::try_from(of(row)).ok()).collect())
    };
    let columns = vec![
        ("kind", text(|(cell, ..)| Some(cell.kind.name().to_owned()))),
        ("layer", whole(|(cell, ..)| cell.head.layer)),
        ("head", whole(|(cell, ..)| cell.head.head)),
        ("measure", text(|(cell, ..)| Some(MEASURES[cell.measure].name.to_owned()))),
        (
            "variant",
            text(|(cell, ..)| MEASURES[cell.measure].variants.get(cell.variant).map(|name| (*name).to_owned())),
        ),
        ("rank", whole(|(_, rank, _)| *rank)),
        ("score", Cells::Number(rows.iter().map(|(.., example)| Some(example.score)).collect())),
        ("text", text(|(.., example)| Some(example.text.clone()))),
        ("query", number(|place| place.query)),
        ("query_token", place(|place| &place.query_token)),
        ("key", number(|place| place.key)),
        ("key_token", place(|place| &place.key_token)),
        ("id", text(|(.., example)| Some(example.id.clone()))),
    ];
    Table { columns, notes: Vec::new() }
}

/// The texts that could not be used, the listed ones: a row for each.
pub fn failures_table(about: &About) -> Table {
    let text = |of: fn(&Skipped) -> Option<String>| Cells::Text(about.skipped.iter().map(of).collect());
    let number = |skipped: &Skipped| skipped.number.and_then(|number| i64::try_from(number).ok());
    let columns = vec![
        ("file", text(|skipped| Some(skipped.file.clone()).filter(|file| !file.is_empty()))),
        ("unit", text(|skipped| Some(skipped.unit.clone()))),
        ("number", Cells::Whole(about.skipped.iter().map(number).collect())),
        ("text", text(|skipped| skipped.text.clone())),
        ("reason", text(|skipped| Some(skipped.reason.clone()))),
    ];
    Table { columns, notes: Vec::new() }
}

/// The cells of each row: the variants of a head's measure.
pub fn rows_of(survey: &Survey) -> Vec<Range<usize>> {
    let mut rows: Vec<Range<usize>> = Vec::new();
    let cells = survey.cells();
    for (index, cell) in cells.iter().enumerate() {
        match rows.last_mut() {
            Some(row)
                if (cells[row.start].kind, cells[row.start].head, cells[row.start].measure)
                    == (cell.kind, cell.head, cell.measure) =>
            {
                row.end = index + 1;
            }
            _ => rows.push(index..index + 1),
        }
    }
    rows
}

/// What a head scores under a measure.
pub fn score_row(survey: &Survey, cells: Range<usize>, resamples: &Resamples) -> ScoreRow {
    let Cell { kind, head, measure, .. } = survey.cells()[cells.start];
    let measure = &MEASURES[measure];
    let score: Option<Score> = survey.score(cells.clone(), measure, resamples);
    let totals: Vec<Sums> = cells.map(|cell| survey.total(cell)).collect();
    ScoreRow::new(kind, head, measure, score.ok_or_else(|| absence(measure, &totals)))
}

/// Why there is no score. Of sentences with trees a survey reads the words alone.
fn absence(measure: &Measure, totals: &[Sums]) -> String {
    match measure.name {
        "phrase" => "a survey reads no trees".to_owned(),
        _ => measure.absence(totals),
    }
}

/// The examples of a row: an array; of several variants an array of arrays.
fn examples_json(survey: &Survey, cells: Range<usize>) -> Value {
    let all: Vec<&[Example]> = cells.map(|cell| survey.examples(cell).as_slice()).collect();
    match all.as_slice() {
        [one] => json!(one),
        several => json!(several),
    }
}

/// The survey as the bytes of its file, without intervals: what a part of a corpus is sent as.
///
/// # Errors
/// [`Error::File`] when they cannot be made.
pub fn survey_bytes(file: &SurveyFile) -> Result<Vec<u8>, Error> {
    parquet_bytes(&survey_table(file, None)).map_err(|error| Error::file(Path::new("a survey in memory"), error))
}

/// Reads a survey back from the bytes of its file. `name` says in errors which it is.
///
/// # Errors
/// [`Error::File`] when it is none, and says what is wrong with it.
pub fn survey_of_bytes(bytes: Vec<u8>, name: &str) -> Result<SurveyFile, Error> {
    let read = || {
        let reader = reader_of(Pages::of(bytes))?;
        let note = note_of(&reader).ok_or(NO_SURVEY)?;
        read_file(&reader, note)
    };
    guarded(read).map_err(|problem| Error::file(Path::new(name), problem))
}

/// Reads a survey back, also one that is not done.
///
/// A table with a column `state` that holds the bytes of surveys, such as an engine writes of the parts of a data set, is read as
/// all of them merged.
///
/// # Errors
/// [`Error::File`] when it is none, and says what is wrong with it; [`Error::Differs`] when the surveys of a column do not belong
/// together.
pub fn read_survey(path: &Path) -> Result<SurveyFile, Error> {
    let failed = |problem: String| Error::file(path, problem);
    let file = Pages::open(path).map_err(|problem| failed(problem.to_string()))?;
    let n_bytes = file.len();
    if n_bytes > MAX_FILE_BYTES {
        return Err(failed(format!(
            "is not a survey: it has {n_bytes} bytes, and surveys have {MAX_FILE_BYTES} at most"
        )));
    }
    let reader = guarded(|| reader_of(file)).map_err(failed)?;
    match note_of(&reader) {
        Some(note) => guarded(|| read_file(&reader, note)).map_err(failed),
        None => read_states(&reader, path),
    }
}

/// The surveys whose bytes are the cells of a column, merged.
fn read_states(reader: &impl FileReader, path: &Path) -> Result<SurveyFile, Error> {
    let failed = |problem: String| Error::file(path, problem);
    let root = reader.metadata().file_metadata().schema_descr().root_schema();
    let column = root.get_fields().iter().find(|column| column.name() == STATES && column.is_primitive());
    let column = column.ok_or_else(|| failed(NO_SURVEY.to_owned()))?;
    let projection = || Type::group_type_builder(root.name()).with_fields(vec![Arc::clone(column)]).build();
    let mut rows = guarded(|| reader.get_row_iter(Some(projection()?))).map_err(failed)?;
    let mut merged: Option<(String, SurveyFile)> = None;
    for row in 0_u64.. {
        let name = format!("{}, row {row}", path.display());
        let Some(cells) = guarded(|| rows.next().transpose()).map_err(failed)? else { break };
        let bytes = match cells.get_column_iter().next() {
            Some((_, Field::Bytes(bytes))) => bytes.data().to_vec(),
            Some((_, Field::Null)) | None => continue,
            Some(_) => return Err(failed(format!("column \"{STATES}\" does not hold bytes"))),
        };
        let file = survey_of_bytes(bytes, &name)?;
        match &mut merged {
            Some((first, all)) => drop(all.add(first, file, &name)?),
            None => merged = Some((name, file)),
        }
    }
    Ok(merged.ok_or_else(|| failed(format!("column \"{STATES}\" holds no survey")))?.1)
}

fn reader_of<F: ChunkReader<T: BufRead> + 'static>(file: Pages<F>) -> Result<SerializedFileReader<Pages<F>>, String> {
    SerializedFileReader::new(file).map_err(|error| format!("is not a survey: {error}"))
}

/// What a file says of the survey in it.
fn note_of(reader: &impl FileReader) -> Option<&str> {
    let notes = reader.metadata().file_metadata().key_value_metadata()?;
    notes.iter().find(|note| note.key == NOTE)?.value.as_deref()
}

fn read_file(reader: &impl FileReader, note: &str) -> Result<SurveyFile, String> {
    let metadata = reader.metadata().file_metadata();
    let about: About =
        serde_json::from_str(note).map_err(|error| format!("is a survey of another version of attlas: {error}"))?;
    let schema = metadata.schema_descr();
    let mut places = [0; COLUMNS.len()];
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        let found = schema.columns().iter().position(|column| column.name() == name);
        *place = found.ok_or_else(|| format!("has no column \"{name}\": the table was changed"))?;
    }
    let mut survey = Survey::default();
    let n_texts = <[u64; N_SHARDS]>::try_from(about.n_texts.as_slice());
    survey.put_texts(n_texts.map_err(|_| format!("has {} shards, not {N_SHARDS}", about.n_texts.len()))?);
    let rows = reader.get_row_iter(None).map_err(|error| format!("cannot be read: {error}"))?;
    for (index, row) in rows.enumerate() {
        let row = row.map_err(|error| format!("row {index}: {error}"))?;
        put_row(&mut survey, &row, places).map_err(|problem| format!("row {index}: {problem}"))?;
    }
    Ok(SurveyFile { about, survey })
}

/// Takes one row of the table in.
fn put_row(survey: &mut Survey, row: &Row, places: [usize; COLUMNS.len()]) -> Result<(), String> {
    let [kind, layer, head, measure, examples, sums] = places;
    let text = |index: usize| row.get_string(index).map_err(|error| error.to_string());
    let number = |index: usize| {
        let number = row.get_long(index).map_err(|error| error.to_string())?;
        usize::try_from(number).map_err(|_| format!("{number} is no layer and no head"))
    };
    let kind: Kind = text(kind)?.parse()?;
    let head = HeadId { layer: number(layer)?, head: number(head)? };
    let name = text(measure)?;
    let measure = MEASURES.iter().position(|measure| measure.name == name);
    let measure = measure.ok_or_else(|| format!("there is no measure \"{name}\""))?;
    let n_variants = MEASURES[measure].n_variants();
    let all = match n_variants {
        1 => serde_json::from_str(text(examples)?).map(|one| vec![one]),
        _ => serde_json::from_str::<Vec<Vec<Example>>>(text(examples)?),
    };
    let all: Vec<Vec<Example>> = all.map_err(|error| format!("examples: {error}"))?;
    let bytes = row.get_bytes(sums).map_err(|error| error.to_string())?;
    let mut bytes = bytes.data();
    if all.len() != n_variants {
        return Err(format!("has examples of {} variants, not {n_variants}", all.len()));
    }
    for (variant, examples) in all.into_iter().enumerate() {
        let sums = unpacked_sums(&mut bytes).ok_or("its sums are cut short")?;
        survey.put(Cell { kind, head, measure, variant }, &sums, Examples::from_kept(examples));
    }
    match bytes.is_empty() {
        true => Ok(()),
        false => Err("has more sums than shards".into()),
    }
}
