"""Which functions slide a window over spatial axes?  Convolution, transposed convolution, pooling."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, divide_exactly, format_dim, product
from ...compiler.core.dtypes import DType
from ...compiler.ops.conv import Conv
from ...compiler.ops.pool import Pool
from ...compiler.ops.rearrange import Pad
from .elementwise import add, divide
from .manipulation import flip, moveaxis, permute_dims, reshape, slice_axis
from .operands import Array, as_array, as_floating, as_operand, broadcast, cast, dtype_of, result_dtype, shape_text
from .reduction import max as largest
from .reduction import mean
from .tracer import emit, shape_error

LAYOUTS = {"NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"}
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]


def _channels_first(layout: str) -> bool:
    if layout not in LAYOUTS:
        raise shape_error(f"there is no layout {layout!r}", hint='"NCHW" (channels first) or "NHWC" (channels last)')
    return layout[1] == "C"


def _to_channels_last(x: Array, layout: str) -> Array:
    if len(x.shape) not in (3, 4, 5):
        raise shape_error(f"shape {shape_text(x.shape)}: a batch, 1 to 3 spatial axes and channels were expected",
                          hint="lm.expand_dims(x, 0) adds a batch of one")
    return moveaxis(x, 1, -1) if _channels_first(layout) else x


def _from_channels_last(x: Array, layout: str) -> Array:
    return moveaxis(x, -1, 1) if _channels_first(layout) else x


def _per_axis(value: int | Sequence[int], rank: int, what: str) -> tuple[int, ...]:
    values = (int(value),) * rank if isinstance(value, (int, np.integer)) else tuple(int(v) for v in value)
    if len(values) != rank:
        raise shape_error(f"{what} {value!r} for {rank} spatial axes")
    return values


def resolve_padding(padding: Padding, spatial: Sequence[Dim], window: Sequence[int], strides: Sequence[int],
                    dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis.

    "valid" is none; "same" keeps ceil(extent / stride) places, an odd element after ("same_lower": before); an int or
    ints pad both sides alike.
    """
    rank = len(spatial)
    if padding == "valid":
        return ((0, 0),) * rank
    if padding in ("same", "same_lower"):
        pairs = []
        for extent, size, stride, step in zip(spatial, window, strides, dilation):
            total = _same(extent, (size - 1) * step + 1, stride)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if padding == "same" else (more, less))
        return tuple(pairs)
    if isinstance(padding, str):
        raise shape_error(f"there is no padding {padding!r}", hint='"same", "valid", an int, or (before, after) pairs')
    if isinstance(padding, (int, np.integer)):
        return ((int(padding), int(padding)),) * rank
    pairs = tuple((int(p), int(p)) if isinstance(p, (int, np.integer)) else tuple(map(int, p)) for p in padding)
    if len(pairs) != rank or any(len(p) != 2 for p in pairs):
        raise shape_error(f"padding {padding!r} for {rank} spatial axes", hint="give one (before, after) an axis")
    return pairs


