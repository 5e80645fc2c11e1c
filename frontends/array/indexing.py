"""What do x[index] and x.at[index].set(..) mean?  NumPy's basic and advanced indexing as slices, look-ups and
scatters."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, bounds, ceil_div, format_dim
from ...compiler.core.dtypes import int64
from ...compiler.core.errors import ShapeError
from ...compiler.ops.gather import DynamicSlice, DynamicUpdateSlice, GatherNd, Take
from ...compiler.ops.rearrange import Slice
from ...compiler.ops.scatter import ScatterAlong, ScatterNd
from .elementwise import add, maximum, minimum, multiply, negative
from .manipulation import moveaxis, permute_dims, reshape, stack
from .operands import (Array, as_array, as_operand, as_shape, broadcast, broadcast_shapes, cast, dtype_of,
                       normalize_axis, shape_text)
from .searching import as_indices
from .tracer import Tracer, dtype_error, emit, shape_error, trace_error


@dataclass(frozen=True)
class Range:
    """A slice with its bounds resolved: elements start, start + step, ...; `size` of them. A `dropped` axis was an
    int."""

    start: Dim
    size: Dim
    step: int
    dropped: bool = False


@dataclass(frozen=True)
class Index:
    """An index, taken apart. `axes` holds for each axis of the array a Range or an index array (int64, from 0).

    `layout` lists the index's entries in order: an axis number, None for a new axis; `split` says that index arrays
    were separated by something, so that NumPy puts their axes first.
    """

    axes: tuple
    layout: tuple
    split: bool

    @property
    def arrays(self) -> list[int]:
        return [i for i, item in enumerate(self.axes) if not isinstance(item, Range)]


# ---- taking an index apart -------------------------------------------------------------------------------------------
def parse(x: Array, index) -> Index:
    """`index` taken apart against x's shape."""
    entries = _expand(index if isinstance(index, tuple) else (index,), len(x.shape), x)
    has_arrays = any(_is_array(e) for e in entries)
    axes, layout, kinds, axis = [], [], [], 0
    for entry in entries:
        if entry is None or entry is Ellipsis:
            kinds.append("new" if entry is None else "dots")
            if entry is None:
                layout.append(None)
            continue
        extent = x.shape[axis]
        if isinstance(entry, slice):
            axes.append(_resolve(entry, extent, axis))
            kinds.append("slice")
        elif has_arrays and not isinstance(entry, DimExpr):
            axes.append(as_indices(entry, extent))
            kinds.append("array")
        else:
            axes.append(Range(_position(entry, extent, axis), 1, 1, dropped=True))
            kinds.append("int")
        layout.append(axis)
        axis += 1
    places = [i for i, kind in enumerate(kinds) if kind == "array"]
    return Index(tuple(axes), tuple(layout), bool(places) and places != list(range(places[0], places[-1] + 1)))


def _is_array(entry) -> bool:
    return isinstance(entry, (Tracer, np.ndarray))


def _expand(entries: tuple, rank: int, x: Array) -> list:
    """The entries with lists as arrays, known masks as positions, and the dots (or what is left out) as full slices."""
    found: list = []
    for entry in entries:
        if isinstance(entry, (list, tuple)):
            entry = np.zeros(0, np.int64) if len(entry) == 0 else as_array(entry)
        if isinstance(entry, (bool, np.bool_)) or _is_array(entry) and dtype_of(entry).is_bool:
            found.extend(_mask(entry, x))
        elif entry is None or entry is Ellipsis or isinstance(entry, (slice, DimExpr)) or _is_array(entry):
            found.append(entry)
        elif hasattr(entry, "__array__") and not isinstance(entry, np.generic):
            found.append(as_array(entry))
        else:
            try:
                found.append(operator.index(entry))
            except TypeError:
                raise dtype_error(f"{entry!r} can't be an index",
                                  hint="an index holds integers, slices, None, ... and integer arrays") from None
    if sum(e is Ellipsis for e in found) > 1:
        raise shape_error("an index has one ... at most")
    consumed = sum(e is not None and e is not Ellipsis for e in found)
    if consumed > rank:
        raise shape_error(f"{consumed} indices for an array of shape {shape_text(x.shape)}")
    at = next((i for i, e in enumerate(found) if e is Ellipsis), len(found))
    return found[:at + 1] + [slice(None)] * (rank - consumed) + found[at + 1:]


