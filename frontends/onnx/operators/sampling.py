"""Reading images at computed, fractional positions: GridSample, RoiAlign, DeformConv."""

from __future__ import annotations

from itertools import product as combinations
from typing import Callable, Sequence

import numpy as np

from ....compiler.core.dims import product
from ....compiler.core.dtypes import int64
from ....compiler.ops import Contract, GatherNd
from ... import array as lm
from ...array.operands import as_array, cast, dtype_of
from ...array.tracer import emit
from ..table import Refusal, operator
from .reduction import mean, reduced
from .shape import reshape_to, transposed
from .values import choice
from .windows import channels_first, channels_last, windows


def _pixels(x, places: Sequence, spatial):
    """x [N, S, C], its spatial axes flattened, at the positions `places` (int64 [N, *out] per axis): [N, *out, C]."""
    flat = places[0]
    for place, extent in zip(places[1:], spatial[1:]):
        flat = flat * as_array(extent) + place
    return emit(GatherNd(1), x, lm.expand_dims(flat, -1))


def _flattened(x):
    """[N, C, *spatial] as [N, S, C]."""
    y = channels_last(x)
    return reshape_to(y, (y.shape[0], product(y.shape[1:-1]), y.shape[-1]))


def _linear_taps(position):
    low = lm.floor(position)
    fraction = position - low
    return [(low, 1.0 - fraction), (low + 1.0, fraction)]


def _cubic_taps(position, a: float = -0.75):
    """Keys' cubic convolution over four neighbours."""
    low = lm.floor(position)
    t = position - low

    def near(d):
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d):
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return [(low - 1.0, far(t + 1)), (low, near(t)), (low + 1.0, near(1 - t)), (low + 2.0, far(2 - t))]


def _nearest_taps(position):
    return [(lm.round(position), None)]


def sample(x, positions: Sequence, spatial, taps: Callable, border: Callable):
    """x [N, S, C] interpolated at `positions`, one [N, *out] per spatial axis: the sum over the taps of every axis.

    `border(place, extent)` gives the place that is read for one outside, and whether it counts (None: always).
    """
    total = None
    per_axis = []
    for position, extent in zip(positions, spatial):
        moved = [(border(place, extent), weight) for place, weight in taps(position)]
        per_axis.append([(cast(place, int64), counts, weight) for (place, counts), weight in moved])
    for corner in combinations(*per_axis):
        value = _pixels(x, [place for place, _, _ in corner], spatial)
        for _, counts, weight in corner:
            if weight is not None:
                value = value * lm.expand_dims(weight, -1)
            if counts is not None:
                value = lm.where(lm.expand_dims(counts, -1), value, lm.zeros_like(value))
        total = value if total is None else total + value
    return total


def _zeros(place, extent):
    return lm.clip(place, 0.0, float(extent - 1)), (place >= 0.0) & (place <= float(extent - 1))


def _edge(place, extent):
    return lm.clip(place, 0.0, float(extent - 1)), None


def _reflected(position, low: float, high: float):
    """`position` folded back and forth into low .. high."""
    span = high - low
    if span == 0:
        return position * 0.0 + low
    t = lm.remainder(position - low, 2 * span)
    return lm.where(t > span, 2 * span - t, t) + low


@operator("GridSample", 16)
def grid_sample(x, grid, *, align_corners=0, mode="linear", padding_mode="zeros"):
    """x [N, C, *spatial] at the positions grid [N, *out, axes] in -1 .. 1, the last spatial axis first."""
    choice(padding_mode, ("zeros", "border", "reflection"), "padding_mode")
    taps = {"bilinear": _linear_taps, "linear": _linear_taps, "bicubic": _cubic_taps, "cubic": _cubic_taps,
            "nearest": _nearest_taps}
    choice(mode, tuple(taps), "mode")
    spatial = x.shape[2:]
    if not all(isinstance(d, int) for d in spatial):
        raise Refusal("sampling an image of symbolic extent")
    positions, bounds = [], {}
    for axis, extent in enumerate(spatial):
        at = grid[..., len(spatial) - 1 - axis]
        at = (at + 1.0) * ((extent - 1) / 2) if align_corners else ((at + 1.0) * float(extent) - 1.0) * 0.5
        bounds[extent] = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
        if padding_mode == "border":
            at = lm.clip(at, 0.0, float(extent - 1))
        elif padding_mode == "reflection":
            at = _reflected(at, *bounds[extent])
        positions.append(at)

    def mirror(place, extent):
        return lm.clip(_reflected(place, *bounds[extent]), 0.0, float(extent - 1)), None
    border = {"zeros": _zeros, "border": _edge, "reflection": mirror}[padding_mode]
    return channels_first(sample(_flattened(x), positions, spatial, taps[mode], border))


