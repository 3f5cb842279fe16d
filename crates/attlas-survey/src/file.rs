//! A survey as a table: a row for each head and measure, with the sums of every shard, so that surveys merge exactly.

use std::ops::Range;
use std::path::Path;

use attlas::analysis::{MEASURES, Score, ScoreRow, Sums};
use attlas::survey::{Cell, Example, Examples, N_SHARDS, Resamples, Survey, packed_sums, unpacked_sums};
use attlas::{HeadId, Kind};
use parquet::file::reader::{FileReader, Length, SerializedFileReader};
use parquet::record::{Row, RowAccessor};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::table::{Cells, Pages, Table, scores_table};
use crate::{About, Error, SurveyFile};

/// The name under which a Parquet file says what the survey is about.
const NOTE: &str = "attlas.survey";
/// Larger files are no surveys: that of a model with 4,096 heads has a tenth of it.
const MAX_FILE_BYTES: u64 = 4 << 30;
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
    ScoreRow::new(kind, head, measure, score.ok_or_else(|| measure.absence(&totals)))
}

/// The examples of a row: an array; of several variants an array of arrays.
fn examples_json(survey: &Survey, cells: Range<usize>) -> Value {
    let all: Vec<&[Example]> = cells.map(|cell| survey.examples(cell).as_slice()).collect();
    match all.as_slice() {
        [one] => json!(one),
        several => json!(several),
    }
}

/// Reads a survey back, also one that is not done.
///
/// # Errors
/// [`Error::File`] when it is none, and says what is wrong with it.
pub fn read_survey(path: &Path) -> Result<SurveyFile, Error> {
    let failed = |problem: String| Error::file(path, problem);
    let file = Pages::open(path).map_err(|problem| failed(problem.to_string()))?;
    let n_bytes = file.len();
    if n_bytes > MAX_FILE_BYTES {
        return Err(failed(format!(
            "is not a survey: it has {n_bytes} bytes, and surveys have {MAX_FILE_BYTES} at most"
        )));
    }
    let read = std::panic::AssertUnwindSafe(|| read_file(file));
    // the library gives up on some malformed files with a panic
    std::panic::catch_unwind(read).unwrap_or_else(|_| Err("contradicts itself".into())).map_err(failed)
}

fn read_file(file: Pages) -> Result<SurveyFile, String> {
    let reader = SerializedFileReader::new(file).map_err(|error| format!("is not a survey: {error}"))?;
    let metadata = reader.metadata().file_metadata();
    let note = metadata.key_value_metadata().and_then(|notes| notes.iter().find(|note| note.key == NOTE));
    let Some(note) = note.and_then(|note| note.value.as_deref()) else {
        return Err("is a table, but no survey: nothing in it says of which model and corpus".into());
    };
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
