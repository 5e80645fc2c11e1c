"""Which casts change nothing?"""

from __future__ import annotations

from ..core.dtypes import DType
from ..graph.builder import Builder
from ..ops.elementwise import Cast
from .rule import rule

#: Bits of significand, the leading one included.
_PRECISION = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def is_lossless(a: DType, b: DType) -> bool:
    """Whether every value of `a` is a value of `b`."""
    if a == b or a.is_bool:
        return True
    if b.is_bool or a.is_float and not b.is_float:
        return False
    if a.is_float:
        return a.bits < b.bits
    if b.is_float:
        return a.bits - (a.kind == "int") <= _PRECISION[b.name]
    return b.minimum <= a.minimum and a.maximum <= b.maximum


@rule(Cast)
def cast_to_same(b: Builder, op, x):
    """cast(x, dtype of x) -> x."""
    return x if op.dtype == x.dtype else None


@rule(Cast)
def cast_again(b: Builder, op, x):
    """cast(cast(x, b), c) -> cast(x, c), where the first cast loses nothing or the second cuts off what it lost.

    Floats saturate where they become integers, integers wrap: a detour through floats stays where c is narrower than x.
    """
    if not isinstance(x.op, Cast):
        return None
    source = x.node.operands[0]
    first, second, third = source.dtype, x.dtype, op.dtype
    direct = is_lossless(first, second)
    if direct and first.is_integer and second.is_float and third.is_integer:
        direct = is_lossless(first, third)
    narrowing = all(d.is_integer for d in (first, second, third)) and second.bits >= third.bits
    return b.emit(op, source) if direct or narrowing else None
