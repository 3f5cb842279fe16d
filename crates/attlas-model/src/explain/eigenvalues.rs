//! Eigenvalues of a small real matrix, by complex QR steps on its Hessenberg form.
//!
//! A library of linear algebra would be the larger part of a build for this one number; matrices here are as wide as a head.

use std::ops::{Add, Mul, Sub};

/// Steps for one eigenvalue after which it is given up; a few are usual.
const MOST_STEPS: usize = 100;

/// A complex number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Complex {
    pub re: f64,
    pub im: f64,
}

impl Complex {
    const ZERO: Complex = Complex { re: 0.0, im: 0.0 };

    fn real(re: f64) -> Complex {
        Complex { re, im: 0.0 }
    }

    pub fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }

    fn conjugate(self) -> Complex {
        Complex { im: -self.im, ..self }
    }

    fn scaled(self, factor: f64) -> Complex {
        Complex { re: self.re * factor, im: self.im * factor }
    }

    fn sqrt(self) -> Complex {
        let abs = self.abs();
        let (re, im) = (((abs + self.re) / 2.0).max(0.0).sqrt(), ((abs - self.re) / 2.0).max(0.0).sqrt());
        Complex { re, im: im.copysign(self.im) }
    }
}

impl Add for Complex {
    type Output = Complex;
    fn add(self, other: Complex) -> Complex {
        Complex { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for Complex {
    type Output = Complex;
    fn sub(self, other: Complex) -> Complex {
        Complex { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Mul for Complex {
    type Output = Complex;
    fn mul(self, other: Complex) -> Complex {
        Complex { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }
}

/// The eigenvalues of a matrix of shape `[n, n]`; `None` where a number in it is not finite, or they do not converge.
pub(super) fn eigenvalues(matrix: &[f64], n: usize) -> Option<Vec<Complex>> {
    if !matrix.iter().all(|x| x.is_finite()) {
        return None;
    }
    let mut form: Vec<Complex> = hessenberg(matrix, n).into_iter().map(Complex::real).collect(); // [n, n]
    let mut found = Vec::with_capacity(n);
    let (mut end, mut steps) = (n, 0); // rows from `end` on are done
    while end > 0 {
        let last = end - 1;
        let start = (1..end).rev().find(|row| is_small(&form, n, *row)).unwrap_or(0);
        if start == last {
            found.push(form[last * n + last]);
            (end, steps) = (last, 0);
            continue;
        }
        if steps == MOST_STEPS {
            return None;
        }
        // now and then another shift, which ends circles
        let shift =
            if steps % 10 == 9 { Complex::real(form[last * n + last - 1].abs()) } else { shift(&form, n, last) };
        step(&mut form, n, start..end, shift);
        steps += 1;
    }
    Some(found)
}

/// Whether the number left of the diagonal in `row` is nothing beside its neighbours.
fn is_small(form: &[Complex], n: usize, row: usize) -> bool {
    let beside = form[row * n + row].abs() + form[(row - 1) * n + row - 1].abs();
    form[row * n + row - 1].abs() <= f64::EPSILON * beside.max(f64::MIN_POSITIVE)
}

/// The eigenvalue of the last 2 × 2 block that is nearer to its last number (Wilkinson's shift).
fn shift(form: &[Complex], n: usize, last: usize) -> Complex {
    let at = |row: usize, column: usize| form[row * n + column];
    let (a, d) = (at(last - 1, last - 1), at(last, last));
    let half = (a - d).scaled(0.5);
    let root = (half * half + at(last - 1, last) * at(last, last - 1)).sqrt();
    let (one, other) = (half + root, half - root);
    d + if one.abs() < other.abs() { one } else { other }
}

/// One QR step of the rows and columns of `block`, with a shift: `H − μ = Q R`, then `R Q + μ`.
fn step(form: &mut [Complex], n: usize, block: std::ops::Range<usize>, shift: Complex) {
    for place in block.clone() {
        form[place * n + place] = form[place * n + place] - shift;
    }
    // 1. rotations of neighbouring rows make the form triangular
    let mut rotations = Vec::with_capacity(block.len());
    for row in block.start..block.end - 1 {
        let (a, b) = (form[row * n + row], form[(row + 1) * n + row]);
        let length = a.abs().hypot(b.abs());
        let (cos, sin) = match length {
            0.0 => (Complex::real(1.0), Complex::ZERO),
            _ => (a.scaled(1.0 / length), b.scaled(1.0 / length)),
        };
        for column in row..block.end {
            let (upper, lower) = (form[row * n + column], form[(row + 1) * n + column]);
            form[row * n + column] = cos.conjugate() * upper + sin.conjugate() * lower;
            form[(row + 1) * n + column] = cos * lower - sin * upper;
        }
        rotations.push((cos, sin));
    }
    // 2. the same rotations of columns, from the right
    for (column, (cos, sin)) in (block.start..).zip(rotations) {
        for row in block.start..(column + 2).min(block.end) {
            let (left, right) = (form[row * n + column], form[row * n + column + 1]);
            form[row * n + column] = left * cos + right * sin;
            form[row * n + column + 1] = right * cos.conjugate() - left * sin.conjugate();
        }
    }
    for place in block {
        form[place * n + place] = form[place * n + place] + shift;
    }
}

/// The matrix in Hessenberg form, zeros two places left of the diagonal on, by elimination with the largest pivots; the eigenvalues
/// stay. Shape `[n, n]`.
fn hessenberg(matrix: &[f64], n: usize) -> Vec<f64> {
    let mut form = matrix.to_vec(); // [n, n]
    for column in 0..n.saturating_sub(2) {
        let under = column + 1;
        let largest =
            |one: &usize, other: &usize| form[one * n + column].abs().total_cmp(&form[other * n + column].abs());
        let Some(pivot) = (under..n).max_by(largest).filter(|row| form[row * n + column] != 0.0) else { continue };
        for place in 0..n {
            form.swap(pivot * n + place, under * n + place);
        }
        for place in 0..n {
            form.swap(place * n + pivot, place * n + under);
        }
        for row in under + 1..n {
            let factor = form[row * n + column] / form[under * n + column];
            for place in column..n {
                form[row * n + place] -= factor * form[under * n + place];
            }
            for place in 0..n {
                form[place * n + under] += factor * form[place * n + row];
            }
            form[row * n + column] = 0.0;
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(matrix: &[f64]) -> Vec<Complex> {
        let mut found = eigenvalues(matrix, matrix.len().isqrt()).expect("they converge");
        found.sort_by(|a, b| a.re.total_cmp(&b.re).then(a.im.total_cmp(&b.im)));
        found
    }

    fn assert_near(found: &[Complex], expected: &[[f64; 2]]) {
        assert_eq!(found.len(), expected.len());
        for (found, [re, im]) in found.iter().zip(expected) {
            assert!((found.re - re).abs() < 1e-10 && (found.im - im).abs() < 1e-10, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn eigenvalues_of_small_matrices_are_those_by_hand() {
        assert_near(&sorted(&[2.0, 1.0, 1.0, 2.0]), &[[1.0, 0.0], [3.0, 0.0]]);
        assert_near(&sorted(&[0.0, -1.0, 1.0, 0.0]), &[[0.0, -1.0], [0.0, 1.0]]); // a quarter turn
        assert_near(&sorted(&[3.0]), &[[3.0, 0.0]]);
        assert_near(&sorted(&[0.0; 9]), &[[0.0, 0.0]; 3]);
        // a cycle of three: the roots of 1
        let (re, im) = (-0.5, 0.75_f64.sqrt());
        assert_near(&sorted(&[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), &[[re, -im], [re, im], [1.0, 0.0]]);
        assert_eq!(eigenvalues(&[f64::NAN], 1), None);
    }

    #[test]
    fn sums_of_eigenvalues_and_of_their_squares_are_traces() {
        let n = 40;
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1_u64 << 31) as f64 - 0.5
        };
        let matrix: Vec<f64> = (0..n * n).map(|_| random()).collect();
        let found = eigenvalues(&matrix, n).expect("they converge");
        let trace: f64 = (0..n).map(|row| matrix[row * n + row]).sum();
        let of_square: f64 = (0..n * n).map(|cell| matrix[cell] * matrix[cell % n * n + cell / n]).sum();
        let sum = found.iter().fold(Complex::ZERO, |sum, one| sum + *one);
        let squares = found.iter().fold(Complex::ZERO, |sum, one| sum + *one * *one);
        assert!((sum.re - trace).abs() < 1e-9 && sum.im.abs() < 1e-9, "{sum:?} {trace}");
        assert!((squares.re - of_square).abs() < 1e-9 && squares.im.abs() < 1e-9, "{squares:?} {of_square}");
    }
}
