"""Arrays from anywhere as NumPy arrays of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attlas.errors import FormatError


def numbers(array: Any) -> NDArray[np.float32]:
    """The numbers of an array of torch (any dtype and device), NumPy, or of what NumPy can read, in float32."""
    if hasattr(array, "detach"):
        array = array.detach().to("cpu").float()
    try:
        return np.asarray(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise FormatError(f"an array of numbers was expected, not {type(array).__name__}: {error}") from None
