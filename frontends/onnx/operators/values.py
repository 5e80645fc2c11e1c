"""What does an input say while importing?  Its numbers where an operator needs them, its dims, its axes."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ....compiler.core.dims import Dim
from ....compiler.ops import Constant
from ... import array as lm
from ...array.operands import broadcast_arrays
from ...array.tracer import Tracer, current_trace
from ..symbolic import SymbolicArray
from ..table import Refusal


def known(value, what: str) -> np.ndarray:
    """The array that `value` is known to be while importing; Refusal where it depends on the inputs."""
    array = known_array(value)
    if array is not None:
        return array
    if isinstance(value, SymbolicArray):
        raise Refusal(f"{what} must be known as a number and is {value.entries.tolist()}; fix the dims with dims=")
    sources = _settings(value) if isinstance(value, Tracer) else ()
    way_out = " and is computed from the model's inputs"
    if sources:
        way_out = f"; give {', '.join(map(repr, sources))} in inputs="
    raise Refusal(f"{what} must be known while importing{way_out}", sources)


def known_array(value) -> np.ndarray | None:
    """The array that `value` is known to be while importing; None where it depends on the inputs."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Tracer) and isinstance(value.value.op, Constant):
        return value.value.op.array
    return None


def as_constant(array: np.ndarray) -> Tracer:
    """`array` as a constant of the model: what is computed from it is not computed at once."""
    trace = current_trace()
    return Tracer(trace, trace.builder.constant(array))


def _settings(tracer: Tracer) -> tuple[str, ...]:
    """The model's inputs that `tracer` is computed from where they are settings, such as shapes and positions, which a
    user can fix: it is an input itself, or all of them are integers, bools or scalars."""
    if tracer.value.node is None:
        return (tracer.value.name,) if tracer.value.name else ()
    names, seen, pending = {}, set(), [tracer.value]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if value.node is not None:
            pending.extend(value.node.operands)
        elif not value.name or value.dtype.is_float and value.type.rank:
            return ()
        else:
            names[value.name] = None
    return tuple(names)


def known_ints(value, what: str) -> tuple[int, ...]:
    """The integers in an input, flat."""
    return tuple(int(v) for v in known(value, what).reshape(-1))


def known_dims(value, what: str) -> tuple[Dim, ...]:
    """The extents in an input, flat: ints, or dim expressions where they are symbols."""
    if isinstance(value, SymbolicArray):
        return tuple(value.entries.reshape(-1))
    return known_ints(value, what)


def axis_of(axis: int, x) -> int:
    """`axis` counted from the front of `x`."""
    rank = len(x.shape)
    if not -rank <= axis < max(rank, 1):
        raise Refusal(f"axis {axis} of rank {rank}")
    return axis % rank if rank else 0


def axes_of(axes: Sequence[int] | None, x) -> tuple[int, ...]:
    """`axes` (None: all) counted from the front of `x`, in increasing order."""
    return tuple(range(len(x.shape))) if axes is None else tuple(sorted(axis_of(a, x) for a in axes))


def legacy_broadcast(a, b, axis: int | None):
    """Operands broadcast as before opset 7: the axes of `b` are those of `a` from `axis` on (None: the last ones)."""
    if axis is not None and len(b.shape):
        b = lm.reshape(b, (*b.shape, *[1] * (len(a.shape) - axis_of(axis, a) - len(b.shape))))
    return broadcast_arrays(a, b)


def is_narrow(value) -> bool:
    """Whether `value` is a known array of a type that lamina does not compute with: 4-bit integers, 8-bit floats."""
    return isinstance(value, np.ndarray) and value.dtype.kind not in "biuf" and value.dtype.name != "bfloat16"


def widened(value):
    """A narrow array in the next type that lamina has: int8, uint8 or float32."""
    if not is_narrow(value):
        return value
    return value.astype({"i": np.int8, "u": np.uint8}.get(value.dtype.name[0], np.float32))


def choice(value: str, options: Sequence[str], attribute: str) -> str:
    """`value` itself where it is one of `options`."""
    if value not in options:
        raise Refusal(f"{attribute} is {value!r}, which is none of {', '.join(options)}")
    return value
