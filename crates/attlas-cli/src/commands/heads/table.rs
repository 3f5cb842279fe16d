//! Heads in the terminal: what each is named for, and what layers do.

use std::io::Write;

use attlas::Kind;
use attlas::analysis::{HeadClass, HeadSums, MIN_SCORES, Measure, Score, Standout, Unnamed, classes, layer_profiles};

use super::sources::Measured;
use crate::failure::Failure;
use crate::measures::{number, print_complaint};
use crate::terminal::{Terminal, wrapped};
use crate::words::counted;

/// The heads that are named, the strongest first, then how many are not; then what each layer does.
pub fn print_heads(found: &Measured, terminal: &mut Terminal) -> Result<(), Failure> {
    let classes = classes(&found.heads);
    writeln!(terminal, "{}", terminal.bold("kind     head     does                  score baseline 95 % interval  n"))?;
    for kind in Kind::ALL {
        let of_kind: Vec<&HeadClass> = classes.iter().filter(|class| class.kind == kind).collect();
        print_kind(kind, &of_kind, found, terminal)?;
    }
    print_profiles(found, terminal)?;
    let legend = format!(
        "{}. n: queries, words or texts that the score is a mean of; broad: entropy over that of looking everywhere alike; \
         distance: tokens away, in brackets what looking at all keys alike gives. A name is a hint, not a law, and weights are \
         not importance. `attlas heads --measures` defines each.",
        found.measured_on
    );
    print_legend(&legend, found, terminal)
}

/// The heads of a kind that are named, the strongest first, then how many are not.
fn print_kind(kind: Kind, of_kind: &[&HeadClass], found: &Measured, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut named: Vec<&HeadClass> = of_kind.iter().copied().filter(|class| !class.named.is_empty()).collect();
    named.sort_by(|a, b| {
        let [one, other] = [a, b].map(|class| &class.named[0]);
        let order = other.strength().total_cmp(&one.strength());
        order.then(other.score.value.total_cmp(&one.score.value)).then(a.head.cmp(&b.head))
    });
    for class in &named {
        let line = format!("{:<8} {:<8} {}", kind.name(), class.head.to_string(), standing(&class.named));
        writeln!(terminal, "{}", line.trim_end())?;
    }
    let is_broken = |class: &&&HeadClass| found.heads.iter().any(|head| is_unmeasured(head, class));
    let n_broken = of_kind.iter().filter(is_broken).count();
    if n_broken > 0 {
        let cannot = "cannot be measured: some weights are no finite numbers";
        let line = format!("{:<8} {} {cannot}", kind.name(), counted(n_broken, "head"));
        writeln!(terminal, "{}", terminal.bold(&line))?;
    }
    let n_silent = of_kind.len() - named.len() - n_broken;
    if n_silent > 0 {
        let some = if named.is_empty() && n_broken == 0 { "all" } else { "the other" };
        let why = why_silent(found, kind);
        writeln!(terminal, "{}", terminal.dim(&format!("{:<8} {some} {n_silent} {why}", kind.name())))?;
    }
    Ok(())
}

/// Why heads of a kind have no name, to follow on how many they are.
fn why_silent(found: &Measured, kind: Kind) -> String {
    match found.heads.iter().filter(|head| head.kind == kind).map(|head| head.n_queries).max() {
        Some(n @ ..MIN_SCORES) => {
            format!(
                "have no name: {n} {} too few, it takes {MIN_SCORES}",
                if n == 1 { "query is" } else { "queries are" }
            )
        }
        _ => "stand out for nothing".to_owned(),
    }
}

/// Whether this is the head of a class, and weights that are no numbers leave it without a name.
fn is_unmeasured(head: &HeadSums, class: &HeadClass) -> bool {
    (head.kind, head.head) == (class.kind, class.head) && class.named.is_empty() && head.is_broken()
}

/// `previous token        0.90  0.11     0.86 to 0.94   120  also local`.
fn standing(named: &[Standout]) -> String {
    let [first, others @ ..] = named else { return String::new() };
    let also: Vec<&str> = others.iter().map(Standout::title).collect();
    let also = if also.is_empty() { String::new() } else { format!("  also {}", also.join(", ")) };
    format!("{:<21} {}{also}", first.title(), numbers(&first.score))
}

