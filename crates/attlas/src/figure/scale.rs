//! From a number to a colour, and the words and numbers that say how.

use super::{Panel, PanelScale, Scale};
use crate::Quantity;

/// The index of the strongest colour in a palette; that of the weakest is 0, or half of this where numbers have either sign.
pub const LAST: u8 = 254;
/// The index of [`Colormap::missing`](super::Colormap::missing) in a palette.
pub const MISSING: u8 = 255;
/// How far below the largest number a logarithmic scale goes.
const LOG_DECADES: i32 = 4;

/// How numbers become colours: made from what is drawn, and handed to the figure.
///
/// Weights, norms and what else is never negative go from 0, at one end of the colours, to the largest. Numbers of either
/// sign ([`Quantity::is_signed`]) go from −largest to the largest, and 0 is exactly the colour in the middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorScale {
    kind: Scale,
    quantity: Quantity,
    low: f32,
    high: f32,
    /// What is said of the numbers, where that is not the name of their quantity.
    words: Option<&'static str>,
}

impl ColorScale {
    /// The scale that holds all numbers of `panels`; of their quantities that of the first which has signs, or else the first.
    pub fn of<'a>(panels: impl IntoIterator<Item = &'a Panel, IntoIter: Clone>, kind: Scale) -> ColorScale {
        let panels = panels.into_iter();
        let mut quantities = panels.clone().map(Panel::quantity);
        let first = quantities.clone().next().unwrap_or_default();
        let quantity = quantities.find(|quantity| quantity.is_signed()).unwrap_or(first);
        ColorScale::over(panels.flat_map(Panel::weights), quantity, kind)
    }

    /// The scale that holds all `numbers`, such as those of every frame of a film.
    ///
    /// A negative number of a quantity that has none extends the scale downwards.
    pub fn over<'a>(numbers: impl IntoIterator<Item = &'a f32>, quantity: Quantity, kind: Scale) -> ColorScale {
        let (mut least, mut largest) = (0.0_f32, 0.0_f32);
        for &number in numbers {
            if number.is_finite() {
                least = least.min(number);
                largest = largest.max(number);
            }
        }
        if quantity.is_signed() {
            (least, largest) = (0.0, largest.max(-least));
        }
        let scale = |kind, low, high| ColorScale { kind, quantity, low, high, words: None };
        match kind {
            Scale::Row => scale(kind, 0.0, 1.0),
            Scale::Log if largest > 0.0 => {
                scale(kind, 10.0_f32.powi(largest.log10().ceil() as i32 - LOG_DECADES), largest)
            }
            _ if least == largest => scale(Scale::Linear, 0.0, 1.0),
            _ => scale(Scale::Linear, least, largest),
        }
    }

    /// The same scale, whose numbers are called `words`: a number about a map, such as a distance of two.
    pub fn called(self, words: &'static str) -> ColorScale {
        ColorScale { words: Some(words), ..self }
    }

    /// What the numbers are.
    pub fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// What the numbers are, in words.
    pub(super) fn words(&self) -> &'static str {
        self.words.unwrap_or(self.quantity.words())
    }

    /// The largest number of the scale; where numbers have either sign, −`high` is the least.
    pub fn high(&self) -> f32 {
        self.high
    }

    /// Where `number` lies between the two ends of the colours, clamped to 0 ..= 1; with either sign, 0 lies at 0.5.
    pub fn fraction(&self, number: f32) -> f32 {
        if !self.quantity.is_signed() {
            return self.share(number);
        }
        let half = 0.5 * self.share(number.abs());
        if number < 0.0 { 0.5 - half } else { 0.5 + half }
    }

    /// How far from the low to the high end; clamped to 0 ..= 1.
    fn share(&self, number: f32) -> f32 {
        let share = match self.kind {
            Scale::Log if number <= self.low => 0.0,
            Scale::Log => (number / self.low).ln() / (self.high / self.low).ln(),
            _ => (number - self.low) / (self.high - self.low),
        };
        share.clamp(0.0, 1.0)
    }

    /// Whether each row is divided by its own largest number.
    pub(super) fn divides_rows(&self) -> bool {
        self.kind == Scale::Row
    }

    /// A number's size, by which the largest of several is found: with either sign, its distance from 0.
    pub(super) fn size(&self, number: f32) -> f32 {
        if self.quantity.is_signed() { number.abs() } else { number }
    }

    /// How far a palette's index is from that of 0.
    pub(super) fn strength(&self, index: u8) -> u8 {
        match index {
            MISSING => MISSING,
            _ if self.quantity.is_signed() => index.abs_diff(LAST / 2).saturating_mul(2),
            _ => index,
        }
    }

    /// The palette's index for each number of a row.
    pub(super) fn indices<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = u8> + 'a {
        let sizes = row.iter().copied().filter(|number| number.is_finite()).map(|number| self.size(number));
        let divisor = if self.kind == Scale::Row { sizes.fold(0.0, f32::max) } else { 1.0 };
        let divisor = if divisor > 0.0 { divisor } else { 1.0 };
        row.iter().map(move |&number| {
            if number.is_finite() { rounded(self.fraction(number / divisor) * f32::from(LAST)) } else { MISSING }
        })
    }

    /// Places along the colour bar with their numbers, from low to high.
    fn ticks(&self) -> Vec<(f32, String)> {
        let largest = if self.kind == Scale::Row { "the row's largest".to_owned() } else { number(self.high) };
        if self.quantity.is_signed() {
            let middle =
                if self.kind == Scale::Log { format!("within ±{}", number(self.low)) } else { "0".to_owned() };
            return vec![(0.0, format!("−{largest}")), (0.5, middle), (1.0, largest)];
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
        ticks.push((1.0, largest));
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

    fn kind_in_words(&self) -> &'static str {
        match self.kind {
            Scale::Linear => "linear",
            Scale::Log => "logarithmic",
            Scale::Row => "each row divided by its largest",
        }
    }
}

