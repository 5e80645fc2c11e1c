"""Which activations are modules?  PyTorch's, for Sequential: each applies the array function of its name."""

from __future__ import annotations

from typing import Callable

from .. import array as lm
from ..array.operands import Array, as_array
from .containers import Function
from .module import Module


class PReLU(Module):
    """x, times a slope that is learned where it is negative: one, or one for each channel on axis 1 (He and others,
    2015)."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype="float32"):
        self.num_parameters = num_parameters
        self.weight = lm.full(num_parameters, init, dtype)

    def __call__(self, x) -> Array:
        x = as_array(x)
        slope = lm.reshape(self.weight, (1, -1, *(1,) * (len(x.shape) - 2))) if self.num_parameters > 1 else self.weight
        return lm.leaky_relu(x, slope)


def _activation(name: str, function: Callable) -> type[Module]:
    """The class of modules that apply `function`: `name()(x)`, with the function's own arguments in the parentheses."""
    def __init__(self, *args, **kwargs):
        Function.__init__(self, function, *args, **kwargs)
    summary = (function.__doc__ or "").splitlines()[0]
    return type(Module)(name, (Function,), {"__init__": __init__, "__doc__": summary, "__module__": __name__})


ReLU, ReLU6, LeakyReLU = (_activation(n, f) for n, f in (("ReLU", lm.relu), ("ReLU6", lm.relu6),
                                                         ("LeakyReLU", lm.leaky_relu)))
ELU, SELU, CELU = (_activation(n, f) for n, f in (("ELU", lm.elu), ("SELU", lm.selu), ("CELU", lm.celu)))
GELU, SiLU, Mish = (_activation(n, f) for n, f in (("GELU", lm.gelu), ("SiLU", lm.silu), ("Mish", lm.mish)))
Sigmoid, Tanh, Softplus = (_activation(n, f) for n, f in (("Sigmoid", lm.sigmoid), ("Tanh", lm.tanh),
                                                          ("Softplus", lm.softplus)))
Softmax, LogSoftmax, GLU = (_activation(n, f) for n, f in (("Softmax", lm.softmax), ("LogSoftmax", lm.log_softmax),
                                                           ("GLU", lm.glu)))
Hardtanh, Hardswish, Hardsigmoid = (_activation(n, f) for n, f in (
    ("Hardtanh", lm.hard_tanh), ("Hardswish", lm.hard_swish), ("Hardsigmoid", lm.hard_sigmoid)))
Softsign, LogSigmoid = (_activation(n, f) for n, f in (("Softsign", lm.softsign), ("LogSigmoid", lm.log_sigmoid)))
