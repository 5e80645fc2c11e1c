"""Which views are simpler ones?  Rules of reshape, transpose, broadcast, slice, pad and concat among themselves.

In canonical form a broadcast stands outside of transposes and slices, and repeats axes: one that only adds axes of
extent 1 is a reshape, as is a transpose that only moves such axes.
"""

from __future__ import annotations

from ..core.dims import Dim
from ..core.errors import ShapeError
from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import broadcast, filled, splat
from ..ops.constant import Iota
from ..ops.elementwise import Add
from ..ops.identity import StopGradient
from ..ops.op import Op
from ..ops.rearrange import Broadcast, Concat, Pad, Reshape, Slice, Transpose
from .rule import rule, used_once


def emit_if_valid(b: Builder, op: Op, *operands: Value) -> Value | None:
    """The result of `op`, or None where facts that held step by step do not prove its shapes at once."""
    try:
        op.infer(*(o.type for o in operands))
    except ShapeError:
        return None
    return b.emit(op, *operands)


def reshape(b: Builder, x: Value, shape: tuple[Dim, ...]) -> Value:
    """x under another shape; x itself where it has it."""
    return x if x.shape == tuple(shape) else b.emit(Reshape(tuple(shape)), x)


def without_units(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """`shape` without its axes of extent 1."""
    return tuple(d for d in shape if d != 1)


def is_unit_reshape(x: Value) -> bool:
    """Whether x is a Reshape that only adds or drops axes of extent 1."""
    return isinstance(x.op, Reshape) and without_units(x.shape) == without_units(x.node.operands[0].shape)


def source(x: Value) -> Value:
    """The first operand of the op that makes x."""
    return x.node.operands[0]


@rule(StopGradient)
def stop_nothing(b: Builder, op, x):
    """stop_gradient(x) -> x: derivatives were taken before."""
    return x


# ---- reshape ---------------------------------------------------------------------------------------------------------
@rule(Reshape)
def reshape_to_same(b: Builder, op, x):
    """reshape(x, shape of x) -> x."""
    return x if op.shape == x.shape else None


@rule(Reshape)
def reshape_again(b: Builder, op, x):
    """reshape(reshape(x)) -> reshape(x)."""
    return reshape(b, source(x), op.shape) if isinstance(x.op, Reshape) else None


@rule(Reshape)
def reshape_repeated(b: Builder, op, x):
    """reshape(broadcast(x)) -> broadcast(x), where it moves axes of extent 1 alone, or x is one element."""
    if not isinstance(x.op, Broadcast):
        return None
    inner = source(x)
    if without_units(inner.shape) == ():
        return broadcast(b, reshape(b, inner, ()), op.shape, ())
    if without_units(op.shape) != without_units(x.shape):
        return None
    kept = [i for i, d in enumerate(x.shape) if d != 1]
    places = dict(zip(kept, (i for i, d in enumerate(op.shape) if d != 1)))
    moved = reshape(b, inner, tuple(d for d, axis in zip(inner.shape, x.op.axes) if axis in places))
    return broadcast(b, moved, op.shape, tuple(places[axis] for axis in x.op.axes if axis in places))


# ---- transpose -------------------------------------------------------------------------------------------------------
@rule(Transpose)
def transpose_nothing(b: Builder, op, x):
    """transpose(x, identity) -> x."""
    return x if op.permutation == tuple(range(x.type.rank)) else None


@rule(Transpose)
def transpose_again(b: Builder, op, x):
    """transpose(transpose(x)) -> transpose(x)."""
    if not isinstance(x.op, Transpose):
        return None
    return b.emit(Transpose(tuple(x.op.permutation[p] for p in op.permutation)), source(x))


@rule(Transpose)
def transpose_units(b: Builder, op, x):
    """transpose(x) -> reshape(x), where only axes of extent 1 move."""
    moved = [p for p in op.permutation if x.shape[p] != 1]
    return b.emit(Reshape(tuple(x.shape[p] for p in op.permutation)), x) if moved == sorted(moved) else None


@rule(Transpose)
def transpose_repeated(b: Builder, op, x):
    """transpose(broadcast(x)) -> broadcast(transpose(x)): what is moved is small, often nothing."""
    if not isinstance(x.op, Broadcast):
        return None
    places = [op.permutation.index(axis) for axis in x.op.axes]
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = b.emit(Transpose(tuple(order)), source(x))
    return broadcast(b, moved, tuple(x.shape[p] for p in op.permutation), sorted(places))


@rule(Transpose)
def transpose_ramp(b: Builder, op, x):
    """transpose(iota) -> iota along the axis where it went."""
    if not isinstance(x.op, Iota):
        return None
    return b.emit(Iota(tuple(x.shape[p] for p in op.permutation), op.permutation.index(x.op.axis), x.dtype))


# ---- broadcast -------------------------------------------------------------------------------------------------------
@rule(Broadcast)
def broadcast_to_same(b: Builder, op, x):
    """broadcast(x, shape of x) -> x."""
    return x if op.shape == x.shape else None


@rule(Broadcast)
def broadcast_again(b: Builder, op, x):
    """broadcast(broadcast(x)) -> broadcast(x)."""
    if not isinstance(x.op, Broadcast):
        return None
    return b.emit(Broadcast(op.shape, tuple(op.axes[axis] for axis in x.op.axes)), source(x))


@rule(Broadcast)
def broadcast_units(b: Builder, op, x):
    """broadcast(x) -> reshape(x), where it only adds axes of extent 1."""
    repeats = any(d != 1 for i, d in enumerate(op.shape) if i not in op.axes)
    if repeats or any(x.shape[i] != op.shape[axis] for i, axis in enumerate(op.axes)):
        return None
    return b.emit(Reshape(op.shape), x)


@rule(Broadcast)
def broadcast_reshaped(b: Builder, op, x):
    """broadcast(reshape(x)) -> broadcast(x), where the reshape only adds or drops axes of extent 1."""
    if not is_unit_reshape(x) or 1 not in x.shape:
        return None
    axes = tuple(axis for d, axis in zip(x.shape, op.axes) if d != 1)
    return broadcast(b, reshape(b, source(x), without_units(x.shape)), op.shape, axes)


# ---- slice -----------------------------------------------------------------------------------------------------------
@rule(Slice)
def slice_all(b: Builder, op, x):
    """slice(x, everything) -> x."""
    return x if op.sizes == x.shape and all(s == 0 for s in op.starts) and all(s == 1 for s in op.steps) else None


@rule(Slice)
def slice_again(b: Builder, op, x):
    """slice(slice(x)) -> slice(x)."""
    if not isinstance(x.op, Slice):
        return None
    first = x.op
    starts = tuple(a + c * s for a, s, c in zip(first.starts, first.steps, op.starts))
    return emit_if_valid(b, Slice(starts, op.sizes, tuple(p * q for p, q in zip(first.steps, op.steps))), source(x))


@rule(Slice)
def slice_repeated(b: Builder, op, x):
    """slice(broadcast(x)) -> broadcast(slice(x))."""
    if not isinstance(x.op, Broadcast):
        return None
    inner = source(x)
    cut = [(op.starts[axis], op.sizes[axis], op.steps[axis]) if d != 1 else (0, 1, 1)
           for d, axis in zip(inner.shape, x.op.axes)]
    if any(op.sizes[axis] == 0 for axis in x.op.axes):
        return None
    starts, sizes, steps = zip(*cut) if cut else ((), (), ())
    part = emit_if_valid(b, Slice(starts, sizes, steps), inner)
    return broadcast(b, part, op.sizes, x.op.axes) if part is not None else None


def _range(start: int, size: int, step: int) -> tuple[int, int]:
    """The first and one past the last of the places that a slice reads."""
    last = start + (size - 1) * step
    return min(start, last), max(start, last) + 1


@rule(Slice)
def slice_joined(b: Builder, op, x):
    """slice(concat(x, y)) -> slice(x), where it reads nothing of the others."""
    if not isinstance(x.op, Concat):
        return None
    axis = x.op.axis
    start, size, step = op.starts[axis], op.sizes[axis], op.steps[axis]
    extents = [o.shape[axis] for o in x.node.operands]
    if not all(isinstance(n, int) for n in (start, size, *extents)) or size == 0:
        return None
    low, high = _range(start, size, step)
    begin = 0
    for operand, extent in zip(x.node.operands, extents):
        if begin <= low and high <= begin + extent:
            starts = (*op.starts[:axis], start - begin, *op.starts[axis + 1:])
            return b.emit(Slice(starts, op.sizes, op.steps), operand)
        begin += extent
    return None


@rule(Slice)
def slice_padded(b: Builder, op, x):
    """slice(pad(x)) -> slice(x), where it reads nothing of the padding; -> the padding's value where it reads only
    that."""
    if not isinstance(x.op, Pad):
        return None
    inner, starts, is_inside = source(x), [], True
    for start, size, step, low, high, extent in zip(op.starts, op.sizes, op.steps, x.op.low, x.op.high, inner.shape):
        if low == 0 and high == 0:
            starts.append(start)
            continue
        if not all(isinstance(n, int) for n in (start, size, low, extent)) or size == 0:
            return None
        first, end = _range(start, size, step)
        if end <= low or first >= low + extent:
            return filled(b, op.infer(x.type)[0], x.op.value)
        is_inside = is_inside and low <= first and end <= low + extent
        starts.append(start - low)
    return emit_if_valid(b, Slice(tuple(starts), op.sizes, op.steps), inner) if is_inside else None


# ---- pad -------------------------------------------------------------------------------------------------------------
def same_number(a, b) -> bool:
    """Whether two attributes are the same number, NaN included; zeros of both signs are."""
    return a == b or a != a and b != b


@rule(Pad)
def pad_nothing(b: Builder, op, x):
    """pad(x, by nothing) -> x."""
    return x if all(d == 0 for d in op.low + op.high) else None


@rule(Pad)
def pad_again(b: Builder, op, x):
    """pad(pad(x)) -> pad(x), of one value."""
    if not isinstance(x.op, Pad) or not same_number(x.op.value, op.value):
        return None
    low = tuple(p + q for p, q in zip(x.op.low, op.low))
    high = tuple(p + q for p, q in zip(x.op.high, op.high))
    return b.emit(Pad(low, high, op.value), source(x))


@rule(Pad)
def pad_filled(b: Builder, op, x):
    """pad(constant of one value, by that value) -> the larger constant."""
    value = splat(x)
    return filled(b, op.infer(x.type)[0], value) if value is not None and same_number(value, op.value) else None


@rule(Add)
def add_padded(b: Builder, op, x, y):
    """pad(x, 0) + pad(y, 0) -> pad(concat(x, y), 0), where they lie side by side; in a longer sum too.

    Gradients of slices meet so: those of the parts of a product become the product's, with no zeros between.
    """
    if not isinstance(y.op, Pad) or y.op.value != 0 or not y.dtype.is_float and not y.dtype.is_integer:
        return None
    if (joined := _join_pads(b, x, y)) is not None:
        return joined
    if not isinstance(x.op, Add) or not used_once(b, x):
        return None
    first, second = x.node.operands
    for part, rest in ((second, first), (first, second)):
        if (joined := _join_pads(b, part, y)) is not None and used_once(b, part, x.node):
            return b.emit(Add(), rest, joined)
    return None


def _join_pads(b: Builder, x: Value, y: Value) -> Value | None:
    """The padded concatenation that x + y is, where they are pads of things side by side along one axis."""
    if not isinstance(x.op, Pad) or x.op.value != 0:
        return None
    padded = [i for i, sides in enumerate(zip(x.op.low, x.op.high, y.op.low, y.op.high)) if any(d != 0 for d in sides)]
    if len(padded) != 1:
        return None
    (axis,) = padded
    if y.op.low[axis] == x.op.low[axis] + source(x).shape[axis]:
        first, second = x, y
    elif x.op.low[axis] == y.op.low[axis] + source(y).shape[axis]:
        first, second = y, x
    else:
        return None
    whole = b.emit(Concat(axis), source(first), source(second))
    return b.emit(Pad(first.op.low, second.op.high), whole)


# ---- concat ----------------------------------------------------------------------------------------------------------
@rule(Concat)
def concat_nested(b: Builder, op, *operands):
    """concat(concat(x, y), z) -> concat(x, y, z)."""
    if op not in [o.op for o in operands]:
        return None
    return b.emit(op, *(p for o in operands for p in (o.node.operands if o.op == op else (o,))))


@rule(Concat)
def concat_empty(b: Builder, op, *operands):
    """concat(x, empty) -> x; concat(x) -> x."""
    kept = [o for o in operands if o.shape[op.axis] != 0] or [operands[0]]
    return (b.emit(op, *kept) if len(kept) > 1 else kept[0]) if len(kept) == 1 or len(kept) < len(operands) else None


@rule(Concat)
def concat_neighbours(b: Builder, op, *operands):
    """concat(x[:n], x[n:]) -> x: slices that lie side by side are one slice."""
    merged = [operands[0]]
    for right in operands[1:]:
        joined = _join_slices(b, op.axis, merged[-1], right)
        if joined is None:
            merged.append(right)
        else:
            merged[-1] = joined
    if len(merged) == len(operands):
        return None
    return b.emit(op, *merged) if len(merged) > 1 else merged[0]


def _join_slices(b: Builder, axis: int, x: Value, y: Value) -> Value | None:
    first, second = x.op, y.op
    if not isinstance(first, Slice) or not isinstance(second, Slice) or source(x) is not source(y):
        return None
    agree = all(p == q for i, (p, q) in enumerate(zip(first.starts, second.starts)) if i != axis)
    end = first.starts[axis] + first.sizes[axis] * first.steps[axis]
    if not agree or first.steps != second.steps or end != second.starts[axis]:
        return None
    sizes = (*first.sizes[:axis], first.sizes[axis] + second.sizes[axis], *first.sizes[axis + 1:])
    return emit_if_valid(b, Slice(first.starts, sizes, first.steps), source(x))


@rule(Concat)
def concat_filled(b: Builder, op, *operands):
    """concat(constants of one value) -> the larger constant."""
    value = splat(operands[0])
    if value is None or any((other := splat(o)) is None or not same_number(other, value) for o in operands[1:]):
        return None
    return filled(b, op.infer(*(o.type for o in operands))[0], value)