def _mask(entry, x: Array) -> tuple[np.ndarray, ...]:
    if isinstance(entry, Tracer):
        raise trace_error(f"{x!r} can't be indexed with the traced mask {entry!r}: the result's shape would depend on "
                          f"its values",
                          hint="lm.where(mask, x, other) keeps the shape; sum(where=mask) sums what it selects")
    if np.ndim(entry) == 0:
        raise shape_error("a single bool can't be an index")
    return np.nonzero(entry)


def _position(entry, extent: Dim, axis: int) -> Dim:
    """An int index counted from 0."""
    low, high = bounds(entry)
    place = entry + extent if high < 0 else entry
    if bounds(place)[0] < 0 or bounds(extent - 1 - place)[1] < 0:
        raise shape_error(f"index {format_dim(entry)} is out of bounds for axis {axis} of {format_dim(extent)} "
                          f"elements")
    return place


def _resolve(s: slice, extent: Dim, axis: int) -> Range:
    for bound in (s.start, s.stop, s.step):
        if isinstance(bound, Tracer):
            raise trace_error(f"a slice with the traced bound {bound!r}: the result's shape would depend on its value",
                              hint="lm.dynamic_slice(x, starts, sizes) takes traced starts and fixed sizes")
    step = 1 if s.step is None else operator.index(s.step)
    if step == 0:
        raise shape_error("the step of a slice is 0")
    if isinstance(extent, int) and not isinstance(s.start, DimExpr) and not isinstance(s.stop, DimExpr):
        places = range(extent)[s]
        return Range(places.start if len(places) else 0, len(places), step)
    if step > 0:
        start, stop = _bound(s.start, 0, extent, axis), _bound(s.stop, extent, extent, axis)
        size = ceil_div(stop - start, step)
    else:
        start = extent - 1 if s.start is None else _bound(s.start, None, extent - 1, axis, extent)
        stop = -1 if s.stop is None else _bound(s.stop, None, extent - 1, axis, extent)
        size = ceil_div(start - stop, -step)
    if bounds(size)[0] < 0:
        if bounds(size)[1] > 0:
            raise _undecided(f"whether {format_dim(size)} is negative", axis)
        size = 0
    return Range(start if size != 0 else 0, size, step)


def _bound(value, default: Dim | None, limit: Dim, axis: int, extent: Dim | None = None) -> Dim:
    """A slice bound from the front, at most `limit`; an error where the facts of the dims leave that open."""
    extent = limit if extent is None else extent
    if value is None:
        return default
    value = value if isinstance(value, DimExpr) else operator.index(value)
    low, high = bounds(value)
    if high < 0:
        value = value + extent
        if bounds(value)[0] < 0:
            if bounds(value)[1] > 0:
                raise _undecided(f"whether {format_dim(value)} is negative", axis)
            return 0
    elif low < 0:
        raise _undecided(f"whether {format_dim(value)} is negative", axis)
    room = bounds(limit - value)
    if room[0] >= 0:
        return value
    if room[1] <= 0:
        return limit
    raise _undecided(f"whether {format_dim(value)} is at most {format_dim(limit)}", axis)


def _undecided(what: str, axis: int) -> ShapeError:
    return shape_error(f"a slice of axis {axis}: the facts of the dims do not tell {what}",
                       hint="declare bounds, such as n=8..512")


# ---- reading ---------------------------------------------------------------------------------------------------------
def getitem(x, index, /) -> Array:
    """x[index] by NumPy's rules, for arrays and tracers. A traced index that lies outside means the nearest element."""
    x = as_array(x)
    parts = parse(x, index)
    ranges = [item if isinstance(item, Range) else Range(0, d, 1) for item, d in zip(parts.axes, x.shape)]
    window = _window(x, ranges)
    visible = [a for a in parts.layout if a is None or not ranges[a].dropped]
    kept = reshape(window, tuple(1 if a is None else window.shape[a] for a in visible))
    if not parts.arrays:
        return kept
    places = [n for n, a in enumerate(visible) if a in parts.arrays]
    if len(places) == 1:
        return emit(Take(places[0]), kept, parts.axes[parts.arrays[0]])
    found = emit(GatherNd(0), moveaxis(kept, places, list(range(len(places)))), _stacked(parts))
    rank = len(found.shape) - (len(kept.shape) - len(places))
    return found if parts.split else moveaxis(found, list(range(rank)), list(range(places[0], places[0] + rank)))


