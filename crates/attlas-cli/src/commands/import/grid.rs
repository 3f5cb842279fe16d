//! Patches of an image on the command line: `14x14+1`.

use attlas::arrays::ImageGrid;

/// Reads rows × columns and the tokens before them: `14x14+1`, `3x4`.
pub fn parse(text: &str) -> Result<ImageGrid, String> {
    let number = |digits: &str| digits.parse::<usize>().ok().filter(|n| *n <= 1 << 16);
    let (grid, first) = text.split_once('+').unwrap_or((text, "0"));
    let sizes = grid.split_once(['x', '×']).and_then(|(rows, columns)| Some((number(rows)?, number(columns)?)));
    match (sizes, number(first)) {
        (Some((rows, columns)), Some(first)) if rows > 0 && columns > 0 => Ok(ImageGrid { rows, columns, first }),
        _ => Err("expected rows x columns and the tokens before them, such as 14x14+1, or 3x4".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_rows_by_columns_and_the_tokens_before() {
        assert_eq!(parse("14x14+1"), Ok(ImageGrid { rows: 14, columns: 14, first: 1 }));
        assert_eq!(parse("3x4"), Ok(ImageGrid { rows: 3, columns: 4, first: 0 }));
        for wrong in ["", "14", "0x4", "3x4+", "3x-4", "3x4x5", "99999999x2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
