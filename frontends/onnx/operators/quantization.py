"""Quantization: ONNX's linear scheme, with one scale per tensor, per axis or per block."""

from __future__ import annotations

import string

import numpy as np

from ....compiler.core.dtypes import DType, float32, int32, uint8
from ....compiler.ops import Contract, Dequantize, Div
from ... import array as lm
from ...array.operands import broadcast_arrays, cast, dtype_of
from ...array.tracer import emit
from ..model import dtype_of_code
from ..table import Refusal, operator
from .convolution import conv
from .linear import matmul, shifted
from .shape import reshape_to, tile
from .values import as_constant, axis_of, known, known_array, widened

FLOAT = 1  # TensorProto.FLOAT
LEAST_CODES = 1 << 12  # a smaller matrix is widened once, while importing


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
    coded = _coded_matrix(x, scale, zero, axis, block_size)
    if coded is not None and output_dtype in (0, FLOAT):
        return coded
    x, zero = widened(x), None if zero is None else widened(zero)
    dtype = dtype_of_code(output_dtype) if output_dtype else dtype_of(scale)
    scale = _spread(cast(scale, float32), x, axis, block_size)
    common = float32 if dtype_of(x).is_float else int32
    wide = x if zero is None else cast(x, common) - cast(_spread(zero, x, axis, block_size), common)
    return cast(cast(wide, float32) * scale, dtype)


def _coded_matrix(x, scale, zero, axis: int, block: int):
    """A constant matrix of narrow integers with constant scales as Dequantize, so that it stays narrow in memory where
    a product reads it; None for anything else."""
    codes, scales = known_array(x), known_array(scale)
    zeros = np.zeros(1, np.int8) if zero is None else known_array(zero)
    if codes is None or scales is None or zeros is None or codes.ndim != 2 or codes.size < LEAST_CODES:
        return None
    zeros = widened(zeros)
    if scales.dtype != np.float32 or zeros.size == 0 or (zeros != zeros.flat[0]).any():
        return None
    grouped = axis % 2 if block else 1 - axis % 2
    group = block or codes.shape[grouped]
    groups = list(codes.shape)
    groups[grouped] = -(-codes.shape[grouped] // group)
    if codes.shape[grouped] % group or scales.size not in (1, int(np.prod(groups))) or scales.ndim == 2 and not block:
        return None
    scales = np.ascontiguousarray(np.broadcast_to(scales.reshape(groups if scales.size > 1 else (1, 1)), groups))
    bits, at = 4 if codes.dtype.name in ("int4", "uint4") else 8, int(zeros.flat[0])
    if bits == 4 and group % 2 == 0:
        shift = 8 if codes.dtype.name == "int4" else 0
        unsigned = np.moveaxis(codes.astype(np.int8) + shift, grouped, 0).astype(np.uint8)
        codes, at = np.ascontiguousarray(np.moveaxis(unsigned[::2] | unsigned[1::2] << 4, 0, grouped)), at + shift
    elif bits == 4 or codes.dtype not in (np.int8, np.uint8):
        return None
    return emit(Dequantize(grouped, group, bits, at), as_constant(codes), as_constant(scales))


@operator("MatMulNBits", 1, domain="com.microsoft", ignored=("accuracy_level",))
def narrow_matmul(a, b, scales, zero_points=None, g_idx=None, bias=None, *, K, N, bits=4, block_size):
    """a [..., K] times N rows of codes b [N, K / block_size, block_size * bits / 8] with a scale for each block.

    Specification: ContribOperators.md of onnxruntime.
    """
    if bits not in (4, 8) or g_idx is not None or K % block_size:
        raise Refusal(f"{bits} bits in blocks of {block_size} of {K}" + (" with g_idx" if g_idx is not None else ""))
    codes = known(b, "the weights").reshape(N, K * bits // 8)
    scales = known(scales, "the scales").reshape(N, K // block_size)
    zeros = np.array([1 << (bits - 1)])
    if zero_points is not None:
        zeros = known(zero_points, "the zero points")
        if zeros.dtype == np.uint8 and bits == 4:
            zeros = np.stack([zeros & 15, zeros >> 4], -1).reshape(N, -1)[:, :K // block_size]
    if (zeros == zeros.flat[0]).all() and float(zeros.flat[0]).is_integer():
        op = Dequantize(1, block_size, bits, int(zeros.flat[0]))
        weights = emit(op, as_constant(codes), as_constant(scales))
    else:
        (wide,) = Dequantize(1, block_size, bits).evaluate(codes, np.ones_like(scales, np.float32))
        spread = [np.repeat(v.reshape(scales.shape).astype(np.float32), block_size, 1) for v in (zeros, scales)]
        weights = (wide - spread[0]) * spread[1]
    rows = string.ascii_lowercase[:len(a.shape) - 1]
    y = emit(Contract(f"{rows}K,NK->{rows}N"), a, cast(weights, dtype_of(a)))
    return y if bias is None else y + bias


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
