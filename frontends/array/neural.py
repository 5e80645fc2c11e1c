"""Which functions do neural networks add to NumPy's?  Activations, softmax, normalizations, embedding, attention.

All are compositions of the primitives, in forms that neither overflow nor cancel; 16-bit floats are computed with in
float32 and rounded once at the end.
"""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, divide_exactly, format_dim, product
from ...compiler.core.dtypes import DType
from ...compiler.ops.elementwise import Sigmoid
from .elementwise import (abs, add, clip, divide, erf, exp, expm1, greater, greater_equal, log, log1p, maximum,
                          minimum, multiply, negative, rsqrt, subtract, where)
from .identity import stop_gradient
from .linear_algebra import matmul, matrix_transpose, ramp
from .manipulation import expand_dims, reshape, slice_axis
from .operands import (Array, as_array, as_floating, as_operand, cast, dtype_of, normalize_axes, normalize_axis,
                       result_dtype, shape_text)
from .reduction import mean, reduce
from .searching import take
from .tracer import emit, shape_error
from .trigonometry import tanh


def widened(x, *others) -> tuple[Array, DType]:
    """x in the float dtype to compute in, and the dtype of the result, to which `others` (weights, biases) count."""
    x = as_floating(x)
    dtype = result_dtype(x, *(o for o in others if o is not None))
    return cast(x, dtype.compute), dtype


# ---- activations -----------------------------------------------------------------------------------------------------
def sigmoid(x, /) -> Array:
    """1 / (1 + exp(-x))."""
    return emit(Sigmoid(), as_floating(x))


def relu(x, /) -> Array:
    """max(x, 0)."""
    return maximum(x, 0)


def relu6(x, /) -> Array:
    """min(max(x, 0), 6)."""
    return clip(x, 0, 6)


def leaky_relu(x, /, negative_slope: float = 0.01) -> Array:
    """x, times `negative_slope` (a number, or an array that broadcasts: PReLU) where it is negative."""
    x, dtype = widened(x)
    return cast(where(greater_equal(x, 0), x, multiply(x, negative_slope)), dtype)


def elu(x, /, alpha: float = 1.0) -> Array:
    """x, or alpha * (exp(x) - 1) where it is negative."""
    x, dtype = widened(x)
    return cast(where(greater(x, 0), x, multiply(expm1(minimum(x, 0)), alpha)), dtype)


def selu(x, /) -> Array:
    """The scaled elu that keeps mean 0 and variance 1 (Klambauer and others, "Self-normalizing neural networks",
    2017)."""
    x, dtype = widened(x)
    return cast(multiply(elu(x, 1.6732632423543772), 1.0507009873554805), dtype)


def celu(x, /, alpha: float = 1.0) -> Array:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))."""
    x, dtype = widened(x)
    return cast(where(greater(x, 0), x, multiply(expm1(divide(minimum(x, 0), alpha)), alpha)), dtype)


def gelu(x, /, approximate: bool = False) -> Array:
    """x times the normal distribution's cumulative function, or its tanh approximation (Hendrycks and Gimpel, 2016)."""
    x, dtype = widened(x)
    if approximate:
        inner = multiply(add(x, multiply(multiply(multiply(x, x), x), 0.044715)), math.sqrt(2 / math.pi))
        return cast(multiply(multiply(x, 0.5), add(tanh(inner), 1)), dtype)
    return cast(multiply(multiply(x, 0.5), add(erf(multiply(x, math.sqrt(0.5))), 1)), dtype)


def silu(x, /) -> Array:
    """x * sigmoid(x), also called swish."""
    x, dtype = widened(x)
    return cast(multiply(x, sigmoid(x)), dtype)


def softplus(x, /) -> Array:
    """log(1 + exp(x)), without overflow."""
    x, dtype = widened(x)
    return cast(add(maximum(x, 0), log1p(exp(negative(abs(x))))), dtype)


def softsign(x, /) -> Array:
    """x / (1 + |x|)."""
    x, dtype = widened(x)
    return cast(divide(x, add(abs(x), 1)), dtype)


def mish(x, /) -> Array:
    """x * tanh(softplus(x))."""
    x, dtype = widened(x)
    return cast(multiply(x, tanh(softplus(x))), dtype)


def log_sigmoid(x, /) -> Array:
    """log(sigmoid(x)), without overflow."""
    x, dtype = widened(x)
    return cast(negative(softplus(negative(x))), dtype)


def hard_sigmoid(x, /) -> Array:
    """min(max(x + 3, 0), 6) / 6."""
    x, dtype = widened(x)
    return cast(divide(relu6(add(x, 3)), 6.0), dtype)


