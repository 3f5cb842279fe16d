//! How broadly a query looks: entropy and confidence.

use super::{Row, Sample};

/// Shannon entropy of a row, in nats.
///
/// `H(q) = −Σ_k w(q,k) ln w(q,k)`: 0 when a query looks at one key, `ln(n_visible)` when it looks at all alike
/// (Clark et al. 2019, §3.3, without their smoothing). Mass that a sink takes is not part of it.
pub fn entropy(row: &Row<'_>) -> f64 {
    row.entropy()
}

/// Entropy of a row over the largest it could have, `H(q) / ln(n_visible(q))`, in 0 ..= 1.
///
/// `None` where a query may look at fewer than two keys. A causal map's early rows see few keys: without this
/// division they look focused whatever the head does.
pub fn normalized_entropy(row: &Row<'_>) -> Option<f64> {
    match row.n_visible() {
        0 | 1 => None,
        _ => Some(entropy(row) / row.largest_entropy()),
    }
}

/// The same of a row that sees five keys or more; of few keys, a head that has learnt nothing looks broad.
pub(super) fn broad_sample(row: &Row<'_>) -> Option<Sample> {
    const MIN_KEYS: usize = 5;
    normalized_entropy(row).filter(|_| row.n_visible() >= MIN_KEYS).map(|score| Sample { score, baseline: 0.0 })
}

/// Entropy of a row as Clark et al. compute it, in nats: of `0.9999 w + 0.0001 / n_keys`.
///
/// For comparison with their figures only (`General_Analysis.ipynb`); padded keys are not counted in `n_keys`.
pub fn smoothed_entropy(row: &Row<'_>) -> f64 {
    let valid = row.columns.all.within(&(0..row.weights.len()));
    let smooth = |key: &usize| (0.9999 * f64::from(row.weights[*key]) + 0.0001 / valid.len() as f64) as f32;
    of_weights(&valid.iter().map(smooth).collect::<Vec<f32>>())
}

/// The largest weight of a row, in 0 ..= 1.
pub fn largest_weight(row: &Row<'_>) -> f64 {
    f64::from(row.weights.iter().copied().fold(0.0, f32::max))
}

/// Confidence: the largest weight of a row but for the end token's; `None` for the row of the end token. In 0 ..= 1; a mean
/// of about 0.8 is typical of positional heads (Voita et al. 2019, §4).
pub fn confidence(row: &Row<'_>) -> Option<f64> {
    (!row.is_end()).then(|| row.argmax_but_end().map_or(0.0, |key| f64::from(row.weights[key])))
}

/// Confidence beside what looking at all visible keys alike would give.
pub(super) fn confidence_sample(row: &Row<'_>) -> Option<Sample> {
    confidence(row).map(|score| Sample { score, baseline: 1.0 / row.n_visible().max(1) as f64 })
}

/// `−Σ w ln w` with `0 ln 0 = 0`, to 2e-7 of each term. Zeros behind the last weight change no bit of it.
///
/// With w = m · 2^e it is `−Σ (w · e) ln 2 − Σ w ln m`; both sums are kept in lanes, in f64.
pub(super) fn of_weights(weights: &[f32]) -> f64 {
    let mut sums = [[0.0_f64; LANES]; 2];
    attlas_kernels::vectorised(
        #[inline(always)]
        || {
            let (chunks, rest) = weights.as_chunks::<LANES>();
            let mut last = [0.0; LANES];
            last[..rest.len()].copy_from_slice(rest);
            for chunk in chunks.iter().chain([&last]) {
                for lane in 0..LANES {
                    let weight = if chunk[lane] > 0.0 { chunk[lane] } else { 0.0 };
                    let (exponent, log) = exponent_and_log(weight);
                    sums[0][lane] += f64::from(weight * exponent);
                    sums[1][lane] += f64::from(weight * log);
                }
            }
        },
    );
    let [exponents, logs] = sums.map(|lanes| lanes.iter().sum::<f64>());
    0.0 - (exponents * std::f64::consts::LN_2 + logs)
}

