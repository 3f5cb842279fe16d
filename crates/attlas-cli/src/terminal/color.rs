//! Colours a terminal can show.

use clap::ValueEnum;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Also when piped.
    Always,
    /// Never.
    Never,
}

/// How many colours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorDepth {
    /// No escape sequence at all.
    None,
    /// The 256 colours of xterm.
    Indexed,
    /// 24 bits.
    True,
}

/// The colours to use: those of `choice`, of `NO_COLOR` (<https://no-color.org>), of `TERM` and `COLORTERM`.
pub fn depth(choice: ColorChoice, is_terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> ColorDepth {
    let terminal = variable("TERM");
    let wanted = match choice {
        ColorChoice::Never => false,
        ColorChoice::Always => true,
        ColorChoice::Auto => is_terminal && variable("NO_COLOR").is_none() && terminal.as_deref() != Some("dumb"),
    };
    let is_true = variable("COLORTERM").is_some_and(|kind| kind == "truecolor" || kind == "24bit")
        || terminal.is_some_and(|name| name.ends_with("-direct"));
    match (wanted, is_true) {
        (false, _) => ColorDepth::None,
        (true, true) => ColorDepth::True,
        (true, false) => ColorDepth::Indexed,
    }
}

/// The escape sequence for `text` in black or white, whichever reads better, on `ground`; `None` without colours.
pub fn on_ground(depth: ColorDepth, ground: [u8; 3], text: &str) -> Option<String> {
    let ink_is_black = luminance(ground) > 0.18;
    match depth {
        ColorDepth::None => None,
        ColorDepth::Indexed => {
            let ink = if ink_is_black { 16 } else { 231 };
            Some(format!("\x1b[38;5;{ink};48;5;{}m{text}\x1b[0m", nearest_index(ground)))
        }
        ColorDepth::True => {
            let ink = if ink_is_black { "0;0;0" } else { "255;255;255" };
            let [red, green, blue] = ground;
            Some(format!("\x1b[38;2;{ink};48;2;{red};{green};{blue}m{text}\x1b[0m"))
        }
    }
}

/// Relative luminance, 0 ..= 1 (WCAG 2).
fn luminance(color: [u8; 3]) -> f32 {
    let linear = color.map(|channel| (f32::from(channel) / 255.0).powf(2.2));
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

/// The nearest of xterm's 6 × 6 × 6 colours and 24 greys.
fn nearest_index(color: [u8; 3]) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance =
        |other: [u8; 3]| -> i32 { color.iter().zip(other).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2)).sum() };
    let cube = (0..216_u8).map(|index| {
        let channels =
            [STEPS[usize::from(index / 36)], STEPS[usize::from(index / 6 % 6)], STEPS[usize::from(index % 6)]];
        (16 + index, channels)
    });
    let greys = (0..24_u8).map(|index| (232 + index, [8 + 10 * index; 3]));
    cube.chain(greys).min_by_key(|(_, channels)| distance(*channels)).map_or(16, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_pipes_mean_plain_text() {
        let none = |_: &str| None;
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        let true_color = |name: &str| (name == "COLORTERM").then(|| "truecolor".to_owned());
        assert_eq!(depth(ColorChoice::Auto, false, &none), ColorDepth::None);
        assert_eq!(depth(ColorChoice::Auto, true, &no_color), ColorDepth::None);
        assert_eq!(depth(ColorChoice::Auto, true, &none), ColorDepth::Indexed);
        assert_eq!(depth(ColorChoice::Auto, true, &true_color), ColorDepth::True);
        assert_eq!(depth(ColorChoice::Always, false, &no_color), ColorDepth::Indexed);
    }

    #[test]
    fn a_colour_of_the_cube_is_its_own_nearest() {
        assert_eq!(nearest_index([255, 0, 0]), 196);
        assert_eq!(nearest_index([8, 8, 8]), 232);
    }
}
