//! Intervals of a share of rows that are right or wrong: as wide as chance makes them also where all rows agree.

/// The normal distribution's 97.5 % quantile.
const Z_95: f64 = 1.959_963_984_540_054;

/// The 95 % interval of a share of `n` rows, taken as independent (Wilson 1927): a share of 0 or 1 has one of some width, too,
/// which Student's t does not give it.
pub fn interval_of_share(share: f64, n: u64) -> (f64, f64) {
    interval_at(share, n, Z_95)
}

/// The same, as many standard errors wide as `z` says.
pub(super) fn interval_at(share: f64, n: u64, z: f64) -> (f64, f64) {
    let (share, n) = (share.clamp(0.0, 1.0), n as f64);
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let width = 1.0 + z * z / n;
    // rounding may put an end on the wrong side of the share by a hair
    (((middle - half) / width).max(0.0).min(share), ((middle + half) / width).max(share).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        // 8 of 10: (0.8 + 0.19207 ± 1.95996 · √(0.016 + 0.0096037)) / 1.384146
        let (low, high) = interval_of_share(0.8, 10);
        assert!((low - 0.490_16).abs() < 1e-5 && (high - 0.943_32).abs() < 1e-5, "{low} {high}");
        let (low, high) = interval_of_share(1.0, 20);
        assert!((low - 0.838_87).abs() < 1e-5 && high == 1.0, "{low} {high}");
        let (low, high) = interval_of_share(0.0, 24);
        assert!(low == 0.0 && (high - 0.137_98).abs() < 1e-5, "{low} {high}");
    }
}
