"""Convolutions: as the channels-last primitive between transposes, which later passes cancel."""

from __future__ import annotations

from ....compiler.ops import Conv
from ... import array as lm
from ...array.tracer import emit
from ..table import Refusal, operator
from .shape import piece, reshape_to, transposed
from .values import choice
from .windows import channels_first, channels_last, windows


@operator("Conv")
def conv(x, w, bias=None, *, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None):
    """x [N, C, *spatial], w [O, C / group, *kernel], bias [O]."""
    at = windows(x.shape[2:], _kernel_of(w, kernel_shape), strides, dilations, pads, auto_pad)
    op = Conv(at.strides, at.padding, at.dilation, group)
    y = emit(op, channels_last(x), transposed(w, (*range(2, len(w.shape)), 1, 0)))
    return channels_first(y if bias is None else y + bias)


def _kernel_of(w, kernel_shape):
    if kernel_shape is not None and tuple(kernel_shape) != tuple(w.shape[2:]):
        raise Refusal(f"kernel_shape is {list(kernel_shape)}, the weights have {list(w.shape[2:])}")
    return tuple(w.shape[2:])


@operator("ConvTranspose")
def conv_transpose(x, w, bias=None, *, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None,
                   output_padding=None, output_shape=None, pads=None, strides=None):
    """x [N, C, *spatial], w [C, O / group, *kernel], bias [O]: a convolution over x spread out by the strides."""
    kernel, rank = _kernel_of(w, kernel_shape), len(x.shape) - 2
    strides, dilations = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    extra = tuple(output_padding or (0,) * rank)
    reaches = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations))
    full = [(n - 1) * s + r + e for n, s, r, e in zip(x.shape[2:], strides, reaches, extra)]
    choice(auto_pad, ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"), "auto_pad")
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = [n * s for n, s in zip(x.shape[2:], strides)]
    if output_shape is not None:
        cuts = [_split_cut(f - wanted, auto_pad) for f, wanted in zip(full, tuple(output_shape)[-rank:])]
    elif auto_pad == "VALID" or not pads:
        cuts = [(0, 0)] * rank
    else:
        cuts = [(pads[i], pads[i + rank]) for i in range(rank)]
    low = [r - 1 - before for r, (before, _) in zip(reaches, cuts)]
    high = [r - 1 - after + e for r, (_, after), e in zip(reaches, cuts, extra)]
    padding = tuple((max(a, 0), max(b, 0)) for a, b in zip(low, high))
    op = Conv((1,) * rank, padding, dilations, group, strides)
    y = emit(op, channels_last(x), _transposed_weights(w, group))
    y = y if bias is None else y + bias
    for axis, (a, b) in enumerate(zip(low, high), 1):
        if a < 0 or b < 0:
            y = piece(y, axis, max(-a, 0), y.shape[axis] - max(-a, 0) - max(-b, 0))
    return channels_first(y)


def _split_cut(total, auto_pad: str):
    half = total // 2
    return (half, total - half) if auto_pad == "SAME_UPPER" else (total - half, half)


def _transposed_weights(w, group: int):
    """[C, O / group, *kernel] as [*kernel, C / group, O], the kernel turned around."""
    c, outputs, *kernel = w.shape
    spatial = tuple(range(3, 3 + len(kernel)))
    split = reshape_to(w, (group, c // group, outputs, *kernel))
    joined = reshape_to(transposed(split, (*spatial, 1, 0, 2)), (*kernel, c // group, group * outputs))
    return lm.flip(joined, axis=tuple(range(len(kernel))))


@operator("CausalConvWithState", 27)
def causal_conv(x, w, bias=None, state=None, *, activation="none"):
    """A depthwise convolution over [B, C, T] that continues from the last kernel - 1 elements in `state`."""
    from .activation import swish
    choice(activation, ("none", "silu", "swish"), "activation")
    before = w.shape[-1] - 1
    state = state if state is not None else lm.zeros((x.shape[0], x.shape[1], before), dtype=x.dtype)
    longer = lm.concatenate([state, x], axis=2)
    y = conv(longer, w, bias, group=x.shape[1])
    return (y if activation == "none" else swish(y)), piece(longer, 2, longer.shape[2] - before, before)
