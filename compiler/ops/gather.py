"""Operators that look elements up by index, as ONNX, NumPy and JAX do: take, gather, dynamic slices.

Indices count from 0 (frontends wrap negative ones); one that lies outside means the nearest element, so that no memory
outside the operand is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ..core.dims import Dim
from ..core.dtypes import bool_, int32, int64
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from ..kernel import builder as k
from .batching import all_batched, move_axis
from .constant import Iota
from .constants import broadcast, extent_value, extent_values, filled
from .elementwise import Max, Min
from .elementwise.term import Term
from .op import (Op, Sample, dtype_error, is_nonnegative, require_axis, require_operands, require_same_dtype,
                 shape_error)
from .rearrange import Concat, Reshape, Transpose
from .sample_arrays import draw


class Lookup(Op, abstract=True):
    """An op whose result elements are operand elements at computed places; `element` tells which."""

    has_element = True

    def flops(self, *types):
        return 0


def require_indices(op: Op, indices: TensorType, *types: TensorType) -> None:
    """A DTypeError unless the operand `indices` is int32 or int64."""
    if indices.dtype not in (int32, int64):
        raise dtype_error(op, f"indices of dtype {indices.dtype.name}", *types, hint="indices are int32 or int64")


def _require_elements(op: Op, extent: Dim, *types: TensorType) -> None:
    if extent == 0 and not any(d == 0 for d in op._places(*types)):
        raise shape_error(op, "looks up in an axis without elements", *types)


def clamped(position, extent: Dim):
    """The expression `position` (of an integer dtype) as int64 within 0 .. extent - 1."""
    return k.maximum(k.minimum(k.cast(int64, position), k.as_expr(extent - 1)), 0)


def clamped_indices(builder: Builder, indices: Value, extents: Value) -> Value:
    """Indices within 0 .. extents - 1, which are broadcast along their last axes: where an element was looked up."""
    rank = indices.type.rank
    bound = broadcast(builder, extents, indices.shape, range(rank - extents.type.rank, rank))
    return (Term(builder, indices).of(Min(), Term(builder, bound) - 1).of(Max(), 0)).value


@dataclass(frozen=True)
class Take(Lookup):
    """x's elements at `indices` along `axis`: (x, indices) -> x.shape[:axis] + indices.shape + x.shape[axis + 1:]."""

    axis: int

    def infer(self, *types):
        require_operands(self, 2, *types)
        x, indices = types
        require_axis(self, self.axis, x.rank)
        require_indices(self, indices, *types)
        _require_elements(self, x.shape[self.axis], *types)
        return (TensorType((*x.shape[:self.axis], *indices.shape, *x.shape[self.axis + 1:]), x.dtype),)

    def _places(self, x, indices):
        return indices.shape

    def reference(self, x, indices):
        return np.take(x, np.clip(indices, 0, max(0, x.shape[self.axis] - 1)), self.axis)

    def vjp(self, builder, operands, results, cotangents):
        """What was taken goes back to where it came from; the axis stands in front for that."""
        from .scatter import ScatterNd
        (x, indices), (g,) = operands, cotangents
        if x.shape[self.axis] == 0:
            return None, None
        taken = range(self.axis, self.axis + indices.type.rank)
        rows = builder.emit(Transpose((*taken, *(a for a in range(g.type.rank) if a not in taken))), g)
        at = clamped_indices(builder, indices, extent_value(builder, x.shape[self.axis], indices.dtype))
        others = tuple(a for a in range(x.type.rank) if a != self.axis)
        zeros = filled(builder, TensorType((x.shape[self.axis], *(x.shape[a] for a in others)), x.dtype), 0)
        total = builder.emit(ScatterNd("add"), zeros, builder.emit(Reshape((*indices.shape, 1)), at), rows)
        order = (self.axis, *others)
        return builder.emit(Transpose(tuple(order.index(a) for a in range(x.type.rank))), total), None

    def element(self, operands, index, types, result):
        x, indices = types
        end = self.axis + indices.rank
        if x.shape[self.axis] == 0:
            return k.constant(0, result.dtype.compute)
        at = clamped(operands[1](tuple(index[self.axis:end])), x.shape[self.axis])
        return operands[0]((*index[:self.axis], at, *index[end:]))

    def vmap(self, builder, operands, is_batched, size):
        x, indices = operands
        if not is_batched[1]:
            return builder.emit_all(Take(self.axis + 1), x, indices)
        if not is_batched[0]:
            return (move_axis(builder, builder.emit(self, x, indices), self.axis, 0),)
        taken = indices.type.rank - 1
        rows = move_axis(builder, x, self.axis + 1, 1)
        found = builder.emit(GatherNd(1), rows, builder.emit(Reshape((*indices.shape, 1)), indices))
        before = range(1 + taken, 1 + taken + self.axis)
        order = (0, *before, *range(1, 1 + taken), *range(1 + taken + self.axis, found.type.rank))
        return builder.emit_all(Transpose(order), found)

    @classmethod
    def samples(cls):
        cases = [(0, (7, 5), (3,), "float32"), (1, (3, 11), (2, 4), "float32"), (0, (5,), (), "float64"),
                 (2, (2, 3, 5), (7,), "bfloat16"),
                 (1, (2, 7, 3), (1, 1), "int8"), (0, (4, 3), (0,), "float32"), (0, (0, 3), (0,), "float32"),
                 (0, (1,), (5,), "bool"),
                 (0, (17, 33), (13,), "float16"), (0, (3, 0), (2,), "int64")]
        return [Sample(cls(axis), (draw(d, *x), _indices(x[axis], i, "int32" if n % 2 else "int64")))
                for n, (axis, x, i, d) in enumerate(cases)]


