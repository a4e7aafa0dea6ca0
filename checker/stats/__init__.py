"""Statistics as plain functions of arrays: no I/O, no clock, no SQL, and randomness only from a given seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""An array of 64-bit floats."""
