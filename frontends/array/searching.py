"""Which functions find elements?  Positions of extremes, sorting, look-ups along an axis, membership, and sets of
values.

What has a shape that depends on values (nonzero, unique) works on arrays that are known, not on tracers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...compiler.core.dims import Dim, bounds, format_dim
from ...compiler.core.dtypes import int32, int64
from ...compiler.ops.constant import Iota
from ...compiler.ops.gather import Take, TakeAlong
from ...compiler.ops.reduce import ArgReduce
from ...compiler.ops.sort import Sort
from .elementwise import add, eager_only, equal, less, less_equal, logical_not, where
from .manipulation import expand_dims, ravel, reshape, slice_axis
from .operands import (Array, as_array, as_operand, broadcast, broadcast_shapes, cast, dtype_of, in_trace,
                       normalize_axis, result_dtype, shape_text)
from .reduction import any as any_of
from .reduction import sum as total
from .tracer import Tracer, dtype_error, emit, shape_error


# ---- positions -------------------------------------------------------------------------------------------------------
def argmax(x, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The position (int64) of the largest element along `axis`, or in the flattened array: the first one, NaN counts as
    largest."""
    return _position("max", x, axis, keepdims)


def argmin(x, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The position (int64) of the smallest element along `axis`, or in the flattened array: the first one, NaN counts
    as smallest."""
    return _position("min", x, axis, keepdims)


def _position(kind: str, x, axis, keepdims: bool) -> Array:
    x = as_array(x)
    rank = len(x.shape)
    if axis is None:
        found = emit(ArgReduce(kind, 0), ravel(x))
        return reshape(found, (1,) * rank) if keepdims else found
    axis = normalize_axis(axis, rank)
    found = emit(ArgReduce(kind, axis), x)
    return expand_dims(found, axis) if keepdims else found


def sort(x, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """x's elements in increasing order along `axis` (flattened for None), NaN last; `descending` turns it round. Always
    stable."""
    return _sorted(x, axis, descending)[0]


def argsort(x, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The positions (int64) that sort x along `axis`; equal elements keep their order in both directions."""
    return _sorted(x, axis, descending)[1]


def _sorted(x, axis, descending: bool) -> tuple[Array, Array]:
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    return emit(Sort(normalize_axis(axis, len(x.shape)), bool(descending)), x)


def topk(x, k: int, /, axis: int = -1, *, largest: bool = True) -> tuple[Array, Array]:
    """The `k` largest (or smallest) elements along `axis` in order, and their positions (int64)."""
    x = as_array(x)
    axis = normalize_axis(axis, len(x.shape))
    if bounds(x.shape[axis] - k)[0] < 0:
        raise shape_error(f"the top {k} of the {format_dim(x.shape[axis])} elements of axis {axis}",
                          hint="k is at most the extent; declare a lower bound where the extent is symbolic")
    values, positions = emit(Sort(axis, bool(largest)), x)
    return slice_axis(values, axis, 0, k), slice_axis(positions, axis, 0, k)


def searchsorted(x1, x2, /, *, side: str = "left", sorter=None) -> Array:
    """Where each element of `x2` goes into the increasing vector `x1` (int64): before equal ones ("left") or after
    ("right")."""
    if side not in ("left", "right"):
        raise shape_error(f"searchsorted has no side {side!r}", hint="left or right")
    dtype = result_dtype(x1, x2)
    x1, x2 = as_operand(x1, dtype), as_operand(x2, dtype)
    if len(x1.shape) != 1:
        raise shape_error(f"searchsorted in an array of shape {shape_text(x1.shape)}: a vector was expected")
    x1 = take(x1, sorter, axis=0) if sorter is not None else x1
    values = broadcast(expand_dims(x2, -1), (*x2.shape, x1.shape[0]))
    before = (less if side == "left" else less_equal)(x1, values)
    return total(before, axis=-1)


# ---- look-ups along an axis ------------------------------------------------------------------------------------------
def as_indices(indices, extent) -> Array:
    """`indices` as int32 or int64 counted from 0: negative ones count from the end; known ones are checked against
    `extent`."""
    indices = as_array(indices)
    dtype = dtype_of(indices)
    if not dtype.is_integer:
        if isinstance(indices, np.ndarray) and indices.size == 0:
            return indices.astype(np.int64)
        raise dtype_error(f"an index of {dtype.name}",
                          hint="indices are integers; with a mask of bool, lm.where(mask, x, other) keeps the shape")
    if dtype not in (int32, int64):
        indices = cast(indices, int64)
    if isinstance(indices, Tracer):
        counted = dtype.kind == "uint" or isinstance(indices.value.op, (ArgReduce, Iota, Sort))
        return indices if counted else _wrapped(indices, extent)
    if isinstance(extent, int):
        outside = (indices < -extent) | (indices >= extent)
        if outside.any():
            raise shape_error(f"index {indices[outside].flat[0]} is out of bounds for an axis of {extent} elements")
    return _wrapped(indices, extent) if indices.size and indices.min() < 0 else indices


def _wrapped(indices: Array, extent: Dim) -> Array:
    return where(less(indices, 0), add(indices, as_array(extent, dtype_of(indices))), indices)


def take(x, indices, /, axis: int | None = None) -> Array:
    """x's elements at `indices` (of any shape) along `axis`, of the flattened array without one.

    Negative indices count from the end. Known ones must lie within; traced ones that lie outside mean the nearest
    element.
    """
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis(axis, len(x.shape))
    return emit(Take(axis), x, as_indices(indices, x.shape[axis]))


def take_along_axis(x, indices, /, axis: int | None = -1) -> Array:
    """result[.., i, ..] = x[.., indices[.., i, ..], ..] along `axis`; the other axes broadcast. Indices as for
    `take`."""
    x, indices = as_array(x), as_array(indices)
    if axis is None:
        x, indices, axis = ravel(x), ravel(indices), 0
    if len(x.shape) != len(indices.shape):
        raise shape_error(f"take_along_axis of shapes {shape_text(x.shape)} and {shape_text(indices.shape)}: ranks "
                          f"differ")
    axis = normalize_axis(axis, len(x.shape))
    def without(shape):
        return tuple(1 if i == axis else d for i, d in enumerate(shape))
    common = broadcast_shapes(without(x.shape), without(indices.shape))
    def along(a):
        return broadcast(a, tuple(a.shape[axis] if i == axis else d for i, d in enumerate(common)),
                         in_trace(x, indices))
    return emit(TakeAlong(axis), along(x), along(as_indices(indices, x.shape[axis])))


# ---- membership ------------------------------------------------------------------------------------------------------
def isin(x, values, /, *, invert: bool = False) -> Array:
    """Whether each element of x is one of `values`."""
    x, values = as_array(x), ravel(values)
    dtype = result_dtype(x, values)
    found = any_of(equal(expand_dims(as_operand(x, dtype), -1), as_operand(values, dtype)), axis=-1)
    return logical_not(found) if invert else found


# ---- results whose shape depends on values ---------------------------------------------------------------------------
_REASON = "the shape of its result depends on the values"


def nonzero(x, /) -> tuple[np.ndarray, ...]:
    """The positions of nonzero elements, one array for each axis. Of known arrays alone."""
    return eager_only(np.nonzero, "nonzero", _REASON, as_array(x))


def argwhere(x, /) -> np.ndarray:
    """The positions of nonzero elements as rows. Of known arrays alone."""
    return eager_only(np.argwhere, "argwhere", _REASON, as_array(x))


def flatnonzero(x, /) -> np.ndarray:
    """The positions of nonzero elements in the flattened array. Of known arrays alone."""
    return eager_only(np.flatnonzero, "flatnonzero", _REASON, as_array(x))


class UniqueAll(NamedTuple):
    """What `unique_all` gives."""
    values: np.ndarray
    indices: np.ndarray
    inverse_indices: np.ndarray
    counts: np.ndarray


class UniqueCounts(NamedTuple):
    """What `unique_counts` gives."""
    values: np.ndarray
    counts: np.ndarray


class UniqueInverse(NamedTuple):
    """What `unique_inverse` gives."""
    values: np.ndarray
    inverse_indices: np.ndarray


def unique_all(x, /) -> UniqueAll:
    """The distinct elements, where each occurs first, which one each element is, how often each occurs. Known arrays
    alone."""
    return UniqueAll(*eager_only(np.unique_all, "unique_all", _REASON, as_array(x)))


def unique_counts(x, /) -> UniqueCounts:
    """The distinct elements and how often each occurs. Known arrays alone."""
    return UniqueCounts(*eager_only(np.unique_counts, "unique_counts", _REASON, as_array(x)))


def unique_inverse(x, /) -> UniqueInverse:
    """The distinct elements and which one each element is. Known arrays alone."""
    return UniqueInverse(*eager_only(np.unique_inverse, "unique_inverse", _REASON, as_array(x)))


def unique_values(x, /) -> np.ndarray:
    """The distinct elements. Known arrays alone."""
    return eager_only(np.unique, "unique_values", _REASON, as_array(x))


def unique(x, /, **options):
    """NumPy's unique. Known arrays alone."""
    return eager_only(np.unique, "unique", _REASON, as_array(x), **options)