def _indices(extent: int, shape: tuple[int, ...], dtype: str = "int64", seed: int = 0) -> np.ndarray:
    """Random places in 0 .. extent - 1, and now and then one that lies outside, on either side."""
    rng = np.random.default_rng((seed, extent, *shape))
    found = rng.integers(0, max(extent, 1), shape)
    chance = rng.integers(0, 12, shape)
    return np.select([chance == 0, chance == 1], [found + extent + 3, found - extent - 2], found).astype(dtype)


@dataclass(frozen=True)
class TakeAlong(Lookup):
    """result[.., i, ..] = x[.., indices[.., i, ..], ..] along `axis`; ranks and all other extents agree."""

    axis: int

    def infer(self, *types):
        require_operands(self, 2, *types)
        x, indices = types
        require_axis(self, self.axis, x.rank)
        require_indices(self, indices, *types)
        pairs = enumerate(zip(x.shape, indices.shape))
        if indices.rank != x.rank or any(a != b for i, (a, b) in pairs if i != self.axis):
            raise shape_error(self, f"the shapes may differ in axis {self.axis} alone", *types)
        _require_elements(self, x.shape[self.axis], *types)
        return (TensorType(indices.shape, x.dtype),)

    def _places(self, x, indices):
        return indices.shape

    def reference(self, x, indices):
        return np.take_along_axis(x, np.clip(indices, 0, max(0, x.shape[self.axis] - 1)), self.axis)

    def vjp(self, builder, operands, results, cotangents):
        from .scatter import ScatterAlong
        (x, indices), (g,) = operands, cotangents
        at = clamped_indices(builder, indices, extent_value(builder, x.shape[self.axis], indices.dtype))
        if indices.shape[self.axis] == 1:  # one of each row, as losses take it: a choice, which fuses
            ramp = Term(builder, builder.emit(Iota(x.shape, self.axis, indices.dtype)))
            at, g = (Term(builder, broadcast(builder, v, x.shape, range(x.type.rank))) for v in (at, g))
            return g.where(ramp.compare("eq", at)).value, None
        return builder.emit(ScatterAlong(self.axis, "add"), filled(builder, x.type, 0), at, g), None

    def element(self, operands, index, types, result):
        x, axis = types[0], self.axis
        if x.shape[axis] == 0:
            return k.constant(0, result.dtype.compute)
        return operands[0]((*index[:axis], clamped(operands[1](tuple(index)), x.shape[axis]), *index[axis + 1:]))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(TakeAlong(self.axis + 1), *all_batched(builder, operands, is_batched, size))

    @classmethod
    def samples(cls):
        cases = [(1, (3, 7), (3, 5), "float32"), (0, (7, 3), (2, 3), "float32"), (0, (5,), (9,), "int64"),
                 (1, (2, 3, 5), (2, 17, 5), "bfloat16"),
                 (1, (0, 3), (0, 2), "float32"), (0, (1, 1), (1, 1), "bool"), (1, (3, 4), (3, 0), "float64"),
                 (2, (2, 3, 13), (2, 3, 1), "float16"),
                 (0, (6,), (6,), "uint8")]
        return [Sample(cls(axis), (draw(d, *x), _indices(x[axis], i, "int32" if n % 2 else "int64")))
                for n, (axis, x, i, d) in enumerate(cases)]


@dataclass(frozen=True)
class GatherNd(Lookup):
    """ONNX GatherND: (x, indices [.., K]): the last axis of indices addresses K axes of x, from `batch_dims` on.

    The first `batch_dims` axes of both agree; the result is indices.shape[:-1] + x.shape[batch_dims + K:].
    """

    batch_dims: int = 0

    def infer(self, *types):
        require_operands(self, 2, *types)
        x, indices = types
        require_indices(self, indices, *types)
        count = coordinates(self, indices, x.rank - self.batch_dims, *types)
        b = self.batch_dims
        if not 0 <= b < indices.rank or x.shape[:b] != indices.shape[:b]:
            raise shape_error(self, f"the first {b} axes must agree", *types)
        for axis in range(b, b + count):
            _require_elements(self, x.shape[axis], *types)
        return (TensorType((*indices.shape[:-1], *x.shape[b + count:]), x.dtype),)

    def _places(self, x, indices):
        return (*indices.shape[:-1], *x.shape[self.batch_dims + indices.shape[-1]:])

    def reference(self, x, indices):
        b, count = self.batch_dims, indices.shape[-1]
        grid = np.indices(indices.shape[:-1])[:b]
        at = [np.clip(indices[..., i], 0, max(0, x.shape[b + i] - 1)) for i in range(count)]
        return x[(*grid, *at)]

    def vjp(self, builder, operands, results, cotangents):
        from .scatter import ScatterNd
        (x, indices), (g,) = operands, cotangents
        addressed = x.shape[self.batch_dims:self.batch_dims + indices.shape[-1]]
        at = clamped_indices(builder, indices, extent_values(builder, addressed, indices.dtype))
        one = (*indices.shape[:-1], 1)
        batch = [builder.emit(Iota(one, axis, indices.dtype)) for axis in range(self.batch_dims)]
        at = builder.emit(Concat(len(one) - 1), *batch, at) if batch else at
        return builder.emit(ScatterNd("add"), filled(builder, x.type, 0), at, g), None

    def element(self, operands, index, types, result):
        x, indices = types
        b, outer = self.batch_dims, tuple(index[:indices.rank - 1])
        if any(d == 0 for d in x.shape):
            return k.constant(0, result.dtype.compute)
        at = [clamped(operands[1]((*outer, k.constant(i))), x.shape[b + i]) for i in range(indices.shape[-1])]
        return operands[0]((*index[:b], *at, *index[len(outer):]))

    def vmap(self, builder, operands, is_batched, size):
        if not is_batched[0] and self.batch_dims == 0:
            return builder.emit_all(self, *operands)
        return builder.emit_all(GatherNd(self.batch_dims + 1), *all_batched(builder, operands, is_batched, size))

    @classmethod
    def samples(cls):
        cases = [(0, (5, 7), (3, 2), "float32"), (0, (5, 7), (3, 1), "float32"), (0, (5, 7, 3), (2, 4, 2), "bfloat16"),
                 (1, (2, 5, 3), (2, 1), "float32"), (1, (2, 5, 3), (2, 4, 2), "int64"),
                 (2, (2, 3, 7), (2, 3, 1), "bool"),
                 (0, (4,), (0, 1), "float32"), (0, (1, 1), (2,), "float16"), (0, (13, 2), (17, 1), "uint8"),
                 (0, (0, 3), (0, 1), "float64")]
        samples = []
        for n, (b, x, i, d) in enumerate(cases):
            at = [_indices(x[b + c], i[:-1], "int32" if n % 2 else "int64", seed=c) for c in range(i[-1])]
            samples.append(Sample(cls(b), (draw(d, *x), np.stack(at, -1))))
        return samples


def coordinates(op: Op, indices: TensorType, most: int, *types: TensorType) -> int:
    """K, the extent of indices' last axis: a constant from 1 to `most`."""
    count = indices.shape[-1] if indices.rank else None
    if not isinstance(count, int) or not 1 <= count <= most:
        raise shape_error(op, f"the last axis of indices must have from 1 to {most} coordinates", *types)
    return count


