//! Who goes with whom: the one-to-one assignment of the least total cost.

/// For each row of a matrix of costs, shape `[n_rows, n_columns]`, its column in the assignment of the least total; with more
/// rows than columns, some rows have none.
///
/// The Hungarian method with potentials (Kuhn 1955, Munkres 1957): O(n² m) for the smaller side n and the larger m. Of
/// assignments that cost the same, always the same one. Costs must be finite.
pub(super) fn cheapest(costs: &[f64], n_rows: usize, n_columns: usize) -> Vec<Option<usize>> {
    if n_rows <= n_columns {
        return assign(n_rows, n_columns, |row, column| costs[row * n_columns + column]);
    }
    let mut columns = vec![None; n_rows];
    let rows = assign(n_columns, n_rows, |column, row| costs[row * n_columns + column]);
    for (column, row) in rows.into_iter().enumerate() {
        if let Some(slot) = row.and_then(|row| columns.get_mut(row)) {
            *slot = Some(column);
        }
    }
    columns
}

/// [`cheapest`], where there are no more rows than columns.
fn assign(n_rows: usize, n_columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<Option<usize>> {
    // column n_columns stands for none: from there each row starts its search
    let none = n_columns;
    let mut of_rows = vec![0.0; n_rows];
    let mut of_columns = vec![0.0; n_columns + 1];
    let mut row_of: Vec<Option<usize>> = vec![None; n_columns + 1];
    for start in 0..n_rows {
        row_of[none] = Some(start);
        let mut column = none;
        let mut least = vec![f64::INFINITY; n_columns]; // what it costs to reach each column
        let mut came_from = vec![none; n_columns];
        let mut is_reached = vec![false; n_columns + 1];
        // widen the reach by the cheapest column until a free one is met
        while let Some(row) = row_of[column] {
            is_reached[column] = true;
            let (mut step, mut next) = (f64::INFINITY, none);
            for other in (0..n_columns).filter(|&other| !is_reached[other]) {
                let reduced = cost(row, other) - of_rows[row] - of_columns[other];
                if reduced < least[other] {
                    (least[other], came_from[other]) = (reduced, column);
                }
                if least[other] < step {
                    (step, next) = (least[other], other);
                }
            }
            if next == none {
                break; // only where costs are no numbers
            }
            for other in 0..=n_columns {
                if is_reached[other] {
                    of_columns[other] -= step;
                    row_of[other].iter().for_each(|&row| of_rows[row] += step);
                } else {
                    least[other] -= step;
                }
            }
            column = next;
        }
        // hand the rows along the way back over
        while column != none {
            let before = came_from[column];
            row_of[column] = row_of[before];
            column = before;
        }
    }
    let mut columns = vec![None; n_rows];
    for (column, row) in row_of[..n_columns].iter().enumerate() {
        row.iter().for_each(|&row| columns[row] = Some(column));
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_least_and_not_each_row() {
        // row 0 would take column 0 (1), but then row 1 pays 9: together 1 + 9 over 2 + 2
        assert_eq!(cheapest(&[1.0, 2.0, 2.0, 9.0], 2, 2), [Some(1), Some(0)]);
        let costs = [4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0];
        assert_eq!(cheapest(&costs, 3, 3), [Some(1), Some(0), Some(2)]); // 1 + 2 + 2
    }

    #[test]
    fn the_larger_side_keeps_some_without_a_partner() {
        assert_eq!(cheapest(&[5.0, 1.0, 9.0, 1.0, 0.5, 9.0], 2, 3), [Some(1), Some(0)]);
        assert_eq!(cheapest(&[5.0, 1.0, 9.0], 3, 1), [None, Some(0), None]);
        assert_eq!(cheapest(&[], 2, 0), [None, None]);
        assert!(cheapest(&[], 0, 2).is_empty());
    }

    #[test]
    fn no_other_order_of_five_costs_less() {
        let mut state = 3_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / 1e6
        };
        for _ in 0..50 {
            let costs: Vec<f64> = (0..25).map(|_| random()).collect();
            let total = |columns: &[usize]| -> f64 { columns.iter().enumerate().map(|(r, c)| costs[r * 5 + c]).sum() };
            let found: Vec<usize> = cheapest(&costs, 5, 5).into_iter().flatten().collect();
            let mut least = f64::INFINITY;
            for code in 0..3125_usize {
                let columns: Vec<usize> = (0..5).map(|place| code / 5_usize.pow(place) % 5).collect();
                if (0..5).all(|column| columns.contains(&column)) {
                    least = least.min(total(&columns));
                }
            }
            assert!((total(&found) - least).abs() < 1e-9, "{found:?}");
        }
    }
}
