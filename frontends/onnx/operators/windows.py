"""Where do the windows of convolution and pooling lie?  ONNX's attributes as strides, dilations, padding per axis."""

from __future__ import annotations

from dataclasses import dataclass

from ....compiler.core.dims import Dim
from ....compiler.ops.op import is_nonnegative
from ..table import Refusal
from .shape import transposed
from .values import choice

AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class Windows:
    """The window, strides, dilation and (low, high) padding of each spatial axis, and how many places there are.

    `declared` is the padding that the model asks for; `padding` may be longer at the end, where ceil_mode lets the last
    window reach beyond it.
    """

    kernel: tuple[Dim, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    declared: tuple[tuple[Dim, Dim], ...]
    padding: tuple[tuple[Dim, Dim], ...]
    extents: tuple[Dim, ...]


def windows(spatial, kernel, strides, dilations, pads, auto_pad: str, ceil_mode: int = 0) -> Windows:
    """The windows over axes with the extents `spatial`. Specification: ONNX Conv, MaxPool, AveragePool."""
    rank = len(spatial)
    kernel, strides, dilation = tuple(kernel), tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    if not len(kernel) == len(strides) == len(dilation) == rank or len(pads or (0,) * 2 * rank) != 2 * rank:
        raise Refusal(f"kernel {list(kernel)}, strides {list(strides)}, dilations {list(dilation)}, pads {pads} "
                      f"for {rank} spatial axes")
    choice(auto_pad or "NOTSET", AUTO_PAD, "auto_pad")
    declared, padding, extents = [], [], []
    for axis, (extent, size, stride, step) in enumerate(zip(spatial, kernel, strides, dilation)):
        reach = (size - 1) * step + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            low, high = same_padding(extent, reach, stride, auto_pad)
        else:
            low, high = (0, 0) if auto_pad == "VALID" or not pads else (pads[axis], pads[axis + rank])
        declared.append((low, high))
        room = extent + low + high - reach
        places = room // stride + 1
        if ceil_mode:
            places, high = _reaching_beyond(extent, low, high, reach, stride, room)
        padding.append((low, high))
        extents.append(places)
    return Windows(kernel, strides, dilation, tuple(declared), tuple(padding), tuple(extents))


def same_padding(extent: Dim, reach: Dim, stride: int, auto_pad: str) -> tuple[Dim, Dim]:
    """The padding under which there are ceil(extent / stride) places; an odd element goes to the end or the front."""
    needed = ((extent + (stride - 1)) // stride - 1) * stride + reach - extent
    if isinstance(needed, int):
        needed = max(needed, 0)
    elif not is_nonnegative(needed):
        raise Refusal(f"auto_pad {auto_pad} for the extent {extent} and stride {stride}: declare facts of the dims, "
                      "as a multiple")
    less = needed // 2
    return (less, needed - less) if auto_pad == "SAME_UPPER" else (needed - less, less)


def _reaching_beyond(extent: Dim, low: Dim, high: Dim, reach: Dim, stride: int, room: Dim) -> tuple[Dim, Dim]:
    """Places and high padding under ceil_mode; a window that would begin in the padding at the end does not count."""
    places = (room + (stride - 1)) // stride + 1
    begins_outside = (places - 1) * stride - (extent + low)
    if is_nonnegative(begins_outside):
        places = places - 1
    elif not is_nonnegative(-1 - begins_outside if isinstance(begins_outside, int) else begins_outside * -1 - 1):
        raise Refusal(f"ceil_mode for the extent {extent} and stride {stride}: where the last window begins depends "
                      "on the dims")
    wanted = (places - 1) * stride + reach - extent - low
    return places, (max(wanted, 0) if isinstance(wanted, int) else wanted)


def channels_last(x):
    """[N, C, *spatial] as [N, *spatial, C]."""
    rank = len(x.shape)
    return transposed(x, (0, *range(2, rank), 1))


def channels_first(x):
    """[N, *spatial, C] as [N, C, *spatial]."""
    rank = len(x.shape)
    return transposed(x, (0, rank - 1, *range(1, rank - 1)))


def per_channel(v, rank: int):
    """A vector [C] as [C, 1, ...], to meet [N, C, *spatial] of this rank."""
    from .shape import reshape_to
    return reshape_to(v, (v.shape[0],) + (1,) * (rank - 2))
