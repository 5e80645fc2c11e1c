"""Comparisons, logic, bits, choice and casts."""

from __future__ import annotations

import numpy as np

from ....compiler import ops
from ... import array as lm
from ...array.operands import broadcast_arrays, cast, dtype_of
from ...array.tracer import emit
from ..model import dtype_of_code
from ..table import Refusal, operator
from .values import choice, known, legacy_broadcast, widened


def _binary(name: str, op, since: int) -> None:
    operator(name, since)(lambda a, b: emit(op, *broadcast_arrays(a, b)))
    if since == 7:
        operator(name, 1)(lambda a, b, *, axis=None, broadcast=0: emit(op, *legacy_broadcast(a, b, axis)))


for _name, _op, _since in (("Equal", ops.Compare("eq"), 7), ("Less", ops.Compare("lt"), 7),
                           ("Greater", ops.Compare("gt"), 7), ("LessOrEqual", ops.Compare("le"), 12),
                           ("GreaterOrEqual", ops.Compare("ge"), 12), ("And", ops.And(), 7), ("Or", ops.Or(), 7),
                           ("Xor", ops.Xor(), 7), ("BitwiseAnd", ops.And(), 18), ("BitwiseOr", ops.Or(), 18),
                           ("BitwiseXor", ops.Xor(), 18)):
    _binary(_name, _op, _since)

operator("Not")(lambda x: emit(ops.Not(), x))
operator("BitwiseNot", 18)(lambda x: emit(ops.Not(), x))


@operator("BitShift", 11)
def bit_shift(x, count, *, direction):
    choice(direction, ("LEFT", "RIGHT"), "direction")
    return emit(ops.Shl() if direction == "LEFT" else ops.Shr(), *broadcast_arrays(x, count))


@operator("Where", 9)
def where(condition, x, y):
    return emit(ops.Select(), *broadcast_arrays(condition, x, y))


@operator("Cast", 6, narrow=("x",), ignored=("saturate", "round_mode"))
def cast_to(x, *, to):
    return cast(widened(x), dtype_of_code(to))


@operator("Cast", 1)
def cast_1(x, *, to):
    import onnx
    return cast_to(x, to=onnx.TensorProto.DataType.Value(to))


@operator("CastLike", 15, ignored=("saturate", "round_mode"))
def cast_like(x, target):
    return cast(x, dtype_of(target))


@operator("BitCast", 26)
def bit_cast(x, *, to):
    dtype = dtype_of_code(to)
    if isinstance(x, np.ndarray):
        return x.view(dtype.numpy)
    raise Refusal("the bits of a computed tensor can't be read as another type")


@operator("Identity", narrow=("x",))
def identity(x):
    return x


@operator("EyeLike", 9)
def eye_like(x, *, dtype=None, k=0):
    to = dtype_of_code(dtype) if dtype is not None else dtype_of(x)
    rows, columns = (lm.arange(d) for d in x.shape)
    return cast(lm.expand_dims(rows, 1) + k == lm.expand_dims(columns, 0), to)


@operator("NonZero", 9)
def nonzero(x):
    x = np.atleast_1d(known(x, "NonZero's input, which decides the result's shape,"))
    return np.stack(np.nonzero(x)).astype(np.int64)


@operator("Trilu", 14)
def triangle(x, k=None, *, upper=1):
    offset = int(known(k, "k").reshape(())) if k is not None else 0
    row, column = lm.expand_dims(lm.arange(x.shape[-2]), 1), lm.expand_dims(lm.arange(x.shape[-1]), 0)
    kept = column >= row + offset if upper else column <= row + offset
    return emit(ops.Select(), *broadcast_arrays(kept, x, np.zeros((), dtype_of(x).numpy)))


