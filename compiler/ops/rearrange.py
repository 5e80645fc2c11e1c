"""Operators that move elements without computing: reshape, transpose, broadcast, slice, pad, concat.

Each is an index map (`element`), so that fusion can read through it and no memory need move.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Sequence

import numpy as np

from ..core.dims import Dim, product
from ..core.dtypes import DType, bool_
from ..core.errors import DTypeError, ShapeError
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from ..kernel import builder as k
from .op import Op, Sample, is_nonnegative, require_axis, require_operands, require_same_dtype, shape_error
from .sample_arrays import draw, draw_special


class View(Op, abstract=True):
    """An op whose result elements are operand elements."""

    is_view = True

    def flops(self, *types):
        return 0


# ---- reshape -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Reshape(View):
    """The same elements in row-major order under another `shape`."""

    shape: tuple[Dim, ...]

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        if x.size != product(self.shape):
            raise shape_error(self, f"{x.size} elements do not fit {TensorType(self.shape, x.dtype)}", x)
        return (TensorType(self.shape, x.dtype),)

    def reference(self, x):
        return x.reshape(self.shape)

    def vjp(self, builder, operands, results, cotangents):
        return (builder.emit(Reshape(operands[0].shape), cotangents[0]),)

    def element(self, operands, index, types, result):
        source: list = [k.constant(0)] * types[0].rank
        for axes, result_axes in matching_groups(types[0].shape, self.shape):
            if len(axes) == len(result_axes) == 1:
                source[axes[0]] = index[result_axes[0]]
                continue
            linear = k.constant(0)
            for axis in result_axes:
                linear = k.add(k.mul(linear, self.shape[axis]), index[axis])
            for axis in reversed(axes[1:]):
                extent = types[0].shape[axis]
                source[axis] = k.mod(linear, extent)
                linear = k.floordiv(linear, extent)
            source[axes[0]] = linear
        return operands[0](tuple(source))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Reshape((size, *self.shape)), *operands)

    @classmethod
    def samples(cls):
        cases = [((2, 3), (6,)), ((6,), (2, 3)), ((4, 6), (6, 4)), ((1, 5, 1), (5,)), ((5,), (1, 1, 5, 1)),
                 ((), (1, 1)),
                 ((1,), ()), ((0, 3), (7, 0)), ((2, 3, 5, 7), (6, 35)), ((6, 35), (2, 3, 7, 5)),
                 ((3, 4, 1, 17), (3, 2, 2, 17)),
                 ((7, 2, 9), (7, 3, 6)), ((12, 1, 13), (2, 6, 13, 1)), ((2, 1, 3), (1, 2, 1, 3))]
        dtypes = ("float32", "bool", "int8", "bfloat16", "int64", "float16", "uint8", "float64")
        return [Sample(cls(b), (draw(dtypes[i % len(dtypes)], *a),)) for i, (a, b) in enumerate(cases)]


def matching_groups(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> list[tuple[list[int], list[int]]]:
    """The axes of shapes `a` and `b` (of one size) in the smallest runs of equal product, without those of extent 1.

    (2, 3, 5) and (6, 5) give ([0, 1], [0]) and ([2], [1]): a reshape mixes indices inside a run only.
    """
    if any(d == 0 for d in a):
        return []
    first = [i for i, d in enumerate(a) if d != 1]
    second = [i for i, d in enumerate(b) if d != 1]
    ends, total = {}, 1
    for position, axis in enumerate(second):
        total = total * b[axis]
        ends[total] = position + 1
    groups, total, start, done = [], 1, 0, 0
    for position, axis in enumerate(first):
        total = total * a[axis]
        end = ends.get(total, 0)
        if end > done:
            groups.append((first[start:position + 1], second[done:end]))
            start, done = position + 1, end
    return groups


def without_units(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """`shape` without its axes of extent 1: equal for tensors that differ only in those."""
    return tuple(d for d in shape if d != 1)


# ---- transpose and broadcast -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Transpose(View):
    """Axes in another order: result axis i is operand axis `permutation[i]`."""

    permutation: tuple[int, ...]

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        if sorted(self.permutation) != list(range(x.rank)):
            raise shape_error(self, f"{self.permutation} is no permutation of {x.rank} axes", x)
        return (TensorType(tuple(x.shape[p] for p in self.permutation), x.dtype),)

    def reference(self, x):
        return np.transpose(x, self.permutation)

    def vjp(self, builder, operands, results, cotangents):
        inverse = tuple(self.permutation.index(axis) for axis in range(len(self.permutation)))
        return (builder.emit(Transpose(inverse), cotangents[0]),)

    def element(self, operands, index, types, result):
        source: list = [None] * len(index)
        for axis, p in enumerate(self.permutation):
            source[p] = index[axis]
        return operands[0](tuple(source))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Transpose((0, *(p + 1 for p in self.permutation))), *operands)

    @classmethod
    def samples(cls):
        cases = [((3, 5), (1, 0)), ((2, 3, 5), (2, 0, 1)), ((2, 3, 5), (0, 2, 1)), ((), ()), ((7,), (0,)),
                 ((3, 0, 2), (1, 2, 0)),
                 ((17, 33), (1, 0)), ((2, 3, 4, 5), (0, 2, 1, 3)), ((1, 13, 1), (2, 1, 0))]
        dtypes = ("float32", "int8", "bfloat16", "bool", "int64", "float16", "float32", "float64", "uint8")
        return [Sample(cls(p), (draw(d, *s),)) for (s, p), d in zip(cases, dtypes)]


@dataclass(frozen=True)
class Broadcast(View):
    """x repeated to `shape`: operand axis i becomes result axis `axes[i]`; its extent is that axis's, or 1."""

    shape: tuple[Dim, ...]
    axes: tuple[int, ...]
    expands = True

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        target = TensorType(self.shape, x.dtype)
        if len(self.axes) != x.rank:
            raise shape_error(self, f"{len(self.axes)} axes are named for rank {x.rank}", x)
        for axis in self.axes:
            require_axis(self, axis, len(self.shape))
        if any(a >= b for a, b in zip(self.axes, self.axes[1:])):
            raise shape_error(self, f"axes {self.axes} do not increase", x, hint="transpose first")
        for i, axis in enumerate(self.axes):
            if x.shape[i] != 1 and x.shape[i] != self.shape[axis]:
                raise shape_error(self, f"axis {i} of extent {x.shape[i]} can't become axis {axis} of {target}", x)
        return (target,)

    def reference(self, x):
        expanded = [1] * len(self.shape)
        for i, axis in enumerate(self.axes):
            expanded[axis] = x.shape[i]
        return np.broadcast_to(x.reshape(expanded), self.shape)

    def vjp(self, builder, operands, results, cotangents):
        """The sum over the axes along which the operand is repeated."""
        from .reduce import Reduce
        (x,), (g,) = operands, cotangents
        carried = {axis for extent, axis in zip(x.shape, self.axes) if extent == self.shape[axis]}
        repeated = tuple(axis for axis in range(len(self.shape)) if axis not in carried)
        total = builder.emit(Reduce("sum", repeated), g) if repeated else g
        return (total if total.shape == x.shape else builder.emit(Reshape(x.shape), total),)

    def element(self, operands, index, types, result):
        extents = types[0].shape
        return operands[0](tuple(k.constant(0) if d == 1 else index[axis] for d, axis in zip(extents, self.axes)))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Broadcast((size, *self.shape), (0, *(a + 1 for a in self.axes))), *operands)

    @classmethod
    def samples(cls):
        cases = [((), (3, 5), ()), ((5,), (3, 5), (1,)), ((3,), (3, 5), (0,)), ((1, 5), (3, 5), (0, 1)),
                 ((2, 1), (2, 7, 3), (0, 2)),
                 ((3, 1, 1), (3, 4, 17), (0, 1, 2)), ((4,), (0, 4), (1,)), ((0,), (3, 0), (1,)), ((1,), (1,), (0,)),
                 ((3, 5), (3, 5), (0, 1)), ((), (), ())]
        dtypes = ("float32", "int64", "float16", "bfloat16", "bool", "float64", "uint8", "float32", "int8", "int32",
                  "float32")
        return [Sample(cls(to, axes), (draw(d, *s),)) for (s, to, axes), d in zip(cases, dtypes)]


