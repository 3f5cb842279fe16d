//! What object queries found in an image, as a table.

use std::io::Write;

use attlas::recording::Item;
use attlas_model::Object;

use super::Terminal;
use crate::failure::Failure;
use crate::terminal::printable;

/// Class, probability and box of each object query that found something, the most probable first; the number of all others.
pub fn print_objects(objects: &[Object], item: &Item, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut found: Vec<(usize, &Object)> = objects.iter().enumerate().filter(|(_, one)| one.class.is_some()).collect();
    found.sort_by(|(_, one), (_, other)| other.probability.total_cmp(&one.probability));
    let size = item.image.as_ref().and_then(|grid| grid.size);
    let unit = if size.is_some() { "box in pixels: left to right, top to bottom" } else { "box as shares" };
    if !found.is_empty() {
        writeln!(terminal, "{}", terminal.bold(&format!("{:<6} {:>5}  {:<20} {unit}", "query", "prob.", "class")))?;
    }
    for (query, Object { label, probability, area, .. }) in &found {
        let query = format!("q{query}");
        writeln!(terminal, "{query:<6} {probability:>5.2}  {:<20} {}", printable(label), edges(*area, size))?;
    }
    let n_others = objects.len() - found.len();
    if n_others > 0 {
        writeln!(terminal, "no object: {n_others} of {} object queries", objects.len())?;
    }
    Ok(())
}

/// A box by its edges, in pixels of the file where its size is known.
fn edges([x, y, width, height]: [f32; 4], size: Option<[usize; 2]>) -> String {
    let along = |middle: f32, extent: f32, n_pixels: Option<usize>| {
        let [start, end] = [middle - extent / 2.0, middle + extent / 2.0].map(|edge| edge.clamp(0.0, 1.0));
        match n_pixels {
            Some(n) => format!("{:.0} to {:.0}", start * n as f32, end * n as f32),
            None => format!("{start:.3} to {end:.3}"),
        }
    };
    format!("{}, {}", along(x, width, size.map(|size| size[0])), along(y, height, size.map(|size| size[1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_cut_at_the_edges_of_the_image() {
        assert_eq!(edges([0.5, 0.9, 0.5, 0.4], Some([200, 100])), "50 to 150, 70 to 100");
        assert_eq!(edges([0.5, 0.5, 0.5, 0.25], None), "0.250 to 0.750, 0.375 to 0.625");
    }
}
