//! Colours that all eyes tell apart (Okabe & Ito 2008), without black.

use super::Rgb;

pub const BLUE: Rgb = Rgb([0, 114, 178]);
pub const VERMILLION: Rgb = Rgb([213, 94, 0]);
pub const GREEN: Rgb = Rgb([0, 158, 115]);
pub const PURPLE: Rgb = Rgb([204, 121, 167]);
pub const ORANGE: Rgb = Rgb([230, 159, 0]);
pub const SKY: Rgb = Rgb([86, 180, 233]);
pub const YELLOW: Rgb = Rgb([240, 228, 66]);
