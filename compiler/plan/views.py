"""Which rearrangements cost nothing?  Views as strides over the operand's place."""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import Dim, divide_exactly
from ..kernel.ir import row_major
from ..ops.identity import Barrier
from ..ops.rearrange import Broadcast, Reshape, Slice, Transpose
from .program import Place


def view(op, place: Place, shape: tuple[Dim, ...]) -> Place | None:
    """The place of `op`'s result as a view of its operand's `place`; None where strides can't express it."""
    if isinstance(op, Transpose):
        return replace(place, shape=shape, strides=tuple(place.strides[p] for p in op.permutation))
    if isinstance(op, Slice):
        offset = place.offset
        for start, stride in zip(op.starts, place.strides):
            offset = offset + start * stride
        return replace(place, shape=shape, offset=offset, strides=tuple(s * t for s, t in zip(place.strides, op.steps)))
    if isinstance(op, Broadcast):
        strides: list[Dim] = [0] * len(shape)
        for axis, extent, stride in zip(op.axes, place.shape, place.strides):
            strides[axis] = stride if extent == shape[axis] else 0
        return replace(place, shape=shape, strides=tuple(strides))
    if isinstance(op, Reshape):
        strides = reshape_strides(place.shape, place.strides, shape)
        return None if strides is None else replace(place, shape=shape, strides=strides)
    return place if isinstance(op, Barrier) else None


def unview(op, place: Place, shape: tuple[Dim, ...]) -> Place | None:
    """Where `op`'s operand, of `shape`, must lie for its result to lie at `place`; None where strides can't express it."""
    if isinstance(op, Transpose):
        strides: list[Dim] = [0] * len(shape)
        for axis, stride in zip(op.permutation, place.strides):
            strides[axis] = stride
        return replace(place, shape=shape, strides=tuple(strides))
    if isinstance(op, Reshape):
        found = reshape_strides(place.shape, place.strides, shape)
        return None if found is None else replace(place, shape=shape, strides=found)
    return None


def reshape_strides(old: tuple[Dim, ...], strides: tuple[Dim, ...], new: tuple[Dim, ...]) -> tuple[Dim, ...] | None:
    """Strides that show the same elements, in row-major order, as `new`; None where that takes a copy."""
    if any(d == 0 for d in old):
        return row_major(new)
    source = [(d, s) for d, s in zip(old, strides) if d != 1]
    runs: list[list] = []  # maximal runs of axes that lie densely in one another: [extent, innermost stride]
    for extent, stride in source:
        if runs and runs[-1][1] == stride * extent:
            runs[-1] = [runs[-1][0] * extent, stride]
        else:
            runs.append([extent, stride])
    result: list[Dim] = []
    at = 0
    left: Dim = runs[0][0] if runs else 1
    for extent in new:
        if extent == 1:
            result.append(0)
            continue
        while left == 1 and at + 1 < len(runs):
            at += 1
            left = runs[at][0]
        inner = divide_exactly(left, extent) if runs else None
        if inner is None:
            return None
        result.append(inner * runs[at][1])
        left = inner
    return tuple(result) if left == 1 and at >= len(runs) - 1 else None
