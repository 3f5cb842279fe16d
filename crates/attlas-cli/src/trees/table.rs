//! What was measured of trees and mentions: as tables, and as rows of JSON.

use std::io::Write;

use attlas::analysis::coreference::CoreferenceScore;
use attlas::analysis::syntax::{MARGIN, MIN_WORDS, RelationScore, TreeSums};
use attlas::analysis::{Measure, Score};
use attlas::{HeadId, Kind};
use serde_json::{Value, json};

use super::{Choice, Mentions, Report};
use crate::failure::Failure;
use crate::table_file::{Cells, Table};
use crate::terminal::{Terminal, pad, printable, width, wrapped};
use crate::words::counted;

/// Why a head has no score.
const NOT_FINITE: &str = "some weights are no finite numbers";
/// Heads named in a line of the table.
const MAX_HEADS: usize = 3;

/// Prints the tables.
///
/// # Errors
/// When the relation that was chosen has too few words, or the output cannot be written.
pub fn print(report: &Report, choice: Choice<'_>, terminal: &mut Terminal) -> Result<(), Failure> {
    let line = format!("{}, {}", report.kind.title(), counted(report.n_sentences, "sentence"));
    writeln!(terminal, "{}", terminal.bold(&line))?;
    if let Some(trees) = &report.trees {
        let groups = groups(trees, choice)?;
        match choice.relation {
            None if trees.offsets.is_empty() => {
                writeln!(
                    terminal,
                    "no word of these sentences depends on another: there is no relation to look along"
                )?;
            }
            None => print_relations(&groups, terminal)?,
            Some(_) => groups.iter().try_for_each(|group| print_heads(group, terminal))?,
        }
        if choice.relation.is_none() {
            print_phrases(trees, terminal)?;
            print_absent(trees, choice, terminal)?;
        }
    }
    if let Some(mentions) = report.mentions.as_ref().filter(|_| choice.relation.is_none()) {
        print_mentions(mentions, terminal)?;
    }
    if report.trees.is_none() {
        return Ok(());
    }
    let how = format!(
        "A head finds a word's relation when its largest weight between words, special tokens and the word itself left out, \
         lies there. The baseline is the best fixed offset, from child to head in words. * named: on {MIN_WORDS} words or \
         more ten points over the baseline, and the 95 % interval over it. Looking along a relation is not using it."
    );
    terminal.notes([how])
}

/// The scores of each relation and direction that is shown, the best head first; relations of many words first.
fn groups<'a>(trees: &'a TreeSums, choice: Choice<'_>) -> Result<Vec<Vec<RelationScore<'a>>>, Failure> {
    let scores = trees.scores();
    let of_one = scores.chunk_by(|a, b| (a.relation, a.direction) == (b.relation, b.direction));
    let mut groups: Vec<Vec<RelationScore<'a>>> =
        of_one.filter(|group| choice.has(group[0].relation, group[0].direction)).map(<[_]>::to_vec).collect();
    for group in &mut groups {
        group.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy).then(a.head.cmp(&b.head)));
    }
    let n_words =
        |group: &[RelationScore<'_>]| trees.offsets[group[0].relation].map(|offsets| offsets.n).into_iter().max();
    groups.sort_by(|a, b| {
        let (a, b) = ((n_words(b), a[0].relation, a[0].direction), (n_words(a), b[0].relation, b[0].direction));
        a.cmp(&b)
    });
    if let (Some(relation), true) = (choice.relation, groups.is_empty()) {
        let n =
            trees.offsets.get(relation).map_or(0, |offsets| offsets.iter().map(|offsets| offsets.n).max().unwrap_or(0));
        let n = counted(n as usize, "word");
        return Err(Failure::Input(format!("{relation} has {n} there; {MIN_WORDS} or more say something")));
    }
    Ok(groups)
}

