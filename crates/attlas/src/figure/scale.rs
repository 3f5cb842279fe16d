//! From a weight to a colour, and the words and numbers that say how.

use super::{PanelScale, Scale};

/// The index of [`Colormap::missing`](super::Colormap::missing) in a palette.
pub const MISSING: u8 = 255;
/// How far below the largest weight a logarithmic scale goes.
const LOG_DECADES: i32 = 4;

/// The scale of one or more panels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorScale {
    kind: Scale,
    low: f32,
    high: f32,
}

impl ColorScale {
    /// The scale that holds all `values`: from 0, or from the least where one is negative, to the largest.
    pub fn over<'a>(kind: Scale, values: impl IntoIterator<Item = &'a f32>) -> ColorScale {
        let (mut least, mut largest) = (0.0_f32, 0.0_f32);
        for &value in values {
            if value.is_finite() {
                least = least.min(value);
                largest = largest.max(value);
            }
        }
        match kind {
            Scale::Row => ColorScale { kind, low: 0.0, high: 1.0 },
            Scale::Log if largest > 0.0 => {
                ColorScale { kind, low: 10.0_f32.powi(largest.log10().ceil() as i32 - LOG_DECADES), high: largest }
            }
            _ if least == largest => ColorScale { kind: Scale::Linear, low: 0.0, high: 1.0 },
            _ => ColorScale { kind: Scale::Linear, low: least, high: largest },
        }
    }

    /// The largest value of the scale.
    pub fn high(&self) -> f32 {
        self.high
    }

    /// Whether each row is divided by its own largest value.
    pub fn divides_rows(&self) -> bool {
        self.kind == Scale::Row
    }

    /// Where `value` lies between the ends; clamped to 0 ..= 1.
    fn fraction(&self, value: f32) -> f32 {
        let fraction = match self.kind {
            Scale::Log if value <= self.low => 0.0,
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
            _ => (value - self.low) / (self.high - self.low),
        };
        fraction.clamp(0.0, 1.0)
    }

    /// The palette's index for each value of a row.
    pub fn indices<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = u8> + 'a {
        let largest = row.iter().copied().filter(|value| value.is_finite()).fold(0.0, f32::max);
        let divisor = if self.kind == Scale::Row && largest > 0.0 { largest } else { 1.0 };
        row.iter().map(
            move |&value| {
                if value.is_finite() { (self.fraction(value / divisor) * 254.0).round() as u8 } else { MISSING }
            },
        )
    }

    /// Places along the colour bar with their numbers, from low to high.
    pub fn ticks(&self, panels: PanelScale) -> Vec<(f32, String)> {
        if panels == PanelScale::Own && self.kind != Scale::Row {
            return vec![(0.0, "0".to_owned()), (1.0, "the panel's largest".to_owned())];
        }
        let mut ticks = match self.kind {
            Scale::Log => (0..LOG_DECADES)
                .map(|decade| self.low * 10.0_f32.powi(decade))
                .filter(|&value| value < self.high)
                .map(|value| (self.fraction(value), number(value)))
                .collect(),
            Scale::Row => vec![(0.0, "0".to_owned()), (0.5, "half".to_owned())],
            Scale::Linear => self.even_ticks(),
        };
        match self.kind {
            Scale::Row => ticks.push((1.0, "the row's largest".to_owned())),
            _ => ticks.push((1.0, number(self.high))),
        }
        if let (Scale::Log, Some(first)) = (self.kind, ticks.first_mut()) {
            first.1 = format!("≤ {}", first.1);
        }
        ticks
    }

    /// Round numbers from the low end on, at most five, none near the high end.
    fn even_ticks(&self) -> Vec<(f32, String)> {
        let span = self.high - self.low;
        let power = 10.0_f32.powf((span / 4.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| span / step <= 4.5);
        let step = step.unwrap_or(span);
        let mut ticks = vec![(0.0, number(self.low))];
        let first = (self.low / step).floor() as i64 + 1;
        ticks.extend((first..first + 5).map(|n| n as f32 * step).map(|value| (self.fraction(value), number(value))));
        ticks.retain(|&(fraction, _)| fraction == 0.0 || (0.12..0.88).contains(&fraction));
        ticks
    }

    /// The scale in words.
    pub fn words(&self, panels: PanelScale, n_panels: usize) -> String {
        let kind = match self.kind {
            Scale::Linear => "linear",
            Scale::Log => "logarithmic",
            Scale::Row => "each row divided by its largest",
        };
        match (panels, self.kind, n_panels) {
            (_, Scale::Row, _) | (_, _, 0 | 1) => kind.to_owned(),
            (PanelScale::Shared, ..) => format!("{kind}, one scale for all panels"),
            (PanelScale::Own, ..) => {
                format!("{kind}, each panel has its own scale: colours do not compare across panels")
            }
        }
    }
}

/// A number with three significant digits, short: `0.25`, `1`, `0.0001`, `2.5e-7`.
pub fn number(value: f32) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let decimals = if magnitude == 0.0 { 0 } else { (2 - magnitude.log10().floor() as i32).clamp(0, 6) as usize };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_head_has_one_colour_below_the_top_of_a_shared_scale() {
        let scale = ColorScale::over(Scale::Linear, &[0.25, 0.25, 1.0]);
        assert_eq!(scale.indices(&[0.25; 4]).collect::<Vec<_>>(), vec![64; 4]);
    }

    #[test]
    fn what_is_no_number_gets_the_colour_of_the_missing() {
        let scale = ColorScale::over(Scale::Linear, &[f32::NAN, f32::INFINITY, 0.5]);
        assert_eq!(scale.indices(&[f32::NAN, f32::INFINITY, 0.5, 0.0]).collect::<Vec<_>>(), vec![255, 255, 254, 0]);
    }

    #[test]
    fn ticks_begin_at_zero_and_end_at_the_largest_weight() {
        let texts =
            |scale: ColorScale| scale.ticks(PanelScale::Shared).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(texts(ColorScale::over(Scale::Linear, &[0.934])), ["0", "0.25", "0.5", "0.75", "0.934"]);
        assert_eq!(texts(ColorScale::over(Scale::Log, &[0.5])), ["≤ 0.0001", "0.001", "0.01", "0.1", "0.5"]);
        assert_eq!(texts(ColorScale::over(Scale::Linear, &[0.0])), ["0", "0.25", "0.5", "0.75", "1"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.25), "0.25");
        assert_eq!(number(1.0), "1");
        assert_eq!(number(2.5e-7), "2.5e-7");
        assert_eq!(number(1200.0), "1200");
        assert_eq!(number(-0.5), "−0.5");
    }
}
