"""Operators that write elements at computed places: the ONNX scatters.

Updates are applied in their row-major order; one whose index lies outside x is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.dims import nominal, product
from ..core.dtypes import bool_, int64
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from ..kernel import builder as k
from ..kernel.nest import lanes_for, spread, spread_columns, unflatten
from .batching import all_batched
from .constant import Iota
from .constants import broadcast, extent_value, extent_values, filled
from .elementwise import And, Compare, Max
from .elementwise.term import Term
from .gather import GatherNd, TakeAlong, clamped, clamped_indices, coordinates, require_indices
from .op import Op, Sample, dtype_error, is_nonnegative, require_axis, require_operands, require_same_dtype, shape_error
from .rearrange import Concat, Reshape, Slice
from .sample_arrays import draw

REDUCTIONS = ("set", "add", "mul", "max", "min")
OPERATION = {"add": "add", "mul": "mul", "max": "max", "min": "min"}  # in the Kernel IR
_UFUNC = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class Scatter(Op, abstract=True):
    """(x, indices, updates) -> x with updates written, or combined by `reduction` with what is there."""

    def require_reduction(self, *types: TensorType) -> None:
        """Three operands, a known reduction, dtypes that fit."""
        require_operands(self, 3, *types)
        if self.reduction not in REDUCTIONS:
            raise shape_error(self, f"reduction {self.reduction!r} is none of {', '.join(REDUCTIONS)}", *types)
        require_same_dtype(self, types[0], types[2])
        require_indices(self, types[1], *types)
        if types[0].dtype.is_bool and self.reduction in ("add", "mul"):
            raise dtype_error(self, f"{self.reduction} of bool", *types, hint="any and all are max and min")

    def apply(self, out: np.ndarray, places: tuple[np.ndarray, ...], updates: np.ndarray) -> np.ndarray:
        """`out` with `updates` applied at `places`, in order."""
        if self.reduction == "set":
            out[places] = updates  # NumPy assigns in order: the last of repeated places stays
        else:
            _UFUNC[self.reduction].at(out, places, updates)
        return out

    def vjp(self, builder, operands, results, cotangents):
        """Sums give every update its element's cotangent; of "set" the update that was written last takes it, of an
        extremum those that are equal to it share it, a product multiplies it by all other factors, zeros included."""
        (x, indices, updates), (g,), (out,) = operands, cotangents, results
        if any(d == 0 for d in x.shape) or any(d == 0 for d in updates.shape):
            return g, None, None
        x, updates, g, out = (Term(builder, v) for v in (x, updates, g, out))
        is_inside = Term(builder, self.inside(builder, indices, x.type, updates.type))

        def looked_up(term: Term) -> Term:
            return Term(builder, self.looked_up(builder, term.value, indices, updates.type))

        def scattered(reduction: str, onto: Term, new: Term) -> Term:
            return onto.of(replace(self, reduction=reduction), Term(builder, indices), new)
        zeros = g.filled(0)
        if self.reduction == "add":
            return g.value, None, looked_up(g).where(is_inside).value
        if self.reduction == "set":
            number = Term(builder, self.numbered(builder, updates.type))
            last = scattered("set", Term(builder, filled(builder, TensorType(x.type.shape, int64), -1)), number)
            is_last = looked_up(last).compare("eq", number).of(And(), is_inside)
            return scattered("set", g, updates.filled(0)).value, None, looked_up(g).where(is_last).value
        if self.reduction == "mul":
            is_zero, is_zero_x = (t.compare("eq", 0) for t in (updates, x))
            factor, factor_x = updates.filled(1).where(is_zero, updates), x.filled(1).where(is_zero_x, x)
            nulls = scattered("add", zeros, is_zero.cast(x.type.dtype))
            product = scattered("mul", x.filled(1), factor)
            others = looked_up(product * factor_x) / factor
            nulls_of_others = looked_up(nulls + is_zero_x.cast(x.type.dtype)) - is_zero.cast(x.type.dtype)
            others = others.where(nulls_of_others.compare("eq", 0).of(And(), is_inside))
            return ((g * product).where(nulls.compare("eq", 0)).value, None, (looked_up(g) * others).value)
        is_extreme = updates.compare("eq", looked_up(out)).of(And(), is_inside)
        is_extreme_x = x.compare("eq", out)
        count = scattered("add", is_extreme_x.cast(x.type.dtype), is_extreme.cast(x.type.dtype))
        share = g / count.of(Max(), 1)
        return share.where(is_extreme_x).value, None, looked_up(share).where(is_extreme).value

    def inside(self, builder: Builder, indices: Value, x: TensorType, updates: TensorType) -> Value:
        """Of each update whether its index lies in x."""
        raise NotImplementedError

    def looked_up(self, builder: Builder, value: Value, indices: Value, updates: TensorType) -> Value:
        """The elements of `value`, of x's shape, where the updates go."""
        raise NotImplementedError

    def numbered(self, builder: Builder, updates: TensorType) -> Value:
        """An int64 for each update, larger for those that are applied later to one element."""
        raise NotImplementedError

    def flops(self, *types):
        return 0 if self.reduction == "set" else types[2].size

    def lower(self, block, operands, results, types, target):
        """x is copied, then the updates are applied in their order. Sums and products of 16-bit floats are kept in
        float32 until all updates are in."""
        x, result = types[0], results[0]
        read = operands[0]
        if x.dtype.compute != x.dtype and self.reduction in ("add", "mul"):
            wide = block.workspace("wide", x.dtype.compute, x.shape)

            def load(index):
                return k.load(wide, index)

            def store(index, value):
                block.store(wide, index, value)
            _copy(block, x, target, read, store)
            self.update(block, operands, load, store, types, target)
            _copy(block, x, target, load, result.store)
            return
        _copy(block, x, target, read, result.store)
        self.update(block, operands, result.load, result.store, types, target)

    def update(self, block, operands, load, store, types, target) -> None:
        """Apply the updates through `load(index)` and `store(index, value)` of the result."""
        raise NotImplementedError

    def combined(self, old, new):
        """The expression of an element after an update; `old()` reads it."""
        return new if self.reduction == "set" else k.binary(OPERATION[self.reduction], old(), new)


