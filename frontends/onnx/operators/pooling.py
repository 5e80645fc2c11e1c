"""Pooling: the channels-last primitive between transposes; averages are sums over counts."""

from __future__ import annotations

from math import prod

import numpy as np

from ....compiler.core.dtypes import int64
from ....compiler.ops import Pool, ScatterNd
from ... import array as lm
from ...array.operands import as_array, cast, dtype_of
from ...array.tracer import emit
from ..table import Refusal, operator
from .reduction import mean, reduced
from .shape import broadcast_to, padded, reshape_to
from .values import known_ints
from .windows import Windows, channels_first, channels_last, windows


def _pooled(kind: str, x, at: Windows):
    return channels_first(emit(Pool(kind, at.kernel, at.strides, at.padding, at.dilation), channels_last(x)))


@operator("MaxPool")
def max_pool(x, *, kernel_shape, auto_pad="NOTSET", ceil_mode=0, dilations=None, pads=None, storage_order=0,
             strides=None, context):
    at = windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if context.outputs > 1 and context.wanted[1]:
        return _max_pool_with_indices(x, at, storage_order)
    return _pooled("max", x, at)


def _max_pool_with_indices(x, at: Windows, storage_order: int):
    """The maxima and where they lie in the flat input: tap by tap over the window, the first one wins."""
    spatial = x.shape[2:]
    if not all(isinstance(d, int) for d in x.shape):
        raise Refusal("the indices of MaxPool with symbolic dims")
    lowest = dtype_of(x).minimum
    wide = padded(x, [0, 0, *(a for a, _ in at.padding)], [0, 0, *(b for _, b in at.padding)], lowest)
    order = tuple(reversed(range(len(spatial)))) if storage_order else tuple(range(len(spatial)))
    weight = {axis: prod(spatial[a] for a in order[i + 1:]) for i, axis in enumerate(order)}
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(spatial)) * prod(spatial)
    best = index = None
    for tap in np.ndindex(*at.kernel):
        part, flat = wide, np.zeros((1,) * len(spatial), np.int64)
        for axis, (t, d, s, count, (low, _)) in enumerate(zip(tap, at.dilation, at.strides, at.extents, at.padding)):
            part = part[(slice(None),) * (axis + 2) + (slice(t * d, t * d + (count - 1) * s + 1, s),)]
            place = np.arange(count) * s + t * d - low
            flat = flat + place.reshape([-1 if a == axis else 1 for a in range(len(spatial))]) * weight[axis]
        flat = np.broadcast_to(flat + planes, tuple(part.shape))
        if best is None:
            best, index = part, flat
        else:
            higher = part > best
            best, index = lm.where(higher, part, best), lm.where(higher, flat, index)
    return best, index


@operator("AveragePool")
def average_pool(x, *, kernel_shape, auto_pad="NOTSET", ceil_mode=0, count_include_pad=0, dilations=None, pads=None,
                 strides=None):
    at = windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    total, counts = _pooled("sum", x, at), _counts(x.shape[2:], at, bool(count_include_pad))
    if isinstance(counts, np.ndarray) and (counts == counts.flat[0]).all():
        return total * (1.0 / float(counts.flat[0]))
    return total / cast(counts, dtype_of(x))


def _counts(spatial, at: Windows, include_padding: bool):
    """How many elements each window averages over, [*out]: the input's, and the declared padding's if included."""
    if all(isinstance(d, int) for d in spatial):
        counts = np.ones((), np.float32)
        for axis, extent in enumerate(spatial):
            low, high = at.declared[axis]
            first, last = (-low, extent + high) if include_padding else (0, extent)
            taps = (np.arange(at.extents[axis]) * at.strides[axis] - at.padding[axis][0])[:, None] \
                + np.arange(at.kernel[axis]) * at.dilation[axis]
            counts = counts[..., None] * ((taps >= first) & (taps < last)).sum(1)
        return counts
    ones = broadcast_to(np.ones((), np.float32), (1, 1, *spatial))
    padding = at.padding
    if include_padding:
        ones = padded(ones, [0, 0, *(a for a, _ in at.declared)], [0, 0, *(b for _, b in at.declared)], 1)
        padding = tuple((a - c, b - d) for (a, b), (c, d) in zip(at.padding, at.declared))
    return _pooled("sum", ones, Windows(at.kernel, at.strides, at.dilation, at.declared, padding, at.extents))


