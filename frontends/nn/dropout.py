"""Which layers forget at random in training?  Dropout of elements and of channels, and of residual branches."""

from __future__ import annotations

from .. import array as lm
from .. import random
from ..array.operands import Array, as_floating
from ..array.tracer import trace_error
from .module import Module


class Dropout(Module):
    """In training each element is 0 with probability `p` and else divided by 1 - p (Srivastava and others, 2014).

    The key is the call's, or the next of `nn.apply`'s. Outside of training it is x.
    """

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise trace_error(f"{type(self).__name__} with probability {p}: from 0 to 1 was expected")
        self.p, self.training = float(p), False

    def __call__(self, x, *, key=None) -> Array:
        x = as_floating(x)
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return lm.zeros_like(x)
        keep = random.bernoulli(self.next_key() if key is None else key, 1 - self.p, self._mask_shape(x))
        return lm.where(keep, lm.multiply(x, 1 / (1 - self.p)), 0)

    def _mask_shape(self, x: Array) -> tuple:
        return tuple(x.shape)


class ChannelDropout(Dropout):
    """In training each channel of x [N, C, ...] is 0 with probability `p` (Tompson and others, 2015): PyTorch's
    Dropout1d, 2d and 3d."""

    def _mask_shape(self, x: Array) -> tuple:
        return (*x.shape[:2], *(1,) * (len(x.shape) - 2))


class DropPath(Dropout):
    """In training each sample of x [N, ...], a residual branch, is 0 with probability `p` (Huang and others,
    "Stochastic depth", 2016)."""

    def _mask_shape(self, x: Array) -> tuple:
        return (x.shape[0], *(1,) * (len(x.shape) - 1))


Dropout1d = Dropout2d = Dropout3d = ChannelDropout  # PyTorch's names
