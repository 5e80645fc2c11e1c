"""Sorting along an axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.dims import bounds, nominal
from ..core.dtypes import DType, int32, int64
from ..core.types import TensorType
from ..kernel import builder as k
from ..kernel.nest import lanes_for, spread
from .constants import filled
from .op import Op, Sample, require_axis, require_operands
from .sample_arrays import draw, draw_special
from .scatter import ScatterAlong

RUN = 32  # elements that are sorted by counting, for each, how many come before it; longer rows merge such runs
STACK_ROW = 1 << 13  # a row up to this long is sorted on the stack


@dataclass(frozen=True)
class Sort(Op):
    """x -> (values, indices int64) in increasing order along `axis`, or in decreasing order where `descending`.

    Stable: equal elements keep their order, in both directions (the lower index comes first, as ONNX TopK asks).
    NaN counts as larger than every number, as in NumPy and PyTorch: last when increasing, first when decreasing.
    """

    axis: int
    descending: bool = False

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        require_axis(self, self.axis, x.rank)
        return (x, TensorType(x.shape, int64))

    def reference(self, x):
        if self.descending:  # reversed before and after, so that equal elements keep their order
            order = np.flip(x.shape[self.axis] - 1 - np.argsort(np.flip(x, self.axis), self.axis, kind="stable"),
                            self.axis)
        else:
            order = np.argsort(x, self.axis, kind="stable")
        return np.take_along_axis(x, order, self.axis), order.astype(np.int64)

    def vjp(self, builder, operands, results, cotangents):
        (x,), (_, places), (g, _) = operands, results, cotangents
        return (builder.emit(ScatterAlong(self.axis, "add"), filled(builder, x.type, 0), places, g),)

    def lower(self, block, operands, results, types, target):
        """Rows are sorted apart. A row becomes integers that order as its elements do, with their positions in the low
        half where both fit one word; short runs of it are sorted by counting, then merged in pairs."""
        (x,), axis, extent = types, self.axis, types[0].shape[self.axis]
        others = (*x.shape[:axis], *x.shape[axis + 1:])
        longest = bounds(extent)[1]
        levels, most = _levels(extent)
        with spread(block, others, 4 * nominal(extent) * (most + 4)) as index:
            def place(i):
                return (*index[:axis], i, *index[axis:])

            names = ("packed",) if x.dtype.compute.bits <= 32 and longest < 1 << 31 else ("keys", "positions")
            if longest <= STACK_ROW:
                rows = [_Row(block, block.alloc(name, int64, (2, int(longest)), "stack"), ()) for name in names]
            else:
                rows = [_Row(block, block.workspace(name, int64, (*others, 2, extent)), index) for name in names]
            lanes = lanes_for(extent, target.lanes(int64))
            with block.loop("i", extent, "vector", lanes) as i:
                key = _key(block, operands[0](place(i)), self.descending)
                if len(rows) == 1:
                    rows[0].store(0, i, k.binary("or", k.binary("shl", k.cast(int64, key), k.constant(32)), i))
                else:
                    rows[0].store(0, i, k.cast(int64, key))
                    rows[1].store(0, i, i)
            _sort_runs(block, rows, extent, lanes)
            _merge_runs(block, rows, extent, levels)
            half = k.binary("and", k.add(levels, 1), k.constant(1))
            with block.loop("i", extent, "vector", lanes) as i:
                position = rows[-1].load(half, i)
                if len(rows) == 1:
                    position = k.binary("and", position, k.constant(0xFFFFFFFF))
                position = block.let("position", position)
                if results[0] is not None:
                    results[0].store(place(i), operands[0](place(position)))
                if results[1] is not None:
                    results[1].store(place(i), position)

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(replace(self, axis=self.axis + 1), *operands)

    @classmethod
    def samples(cls):
        samples = []
        for descending in (False, True):
            for shape, axis in (((17,), 0), ((3, 13), 1), ((13, 3), 0), ((2, 5, 3), 1), ((0,), 0), ((3, 0), 1),
                                ((1,), 0), ((129,), 0)):
                samples.append(Sample(cls(axis, descending), (draw("float32", *shape),)))
            samples += [Sample(cls(1, descending), (draw(d, 3, 31),), grad=False)
                        for d in ("bool", "int8", "uint8", "int64", "float16", "bfloat16", "float64")]
            samples.append(Sample(cls(0, descending), (draw_special("float32", 37),), grad=False))
            samples.append(Sample(cls(1, descending), (draw("int32", 2, 65) % 3,), grad=False))
        return samples


def _levels(extent) -> tuple:
    """How often runs are merged in pairs until one is left: as an expression, and at most."""
    longest = bounds(extent)[1]
    most = 0
    while RUN << most < min(longest, 1 << 40):
        most += 1
    if isinstance(extent, int):
        return k.as_expr(most), most
    levels = k.as_expr(0)
    for level in range(most):
        levels = k.add(levels, k.cast(int64, k.compare("gt", k.as_expr(extent), RUN << level)))
    return levels, most


def _key(block, x, descending: bool):
    """A signed integer of 32 or 64 bits that orders as x does. Zeros of both signs are equal, NaN is the largest."""
    dtype: DType = x.dtype
    if dtype.is_float:
        kind = int32 if dtype.bits == 32 else int64
        bits = k.select(k.compare("eq", x, k.constant(0, dtype)), k.constant(0, kind), k.bitcast(kind, x))
        sign = k.binary("shr", bits, k.constant(kind.bits - 1, kind))
        key = k.binary("xor", bits, k.binary("and", sign, k.constant(kind.maximum, kind)))
        key = k.select(k.compare("ne", x, x), k.constant(kind.maximum, kind), key)
    elif dtype.kind == "uint" and dtype.bits == 64:
        key = k.binary("xor", k.bitcast(int64, x), k.constant(int64.minimum))
    elif dtype.kind == "uint" and dtype.bits == 32:
        key = k.binary("xor", k.bitcast(int32, x), k.constant(int32.minimum, int32))
    else:
        key = k.cast(int64 if dtype.bits == 64 else int32, x)
    return block.let("key", k.unary("not", key) if descending else key)


class _Row:
    """Two halves of memory for a row: what is read, and what is written."""

    def __init__(self, block, buffer, index):
        self.block, self.buffer, self.index = block, buffer, index

    def load(self, half, i):
        return k.load(self.buffer, (*self.index, half, i))

    def store(self, half, i, value) -> None:
        self.block.store(self.buffer, (*self.index, half, i), value)


def _sort_runs(block, rows, extent, lanes) -> None:
    """Sort each run of RUN elements of half 0 into half 1."""
    single = isinstance(extent, int) and extent <= RUN
    with block.loop("run", 1 if single else k.floordiv(k.as_expr(extent + (RUN - 1)), RUN)) as run:
        first = block.let("first", k.mul(run, RUN))
        count = k.as_expr(extent) if single else block.let("count", k.minimum(k.sub(k.as_expr(extent), first), RUN))
        with block.loop("i", count, "vector", lanes) as i:
            at = k.add(first, i)
            values = [block.let("own", row.load(0, at)) for row in rows]
            before = block.alloc("before", int64, (), "register")
            block.store(before, (), first)
            with block.loop("j", count) as j:
                other = block.let("other", rows[0].load(0, k.add(first, j)))
                less = k.compare("lt", other, values[0])
                if len(rows) > 1:  # keys may be equal: then the position decides
                    less = k.binary("or", less, k.both(k.compare("eq", other, values[0]), k.compare("lt", j, i)))
                block.accumulate(before, (), "add", k.cast(int64, less))
            place = block.let("place", k.load(before, ()))
            for row, value in zip(rows, values):
                row.store(1, place, value)


def _merge_runs(block, rows, extent, levels) -> None:
    """Merge pairs of runs between the halves, `levels` times."""
    end = k.as_expr(extent)
    with block.loop("level", levels) as level:
        source = block.let("source", k.binary("and", k.add(level, 1), k.constant(1)))
        target = k.sub(1, source)
        length = block.let("length", k.binary("shl", k.constant(RUN), level))
        twice = block.let("twice", k.add(length, length))
        pairs = k.binary("shr", k.add(end, k.sub(twice, 1)), k.add(level, RUN.bit_length()))
        with block.loop("pair", pairs) as pair:
            first = block.let("first", k.mul(pair, twice))
            middle = block.let("middle", k.add(first, length))
            last = block.let("last", k.add(first, twice))
            is_whole = block.let("whole", k.compare("le", last, end))
            with block.when(is_whole):  # from both ends at once: no run can end before the other side has its half
                front, back = _Side(block, first, middle), _Side(block, k.sub(middle, 1), k.sub(last, 1))
                with block.loop("step", length) as step:
                    front.take(rows, source, target, k.add(first, step), 1)
                    back.take(rows, source, target, k.sub(k.sub(last, 1), step), -1)
            with block.when(k.negate(is_whole)):
                middle = block.let("middle", k.minimum(middle, end))
                side = _Side(block, first, middle)
                with block.loop("step", k.sub(end, first)) as step:
                    side.take(rows, source, target, k.add(first, step), 1, middle, end)


class _Side:
    """A merge under way: where it stands in the left and in the right run."""

    def __init__(self, block, left, right):
        self.block = block
        self.left, self.right = block.alloc("left", int64, (), "register"), block.alloc("right", int64, (), "register")
        block.store(self.left, (), left)
        block.store(self.right, (), right)

    def take(self, rows, source, target, place, step: int, middle=None, end=None) -> None:
        """Move the next element to `place`: the smaller one from the front (step 1), the larger one from the back (-1).
        With `middle` and `end` a run may be used up."""
        block = self.block
        left, right = block.let("l", k.load(self.left, ())), block.let("r", k.load(self.right, ()))
        at = [left, right] if middle is None else [k.minimum(left, k.sub(middle, 1)), k.minimum(right, k.sub(end, 1))]
        values = [(block.let("a", row.load(source, at[0])), block.let("b", row.load(source, at[1]))) for row in rows]
        a, b = values[0]
        is_left = k.compare("le", a, b) if step > 0 else k.compare("gt", a, b)  # of equal ones the left comes first
        if middle is not None:
            is_left = k.both(k.compare("lt", left, middle), k.binary("or", k.compare("ge", right, end), is_left))
        is_left = block.let("is_left", is_left)
        for row, (a, b) in zip(rows, values):
            row.store(target, place, k.select(is_left, a, b))
        moved = block.let("moved", k.cast(int64, is_left))
        block.store(self.left, (), k.add(left, k.mul(moved, step)))
        block.store(self.right, (), k.add(right, k.mul(k.sub(1, moved), step)))