# ---- slice and pad ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Slice(View):
    """Every `steps`-th element: result[i] = x[starts + i * steps] on each axis; steps may be negative, not 0."""

    starts: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    steps: tuple[int, ...]

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        if not len(self.starts) == len(self.sizes) == len(self.steps) == x.rank:
            counts = f"{len(self.starts)} starts, {len(self.sizes)} sizes and {len(self.steps)} steps"
            raise shape_error(self, f"{counts} for rank {x.rank}", x)
        for axis, (extent, start, size, step) in enumerate(zip(x.shape, self.starts, self.sizes, self.steps)):
            if step == 0:
                raise shape_error(self, f"the step of axis {axis} is 0", x)
            if not is_nonnegative(size):
                raise shape_error(self, f"the size of axis {axis} is {size}", x,
                                  hint="declare facts under which it is not negative")
            if size == 0:
                continue
            last = start + (size - 1) * step
            smallest, largest = (start, last) if step > 0 else (last, start)
            if not is_nonnegative(smallest) or not is_nonnegative(extent - 1 - largest):
                raise shape_error(self, f"axis {axis} reads elements {start} to {last} of {extent}", x,
                                  hint=None if x.is_static else "declare facts of the dims under which they lie inside")
        return (TensorType(self.sizes, x.dtype),)

    def reference(self, x):
        return x[tuple(_python_slice(*axis) for axis in zip(self.starts, self.sizes, self.steps))]

    def vjp(self, builder, operands, results, cotangents):
        """Back into zeros; where steps are not 1, elements are spread first."""
        (x,), (g,) = operands, cotangents
        if any(size == 0 for size in self.sizes):
            return (None,)
        backward = tuple(step < 0 for step in self.steps)
        g = flip(builder, g, tuple(axis for axis, is_backward in enumerate(backward) if is_backward))
        g = dilate(builder, g, tuple(map(abs, self.steps)))
        last = (start + (size - 1) * step for start, size, step in zip(self.starts, self.sizes, self.steps))
        low = tuple(end if is_backward else start for start, end, is_backward in zip(self.starts, last, backward))
        high = tuple(extent - begin - size for extent, begin, size in zip(x.shape, low, g.shape))
        return (g if g.shape == x.shape else builder.emit(Pad(low, high), g),)

    def element(self, operands, index, types, result):
        axes = zip(index, self.starts, self.steps)
        return operands[0](tuple(k.add(k.mul(i, step), start) for i, start, step in axes))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Slice((0, *self.starts), (size, *self.sizes), (1, *self.steps)), *operands)

    @classmethod
    def samples(cls):
        cases = [((7,), (2,), (3,), (1,)), ((7,), (6,), (7,), (-1,)), ((10,), (1,), (3,), (4,)),
                 ((11,), (9,), (3,), (-4,)),
                 ((3, 17), (1, 0), (2, 17), (1, 1)), ((3, 17), (0, 16), (3, 6), (1, -3)),
                 ((5, 4), (5, 0), (0, 4), (1, 1)),
                 ((0, 3), (0, 1), (0, 2), (1, 1)), ((), (), (), ()), ((2, 3, 5), (0, 1, 2), (2, 1, 3), (1, 1, 1)),
                 ((1,), (0,), (1,), (5,))]
        dtypes = ("float32", "int64", "bool", "bfloat16", "float64", "float16", "int8", "float32", "uint8", "float32",
                  "int32")
        return [Sample(cls(*c[1:]), (draw(d, *c[0]),)) for c, d in zip(cases, dtypes)]


