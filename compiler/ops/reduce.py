"""Operators that gather many elements of an axis into one or into a running value: reduce, arg-reduce, cumulative."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.dims import bounds, ceil_div, nominal, product
from ..core.dtypes import DType, as_dtype, int32, int64
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from ..kernel import builder as k
from ..kernel.nest import column_blocks, lanes_for, spread, spread_columns, unflatten
from .constant import Iota
from .constants import broadcast, filled
from .control import Scan
from .elementwise import Add, Compare, Max, Mul, Select
from .elementwise.term import Term
from .op import Op, Sample, dtype_error, require_axis, require_operands, shape_error
from .rearrange import Reshape, Transpose
from .sample_arrays import draw, draw_special
from .scatter import ScatterAlong

KINDS = ("sum", "prod", "max", "min")
OPERATION = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}  # in the Kernel IR
_UFUNC = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


CARRIED_VECTORS = 32  # vectors of running values of one block of columns: they stay in the first cache
SEARCHED = 4096  # elements of a row whose extreme is found before the next ones are looked at
SCANNED_ROWS = 8  # rows that are scanned side by side


def identity(kind: str, dtype: DType):
    """The value that changes nothing under `kind`: 0, 1, the dtype's minimum (for max) or maximum (for min)."""
    return {"sum": 0, "prod": 1, "max": dtype.minimum, "min": dtype.maximum}[kind]


def _beats(kind: str, x, best):
    """Whether the expression x replaces `best` under "max" or "min"; a NaN beats whatever is none."""
    better = k.compare("gt" if kind == "max" else "lt", x, best)
    if not x.dtype.is_float:
        return better
    return k.binary("or", better, k.both(k.compare("ne", x, x), k.compare("eq", best, best)))


def _require_kind(op: Op, kinds: tuple[str, ...], x: TensorType) -> None:
    if op.kind not in kinds:
        raise shape_error(op, f"kind {op.kind!r} is none of {', '.join(kinds)}", x)
    if x.dtype.is_bool and op.kind in ("sum", "prod"):
        raise dtype_error(op, f"{op.kind} of bool", x, hint="cast to an integer first; any and all are max and min")


def _accurate(kind: str, x: np.ndarray) -> np.ndarray:
    """float32 sums and products are taken in float64: the reference is what others are compared with."""
    return x.astype(np.float64) if kind in ("sum", "prod") and x.dtype == np.float32 else x


@dataclass(frozen=True)
class Reduce(Op):
    """`kind` over `axes` (increasing), which are dropped. NaN propagates; max and min of bool are any and all.

    Over no elements sum is 0, prod 1, max the dtype's minimum, min its maximum. Integers keep their dtype and wrap;
    16-bit floats are accumulated in float32.
    """

    kind: str
    axes: tuple[int, ...]

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        _require_kind(self, KINDS, x)
        for axis in self.axes:
            require_axis(self, axis, x.rank)
        if any(a >= b for a, b in zip(self.axes, self.axes[1:])):
            raise shape_error(self, f"axes {self.axes} do not increase", x)
        return (TensorType(tuple(d for i, d in enumerate(x.shape) if i not in self.axes), x.dtype),)

    def reference(self, x):
        wide = _accurate(self.kind, x)
        start = identity(self.kind, as_dtype(x.dtype))
        return _UFUNC[self.kind].reduce(wide, axis=self.axes, dtype=wide.dtype, initial=start).astype(x.dtype)

    def vjp(self, builder, operands, results, cotangents):
        """A sum gives each element the cotangent, an extremum shares it among those that are equal to it, a product
        multiplies it by all the others: exactly, zeros included."""
        (x,), (g,), (out,) = operands, cotangents, results
        if not x.dtype.is_float:
            return (None,)
        kept = tuple(axis for axis in range(x.type.rank) if axis not in self.axes)

        def repeated(value: Value) -> Term:
            return Term(builder, broadcast(builder, value, x.shape, kept))
        if self.kind == "sum":
            return (repeated(g).value,)
        if self.kind == "prod":
            return ((repeated(g) * Term(builder, _product_of_others(builder, x, self.axes))).value,)
        equal = Term(builder, x).compare("eq", repeated(out))
        count = Term(builder, builder.emit(Reduce("sum", self.axes), equal.cast(x.dtype).value))
        share = Term(builder, g) / count.of(Max(), 1)  # none are equal to NaN
        return (repeated(share.value).where(equal).value,)

    def flops(self, *types):
        return types[0].size

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Reduce(self.kind, tuple(a + 1 for a in self.axes)), *operands)

    @classmethod
    def samples(cls):
        shapes = [((3, 17), (1,)), ((3, 17), (0,)), ((3, 17), (0, 1)), ((2, 3, 5, 7), (1, 3)), ((2, 3, 5, 7), (0, 2)),
                  ((129,), (0,)),
                  ((), ()), ((4, 5), ()), ((0, 3), (0,)), ((3, 0), (0,)), ((1, 1), (0,)), ((33, 31), (1,))]
        samples = [Sample(cls(kind, axes), (draw("float32", *s, low=-1.5, high=1.5),)) for kind in KINDS
                   for s, axes in shapes]
        for kind in KINDS:
            for d in ("int8", "int64", "uint8", "int32", "uint32", "float16", "bfloat16", "float64"):
                samples.append(Sample(cls(kind, (1,)), (draw(d, 5, 13, low=0.5, high=1.5),), grad=False))
            for d in ("float32", "float64"):
                samples.append(Sample(cls(kind, (1,)), (draw_special(d, 10, 3),), grad=False))
        for kind in ("max", "min"):
            samples += [Sample(cls(kind, (1,)), (draw("bool", 7, 3),)),
                        Sample(cls(kind, (0,)), (np.zeros((0, 2), np.int64),)),
                        Sample(cls(kind, (0,)), (np.zeros((0, 2), bool),))]
        return samples


