"""How are images resized?  Nearest, linear and cubic interpolation along each axis, with ONNX's names for the choices.

Source: ONNX operator Resize, https://onnx.ai/onnx/operators/onnx__Resize.html.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, format_dim
from .elementwise import add, multiply
from .linear_algebra import LETTERS, contract
from .manipulation import repeat, reshape, take_constant
from .operands import Array, as_array, as_floating, as_shape, cast, dtype_of, shape_text
from .tracer import shape_error

COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDING = {"round_prefer_floor": lambda x: np.ceil(x - 0.5), "round_prefer_ceil": lambda x: np.floor(x + 0.5),
            "floor": np.floor, "ceil": np.ceil}
TAPS_LIMIT = 4  # more elements than these for one result are a contraction with a matrix of weights


def resize(x, shape: Sequence[Dim], /, method: str = "linear", *, coordinates: str = "half_pixel",
           rounding: str = "round_prefer_floor", scales: Sequence[float] | None = None, antialias: bool = False,
           cubic_coefficient: float = -0.75, exclude_outside: bool = False) -> Array:
    """x interpolated to `shape` (of the same rank; axes that keep their extent are left alone).

    `method` is "nearest", "linear" or "cubic". `coordinates` says where a result's element lies in x: "half_pixel",
    "half_pixel_symmetric", "pytorch_half_pixel", "align_corners" or "asymmetric"; `rounding`, for nearest:
    "round_prefer_floor", "round_prefer_ceil", "floor" or "ceil". `scales` are the exact factors where extents were
    rounded. `antialias` widens the filter when shrinking. `exclude_outside` ignores elements outside x in place of
    repeating the edge.
    """
    x, shape = as_array(x), as_shape(shape)
    if len(shape) != len(x.shape):
        raise shape_error(f"resize of shape {shape_text(x.shape)} to {shape_text(shape)}: ranks differ")
    if method not in ("nearest", "linear", "cubic"):
        raise shape_error(f"resize has no method {method!r}", hint="nearest, linear or cubic")
    if coordinates not in COORDINATES:
        raise shape_error(f"resize has no coordinates {coordinates!r}", hint=", ".join(COORDINATES))
    if rounding not in ROUNDING:
        raise shape_error(f"resize has no rounding {rounding!r}", hint=", ".join(ROUNDING))
    dtype = dtype_of(x)
    if method != "nearest":
        x = as_floating(x)
        dtype = dtype_of(x)
        x = cast(x, dtype.compute)
    for axis, (before, after) in enumerate(zip(x.shape, shape)):
        scale = None if scales is None else float(scales[axis])
        if before == after and scale in (None, 1.0):
            continue
        if isinstance(before, DimExpr) or isinstance(after, DimExpr):
            raise shape_error(f"resize of axis {axis} from {format_dim(before)} to {format_dim(after)}: extents must "
                              f"be known",
                              hint="repeat elements with lm.repeat, or give the axis a constant extent")
        if before == 0 or after == 0:
            raise shape_error(f"resize of axis {axis} from {before} to {after} elements")
        scale = after / before if scale is None else scale
        at = positions(before, after, scale, coordinates)
        if method == "nearest":
            x = _nearest(x, axis, np.clip(ROUNDING[rounding](at), 0, before - 1).astype(np.int64))
        else:
            support = min(scale, 1.0) if antialias else 1.0
            places, weights = taps(at, before, method, support, cubic_coefficient, exclude_outside)
            x = _weighted(x, axis, places, weights)
    return cast(x, dtype)


def positions(before: int, after: int, scale: float, coordinates: str) -> np.ndarray:
    """Where each of the `after` elements lies among the `before` ones (float64)."""
    i = np.arange(after, dtype=np.float64)
    if coordinates == "asymmetric":
        return i / scale
    if coordinates == "align_corners":
        return i * (before - 1) / (after - 1) if after > 1 else np.zeros(after)
    if coordinates == "pytorch_half_pixel" and after == 1:
        return np.zeros(after)
    at = (i + 0.5) / scale - 0.5
    if coordinates == "half_pixel_symmetric":
        at += before / 2 * (1 - after / (before * scale))
    return at


def taps(at: np.ndarray, extent: int, method: str, support: float, a: float, exclude_outside: bool):
    """The elements that each result reads, and their weights: two arrays [results, taps]."""
    radius = (1.0 if method == "linear" else 2.0) / support
    first = np.floor(at - radius).astype(np.int64) + 1
    places = first[:, None] + np.arange(int(np.ceil(2 * radius)))
    distance = np.abs(places - at[:, None]) * support
    if method == "linear":
        weights = np.maximum(0.0, 1.0 - distance)
    else:  # the cubic convolution kernel: Keys, 1981
        near = ((a + 2) * distance - (a + 3)) * distance ** 2 + 1
        far = ((distance - 5) * distance + 8) * distance * a - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    if exclude_outside or support != 1.0:
        weights = np.where((places >= 0) & (places < extent), weights, 0.0) if exclude_outside else weights
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(places, 0, extent - 1), weights


def _nearest(x: Array, axis: int, places: np.ndarray) -> Array:
    extent = x.shape[axis]
    factor, rest = divmod(len(places), extent)
    if rest == 0 and np.array_equal(places, np.repeat(np.arange(extent), factor)):
        return repeat(x, factor, axis)
    return take_constant(x, places, axis)


def _weighted(x: Array, axis: int, places: np.ndarray, weights: np.ndarray) -> Array:
    dtype = dtype_of(x).numpy
    if places.shape[1] > TAPS_LIMIT:
        matrix = np.zeros((len(places), x.shape[axis]))
        np.add.at(matrix, (np.arange(len(places))[:, None], places), weights)
        letters = LETTERS[:len(x.shape)]
        return contract(x, letters, matrix.astype(dtype), "Z" + letters[axis], letters.replace(letters[axis], "Z"))
    along = [1] * len(x.shape)
    along[axis] = len(places)
    total = None
    for tap in range(places.shape[1]):
        part = multiply(take_constant(x, places[:, tap], axis), reshape(weights[:, tap].astype(dtype), along))
        total = part if total is None else add(total, part)
    return total
