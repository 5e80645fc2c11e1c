"""Which convolutions and poolings are simpler ones?  Padding before them is theirs; a 1x1 kernel is a contraction."""

from __future__ import annotations

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.contract import Contract
from ..ops.conv import Conv
from ..ops.pool import Pool
from ..ops.rearrange import Pad
from ..ops.reduce import identity
from .rule import rule
from .views import reshape, same_number, source


def _spatial_padding(x: Value, value) -> tuple[tuple[int, int], ...] | None:
    """The padding of each spatial axis where x is a Pad by `value` of those axes alone, by constants."""
    if not isinstance(x.op, Pad) or not same_number(x.op.value, value):
        return None
    low, high = x.op.low, x.op.high
    if any(d != 0 for d in (low[0], high[0], low[-1], high[-1])) or not all(isinstance(d, int) for d in low + high):
        return None
    return tuple(zip(low[1:-1], high[1:-1]))


def _sum(a, b, scale) -> tuple[tuple[int, int], ...]:
    return tuple((p + low * s, q + high * s) for (p, q), (low, high), s in zip(a, b, scale))


@rule(Conv)
def convolve_padded(b: Builder, op, x, w):
    """conv(pad(x, 0), w) -> conv(x, w), with more padding of its own."""
    padding = _spatial_padding(x, 0)
    if padding is None or any(not isinstance(d, int) or d == 0 for d in source(x).shape[1:-1]):
        return None
    joined = _sum(op.padding, padding, op.input_dilation)
    return b.emit(Conv(op.strides, joined, op.dilation, op.groups, op.input_dilation), source(x), w)


@rule(Pool)
def pool_padded(b: Builder, op, x):
    """pool(pad(x, value)) -> pool(x), with more padding of its own, where value is what its padding counts as."""
    padding = _spatial_padding(x, identity(op.kind, x.dtype))
    if padding is None:
        return None
    joined = _sum(op.padding, padding, (1,) * len(padding))
    return b.emit(Pool(op.kind, op.window, op.strides, joined, op.dilation), source(x))


@rule(Conv)
def convolve_points(b: Builder, op, x, w):
    """conv(x, w) -> contract(x, w) "nhwc,co->nhwo", where the kernel is 1x1, with no stride, padding or groups."""
    rank = x.type.rank
    if any(d != 1 for d in (*w.shape[:-2], *op.strides, *op.input_dilation, op.groups)):
        return None
    if any(p != (0, 0) for p in op.padding):
        return None
    letters = "n" + "dhw"[5 - rank:] + "c"
    return b.emit(Contract(f"{letters},co->{letters[:-1]}o"), x, reshape(b, w, w.shape[-2:]))