def _same(extent: Dim, reach: int, stride: int) -> int:
    if isinstance(extent, DimExpr):
        if stride != 1 and divide_exactly(extent, stride) is None:
            raise shape_error(f'padding "same" with stride {stride} of an axis of {format_dim(extent)} elements is '
                              f'not known',
                              hint="give (before, after) pairs")
        return max(reach - stride, 0)
    return max((-(-extent // stride) - 1) * stride + reach - extent, 0)


def _kernel(w: Array, spatial: Sequence[Dim], what: str) -> tuple[int, ...]:
    if any(isinstance(d, DimExpr) for d in spatial):
        raise shape_error(f"the {what}'s window {shape_text(spatial)} is symbolic", hint="give it constant extents")
    return tuple(spatial)


def _with_bias(x: Array, bias, dtype: DType) -> Array:
    if bias is None:
        return x
    bias = as_operand(bias, dtype)
    if tuple(bias.shape) != (x.shape[-1],):
        raise shape_error(f"the bias has shape {shape_text(bias.shape)}, [{format_dim(x.shape[-1])}] was expected")
    return add(x, bias)


# ---- convolution -----------------------------------------------------------------------------------------------------
def conv(x, w, bias=None, /, *, strides: int | Sequence[int] = 1, padding: Padding = "valid",
         dilation: int | Sequence[int] = 1, groups: int = 1, layout: str = "NCHW") -> Array:
    """The convolution (cross-correlation) of x with w over 1 to 3 spatial axes, plus a bias for each output channel.

    Channels first: x [N, C, *spatial], w [O, C // groups, *window]. Channels last: x [N, *spatial, C],
    w [*window, C // groups, O]. `padding` is "valid", "same", "same_lower", an int, ints, or (before, after) pairs.
    """
    dtype = result_dtype(*(a for a in (x, w, bias) if a is not None))
    x, w = as_operand(x, dtype), as_operand(w, dtype)
    x = _to_channels_last(x, layout)
    rank = len(x.shape) - 2
    if len(w.shape) != rank + 2:
        raise shape_error(f"conv of shape {shape_text(x.shape)} (channels last) with weights {shape_text(w.shape)}: "
                          f"ranks differ")
    if _channels_first(layout):
        w = permute_dims(w, (*range(2, rank + 2), 1, 0))
    window = _kernel(w, w.shape[:-2], "convolution")
    strides, dilation = _per_axis(strides, rank, "strides"), _per_axis(dilation, rank, "dilation")
    pairs = resolve_padding(padding, x.shape[1:-1], window, strides, dilation)
    return _from_channels_last(_with_bias(emit(Conv(strides, pairs, dilation, int(groups)), x, w), bias, dtype), layout)


def conv_transpose(x, w, bias=None, /, *, strides: int | Sequence[int] = 1, padding: Padding = "valid",
                   output_padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
                   layout: str = "NCHW") -> Array:
    """The transposed convolution: the gradient by its input of a convolution with these strides, padding and dilation.

    Channels first: x [N, C, *spatial], w [C, O // groups, *window]. Channels last: x [N, *spatial, C],
    w [*window, C, O // groups]. An axis of n elements becomes (n - 1) * stride + (window - 1) * dilation + 1 +
    output_padding, less the padding; "same" gives n * stride.
    """
    dtype = result_dtype(*(a for a in (x, w, bias) if a is not None))
    x, w = as_operand(x, dtype), as_operand(w, dtype)
    x = _to_channels_last(x, layout)
    rank = len(x.shape) - 2
    if len(w.shape) != rank + 2:
        raise shape_error(f"conv_transpose of shape {shape_text(x.shape)} (channels last) with weights "
                          f"{shape_text(w.shape)}: ranks differ")
    if _channels_first(layout):
        w = permute_dims(w, (*range(2, rank + 2), 0, 1))
    window = _kernel(w, w.shape[:-2], "convolution")
    strides, dilation = _per_axis(strides, rank, "strides"), _per_axis(dilation, rank, "dilation")
    more = _per_axis(output_padding, rank, "output_padding")
    reach = [(size - 1) * step + 1 for size, step in zip(window, dilation)]
    if padding in ("same", "same_lower"):
        totals = [r - s for r, s in zip(reach, strides)]
        more = tuple(m + max(0, -t) for m, t in zip(more, totals))
        sides = [(max(t, 0) // 2, max(t, 0) - max(t, 0) // 2) for t in totals]
        cut = sides if padding == "same" else [(b, a) for a, b in sides]
    else:
        cut = resolve_padding(padding, x.shape[1:-1], window, strides, dilation)
    pairs = [(r - 1 - low, r - 1 - high + m) for r, (low, high), m in zip(reach, cut, more)]
    inside = tuple((max(low, 0), max(high, 0)) for low, high in pairs)
    op = Conv((1,) * rank, inside, dilation, int(groups), strides)
    y = emit(op, x, _transposed_weights(w, int(groups), rank))
    for axis, (low, high) in enumerate(pairs, 1):  # padding beyond the window's reach cuts elements off
        low, high = max(-low, 0), max(-high, 0)
        y = slice_axis(y, axis, low, y.shape[axis] - low - high)
    return _from_channels_last(_with_bias(y, bias, dtype), layout)


def _transposed_weights(w: Array, groups: int, rank: int) -> Array:
    """[*window, C, O // groups] as the weights [*window, C // groups, O] of the convolution that computes the
    gradient."""
    window, (channels, per_group) = tuple(w.shape[:-2]), w.shape[-2:]
    part = divide_exactly(channels, groups)
    if part is None:
        raise shape_error(f"{format_dim(channels)} channels do not split into {groups} groups")
    w = flip(w, axis=tuple(range(rank)))
    if groups == 1:
        return w
    w = reshape(w, (*window, groups, part, per_group))
    w = permute_dims(w, (*range(rank), rank + 1, rank, rank + 2))
    return reshape(w, (*window, part, groups * per_group))


# ---- pooling ---------------------------------------------------------------------------------------------------------
def _windows(x: Array, window, strides, padding: Padding, dilation, ceil_mode: bool):
    """window, strides, dilation for each axis, the padding, and the padding with what `ceil_mode` adds after it."""
    rank = len(x.shape) - 2
    window = _per_axis(window, rank, "window")
    strides = window if strides is None else _per_axis(strides, rank, "strides")
    dilation = _per_axis(dilation, rank, "dilation")
    pairs = resolve_padding(padding, x.shape[1:-1], window, strides, dilation)
    if not ceil_mode:
        return window, strides, dilation, pairs, pairs
    widened = []
    for extent, size, stride, step, (low, high) in zip(x.shape[1:-1], window, strides, dilation, pairs):
        if isinstance(extent, DimExpr):
            raise shape_error(f"ceil_mode needs to know the extent {format_dim(extent)}", hint="give (before, after) "
                                                                                               "pairs")
        reach = (size - 1) * step + 1
        places = -(-(extent + low + high - reach) // stride) + 1
        places -= (places - 1) * stride >= extent + low  # a window begins inside x or the padding before it
        widened.append((low, max(high, (places - 1) * stride + reach - extent - low)))
    return window, strides, dilation, pairs, tuple(widened)


def max_pool(x, window: int | Sequence[int], /, *, strides: int | Sequence[int] | None = None,
             padding: Padding = "valid",
             dilation: int | Sequence[int] = 1, ceil_mode: bool = False, layout: str = "NCHW") -> Array:
    """The largest element of each window (its own extent as strides by default). `ceil_mode` keeps a last, partial
    window."""
    x = _to_channels_last(as_array(x), layout)
    window, strides, dilation, _, pairs = _windows(x, window, strides, padding, dilation, ceil_mode)
    return _from_channels_last(emit(Pool("max", window, strides, pairs, dilation), x), layout)


def avg_pool(x, window: int | Sequence[int], /, *, strides: int | Sequence[int] | None = None,
             padding: Padding = "valid",
             dilation: int | Sequence[int] = 1, ceil_mode: bool = False, count_include_pad: bool = False,
             layout: str = "NCHW") -> Array:
    """The mean of each window; padding counts as zeros where `count_include_pad`, else it is left out of the mean."""
    x = _to_channels_last(as_floating(x), layout)
    dtype = dtype_of(x)
    x = cast(x, dtype.compute)
    window, strides, dilation, pairs, wide = _windows(x, window, strides, padding, dilation, ceil_mode)
    total = emit(Pool("sum", window, strides, wide, dilation), x)
    if all(p == (0, 0) for p in wide) or count_include_pad and wide == pairs:
        return _from_channels_last(cast(divide(total, float(product(window))), dtype), layout)
    symbolic = any(isinstance(d, DimExpr) for d in x.shape[1:-1])
    ones = broadcast(np.ones((), dtype.compute.numpy), (1, *x.shape[1:-1], 1), record=symbolic)
    if count_include_pad:
        low, high = ((0, *(p[side] for p in pairs), 0) for side in (0, 1))
        ones = emit(Pad(low, high, 1.0), ones)
        wide = tuple((0, after - high) for (_, after), (_, high) in zip(wide, pairs))
    count = emit(Pool("sum", window, strides, wide, dilation), ones)
    return _from_channels_last(cast(divide(total, count), dtype), layout)


def global_avg_pool(x, /, *, keepdims: bool = True, layout: str = "NCHW") -> Array:
    """The mean over the spatial axes."""
    x = as_array(x)
    return mean(x, axis=_spatial(x, layout), keepdims=keepdims)


def global_max_pool(x, /, *, keepdims: bool = True, layout: str = "NCHW") -> Array:
    """The largest element over the spatial axes."""
    x = as_array(x)
    return largest(x, axis=_spatial(x, layout), keepdims=keepdims)


def _spatial(x: Array, layout: str) -> tuple[int, ...]:
    return tuple(range(2, len(x.shape))) if _channels_first(layout) else tuple(range(1, len(x.shape) - 1))
