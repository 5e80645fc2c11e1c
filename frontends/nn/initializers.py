"""With which values does a parameter begin?  Initializers: functions (key, shape, dtype) -> array.

Fans are counted for PyTorch's layouts, [out, in, *window]: an input's fan is in * window, an output's out * window.
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

import numpy as np

from .. import array as lm
from .. import random
from ..array.operands import Array
from ..array.tracer import shape_error, trace_error

Initializer = Callable[[Array, Sequence[int], object], Array]

#: What keeps the variance of a signal through an activation (the derivations are those of He and others, 2015).
GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(inputs of an output, outputs of an input) of weights [out, in, *window]."""
    if len(shape) < 2:
        raise shape_error(f"weights of shape {list(shape)} have no fan: rank 2 or more was expected")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def gain(activation: str, parameter: float | None = None) -> float:
    """The factor for an activation: "linear", "sigmoid", "tanh", "relu", "selu", or "leaky_relu" of a slope."""
    if activation == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if parameter is None else parameter) ** 2))
    if activation not in GAINS:
        raise trace_error(f"no gain is known for {activation!r}", hint=", ".join([*GAINS, "leaky_relu"]))
    return GAINS[activation]


def constant(value: float) -> Initializer:
    """All elements are `value`."""
    return lambda key, shape, dtype="float32": lm.full(shape, value, dtype)


zeros, ones = constant(0.0), constant(1.0)


def uniform(low: float = 0.0, high: float = 1.0) -> Initializer:
    """Uniform in [low, high)."""
    return lambda key, shape, dtype="float32": random.uniform(key, shape, dtype, low, high)


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    """Normal."""
    return lambda key, shape, dtype="float32": lm.add(lm.multiply(random.normal(key, shape, dtype), std), mean)


def truncated_normal(mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0) -> Initializer:
    """Normal within [low, high], which are numbers, not multiples of `std` (as in PyTorch)."""
    def draw(key, shape, dtype="float32"):
        inner = random.truncated_normal(key, (low - mean) / std, (high - mean) / std, shape, dtype)
        return lm.add(lm.multiply(inner, std), mean)
    return draw


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform with variance 2 gain^2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    def draw(key, shape, dtype="float32"):
        bound = gain * math.sqrt(6 / max(1, sum(fans(shape))))
        return random.uniform(key, shape, dtype, -bound, bound)
    return draw


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Normal with variance 2 gain^2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    return lambda key, shape, dtype="float32": normal(0.0, gain * math.sqrt(2 / max(1, sum(fans(shape)))))(
        key, shape, dtype)


def kaiming_uniform(activation: str = "relu", slope: float | None = None, mode: str = "fan_in") -> Initializer:
    """Uniform with variance gain^2 / fan (He and others, 2015); `mode` is "fan_in" or "fan_out"."""
    def draw(key, shape, dtype="float32"):
        bound = math.sqrt(3) * _deviation(shape, activation, slope, mode)
        return random.uniform(key, shape, dtype, -bound, bound)
    return draw


def kaiming_normal(activation: str = "relu", slope: float | None = None, mode: str = "fan_in") -> Initializer:
    """Normal with variance gain^2 / fan (He and others, 2015); `mode` is "fan_in" or "fan_out"."""
    return lambda key, shape, dtype="float32": normal(0.0, _deviation(shape, activation, slope, mode))(
        key, shape, dtype)


def _deviation(shape: Sequence[int], activation: str, slope: float | None, mode: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise trace_error(f"there is no mode {mode!r}", hint="fan_in, fan_out")
    return gain(activation, slope) / math.sqrt(max(1, fans(shape)[mode == "fan_out"]))


def fan_in_uniform(key, shape, dtype="float32") -> Array:
    """Uniform within 1 / sqrt(fan in): what PyTorch's linear and convolution layers begin with."""
    return uniform_bound(fans(shape)[0])(key, shape, dtype)


def uniform_bound(fan: int) -> Initializer:
    """Uniform within 1 / sqrt(fan)."""
    bound = 1 / math.sqrt(fan) if fan > 0 else 0.0
    return uniform(-bound, bound)


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows (or columns, where there are more rows) that are orthonormal, times `gain` (Saxe and others, 2014).

    The matrix is drawn and factored at once, so the key must be known: not inside of a traced function.
    """
    def draw(key, shape, dtype="float32"):
        rows, columns = shape[0], math.prod(shape[1:])
        drawn = random.normal(key, (max(rows, columns), min(rows, columns)), "float32")
        if not isinstance(drawn, np.ndarray):
            raise trace_error("orthogonal draws inside of a traced function", hint="make the module outside of it")
        q, r = np.linalg.qr(drawn.astype(np.float64))
        q = q * np.sign(np.diagonal(r))  # the distribution is uniform only with these signs (Mezzadri, 2007)
        return lm.astype((gain * (q if rows >= columns else q.T)).reshape(shape), dtype)
    return draw


def identity(key, shape, dtype="float32") -> Array:
    """The identity matrix, for square or longish weights."""
    return lm.eye(shape[0], shape[1], dtype=dtype)


def dirac(key, shape, dtype="float32") -> Array:
    """A convolution's weights [out, in, *window] that pass channel i on as channel i: 1 in the middle of the window."""
    weights = np.zeros(shape, np.float32)
    middle = tuple(extent // 2 for extent in shape[2:])
    for i in range(min(shape[:2])):
        weights[(i, i, *middle)] = 1
    return lm.astype(weights, dtype)


# Glorot's and He's names for the same
glorot_uniform, glorot_normal, he_uniform, he_normal = xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal
