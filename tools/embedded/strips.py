"""Matrices of int8 as they lie in the embedded weights: 16 rows side by side.

`NAME.strips` is u8 of shape [rows / 16, 4 * 16 + columns * 16]: 16 factors (f32, little-endian), then, column by column, the
numbers (i8) of the 16 rows. Needs numpy.
"""

import numpy as np

N_ROWS = 16


def side_by_side(matrix, scale):
    """Strips of an int8 matrix [rows, columns] and its scales [rows]; rows are a multiple of 16."""
    rows, columns = matrix.shape
    numbers = matrix.reshape(rows // N_ROWS, N_ROWS, columns).transpose(0, 2, 1).reshape(rows // N_ROWS, -1)
    factors = np.ascontiguousarray(scale.astype("<f4")).view(np.uint8).reshape(rows // N_ROWS, -1)
    return np.concatenate([factors, np.ascontiguousarray(numbers).view(np.uint8)], axis=1)


def apart(strips):
    """The matrix [rows, columns] and the scales [rows] of such strips."""
    factors, numbers = np.split(strips, [4 * N_ROWS], axis=1)
    matrix = np.ascontiguousarray(numbers).view(np.int8).reshape(len(strips), -1, N_ROWS).transpose(0, 2, 1)
    return matrix.reshape(len(strips) * N_ROWS, -1), np.ascontiguousarray(factors).view("<f4").reshape(-1)
