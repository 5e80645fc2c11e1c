"""Quantization: ONNX's linear scheme, with one scale per tensor, per axis or per block."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dtypes import DType, float32, int32, uint8
from ....compiler.ops import Div
from ... import array as lm
from ...array.operands import broadcast_arrays, cast, dtype_of
from ...array.tracer import emit
from ..model import dtype_of_code
from ..table import Refusal, operator
from .convolution import conv
from .linear import matmul, shifted
from .shape import reshape_to, tile
from .values import axis_of, widened


def _spread(parameter, x, axis: int, block: int):
    """A scale or zero point so that it meets `x`: a scalar, one per index of `axis`, or one per `block` of them."""
    if len(parameter.shape) == 0 or parameter.shape == (1,):
        return reshape_to(parameter, ())
    axis = axis_of(axis, x)
    if block:
        repeated = reshape_to(parameter, (*parameter.shape[:axis + 1], 1, *parameter.shape[axis + 1:]))
        repeated = tile(repeated, np.array([block if i == axis + 1 else 1 for i in range(len(x.shape) + 1)]))
        whole = reshape_to(repeated, (*x.shape[:axis], parameter.shape[axis] * block, *x.shape[axis + 1:]))
        if whole.shape != x.shape:
            raise Refusal(f"blocks of {block} do not divide the axis of {x.shape[axis]}")
        return whole
    if len(parameter.shape) != 1:
        raise Refusal(f"a scale of rank {len(parameter.shape)} without block_size")
    return reshape_to(parameter, tuple(parameter.shape[0] if i == axis else 1 for i in range(len(x.shape))))


def saturated(x, zero, dtype: DType):
    """round(x) + zero within the range of `dtype`. Halves go to the even neighbour."""
    y = lm.round(x)
    y = y if zero is None else y + cast(zero, dtype_of(x))
    return cast(lm.clip(y, float(dtype.minimum), float(dtype.maximum)), dtype)


def _integer(code: int, zero) -> DType:
    dtype = dtype_of(zero) if zero is not None else dtype_of_code(code) if code else uint8
    if not dtype.is_integer:
        raise Refusal(f"quantization to {dtype.name}")
    return dtype


@operator("QuantizeLinear", 10, ignored=("saturate", "precision"))
def quantize(x, scale, zero=None, *, axis=1, block_size=0, output_dtype=0):
    dtype = _integer(output_dtype, zero)
    scale = _spread(cast(scale, float32), x, axis, block_size)
    zero = None if zero is None else _spread(zero, x, axis, block_size)
    return saturated(emit(Div(), *broadcast_arrays(cast(x, float32), scale)), zero, dtype)


@operator("DequantizeLinear", 10, narrow=("x", "zero"))
def dequantize(x, scale, zero=None, *, axis=1, block_size=0, output_dtype=0):
    x, zero = widened(x), None if zero is None else widened(zero)
    dtype = dtype_of_code(output_dtype) if output_dtype else dtype_of(scale)
    scale = _spread(cast(scale, float32), x, axis, block_size)
    common = float32 if dtype_of(x).is_float else int32
    wide = x if zero is None else cast(x, common) - cast(_spread(zero, x, axis, block_size), common)
    return cast(cast(wide, float32) * scale, dtype)


@operator("DynamicQuantizeLinear", 11)
def dynamic_quantize(x):
    """To uint8, with the range of `x` widened to hold 0."""
    low, high = lm.minimum(lm.min(x), 0.0), lm.maximum(lm.max(x), 0.0)
    scale = (high - low) / 255.0
    zero = cast(lm.clip(lm.round(0.0 - low / scale), 0.0, 255.0), uint8)
    return saturated(x / scale, zero, uint8), scale, zero


@operator("QLinearMatMul", 10)
def quantized_matmul(a, scale_a, zero_a, b, scale_b, zero_b, scale_y, zero_y):
    product = matmul(shifted(a, zero_a, row=True), shifted(b, zero_b))
    if len(scale_a.shape) == 1 and scale_a.shape[0] != 1:
        scale_a = reshape_to(scale_a, (*scale_a.shape, 1))
    factor = cast(scale_a, float32) * cast(scale_b, float32) / cast(scale_y, float32)
    return saturated(cast(product, float32) * factor, zero_y, dtype_of(zero_y))


@operator("ConvInteger", 10)
def conv_integer(x, w, zero_x=None, zero_w=None, *, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None,
                 pads=None, strides=None):
    return conv(shifted(x, zero_x), _shifted_weights(w, zero_w), auto_pad=auto_pad, dilations=dilations, group=group,
                kernel_shape=kernel_shape, pads=pads, strides=strides)


def _shifted_weights(w, zero):
    if zero is not None and len(zero.shape) == 1:
        zero = reshape_to(zero, (zero.shape[0],) + (1,) * (len(w.shape) - 1))
    return shifted(w, zero)


@operator("QLinearConv", 10)
def quantized_conv(x, scale_x, zero_x, w, scale_w, zero_w, scale_y, zero_y, bias=None, *, auto_pad="NOTSET",
                   dilations=None, group=1, kernel_shape=None, pads=None, strides=None):
    total = conv(shifted(x, zero_x), _shifted_weights(w, zero_w), bias, auto_pad=auto_pad, dilations=dilations,
                 group=group, kernel_shape=kernel_shape, pads=pads, strides=strides)
    factor = cast(scale_x, float32) * cast(scale_w, float32) / cast(scale_y, float32)
    if len(factor.shape) == 1:
        factor = reshape_to(factor, (factor.shape[0],) + (1,) * (len(x.shape) - 2))
    return saturated(cast(total, float32) * factor, zero_y, dtype_of(zero_y))
