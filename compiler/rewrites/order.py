"""Where do views stand among the ops around them?  Arithmetic first, then transposes, then broadcasts.

Elementwise work is done before elements are repeated, so that it is done once; transposes move behind the ops that do
not care, so that they meet others and cancel.
"""

from __future__ import annotations

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import broadcast
from ..ops.constant import Constant, Iota
from ..ops.elementwise import Elementwise
from ..ops.op import REGISTRY
from ..ops.rearrange import Broadcast, Concat, Pad, Slice, Transpose
from .rule import rule
from .views import is_unit_reshape, reshape, source

_ELEMENTWISE = tuple(cls for cls in REGISTRY.values() if issubclass(cls, Elementwise))


@rule(*_ELEMENTWISE)
def compute_before_broadcast(b: Builder, op, *operands):
    """exp(broadcast(x)) -> broadcast(exp(x)); of several operands, where an axis is repeated in all of them."""
    for o in operands:
        if not isinstance(o.op, Broadcast):
            return None
    if any(d == 0 for d in operands[0].shape):
        return None
    shape = operands[0].shape
    varying = {axis for o in operands for d, axis in zip(source(o).shape, o.op.axes) if d != 1}
    kept = sorted(varying)
    if all(d == 1 for axis, d in enumerate(shape) if axis not in varying):
        return None
    small = tuple(shape[axis] for axis in kept)
    result = b.emit(op, *(_at_axes(b, o, small, kept) for o in operands))
    return broadcast(b, result, shape, kept)


def _at_axes(b: Builder, x: Value, small: tuple, kept: list[int]) -> Value:
    """The broadcast x on the axes `kept` alone, of extents `small`; on all others it repeats."""
    inner = source(x)
    carried = [(d, axis) for d, axis in zip(inner.shape, x.op.axes) if d != 1]
    thin = reshape(b, inner, tuple(d for d, _ in carried))
    return broadcast(b, thin, small, tuple(kept.index(axis) for _, axis in carried))


def inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes `permutation`."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _is_free_to_transpose(x: Value) -> bool:
    return isinstance(x.op, (Broadcast, Constant, Iota))


@rule(*_ELEMENTWISE)
def compute_before_transpose(b: Builder, op, *operands):
    """exp(transpose(x)) -> transpose(exp(x)); of several operands, where all are transposed alike, repeated or
    constant."""
    permutation = None
    for o in operands:
        if isinstance(o.op, Transpose):
            permutation = o.op.permutation
    if permutation is None:
        return None
    if not all(o.op.permutation == permutation if isinstance(o.op, Transpose) else _is_free_to_transpose(o)
               for o in operands):
        return None
    back = Transpose(inverse(permutation))
    moved = (source(o) if isinstance(o.op, Transpose) else b.emit(back, o) for o in operands)
    return b.emit(Transpose(permutation), b.emit(op, *moved))


@rule(*_ELEMENTWISE)
def compute_before_units(b: Builder, op, *operands):
    """exp(reshape(x)) -> reshape(exp(x)), where axes of extent 1 are added or dropped; other operands are constants or
    repeated."""
    shape = next((source(o).shape for o in operands if is_unit_reshape(o)), None)
    if shape is None:
        return None
    if not all(source(o).shape == shape if is_unit_reshape(o) else _is_free_to_reshape(o) for o in operands):
        return None
    moved = (source(o) if is_unit_reshape(o) else reshape(b, o, shape) for o in operands)
    return reshape(b, b.emit(op, *moved), operands[0].shape)


def _is_free_to_reshape(x: Value) -> bool:
    return isinstance(x.op, (Broadcast, Constant))


@rule(Concat)
def concat_before_transpose(b: Builder, op, *operands):
    """concat(transpose(x), transpose(y)) -> transpose(concat(x, y))."""
    if not all(isinstance(o.op, Transpose) and o.op.permutation == operands[0].op.permutation for o in operands):
        return None
    permutation = operands[0].op.permutation
    return b.emit(Transpose(permutation), b.emit(Concat(permutation[op.axis]), *map(source, operands)))


@rule(Pad)
def pad_before_transpose(b: Builder, op, x):
    """pad(transpose(x)) -> transpose(pad(x))."""
    if not isinstance(x.op, Transpose):
        return None
    order = inverse(x.op.permutation)
    low, high = (tuple(extents[p] for p in order) for extents in (op.low, op.high))
    return b.emit(x.op, b.emit(Pad(low, high, op.value), source(x)))


@rule(Slice)
def slice_before_transpose(b: Builder, op, x):
    """slice(transpose(x)) -> transpose(slice(x))."""
    if not isinstance(x.op, Transpose):
        return None
    order = inverse(x.op.permutation)
    starts, sizes, steps = (tuple(values[p] for p in order) for values in (op.starts, op.sizes, op.steps))
    return b.emit(x.op, b.emit(Slice(starts, sizes, steps), source(x)))