/// A line for each relation and direction, with its best heads.
fn print_relations(groups: &[Vec<RelationScore<'_>>], terminal: &mut Terminal) -> Result<(), Failure> {
    let room = groups.iter().map(|group| width(group[0].relation)).max().unwrap_or(0).clamp(8, 24);
    let heading = format!("{}  direction      words offset baseline heads and their accuracy", pad("relation", room));
    writeln!(terminal, "{}", terminal.bold(&heading))?;
    let mut last = "";
    for group in groups {
        let best = group[0];
        let relation = if best.relation == last { "" } else { best.relation };
        last = best.relation;
        let heads: Vec<String> = group.iter().take(MAX_HEADS).map(head_in_words).collect();
        let n_more = group.iter().skip(MAX_HEADS).filter(|score| score.is_named()).count();
        let more = if n_more > 0 { format!(", {n_more} more *") } else { String::new() };
        writeln!(
            terminal,
            "{}  {:<12} {:>7} {:>6} {:>8.2} {}{more}",
            pad(&printable(relation), room),
            best.direction.arrow(),
            best.n,
            signed(best.offset),
            best.baseline,
            heads.join(", ")
        )?;
    }
    Ok(())
}

fn head_in_words(score: &RelationScore<'_>) -> String {
    format!("{} {:.2}{}", score.head, score.accuracy, star(score.is_named()))
}

fn star(is_named: bool) -> &'static str {
    if is_named { "*" } else { "" }
}

fn signed(offset: i64) -> String {
    format!("{offset:+}").replace('-', "−")
}

/// All heads of one relation and direction.
fn print_heads(group: &[RelationScore<'_>], terminal: &mut Terminal) -> Result<(), Failure> {
    let best = group[0];
    let heading = format!(
        "{}, {}: {}; the best fixed offset, {}, finds {:.2}",
        printable(best.relation),
        best.direction.arrow(),
        counted(best.n as usize, "word"),
        signed(best.offset),
        best.baseline
    );
    writeln!(terminal, "\n{}", terminal.bold(&heading))?;
    writeln!(terminal, "{}", terminal.dim("head     accuracy  95 % interval   over the baseline"))?;
    for score in group {
        let interval = format!("{:.2} to {:.2}", score.interval.0, score.interval.1);
        let excess = format!("{:+.2}", score.excess()).replace('-', "−");
        let star = star(score.is_named());
        writeln!(terminal, "{:<8} {:>7.2}{star:<1}  {interval:<15} {excess}", score.head.to_string(), score.accuracy)?;
    }
    Ok(())
}

/// The heads that keep most of their weight within phrases.
fn print_phrases(trees: &TreeSums, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut scores: Vec<(HeadId, Score, bool)> =
        phrases(trees).filter_map(|(head, score)| score.map(|(score, is_named)| (head, score, is_named))).collect();
    scores.sort_by(|a, b| b.1.value.total_cmp(&a.1.value).then(a.0.cmp(&b.0)));
    let Some((_, best, _)) = scores.first() else { return Ok(()) };
    let named =
        |(head, score, is_named): &(HeadId, Score, bool)| format!("{head} {:.2}{}", score.value, star(*is_named));
    let heads: Vec<String> = scores.iter().take(MAX_HEADS).map(named).collect();
    let line = format!(
        "phrase: mean weight on the other tokens of a token's phrase, {}: {}; uniform {:.2}",
        counted(best.n as usize, "token"),
        heads.join(", "),
        best.baseline.unwrap_or_default()
    );
    writeln!(terminal)?;
    print_wrapped(&line, terminal)
}

/// The measure `phrase`, as everywhere.
fn phrase() -> Option<&'static Measure> {
    Measure::named("phrase")
}

/// Each head's score under it, and whether that names the head; `None` where no word has a phrase.
fn phrases(trees: &TreeSums) -> impl Iterator<Item = (HeadId, Option<(Score, bool)>)> {
    trees.heads.iter().map(|head| {
        let score = phrase().and_then(|measure| Some((measure, measure.score(&[head.phrase])?)));
        (head.head, score.map(|(measure, score)| (score, measure.names(&score))))
    })
}

