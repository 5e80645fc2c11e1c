"""Which layers slide weights over spatial axes?  Convolutions and transposed convolutions of one to three axes.

Channels come first, [N, C, *spatial]; weights lie as PyTorch's. Depthwise convolution has groups = in_channels.
"""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from .. import array as lm
from .. import random
from ..array.operands import Array, as_array, shape_text
from ..array.tracer import shape_error
from . import initializers
from .initializers import Initializer
from .module import Module

LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
PADDING_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def per_axis(value: int | Sequence[int], rank: int, what: str) -> tuple[int, ...]:
    """One number for each spatial axis."""
    values = (int(value),) * rank if isinstance(value, (int, np.integer)) else tuple(map(int, value))
    if len(values) != rank:
        raise shape_error(f"{what} {value!r} for {rank} spatial axes")
    return values


def check_input(x: Array, rank: int, channels: int, name: str) -> None:
    """A ShapeError unless x is [N, channels, *spatial] with `rank` spatial axes."""
    if len(x.shape) != rank + 2 or x.shape[1] != channels:
        raise shape_error(f"{name} of shape {shape_text(x.shape)}: a batch, {channels} channels and {rank} spatial "
                          f"axes were expected", hint="lm.expand_dims(x, 0) adds a batch of one")


class _Convolution(Module):
    """What convolutions share: their extents, their weights and how these begin."""

    rank = 0

    def _make(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, key, dtype,
              weight_init, is_transposed) -> None:
        name = type(self).__name__
        if in_channels % groups or out_channels % groups:
            raise shape_error(f"{name} of {in_channels} to {out_channels} channels does not split into {groups} groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.stride = per_axis(stride, self.rank, "stride")
        self.dilation = per_axis(dilation, self.rank, "dilation")
        self.padding = padding if isinstance(padding, str) else per_axis(padding, self.rank, "padding")
        channels = ((in_channels, out_channels // groups) if is_transposed else (out_channels, in_channels // groups))
        first, second = random.split(key)
        self.weight = weight_init(first, (*channels, *self.kernel_size), dtype)
        draw = initializers.uniform_bound(channels[1] * math.prod(self.kernel_size))
        self.bias = draw(second, (out_channels,), dtype) if bias else None


class _Conv(_Convolution):
    """The cross-correlation of x [N, in_channels, *spatial] with weight [out_channels, in_channels // groups, *window].

    `padding` is zeros before and behind each axis, "valid" or "same" (stride 1); `padding_mode` may be "reflect",
    "replicate" or "circular" in place of "zeros".
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Sequence[int],
                 stride: int | Sequence[int] = 1, padding: str | int | Sequence[int] = 0,
                 dilation: int | Sequence[int] = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", *,
                 key, dtype="float32", weight_init: Initializer = initializers.fan_in_uniform):
        self._make(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, key, dtype,
                   weight_init, False)
        if padding_mode != "zeros" and padding_mode not in PADDING_MODES:
            raise shape_error(f"there is no padding_mode {padding_mode!r}", hint=", ".join(["zeros", *PADDING_MODES]))
        if padding == "same" and any(s != 1 for s in self.stride):
            raise shape_error(f'padding "same" with stride {self.stride}', hint="give the padding as numbers")
        self.padding_mode = padding_mode

    def __call__(self, x) -> Array:
        x = as_array(x)
        check_input(x, self.rank, self.in_channels, type(self).__name__)
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), 0
        return lm.conv(x, self.weight, self.bias, strides=self.stride, padding=padding, dilation=self.dilation,
                       groups=self.groups, layout=LAYOUTS[self.rank])

    def _padded(self, x: Array) -> Array:
        totals = [(size - 1) * step for size, step in zip(self.kernel_size, self.dilation)]
        pairs = ([(t // 2, t - t // 2) for t in totals] if self.padding == "same"
                 else [(0, 0)] * self.rank if self.padding == "valid" else [(p, p) for p in self.padding])
        return lm.pad(x, [(0, 0), (0, 0), *pairs], mode=PADDING_MODES[self.padding_mode])


class _ConvTranspose(_Convolution):
    """The gradient of a convolution by its input: x [N, in_channels, *spatial], weight [in_channels, out_channels //
    groups, *window].

    An axis of n elements becomes (n - 1) stride - 2 padding + dilation (window - 1) + output_padding + 1.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Sequence[int],
                 stride: int | Sequence[int] = 1, padding: int | Sequence[int] = 0,
                 output_padding: int | Sequence[int] = 0, groups: int = 1, bias: bool = True,
                 dilation: int | Sequence[int] = 1, *, key, dtype="float32",
                 weight_init: Initializer = initializers.fan_in_uniform):
        self._make(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, key, dtype,
                   weight_init, True)
        self.output_padding = per_axis(output_padding, self.rank, "output_padding")

    def __call__(self, x) -> Array:
        x = as_array(x)
        check_input(x, self.rank, self.in_channels, type(self).__name__)
        return lm.conv_transpose(x, self.weight, self.bias, strides=self.stride, padding=self.padding,
                                 output_padding=self.output_padding, dilation=self.dilation, groups=self.groups,
                                 layout=LAYOUTS[self.rank])


class Conv1d(_Conv):
    """A convolution over one spatial axis: x [N, C, W]."""

    rank = 1


class Conv2d(_Conv):
    """A convolution over two spatial axes: x [N, C, H, W]."""

    rank = 2


class Conv3d(_Conv):
    """A convolution over three spatial axes: x [N, C, D, H, W]."""

    rank = 3


class ConvTranspose1d(_ConvTranspose):
    """A transposed convolution over one spatial axis: x [N, C, W]."""

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """A transposed convolution over two spatial axes: x [N, C, H, W]."""

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """A transposed convolution over three spatial axes: x [N, C, D, H, W]."""

    rank = 3
