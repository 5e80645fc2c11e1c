"""Convolution over 1, 2 or 3 spatial axes, channels last: strided, padded, dilated, grouped, transposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..core.dims import Dim, divide_exactly, nominal, product
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from ..kernel import builder as k
from ..kernel.nest import clipped_taps, lanes_for, spread
from .batching import fold_batch, move_axis, unfold_batch
from .constants import filled
from .contract import Contract
from .control import map_over_batch
from .op import Op, Sample, dtype_error, is_nonnegative, require_operands, require_same_dtype, shape_error
from .rearrange import Concat, Pad, Reshape, Slice, Transpose, flip, dilate
from .sample_arrays import draw
from .window import padded, sliding_extents, taps


@dataclass(frozen=True)
class Conv(Op):
    """x [N, *spatial, C] * w [*kernel, C // groups, O] -> [N, *out, O]; the kernel is not flipped.

    out = (spread + low + high - ((kernel - 1) * dilation + 1)) // stride + 1, where input_dilation d puts d - 1 zeros
    between neighbours of x: spread = (spatial - 1) * d + 1. The gradient by x, and transposed convolution, are
    convolutions with it. Group g reads channels g * C/groups ... and writes outputs g * O/groups ... . Integers wrap;
    16-bit floats accumulate in float32.
    """

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    input_dilation: tuple[int, ...] | None = None

    def __post_init__(self):
        if self.input_dilation is None:
            object.__setattr__(self, "input_dilation", (1,) * len(self.strides))

    def infer(self, *types):
        require_operands(self, 2, *types)
        x, w = types
        dtype = require_same_dtype(self, *types)
        if dtype.is_bool:
            raise dtype_error(self, "does not take bool", *types, hint="cast to a number")
        if x.rank < 3 or w.rank != x.rank:
            raise shape_error(self, "takes x [N, *spatial, C] and w [*kernel, C // groups, O]", *types)
        splits = self.groups >= 1 and divide_exactly(w.shape[-1], self.groups) is not None
        if not splits or x.shape[-1] != w.shape[-2] * self.groups:
            raise shape_error(self, f"{x.shape[-1]} channels do not split into {self.groups} groups of {w.shape[-2]}, "
                              f"or {w.shape[-1]} outputs into {self.groups}", *types)
        if len(self.input_dilation) != x.rank - 2 or min(self.input_dilation) < 1:
            what = f"input_dilation {self.input_dilation} must be 1 or more on {x.rank - 2} spatial axes"
            raise shape_error(self, what, *types)
        spread = tuple(n if d == 1 or n == 0 else (n - 1) * d + 1 for n, d in zip(x.shape[1:-1], self.input_dilation))
        out = sliding_extents(self, types, spread, w.shape[:-2])
        return (TensorType((x.shape[0], *out, w.shape[-1]), dtype),)

    def reference(self, x, w):
        wide = x.dtype if x.dtype.kind in "iu" else np.float64
        extents = (max(0, (n - 1) * d + 1) for n, d in zip(x.shape[1:-1], self.input_dilation))
        spread = np.zeros((x.shape[0], *extents, x.shape[-1]), wide)
        spread[(slice(None), *(slice(None, None, d) for d in self.input_dilation))] = x
        total, groups, outputs = 0, self.groups, w.shape[-1]
        for tap, seen in taps(padded(spread, self.padding, 0), w.shape[:-2], self.strides, self.dilation):
            inputs = seen.reshape(prod(seen.shape[:-1]), groups, w.shape[-2]).transpose(1, 0, 2)
            weights = w[tap].astype(wide).reshape(w.shape[-2], groups, outputs // groups).transpose(1, 0, 2)
            total = total + np.matmul(inputs, weights)
        return total.transpose(1, 0, 2).reshape(*seen.shape[:-1], outputs).astype(x.dtype)

    def flops(self, *types):
        (result,) = self.infer(*types)
        return 2 * result.size * product(types[1].shape[:-1])

    def vjp(self, builder, operands, results, cotangents):
        """Both are convolutions again (Dumoulin and Visin, "A guide to convolution arithmetic", 2016): by x of the
        cotangent spread by the strides with the flipped kernel, by w of x with the cotangent as the kernel."""
        (x, w), (g,) = operands, cotangents
        if any(d == 0 for d in x.shape + w.shape):
            return filled(builder, x.type, 0), filled(builder, w.type, 0)
        single = self.groups != 1 or all(d == 1 for d in w.shape[:-2])
        by_weights = self._by_weights_tap_by_tap if single else self._by_weights
        return self._by_input(builder, x, w, g), by_weights(builder, x, w, g)

    def _by_input(self, builder: Builder, x: Value, w: Value, g: Value) -> Value:
        rank, groups = len(self.strides), self.groups
        inputs, outputs = w.shape[-2], divide_exactly(w.shape[-1], groups)
        w = flip(builder, w, [axis for axis in range(rank) if w.shape[axis] != 1])
        kernel = w.shape[:rank]
        if groups == 1:
            w = builder.emit(Transpose((*range(rank), rank + 1, rank)), w)
        else:
            w = builder.emit(Reshape((*kernel, inputs, groups, outputs)), w)
            w = builder.emit(Transpose((*range(rank), rank + 2, rank + 1, rank)), w)
            w = builder.emit(Reshape((*kernel, outputs, groups * inputs)), w)
        if self._is_sparse(x, kernel):
            return self._between_zeros(builder, x, builder.emit(Conv((1,) * rank, ((0, 0),) * rank, (1,) * rank, groups), g, w))
        reach = [(size - 1) * d for size, d in zip(kernel, self.dilation)]
        spread_g = [(n - 1) * s + 1 for n, s in zip(g.shape[1:-1], self.strides)]
        spread_x = [(n - 1) * d + 1 for n, d in zip(x.shape[1:-1], self.input_dilation)]
        lows = [low for low, _ in self.padding]
        padding = tuple((r - low, x_extent - g_extent + low)
                        for r, low, x_extent, g_extent in zip(reach, lows, spread_x, spread_g))
        if all(is_nonnegative(p) for pair in padding for p in pair):
            return builder.emit(Conv(self.input_dilation, padding, self.dilation, groups, self.strides), g, w)
        # Padding beyond the reach of the kernel: by the padded, spread input first, of which x's places are a part.
        whole = [low + extent + high for (low, high), extent in zip(self.padding, spread_x)]
        padding = tuple((r, extent - g_extent) for r, extent, g_extent in zip(reach, whole, spread_g))
        full = builder.emit(Conv((1,) * rank, padding, self.dilation, groups, self.strides), g, w)
        return builder.emit(Slice((0, *lows, 0), x.shape, (1, *self.input_dilation, 1)), full)

    def _is_sparse(self, x: Value, kernel: tuple[Dim, ...]) -> bool:
        """Whether most of x meets no tap: a single one, with strides."""
        return (all(d == 1 for d in (*kernel, *self.input_dilation)) and any(s != 1 for s in self.strides)
                and all(p == (0, 0) for p in self.padding) and all(isinstance(d, int) for d in x.shape[1:-1]))

    def _between_zeros(self, builder: Builder, x: Value, seen: Value) -> Value:
        """The cotangent of x from that of the places that the strides see."""
        images, *extents, channels = seen.shape
        apart = tuple(part for n in extents for part in (n, 1))
        wide = builder.emit(Reshape((images, *apart, channels)), seen)
        high = (0, *(part for s in self.strides for part in (0, s - 1)), 0)
        wide = builder.emit(Pad((0,) * len(high), high), wide)
        whole = builder.emit(Reshape((images, *(n * s for n, s in zip(extents, self.strides)), channels)), wide)
        return whole if whole.shape == x.shape else builder.emit(Slice((0,) * len(x.shape), x.shape, (1,) * len(x.shape)), whole)

    def _by_weights(self, builder: Builder, x: Value, w: Value, g: Value) -> Value:
        """x with channels and images exchanged, convolved with the cotangent, whose images are its inputs."""
        rank = len(self.strides)
        around = tuple(range(1, rank + 1))
        padding = tuple((low, self._padding_behind(axis, x, w, g)) for axis, (low, _) in enumerate(self.padding))
        out = builder.emit(Conv(self.dilation, padding, self.strides, 1, self.input_dilation),
                           builder.emit(Transpose((rank + 1, *around, 0)), x),
                           builder.emit(Transpose((*around, 0, rank + 1)), g))
        found = builder.emit(Transpose((*around, 0, rank + 1)), out)
        if found.shape == w.shape:
            return found
        return builder.emit(Slice((0,) * (rank + 2), w.shape, (1,) * (rank + 2)), found)

    def _padding_behind(self, axis: int, x: Value, w: Value, g: Value) -> Dim:
        """The padding behind x under which the taps of the kernel are the places that its cotangent has; less than it
        has where strides leave elements over. Never below 0: then there are more places, which are cut off."""
        needed = (w.shape[axis] - 1) * self.dilation[axis] + (g.shape[axis + 1] - 1) * self.strides[axis] + 1
        low, high = self.padding[axis]
        exact = needed - ((x.shape[axis + 1] - 1) * self.input_dilation[axis] + 1) - low
        return max(exact, 0) if isinstance(exact, int) else high

    def _by_weights_tap_by_tap(self, builder: Builder, x: Value, w: Value, g: Value) -> Value:
        """For groups, and for a single tap: a contraction over images and places for each tap of the kernel."""
        rank, groups = len(self.strides), self.groups
        outputs = divide_exactly(w.shape[-1], groups)
        x = dilate(builder, x, (1, *self.input_dilation, 1))
        low, high = ((0, *(p[side] for p in self.padding), 0) for side in (0, 1))
        x = builder.emit(Pad(low, high), x) if any(d != 0 for d in low + high) else x
        g = builder.emit(Reshape((*g.shape[:-1], groups, outputs)), g)
        places = "n" + "dhw"[:rank]
        op, taps = Contract(f"{places}gc,{places}go->cgo"), []
        for tap in np.ndindex(*w.shape[:rank]):
            starts = (0, *(t * d for t, d in zip(tap, self.dilation)), 0)
            seen = builder.emit(Slice(starts, (*g.shape[:-2], x.shape[-1]), (1, *self.strides, 1)), x)
            seen = builder.emit(Reshape((*g.shape[:-2], groups, w.shape[-2])), seen)
            taps.append(builder.emit(Reshape((1, *w.shape[-2:])), builder.emit(op, seen, g)))
        return builder.emit(Reshape(w.shape), builder.emit(Concat(0), *taps) if len(taps) > 1 else taps[0])

    def lower(self, block, operands, results, types, target):
        """Loops for any form and dtype, where no template takes it: lanes over the output channels of a group, or over
        the channels where each is a group of its own."""
        (x, w), (result,) = types, self.infer(*types)
        inputs, outputs = w.shape[-2], divide_exactly(w.shape[-1], self.groups)
        depthwise = inputs == 1 and outputs == 1
        wide = x.dtype.compute
        width = w.shape[-1] if depthwise else outputs
        axes = list(zip(w.shape[:-2], self.strides, (low for low, _ in self.padding), self.dilation, x.shape[1:-1],
                        self.input_dilation))

        def taps(position, visit, tap=(), places=()):
            """The taps that meet an element of x, and where."""
            if len(tap) == len(axes):
                visit(tap, places)
                return
            size, stride, low, dilation, extent, spread_by = axes[len(tap)]
            if spread_by == 1:
                origin, first, count = (block.let("tap", e)
                                        for e in clipped_taps(position[len(tap)], size, stride, low, dilation, extent))
                with block.loop("t", count) as t:
                    at = k.add(first, t)
                    taps(position, visit, (*tap, at), (*places, k.add(origin, k.mul(at, dilation))))
                return
            with block.loop("t", size) as t:
                at = block.let("at",
                               k.add(k.sub(k.mul(position[len(tap)], stride), k.as_expr(low)), k.mul(t, dilation)))
                place = block.let("place", k.floordiv(at, spread_by))
                meets = k.both(k.compare("eq", k.mul(place, spread_by), at),
                               k.both(k.compare("ge", at, 0), k.compare("lt", place, k.as_expr(extent))))
                with block.when(meets):
                    taps(position, visit, (*tap, t), (*places, place))

        *outer, last = result.shape[:-1]
        with spread(block, outer, nominal(last * product(w.shape))) as (image, *rows):
            with block.loop("column", last) as column, block.loop("group", 1 if depthwise else self.groups) as group, \
                    block.loop("o", width, "vector", lanes_for(width, target.lanes(wide))) as o:
                channel = block.let("channel", k.add(k.mul(group, k.as_expr(outputs)), o))
                total = block.alloc("total", wide, (), "register")
                block.store(total, (), k.constant(0, wide))

                def visit(tap, places):
                    with block.loop("c", inputs) as c:
                        source = o if depthwise else k.add(k.mul(group, k.as_expr(inputs)), c)
                        product = k.binary("mul", operands[0]((image, *places, source)),
                                           operands[1]((*tap, c, channel)))
                        block.accumulate(total, (), "add", product)
                taps((*rows, column), visit)
                results[0].store((image, *rows, column, channel), k.load(total, ()))

    def vmap(self, builder, operands, is_batched, size):
        """A batch of inputs is more images; one of kernels is more outputs of each group; one of both is more groups."""
        (x, w), groups = operands, self.groups
        if not is_batched[1]:
            result = builder.emit(self, fold_batch(builder, x), w)
            return (unfold_batch(builder, result, size, x.shape[1]),)
        images = x.shape[1] if is_batched[0] else x.shape[0]
        outputs = w.shape[-1]
        channel = w.type.rank - 2  # the last axis without the batch
        if is_batched[0]:
            if not isinstance(size, int) or size == 0:
                return map_over_batch(builder, self, operands, is_batched, size)  # groups are a constant
            x = move_axis(builder, x, 0, channel)
            x = builder.emit(Reshape((*x.shape[:-2], size * x.shape[-1])), x)
            w = move_axis(builder, w, 0, channel)
            w = builder.emit(Reshape((*w.shape[:-2], size * outputs)), w)
            result = builder.emit(replace(self, groups=size * groups), x, w)
            result = builder.emit(Reshape((*result.shape[:-1], size, outputs)), result)
            return (move_axis(builder, result, channel, 0),)
        each = divide_exactly(outputs, groups)
        w = builder.emit(Reshape((*w.shape[:-1], groups, each)), w)
        w = move_axis(builder, w, 0, channel + 1)
        w = builder.emit(Reshape((*w.shape[:-3], groups * size * each)), w)
        result = builder.emit(self, x, w)
        result = builder.emit(Reshape((*result.shape[:-1], groups, size, each)), result)
        result = move_axis(builder, result, channel + 1, 0)
        return (builder.emit(Reshape((size, images, *result.shape[2:-2], outputs)), result),)

    @classmethod
    def samples(cls):
        same, none = ((1, 1), (1, 1)), ((0, 0), (0, 0))
        cases = [  # x, w, strides, padding, dilation, groups, input dilation
            ((2, 7, 9, 3), (3, 3, 3, 5), (1, 1), same, (1, 1), 1, None),
            ((1, 5, 5, 4), (1, 1, 4, 17), (1, 1), none, (1, 1), 1, None),
            ((2, 6, 5, 4), (1, 1, 4, 7), (2, 2), none, (1, 1), 1, None),
            ((1, 7, 9, 6), (1, 1, 2, 6), (3, 1), none, (1, 1), 3, None),
            ((1, 8, 11, 3), (3, 3, 3, 4), (2, 2), same, (1, 1), 1, None),
            ((2, 9, 7, 2), (3, 2, 2, 3), (2, 3), ((0, 1), (2, 0)), (1, 1), 1, None),
            ((1, 9, 9, 2), (3, 3, 2, 2), (1, 1), ((2, 2), (2, 2)), (2, 2), 1, None),
            ((1, 10, 7, 2), (3, 2, 2, 2), (2, 1), ((1, 0), (0, 3)), (3, 2), 1, None),
            ((1, 6, 6, 4), (3, 3, 2, 6), (1, 1), same, (1, 1), 2, None),
            ((2, 7, 5, 19), (3, 3, 1, 19), (1, 1), same, (1, 1), 19, None),
            ((1, 7, 7, 3), (3, 3, 1, 6), (2, 2), same, (1, 1), 3, None),
            ((1, 4, 5, 3), (3, 3, 3, 2), (1, 1), ((2, 2), (2, 2)), (1, 1), 1, (2, 2)),
            ((1, 4, 3, 4), (2, 3, 2, 4), (1, 1), ((1, 2), (2, 1)), (1, 2), 2, (3, 2)),
            ((2, 13, 3), (3, 3, 5), (1,), ((1, 1),), (1,), 1, None),
            ((1, 17, 2), (4, 2, 3), (3,), ((2, 0),), (2,), 1, None),
            ((1, 1, 1), (1, 1, 1), (1,), ((0, 0),), (1,), 1, None),
            ((1, 3, 4, 5, 2), (2, 3, 2, 2, 3), (1, 2, 1), ((0, 0), (1, 1), (1, 0)), (1, 1, 2), 1, None),
            ((0, 5, 5, 3), (3, 3, 3, 4), (1, 1), same, (1, 1), 1, None),
            ((1, 5, 5, 3), (3, 3, 3, 0), (1, 1), same, (1, 1), 1, None),
            ((1, 5, 5, 0), (3, 3, 0, 2), (1, 1), same, (1, 1), 1, None),
            ((1, 4, 4, 2), (4, 4, 2, 3), (1, 1), none, (1, 1), 1, None),
            ((1, 0, 4, 1), (1, 2, 1, 2), (1, 1), ((1, 1), (0, 0)), (1, 1), 1, None),
        ]
        samples = [Sample(cls(*fields), (draw("float32", *x), draw("float32", *w, seed=1))) for x, w, *fields in cases]
        for d in ("float64", "float16", "bfloat16", "int8", "int32"):
            x, w, *fields = cases[0]
            samples.append(Sample(cls(*fields), (draw(d, *x), draw(d, *w, seed=1))))
        return samples
