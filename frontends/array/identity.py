"""Which functions give what they take, and say something about it?"""

from __future__ import annotations

from ...compiler.ops.identity import StopGradient
from .. import tree
from .operands import as_array, dtype_of, weak_kind
from .tracer import Tracer, emit


def stop_gradient(x, /):
    """x (an array, or a tree of them), which derivatives take for a constant."""
    return tree.map(_stopped, x)


def _stopped(x):
    x = as_array(x)
    if not isinstance(x, Tracer) or not dtype_of(x).is_float:
        return x
    result = emit(StopGradient(), x)
    return Tracer(result.owner, result.value, weak_kind(x) is not None)
