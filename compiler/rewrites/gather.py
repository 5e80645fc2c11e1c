"""Which look-ups are slices?  Those at constant places that follow each other."""

from __future__ import annotations

import numpy as np

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import broadcast, splat
from ..ops.constant import Constant, Iota
from ..ops.gather import DynamicSlice, DynamicUpdateSlice, Take
from ..ops.rearrange import Broadcast, Slice
from .rule import rule
from .views import emit_if_valid, reshape, source

_LONGEST = 1 << 16  # indices: longer constants are not looked through


def _along(x: Value, axis: int, start: int, size, step: int) -> Slice:
    """The slice of x along one axis."""
    rank = x.type.rank
    starts = tuple(start if i == axis else 0 for i in range(rank))
    sizes = tuple(size if i == axis else d for i, d in enumerate(x.shape))
    return Slice(starts, sizes, tuple(step if i == axis else 1 for i in range(rank)))


@rule(Take)
def take_evenly(b: Builder, op, x, indices):
    """take(x, [2, 4, 6]) -> slice(x), take(x, 3) -> reshape(slice(x)): constant places, evenly spaced, inside x."""
    extent = x.shape[op.axis]
    if not isinstance(indices.op, Constant) or not isinstance(extent, int):
        return None
    if extent == 0 or not 0 < indices.op.array.size <= _LONGEST:
        return None
    places = np.clip(indices.op.array.reshape(-1).astype(np.int64), 0, extent - 1)
    step = int(places[1] - places[0]) if places.size > 1 else 1
    if step == 0 or np.any(np.diff(places) != step):
        return None
    part = b.emit(_along(x, op.axis, int(places[0]), places.size, step), x)
    return reshape(b, part, op.infer(x.type, indices.type)[0].shape)


@rule(Take)
def take_ramp(b: Builder, op, x, indices):
    """take(x, iota) -> slice(x) from its beginning."""
    if not isinstance(indices.op, Iota) or indices.type.rank != 1:
        return None
    return emit_if_valid(b, _along(x, op.axis, 0, indices.shape[0], 1), x)


@rule(Take)
def take_repeated(b: Builder, op, x, indices):
    """take(broadcast(x), indices) -> broadcast(take(x, indices)), or broadcast(x) where the axis is one along which x
    is repeated."""
    if not isinstance(x.op, Broadcast):
        return None
    inner, axes, shift = source(x), x.op.axes, indices.type.rank - 1
    (result,) = op.infer(x.type, indices.type)
    moved = tuple(a if a < op.axis else a + shift for a in axes if a != op.axis)
    if op.axis not in axes or inner.shape[axes.index(op.axis)] == 1 != x.shape[op.axis]:
        small = reshape(b, inner, tuple(d for d, a in zip(inner.shape, axes) if a != op.axis))
        return broadcast(b, small, result.shape, moved)
    taken = tuple(range(op.axis, op.axis + indices.type.rank))
    return broadcast(b, b.emit(Take(axes.index(op.axis)), inner, indices), result.shape, sorted((*moved, *taken)))


@rule(DynamicSlice)
def slice_at_constant(b: Builder, op, x, *starts):
    """dynamic_slice(x, constant starts) -> slice(x)."""
    places = []
    for start, extent, size in zip(starts, x.shape, op.sizes):
        place = 0 if extent == size else splat(start)
        if place is None or extent != size and not (isinstance(extent, int) and isinstance(size, int)):
            return None
        places.append(0 if extent == size else max(0, min(int(place), extent - size)))
    return b.emit(Slice(tuple(places), op.sizes, (1,) * len(places)), x)


@rule(DynamicUpdateSlice)
def update_all(b: Builder, op, x, update, *starts):
    """dynamic_update_slice(x, update) -> update, where it covers all of x."""
    return update if update.shape == x.shape else None