@operator("RoiAlign", 16)
def roi_align(x, rois, batch_indices, *, coordinate_transformation_mode="half_pixel", mode="avg", output_height=1,
              output_width=1, sampling_ratio=0, spatial_scale=1.0):
    """x [N, C, H, W], rois [R, 4] as x1, y1, x2, y2 -> [R, C, output_height, output_width]. He et al., 2017."""
    choice(coordinate_transformation_mode, ("half_pixel", "output_half_pixel"), "coordinate_transformation_mode")
    if sampling_ratio <= 0:
        raise Refusal("sampling_ratio 0: the number of samples would depend on the regions")
    spatial, count, half = x.shape[2:], rois.shape[0], coordinate_transformation_mode == "half_pixel"
    shift = 0.5 if half else 0.0
    positions = []
    for axis, out in enumerate((output_height, output_width)):
        first = rois[:, 1 - axis] * spatial_scale - shift
        size = rois[:, 3 - axis] * spatial_scale - shift - first
        size = size if half else lm.maximum(size, 1.0)
        at = (np.arange(out * sampling_ratio) + 0.5) / (out * sampling_ratio)
        positions.append(lm.expand_dims(first, 1) + lm.expand_dims(size, 1) * at.astype(dtype_of(x).numpy))
    grid = (count, output_height * sampling_ratio, output_width * sampling_ratio)
    y = lm.broadcast_to(lm.expand_dims(positions[0], 2), grid)
    z = lm.broadcast_to(lm.expand_dims(positions[1], 1), grid)
    seen = (y >= -1.0) & (y <= float(spatial[0])) & (z >= -1.0) & (z <= float(spatial[1]))
    image = lm.take(_flattened(x), cast(batch_indices, int64), axis=0)
    inside = [lm.clip(p, 0.0, float(d - 1)) for p, d in zip((y, z), spatial)]
    windows_ = (count, output_height, sampling_ratio, output_width, sampling_ratio, x.shape[1])
    if choice(mode, ("avg", "max"), "mode") == "avg":
        value = sample(image, inside, spatial, _linear_taps, _edge)
        value = lm.where(lm.expand_dims(seen, -1), value, lm.zeros_like(value))
        pooled = mean(reshape_to(value, windows_), (2, 4))
    else:  # the largest weighted corner, as the specification's reference has it
        corners = [[(lm.clip(place, 0.0, float(d - 1)), weight) for place, weight in _linear_taps(p)]
                   for p, d in zip(inside, spatial)]
        value = None
        for (row, a), (column, b) in combinations(*corners):
            part = _pixels(image, [cast(row, int64), cast(column, int64)], spatial) * lm.expand_dims(a * b, -1)
            value = part if value is None else lm.maximum(value, part)
        pooled = reduced("max", reshape_to(lm.where(lm.expand_dims(seen, -1), value, lm.zeros_like(value)), windows_),
                         (2, 4))
    return channels_first(reshape_to(pooled, (count, output_height, output_width, x.shape[1])))


@operator("RoiAlign", 10)
def roi_align_10(x, rois, batch_indices, *, mode="avg", output_height=1, output_width=1, sampling_ratio=0,
                 spatial_scale=1.0):
    return roi_align(x, rois, batch_indices, coordinate_transformation_mode="output_half_pixel", mode=mode,
                     output_height=output_height, output_width=output_width, sampling_ratio=sampling_ratio,
                     spatial_scale=spatial_scale)


@operator("DeformConv", 19)
def deform_conv(x, w, offset, bias=None, mask=None, *, dilations=None, group=1, kernel_shape=None, offset_group=1,
                pads=None, strides=None):
    """A convolution of 2-D images whose taps are moved by `offset`. Dai et al., Deformable convolution, 2017."""
    if len(x.shape) != 4:
        raise Refusal(f"{len(x.shape) - 2} spatial axes")
    n, c, *spatial = x.shape
    at = windows(spatial, w.shape[2:], strides, dilations, pads, "NOTSET")
    taps, out, dtype = product(at.kernel), at.extents, dtype_of(x).numpy
    moves = reshape_to(offset, (n * offset_group, *at.kernel, 2, *out))
    positions = []
    for axis in range(2):
        base = np.arange(out[axis]) * at.strides[axis] - at.padding[axis][0]
        tap = np.arange(at.kernel[axis]) * at.dilation[axis]
        place = tap.reshape([-1 if i == axis else 1 for i in range(4)]) \
            + base.reshape([-1 if i == axis + 2 else 1 for i in range(4)])
        positions.append(moves[:, :, :, axis] + place.astype(dtype))
    images = _flattened(reshape_to(x, (n * offset_group, c // offset_group, *spatial)))
    value = sample(images, positions, spatial, _linear_taps, _zeros)
    if mask is not None:
        value = value * lm.expand_dims(reshape_to(mask, (n * offset_group, *at.kernel, *out)), -1)
    value = reshape_to(value, (n, offset_group, taps, *out, c // offset_group))
    value = reshape_to(transposed(value, (0, 1, 5, 2, 3, 4)), (n, group, c // group, taps, *out))
    weights = reshape_to(w, (group, w.shape[0] // group, c // group, taps))
    y = reshape_to(emit(Contract("ngctyx,goct->ngoyx"), value, weights), (n, w.shape[0], *out))
    return y if bias is None else y + reshape_to(bias, (w.shape[0], 1, 1))
