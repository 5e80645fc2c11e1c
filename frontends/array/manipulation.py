"""Which functions rearrange elements without computing?  Reshaping, transposing, joining, splitting, repeating,
padding."""

from __future__ import annotations

import builtins
from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, bounds, divide_exactly, format_dim, product
from ...compiler.core.dtypes import int64
from ...compiler.ops.constant import Iota
from ...compiler.ops.gather import Take
from ...compiler.ops.rearrange import Concat, Pad, Reshape, Slice, Transpose
from . import operands as o
from .elementwise import remainder, subtract, where
from .operands import (Array, as_array, as_operand, as_shape, dtype_of, in_trace, normalize_axis, result_dtype,
                       shape_text)
from .tracer import Tracer, emit, emit_traced, shape_error


# ---- shape -----------------------------------------------------------------------------------------------------------
def reshape(x, /, shape, *, copy: bool | None = None) -> Array:
    """The same elements in row-major order as `shape`; one -1 stands for what is left over."""
    x = as_array(x)
    shape = as_shape(shape)
    if any(type(d) is int and d == -1 for d in shape):
        shape = _fill_in(x, shape)
    if product(shape) != product(x.shape):
        raise shape_error(f"an array of shape {shape_text(x.shape)} can't be reshaped to {shape_text(shape)}: "
                          f"{format_dim(product(x.shape))} elements, not {format_dim(product(shape))}")
    result = x if tuple(x.shape) == shape else emit(Reshape(shape), x)
    return result.copy() if copy and isinstance(result, np.ndarray) and np.may_share_memory(result, x) else result