def _window(x: Array, ranges: list[Range]) -> Array:
    if all(r.start == 0 and r.size == d and r.step == 1 for r, d in zip(ranges, x.shape)):
        return x
    return emit(Slice(tuple(r.start for r in ranges), tuple(r.size for r in ranges), tuple(r.step for r in ranges)), x)


def _stacked(parts: Index) -> Array:
    """The index arrays, broadcast, as coordinates along a last axis."""
    arrays = [cast(parts.axes[a], int64) for a in parts.arrays]
    shape = broadcast_shapes(*(a.shape for a in arrays))
    return stack([broadcast(a, shape) for a in arrays], axis=-1)


# ---- writing ---------------------------------------------------------------------------------------------------------
class At:
    """x.at[index]: the places that an update goes to. Every update makes a new array; x is left alone."""

    __slots__ = ("array", "index")

    def __init__(self, array: Array, index=None):
        self.array = array
        self.index = index

    def __getitem__(self, index) -> "At":
        return At(self.array, index)

    def get(self) -> Array:
        """x[index]."""
        return getitem(self.array, self.index)

    def set(self, values) -> Array:
        """x with `values` at index; where a place occurs more than once the last one stays."""
        return update(self.array, self.index, values, "set")

    def add(self, values) -> Array:
        """x with `values` added at index; places that occur more than once add up."""
        return update(self.array, self.index, values, "add")

    def subtract(self, values) -> Array:
        """x with `values` subtracted at index."""
        return update(self.array, self.index, negative(values), "add")

    def multiply(self, values) -> Array:
        """x with index multiplied by `values`."""
        return update(self.array, self.index, values, "mul")

    def min(self, values) -> Array:
        """x with the smaller of itself and `values` at index."""
        return update(self.array, self.index, values, "min")

    def max(self, values) -> Array:
        """x with the larger of itself and `values` at index."""
        return update(self.array, self.index, values, "max")


def at(x, /) -> At:
    """lm.at(x)[index].set(v): x.at for NumPy arrays too, so that one function runs traced and at once."""
    return At(as_array(x))


_COMBINE = {"add": add, "mul": multiply, "min": minimum, "max": maximum}


def update(x, index, values, reduction: str, /) -> Array:
    """x with `values` (cast to x's dtype, broadcast to x[index]) written at index, or combined by "add", "mul", "min",
    "max".

    Traced indices that lie outside are dropped.
    """
    x = as_array(x)
    values = as_operand(values, dtype_of(x))
    parts = parse(x, index)
    ranges = [item if isinstance(item, Range) else Range(0, d, 1) for item, d in zip(parts.axes, x.shape)]
    if any(r.step != 1 for r in ranges):
        return _update_stepped(x, index, values, reduction)
    if not parts.arrays:
        shape = tuple(1 if a is None else ranges[a].size for a in parts.layout if a is None or not ranges[a].dropped)
        sizes = tuple(r.size for r in ranges)
        values = reshape(broadcast(values, shape), sizes)
        if reduction != "set":
            values = _COMBINE[reduction](_window(x, ranges), values)
        return emit(DynamicUpdateSlice(), x, values, *(as_array(r.start, int64) for r in ranges))
    if any(not _is_full(r, d) for r, d in zip(ranges, x.shape)):
        return _update_within(x, parts, ranges, values, reduction)
    return _scatter(x, parts, ranges, values, reduction)


def _is_full(r: Range, extent: Dim) -> bool:
    return r.start == 0 and r.size == extent


def _scatter(x: Array, parts: Index, ranges, values: Array, reduction: str) -> Array:
    at = _stacked(parts)
    arrays = parts.arrays
    rank = len(at.shape) - 1
    kept = [a for a in range(len(x.shape)) if a not in arrays]
    visible = [a for a in parts.layout if a not in arrays]  # kept axes and new ones, in order
    before = 0 if parts.split else next(n for n, a in enumerate(parts.layout) if a in arrays)
    outer = tuple(1 if a is None else x.shape[a] for a in visible)
    values = broadcast(values, outer[:before] + tuple(at.shape[:-1]) + outer[before:])
    values = moveaxis(values, list(range(before, before + rank)), list(range(rank)))
    values = reshape(values, (*at.shape[:-1], *(x.shape[a] for a in kept)))
    order = arrays + kept
    result = emit(ScatterNd(reduction), permute_dims(x, order), at, values)
    return permute_dims(result, [order.index(a) for a in range(len(order))])


