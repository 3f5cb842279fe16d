//! Colour maps: perceptually uniform and colour-blind safe ones only.

use super::marks::Rgb;

/// A sequence of colours from 0 to 1, perceptually uniform, readable with colour-vision deficiency and in grey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}

impl Colormap {
    /// All colour maps.
    pub const ALL: [Colormap; 6] =
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
        }
    }

    /// The colour at `fraction`, clamped to 0 ..= 1; the lowest for a number that is none.
    pub fn color(self, fraction: f32) -> [u8; 3] {
        let step = (fraction.clamp(0.0, 1.0) * 255.0).round() as usize; // NaN becomes 0
        let table: &[u8; 768] = match self {
            Colormap::Viridis => include_bytes!("../../assets/colormaps/viridis.rgb"),
            Colormap::Magma => include_bytes!("../../assets/colormaps/magma.rgb"),
            Colormap::Inferno => include_bytes!("../../assets/colormaps/inferno.rgb"),
            Colormap::Plasma => include_bytes!("../../assets/colormaps/plasma.rgb"),
            Colormap::Cividis => include_bytes!("../../assets/colormaps/cividis.rgb"),
            Colormap::Greys => return grey(1.0 - step as f32 / 255.0),
        };
        [table[3 * step], table[3 * step + 1], table[3 * step + 2]]
    }

    /// The colour of what is no finite number: one that the map itself does not come near.
    pub fn missing(self) -> [u8; 3] {
        match self {
            Colormap::Viridis | Colormap::Cividis | Colormap::Greys => [255, 45, 85],
            Colormap::Magma | Colormap::Inferno | Colormap::Plasma => [0, 194, 255],
        }
    }

    /// 255 steps of the map, then [`missing`](Self::missing): what a cell's index means.
    pub(super) fn palette(self) -> Vec<Rgb> {
        let steps = (0..255).map(|step| Rgb(self.color(step as f32 / 254.0)));
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
    fn every_map_changes_its_lightness_in_one_direction() {
        let lightness = |[r, g, b]: [u8; 3]| 2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b);
        for map in Colormap::ALL {
            let steps: Vec<i64> = (0..=16).map(|step| i64::from(lightness(map.color(step as f32 / 16.0)))).collect();
            let sign = (steps[16] - steps[0]).signum();
            assert!(steps.windows(2).all(|pair| (pair[1] - pair[0]) * sign > 0), "{}", map.name());
        }
    }
}