/// The colour scales of a figure of several panels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scales {
    /// One for all panels: colours compare across panels.
    Shared(ColorScale),
    /// Each panel has its own, made as this one is; the picture says so. The scale in it holds all panels.
    Own(ColorScale),
}

impl Scales {
    /// The scales of `panels`. Where each row is divided by its own largest number, one scale holds for all.
    pub fn of<'a>(
        panels: impl IntoIterator<Item = &'a Panel, IntoIter: Clone>,
        kind: Scale,
        choice: PanelScale,
    ) -> Scales {
        let scale = ColorScale::of(panels, kind);
        match choice {
            PanelScale::Own if kind != Scale::Row => Scales::Own(scale),
            _ => Scales::Shared(scale),
        }
    }

    /// The same scales, whose numbers are called `words`, as [`ColorScale::called`].
    pub fn called(self, words: &'static str) -> Scales {
        match self {
            Scales::Shared(scale) => Scales::Shared(scale.called(words)),
            Scales::Own(scale) => Scales::Own(scale.called(words)),
        }
    }

    /// The scale of one of the panels.
    pub(super) fn of_panel(&self, panel: &Panel) -> ColorScale {
        match self {
            Scales::Shared(scale) => *scale,
            Scales::Own(all) => ColorScale::over(panel.weights(), all.quantity, all.kind),
        }
    }

    /// Whether next to nothing of a panel would be seen: fewer than one in 200 of its numbers reach a tenth of its scale.
    pub fn is_dim(&self, panel: &Panel) -> bool {
        let scale = self.of_panel(panel);
        if scale.divides_rows() {
            return false;
        }
        let is_seen = |number: &f32| scale.size(scale.fraction(*number) - scale.fraction(0.0)) >= 0.1;
        200 * panel.weights().iter().filter(|number| is_seen(number)).count() < panel.weights().len()
    }

    /// The scale that holds all panels.
    pub(super) fn whole(&self) -> &ColorScale {
        let (Scales::Shared(scale) | Scales::Own(scale)) = self;
        scale
    }

    /// Whether each panel has its own.
    pub(super) fn are_own(&self) -> bool {
        matches!(self, Scales::Own(_))
    }

    /// Places along the colour bar with their numbers, from low to high.
    pub(super) fn ticks(&self, n_panels: usize) -> Vec<(f32, String)> {
        let largest = "the panel's largest";
        match self {
            Scales::Own(scale) if n_panels > 1 && scale.quantity.is_signed() => {
                vec![(0.0, format!("−{largest}")), (0.5, "0".to_owned()), (1.0, largest.to_owned())]
            }
            Scales::Own(scale) if n_panels > 1 && scale.kind == Scale::Log => {
                vec![(0.0, format!("≤ {} of it", number(10.0_f32.powi(1 - LOG_DECADES)))), (1.0, largest.to_owned())]
            }
            Scales::Own(_) if n_panels > 1 => vec![(0.0, "0".to_owned()), (1.0, largest.to_owned())],
            _ => self.whole().ticks(),
        }
    }

    /// What is measured and how it becomes a colour, in words.
    pub(super) fn words(&self, n_panels: usize) -> String {
        let scale = self.whole();
        let (quantity, kind) = (scale.words(), scale.kind_in_words());
        match self {
            _ if n_panels < 2 || scale.kind == Scale::Row => format!("{quantity}; {kind}"),
            Scales::Shared(_) => format!("{quantity}; {kind}, one scale for all panels"),
            Scales::Own(_) => {
                format!("{quantity}; {kind}, each panel has its own scale: colours do not compare across panels")
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

/// The nearest whole number, halves upwards, of one in 0 ..= 254: `f32::round` calls a library on plain processors.
fn rounded(number: f32) -> u8 {
    let whole = number as u8;
    whole + u8::from(number - f32::from(whole) >= 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(kind: Scale, numbers: &[f32]) -> ColorScale {
        ColorScale::over(numbers, Quantity::Weight, kind)
    }

    #[test]
    fn a_uniform_head_has_one_colour_below_the_top_of_a_shared_scale() {
        let scale = weights(Scale::Linear, &[0.25, 0.25, 1.0]);
        assert_eq!(scale.indices(&[0.25; 4]).collect::<Vec<_>>(), vec![64; 4]);
    }

    #[test]
    fn what_is_no_number_gets_the_colour_of_the_missing() {
        let scale = weights(Scale::Linear, &[f32::NAN, f32::INFINITY, 0.5]);
        assert_eq!(scale.indices(&[f32::NAN, f32::INFINITY, 0.5, 0.0]).collect::<Vec<_>>(), vec![255, 255, 254, 0]);
    }

    #[test]
    fn ticks_begin_at_zero_and_end_at_the_largest_weight() {
        let texts = |scale: ColorScale| scale.ticks().into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(texts(weights(Scale::Linear, &[0.934])), ["0", "0.25", "0.5", "0.75", "0.934"]);
        assert_eq!(texts(weights(Scale::Log, &[0.5])), ["≤ 0.0001", "0.001", "0.01", "0.1", "0.5"]);
        assert_eq!(texts(weights(Scale::Linear, &[0.0])), ["0", "0.25", "0.5", "0.75", "1"]);
    }

    #[test]
    fn zero_is_the_middle_of_a_scale_of_either_sign_and_equal_sizes_are_equally_far_from_it() {
        for kind in Scale::ALL {
            let row = [-0.02, 0.0, 0.02, 0.2, -0.2];
            let scale = ColorScale::over(&row, Quantity::Difference, kind);
            let indices: Vec<u8> = scale.indices(&row).collect();
            assert_eq!(indices[1], LAST / 2, "{}", kind.name());
            assert_eq!((indices[3], indices[4]), (LAST, 0), "{}", kind.name());
            assert_eq!(u16::from(indices[0]) + u16::from(indices[2]), u16::from(LAST), "{}", kind.name());
        }
        let scale = ColorScale::over(&[-0.2, 0.1], Quantity::Effect, Scale::Linear);
        assert_eq!(scale.ticks().into_iter().map(|tick| tick.1).collect::<Vec<_>>(), ["−0.2", "0", "0.2"]);
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
