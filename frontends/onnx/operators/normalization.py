"""Normalizations: compositions that fusion puts back into one kernel."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dims import product
from ....compiler.core.dtypes import float32
from ....compiler.ops import Constant, Pool
from ... import array as lm
from ...array.operands import cast, dtype_of
from ...array.tracer import Tracer, emit
from ..model import dtype_of_code
from ..table import Refusal, operator
from .reduction import mean
from .shape import reshape_to
from .values import axis_of, known
from .windows import per_channel


def _is_known(value) -> bool:
    return isinstance(value, np.ndarray) or isinstance(value, Tracer) and isinstance(value.value.op, Constant)


@operator("BatchNormalization", 14, ignored=("spatial", "consumed_inputs", "is_test"))
def batch_normalization(x, scale, bias, mean_, variance, *, epsilon=1e-5, momentum=0.9, training_mode=0, context):
    """In inference one scale and one shift per channel, folded while importing where they are known."""
    rank, axes = len(x.shape), (0, *range(2, len(x.shape)))
    if not training_mode:
        if any(context.wanted[1:]):
            raise Refusal("it is exported for training (it has more than one output); export the model for inference")
        factor, shift = _scale_and_shift(scale, bias, mean_, variance, epsilon)
        return x * per_channel(cast(factor, dtype_of(x)), rank) + per_channel(cast(shift, dtype_of(x)), rank)
    center = mean(x, axes)
    spread = mean(lm.square(x - center), axes)
    y = (x - center) * lm.rsqrt(spread + epsilon) * per_channel(scale, rank) + per_channel(bias, rank)
    of_batch = (reshape_to(center, (x.shape[1],)), reshape_to(spread, (x.shape[1],)))
    return y, *(old * momentum + new * (1.0 - momentum) for old, new in zip((mean_, variance), of_batch))


def _scale_and_shift(scale, bias, center, variance, epsilon: float):
    if all(map(_is_known, (scale, bias, center, variance))):
        dtype = dtype_of(scale).numpy
        scale, bias, center, variance = (known(v, "").astype(np.float64) for v in (scale, bias, center, variance))
        factor = scale / np.sqrt(variance + epsilon)
        return factor.astype(dtype), (bias - center * factor).astype(dtype)
    factor = scale * lm.rsqrt(variance + epsilon)
    return factor, bias - center * factor


@operator("BatchNormalization", 1, ignored=("consumed_inputs", "is_test"))
def batch_normalization_1(x, scale, bias, mean_, variance, *, epsilon=1e-5, momentum=0.9, spatial=1, context):
    if not spatial:
        raise Refusal("spatial is 0: one mean per element")
    return batch_normalization(x, scale, bias, mean_, variance, epsilon=epsilon, context=context)


def _normalized(x, axes: tuple[int, ...], epsilon: float):
    """(x - mean) / sqrt(variance + epsilon) over `axes`, the mean and 1 / sqrt(variance + epsilon)."""
    center = mean(x, axes)
    centered = x - center
    inverse = lm.rsqrt(mean(centered * centered, axes) + epsilon)
    return centered * inverse, center, inverse


@operator("InstanceNormalization", ignored=("consumed_inputs",))
def instance_normalization(x, scale, bias, *, epsilon=1e-5):
    rank = len(x.shape)
    y, _, _ = _normalized(x, tuple(range(2, rank)), epsilon)
    return y * per_channel(scale, rank) + per_channel(bias, rank)


@operator("LayerNormalization", 17)
def layer_normalization(x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1):
    """Over all axes from `axis` on. The statistics have the type `stash_type`."""
    dtype, wide = dtype_of(x), dtype_of_code(stash_type)
    wide = wide if dtype.bits <= wide.bits else dtype
    y, center, inverse = _normalized(cast(x, wide), tuple(range(axis_of(axis, x), len(x.shape))), epsilon)
    y = cast(y, dtype) * scale
    return (y if bias is None else y + bias), center, inverse


@operator("RMSNormalization", 23)
def rms_normalization(x, scale, *, axis=-1, epsilon=1e-5, stash_type=1):
    dtype, wide = dtype_of(x), dtype_of_code(stash_type)
    x = cast(x, wide if dtype.bits <= wide.bits else dtype)
    y = x * lm.rsqrt(mean(x * x, tuple(range(axis_of(axis, x), len(x.shape)))) + epsilon)
    return cast(cast(y, dtype) * scale, dtype_of(scale))


def _by_groups(x, groups: int, epsilon: float):
    n, c, *space = x.shape
    y, _, _ = _normalized(reshape_to(x, (n, groups, c // groups * product(space))), (2,), epsilon)
    return y


@operator("GroupNormalization", 21)
def group_normalization(x, scale, bias, *, num_groups, epsilon=1e-5, stash_type=1):
    dtype = dtype_of(x)
    y = cast(reshape_to(_by_groups(cast(x, float32) if dtype.bits < 32 else x, num_groups, epsilon), x.shape), dtype)
    return y * per_channel(scale, len(x.shape)) + per_channel(bias, len(x.shape))


@operator("GroupNormalization", 18)
def group_normalization_18(x, scale, bias, *, num_groups, epsilon=1e-5):
    """With one scale and bias per group, not per channel."""
    y = _by_groups(x, num_groups, epsilon)
    return reshape_to(y * reshape_to(scale, (num_groups, 1)) + reshape_to(bias, (num_groups, 1)), x.shape)


@operator("MeanVarianceNormalization", 9)
def mean_variance_normalization(x, *, axes=(0, 2, 3)):
    centered = x - mean(x, tuple(axes))
    return centered / (lm.sqrt(mean(centered * centered, tuple(axes))) + 1e-9)


@operator("LRN")
def local_response_normalization(x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    """x / (bias + alpha / size * the sum of squares over `size` channels around)^beta."""
    n, c, *space = x.shape
    columns = reshape_to(x * x, (n, c, product(space)))
    before = (size - 1) // 2
    total = emit(Pool("sum", (size,), (1,), ((before, size - 1 - before),), (1,)), columns)
    return x * (reshape_to(total, x.shape) * (alpha / size) + bias) ** -beta