def flip(builder: Builder, x: Value, axes: Sequence[int]) -> Value:
    """x from the last to the first element along `axes`."""
    if not axes:
        return x
    starts = tuple(extent - 1 if axis in axes else 0 for axis, extent in enumerate(x.shape))
    return builder.emit(Slice(starts, x.shape, tuple(-1 if axis in axes else 1 for axis in range(x.type.rank))), x)


def dilate(builder: Builder, x: Value, steps: Sequence[int]) -> Value:
    """x with steps[i] - 1 zeros between neighbours on axis i; no extent is 0."""
    for axis, step in enumerate(steps):
        if step == 1 or x.shape[axis] == 1:
            continue
        before, extent, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1:]
        x = builder.emit(Reshape((*before, extent, 1, *after)), x)
        rank = len(x.shape)
        x = builder.emit(Pad((0,) * rank, tuple(step - 1 if i == axis + 1 else 0 for i in range(rank))), x)
        x = builder.emit(Reshape((*before, extent * step, *after)), x)
        sizes = (*before, (extent - 1) * step + 1, *after)
        x = builder.emit(Slice((0,) * len(sizes), sizes, (1,) * len(sizes)), x)
    return x


def _python_slice(start: int, size: int, step: int) -> slice:
    stop = start + size * step
    return slice(0, 0) if size == 0 else slice(start, stop if stop >= 0 else None, step)