/// Score, baseline, interval and number of rows, in columns.
fn numbers(score: &Score) -> String {
    let interval = score.interval.map_or("–".to_owned(), |(low, high)| format!("{low:.2} to {high:.2}"));
    format!("{:>5.2} {:<8} {interval:<14} {:<6}", score.value, number(score.baseline), score.n)
}

/// What each layer's heads do together.
fn print_profiles(found: &Measured, terminal: &mut Terminal) -> Result<(), Failure> {
    writeln!(terminal, "\n{}", terminal.bold("kind     layer  distance      broad  largest  classes"))?;
    for profile in layer_profiles(&found.heads) {
        let distance = match (profile.distance, profile.uniform_distance) {
            (Some(distance), Some(uniform)) => format!("{distance:.1} ({uniform:.1})"),
            (Some(distance), None) => format!("{distance:.1}"),
            (None, _) => "–".to_owned(),
        };
        let mut mix: Vec<(&str, usize)> = profile.classes.iter().map(|(name, n)| (*name, *n)).collect();
        mix.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let n_named: usize = mix.iter().map(|(_, n)| n).sum();
        let mut words: Vec<String> = mix.iter().map(|(name, n)| format!("{n} {name}")).collect();
        if n_named < profile.n_heads {
            words.push(format!("{} –", profile.n_heads - n_named));
        }
        let head = format!(
            "{:<8} {:<6} {distance:<13} {:<6} {:<8} ",
            profile.kind.name(),
            profile.layer,
            number(profile.broad),
            number(profile.confidence),
        );
        let room = terminal.width.saturating_sub(head.chars().count()).max(24);
        for (index, line) in wrapped(&words.join(", "), room).iter().enumerate() {
            let head = if index == 0 { head.clone() } else { " ".repeat(head.chars().count()) };
            writeln!(terminal, "{}", format!("{head}{line}").trim_end())?;
        }
    }
    Ok(())
}

/// All heads under one measure, the highest score first.
pub fn print_ranking(found: &Measured, measure: &Measure, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut scored: Vec<_> =
        found.heads.iter().flat_map(|head| head.scores_or_reasons().map(move |(_, score)| (head, score))).collect();
    scored.sort_by(|(_, a), (_, b)| {
        let value = |score: &Result<Score, String>| score.as_ref().map_or(f64::MIN, |score| score.value);
        value(b).total_cmp(&value(a))
    });
    if scored.is_empty() {
        let kinds: Vec<&str> = measure.kinds.iter().map(|kind| kind.title()).collect();
        let (name, kinds, model) = (measure.name, kinds.join(" and "), &found.model);
        return Err(Failure::Input(format!("\"{name}\" is looked for in {kinds}, which {model} has not")));
    }
    writeln!(terminal, "{}", terminal.bold("kind     head     score baseline 95 % interval  n      named"))?;
    for (head, score) in scored {
        let place = format!("{:<8} {:<8}", head.kind.name(), head.head.to_string());
        match score {
            Ok(score) => {
                let variant = score.variant.map_or(String::new(), |variant| format!("  {variant}"));
                let named = named_in_words(measure.unnamed(&score));
                let line = format!("{place} {} {named:<8}{variant}", numbers(&score));
                writeln!(terminal, "{}", line.trim_end())?;
            }
            Err(reason) => {
                let reason = found.no_text.filter(|_| !measure.on_repeats).unwrap_or(&reason);
                writeln!(terminal, "{place} {}", terminal.dim(&format!("–  {reason}")))?;
            }
        }
    }
    let threshold = measure.threshold.map_or("no threshold, so no head is named for it".to_owned(), |score| {
        format!(
            "threshold {score}; a score that reaches it names no head where it is a mean of fewer than {MIN_SCORES} (too few), or where \
             the baseline may give as much by chance (chance)"
        )
    });
    let legend = format!("{}: {}; {threshold}. {}.", measure.name, measure.says, found.measured_on);
    print_legend(&legend, found, terminal)
}

/// Whether a head is named, and why not where its score alone would do.
fn named_in_words(unnamed: Option<Unnamed>) -> &'static str {
    match unnamed {
        None => "yes",
        Some(Unnamed::Few) => "too few",
        Some(Unnamed::Chance) => "chance",
        Some(Unnamed::Below | Unnamed::NoThreshold) => "",
    }
}

fn print_legend(legend: &str, found: &Measured, terminal: &mut Terminal) -> Result<(), Failure> {
    terminal.notes([legend])?;
    print_complaint(found.complaint.as_deref(), terminal)
}