def _copy(block, x: TensorType, target, read, store) -> None:
    *outer, last = x.shape
    lanes = target.lanes(x.dtype)
    with spread_columns(block, outer, last, lanes, 1) as (index, first, count):
        with block.loop("column", count, "vector", lanes_for(last, lanes), 2) as lane:
            place = (*index, k.add(first, lane))
            store(place, read(place))


@dataclass(frozen=True)
class ScatterNd(Scatter):
    """ONNX ScatterND: indices [.., K] address the first K axes of x; updates are indices.shape[:-1] + x.shape[K:]."""

    reduction: str = "set"

    def infer(self, *types):
        self.require_reduction(*types)
        x, indices, updates = types
        count = coordinates(self, indices, x.rank, *types)
        expected = TensorType((*indices.shape[:-1], *x.shape[count:]), x.dtype)
        if updates != expected:
            raise shape_error(self, f"updates must be {expected}", *types)
        return (x,)

    def reference(self, x, indices, updates):
        count = indices.shape[-1]
        rows = indices.reshape(int(np.prod(indices.shape[:-1])), count)
        inside = ((rows >= 0) & (rows < x.shape[:count])).all(1)
        return self.apply(x.copy(), tuple(rows[inside].T), updates.reshape(len(rows), *x.shape[count:])[inside])

    def inside(self, builder, indices, x, updates):
        from .reduce import Reduce
        count = indices.shape[-1]
        nearest = clamped_indices(builder, indices, extent_values(builder, x.shape[:count], indices.dtype))
        same = builder.emit(Reduce("min", (indices.type.rank - 1,)), builder.emit(Compare("eq"), nearest, indices))
        return broadcast(builder, same, updates.shape, range(indices.type.rank - 1))

    def looked_up(self, builder, value, indices, updates):
        return builder.emit(GatherNd(), value, indices)

    def numbered(self, builder, updates):
        return builder.emit(Reshape(updates.shape), builder.emit(Iota((updates.size,), 0, int64)))

    def update(self, block, operands, load, store, types, target):
        """Threads share the columns of the slices, for two updates may meet in one slice."""
        x, indices, _ = types
        rows, count = indices.shape[:-1], indices.shape[-1]
        inner = x.shape[count:]
        updates = nominal(product(rows))

        def each_row(write):
            with block.loop("update", product(rows)) as number:
                row = unflatten(block, number, rows)
                at = [block.let("at", k.cast(int64, operands[1]((*row, i)))) for i in range(count)]
                inside = k.constant(True, bool_)
                for position, extent in zip(at, x.shape):
                    inside = k.both(inside,
                                    k.both(k.compare("ge", position, 0), k.compare("lt", position, k.as_expr(extent))))
                with block.when(inside):
                    write(row, at)
        if not inner:
            each_row(lambda row, at: store(at, self.combined(lambda: load(at), operands[2](row))))
            return
        lanes = target.lanes(x.dtype)
        with spread_columns(block, inner[:-1], inner[-1], lanes, updates) as (index, first, columns):
            def write(row, at):
                with block.loop("column", columns, "vector", lanes_for(inner[-1], lanes)) as lane:
                    rest = (*index, k.add(first, lane))
                    store((*at, *rest), self.combined(lambda: load((*at, *rest)), operands[2]((*row, *rest))))
            each_row(write)

    def vmap(self, builder, operands, is_batched, size):
        """The number of the set is one more coordinate."""
        x, indices, updates = all_batched(builder, operands, is_batched, size)
        element = builder.emit(Iota((*indices.shape[:-1], 1), 0, indices.dtype))
        return builder.emit_all(self, x, builder.emit(Concat(indices.type.rank - 1), element, indices), updates)

    @classmethod
    def samples(cls):
        cases = [((7,), (4, 1)), ((7, 3), (5, 1)), ((7, 3), (9, 2)), ((3, 4, 5), (2, 3, 2)), ((1,), (17, 1)),
                 ((5,), (0, 1)),
                 ((0, 3), (2, 1)), ((3, 5), (2,))]
        samples = [_trial_nd(cls(r), x, i, "float32") for r in REDUCTIONS for x, i in cases]
        samples += [_trial_nd(cls(r), (5, 3), (8, 1), d, grad=False) for r in REDUCTIONS
                    for d in ("int8", "int64", "float16", "bfloat16", "float64", "uint8")]
        return samples + [_trial_nd(cls(r), (5, 3), (8, 1), "bool") for r in ("set", "max", "min")]


