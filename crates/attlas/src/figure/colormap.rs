//! Colour maps: perceptually uniform and colour-blind safe ones only.

use serde::Deserialize;

use super::marks::Rgb;
use super::scale::LAST;
use crate::Quantity;

/// A sequence of colours from 0 to 1, perceptually uniform, readable with colour-vision deficiency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colormap {
    /// Violet, green, yellow (van der Walt and Smith 2015).
    #[default]
    Viridis,
    /// Black, magenta, cream.
    Magma,
    /// Black, red, yellow.
    Inferno,
    /// Blue, magenta, yellow.
    Plasma,
    /// Blue, grey, yellow: the same to most colour-vision deficient eyes (Nuñez, Anderton and Renslow 2018).
    Cividis,
    /// White to black in equal steps of CIE lightness: for print.
    Greys,
    /// Blue, near-white, orange-brown: for numbers of either sign, with 0 in the middle (`tools/colormaps/diverging.py`).
    Diverging,
}

impl Colormap {
    /// All colour maps.
    pub const ALL: [Colormap; 7] = [
        Colormap::Viridis,
        Colormap::Magma,
        Colormap::Inferno,
        Colormap::Plasma,
        Colormap::Cividis,
        Colormap::Greys,
        Colormap::Diverging,
    ];

    /// The colour maps that go from dark to light or back, for numbers that are never negative.
    pub const SEQUENTIAL: [Colormap; 6] =
        [Colormap::Viridis, Colormap::Magma, Colormap::Inferno, Colormap::Plasma, Colormap::Cividis, Colormap::Greys];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Colormap::Viridis => "viridis",
            Colormap::Magma => "magma",
            Colormap::Inferno => "inferno",
            Colormap::Plasma => "plasma",
            Colormap::Cividis => "cividis",
            Colormap::Greys => "greys",
            Colormap::Diverging => "diverging",
        }
    }

    /// This map, where it suits the quantity; else [`Colormap::Diverging`] for numbers of either sign, and the default for
    /// others.
    pub fn suited_to(self, quantity: Quantity) -> Colormap {
        match (self, quantity.is_signed()) {
            (_, true) => Colormap::Diverging,
            (Colormap::Diverging, false) => Colormap::default(),
            (other, false) => other,
        }
    }

    /// The colour at `fraction`, clamped to 0 ..= 1; the lowest for a number that is none.
    pub fn color(self, fraction: f32) -> [u8; 3] {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        // 256 colours; an odd number, 255, where there is one in the middle
        let table: &[u8] = match self {
            Colormap::Viridis => include_bytes!("../../assets/colormaps/viridis.rgb"),
            Colormap::Magma => include_bytes!("../../assets/colormaps/magma.rgb"),
            Colormap::Inferno => include_bytes!("../../assets/colormaps/inferno.rgb"),
            Colormap::Plasma => include_bytes!("../../assets/colormaps/plasma.rgb"),
            Colormap::Cividis => include_bytes!("../../assets/colormaps/cividis.rgb"),
            Colormap::Greys => return grey(1.0 - (fraction * 255.0).round() / 255.0),
            Colormap::Diverging => include_bytes!("../../assets/colormaps/diverging.rgb"),
        };
        let (colors, _) = table.as_chunks::<3>();
        colors[(fraction * (colors.len() - 1) as f32).round() as usize]
    }

    /// The colour of what is no finite number: one that the map itself does not come near.
    pub fn missing(self) -> [u8; 3] {
        match self {
            Colormap::Viridis | Colormap::Cividis | Colormap::Greys => [255, 45, 85],
            Colormap::Magma | Colormap::Inferno | Colormap::Plasma => [0, 194, 255],
            Colormap::Diverging => [120, 255, 0],
        }
    }

    /// Steps 0 to [`LAST`] of the map, then [`missing`](Self::missing): what a cell's index means.
    pub(super) fn palette(self) -> Vec<Rgb> {
        let steps = (0..=LAST).map(|step| Rgb(self.color(f32::from(step) / f32::from(LAST))));
        steps.chain([Rgb(self.missing())]).collect()
    }
}

/// The grey of CIE lightness `100 · fraction`.
fn grey(fraction: f32) -> [u8; 3] {
    let lightness = 100.0 * fraction;
    let luminance = if lightness > 8.0 { ((lightness + 16.0) / 116.0).powi(3) } else { lightness / 903.3 };
    let encoded = if luminance > 0.0031308 { 1.055 * luminance.powf(1.0 / 2.4) - 0.055 } else { 12.92 * luminance };
    [(encoded * 255.0).round().clamp(0.0, 255.0) as u8; 3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viridis_begins_violet_and_ends_yellow() {
        assert_eq!(Colormap::Viridis.color(0.0), [68, 1, 84]);
        assert_eq!(Colormap::Viridis.color(1.0), [253, 231, 37]);
        assert_eq!(Colormap::Viridis.color(f32::NAN), [68, 1, 84]);
    }

    #[test]
    fn the_diverging_map_is_without_hue_in_its_middle_and_darkens_alike_on_both_sides() {
        let map = Colormap::Diverging;
        let lightness = |[r, g, b]: [u8; 3]| 0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b);
        let palette = map.palette();
        assert_eq!((map.color(0.5), palette[127]), ([246; 3], Rgb([246; 3])));
        for step in 1..=127_usize {
            let [low, high] = [127 - step, 127 + step].map(|place| palette[place].0);
            assert!(low[2] > low[0] && high[0] > high[2], "blue below, orange above");
            assert!(
                lightness(low) <= lightness(palette[128 - step].0) && (lightness(low) - lightness(high)).abs() < 12.0
            );
        }
    }

    #[test]
    fn every_other_map_changes_its_lightness_in_one_direction() {
        let lightness = |[r, g, b]: [u8; 3]| 2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b);
        for map in Colormap::SEQUENTIAL {
            let steps: Vec<i64> = (0..=16).map(|step| i64::from(lightness(map.color(step as f32 / 16.0)))).collect();
            let sign = (steps[16] - steps[0]).signum();
            assert!(steps.windows(2).all(|pair| (pair[1] - pair[0]) * sign > 0), "{}", map.name());
        }
    }
}
