"""Which layers take one number for each window, or put numbers where windows were?  Pooling, upsampling, pixel shuffle.

Channels come first, [N, C, *spatial], with one to three spatial axes; names and rules are PyTorch's.
"""

from __future__ import annotations

from typing import Sequence

from .. import array as lm
from ..array.operands import Array, as_array, shape_text
from ..array.tracer import shape_error
from .convolution import LAYOUTS, per_axis
from .module import Module


class _Pool(Module):
    """What pooling layers of one rank share."""

    rank = 0

    def _layout(self, x: Array) -> str:
        if len(x.shape) != self.rank + 2:
            raise shape_error(f"{type(self).__name__} of shape {shape_text(x.shape)}: a batch, channels and "
                              f"{self.rank} spatial axes were expected")
        return LAYOUTS[self.rank]


class _MaxPool(_Pool):
    """The largest element of each window; strides are the window by default."""

    def __init__(self, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
                 padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, ceil_mode: bool = False):
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.stride = self.kernel_size if stride is None else per_axis(stride, self.rank, "stride")
        self.padding = per_axis(padding, self.rank, "padding")
        self.dilation = per_axis(dilation, self.rank, "dilation")
        self.ceil_mode = ceil_mode

    def __call__(self, x) -> Array:
        x = as_array(x)
        return lm.max_pool(x, self.kernel_size, strides=self.stride, padding=self.padding, dilation=self.dilation,
                           ceil_mode=self.ceil_mode, layout=self._layout(x))


class _AvgPool(_Pool):
    """The mean of each window, padding counted as zeros where `count_include_pad`; strides are the window by
    default."""

    def __init__(self, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
                 padding: int | Sequence[int] = 0, ceil_mode: bool = False, count_include_pad: bool = True):
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.stride = self.kernel_size if stride is None else per_axis(stride, self.rank, "stride")
        self.padding = per_axis(padding, self.rank, "padding")
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def __call__(self, x) -> Array:
        x = as_array(x)
        return lm.avg_pool(x, self.kernel_size, strides=self.stride, padding=self.padding, ceil_mode=self.ceil_mode,
                           count_include_pad=self.count_include_pad, layout=self._layout(x))


class _AdaptivePool(_Pool):
    """One element for each of `output_size` parts of each spatial axis: part i of n elements is
    [floor(i n / size), ceil((i + 1) n / size)).

    An axis whose extent is symbolic can only become 1.
    """

    _reduce = None  # the reduction over an axis, given by the derived class

    def __init__(self, output_size: int | Sequence[int]):
        self.output_size = per_axis(output_size, self.rank, "output_size")

    def __call__(self, x) -> Array:
        x = as_array(x)
        self._layout(x)
        for axis, size in enumerate(self.output_size, 2):
            x = self._along(x, axis, size)
        return x

    def _along(self, x: Array, axis: int, size: int) -> Array:
        reduce, extent = type(self)._reduce, x.shape[axis]
        if size == 1:
            return reduce(x, axis=axis, keepdims=True)
        if not isinstance(extent, int):
            raise shape_error(f"{type(self).__name__} to {size} of an axis of {extent} elements is not known",
                              hint="only an output size of 1 goes with a symbolic extent")
        if extent % size == 0:
            parts = lm.reshape(x, (*x.shape[:axis], size, extent // size, *x.shape[axis + 1:]))
            return reduce(parts, axis=axis + 1)
        index = [slice(None)] * axis
        parts = [reduce(x[(*index, slice(i * extent // size, -(-(i + 1) * extent // size)))], axis=axis, keepdims=True)
                 for i in range(size)]
        return lm.concat(parts, axis=axis)


class _AdaptiveAvgPool(_AdaptivePool):
    """The mean of each of `output_size` parts of each spatial axis."""

    _reduce = staticmethod(lm.mean)


class _AdaptiveMaxPool(_AdaptivePool):
    """The largest element of each of `output_size` parts of each spatial axis."""

    _reduce = staticmethod(lm.max)


class MaxPool1d(_MaxPool):
    """The largest element of each window of x [N, C, W]."""

    rank = 1


class MaxPool2d(_MaxPool):
    """The largest element of each window of x [N, C, H, W]."""

    rank = 2


class MaxPool3d(_MaxPool):
    """The largest element of each window of x [N, C, D, H, W]."""

    rank = 3


class AvgPool1d(_AvgPool):
    """The mean of each window of x [N, C, W]."""

    rank = 1


class AvgPool2d(_AvgPool):
    """The mean of each window of x [N, C, H, W]."""

    rank = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of x [N, C, D, H, W]."""

    rank = 3


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of `output_size` parts of x [N, C, W]."""

    rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of `output_size` parts of x [N, C, H, W]."""

    rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of `output_size` parts of x [N, C, D, H, W]."""

    rank = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` parts of x [N, C, W]."""

    rank = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` parts of x [N, C, H, W]."""

    rank = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` parts of x [N, C, D, H, W]."""

    rank = 3


class Upsample(Module):
    """Each spatial axis `scale_factor` times as long, by repeating elements: PyTorch's mode "nearest"."""

    def __init__(self, scale_factor: int | Sequence[int] = 2):
        self.scale_factor = scale_factor if isinstance(scale_factor, int) else tuple(scale_factor)

    def __call__(self, x) -> Array:
        x = as_array(x)
        rank = len(x.shape) - 2
        factors = per_axis(self.scale_factor, rank, "scale_factor")
        spread = [d for extent in x.shape[2:] for d in (extent, 1)]
        wide = [d for extent, factor in zip(x.shape[2:], factors) for d in (extent, factor)]
        y = lm.broadcast_to(lm.reshape(x, (*x.shape[:2], *spread)), (*x.shape[:2], *wide))
        return lm.reshape(y, (*x.shape[:2], *(e * f for e, f in zip(x.shape[2:], factors))))


class PixelShuffle(Module):
    """Channels become places: x [N, C r^2, H, W] to [N, C, H r, W r] (Shi and others, 2016)."""

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def __call__(self, x) -> Array:
        x, r = as_array(x), self.upscale_factor
        batch, channels, height, width = x.shape
        if channels % (r * r):
            raise shape_error(f"PixelShuffle({r}) of {channels} channels, which are no multiple of {r * r}")
        y = lm.reshape(x, (batch, channels // (r * r), r, r, height, width))
        return lm.reshape(lm.permute_dims(y, (0, 1, 4, 2, 5, 3)), (batch, channels // (r * r), height * r, width * r))