/// Weights whose entropy is taken at a time.
const LANES: usize = 16;

/// `e` and `ln m` of `x = m · 2^e` with m from √½ to √2; of 0 some finite numbers. The polynomial is that of the Cephes library's
/// `logf` (Moshier 1989), its error 1e-7.
#[inline(always)]
fn exponent_and_log(x: f32) -> (f32, f32) {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let exponent = (x.to_bits().wrapping_sub(SQRT_HALF) as i32) >> 23;
    let f = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23) as u32)) - 1.0;
    const COEFFICIENTS: [f32; 8] = [
        -0.115_146_1,
        0.116_769_99,
        -0.124_201_41,
        0.142_493_23,
        -0.166_680_58,
        0.200_007_14,
        -0.249_999_94,
        0.333_333_3,
    ];
    let polynomial = COEFFICIENTS.iter().fold(0.070_376_836, |sum: f32, coefficient| sum * f + coefficient);
    let square = f * f;
    (exponent as f32, polynomial * f * square - 0.5 * square + f)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{of_rows, recording};
    use super::*;
    use crate::analysis::Rows;
    use crate::{Kind, Token, TokenRole};

    #[test]
    fn a_uniform_row_has_the_log_of_its_keys_and_a_single_key_has_none() {
        let weights = vec![0.25, 0.25, 0.25, 0.25, 0.0, 1.0, 0.0, 0.0];
        let entropies = of_rows(Kind::Encoder, weights.clone(), 4, entropy);
        assert!((entropies[0] - 4.0_f64.ln()).abs() < 1e-9 && entropies[1] == 0.0, "{entropies:?}");
        assert_eq!(of_rows(Kind::Encoder, weights, 4, normalized_entropy), [Some(1.0), Some(0.0)]);
    }

    #[test]
    fn entropy_is_that_of_f64_and_zeros_behind_it_change_no_bit() {
        let exact = |weights: &[f32]| {
            let terms = weights.iter().map(|weight| f64::from(*weight)).filter(|weight| *weight > 0.0);
            -terms.map(|weight| weight * weight.ln()).sum::<f64>()
        };
        for n in [1, 7, 16, 17, 300] {
            let mut weights: Vec<f32> = (0..n).map(|key| 2.0_f32.powf(-((key * 37 % 61) as f32) / 1.7)).collect();
            let sum: f32 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            let found = of_weights(&weights);
            assert!((found - exact(&weights)).abs() < 1e-6, "{n}: {found}, not {}", exact(&weights));
            for n_zeros in [1, 9, 40] {
                weights.resize(n + n_zeros, 0.0);
                assert_eq!(of_weights(&weights), found);
            }
        }
        assert_eq!([of_weights(&[]), of_weights(&[1.0, 0.0])], [0.0; 2]);
    }

    #[test]
    fn a_uniform_causal_map_is_as_broad_as_can_be() {
        let third = 1.0 / 3.0;
        let weights = vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0, third, third, third];
        let found = of_rows(Kind::Decoder, weights, 3, normalized_entropy);
        assert_eq!(found[0], None);
        assert!(found[1..].iter().all(|entropy| (entropy.expect("two keys") - 1.0).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn confidence_leaves_out_the_end_tokens_row_and_its_column() {
        let mut recording = recording(Kind::Encoder, vec![0.9, 0.1, 0.0, 0.2, 0.1, 0.7, 0.0, 0.0, 1.0], 3, 3);
        let confidences = |recording: &crate::Recording| {
            let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
            Rows::of(&map).map(|row| confidence(row).map(|weight| weight as f32))
        };
        assert_eq!(confidences(&recording), [Some(0.9), Some(0.7), Some(1.0)]);
        recording.items[0].source.tokens[2] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        assert_eq!(confidences(&recording), [Some(0.9), Some(0.2), None]);
    }
}
