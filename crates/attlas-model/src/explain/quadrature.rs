//! Integrals from 0 to 1 by Gauss–Legendre quadrature.

/// Places in 0 ..= 1, rising, and what each counts: `∫₀¹ f ≈ Σ weight · f(place)`, exact for polynomials of a degree below
/// `2 n`. The places are the roots of the Legendre polynomial `P_n`, found by Newton's method.
pub(crate) fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let of = |index: usize| {
        let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (n as f64 + 0.5)).cos(); // near the root
        for _ in 0..100 {
            let (value, slope) = legendre(n, x);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        let (_, slope) = legendre(n, x);
        (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).rev().map(of).collect()
}

/// `P_n(x)` and its derivative, by the recurrence `(k + 1) P_{k+1} = (2k + 1) x P_k − k P_{k−1}`.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (0.0, 1.0);
    for k in 0..n {
        let k = k as f64;
        let next = ((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0);
        (before, value) = (value, next);
    }
    (value, n as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_places_are_those_of_the_textbook() {
        let found = gauss_legendre(3);
        let far = 0.5 * 0.6_f64.sqrt();
        let expected = [(0.5 - far, 5.0 / 18.0), (0.5, 8.0 / 18.0), (0.5 + far, 5.0 / 18.0)];
        for ((place, weight), (x, w)) in found.into_iter().zip(expected) {
            assert!((place - x).abs() < 1e-15 && (weight - w).abs() < 1e-15, "{place} {weight}");
        }
    }

    #[test]
    fn fifty_places_integrate_polynomials_and_an_exponential_to_the_last_digits() {
        let integral = |f: &dyn Fn(f64) -> f64| gauss_legendre(50).iter().map(|(x, w)| w * f(*x)).sum::<f64>();
        for degree in [0, 1, 7, 40, 99] {
            assert!((integral(&|x| x.powi(degree)) - 1.0 / f64::from(degree + 1)).abs() < 1e-14, "{degree}");
        }
        assert!((integral(&f64::exp) - (std::f64::consts::E - 1.0)).abs() < 1e-14);
    }
}