# ---- dynamic slices --------------------------------------------------------------------------------------------------
def _require_window(op: Op, sizes: tuple[Dim, ...], starts: tuple[TensorType, ...], *types: TensorType) -> None:
    x = types[0]
    if len(sizes) != x.rank or len(starts) != x.rank:
        raise shape_error(op, f"{len(sizes)} extents and {len(starts)} starts for rank {x.rank}", *types)
    for start in starts:
        if start.rank != 0:
            raise shape_error(op, f"the start {start} is no scalar", *types)
        require_indices(op, start, *types)
    for axis, (extent, size) in enumerate(zip(x.shape, sizes)):
        if not is_nonnegative(size) or not is_nonnegative(extent - size):
            static = isinstance(extent, int) and isinstance(size, int)
            raise shape_error(op, f"a window of {size} does not lie within the {extent} elements of axis {axis}",
                              *types, hint=None if static else "declare facts of the dims under which it does")


def _start(read, extent: Dim, size: Dim):
    return k.maximum(k.minimum(k.cast(int64, read(())), k.as_expr(extent - size)), 0)


def _moved_axes(extents: Sequence[Dim], sizes: Sequence[Dim]) -> tuple[list[int], tuple[int, ...]]:
    """The axes along which a window can move, and all axes with these in front."""
    moved = [a for a, (extent, size) in enumerate(zip(extents, sizes)) if extent != size]
    return moved, (*moved, *(a for a in range(len(sizes)) if a not in moved))


def _window_places(builder: Builder, extents: Sequence[Dim], sizes: Sequence[Dim], moved: Sequence[int],
                   starts: Sequence[Value], is_batched: Sequence[bool], size: Dim) -> Value:
    """Of the elements of `size` windows the coordinates on the axes that `moved` names: [size, their sizes.., axes]."""
    shape, parts = (size, *(sizes[a] for a in moved)), []
    for place, axis in enumerate(moved, 1):
        start = Term(builder, starts[axis]).cast(int64)
        last = extent_value(builder, extents[axis] - sizes[axis], int64)
        last = Term(builder, broadcast(builder, last, start.type.shape, ()))
        start = start.of(Min(), last).of(Max(), 0).value
        start = Term(builder, broadcast(builder, start, shape, (0,) if is_batched[axis] else ()))
        at = start + Term(builder, builder.emit(Iota(shape, place, int64)))
        parts.append(builder.emit(Reshape((*shape, 1)), at.value))
    return builder.emit(Concat(len(shape)), *parts)


def _clamped_starts(x: np.ndarray, sizes, starts) -> list[int]:
    return [max(0, min(int(at), extent - size)) for at, extent, size in zip(starts, x.shape, sizes)]


@dataclass(frozen=True)
class DynamicSlice(Lookup):
    """The window of `sizes` that begins at the scalars `starts`: (x, *starts). They are moved so that it lies in x."""

    sizes: tuple[Dim, ...]

    def infer(self, *types):
        x, *starts = types
        _require_window(self, self.sizes, tuple(starts), *types)
        return (TensorType(self.sizes, x.dtype),)

    def reference(self, x, *starts):
        return x[tuple(slice(at, at + size) for at, size in zip(_clamped_starts(x, self.sizes, starts), self.sizes))]

    def vjp(self, builder, operands, results, cotangents):
        (x, *starts), (g,) = operands, cotangents
        return builder.emit(DynamicUpdateSlice(), filled(builder, x.type, 0), g, *starts), *(None for _ in starts)

    def element(self, operands, index, types, result):
        read, *starts = operands
        return read(tuple(i if extent == size else k.add(_start(start, extent, size), i)
                          for i, start, extent, size in zip(index, starts, types[0].shape, self.sizes)))

    def vmap(self, builder, operands, is_batched, size):
        """Where starts differ, the elements of the windows are gathered: the axes that these move along stand in front."""
        x, *starts = operands
        if not any(is_batched[1:]):
            return builder.emit_all(DynamicSlice((size, *self.sizes)), x, builder.constant(np.array(0)), *starts)
        extents = x.shape[1:] if is_batched[0] else x.shape
        moved, order = _moved_axes(extents, self.sizes)
        if not moved:
            return (x,)
        places = _window_places(builder, extents, self.sizes, moved, starts, is_batched[1:], size)
        front = (0, *(a + 1 for a in order)) if is_batched[0] else order
        found = builder.emit(GatherNd(int(is_batched[0])), builder.emit(Transpose(front), x), places)
        return builder.emit_all(Transpose((0, *(order.index(a) + 1 for a in range(len(order))))), found)

    @classmethod
    def samples(cls):
        cases = [((7,), (3,), (2,), "float32"), ((7,), (3,), (6,), "float32"), ((7,), (3,), (-4,), "int8"),
                 ((3, 17), (2, 17), (1, 5), "bfloat16"),
                 ((3, 17), (1, 13), (99, 2), "float64"), ((), (), (), "float32"), ((4, 5), (0, 2), (1, 1), "float32"),
                 ((1,), (1,), (0,), "bool")]
        return [Sample(cls(size), (draw(d, *x), *(np.array(s, np.int32 if n % 2 else np.int64) for s in at)))
                for n, (x, size, at, d) in enumerate(cases)]


