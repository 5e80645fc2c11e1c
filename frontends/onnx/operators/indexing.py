"""Reading and writing at positions that are values: gather, scatter, compress."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dtypes import int64
from ....compiler.ops import GatherNd, ScatterAlong, ScatterNd, Take, TakeAlong
from ... import array as lm
from ...array.operands import as_array, cast
from ...array.tracer import emit
from ..table import operator
from .shape import reshape_to, transposed
from .values import axis_of, choice, known

_REDUCTIONS = {"none": "set", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def wrapped(indices, extent):
    """int64 indices with negative ones counted from the end."""
    indices = cast(indices, int64)
    if isinstance(indices, np.ndarray) and (indices >= 0).all():
        return indices
    return lm.where(indices < 0, indices + as_array(extent), indices)


@operator("Gather")
def gather(x, indices, *, axis=0):
    axis = axis_of(axis, x)
    return emit(Take(axis), x, wrapped(indices, x.shape[axis]))


@operator("GatherElements", 11)
def gather_elements(x, indices, *, axis=0):
    axis = axis_of(axis, x)
    return emit(TakeAlong(axis), x, wrapped(indices, x.shape[axis]))


def _wrapped_tuples(indices, shape):
    """Index tuples along the last axis, negative ones counted from the end of their axis."""
    extents = lm.stack([as_array(d) for d in shape[:indices.shape[-1]]]) if indices.shape[-1] else np.zeros(0, np.int64)
    return wrapped(indices, extents)


@operator("GatherND", 11)
def gather_nd(x, indices, *, batch_dims=0):
    return emit(GatherNd(batch_dims), x, _wrapped_tuples(indices, x.shape[batch_dims:]))


@operator("ScatterND", 11)
def scatter_nd(x, indices, updates, *, reduction="none"):
    choice(reduction, tuple(_REDUCTIONS), "reduction")
    return emit(ScatterNd(_REDUCTIONS[reduction]), x, _wrapped_tuples(indices, x.shape), updates)


@operator("ScatterElements", 11)
def scatter_elements(x, indices, updates, *, axis=0, reduction="none"):
    axis = axis_of(axis, x)
    choice(reduction, tuple(_REDUCTIONS), "reduction")
    return emit(ScatterAlong(axis, _REDUCTIONS[reduction]), x, wrapped(indices, x.shape[axis]), updates)


@operator("Scatter", 9)
def scatter(x, indices, updates, *, axis=0):
    return scatter_elements(x, indices, updates, axis=axis)


@operator("Compress", 9)
def compress(x, condition, *, axis=None):
    at = np.flatnonzero(known(condition, "Compress's condition, which decides the result's shape,")).astype(np.int64)
    if axis is None:
        x, axis = reshape_to(x, (x.size,)), 0
    return emit(Take(axis_of(axis, x)), x, at)


@operator("TensorScatter", 24)
def tensor_scatter(cache, update, at=None, *, axis=-2, mode="linear"):
    """`update` written into `cache` from position at[batch] on along `axis`."""
    axis, rank = axis_of(axis, cache), len(cache.shape)
    choice(mode, ("linear", "circular"), "mode")
    count = update.shape[axis]
    first = cast(at, int64) if at is not None else np.zeros(cache.shape[0], np.int64)
    positions = lm.expand_dims(first, 1) + lm.expand_dims(lm.arange(count), 0)
    if mode == "circular":
        positions = positions % as_array(cache.shape[axis])
    batch = lm.broadcast_to(lm.expand_dims(lm.arange(cache.shape[0]), 1), positions.shape)
    indices = lm.stack([batch, positions], axis=-1)
    order = (0, axis, *(i for i in range(1, rank) if i != axis))
    back = tuple(int(i) for i in np.argsort(order))
    written = emit(ScatterNd("set"), transposed(cache, order), indices, transposed(update, order))
    return transposed(written, back)
