//! Student's t: how much wider an interval must be when few scores say how much they scatter.

/// The 97.5 % quantile for 1 to 10 degrees of freedom.
const FEW: [f64; 10] = [
    12.706_204_736,
    4.302_652_730,
    3.182_446_305,
    2.776_445_105,
    2.570_581_836,
    2.446_911_851,
    2.364_624_252,
    2.306_004_135,
    2.262_157_163,
    2.228_138_852,
];

/// The number of standard errors on either side of a mean that hold 95 %, for so many degrees of freedom.
///
/// Beyond the table by the expansion about the normal quantile (Abramowitz & Stegun 1964, 26.7.5), right to 1e-5.
pub fn t_95(degrees_of_freedom: u64) -> f64 {
    const Z: f64 = 1.959_963_984_540_054; // the normal distribution's 97.5 % quantile
    if let Some(t) = degrees_of_freedom.checked_sub(1).and_then(|index| FEW.get(index as usize)) {
        return *t;
    }
    let power = |exponent| Z.powi(exponent);
    let terms = [
        (power(3) + Z) / 4.0,
        (5.0 * power(5) + 16.0 * power(3) + 3.0 * Z) / 96.0,
        (3.0 * power(7) + 19.0 * power(5) + 17.0 * power(3) - 15.0 * Z) / 384.0,
        (79.0 * power(9) + 776.0 * power(7) + 1482.0 * power(5) - 1920.0 * power(3) - 945.0 * Z) / 92_160.0,
    ];
    let per_degree = 1.0 / degrees_of_freedom.max(1) as f64;
    Z + terms.iter().rev().fold(0.0, |sum, term| (sum + term) * per_degree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees_of_freedom, t) in [
            (1, 12.706_205),
            (4, 2.776_445),
            (10, 2.228_139),
            (11, 2.200_985),
            (12, 2.178_813),
            (20, 2.085_963),
            (30, 2.042_272),
            (120, 1.979_930),
            (1_000_000, 1.959_966),
        ] {
            assert!((t_95(degrees_of_freedom) - t).abs() < 1e-5, "{degrees_of_freedom}: {}", t_95(degrees_of_freedom));
        }
    }
}
