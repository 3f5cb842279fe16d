"""Windows of an image that are rows of a batch: which pixel each of their tokens is."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a layer cuts an image into windows, as Swin does: `height` × `width` tokens, filled up at the right and below
    to whole windows of `size` × `size`, and rolled by `shift` towards the upper left before they are cut."""

    height: int
    width: int
    size: int
    shift: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the image with what fills it up."""
        return -(-self.height // self.size) * self.size, -(-self.width // self.size) * self.size

    def image_order(self) -> np.ndarray[Any, Any]:
        """For each token of the image, row by row, where it stands among the tokens of all windows, one window after the
        other."""
        rows, columns = self.grid
        size = self.size
        row, column = np.divmod(np.arange(rows * columns), columns)
        row, column = (row - self.shift) % rows, (column - self.shift) % columns
        window = row // size * (columns // size) + column // size
        order: np.ndarray[Any, Any] = window * size**2 + row % size * size + column % size
        return order

    def labels(self) -> list[str]:
        """What each token of the image is called."""
        rows, columns = self.grid
        return [
            f"r{row}c{column}" if row < self.height and column < self.width else "pad"
            for row in range(rows)
            for column in range(columns)
        ]


def windows_of(calls: list[tuple[Any, int, Any]], n_tokens: int) -> Windows | None:
    """The windows of the layer that is running: its module tells their size and shift, and is told of the image's size.

    `calls` are the modules that are running, outermost first, with what they were called with; `n_tokens` are a window's.
    """
    for module, _, (args, kwargs) in reversed(calls):
        size, shift = getattr(module, "window_size", None), getattr(module, "shift_size", None)
        if not isinstance(size, int) or not isinstance(shift, int) or size**2 != n_tokens:
            continue
        for value in [*args, *kwargs.values()]:
            if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(one, int) for one in value):
                return Windows(value[0], value[1], size, shift)
    return None
