"""Which arrays are operators tried on?  Small random ones of every dtype, always the same, and the special floats."""

from __future__ import annotations

import numpy as np

from ..core.dtypes import as_dtype

#: Floats at which rules tend to break.
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-42, 3.4e38, 2.5)


def draw(dtype, *shape: int, seed: int = 0, low: float = -4.0, high: float = 4.0) -> np.ndarray:
    """An array of `shape`: floats uniform in low..high, integers in about the dtype's small range, bools."""
    dtype = as_dtype(dtype)
    rng = np.random.default_rng((seed, *shape, dtype.bits))
    if dtype.is_float:
        return rng.uniform(low, high, shape).astype(dtype.numpy)
    if dtype.is_bool:
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if dtype.kind == "uint" else -100, 101, shape).astype(dtype.numpy)


def draw_special(dtype, *shape: int, seed: int = 0) -> np.ndarray:
    """Floats of `shape` in which every third element is NaN, an infinity, a zero of either sign, a denormal or huge."""
    array = draw(dtype, *shape, seed=seed)
    flat = array.reshape(-1)
    with np.errstate(over="ignore"):
        flat[::3] = np.resize(np.array(SPECIAL), flat[::3].shape).astype(array.dtype)
    return array
