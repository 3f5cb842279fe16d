//! How alike two rankings of the same things are.

/// Spearman's rank correlation of two lists of numbers: 1 when both rank alike, −1 when one ranks as the other does backwards, near
/// 0 when they have nothing to do with each other. Equal numbers share the mean of their ranks. `None` with fewer than two
/// things, a number that is not finite, or a list whose numbers are all equal.
pub fn rank_correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() || a.len() < 2 || a.iter().chain(b).any(|x| !x.is_finite()) {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() + 1) as f64 / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    (scale > 0.0).then(|| product(&a, &b) / scale)
}

/// The rank of each number, the smallest 1; equal ones share the mean of theirs.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|x, y| numbers[*x].total_cmp(&numbers[*y]));
    let mut ranks = vec![0.0; numbers.len()];
    for alike in order.chunk_by(|x, y| numbers[*x] == numbers[*y]) {
        // first and last place of the equal ones, counted from 1
        let before = order.partition_point(|place| numbers[*place] < numbers[alike[0]]);
        let rank = before as f64 + (alike.len() + 1) as f64 / 2.0;
        alike.iter().for_each(|place| ranks[*place] = rank);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rankings_that_agree_have_1_and_reversed_ones_minus_1() {
        assert_eq!(rank_correlation(&[1.0, 5.0, 9.0], &[0.1, 0.2, 40.0]), Some(1.0));
        assert_eq!(rank_correlation(&[1.0, 5.0, 9.0], &[3.0, 2.0, -1.0]), Some(-1.0));
    }

    #[test]
    fn equal_numbers_share_their_ranks_as_worked_out_by_hand() {
        // ranks 1, 2½, 2½, 4 and 1, 2, 3, 4: Σ = 4½, 4½ and 5; 4½ / √(4½ · 5)
        let found = rank_correlation(&[0.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]).expect("a correlation");
        assert!((found - 4.5 / 22.5_f64.sqrt()).abs() < 1e-12, "{found}");
    }

    #[test]
    fn what_cannot_be_ranked_has_none() {
        assert_eq!(rank_correlation(&[1.0], &[2.0]), None);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[2.0, 3.0]), None);
        assert_eq!(rank_correlation(&[1.0, f64::NAN], &[2.0, 3.0]), None);
    }
}
