//! Numbers that fail their checks: said on standard error, and by the exit code.

use attlas::View;

use crate::failure::Outcome;
use crate::terminal::remark;

/// How a command ends that made or showed numbers: done, or with what is wrong with them.
pub fn outcome(complaint: Option<&str>) -> Outcome {
    match complaint {
        None => Outcome::Done,
        Some(complaint) => {
            remark(complaint);
            Outcome::ChecksFailed
        }
    }
}

/// What fails of the maps that a picture shows, in a sentence.
pub fn complaint_of<'a>(views: impl IntoIterator<Item = &'a View>) -> Option<String> {
    let mut failed = views.into_iter().filter_map(|view| Some((view, view.problem()?)));
    let (first, problem) = failed.next()?;
    let others = match failed.count() {
        0 => String::new(),
        1 => " and one more map fail their".to_owned(),
        n => format!(" and {n} more maps fail their"),
    };
    let fail = if others.is_empty() { " fails its" } else { &others };
    Some(format!("{} {}{fail} checks, and the picture says so: {problem}", first.kind(), first.title()))
}