def _trial_nd(op, x, indices, dtype, grad=True) -> Sample:
    rng = np.random.default_rng((*x, *indices))
    at = np.stack([rng.integers(-1, n + 1, indices[:-1]) for n in x[:indices[-1]]], -1).astype(np.int64)
    return Sample(op, (draw(dtype, *x), at, draw(dtype, *indices[:-1], *x[indices[-1]:], seed=1)), grad=grad)


@dataclass(frozen=True)
class ScatterAlong(Scatter):
    """ONNX ScatterElements: x[.., indices[.., i, ..], ..] takes updates[.., i, ..] along `axis`.

    updates has indices' shape; its extents on the other axes are at most x's.
    """

    axis: int
    reduction: str = "set"

    def infer(self, *types):
        self.require_reduction(*types)
        x, indices, updates = types
        require_axis(self, self.axis, x.rank)
        if indices.shape != updates.shape or indices.rank != x.rank:
            raise shape_error(self, "indices and updates have one shape, of x's rank", *types)
        for axis, (extent, written) in enumerate(zip(x.shape, indices.shape)):
            if axis != self.axis and not is_nonnegative(extent - written):
                raise shape_error(self, f"{written} updates do not lie within the {extent} elements of axis {axis}",
                                  *types)
        return (x,)

    def reference(self, x, indices, updates):
        places = list(np.indices(indices.shape))
        places[self.axis] = indices
        inside = (indices >= 0) & (indices < x.shape[self.axis])
        return self.apply(x.copy(), tuple(p[inside] for p in places), updates[inside])

    def inside(self, builder, indices, x, updates):
        nearest = clamped_indices(builder, indices, extent_value(builder, x.shape[self.axis], indices.dtype))
        return builder.emit(Compare("eq"), nearest, indices)

    def looked_up(self, builder, value, indices, updates):
        sizes = tuple(d if a == self.axis else n for a, (d, n) in enumerate(zip(value.shape, updates.shape)))
        if sizes != value.shape:
            value = builder.emit(Slice((0,) * len(sizes), sizes, (1,) * len(sizes)), value)
        return builder.emit(TakeAlong(self.axis), value, indices)

    def numbered(self, builder, updates):
        return builder.emit(Iota(updates.shape, self.axis, int64))

    def update(self, block, operands, load, store, types, target):
        x, indices, _ = types
        axis, extent = self.axis, x.shape[self.axis]
        outer, steps, inner = indices.shape[:axis], indices.shape[axis], indices.shape[axis + 1:]
        if extent == 0:
            return
        if product(inner) == 1:  # updates of one row may meet: one after the other, rows side by side
            with spread(block, (*outer, *inner), nominal(steps) * 4) as index, block.loop("update", steps) as step:
                at = (*index[:axis], step, *index[axis:])
                position = block.let("at", k.cast(int64, operands[1](at)))
                place = (*index[:axis], position, *index[axis:])
                with block.when(k.both(k.compare("ge", position, 0), k.compare("lt", position, k.as_expr(extent)))):
                    store(place, self.combined(lambda: load(place), operands[2](at)))
            return
        # Lanes over the last axis write to columns of their own; one that lies outside writes back what is there.
        lanes = target.vector_bytes // max(x.dtype.compute.itemsize, indices.dtype.itemsize)
        work = 4 * nominal(steps)
        with spread_columns(block, (*outer, *inner[:-1]), inner[-1], lanes, work) as (index, first, count):
            before, after = index[:axis], index[axis:]
            width = lanes_for(inner[-1], lanes)
            with block.loop("update", steps) as step, block.loop("column", count, "vector", width) as lane:
                column = block.let("column", k.add(first, lane))
                at = (*before, step, *after, column)
                position = block.let("at", k.cast(int64, operands[1](at)))
                place = (*before, block.let("inside", clamped(position, extent)), *after, column)
                old = block.let("old", load(place))
                is_inside = k.compare("eq", position, place[axis])
                store(place, k.select(is_inside, self.combined(lambda: old, operands[2](at)), old))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(replace(self, axis=self.axis + 1), *all_batched(builder, operands, is_batched, size))

    @classmethod
    def samples(cls):
        cases = [(0, (7,), (4,)), (1, (3, 7), (3, 5)), (0, (7, 3), (2, 3)), (1, (4, 7), (2, 9)),
                 (2, (2, 3, 5), (2, 2, 4)), (0, (1,), (17,)),
                 (0, (5,), (0,)), (0, (0, 3), (2, 3))]
        samples = [_trial_along(cls(axis, r), x, i, "float32") for r in REDUCTIONS for axis, x, i in cases]
        samples += [_trial_along(cls(1, r), (3, 5), (3, 8), d, grad=False) for r in REDUCTIONS
                    for d in ("int8", "int64", "float16", "bfloat16", "float64", "uint8")]
        return samples + [_trial_along(cls(1, r), (3, 5), (3, 8), "bool") for r in ("set", "max", "min")]


def _trial_along(op, x, indices, dtype, grad=True) -> Sample:
    rng = np.random.default_rng((*x, *indices))
    at = rng.integers(-1, x[op.axis] + 1, indices).astype(np.int32)
    return Sample(op, (draw(dtype, *x), at, draw(dtype, *indices, seed=1)), grad=grad)
