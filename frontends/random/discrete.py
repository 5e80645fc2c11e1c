"""How are integers, choices and orders drawn?"""

from __future__ import annotations

import math

import numpy as np

from ...compiler.core.dims import Dim, DimExpr
from ...compiler.core.dtypes import as_dtype, float32, int32, int64, uint32, uint64
from ..array.elementwise import (add, bitwise_right_shift, equal, less, log, maximum, minimum, remainder, subtract,
                                 where)
from ..array.manipulation import reshape
from ..array.operands import (Array, as_array, as_floating, as_operand, as_shape, cast, dtype_of, normalize_axis,
                              shape_text)
from ..array.reduction import cumsum, sum
from ..array.searching import argmax, argsort, searchsorted, take, take_along_axis, topk
from ..array.tracer import Tracer, dtype_error, shape_error
from .continuous import gumbel, shape_with, unit
from .keys import as_key, bits


def bernoulli(key, p=0.5, shape=None) -> Array:
    """True with probability `p` (to 2^-24; an array of them broadcasts against `shape`)."""
    p = as_operand(p, float32)
    return less(unit(as_key(key), shape_with(shape, p), float32), p)


def rademacher(key, shape=(), dtype=int32) -> Array:
    """-1 or 1, equally likely."""
    dtype = as_dtype(dtype)
    is_positive = equal(bitwise_right_shift(bits(key, shape), np.uint32(31)), np.uint32(1))
    return where(is_positive, as_operand(1, dtype), as_operand(-1, dtype))


def randint(key, shape, minval, maxval, dtype=int32) -> Array:
    """Integers from `minval` to maxval - 1, which may be arrays; `minval` where maxval is not larger.

    64 random bits are brought into the range, so that no value is likelier than another by more than range / 2^64.
    """
    dtype = as_dtype(dtype)
    if not dtype.is_integer:
        raise dtype_error(f"random integers have an integer dtype, not {dtype.name}")
    shape = shape_with(shape, minval, maxval)
    low = _bound(minval, dtype)
    last = _bound(maxval, dtype, -1)
    span = add(subtract(cast(last, uint64), cast(low, uint64)), np.uint64(1))  # 0 stands for 2^64
    word = bits(key, shape, uint64)
    if dtype.bits < 64:  # the high word of word * span, whose halves are multiplied apart; span is at most 2^32
        high, rest = bitwise_right_shift(word, np.uint64(32)), cast(cast(word, uint32), uint64)
        offset = bitwise_right_shift(high * span + bitwise_right_shift(rest * span, np.uint64(32)), np.uint64(32))
    else:
        offset = where(equal(span, np.uint64(0)), word, remainder(word, span))
    drawn = cast(add(cast(low, uint64), offset), dtype)
    return where(less(last, low), low, drawn)


def _bound(value, dtype, offset: int = 0) -> Array:
    """An end of a range plus `offset` as `dtype`, held within what it can hold: maxval may be one more than that."""
    if isinstance(value, Tracer) or not isinstance(value, (int, np.integer)):
        array = as_array(value)
        if not dtype_of(array).is_integer:
            raise dtype_error(f"an end of the range of random integers is {dtype_of(array).name}")
        lowest, highest = dtype_of(array).minimum, dtype_of(array).maximum
        array = minimum(maximum(array, max(dtype.minimum, lowest)), min(dtype.maximum, highest))
        return cast(array + offset if offset else array, dtype)
    return as_operand(min(max(int(value) + offset, dtype.minimum), dtype.maximum), dtype)


def categorical(key, logits, axis: int = -1, shape=None) -> Array:
    """Classes (int64) along `axis` of `logits`, with probabilities proportional to exp(logits): one for each of the
    rest, or `shape`, which ends in the rest's shape. By the Gumbel-max trick."""
    logits = as_floating(logits)
    axis = normalize_axis(axis, len(logits.shape))
    rest = logits.shape[:axis] + logits.shape[axis + 1:]
    shape = rest if shape is None else as_shape(shape)
    lead = len(shape) - len(rest)
    if lead < 0 or shape[lead:] != rest:
        raise shape_error(f"categorical of logits {shape_text(logits.shape)} along axis {axis} gives "
                          f"{shape_text(rest)}, which the shape {shape_text(shape)} does not end in")
    full = shape[:lead] + logits.shape
    noise = gumbel(key, full, dtype_of(logits).compute)
    return argmax(noise + cast(logits, dtype_of(logits).compute), axis=lead + axis)


def permutation(key, x, axis: int = 0, independent: bool = False) -> Array:
    """`x` in random order along `axis`, or the numbers below it where it is an int; each row apart where `independent`.

    The order is that of 64 random bits for each element.
    """
    if isinstance(x, (int, np.integer, DimExpr)):
        return _order(key, x)
    x = as_array(x)
    if not x.shape:
        raise shape_error("a permutation of a scalar array: how many numbers is not known",
                          hint="give an int; name the argument of a traced function in static_argnames")
    axis = normalize_axis(axis, len(x.shape))
    if independent:
        return take_along_axis(x, argsort(bits(key, x.shape, uint64), axis=axis), axis=axis)
    return take(x, _order(key, x.shape[axis]), axis=axis)


def _order(key, count: Dim) -> Array:
    """The numbers below `count` (int64) in random order."""
    return argsort(bits(key, (count,), uint64))


def shuffle(key, x, axis: int = 0) -> Array:
    """`x` in random order along `axis`: a new array."""
    return permutation(key, x, axis)


def choice(key, a, shape=(), replace: bool = True, p=None, axis: int = 0) -> Array:
    """Entries of `a` along `axis` (numbers below it where it is an int): `shape` of them, with probabilities `p`
    (normalized; by default equal). Without `replace` none is taken twice."""
    is_number = isinstance(a, int)
    a = a if is_number else as_array(a)
    axis = 0 if is_number else normalize_axis(axis, len(a.shape))
    count = a if is_number else a.shape[axis]
    shape = as_shape(shape)
    wanted = math.prod(shape)
    if p is not None:
        p = as_floating(p)
        if p.shape != (count,):
            raise shape_error(f"choice among {count} with probabilities of shape {shape_text(p.shape)}")
    if count == 0 and wanted or not replace and wanted > count:
        raise shape_error(f"choice of {wanted} of {count} {'without replacement' if not replace else ''}".rstrip())
    if replace:
        index = randint(key, shape, 0, count, int64) if p is None else _inverse(key, p, shape)
    elif p is None:
        index = reshape(_order(key, count)[:wanted], shape)
    else:  # the largest of log p + Gumbel noise: drawing one after the other
        index = reshape(topk(log(p) + gumbel(key, (count,), dtype_of(p)), wanted)[1], shape)
    if is_number:
        return index
    moved = take(a, reshape(index, (wanted,)), axis=axis)
    return reshape(moved, (*a.shape[:axis], *shape, *a.shape[axis + 1:]))


def _inverse(key, p: Array, shape: tuple[Dim, ...]) -> Array:
    """Positions in `p` by the inverse of its running sum."""
    running = cumsum(p)
    u = unit(as_key(key), shape, dtype_of(p)) * running[-1]
    last = sum(less(running, running[-1]))  # the last one of positive probability: rounding reaches no further
    return minimum(searchsorted(running, u, side="right"), last)