def _fill_in(x: Array, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    at = shape.index(-1)
    others = shape[:at] + shape[at + 1:]
    rest = divide_exactly(product(x.shape), product(others)) if -1 not in others else None
    if rest is None:
        raise shape_error(f"an array of shape {shape_text(x.shape)} can't be reshaped to {shape_text(shape)}: " +
                          ("only one axis can be -1" if -1 in others else "the -1 has no whole extent"),
                          hint="declare a multiple of the dim, such as n=8..512%8" if in_trace(x) else None)
    return shape[:at] + (rest,) + shape[at + 1:]


def ravel(x, /) -> Array:
    """x as one axis."""
    x = as_array(x)
    return reshape(x, (product(x.shape),))


def expand_dims(x, /, axis: int | Sequence[int] = 0) -> Array:
    """x with axes of extent 1 inserted, at the places `axis` of the result."""
    x = as_array(x)
    many = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    rank = len(x.shape) + len(many)
    places = o.normalize_axes(many, rank)
    rest = iter(x.shape)
    return reshape(x, tuple(1 if i in places else next(rest) for i in range(rank)))


def squeeze(x, /, axis: int | Sequence[int] | None = None) -> Array:
    """x without the axes `axis`, whose extent is 1; None drops every axis whose extent is known to be 1."""
    x = as_array(x)
    places = tuple(i for i, d in enumerate(x.shape) if d == 1) if axis is None else o.normalize_axes(axis, len(x.shape))
    for i in places:
        if x.shape[i] != 1:
            raise shape_error(f"axis {i} of shape {shape_text(x.shape)} can't be squeezed: its extent is not 1")
    return reshape(x, tuple(d for i, d in enumerate(x.shape) if i not in places))


def permute_dims(x, /, axes: Sequence[int]) -> Array:
    """x with axis i taken from axis `axes[i]`."""
    x = as_array(x)
    order = tuple(normalize_axis(a, len(x.shape)) for a in axes)
    if sorted(order) != list(range(len(x.shape))):
        raise shape_error(f"axes {tuple(axes)} are no order of the {len(x.shape)} axes of shape {shape_text(x.shape)}")
    return x if order == tuple(range(len(order))) else emit(Transpose(order), x)


def transpose(x, /, axes: Sequence[int] | None = None) -> Array:
    """x with its axes reversed, or in the order `axes`."""
    x = as_array(x)
    return permute_dims(x, tuple(reversed(range(len(x.shape)))) if axes is None else axes)


def swapaxes(x, /, axis1: int, axis2: int) -> Array:
    """x with two axes exchanged."""
    x = as_array(x)
    order = list(range(len(x.shape)))
    first, second = normalize_axis(axis1, len(order)), normalize_axis(axis2, len(order))
    order[first], order[second] = second, first
    return permute_dims(x, order)


def moveaxis(x, /, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """x with axes `source` moved to `destination`; the others keep their order."""
    x = as_array(x)
    rank = len(x.shape)
    source, destination = ([normalize_axis(a, rank) for a in (side if isinstance(side, (tuple, list)) else (side,))]
                           for side in (source, destination))
    if len(source) != len(destination) or len(set(source)) != len(source) or len(set(destination)) != len(destination):
        raise shape_error(f"axes {source} can't move to {destination}", hint="name as many, each once")
    order = [i for i in range(rank) if i not in source]
    for to, axis in sorted(zip(destination, source)):
        order.insert(to, axis)
    return permute_dims(x, order)


def broadcast_to(x, /, shape) -> Array:
    """x repeated to `shape` by NumPy's rules (a read-only view for arrays)."""
    return o.broadcast(as_array(x), as_shape(shape))


def broadcast_arrays(*xs) -> list[Array]:
    """The arguments repeated to their common shape; dtypes stay."""
    return o.broadcast_arrays(*map(as_array, xs))


def atleast_1d(x, /) -> Array:
    """x with one axis or more."""
    x = as_array(x)
    return x if x.shape else reshape(x, (1,))


def atleast_2d(x, /) -> Array:
    """x with two axes or more, new ones in front."""
    x = as_array(x)
    return x if len(x.shape) >= 2 else reshape(x, (1,) * (2 - len(x.shape)) + tuple(x.shape))


# ---- slices of one axis ----------------------------------------------------------------------------------------------
def slice_axis(x: Array, axis: int, start: Dim, size: Dim, step: int = 1) -> Array:
    """`size` elements of `axis` from `start` on, every `step`-th."""
    if start == 0 and size == x.shape[axis] and step == 1:
        return x
    starts, sizes, steps = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    starts[axis], sizes[axis], steps[axis] = start, size, step
    return emit(Slice(tuple(starts), tuple(sizes), tuple(steps)), x)


def flip(x, /, axis: int | Sequence[int] | None = None) -> Array:
    """x with the order of elements reversed along `axis` (all axes by default)."""
    x = as_array(x)
    for a in o.normalize_axes(axis, len(x.shape)):
        if x.shape[a] not in (0, 1):
            x = slice_axis(x, a, x.shape[a] - 1, x.shape[a], -1)
    return x


def roll(x, /, shift, axis: int | Sequence[int] | None = None) -> Array:
    """x with elements moved `shift` places along `axis`, around the end; without an axis, in row-major order."""
    x = as_array(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    shifts = tuple(shift) if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    if len(axes) != len(shifts):
        raise shape_error(f"{len(shifts)} shifts for {len(axes)} axes")
    for a, s in zip(axes, shifts):
        x = _roll_one(x, s, normalize_axis(a, len(x.shape)))
    return x


def _roll_one(x: Array, shift, axis: int) -> Array:
    extent = x.shape[axis]
    if isinstance(extent, int) and not isinstance(shift, Tracer):
        shift = int(shift) % extent if extent else 0
    elif not isinstance(shift, Tracer) and builtins.abs(int(shift)) <= bounds(extent)[0]:
        shift = extent + int(shift) if shift < 0 else int(shift)
    else:
        ramp = emit_traced(Iota((extent,), 0, int64))
        return emit(Take(axis), x, remainder(subtract(ramp, shift), extent))
    if shift == 0:
        return x
    return concat([slice_axis(x, axis, extent - shift, shift), slice_axis(x, axis, 0, extent - shift)], axis=axis)


# ---- joining and splitting -------------------------------------------------------------------------------------------
def concat(arrays: Sequence, /, axis: int | None = 0) -> Array:
    """The arrays one after the other along `axis`, in their common dtype; None joins them flattened."""
    arrays = _listed(arrays, "concat")
    dtype = result_dtype(*arrays)
    arrays = [as_operand(a, dtype) for a in arrays]
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    if not arrays[0].shape:
        raise shape_error("0-d arrays can't be joined", hint="lm.stack makes an axis of them")
    return arrays[0] if len(arrays) == 1 else emit(Concat(normalize_axis(axis, len(arrays[0].shape))), *arrays)


def _listed(arrays, name: str) -> list:
    """A list of arrays from a sequence of them, or from one array's slices along its first axis."""
    arrays = list(arrays)
    if not arrays:
        raise shape_error(f"lm.{name} of no arrays", hint="give one or more")
    return arrays


def concatenate(arrays: Sequence, /, axis: int | None = 0) -> Array:
    """NumPy's name for `concat`."""
    return concat(arrays, axis=axis)


def stack(arrays: Sequence, /, axis: int = 0) -> Array:
    """The arrays, of one shape, along a new axis."""
    arrays = _listed(arrays, "stack")
    shapes = [tuple(o.shape_of(a)) for a in arrays]
    if any(s != shapes[0] for s in shapes):
        raise shape_error("arrays of different shapes can't be stacked: " + ", ".join(map(shape_text, shapes)))
    dtype = result_dtype(*arrays)
    return concat([expand_dims(as_operand(a, dtype), axis) for a in arrays],
                  axis=normalize_axis(axis, len(shapes[0]) + 1))


def unstack(x, /, axis: int = 0) -> tuple[Array, ...]:
    """The slices of x along `axis`, without it."""
    x = as_array(x)
    axis = normalize_axis(axis, len(x.shape))
    return tuple(squeeze(slice_axis(x, axis, i, 1), axis) for i in range(_static(x, axis, "unstack")))


def _static(x: Array, axis: int, name: str) -> int:
    if isinstance(x.shape[axis], DimExpr):
        raise shape_error(f"lm.{name} needs to know the extent of axis {axis}, which is {format_dim(x.shape[axis])}",
                          hint="give the axis a constant extent")
    return x.shape[axis]


def vstack(arrays: Sequence, /) -> Array:
    """The arrays as rows, one below the other."""
    return concat([atleast_2d(a) for a in _listed(arrays, "vstack")], axis=0)


def hstack(arrays: Sequence, /) -> Array:
    """The arrays beside each other: along axis 1, or axis 0 where they have one axis."""
    arrays = [atleast_1d(a) for a in _listed(arrays, "hstack")]
    return concat(arrays, axis=0 if len(arrays[0].shape) == 1 else 1)


def column_stack(arrays: Sequence, /) -> Array:
    """1-d arrays as columns, 2-d arrays as they are, beside each other."""
    arrays = [as_array(a) for a in _listed(arrays, "column_stack")]
    return concat([expand_dims(a, 1) if len(a.shape) == 1 else a for a in arrays], axis=1)


def split(x, /, indices_or_sections, axis: int = 0) -> list[Array]:
    """x in equal parts (their number; it must divide the extent), or cut at the given places, along `axis`."""
    x = as_array(x)
    axis = normalize_axis(axis, len(x.shape))
    if isinstance(indices_or_sections, (int, np.integer)):
        part = divide_exactly(x.shape[axis], int(indices_or_sections))
        if part is None:
            raise shape_error(f"axis {axis} of extent {format_dim(x.shape[axis])} does not split into "
                              f"{indices_or_sections} equal parts", hint="lm.array_split allows unequal parts")
        return [slice_axis(x, axis, i * part, part) for i in range(int(indices_or_sections))]
    return _cut(x, axis, list(indices_or_sections))


def array_split(x, /, indices_or_sections, axis: int = 0) -> list[Array]:
    """As `split`, with parts that may differ by one element."""
    x = as_array(x)
    axis = normalize_axis(axis, len(x.shape))
    if not isinstance(indices_or_sections, (int, np.integer)):
        return _cut(x, axis, list(indices_or_sections))
    whole, more = builtins.divmod(_static(x, axis, "array_split"), int(indices_or_sections))
    sizes = [whole + 1] * more + [whole] * (int(indices_or_sections) - more)
    return _cut(x, axis, np.cumsum(sizes)[:-1].tolist())


def _cut(x: Array, axis: int, places: list) -> list[Array]:
    extent = x.shape[axis]
    if isinstance(extent, int):  # as in Python's slices, a negative place counts from the end and none lies beyond it
        places = [slice(int(p)).indices(extent)[1] for p in places]
    edges = [0, *places, extent]
    return [slice_axis(x, axis, a, b - a if not isinstance(b - a, int) else builtins.max(0, b - a)) for a,
            b in zip(edges, edges[1:])]


# ---- repeating and padding -------------------------------------------------------------------------------------------
def repeat(x, repeats, /, axis: int | None = None) -> Array:
    """Each element `repeats` times along `axis` (flattened without one); an array gives each its own count, and is
    known."""
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis(axis, len(x.shape))
    if isinstance(repeats, (int, np.integer, DimExpr)):
        before, extent, after = tuple(x.shape[:axis]), x.shape[axis], tuple(x.shape[axis + 1:])
        wide = o.broadcast(expand_dims(x, axis + 1), (*before, extent, repeats, *after))
        return reshape(wide, (*before, extent * repeats, *after))
    if isinstance(repeats, Tracer):
        raise shape_error("lm.repeat with traced counts: the result's shape would not be known",
                          hint="name `repeats` in static_argnames, or use lm.take with indices of a known length")
    extent = _static(x, axis, "repeat")
    return take_constant(x, np.repeat(np.arange(extent), np.asarray(repeats)), axis)


def take_constant(x: Array, indices: np.ndarray, axis: int) -> Array:
    """x's elements at indices that are known and lie within, along `axis`."""
    return emit(Take(axis), x, np.asarray(indices, np.int64))


def tile(x, repetitions, /) -> Array:
    """x repeated as a whole, `repetitions` times along each axis (aligned to the right)."""
    x = as_array(x)
    counts = as_shape(repetitions)
    rank = builtins.max(len(counts), len(x.shape))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(x.shape)) + tuple(x.shape)
    spread = reshape(x, tuple(e for d in shape for e in (1, d)))
    wide = o.broadcast(spread, tuple(e for n, d in zip(counts, shape) for e in (n, d)))
    return reshape(wide, tuple(n * d for n, d in zip(counts, shape)))


def pad(x, pad_width, mode: str = "constant", *, constant_values=0) -> Array:
    """x with elements around it. `pad_width`: one int, (before, after), one pair for each axis, or {axis: pair}.

    `mode`: "constant" (of `constant_values`), "edge", "reflect" (without the edge), "symmetric" (with it), "wrap".
    """
    x = as_array(x)
    widths = _pad_widths(pad_width, len(x.shape))
    if mode == "constant":
        return _pad_constant(x, widths, constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise shape_error(f"lm.pad has no mode {mode!r}", hint="constant, edge, reflect, symmetric or wrap")
    for axis, (low, high) in enumerate(widths):
        if (low, high) != (0, 0):
            x = _pad_axis(x, axis, low, high, mode)
    return x


def _pad_widths(width, rank: int) -> list[tuple[Dim, Dim]]:
    def pair(p):
        return tuple(as_shape(p)) * (2 if len(as_shape(p)) == 1 else 1)
    if isinstance(width, dict):
        given = {normalize_axis(a, rank): pair(p) for a, p in width.items()}
        widths = [given.get(a, (0, 0)) for a in range(rank)]
    elif isinstance(width, np.ndarray):
        return _pad_widths(width.tolist(), rank)
    elif isinstance(width, (int, np.integer, DimExpr)) or not builtins.any(isinstance(p, (tuple, list)) for p in width):
        widths = [pair(width)] * rank
    else:
        widths = [pair(p) for p in width] * (rank if len(width) == 1 else 1)
    if len(widths) != rank or any(len(p) != 2 for p in widths):
        raise shape_error(f"pad_width {width!r} does not fit rank {rank}", hint="give one (before, after) an axis")
    return widths


def _pad_constant(x: Array, widths, value) -> Array:
    low, high = (tuple(side) for side in zip(*widths)) if widths else ((), ())
    if all(n == 0 for n in low + high):
        return x
    if isinstance(value, Tracer) or np.ndim(value):
        inside = emit(Pad(low, high, False), o.broadcast(np.asarray(True), tuple(x.shape)))
        return where(inside, emit(Pad(low, high, 0), x), as_operand(value, dtype_of(x)))
    number = np.asarray(value).item()
    dtype = dtype_of(x)
    return emit(Pad(low, high, float(number) if dtype.is_float else bool(number) if dtype.is_bool else number), x)


def _pad_axis(x: Array, axis: int, low: Dim, high: Dim, mode: str) -> Array:
    extent = x.shape[axis]
    if extent == 0:
        raise shape_error(f"axis {axis} has no elements to pad from in mode {mode!r}")
    if mode == "edge":
        first, last = slice_axis(x, axis, 0, 1), slice_axis(x, axis, extent - 1, 1)
        pieces = [o.broadcast(piece, (*x.shape[:axis], n, *x.shape[axis + 1:])) for piece,
                  n in ((first, low), (last, high))]
        return _joined(pieces[0], x, pieces[1], axis)
    edge = 1 if mode == "reflect" else 0
    if not (isinstance(low, int) and isinstance(high, int) and builtins.max(low, high) + edge <= bounds(extent)[0]):
        indices = np.pad(np.arange(_static(x, axis, "pad")), (low, high), mode)
        return take_constant(x, indices, axis)
    if mode == "wrap":
        return _joined(slice_axis(x, axis, extent - low, low), x, slice_axis(x, axis, 0, high), axis)
    before = flip(slice_axis(x, axis, edge, low), axis=axis)
    after = flip(slice_axis(x, axis, extent - edge - high, high), axis=axis)
    return _joined(before, x, after, axis)


def _joined(before: Array, x: Array, after: Array, axis: int) -> Array:
    return concat([piece for piece in (before, x, after) if piece is x or piece.shape[axis] != 0], axis=axis)


def append(x, values, /, axis: int | None = None) -> Array:
    """x with `values` after it along `axis` (both flattened without one)."""
    return concat([x, values], axis=axis)