@operator("LpPool")
def lp_pool(x, *, kernel_shape, auto_pad="NOTSET", ceil_mode=0, dilations=None, p=2, pads=None, strides=None):
    at = windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _root(_pooled("sum", _power(x, p), at), p)


def _power(x, p: float):
    return x * x if p == 2 else lm.abs(x) if p == 1 else lm.abs(x) ** float(p)


def _root(x, p: float):
    return lm.sqrt(x) if p == 2 else x if p == 1 else x ** (1.0 / p)


def _spatial_axes(x) -> tuple[int, ...]:
    return tuple(range(2, len(x.shape)))


@operator("GlobalAveragePool")
def global_average_pool(x):
    return mean(x, _spatial_axes(x))


@operator("GlobalMaxPool")
def global_max_pool(x):
    return reduced("max", x, _spatial_axes(x))


@operator("GlobalLpPool", 1)
def global_lp_pool(x, *, p=2):
    return _root(reduced("sum", _power(x, p), _spatial_axes(x)), p)


@operator("MaxUnpool", 9)
def max_unpool(x, indices, shape=None, *, kernel_shape, pads=None, strides=None):
    """The elements of `x` at the flat places `indices` of a larger tensor of zeros."""
    rank = len(kernel_shape)
    strides, pads = strides or (1,) * rank, pads or (0,) * 2 * rank
    natural = tuple((n - 1) * s + k - pads[i] - pads[i + rank]
                    for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape)))
    out = known_ints(shape, "output_shape") if shape is not None else (*x.shape[:2], *natural)
    at = cast(indices, int64)
    if tuple(out[2:]) != natural:  # the indices count in the natural shape, whose corner lies in the larger one
        coordinates, rest = [], at
        for extent in reversed((*x.shape[:2], *natural)):
            coordinates.append(rest % as_array(extent))
            rest = rest // as_array(extent)
        at = lm.zeros_like(at)
        for coordinate, extent in zip(reversed(coordinates), out):
            at = at * as_array(extent) + coordinate
    count = prod(out)
    flat = emit(ScatterNd("set"), lm.zeros((count,), dtype=dtype_of(x)), reshape_to(at, (prod(x.shape), 1)),
                reshape_to(x, (prod(x.shape),)))
    return reshape_to(flat, tuple(out))


@operator("Col2Im", 18)
def column_to_image(x, image_shape, block_shape, *, dilations=None, pads=None, strides=None):
    """[N, C * prod(block), L] summed into [N, C, *image] where the blocks lay."""
    image, block = known_ints(image_shape, "image_shape"), known_ints(block_shape, "block_shape")
    at = windows(image, block, strides, dilations, pads, "NOTSET")
    n, c = x.shape[0], x.shape[1] // prod(block)
    grids = []
    for axis, rank in ((a, len(image)) for a in range(len(image))):
        place = np.arange(block[axis])[:, None] * at.dilation[axis] + np.arange(at.extents[axis]) * at.strides[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = place.shape
        grids.append(np.broadcast_to(place.reshape(shape), (*block, *at.extents)).reshape(-1))
    wide = tuple(d + a + b for d, (a, b) in zip(image, at.declared))
    places = np.ravel_multi_index(tuple(grids), wide).astype(np.int64)
    columns = reshape_to(x, (n * c, places.size))
    summed = emit(ScatterNd("add"), lm.zeros((prod(wide), n * c), dtype=dtype_of(x)), places.reshape(-1, 1),
                  lm.transpose(columns))
    whole = reshape_to(lm.transpose(summed), (n, c, *wide))
    return padded(whole, [0, 0, *(-a for a, _ in at.declared)], [0, 0, *(-b for _, b in at.declared)], 0)


