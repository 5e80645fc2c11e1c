"""How does a window slide?  The extents and the taps that convolution and pooling share."""

from __future__ import annotations

from typing import Iterator

import numpy as np

from ..core.dims import Dim, bounds
from ..core.types import TensorType
from .op import Op, is_nonnegative, shape_error


def sliding_extents(op: Op, types: tuple[TensorType, ...], extents: tuple[Dim, ...],
                    window: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """How many places a window has along each of `extents`, under op's `strides`, `padding` and `dilation`.

    ShapeError where those do not fit the rank, are out of range, or leave the window no place.
    """
    rank = len(extents)
    if not 1 <= rank <= 3:
        raise shape_error(op, f"takes 1, 2 or 3 spatial axes between the first and the last, got {rank}", *types)
    for name, values in (("window", window), ("strides", op.strides), ("padding", op.padding),
                         ("dilation", op.dilation)):
        if len(values) != rank:
            raise shape_error(op, f"{name} {values} has {len(values)} entries for {rank} spatial axes", *types)
    result = []
    axes = zip(extents, window, op.strides, op.padding, op.dilation)
    for axis, (extent, size, stride, (low, high), dilation) in enumerate(axes):
        if bounds(size)[0] < 1 or stride < 1 or dilation < 1:
            raise shape_error(op, f"window {size}, stride {stride} and dilation {dilation} of spatial axis {axis} "
                              "must be 1 or more", *types)
        if not is_nonnegative(low) or not is_nonnegative(high):
            raise shape_error(op, f"spatial axis {axis} is padded by ({low}, {high})", *types,
                              hint="padding can't be negative: cut elements off with Slice before")
        room = extent + low + high - ((size - 1) * dilation + 1)
        if bounds(room)[1] < 0:
            raise shape_error(op, f"a window that reaches over {(size - 1) * dilation + 1} elements has no place in "
                              f"{extent + low + high} of spatial axis {axis}", *types,
                              hint="pad more, or make the window smaller")
        result.append(room // stride + 1)
    return tuple(result)


def padded(x: np.ndarray, padding, value) -> np.ndarray:
    """[N, *spatial, C] with `padding` of `value` around the spatial axes."""
    extents = (n + low + high for n, (low, high) in zip(x.shape[1:-1], padding))
    out = np.full((x.shape[0], *extents, x.shape[-1]), value, x.dtype)
    out[(slice(None), *(slice(low, low + n) for n, (low, _) in zip(x.shape[1:-1], padding)))] = x
    return out


def taps(x: np.ndarray, window, strides, dilation) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each position in the window with the [N, *out, C] elements of padded `x` that meet it."""
    out = [(n - ((k - 1) * d + 1)) // s + 1 for n, k, s, d in zip(x.shape[1:-1], window, strides, dilation)]
    for tap in np.ndindex(*window):
        places = (slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in zip(tap, out, strides, dilation))
        yield tap, x[(slice(None), *places)]