@dataclass(frozen=True)
class Pad(View):
    """x with `low[i]` elements of `value` before and `high[i]` after it on axis i."""

    low: tuple[Dim, ...]
    high: tuple[Dim, ...]
    value: float | int | bool = 0

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        if not len(self.low) == len(self.high) == x.rank:
            raise shape_error(self, f"{len(self.low)} low and {len(self.high)} high extents for rank {x.rank}", x)
        for axis, extent in enumerate(self.low + self.high):
            if not is_nonnegative(extent):
                raise shape_error(self, f"axis {axis % x.rank} is padded by {extent}", x,
                                  hint="to cut elements off, use Slice")
        require_representable(self, self.value, x.dtype)
        return (TensorType(tuple(a + d + b for a, d, b in zip(self.low, x.shape, self.high)), x.dtype),)

    def reference(self, x):
        shape = tuple(a + d + b for a, d, b in zip(self.low, x.shape, self.high))
        out = np.full(shape, self.value, x.dtype)
        out[tuple(slice(a, a + d) for a, d in zip(self.low, x.shape))] = x
        return out

    def vjp(self, builder, operands, results, cotangents):
        return (builder.emit(Slice(self.low, operands[0].shape, (1,) * len(self.low)), cotangents[0]),)

    def element(self, operands, index, types, result):
        (x,) = types
        value = k.constant(self.value, x.dtype.compute)
        if any(d == 0 for d in x.shape):
            return value
        inside, source = k.constant(True, bool_), []
        for i, low, high, extent in zip(index, self.low, self.high, x.shape):
            at = k.sub(i, low)
            if low != 0:
                inside = k.both(inside, k.compare("ge", at, 0))
                at = k.maximum(at, 0)
            if high != 0:
                inside = k.both(inside, k.compare("lt", k.sub(i, low), extent))
                at = k.minimum(at, k.as_expr(extent - 1))
            source.append(at)
        return k.select(inside, operands[0](tuple(source)), value)

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Pad((0, *self.low), (0, *self.high), self.value), *operands)

    @classmethod
    def samples(cls):
        cases = [((5,), (2,), (3,), 0, "float32"), ((3, 4), (1, 0), (0, 2), -1.5, "float32"),
                 ((3, 4), (0, 0), (0, 0), 1, "int64"),
                 ((), (), (), 0, "float64"), ((0, 3), (2, 1), (0, 1), 7, "int8"),
                 ((2, 3, 5), (1, 1, 1), (1, 1, 1), True, "bool"),
                 ((7,), (0,), (9,), float("-inf"), "bfloat16"), ((1, 1), (16, 0), (0, 17), float("nan"), "float16"),
                 ((3,), (4,), (0,), 255, "uint8")]
        return [Sample(cls(low, high, value), (draw(d, *s),)) for s, low, high, value, d in cases]