def hard_swish(x, /) -> Array:
    """x * hard_sigmoid(x)."""
    x, dtype = widened(x)
    return cast(multiply(x, hard_sigmoid(x)), dtype)


def hard_tanh(x, /) -> Array:
    """x, at least -1 and at most 1."""
    return clip(x, -1, 1)


def glu(x, /, axis: int = -1) -> Array:
    """The first half of x along `axis` times the sigmoid of the second half."""
    x = as_floating(x)
    axis = normalize_axis(axis, len(x.shape))
    half = divide_exactly(x.shape[axis], 2)
    if half is None:
        raise shape_error(f"glu halves axis {axis}, which has {format_dim(x.shape[axis])} elements")
    return multiply(slice_axis(x, axis, 0, half), sigmoid(slice_axis(x, axis, half, half)))


def softmax(x, /, axis: int | Sequence[int] = -1) -> Array:
    """exp(x), divided by its sum over `axis`."""
    x, dtype = widened(x)
    weights = exp(subtract(x, stop_gradient(reduce("max", x, axis, True))))  # what is subtracted cancels
    return cast(divide(weights, reduce("sum", weights, axis, True)), dtype)


def log_softmax(x, /, axis: int | Sequence[int] = -1) -> Array:
    """log(softmax(x)), without cancellation."""
    x, dtype = widened(x)
    shifted = subtract(x, stop_gradient(reduce("max", x, axis, True)))
    return cast(subtract(shifted, log(reduce("sum", exp(shifted), axis, True))), dtype)


# ---- normalizations --------------------------------------------------------------------------------------------------
def _along(parameter, shape: Sequence[Dim], axes: Sequence[int], dtype: DType, what: str) -> Array:
    """A weight or bias with one entry for each element of `axes`, shaped to broadcast over `shape`."""
    parameter = as_operand(parameter, dtype)
    expected = tuple(shape[a] for a in axes)
    if tuple(parameter.shape) != expected:
        raise shape_error(f"the {what} has shape {shape_text(parameter.shape)}, {shape_text(expected)} was expected")
    return reshape(parameter, tuple(d if i in axes else 1 for i, d in enumerate(shape)))


def _affine(x: Array, weight, bias, axes: Sequence[int]) -> Array:
    if weight is not None:
        x = multiply(x, _along(weight, x.shape, axes, dtype_of(x), "weight"))
    return x if bias is None else add(x, _along(bias, x.shape, axes, dtype_of(x), "bias"))


def _standardized(x: Array, axes: Sequence[int], epsilon: float) -> Array:
    distance = subtract(x, mean(x, axis=axes, keepdims=True))
    return multiply(distance, rsqrt(add(mean(multiply(distance, distance), axis=axes, keepdims=True), epsilon)))


def layer_norm(x, weight=None, bias=None, /, *, axis: int | Sequence[int] = -1, epsilon: float = 1e-5) -> Array:
    """x less its mean, divided by its standard deviation over `axis`, times weight plus bias (of the extents of
    `axis`)."""
    x, dtype = widened(x, weight, bias)
    axes = normalize_axes(axis, len(x.shape))
    return cast(_affine(_standardized(x, axes, epsilon), weight, bias, axes), dtype)


def rms_norm(x, weight=None, /, *, axis: int | Sequence[int] = -1, epsilon: float = 1e-6) -> Array:
    """x divided by its root mean square over `axis`, times weight (Zhang and Sennrich, 2019)."""
    x, dtype = widened(x, weight)
    axes = normalize_axes(axis, len(x.shape))
    scale = rsqrt(add(mean(multiply(x, x), axis=axes, keepdims=True), epsilon))
    return cast(_affine(multiply(x, scale), weight, None, axes), dtype)


def group_norm(x, groups: int, weight=None, bias=None, /, *, epsilon: float = 1e-5, axis: int = 1) -> Array:
    """x standardized over each of `groups` groups of the channels on `axis` and all axes but the first (Wu and He,
    2018).

    weight and bias have one entry for each channel. `groups` equal to the channels is instance normalization.
    """
    x, dtype = widened(x, weight, bias)
    axis = normalize_axis(axis, len(x.shape))
    part = divide_exactly(x.shape[axis], groups)
    if part is None or axis == 0:
        raise shape_error(f"{format_dim(x.shape[axis])} channels on axis {axis} of shape {shape_text(x.shape)} do not "
                          f"split "
                          f"into {groups} groups")
    split = reshape(x, (*x.shape[:axis], groups, part, *x.shape[axis + 1:]))
    axes = tuple(a for a in range(1, len(split.shape)) if a != axis)
    return cast(_affine(reshape(_standardized(split, axes, epsilon), x.shape), weight, bias, (axis,)), dtype)