/// The relations that have too few words.
fn print_absent(trees: &TreeSums, choice: Choice<'_>, terminal: &mut Terminal) -> Result<(), Failure> {
    let few = trees.too_few();
    let few = few.iter().filter(|(relation, direction, n)| *n > 0 && choice.has(relation, *direction));
    let mut few: Vec<String> = few.map(|(relation, ..)| printable(relation)).collect();
    few.dedup();
    let mut notes = Vec::new();
    let mut silent: Vec<HeadId> = trees.not_finite().into_iter().map(|(_, _, head)| head).collect();
    silent.dedup();
    notes.extend(not_finite_note(&silent));
    if !few.is_empty() {
        notes.push(format!("Fewer than {MIN_WORDS} words, and no score: {}.", few.join(", ")));
    }
    if trees.n_left_out > 0 {
        let n = counted(trees.n_left_out as usize, "word");
        notes.push(format!("Left out: {n} that no token covers, or whose head is in the same token or written word."));
    }
    terminal.notes(notes)
}

/// That some heads have weights that are no numbers.
fn not_finite_note(heads: &[HeadId]) -> Option<String> {
    let names: Vec<String> = heads.iter().take(MAX_HEADS).map(HeadId::to_string).collect();
    let more = if heads.len() > MAX_HEADS { " and more" } else { "" };
    (!heads.is_empty()).then(|| format!("No score, since {NOT_FINITE}: {}{more}.", names.join(", ")))
}

fn print_wrapped(text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
    for line in wrapped(text, terminal.width) {
        writeln!(terminal, "{line}")?;
    }
    Ok(())
}

/// What mentions look at.
fn print_mentions(mentions: &Mentions, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut scores = scores_of(mentions);
    scores.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy).then(a.head.cmp(&b.head)));
    let named = |score: &CoreferenceScore| format!("{} {:.2}{}", score.head, score.accuracy, star(score.is_named()));
    let heads: Vec<String> = scores.iter().take(MAX_HEADS).map(named).collect();
    let line = match scores.first() {
        Some(best) => format!(
            "coreference: share of mentions that look at their antecedent more than at the distractor, {}: {}; always the \
             nearer of the two, or always the farther, gets {:.2}",
            counted(best.n as usize, "mention"),
            heads.join(", "),
            best.baseline
        ),
        None => format!("coreference: {}", no_case(mentions)),
    };
    writeln!(terminal)?;
    print_wrapped(&line, terminal)?;
    let silent: Vec<HeadId> = mentions.sums.iter().flat_map(|sums| sums.not_finite()).collect();
    terminal.notes(not_finite_note(&silent))?;
    print_other_mentions(mentions, terminal)
}

/// Why some mentions are no case.
fn print_other_mentions(mentions: &Mentions, terminal: &mut Terminal) -> Result<(), Failure> {
    let n_left_out = mentions.sums.as_ref().map_or(0, |sums| sums.n_left_out);
    let reasons = [
        (mentions.n_without_antecedent, "have no antecedent in their sentence"),
        (mentions.n_without_distractor, "no other noun before them"),
        (n_left_out, "are not told apart by tokens, or cannot see the other"),
    ];
    let reasons: Vec<String> = reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    match reasons.is_empty() {
        true => Ok(()),
        false => terminal.notes([format!("Other mentions: {}.", reasons.join("; "))]),
    }
}

fn scores_of(mentions: &Mentions) -> Vec<CoreferenceScore> {
    mentions.sums.iter().flat_map(|sums| sums.scores()).collect()
}

/// Why there is no score of mentions.
fn no_case(mentions: &Mentions) -> &'static str {
    match (&mentions.sums, mentions.n_without_antecedent + mentions.n_without_distractor) {
        (None, 0) => "no word says Entity= in its notes",
        _ => "no mention has both an antecedent and another noun before it in its sentence, on tokens of their own",
    }
}