def require_representable(op: Op, value, dtype: DType) -> None:
    """A DTypeError unless `value` is one of `dtype`'s values (any real number is, for floats)."""
    if dtype.is_float:
        return
    if not isfinite(value) or int(value) != value or not dtype.minimum <= value <= dtype.maximum:
        raise DTypeError(f"{op.name}: {value!r} is no value of {dtype.name}")


# ---- concat ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Concat(View):
    """The operands one after the other along `axis`; their other extents agree."""

    axis: int

    def infer(self, *types):
        if not types:
            raise ShapeError("concat takes one operand or more, got none")
        require_axis(self, self.axis, types[0].rank)
        dtype = require_same_dtype(self, *types)
        first = types[0].shape
        for t in types[1:]:
            if t.rank != len(first) or any(a != b for i, (a, b) in enumerate(zip(t.shape, first)) if i != self.axis):
                raise shape_error(self, f"the shapes may differ in axis {self.axis} alone", *types)
        total = sum((t.shape[self.axis] for t in types[1:]), first[self.axis])
        return (TensorType((*first[:self.axis], total, *first[self.axis + 1:]), dtype),)

    def reference(self, *arrays):
        return np.concatenate(arrays, self.axis)

    def vjp(self, builder, operands, results, cotangents):
        (g,), parts, begin = cotangents, [], 0
        for operand in operands:
            starts = tuple(begin if axis == self.axis else 0 for axis in range(g.type.rank))
            parts.append(builder.emit(Slice(starts, operand.shape, (1,) * g.type.rank), g))
            begin = begin + operand.shape[self.axis]
        return tuple(parts)

    def element(self, operands, index, types, result):
        at, start, pieces = index[self.axis], 0, []
        for read, t in zip(operands, types):
            if t.shape[self.axis] != 0:
                pieces.append((read, start, t.shape[self.axis]))
            start = start + t.shape[self.axis]
        if not pieces:
            return k.constant(0, result.dtype.compute)
        value = None
        for position, (read, start, extent) in reversed(list(enumerate(pieces))):
            source = k.sub(at, k.as_expr(start))
            if position > 0:
                source = k.maximum(source, 0)
            if value is not None:
                source = k.minimum(source, k.as_expr(extent - 1))
            piece = read((*index[:self.axis], source, *index[self.axis + 1:]))
            value = piece if value is None else k.select(k.compare("lt", at, k.as_expr(start + extent)), piece, value)
        return value

    def vmap(self, builder, operands, is_batched, size):
        from .batching import all_batched
        return builder.emit_all(Concat(self.axis + 1), *all_batched(builder, operands, is_batched, size))

    @classmethod
    def samples(cls):
        cases = [(0, ((3, 5), (2, 5)), "float32"), (1, ((3, 5), (3, 1), (3, 17)), "float32"), (0, ((4,),), "int64"),
                 (0, ((0,), (3,), (0,)), "float64"), (1, ((2, 0), (2, 0)), "float32"),
                 (2, ((2, 3, 1), (2, 3, 4)), "bfloat16"),
                 (0, ((1,), (1,), (1,), (1,)), "bool"), (0, ((7, 3), (5, 3)), "int8"), (1, ((2, 2), (2, 3)), "float16"),
                 (0, ((2,), (3,)), "uint8")]
        samples = [Sample(cls(axis), tuple(draw(d, *s, seed=i) for i, s in enumerate(shapes)))
                   for axis, shapes, d in cases]
        return samples + [Sample(cls(0), (draw_special("float32", 11), draw_special("float32", 7)))]
