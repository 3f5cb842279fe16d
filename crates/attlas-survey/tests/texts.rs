//! Texts that come from no file: dealt out in any way, they give the survey that a file of them gives.

use std::fs;
use std::path::Path;

use attlas::analysis::Annotations;
use attlas::survey::Survey;
use attlas_model::Model;
use attlas_survey::corpus::{CorpusFile, CorpusItem, CorpusText, TextNames};
use attlas_survey::table::{Cells, Table, TableFormat, write_table_as};
use attlas_survey::{
    About, Decoding, End, Error, Keeper, ModelIdentity, Part, Settings, SurveyFile, Work, read_survey, survey_bytes,
    survey_corpus, survey_of_bytes, survey_texts,
};

const PAIRS: [(&str, &str); 4] = [
    ("The cat sees the dog.", "Le chat voit le chien."),
    ("A girl likes the house.", "Une fille aime la maison."),
    ("The boy has a friend.", "Le garçon a un ami."),
    ("We take the street.", "Nous prenons la rue."),
];

/// An empty survey of pairs by the embedded translator.
fn empty(model: &Model, longest: usize) -> SurveyFile {
    let identity = ModelIdentity::of(model, &[], [None, None]).expect("it reads texts");
    SurveyFile { about: About::of_texts(identity, Decoding::of(model, true, longest, 8)), survey: Survey::default() }
}

fn pair((source, target): (&str, &str)) -> CorpusItem {
    let text = CorpusText { source: source.to_owned(), target: Some(target.to_owned()) };
    CorpusItem { number: None, text: Ok(text) }
}

fn work(model: &Model) -> Work<'_> {
    let names = const { &TextNames { field: String::new(), column: String::new() } };
    Work { model, files: &[], names, annotations: const { &Annotations::NONE }, stop: &|| false }
}

fn surveyed(model: &Model, texts: Vec<CorpusItem>) -> SurveyFile {
    let mut file = empty(model, 100);
    let end = survey_texts(&work(model), texts, None, &mut file, &mut |_| {}).expect("they can be measured");
    assert_eq!(end, End::Done);
    file
}

#[test]
fn texts_in_batches_of_any_kind_merge_to_the_survey_of_a_file_of_them() {
    let model = Model::embedded().expect("it is embedded");
    let whole = surveyed(&model, PAIRS.map(pair).into());
    let bytes = survey_bytes(&whole).expect("it is written");
    for batches in [vec![3, 0, 2, 1], vec![1, 2, 0, 3]] {
        // each is sent as bytes, as between machines
        let parts = batches.chunks(2).map(|batch| {
            let part = surveyed(&model, batch.iter().map(|index| pair(PAIRS[*index])).collect());
            survey_of_bytes(survey_bytes(&part).expect("it is written"), "a part").expect("it is read")
        });
        let merged = parts.reduce(|mut all, part| {
            assert_eq!(all.add("one", part, "another").expect("they belong together"), [""; 0]);
            all
        });
        assert_eq!(survey_bytes(&merged.expect("two parts")).expect("it is written"), bytes);
    }

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pairs.tsv");
    fs::write(&path, PAIRS.map(|(source, target)| format!("{source}\t{target}\n")).concat()).expect("it is written");
    let files = [CorpusFile::find(&path, None).expect("it is there")];
    let settings = Settings { window: 3, batch_tokens: Some(20), limit: None, part: Part::WHOLE };
    let about = whole.about.clone();
    let about = About::new(about.model, about.decoding, vec![files[0].identity.clone()], settings);
    let mut of_file = SurveyFile { about, survey: Survey::default() };
    let work = Work { files: &files, ..work(&model) };
    let end = survey_corpus(&work, &mut of_file, &mut Keeper::nowhere(), &mut |_, _| {}).expect("it is read");
    assert_eq!((end, of_file.survey == whole.survey), (End::Done, true));
    assert_eq!(of_file.digest(), whole.digest(), "where texts came from is no part of what was found");
    assert_ne!(whole.digest(), surveyed(&model, PAIRS[1..].iter().copied().map(pair).collect()).digest());
}

#[test]
fn what_cannot_be_used_is_listed_by_its_place_or_its_beginning() {
    let model = Model::embedded().expect("it is embedded");
    let mut file = empty(&model, 12);
    let long = "the cat sees the dog and ".repeat(4);
    let texts = vec![
        CorpusItem { number: Some(7), text: Err("is None, not a text".into()) },
        pair((&long, "Le chat.")),
        pair(("n\0l", "nul")),
        pair((" ", "vide")),
    ];
    survey_texts(&work(&model), texts, None, &mut file, &mut |_| {}).expect("they are read");
    let said: Vec<String> = file.about.skipped.iter().map(|one| format!("{}: {}", one.place(), one.reason)).collect();
    let [unfit, nul, empty, none] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(empty, "the text \" \": has an empty source side");
    assert_eq!(nul, "the text \"n\0l\": has a NUL character, which no text has");
    assert!(unfit.starts_with("the text \"the cat sees the dog and the cat") && unfit.contains("…\": has "), "{unfit}");
    assert_eq!(none, "text 7: is None, not a text");
    assert_eq!((file.about.n_skipped, file.survey.n_all_texts()), (4, 0));
    let again = survey_of_bytes(survey_bytes(&file).expect("it is written"), "it").expect("it is read");
    assert_eq!(again.about.skipped, file.about.skipped);
}

#[test]
fn a_column_of_surveys_is_read_as_all_of_them_and_those_that_differ_are_named() {
    let model = Model::embedded().expect("it is embedded");
    let [one, two] = [0, 1].map(|index| surveyed(&model, vec![pair(PAIRS[index])]));
    let [first, second] = [&one, &two].map(|file| survey_bytes(file).expect("it is written"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("part-0.parquet");
    let write = |path: &Path, cells: Vec<Option<Vec<u8>>>| {
        let columns = vec![("n", Cells::Whole(vec![Some(1); cells.len()])), ("state", Cells::Bytes(cells))];
        write_table_as(TableFormat::Parquet, path, &Table { columns, notes: Vec::new() }).expect("it is written");
    };
    write(&path, vec![Some(first.clone()), None, Some(second)]);
    let mut both = one;
    both.add("one", two, "two").expect("they belong together");
    assert_eq!(read_survey(&path).expect("it is read").digest(), both.digest());

    let other = survey_bytes(&empty(&model, 99)).expect("it is written");
    write(&path, vec![Some(first), Some(other)]);
    let error = read_survey(&path).expect_err("they do not belong together");
    let name = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "{name}, row 1 is of texts of up to 99 tokens, not of texts of up to 100 tokens as {name}, row 0; surveys of one model merge"
        )
    );
    assert!(matches!(error, Error::Differs { .. }));

    write(&path, vec![None]);
    let error = read_survey(&path).expect_err("there is none").to_string();
    assert!(error.ends_with("column \"state\" holds no survey"), "{error}");
    write(&path, vec![Some(b"PAR1 and nothing else".to_vec())]);
    let error = read_survey(&path).expect_err("it is none").to_string();
    assert!(error.contains("part-0.parquet, row 0: is not a survey: "), "{error}");
}