@dataclass(frozen=True)
class DynamicUpdateSlice(Lookup):
    """x with the window at the scalars `starts` replaced: (x, update, *starts). They are moved so that it lies in x."""

    def infer(self, *types):
        x, update, *starts = types
        require_same_dtype(self, x, update)
        _require_window(self, update.shape, tuple(starts), *types)
        return (x,)

    def reference(self, x, update, *starts):
        out = x.copy()
        begins = _clamped_starts(x, update.shape, starts)
        out[tuple(slice(at, at + size) for at, size in zip(begins, update.shape))] = update
        return out

    def vjp(self, builder, operands, results, cotangents):
        (_, update, *starts), (g,) = operands, cotangents
        rest = builder.emit(self, g, filled(builder, update.type, 0), *starts)
        return rest, builder.emit(DynamicSlice(update.shape), g, *starts), *(None for _ in starts)

    def element(self, operands, index, types, result):
        x, update, *starts = operands
        if any(d == 0 for d in types[1].shape):
            return x(tuple(index))
        inside, source = k.constant(True, bool_), []
        for i, start, extent, size in zip(index, starts, types[0].shape, types[1].shape):
            if extent == size:
                source.append(i)
                continue
            at = k.sub(i, _start(start, extent, size))
            inside = k.both(inside, k.both(k.compare("ge", at, 0), k.compare("lt", at, k.as_expr(size))))
            source.append(k.maximum(k.minimum(at, k.as_expr(size - 1)), 0))
        return k.select(inside, update(tuple(source)), x(tuple(index)))

    def vmap(self, builder, operands, is_batched, size):
        """Where starts differ, the elements of the windows are scattered."""
        from .scatter import ScatterNd
        x, update, *starts = operands
        if not any(is_batched[2:]):
            x, update = all_batched(builder, (x, update), is_batched, size)
            return builder.emit_all(self, x, update, builder.constant(np.array(0)), *starts)
        extents = x.shape[1:] if is_batched[0] else x.shape
        sizes = update.shape[1:] if is_batched[1] else update.shape
        moved, order = _moved_axes(extents, sizes)
        if not moved:
            return (update,)
        front = Transpose((0, *(a + 1 for a in order)))
        x, update = (builder.emit(front, v) for v in all_batched(builder, (x, update), is_batched, size))
        places = _window_places(builder, extents, sizes, moved, starts, is_batched[2:], size)
        element = builder.emit(Iota((*places.shape[:-1], 1), 0, int64))
        places = builder.emit(Concat(places.type.rank - 1), element, places)
        result = builder.emit(ScatterNd("set"), x, places, update)
        return builder.emit_all(Transpose((0, *(order.index(a) + 1 for a in range(len(order))))), result)

    @classmethod
    def samples(cls):
        cases = [((7,), (3,), (2,), "float32"), ((7,), (3,), (6,), "float32"), ((7,), (3,), (-4,), "int8"),
                 ((3, 17), (2, 17), (1, 5), "bfloat16"),
                 ((3, 17), (1, 13), (99, 2), "float64"), ((), (), (), "float32"), ((4, 5), (0, 2), (1, 1), "float32"),
                 ((1,), (1,), (0,), "bool"),
                 ((2, 9, 3), (2, 1, 3), (0, 4, 0), "float16")]
        return [Sample(cls(), (draw(d, *x), draw(d, *u, seed=1),
                               *(np.array(s, np.int32 if n % 2 else np.int64) for s in at)))
                for n, (x, u, at, d) in enumerate(cases)]
