//! Figures of one layout, one after the other, as one SVG.

use std::fmt::Write as _;

use super::marks::{Figure, Mark};

/// An SVG that shows each of `frames` for as long as `seconds` says, over and over; the last frame where nothing moves.
///
/// What all frames have in common is written once, and so are the fonts. It plays in a browser, and as an image in a page.
/// `None` when there is no frame. A frame without a time is not shown.
pub fn animated_svg(frames: &[Figure], seconds: &[f32]) -> Option<String> {
    let last = frames.last()?;
    let all_marks = frames.iter().flat_map(|frame| frame.marks.iter().cloned()).collect();
    let mut svg = String::new();
    last.open(&Figure { marks: all_marks, ..last.clone() }.style_sheet(), &mut svg);
    let is_alike = frames.iter().all(|frame| frame.marks.len() == last.marks.len());
    let is_still = |place: &usize| is_alike && frames.iter().all(|frame| frame.marks[*place] == last.marks[*place]);
    let places: Vec<usize> = (0..last.marks.len()).collect();
    for run in places.chunk_by(|a, b| is_still(a) == is_still(b)) {
        let (from, to) = (run[0], run[run.len() - 1] + 1);
        if is_still(&from) {
            only(last, &last.marks[from..to]).write_marks(&mut svg);
            continue;
        }
        for (index, frame) in frames.iter().enumerate() {
            let marks = if is_alike { &frame.marks[from..to] } else { &frame.marks };
            open_frame(index, seconds, &mut svg);
            only(last, marks).write_marks(&mut svg);
            svg.push_str("</g>\n");
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The figure with these marks alone.
fn only(figure: &Figure, marks: &[Mark]) -> Figure {
    Figure { marks: marks.to_vec(), ..figure.clone() }
}

/// Opens a group that is visible while its frame is.
fn open_frame(index: usize, seconds: &[f32], svg: &mut String) {
    let length: f32 = seconds.iter().sum();
    let share = |n: usize| seconds.iter().take(n).sum::<f32>() / length.max(f32::MIN_POSITIVE);
    let (from, to) = (share(index), share(index + 1));
    let is_last = index + 1 >= seconds.len();
    let (values, times) = match (index == 0, is_last) {
        (true, true) => ("visible".to_owned(), "0".to_owned()),
        (true, false) => ("visible;hidden".to_owned(), format!("0;{to:.4}")),
        (false, true) => ("hidden;visible".to_owned(), format!("0;{from:.4}")),
        (false, false) => ("hidden;visible;hidden".to_owned(), format!("0;{from:.4};{to:.4}")),
    };
    let visibility = if is_last { "visible" } else { "hidden" };
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        "<g visibility=\"{visibility}\"><animate attributeName=\"visibility\" calcMode=\"discrete\" \
         values=\"{values}\" keyTimes=\"{times}\" dur=\"{length:.2}s\" repeatCount=\"indefinite\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Axis, ColorScale, Panel, Scale, Style, map};

    fn frame(weights: [f32; 4], title: &str) -> Figure {
        let axis = |name: &str| Axis::labelled(name, ["a", "b"]);
        let panel = Panel::new("L0H0", weights.to_vec(), axis("query"), axis("key")).expect("2 × 2 weights");
        let scale = ColorScale::of([&panel], Scale::Linear);
        map(&panel, &scale, &Style { title: title.to_owned(), ..Style::default() })
    }

    #[test]
    fn what_frames_share_is_written_once_and_each_frame_is_shown_in_its_turn() {
        let frames = [frame([1.0, 0.0, 0.5, 0.5], "step 1"), frame([1.0, 0.0, 0.2, 0.8], "step 9")];
        let svg = animated_svg(&frames, &[1.0, 3.0]).expect("there are frames");
        let still = frames[0].to_svg();
        for shared in ["@font-face", "← rows: query", "<polyline"] {
            assert_eq!(svg.matches(shared).count(), still.matches(shared).count(), "{shared}");
        }
        assert_eq!(
            (svg.matches(">step 1<").count(), svg.matches(">step 9<").count()),
            (1, 2),
            "the last names the whole"
        );
        assert!(svg.contains("values=\"visible;hidden\" keyTimes=\"0;0.2500\" dur=\"4.00s\""));
        assert!(svg.contains("<g visibility=\"visible\"><animate attributeName=\"visibility\" calcMode=\"discrete\" values=\"hidden;visible\" keyTimes=\"0;0.2500\""));
    }

    #[test]
    fn no_frame_is_no_picture() {
        assert_eq!(animated_svg(&[], &[]), None);
    }
}