def _product_of_others(builder: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """For each element of x, the product of the other ones over `axes`: of those before it and those behind it."""
    kept = tuple(axis for axis in range(x.type.rank) if axis not in axes)
    order = (*kept, *axes)
    moved = builder.emit(Transpose(order), x)
    row = builder.emit(Reshape((*(x.shape[a] for a in kept), product(x.shape[a] for a in axes))), moved)
    before, behind = (builder.emit(Cumulative("prod", len(kept), reverse, True), row) for reverse in (False, True))
    others = builder.emit(Reshape(moved.shape), builder.emit(Mul(), before, behind))
    return builder.emit(Transpose(tuple(order.index(a) for a in range(x.type.rank))), others)


@dataclass(frozen=True)
class ArgReduce(Op):
    """The position (int64) of the "max" or "min" along `axis`, which is dropped: the first one; NaN is the extreme."""

    kind: str
    axis: int

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        _require_kind(self, ("max", "min"), x)
        require_axis(self, self.axis, x.rank)
        if x.shape[self.axis] == 0:
            raise shape_error(self, f"axis {self.axis} has no elements", x)
        return (TensorType((*x.shape[:self.axis], *x.shape[self.axis + 1:]), int64),)

    def reference(self, x):
        return (np.argmax if self.kind == "max" else np.argmin)(x, self.axis)

    def lower(self, block, operands, results, types, target):
        (x,), axis = types, self.axis
        wide, extent = x.dtype.compute, x.shape[axis]
        number = int32 if bounds(extent)[1] < 1 << 31 else int64
        outer, inner = x.shape[:axis], x.shape[axis + 1:]
        lanes = target.vector_bytes // max(wide.itemsize, number.itemsize)
        start = k.constant(identity(self.kind, wide), wide)
        if product(inner) == 1:
            with spread(block, outer, 2 * nominal(extent)) as index:
                self._row(block, lambda i: operands[0]((*index, i, *(0,) * len(inner))), results[0],
                          (*index, *(0,) * len(inner)),
                          extent, number, start, lanes)
            return
        # Lanes over the last axis: each keeps its best element so far and where that was.
        with spread_columns(block, (*outer, *inner[:-1]), inner[-1], lanes,
                            2 * nominal(extent)) as (index, first, count):
            before, after = index[:axis], index[axis:]
            with block.loop("column", count, "vector", lanes_for(inner[-1], lanes)) as lane:
                column = block.let("at", k.add(first, lane))
                best, place = block.alloc("best", wide, (), "register"), block.alloc("place", number, (), "register")
                block.store(best, (), operands[0]((*before, 0, *after, column)))
                block.store(place, (), k.constant(0, number))
                with block.loop("i", extent - 1) as i:
                    value = block.let("x", operands[0]((*before, k.add(i, 1), *after, column)))
                    better = block.let("better", _beats(self.kind, value, k.load(best, ())))
                    block.store(place, (), k.select(better, k.cast(number, k.add(i, 1)), k.load(place, ())))
                    block.store(best, (), k.select(better, value, k.load(best, ())))
                results[0].store((*before, *after, column), k.cast(int64, k.load(place, ())))

    def _row(self, block, read, result, index, extent, number, start, lanes):
        """The best block of a row, then the first place in it that has its extreme; both with many lanes."""
        wide = start.dtype
        best, where = block.alloc("best", wide, (), "register"), block.alloc("where", int64, (), "register")
        block.store(best, (), start)
        block.store(where, (), k.constant(0))
        is_long = nominal(extent) > 2 * SEARCHED

        def left_from(first):
            return k.minimum(k.sub(k.as_expr(extent), first), SEARCHED)
        with block.loop("block", ceil_div(extent, SEARCHED) if is_long else 1) as number_of_block:
            first = block.let("first", k.mul(number_of_block, SEARCHED))
            count = block.let("count", left_from(first)) if is_long else k.as_expr(extent)
            extreme = block.alloc("extreme", wide, (), "register")
            block.store(extreme, (), start)
            with block.loop("i", count, "vector", lanes_for(extent, lanes), 4) as i:
                block.accumulate(extreme, (), self.kind, read(k.add(first, i)))
            value = block.let("value", k.load(extreme, ()))
            better = block.let("better", _beats(self.kind, value, k.load(best, ())))
            block.store(where, (), k.select(better, first, k.load(where, ())))
            block.store(best, (), k.select(better, value, k.load(best, ())))
        extreme, first = block.let("extreme", k.load(best, ())), block.let("first", k.load(where, ()))
        place = block.alloc("place", number, (), "register")
        block.store(place, (), k.constant(number.maximum, number))
        count = block.let("count", left_from(first)) if is_long else k.as_expr(extent)
        with block.loop("i", count, "vector", lanes_for(extent, lanes), 4) as i:
            value = read(k.add(first, i))
            hit = k.compare("eq", value, extreme)
            if wide.is_float:
                hit = k.binary("or", hit, k.compare("ne", value, value))
            block.accumulate(place, (), "min", k.select(hit, k.cast(number, i), k.constant(number.maximum, number)))
        result.store(index, k.add(first, k.cast(int64, k.load(place, ()))))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(replace(self, axis=self.axis + 1), *operands)

    @classmethod
    def samples(cls):
        samples = []
        for kind in ("max", "min"):
            for shape, axis in (((3, 17), 1), ((3, 17), 0), ((5,), 0), ((2, 3, 5), 1), ((1, 1), 1), ((0, 3), 1),
                                ((129,), 0)):
                samples.append(Sample(cls(kind, axis), (draw("float32", *shape),), grad=False))
            for d in ("bool", "int8", "uint8", "int64", "float16", "bfloat16", "float64"):
                samples.append(Sample(cls(kind, 1), (draw(d, 4, 13),), grad=False))
            samples.append(Sample(cls(kind, 1), (np.zeros((2, 5), np.float32),), grad=False))
            samples.append(Sample(cls(kind, 1), (draw_special("float32", 10, 3),), grad=False))
        return samples


@dataclass(frozen=True)
class Cumulative(Op):
    """The running `kind` along `axis`: result[i] is taken over x[0..i], or over x[i..] where `reverse`.

    `exclusive` leaves x[i] itself out, so that the first result is the identity of `kind`. Dtypes as for Reduce.
    """

    kind: str
    axis: int
    reverse: bool = False
    exclusive: bool = False

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        _require_kind(self, KINDS, x)
        require_axis(self, self.axis, x.rank)
        return (x,)

    def reference(self, x):
        along = np.moveaxis(_accurate(self.kind, x), self.axis, 0)
        along = along[::-1] if self.reverse else along
        if self.exclusive:
            first = np.full_like(along[:1], identity(self.kind, as_dtype(x.dtype)))
            along = np.concatenate([first, along[:-1]]) if len(along) else along
        running = _UFUNC[self.kind].accumulate(along, axis=0, dtype=along.dtype)
        running = running[::-1] if self.reverse else running
        return np.moveaxis(running, 0, self.axis).astype(x.dtype)

    def vjp(self, builder, operands, results, cotangents):
        """Of a running extremum, the first element that attains it takes the cotangent."""
        (x,), (g,) = operands, cotangents
        if not x.dtype.is_float:
            return (None,)
        if self.kind == "sum":
            return (builder.emit(Cumulative("sum", self.axis, not self.reverse, self.exclusive), g),)
        if self.kind == "prod":
            before = builder.emit(replace(self, exclusive=True), x)
            return (builder.emit(Mul(), before, self._products_behind(builder, x, g)),)
        before = builder.emit(replace(self, exclusive=True), x)
        is_bounded = builder.emit(Compare("le" if self.kind == "max" else "ge"), x, before)
        order = "min" if self.reverse else "max"
        nowhere = filled(builder, TensorType(x.shape, int64), identity(order, int64))
        records = builder.emit(Select(), is_bounded, nowhere, builder.emit(Iota(x.shape, self.axis, int64)))
        places = builder.emit(replace(self, kind=order), records)
        return (builder.emit(ScatterAlong(self.axis, "add"), filled(builder, x.type, 0), places, g),)

    def _products_behind(self, builder, x: Value, g: Value) -> Value:
        """For each k, the sum of g[i] times the product of the x between k and i, over the results i that see x[k]: a
        recurrence from the last element that is seen to the first."""
        front = (self.axis, *(a for a in range(x.type.rank) if a != self.axis))
        xs, gs = (builder.emit(Transpose(front), v) for v in (x, g))
        item = TensorType(xs.shape[1:], x.dtype)
        inner = Builder("products")
        carry, factor, cotangent = (inner.parameter(item, name) for name in ("carry", "x", "g"))
        if self.exclusive:
            found, following = carry, inner.emit(Add(), cotangent, inner.emit(Mul(), factor, carry))
        else:
            found = inner.emit(Add(), cotangent, carry)
            following = inner.emit(Mul(), factor, found)
        step = Scan(inner.finish([following, found]), carries=1, scanned=2, reverse=not self.reverse)
        _, stacked = builder.emit(step, filled(builder, item, 0), xs, gs)
        return builder.emit(Transpose(tuple(front.index(a) for a in range(x.type.rank))), stacked)

    def lower(self, block, operands, results, types, target):
        (x,), axis = types, self.axis
        outer, inner = x.shape[:axis], x.shape[axis + 1:]
        if product(inner) == 1:
            self._rows(block, operands[0], results[0], x)
            return
        # All columns of a block go one step at a time, their running values in a row: memory is read in order.
        lanes = target.lanes(x.dtype)
        size = lanes * CARRIED_VECTORS
        work = nominal(x.shape[axis])
        with column_blocks(block, (*outer, *inner[:-1]), inner[-1], size, work) as (index, first, count):
            before, after = index[:axis], index[axis:]
            wide = x.dtype.compute
            carry = block.alloc("carry", wide, (size,), "stack")
            with block.loop("column", count, "vector", lanes) as lane:
                block.store(carry, (lane,), k.constant(identity(self.kind, wide), wide))
            with block.loop("i", x.shape[axis]) as i:
                at = block.let("at", k.sub(k.as_expr(x.shape[axis] - 1), i) if self.reverse else i)
                with block.loop("column", count, "vector", lanes, 2) as lane:
                    place = (*before, at, *after, k.add(first, lane))
                    old = block.let("old", k.load(carry, (lane,)))
                    new = block.let("new", k.binary(OPERATION[self.kind], old, operands[0](place)))
                    block.store(carry, (lane,), new)
                    results[0].store(place, old if self.exclusive else new)

    def _rows(self, block, read, result, x):
        """Several rows side by side, so that their sums do not wait for one another."""
        axis, wide = self.axis, x.dtype.compute
        outer, extent, ones = x.shape[:axis], x.shape[axis], (0,) * (x.rank - axis - 1)
        count = product(outer)
        together = SCANNED_ROWS if not isinstance(count, int) else min(SCANNED_ROWS, max(1, count))
        with spread(block, (ceil_div(count, together),), together * nominal(extent)) as (group,):
            rows = []
            for r in range(together):  # the last group does its last row again where rows are left over
                number = k.add(k.mul(group, together), r)
                number = number if together == 1 else k.minimum(number, k.as_expr(count - 1))
                rows.append(unflatten(block, number, outer))
            running = [block.alloc("running", wide, (), "register") for _ in rows]
            for register in running:
                block.store(register, (), k.constant(identity(self.kind, wide), wide))
            with block.loop("i", extent) as i:
                at = block.let("at", k.sub(k.as_expr(extent - 1), i) if self.reverse else i)
                for row, register in zip(rows, running):
                    place = (*row, at, *ones)
                    if self.exclusive:
                        old = block.let("old", k.load(register, ()))
                        block.accumulate(register, (), OPERATION[self.kind], read(place))
                        result.store(place, old)
                    else:
                        block.accumulate(register, (), OPERATION[self.kind], read(place))
                        result.store(place, k.load(register, ()))

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(replace(self, axis=self.axis + 1), *operands)

    @classmethod
    def samples(cls):
        samples = []
        for kind in KINDS:
            for reverse in (False, True):
                for exclusive in (False, True):
                    samples.append(Sample(cls(kind, 1, reverse, exclusive),
                                          (draw("float32", 3, 17, low=-1.5, high=1.5),)))
            for shape, axis in (((5, 3), 0), ((1,), 0), ((0, 3), 0), ((0, 3), 1), ((2, 7, 3), 1)):
                samples.append(Sample(cls(kind, axis), (draw("float32", *shape),)))
            samples.append(Sample(cls(kind, 0, False, True), (np.zeros((0,), np.float32),)))
            for d in ("int8", "uint8", "int64", "float16", "bfloat16", "float64"):
                samples.append(Sample(cls(kind, 0, False, True), (draw(d, 7, low=0.5, high=1.5),), grad=False))
            samples.append(Sample(cls(kind, 0), (draw_special("float32", 31),), grad=False))
        return samples + [Sample(cls(kind, 0), (draw("bool", 9),)) for kind in ("max", "min")]
