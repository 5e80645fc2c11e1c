"""Which modules are made of others, or of a function?  Sequential, Function, Identity, Flatten."""

from __future__ import annotations

from typing import Callable

from .. import array as lm
from ..array.operands import Array, as_array
from ..array.tracer import trace_error
from .module import Module, is_module


class Function(Module):
    """A function of arrays as a module without parameters."""

    def __init__(self, function: Callable, *args, **kwargs):
        self.function, self.args, self.kwargs = function, args, tuple(sorted(kwargs.items()))

    def __call__(self, x) -> Array:
        return self.function(x, *self.args, **dict(self.kwargs))


class Sequential(Module):
    """One module after the other: `Sequential(Linear(4, 8, key=k), lm.relu, ...)`; functions become Functions.

    Its parts are named "0", "1", ... as PyTorch's; `model[i]` is one, `model[a:b]` a Sequential of some.
    """

    def __init__(self, *layers):
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise trace_error(f"layer {i} of Sequential is {type(layer).__name__}, a module or a function was "
                                  f"expected")
            setattr(self, str(i), layer if is_module(layer) else Function(layer))
        self._count = len(layers)

    def __call__(self, x):
        for i in range(self._count):
            x = getattr(self, str(i))(x)
        return x

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        places = range(self._count)[index]
        if isinstance(index, slice):
            return Sequential(*(getattr(self, str(i)) for i in places))
        return getattr(self, str(places))


class Identity(Module):
    """x."""

    def __init__(self):
        pass

    def __call__(self, x) -> Array:
        return as_array(x)


class Flatten(Module):
    """x with the axes from `start_dim` to `end_dim` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def __call__(self, x) -> Array:
        x = as_array(x)
        rank = len(x.shape)
        first, last = self.start_dim % rank, self.end_dim % rank
        size = 1
        for extent in x.shape[first:last + 1]:
            size = size * extent
        return lm.reshape(x, (*x.shape[:first], size, *x.shape[last + 1:]))
