"""How are small groups made by hand?  A fill, a copy, and one node as a group of its own."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..core.types import TensorType
from ..graph.builder import Builder
from ..ops.constant import Constant
from ..ops.control import Fused
from ..ops.elementwise import Cast
from ..ops.rearrange import Broadcast


@lru_cache(maxsize=256)
def fill_group(types: tuple[TensorType, ...], value) -> Fused:
    """A group that writes `value` everywhere in results of these types."""
    builder = Builder("fill", fold=False)
    number = builder.emit(Constant(np.asarray(value, types[0].dtype.numpy)))
    sides = [builder._append(Broadcast(t.shape, ()), (number,))[0] for t in types]  # equal shapes are still results of their own
    return Fused(builder.finish(sides), "loops", "fill")


@lru_cache(maxsize=256)
def copy_group(type: TensorType) -> Fused:
    """A group that copies its operand."""
    builder = Builder("copy", fold=False)
    x = builder.parameter(type, "x")
    return Fused(builder.finish([builder.emit(Cast(type.dtype), x)]), "loops", "copy")


def view_group(op, type: TensorType) -> Fused:
    """A group that computes one view of an operand of `type`, for places that strides can't express."""
    builder = Builder("view", fold=False)
    x = builder.parameter(type, "x")
    return Fused(builder.finish([builder.emit(op, x)]), "loops", op.name)