def _update_within(x: Array, parts: Index, ranges, values: Array, reduction: str) -> Array:
    """Arrays together with slices: the slices' window is taken out, updated by the arrays alone, and put back."""
    window = _window(x, ranges)
    full = [Range(0, d, 1) for d in window.shape]
    dropped = [a for a, r in enumerate(ranges) if r.dropped]
    if dropped:  # a symbolic int beside arrays
        raise shape_error("an update with index arrays and a symbolic dim as index", hint="index with x.shape[i:]")
    inner = Index(tuple(full[a] if isinstance(item, Range) else item for a, item in enumerate(parts.axes)),
                  parts.layout, parts.split)
    updated = _scatter(window, inner, full, values, reduction)
    return emit(DynamicUpdateSlice(), x, updated, *(as_array(r.start, int64) for r in ranges))


def _update_stepped(x: Array, index, values: Array, reduction: str) -> Array:
    """Slices with steps: as a scatter to positions in the flattened array, which are known."""
    entries = index if isinstance(index, tuple) else (index,)
    if any(isinstance(d, DimExpr) for d in x.shape) or any(isinstance(e, (Tracer, DimExpr)) for e in entries):
        raise shape_error("an update through a slice with a step needs constant extents and known indices",
                          hint="use lm.where with a mask, or scatter_nd")
    size = int(np.prod(x.shape))
    places = np.arange(size).reshape(x.shape)[index]
    values = broadcast(values, places.shape)
    flat = emit(ScatterNd(reduction), reshape(x, (size,)), places.reshape(-1, 1), reshape(values, (places.size,)))
    return reshape(flat, x.shape)


# ---- the primitives under their own names ----------------------------------------------------------------------------
def dynamic_slice(x, starts, sizes, /) -> Array:
    """The window of `sizes` that begins at `starts` (scalars, one for each axis, traced or not), moved so that it lies
    within x."""
    x = as_array(x)
    return emit(DynamicSlice(as_shape(sizes)), x, *_starts(starts, len(x.shape)))


def dynamic_update_slice(x, update, starts, /) -> Array:
    """x with the window that begins at `starts` replaced by `update`; the window is moved so that it lies within x."""
    x = as_array(x)
    return emit(DynamicUpdateSlice(), x, as_operand(update, dtype_of(x)), *_starts(starts, len(x.shape)))


def _starts(starts, rank: int) -> list[Array]:
    if _is_array(starts) and len(starts.shape) == 1:
        starts = [getitem(starts, i) for i in range(starts.shape[0])]
    starts = [as_array(s) for s in (starts if isinstance(starts, (list, tuple)) else [starts])]
    if len(starts) != rank or any(s.shape != () for s in starts):
        raise shape_error(f"{len(starts)} starts for rank {rank}", hint="give one scalar for each axis")
    return [cast(s, int64) for s in starts]


def gather_nd(x, indices, /, *, batch_dims: int = 0) -> Array:
    """x's elements or slices at the coordinates in the last axis of `indices`, as ONNX's GatherND. They count from
    0."""
    return emit(GatherNd(batch_dims), as_array(x), _coordinates(indices))


def scatter_nd(x, indices, updates, /, *, reduction: str = "set") -> Array:
    """x with `updates` written at the coordinates in the last axis of `indices` ("set"), or combined: "add", "mul",
    "max", "min"."""
    x = as_array(x)
    return emit(ScatterNd(reduction), x, _coordinates(indices), as_operand(updates, dtype_of(x)))


def put_along_axis(x, indices, updates, /, axis: int, *, reduction: str = "set") -> Array:
    """A new array: x with x[.., indices[.., i, ..], ..] along `axis` replaced by updates[.., i, ..], or combined with
    it."""
    x = as_array(x)
    axis = normalize_axis(axis, len(x.shape))
    at = as_indices(indices, x.shape[axis])
    values = broadcast(as_operand(updates, dtype_of(x)), tuple(at.shape))
    return emit(ScatterAlong(axis, reduction), x, at, values)


def _coordinates(indices) -> Array:
    indices = as_array(indices)
    if not dtype_of(indices).is_integer:
        raise dtype_error(f"coordinates of {dtype_of(indices).name}", hint="coordinates are integers")
    return cast(indices, int64)


