//! What is said of the lines of a file of pairs that were not, or not wholly, read.

use super::counted;
use crate::terminal::remark;

/// `left out 3 lines that are no pairs`.
pub fn left_out_lines(n_bad: usize) -> String {
    match n_bad {
        1 => "left out 1 line that is no pair".to_owned(),
        n => format!("left out {n} lines that are no pairs"),
    }
}

/// Says that further columns are no part of the pairs, where a file has any.
pub fn say_wider_lines(n_wider: usize) {
    if n_wider > 0 {
        let lines = counted(n_wider, "line");
        remark(&format!("the first two columns are the pair; further columns of {lines} were left out"));
    }
}
