"""What is known of a constant operand, and how are constants made?

A constant is a Constant, or a Broadcast of one: repeated elements are never stored.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..core.dims import Dim
from ..core.dtypes import DType
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value
from .constant import Constant, Iota
from .rearrange import Broadcast, Concat, Reshape, Slice

SCANNED = 4096  # elements: larger constants are not searched for equal elements


def is_constant(x: Value) -> bool:
    """Whether x is a Constant or a Broadcast of one."""
    return constant_part(x) is not None


def constant_part(x: Value) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """(array, axes) where x is `array` broadcast so that its axis i is axis `axes[i]` of x; None where x is no
    constant."""
    if isinstance(x.op, Constant):
        return x.op.array, tuple(range(x.type.rank))
    if isinstance(x.op, Broadcast) and isinstance(x.node.operands[0].op, Constant):
        return x.node.operands[0].op.array, x.op.axes
    return None


def splat(x: Value):
    """The NumPy scalar that every element of x is, to the bit; None where they differ, are not constant, or there are
    none."""
    found = constant_part(x)
    if found is None or not 0 < found[0].size <= SCANNED:
        return None
    flat = found[0].reshape(-1)
    first = flat[0]
    return first if flat.size == 1 or flat.tobytes() == first.tobytes() * flat.size else None


def is_filled_with(x: Value, number) -> bool:
    """Whether every element of x equals `number` (zeros of both signs are equal)."""
    value = splat(x)
    return value is not None and bool(value == number)


def is_count(number: Dim, dtype: DType) -> bool:
    """Whether `number` is a positive constant that is exactly a value of `dtype`."""
    return isinstance(number, int) and number > 0 and int(np.asarray(number).astype(dtype.numpy)) == number


def filled(builder: Builder, type: TensorType, number) -> Value:
    """A constant of `type` whose elements are all `number`."""
    return broadcast(builder, builder.constant(np.asarray(number).astype(type.dtype.numpy)), type.shape, ())


def broadcast(builder: Builder, x: Value, shape, axes) -> Value:
    """x as Broadcast(shape, axes) makes it; x itself where that changes nothing."""
    return x if tuple(shape) == x.shape else builder.emit(Broadcast(tuple(shape), tuple(axes)), x)


def extent_value(builder: Builder, dim: Dim, dtype: DType) -> Value:
    """`dim` as a scalar of an integer dtype: read off a ramp at run time where it is symbolic."""
    if isinstance(dim, int):
        return builder.constant(np.asarray(dim, dtype.numpy))
    ramp = builder.emit(Iota((dim + 1,), 0, dtype))
    return builder.emit(Reshape(()), builder.emit(Slice((dim,), (1,), (1,)), ramp))


def extent_values(builder: Builder, dims: Sequence[Dim], dtype: DType) -> Value:
    """`dims` as a vector of an integer dtype."""
    parts = [builder.emit(Reshape((1,)), extent_value(builder, d, dtype)) for d in dims]
    return builder.emit(Concat(0), *parts) if len(parts) > 1 else parts[0]
