"""How do bits become floating numbers of a distribution?

`dtype` is a floating dtype. 16-bit floats are drawn in float32 and rounded, but for `uniform`, which draws the bits
that they can hold. Parameters may be arrays, traced or not; they broadcast against `shape`, which may be left out.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler.core.dims import Dim
from ...compiler.core.dtypes import DType, as_dtype, bfloat16, bool_, float16, float32, float64, uint32, uint64
from ..array.control import while_loop
from ..array.creation import zeros
from ..array.elementwise import (bitwise_and, bitwise_right_shift, divide, equal, erf, exp, less, log, log1p,
                                 logical_and, logical_not, logical_or, maximum, minimum, multiply, negative, nextafter,
                                 power, sqrt, subtract, where)
from ..array.operands import Array, as_operand, as_shape, broadcast_shapes, cast, shape_of, shape_text
from ..array.reduction import all
from ..array.tracer import dtype_error, shape_error
from ..array.trigonometry import tan
from .keys import as_key, bits, fold_in, split
from .quantile import erfinv, erfinv_of

SIGNIFICANT = {bfloat16: 8, float16: 11, float32: 24, float64: 53}  # bits, the leading one among them


def floating_dtype(dtype) -> DType:
    """`dtype`, which must be a floating one."""
    dtype = as_dtype(dtype)
    if not dtype.is_float:
        raise dtype_error(f"this distribution's numbers are floating, not {dtype.name}")
    return dtype


def shape_with(shape, *parameters) -> tuple[Dim, ...]:
    """`shape`, or what the parameters broadcast to where it is None; they must fit into it."""
    common = broadcast_shapes(*(() if isinstance(p, int) else shape_of(p) for p in parameters))
    if shape is None:
        return common
    shape = as_shape(shape)
    if broadcast_shapes(common, shape) != shape:
        raise shape_error(f"parameters of shape {shape_text(common)} don't fit into shape {shape_text(shape)}")
    return shape


def unit(key: Array, shape: tuple[Dim, ...], dtype: DType) -> Array:
    """Multiples of 2^-p in [0, 1) that `dtype` holds exactly: p is the number of its significant bits."""
    word = uint64 if dtype == float64 else uint32
    kept = SIGNIFICANT[dtype]
    raw = bitwise_right_shift(bits(key, shape, word), word.numpy.type(word.bits - kept))
    return multiply(cast(raw, dtype), as_operand(2.0 ** -kept, dtype))


def positive_unit(key: Array, shape: tuple[Dim, ...], dtype: DType) -> Array:
    """In (0, 1), float32 or float64, as fine near 0 as the bits allow: from 2^-33 (2^-65) on."""
    word = uint64 if dtype == float64 else uint32
    fine = multiply(cast(bits(key, shape, word), dtype) + 0.5, 2.0 ** -word.bits)
    return minimum(fine, 1.0 - 2.0 ** -SIGNIFICANT[dtype])


def uniform(key, shape=(), dtype=float32, minval=0.0, maxval=1.0) -> Array:
    """Uniform in [minval, maxval); all multiples of 2^-24 in [0, 1) for float32, of 2^-53 for float64."""
    dtype = floating_dtype(dtype)
    shape = shape_with(shape, minval, maxval)
    drawn = unit(as_key(key), shape, dtype)
    if type(minval) in (int, float) and type(maxval) in (int, float) and (minval, maxval) == (0, 1):
        return drawn
    low, high = as_operand(minval, dtype), as_operand(maxval, dtype)
    scaled = drawn * subtract(high, low) + low
    return where(less(scaled, high), scaled, low)  # rounding may reach the upper end


def normal(key, shape=(), dtype=float32) -> Array:
    """The standard normal distribution, by the inverse of its distribution function.

    It reaches up to 5.4 from 0 (float64: 9.1).
    """
    dtype = floating_dtype(dtype)
    compute = dtype.compute
    word = uint64 if compute == float64 else uint32
    number = word.numpy.type
    raw = bits(as_key(key), as_shape(shape), word)
    kept = word.bits - 1 if compute == float64 else SIGNIFICANT[compute]
    magnitude = bitwise_and(bitwise_right_shift(raw, number(word.bits - 1 - kept)), number((1 << kept) - 1))
    outside = multiply(cast(magnitude, compute) + 0.5, 2.0 ** -kept)  # 1 - |x|, uniform: exact where it is small
    x = subtract(1.0, outside)
    x = where(equal(bitwise_right_shift(raw, number(word.bits - 1)), number(1)), negative(x), x)
    return cast(multiply(erfinv_of(x, outside), math.sqrt(2.0)), dtype)


def truncated_normal(key, lower, upper, shape=None, dtype=float32) -> Array:
    """The standard normal distribution between `lower` and `upper`, which may be infinite.

    By the inverse of its distribution function: beyond 5 from 0 (float64: 8) that has no resolution any more.
    """
    dtype = floating_dtype(dtype)
    shape = shape_with(shape, lower, upper)
    compute = dtype.compute
    low, high = as_operand(lower, compute), as_operand(upper, compute)
    below, above = erf(multiply(low, math.sqrt(0.5))), erf(multiply(high, math.sqrt(0.5)))
    u = positive_unit(as_key(key), shape, compute)
    edge = 1.0 - 2.0 ** -SIGNIFICANT[compute]
    x = minimum(maximum(below + u * (above - below), -edge), edge)
    drawn = multiply(erfinv(x), math.sqrt(2.0))
    low, high = cast(low, dtype), cast(high, dtype)
    return minimum(maximum(cast(drawn, dtype), nextafter(low, high)), nextafter(high, low))


def exponential(key, shape=(), dtype=float32) -> Array:
    """The exponential distribution of rate 1: positive, and as small as 1e-10 (float64: 3e-20)."""
    dtype = floating_dtype(dtype)
    u = positive_unit(as_key(key), as_shape(shape), dtype.compute)
    return cast(negative(log1p(negative(u))), dtype)


def gumbel(key, shape=(), dtype=float32) -> Array:
    """The standard Gumbel distribution: -log of an exponential number."""
    dtype = floating_dtype(dtype)
    return cast(negative(log(exponential(key, shape, dtype.compute))), dtype)


def laplace(key, shape=(), dtype=float32) -> Array:
    """The Laplace distribution of location 0 and scale 1."""
    dtype = floating_dtype(dtype)
    compute = dtype.compute
    first, second = split(as_key(key))
    is_negative = less(unit(second, as_shape(shape), float32), 0.5)
    drawn = exponential(first, shape, compute)
    return cast(where(is_negative, negative(drawn), drawn), dtype)


def logistic(key, shape=(), dtype=float32) -> Array:
    """The logistic distribution of location 0 and scale 1: log(u / (1 - u))."""
    dtype = floating_dtype(dtype)
    u = positive_unit(as_key(key), as_shape(shape), dtype.compute)
    return cast(subtract(log(u), log1p(negative(u))), dtype)


def cauchy(key, shape=(), dtype=float32) -> Array:
    """The Cauchy distribution of location 0 and scale 1."""
    dtype = floating_dtype(dtype)
    u = positive_unit(as_key(key), as_shape(shape), dtype.compute)
    return cast(tan(multiply(subtract(u, 0.5), math.pi)), dtype)


# ---- by rejection ----------------------------------------------------------------------------------------------------
def gamma(key, a, shape=None, dtype=float32) -> Array:
    """The gamma distribution of shape `a` > 0 and scale 1; NaN where `a` is not positive.

    G. Marsaglia, W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000): all elements are drawn
    until the last one is accepted. For a < 1 it is that of a + 1 times u^(1/a).
    """
    dtype = floating_dtype(dtype)
    return cast(exp(_log_gamma(key, a, shape, dtype.compute)), dtype)


def _log_gamma(key, a, shape, dtype: DType) -> Array:
    """The logarithm of gamma numbers, which does not underflow where `a` is small."""
    shape = shape_with(shape, a)
    a = as_operand(a, dtype)
    boost_key, loop_key = split(as_key(key))
    is_small = less(a, 1.0)
    d = where(is_small, a + 1.0, a) - 1.0 / 3.0
    c = divide(1.0 / 3.0, sqrt(d))

    def is_rejected(carry):
        return logical_not(all(carry[2]))

    def attempt(carry):
        number, result, accepted = carry
        first, second = split(fold_in(loop_key, number))
        x = normal(first, shape, dtype)
        u = positive_unit(second, shape, dtype)
        v = power(c * x + 1.0, 3)
        is_positive = less(0.0, v)
        log_v = log(where(is_positive, v, 1.0))
        fits = less(log(u), x * x * 0.5 + d * (1.0 - v + log_v))
        taken = logical_and(logical_and(is_positive, fits), logical_not(accepted))
        return number + 1, where(taken, log(d) + log_v, result), logical_or(accepted, taken)
    is_valid = less(0.0, a)
    settled = logical_or(zeros(shape, bool_), logical_not(is_valid))
    _, drawn, _ = while_loop(is_rejected, attempt, (np.int32(0), zeros(shape, dtype), settled))
    small = divide(log(positive_unit(boost_key, shape, dtype)), where(is_valid, a, 1.0))
    return where(is_valid, where(is_small, drawn + small, drawn), math.nan)


def beta(key, a, b, shape=None, dtype=float32) -> Array:
    """The beta distribution: x / (x + y) of gamma numbers x and y of shapes `a` and `b`."""
    dtype = floating_dtype(dtype)
    shape = shape_with(shape, a, b)
    first, second = split(as_key(key))
    x, y = _log_gamma(first, a, shape, dtype.compute), _log_gamma(second, b, shape, dtype.compute)
    top = maximum(x, y)
    x, y = exp(subtract(x, top)), exp(subtract(y, top))
    return cast(divide(x, x + y), dtype)


def dirichlet(key, alpha, shape=None, dtype=float32) -> Array:
    """The Dirichlet distribution of the last axis of `alpha` [.., n]: [*shape, n], rows that sum to 1."""
    from ..array.neural import softmax
    dtype = floating_dtype(dtype)
    own = shape_of(alpha)
    if not own:
        raise shape_error("dirichlet takes alpha with an axis of categories, not a scalar")
    full = own if shape is None else (*as_shape(shape), own[-1])
    return cast(softmax(_log_gamma(key, alpha, full, dtype.compute), axis=-1), dtype)
