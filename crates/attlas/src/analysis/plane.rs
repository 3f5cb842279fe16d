//! Many distances in one plane: classical multidimensional scaling.

/// Steps of the power iteration at most, and the change of the vector below which it ends.
const MAX_STEPS: usize = 5000;
const ENOUGH: f64 = 1e-12;

/// Points in the plane whose distances come as near to given ones as those of any projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Around their centre at (0, 0), in the unit of the distances; the first direction is the one of the largest variance.
    pub points: Vec<[f64; 2]>,
    /// How much of the variance of all directions the plane has, in 0 ..= 1.
    pub share: f64,
}

/// The plane of squared distances, shape `[n, n]`, symmetric with zeros on its diagonal.
///
/// `B = −½ J D² J` with `J = I − 1/n` (Torgerson 1952): its two leading eigenvectors, each times the root of its eigenvalue, are
/// the coordinates, and the sum of the two eigenvalues over the trace is the share. The eigenvectors are found by power
/// iteration from fixed numbers, so the same distances give the same points; of each the coordinate of the largest size
/// is positive. Where both variances are equal, any turn of the points would be as good.
///
/// # Panics
/// When `squares` has not n² numbers.
pub fn plane(squares: &[f64], n: usize) -> Plane {
    assert_eq!(squares.len(), n * n, "the distances are n × n");
    let mut products = centred(squares, n); // [n, n]
    let trace: f64 = (0..n).map(|place| products[place * n + place]).sum();
    let mut points = vec![[0.0; 2]; n];
    let mut variance = 0.0;
    for axis in 0..2 {
        let (value, vector) = leading(&products, n);
        if value <= trace * 1e-12 {
            break; // nothing is left: all points lie on a line, or on each other
        }
        variance += value;
        let root = value.sqrt();
        points.iter_mut().zip(&vector).for_each(|(point, share)| point[axis] = root * share);
        for row in 0..n {
            for column in 0..n {
                products[row * n + column] -= value * vector[row] * vector[column];
            }
        }
    }
    Plane { points, share: if trace > 0.0 { (variance / trace).clamp(0.0, 1.0) } else { 1.0 } }
}

/// `−½ J D² J`: what is left of each squared distance without the means of its row, its column and all. Shape `[n, n]`.
fn centred(squares: &[f64], n: usize) -> Vec<f64> {
    let count = n.max(1) as f64;
    let means: Vec<f64> = squares.chunks(n.max(1)).map(|row| row.iter().sum::<f64>() / count).collect(); // [n]
    let mean = means.iter().sum::<f64>() / count;
    let product = |cell: usize| -0.5 * (squares[cell] - means[cell / n] - means[cell % n] + mean);
    (0..n * n).map(product).collect()
}

/// The largest eigenvalue of a symmetric matrix that has no negative one, and its vector of length 1.
fn leading(matrix: &[f64], n: usize) -> (f64, Vec<f64>) {
    // no two are alike, so that none of the usual vectors is at a right angle to them
    let start = |place: usize| ((place + 1) as f64 * 0.618_033_988_749_895).fract() - 0.4;
    let mut vector: Vec<f64> = (0..n).map(start).collect();
    let mut value = 0.0;
    for _ in 0..MAX_STEPS {
        let image: Vec<f64> = matrix.chunks(n.max(1)).map(|row| dot(row, &vector)).collect();
        value = dot(&image, &image).sqrt();
        if value <= 0.0 {
            return (0.0, vector);
        }
        let next: Vec<f64> = image.iter().map(|number| number / value).collect();
        let change = next.iter().zip(&vector).map(|(new, old)| (new - old).abs()).fold(0.0, f64::max);
        vector = next;
        if change < ENOUGH {
            break;
        }
    }
    let mut largest = 0.0_f64;
    for number in &vector {
        // a hair's breadth more, so that of two of one size the first is taken on every machine
        if number.abs() > largest.abs() * (1.0 + 1e-9) {
            largest = *number;
        }
    }
    if largest < 0.0 {
        vector.iter_mut().for_each(|number| *number = -*number);
    }
    (value, vector)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(points: &[[f64; 3]]) -> Vec<f64> {
        let square = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
        points.iter().flat_map(|a| points.iter().map(move |b| square(a, b))).collect()
    }

    #[test]
    fn points_of_a_plane_come_back_with_their_distances() {
        let points = [[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [4.0, 3.0, 1.0], [1.0, 5.0, 1.0]];
        let wanted = squares(&points);
        let plane = plane(&wanted, 4);
        assert!((plane.share - 1.0).abs() < 1e-9);
        let found: Vec<[f64; 3]> = plane.points.iter().map(|[x, y]| [*x, *y, 0.0]).collect();
        for (found, wanted) in squares(&found).iter().zip(&wanted) {
            assert!((found - wanted).abs() < 1e-8, "{plane:?}");
        }
        for axis in 0..2 {
            let largest = plane.points.iter().map(|point| point[axis]).max_by(|a, b| a.abs().total_cmp(&b.abs()));
            assert!(largest.is_some_and(|largest| largest > 0.0), "the sign is fixed: {plane:?}");
        }
    }

    #[test]
    fn a_cross_of_three_axes_shows_the_two_longer_ones_and_their_share() {
        let points =
            [[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, -2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]];
        let plane = plane(&squares(&points), 6);
        // variances 18, 8 and 2
        assert!((plane.share - 26.0 / 28.0).abs() < 1e-9, "{}", plane.share);
        assert!((plane.points[0][0].abs() - 3.0).abs() < 1e-6 && (plane.points[2][1].abs() - 2.0).abs() < 1e-6);
        assert!(plane.points[4].iter().all(|number| number.abs() < 1e-6));
    }

    #[test]
    fn points_that_are_all_one_stay_there() {
        let plane = plane(&[0.0; 9], 3);
        assert_eq!((plane.share, plane.points), (1.0, vec![[0.0; 2]; 3]));
        assert_eq!(super::plane(&[0.0], 1).points, [[0.0, 0.0]]);
        assert!(super::plane(&[], 0).points.is_empty());
    }
}