def instance_norm(x, weight=None, bias=None, /, *, epsilon: float = 1e-5, axis: int = 1) -> Array:
    """x standardized over every axis but the first and the channels on `axis`."""
    x = as_array(x)
    return group_norm(x, x.shape[normalize_axis(axis, len(x.shape))], weight, bias, epsilon=epsilon, axis=axis)


def batch_norm(x, mean, variance, weight=None, bias=None, /, *, epsilon: float = 1e-5, axis: int = 1) -> Array:
    """x less `mean`, over sqrt(variance + epsilon), times weight plus bias: all given for each channel on `axis`."""
    x, dtype = widened(x, mean, variance, weight, bias)
    axes = (normalize_axis(axis, len(x.shape)),)
    scale = rsqrt(add(as_operand(variance, dtype_of(x)), epsilon))
    centered = subtract(x, _along(mean, x.shape, axes, dtype_of(x), "mean"))
    scaled = multiply(centered, _along(scale, x.shape, axes, dtype_of(x), "variance"))
    return cast(_affine(scaled, weight, bias, axes), dtype)


# ---- embedding and attention -----------------------------------------------------------------------------------------
def embedding(indices, table, /) -> Array:
    """The rows of `table` [entries, width] that `indices` (integers of any shape) name."""
    return take(table, indices, axis=0)


def attention(q, k, v, /, mask=None, *, scale: float | None = None, causal: bool = False) -> Array:
    """softmax(q k^T * scale) v for q [.., H, L, D], k [.., K, S, D], v [.., K, S, E]: [.., H, L, E].

    H is a multiple of K (grouped queries); axes before them broadcast; without heads q is [L, D]. `mask` broadcasts to
    [.., H, L, S]: bool says what is seen, a number is added. `causal` lets query i see keys 0 .. i. `scale` is
    1 / sqrt(D) by default. A query that sees no key gives NaN.
    """
    dtype = result_dtype(q, k, v)
    q, k, v = (as_operand(a, dtype) for a in (q, k, v))
    if min(len(q.shape), len(k.shape), len(v.shape)) < 2:
        raise shape_error(f"attention of shapes {shape_text(q.shape)}, {shape_text(k.shape)}, {shape_text(v.shape)}: "
                          f"rank 2 "
                          "or more was expected")
    if len(q.shape) > 2 and len(k.shape) > 2 and q.shape[-3] != k.shape[-3] and k.shape[-3] != 1:
        return _grouped(q, k, v, mask, scale, causal)
    if scale is None:
        width = q.shape[-1]
        scale = rsqrt(cast(as_array(width), dtype)) if isinstance(width, DimExpr) else 1.0 / math.sqrt(max(width, 1))
    scores = matmul(multiply(q, scale), matrix_transpose(k))
    if causal:
        shape = tuple(scores.shape[-2:])
        seen = greater_equal(ramp(shape, 0, scores), ramp(shape, 1, scores))
        scores = where(seen, scores, as_operand(-np.inf, dtype))
    if mask is not None:
        mask = as_array(mask)
        if dtype_of(mask).is_bool:
            scores = where(mask, scores, as_operand(-np.inf, dtype))
        else:
            scores = add(scores, cast(mask, dtype))
    return matmul(softmax(scores, axis=-1), v)


def _grouped(q: Array, k: Array, v: Array, mask, scale, causal: bool) -> Array:
    """Attention where each key head serves several query heads: these become an axis of their own."""
    heads = k.shape[-3]
    queries = divide_exactly(q.shape[-3], heads)
    if queries is None:
        raise shape_error(f"{format_dim(q.shape[-3])} query heads are no multiple of {format_dim(heads)} key heads")
    def split(a):
        return reshape(a, (*a.shape[:-3], heads, queries, *a.shape[-2:]))
    if mask is not None:
        mask = as_array(mask)
        per_head = len(mask.shape) > 2 and mask.shape[-3] != 1
        mask = split(mask) if per_head else expand_dims(mask, -4) if len(mask.shape) > 2 else mask
    found = attention(split(q), expand_dims(k, -3), expand_dims(v, -3), mask, scale=scale, causal=causal)
    return reshape(found, (*found.shape[:-4], product(found.shape[-4:-2]), *found.shape[-2:]))


# the field's other names
swish = silu
hardtanh, hardswish, hardsigmoid = hard_tanh, hard_swish, hard_sigmoid
logsigmoid = log_sigmoid