/// The scores as rows, objects of cells by name; what cannot be computed has no score and a reason.
///
/// # Errors
/// As [`print`].
pub fn rows(report: &Report, choice: Choice<'_>) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    if let Some(trees) = &report.trees {
        rows.extend(groups(trees, choice)?.iter().flatten().map(|score| relation_row(report.kind, score)));
        let silent = trees.not_finite().into_iter().filter(|(relation, direction, _)| choice.has(relation, *direction));
        rows.extend(silent.map(|(relation, direction, head)| {
            json!({
                "kind": report.kind, "layer": head.layer, "head": head.head, "measure": "tree", "relation": relation,
                "direction": direction, "score": null, "absent": NOT_FINITE,
            })
        }));
        if choice.relation.is_none() {
            rows.extend(phrases(trees).map(|(head, score)| phrase_row(report.kind, head, score)));
            let few = trees.too_few().into_iter().filter(|(relation, direction, _)| choice.has(relation, *direction));
            rows.extend(few.map(|(relation, direction, n)| {
                json!({
                    "kind": report.kind, "layer": null, "head": null, "measure": "tree", "relation": relation,
                    "direction": direction, "score": null, "n_rows": n,
                    "absent": format!("{n} words have this relation and can see its other end; {MIN_WORDS} or more say something"),
                })
            }));
        }
    }
    if let Some(mentions) = report.mentions.as_ref().filter(|_| choice.relation.is_none()) {
        let scores = scores_of(mentions);
        rows.extend(scores.iter().map(|score| mention_row(report.kind, score)));
        rows.extend(mentions.sums.iter().flat_map(|sums| sums.not_finite()).map(|head| {
            json!({
                "kind": report.kind, "layer": head.layer, "head": head.head, "measure": "coreference", "score": null,
                "absent": NOT_FINITE,
            })
        }));
        if scores.is_empty() {
            rows.push(json!({
                "kind": report.kind, "layer": null, "head": null, "measure": "coreference", "score": null, "n_rows": 0,
                "absent": no_case(mentions),
            }));
        }
    }
    Ok(rows)
}

/// [`rows`] as a table: a column for each name that one of them has.
pub fn table(rows: &[Value]) -> Table {
    let text = |name: &str| Cells::Text(rows.iter().map(|row| row[name].as_str().map(str::to_owned)).collect());
    let whole = |name: &str| Cells::Whole(rows.iter().map(|row| row[name].as_i64()).collect());
    let number = |name: &str| Cells::Number(rows.iter().map(|row| row[name].as_f64()).collect());
    let columns = vec![
        ("kind", text("kind")),
        ("layer", whole("layer")),
        ("head", whole("head")),
        ("measure", text("measure")),
        ("relation", text("relation")),
        ("direction", text("direction")),
        ("score", number("score")),
        ("baseline", number("baseline")),
        ("offset", whole("offset")),
        ("low", number("low")),
        ("high", number("high")),
        ("n_rows", whole("n_rows")),
        ("threshold", number("threshold")),
        ("named", Cells::Flag(rows.iter().map(|row| row["named"].as_bool()).collect())),
        ("absent", text("absent")),
    ];
    Table { columns, notes: Vec::new() }
}

fn relation_row(kind: Kind, score: &RelationScore<'_>) -> Value {
    json!({
        "kind": kind, "layer": score.head.layer, "head": score.head.head, "measure": "tree",
        "relation": score.relation, "direction": score.direction, "score": score.accuracy,
        "baseline": score.baseline, "offset": score.offset, "low": score.interval.0, "high": score.interval.1,
        "n_rows": score.n, "threshold": score.baseline + MARGIN, "named": score.is_named(),
    })
}

fn phrase_row(kind: Kind, head: HeadId, score: Option<(Score, bool)>) -> Value {
    let Some((score, is_named)) = score else {
        return json!({
            "kind": kind, "layer": head.layer, "head": head.head, "measure": "phrase", "score": null, "n_rows": 0,
            "absent": "no word has a phrase of two words that is not the whole sentence",
        });
    };
    let interval = score.interval.unzip();
    json!({
        "kind": kind, "layer": head.layer, "head": head.head, "measure": "phrase", "score": score.value,
        "baseline": score.baseline, "low": interval.0, "high": interval.1, "n_rows": score.n,
        "threshold": phrase().and_then(|measure| measure.threshold), "named": is_named,
    })
}

fn mention_row(kind: Kind, score: &CoreferenceScore) -> Value {
    json!({
        "kind": kind, "layer": score.head.layer, "head": score.head.head, "measure": "coreference",
        "score": score.accuracy, "baseline": score.baseline, "low": score.interval.0, "high": score.interval.1,
        "n_rows": score.n, "threshold": score.baseline + MARGIN, "named": score.is_named(),
    })
}
