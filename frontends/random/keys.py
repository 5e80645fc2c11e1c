"""Where do random bits come from, and how does one key become many?"""

from __future__ import annotations

import operator
from functools import cache

import numpy as np

from ...compiler.core.dims import Dim, DimExpr
from ...compiler.core.dtypes import as_dtype, uint32, uint64
from ...compiler.ops.random import RandomBits
from ..array.elementwise import bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor
from ..array.manipulation import stack
from ..array.operands import Array, as_array, as_shape, cast, dtype_of, shape_text
from ..array.tracer import Tracer, dtype_error, emit, shape_error

#: Odd words that set apart what one key gives: the low half of 64-bit words, and `fold_in` from `split`.
LOW_HALF = 0x9E3779B9
FOLDED = 0x85EBCA6B
#: From how many elements on compiled code draws the bits outside of traces: it is 350 times as fast as NumPy.
COMPILED = 1 << 14


def key(seed) -> Array:
    """The key (uint32[2]) of an integer `seed`, traced or not: its high and its low word. Other seeds, other keys."""
    return words(seed, "a seed")


def PRNGKey(seed) -> Array:
    """The key of `seed`: JAX's older name of `key`."""
    return key(seed)


def words(number, what: str) -> Array:
    """The 64 bits of an integer as (high, low), uint32[2]; `what` names it in errors."""
    if not isinstance(number, Tracer):
        try:
            known = operator.index(number.item() if isinstance(number, np.ndarray) and number.size == 1 else number)
        except TypeError:
            raise dtype_error(f"{what} is {number!r}, an integer was expected") from None
        if not -(1 << 63) <= known < 1 << 64:
            raise dtype_error(f"{what} has more than 64 bits: {known}")
        return np.array([known >> 32 & 0xFFFFFFFF, known & 0xFFFFFFFF], np.uint32)
    if number.shape != () or not dtype_of(number).is_integer:
        raise dtype_error(f"{what} is {number.value.type}, an integer scalar was expected")
    wide = cast(number, uint64)
    return stack([cast(bitwise_right_shift(wide, np.uint64(32)), uint32), cast(wide, uint32)])


def as_key(key) -> Array:
    """`key` checked: an array uint32[2]."""
    array = as_array(key)
    if dtype_of(array) != uint32 or tuple(array.shape) != (2,):
        raise shape_error(f"a key is uint32[2], not {dtype_of(array).name}{shape_text(array.shape)}",
                          hint="make one with lm.random.key(seed); lm.vmap draws for many keys")
    return array


def split(key, num: int | tuple[int, ...] = 2) -> Array:
    """`num` new keys (an int or a shape), uint32[num, 2]: a, b = split(key). The first ones do not depend on `num`."""
    return draw(as_key(key), (*as_shape(num), 2))


def fold_in(key, data) -> Array:
    """The new key that `key` and the integer `data` (a step, a layer's number; traced or not) make."""
    own = draw(as_key(key), (2,))
    tag = np.array([FOLDED, 0], np.uint32)
    return draw(bitwise_xor(bitwise_xor(own, words(data, "what is folded in")), tag), (2,))


def bits(key, shape=(), dtype=uint32) -> Array:
    """Random bits of `shape` as unsigned integers of 8 to 64 bits: all values are equally likely."""
    dtype = as_dtype(dtype)
    if dtype.kind != "uint":
        raise dtype_error(f"random bits are unsigned integers, not {dtype.name}", hint="randint draws signed ones")
    key, shape = as_key(key), as_shape(shape)
    first = draw(key, shape)
    if dtype.bits == 64:
        second = draw(bitwise_xor(key, np.array([LOW_HALF, 0], np.uint32)), shape)
        return bitwise_or(bitwise_left_shift(cast(first, uint64), np.uint64(32)), cast(second, uint64))
    return first if dtype.bits == 32 else cast(bitwise_right_shift(first, np.uint32(32 - dtype.bits)), dtype)


def draw(key: Array, shape: tuple[Dim, ...]) -> Array:
    """uint32 of `shape`: the op, which compiled code evaluates where many elements are drawn outside of traces."""
    known = not isinstance(key, Tracer) and not any(isinstance(d, DimExpr) for d in shape)
    count = int(np.prod(shape, dtype=np.int64)) if known else 0
    if count >= COMPILED:
        return _compiled_bits()(key, np.empty(count, np.bool_))[0].reshape(shape)
    return emit(RandomBits(shape), key)


@cache
def _compiled_bits():
    """An executable for every count: the extent of its second input, which it does not read."""
    from ..compile import executable
    from ..trace import TensorSpec
    return executable(lambda key, like: emit(RandomBits(like.shape), key),
                      TensorSpec((2,), uint32), TensorSpec(("count=1..1099511627776",), "bool"))
