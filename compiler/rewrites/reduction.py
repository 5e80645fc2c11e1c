"""Which reductions are simpler ones?"""

from __future__ import annotations

from ..core.dims import bounds, product
from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import broadcast, filled, is_count
from ..ops.elementwise import Mul, Neg
from ..ops.rearrange import Broadcast, Transpose
from ..ops.reduce import ArgReduce, Cumulative, Reduce
from .rule import rule, used_once
from .softmax import is_softmax
from .views import is_unit_reshape, reshape, source


@rule(Reduce)
def reduce_nothing(b: Builder, op, x):
    """reduce(x, no axes) -> x."""
    return x if not op.axes else None


@rule(Reduce)
def reduce_units(b: Builder, op, x):
    """reduce(x, axes of extent 1) -> reshape(x); where there are others, those alone are reduced."""
    real = tuple(a for a in op.axes if x.shape[a] != 1)
    if real == op.axes:
        return None
    (result,) = op.infer(x.type)
    return reshape(b, b.emit(Reduce(op.kind, real), x), result.shape)


@rule(Reduce)
def reduce_again(b: Builder, op, x):
    """sum(sum(x)) -> sum(x) over the axes of both, and so for prod, max and min."""
    if not isinstance(x.op, Reduce) or x.op.kind != op.kind or not used_once(b, x):
        return None
    inner = source(x)
    left = [a for a in range(inner.type.rank) if a not in x.op.axes]
    return b.emit(Reduce(op.kind, tuple(sorted((*x.op.axes, *(left[a] for a in op.axes))))), inner)


@rule(Reduce)
def reduce_before_transpose(b: Builder, op, x):
    """sum(transpose(x)) -> transpose(sum(x)) over the same axes by their place in x."""
    if not isinstance(x.op, Transpose):
        return None
    permutation = x.op.permutation
    axes = sorted(permutation[a] for a in op.axes)
    left = [a for a in range(len(permutation)) if a not in axes]
    order = tuple(left.index(p) for i, p in enumerate(permutation) if i not in op.axes)
    return b.emit(Transpose(order), b.emit(Reduce(op.kind, tuple(axes)), source(x)))


@rule(Reduce)
def reduce_reshaped(b: Builder, op, x):
    """sum(reshape(x)) -> reshape(sum(x)), where the reshape only adds or drops axes of extent 1."""
    if not is_unit_reshape(x):
        return None
    inner = source(x)
    places = dict(zip((i for i, d in enumerate(x.shape) if d != 1), (i for i, d in enumerate(inner.shape) if d != 1)))
    (result,) = op.infer(x.type)
    return reshape(b, b.emit(Reduce(op.kind, tuple(places[a] for a in op.axes if a in places)), inner), result.shape)


@rule(Reduce)
def reduce_repeated(b: Builder, op, x):
    """sum(broadcast(x)) -> broadcast(sum(x)) * n along repeated axes, max(broadcast(x)) -> broadcast(max(x))."""
    if not isinstance(x.op, Broadcast) or op.kind == "prod":
        return None
    inner, axes = source(x), x.op.axes
    carried = {axis for d, axis in zip(inner.shape, axes) if d != 1 or x.shape[axis] == 1}
    repeated = [x.shape[a] for a in op.axes if a not in carried]
    count = product(repeated)
    if not repeated or any(bounds(d)[0] < 1 for d in repeated):
        return None
    if op.kind == "sum" and not is_count(count, x.dtype):
        return None
    (result,) = op.infer(x.type)
    small = b.emit(Reduce(op.kind, tuple(i for i, axis in enumerate(axes) if axis in op.axes)), inner)
    if op.kind == "sum" and count != 1:
        small = b.emit(Mul(), small, filled(b, small.type, count))
    left = [a for a in range(x.type.rank) if a not in op.axes]
    return broadcast(b, small, result.shape, tuple(left.index(axis) for axis in axes if axis in left))


def _common_factor(op, x: Value) -> Value | None:
    """The factor x as it is for each result, where it is the same for all that are summed into one."""
    if not isinstance(x.op, Broadcast) or any(axis in op.axes for axis in x.op.axes):
        return None
    return source(x)


@rule(Reduce)
def sum_of_multiples(b: Builder, op, x):
    """sum(x * broadcast(c)) -> sum(x) * c, where c is the same for all summands; sum(-x) -> -sum(x); one product further
    within, sum((x * broadcast(c)) * y) -> sum(x * y) * c. What is summed is then what was there before it was scaled."""
    if op.kind != "sum" or x.dtype.compute != x.dtype:
        return None
    if isinstance(x.op, Neg):
        return b.emit(Neg(), b.emit(op, source(x)))
    if not isinstance(x.op, Mul):
        return None
    (result,) = op.infer(x.type)
    left = [a for a in range(x.type.rank) if a not in op.axes]

    def scaled(factor: Value, axes: tuple[int, ...], summand: Value) -> Value:
        wide = broadcast(b, factor, result.shape, tuple(left.index(axis) for axis in axes))
        return b.emit(Mul(), b.emit(op, summand), wide)
    for factor, other in (x.node.operands, x.node.operands[::-1]):
        common = _common_factor(op, factor)
        if common is not None:
            return scaled(common, factor.op.axes, other)
    for product, other in (x.node.operands, x.node.operands[::-1]):
        if isinstance(product.op, Mul) and used_once(b, x):
            for factor, inner in (product.node.operands, product.node.operands[::-1]):
                common = _common_factor(op, factor)
                if common is not None and not is_softmax(inner, factor):  # which its gradient keeps
                    return scaled(common, factor.op.axes, b.emit(Mul(), inner, other))
    return None


@rule(ArgReduce)
def place_in_unit(b: Builder, op, x):
    """argmax(x) -> 0 along an axis of extent 1."""
    return filled(b, op.infer(x.type)[0], 0) if x.shape[op.axis] == 1 else None


@rule(Cumulative)
def accumulate_unit(b: Builder, op, x):
    """cumulative(x) -> x along an axis of extent 1."""
    return x if x.shape[op.axis] == 1 and not op.exclusive else None
