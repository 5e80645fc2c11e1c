"""The maximum or the sum over a window that slides over the spatial axes, channels last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.dims import Dim, nominal, product
from ..core.dtypes import as_dtype, bool_, int32
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from ..kernel import builder as k
from ..kernel.ir import Const
from ..kernel.nest import clipped_taps, lanes_for, spread
from .batching import fold_batch, unfold_batch
from .constants import broadcast, filled
from .elementwise import Add
from .elementwise.term import Term
from .op import Op, Sample, dtype_error, require_operands, shape_error
from .rearrange import Pad, Reshape, Slice, dilate
from .reduce import OPERATION, identity
from .sample_arrays import draw, draw_special
from .window import padded, sliding_extents, taps


UNROLLED_TAPS = 25  # windows of up to so many elements are written out where they lie inside


@dataclass(frozen=True)
class Pool(Op):
    """`kind` ("max" or "sum") over windows of x [N, *spatial, C] -> [N, *out, C].

    out = (spatial + low + high - ((window - 1) * dilation + 1)) // stride + 1. Padding counts as the identity of `kind`
    (the dtype's minimum, or 0); averages are sums divided by counts. NaN propagates; 16-bit floats are summed in f32.
    """

    kind: str
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        if self.kind not in ("max", "sum"):
            raise shape_error(self, f"kind {self.kind!r} is none of max, sum", x)
        if x.dtype.is_bool and self.kind == "sum":
            raise dtype_error(self, "sum of bool", x, hint="cast to an integer first")
        if x.rank < 3:
            raise shape_error(self, "takes x [N, *spatial, C]", x)
        out = sliding_extents(self, types, x.shape[1:-1], self.window)
        return (TensorType((x.shape[0], *out, x.shape[-1]), x.dtype),)

    def reference(self, x):
        wide = x.astype(np.float64) if self.kind == "sum" and x.dtype.kind not in "iu" else x
        combine = np.maximum if self.kind == "max" else np.add
        total = None
        framed = padded(wide, self.padding, identity(self.kind, as_dtype(x.dtype)))
        for _, seen in taps(framed, self.window, self.strides, self.dilation):
            total = seen if total is None else combine(total, seen)
        return total.astype(x.dtype)

    def flops(self, *types):
        (result,) = self.infer(*types)
        return result.size * product(self.window)

    def vjp(self, builder, operands, results, cotangents):
        """A sum gives every element of a window its cotangent; of a maximum the first element, in row-major order, that
        is equal to it takes all, as in PyTorch and JAX."""
        (x,), (out,), (g,) = operands, results, cotangents
        if not x.dtype.is_float or any(d == 0 for d in x.shape):
            return (None,)
        whole = (x.shape[0], *(low + n + high for n, (low, high) in zip(x.shape[1:-1], self.padding)), x.shape[-1])
        has_gaps = self.window != self.strides or any(d != 1 for d in self.dilation)
        if self.kind == "sum":
            found = self._spread_sum(builder, g, whole) if has_gaps else self._side_by_side(builder, g, g.shape, "out")
        else:
            winner = self._winner(builder, x, out)
            if has_gaps:
                found = self._spread_winner(builder, g, winner, whole)
            else:
                number = builder.constant(np.arange(product(self.window), dtype=np.int32).reshape(self.window))
                spread_g, winners, numbers = (
                    Term(builder, self._side_by_side(builder, value, g.shape, axes))
                    for value, axes in ((g, "out"), (winner, "out"), (number, "window")))
                found = spread_g.where(winners.compare("eq", numbers)).value
        missing = tuple(a - b for a, b in zip(whole, found.shape))
        if any(d != 0 for d in missing):  # elements behind the last window
            found = builder.emit(Pad((0,) * len(whole), missing), found)
        if whole == x.shape:
            return (found,)
        return (builder.emit(Slice((0, *(low for low, _ in self.padding), 0), x.shape, (1,) * len(whole)), found),)

    def _tap_slice(self, tap: tuple[int, ...], out: tuple[Dim, ...]) -> Slice:
        """What the windows see at `tap`, of the padded operand; `out` is the result's shape."""
        starts = (0, *(t * d for t, d in zip(tap, self.dilation)), 0)
        return Slice(starts, out, (1, *self.strides, 1))

    def _winner(self, builder: Builder, x: Value, out: Value) -> Value:
        """For each window the number (int32, row-major) of the first tap that is its maximum."""
        low, high = ((0, *(p[side] for p in self.padding), 0) for side in (0, 1))
        x = builder.emit(Pad(low, high, x.dtype.minimum), x) if any(d != 0 for d in low + high) else x
        *others, last = enumerate(np.ndindex(*self.window))
        winner = Term(builder, filled(builder, TensorType(out.shape, int32), last[0]))
        for number, tap in reversed(others):
            seen = Term(builder, builder.emit(self._tap_slice(tap, out.shape), x))
            winner = winner.filled(number).where(seen.compare("eq", Term(builder, out)), winner)
        return winner.value

    def _spread_sum(self, builder: Builder, g: Value, whole: tuple[Dim, ...]) -> Value:
        g = dilate(builder, g, (1, *self.strides, 1))
        padding = tuple(((size - 1) * d, n - extent) for size, d, n, extent in
                        zip(self.window, self.dilation, whole[1:-1], g.shape[1:-1]))
        return builder.emit(Pool("sum", self.window, (1,) * len(padding), padding, self.dilation), g)

    def _spread_winner(self, builder: Builder, g: Value, winner: Value, whole: tuple[Dim, ...]) -> Value:
        total = None
        for number, tap in enumerate(np.ndindex(*self.window)):
            part = Term(builder, g).where(Term(builder, winner).compare("eq", number)).value
            part = dilate(builder, part, (1, *self.strides, 1))
            low = (0, *(t * d for t, d in zip(tap, self.dilation)), 0)
            part = builder.emit(Pad(low, tuple(n - a - b for n, a, b in zip(whole, low, part.shape))), part)
            total = part if total is None else builder.emit(Add(), total, part)
        return total

    def _side_by_side(self, builder: Builder, x: Value, out: tuple[Dim, ...], axes: str) -> Value:
        """x [N, *out * window, C] of windows that lie side by side, from what it is on the axes of "out" (all but the
        window's) or of "window"."""
        shape = [out[0]]
        for extent, size in zip(out[1:-1], self.window):
            shape += [extent, size]
        inside = range(2, len(shape), 2)
        placed = inside if axes == "window" else [a for a in range(len(shape) + 1) if a not in inside]
        joined = (out[0], *(n * k for n, k in zip(out[1:-1], self.window)), out[-1])
        return builder.emit(Reshape(joined), broadcast(builder, x, (*shape, out[-1]), placed))

    def lower(self, block, operands, results, types, target):
        """Lanes over the channels, or over the columns where these lie side by side in memory. Only windows that reach over
        a border look at which of their taps lie inside."""
        (x,), (result,) = types, self.infer(*types)
        axes = list(zip(self.window, self.strides, (low for low, _ in self.padding), self.dilation, x.shape[1:-1]))
        *rows, last = result.shape[1:-1]
        *_, column_stride, channel_stride = (operands[0].buffer or results[0].buffer).strides
        is_planar = column_stride == 1 and channel_stride != 1 and nominal(last) > 1
        outer = (result.shape[0], result.shape[-1], *rows) if is_planar else (result.shape[0], *rows)
        work = nominal(product(result.shape) * product(self.window)) // max(1, nominal(product(outer)))
        with spread(block, outer, work) as (image, *index):
            channel = index.pop(0) if is_planar else None
            row_taps = [_bound_taps(block, i, *axis) for i, axis in zip(index, axes)]

            def element(column, taps, is_inside, channel):
                """Store one element of the result; `taps` are those of the last axis."""
                every = [*row_taps, taps]
                total = block.alloc("total", x.dtype.compute, (), "register")
                block.store(total, (), k.constant(identity(self.kind, x.dtype.compute), x.dtype.compute))

                def visit(tap):
                    if len(tap) == len(every):
                        at = [k.add(origin, k.mul(t, d)) for (origin, *_), t, d in zip(every, tap, self.dilation)]
                        block.accumulate(total, (), OPERATION[self.kind], operands[0]((image, *at, channel)))
                        return
                    _, first, count = every[len(tap)]
                    if is_inside[len(tap)]:
                        for t in range(self.window[len(tap)]):
                            visit((*tap, t))
                        return
                    with block.loop("tap", count) as t:
                        visit((*tap, k.add(first, t)))
                visit(())
                results[0].store((image, *index, column, channel), k.load(total, ()))
            lanes = lanes_for(last if is_planar else x.shape[-1], target.lanes(x.dtype))
            if is_planar:
                self._columns(block, row_taps, axes[-1], last, lanes, lambda *place: element(*place, channel))
                return
            with block.loop("column", last) as column:
                taps = _bound_taps(block, column, *axes[-1])

                def channels(is_inside):
                    with block.loop("channel", x.shape[-1], "vector", lanes) as channel:
                        element(column, taps, is_inside, channel)
                self._by_border(block, [*row_taps, taps], channels)

    def _by_border(self, block, taps, visit):
        """`visit(is_inside)` for windows that lie inside along every axis of `taps`, and for others; is_inside says of which
        axes that is known."""
        known = [all(p == 0 for p in padding) for padding, _ in zip(self.padding, taps)]
        if product(self.window) > UNROLLED_TAPS:
            visit([False] * len(self.window))
            return
        whole = [*known, *([True] * (len(self.window) - len(taps)))]
        if all(known):
            visit(whole)
            return
        inside = k.constant(True, bool_)
        for (_, _, count), size, is_known in zip(taps, self.window, known):
            inside = inside if is_known else k.both(inside, k.compare("eq", count, size))
        inside = block.let("inside", inside)
        with block.when(inside):
            visit([True] * len(self.window))
        with block.when(k.negate(inside)):
            visit(whole)

    def _columns(self, block, row_taps, axis, last, lanes, element):
        """A line of results along the lanes: those whose windows lie inside, vectors of them the last of which lies against
        the end, and the others one by one."""
        size, stride, low, dilation, extent = axis
        begin = k.minimum(k.as_expr(-(-low // stride)), k.as_expr(last))
        end = k.minimum(k.as_expr((extent + (low - 1 - (size - 1) * dilation)) // stride + 1), k.as_expr(last))
        end = block.let("end", k.maximum(end, begin))
        count = block.let("count", k.sub(end, begin))

        def vector(start, number, is_inside):
            with block.loop("column", number, "vector", lanes) as lane:
                column = k.add(start, lane)
                element(column, (k.sub(k.mul(column, stride), low), 0, size), is_inside)

        def line(is_inside):
            blocks = k.floordiv(k.add(count, lanes - 1), lanes)
            with block.when(k.compare("ge", count, lanes)), block.loop("block", blocks) as number:
                start = k.minimum(k.mul(number, lanes), k.sub(count, lanes))
                vector(block.let("start", k.add(begin, start)), k.as_expr(lanes), is_inside)
            with block.when(k.compare("lt", count, lanes)):
                vector(begin, count, is_inside)
            for start, number in ((k.as_expr(0), begin), (end, k.sub(k.as_expr(last), end))):
                if isinstance(number, Const) and number.value == 0:
                    continue
                with block.loop("column", number) as i:
                    column = block.let("at", k.add(start, i))
                    element(column, _bound_taps(block, column, *axis), [*is_inside[:-1], False])
        self._by_border(block, row_taps, line)

    def vmap(self, builder, operands, is_batched, size):
        """More images."""
        (x,) = operands
        result = builder.emit(self, fold_batch(builder, x))
        return (unfold_batch(builder, result, size, x.shape[1]),)

    @classmethod
    def samples(cls):
        cases = [((2, 8, 9, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
                 ((1, 7, 7, 17), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
                 ((1, 9, 6, 2), (3, 2), (2, 3), ((1, 0), (0, 1)), (1, 1)),
                 ((1, 9, 9, 2), (3, 3), (1, 2), ((2, 2), (0, 0)), (2, 3)),
                 ((2, 13, 5), (4,), (3,), ((1, 2),), (1,)),
                 ((1, 4, 5, 3, 2), (2, 2, 2), (1, 2, 1), ((0, 0), (1, 0), (0, 1)), (1, 1, 1)),
                 ((0, 4, 4, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)), ((1, 1, 1), (1,), (1,), ((0, 0),), (1,)),
                 ((1, 5, 5, 1), (5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)), ((1, 0, 2), (2,), (1,), ((1, 2),), (1,))]
        samples = [Sample(cls(kind, *fields), (draw("float32", *x),)) for kind in ("max", "sum")
                   for x, *fields in cases]
        for kind in ("max", "sum"):
            _, *fields = cases[1]
            samples += [Sample(cls(kind, *fields), (draw(d, 1, 5, 6, 3),), grad=False)
                        for d in ("float64", "float16", "bfloat16", "int8", "uint8", "int64")]
            samples.append(Sample(cls(kind, *fields), (draw_special("float32", 1, 10, 10, 1),), grad=False))
        return samples + [Sample(cls("max", *cases[1][1:]), (draw("bool", 1, 5, 6, 3),))]


def _bound_taps(block, position, size, stride, low, dilation, extent):
    """`clipped_taps` in variables."""
    names = ("origin", "first", "count")
    return tuple(block.let(n, e) for n, e in zip(names, clipped_taps(position, size, stride, low, dilation, extent)))
