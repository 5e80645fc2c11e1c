"""Activation functions."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dims import product
from ....compiler import ops
from ... import array as lm
from ...array.operands import as_array, broadcast_arrays, dtype_of
from ...array.tracer import emit
from ..table import Refusal, operator
from .values import axis_of, choice, known, legacy_broadcast


def _at_least(x, low):
    return emit(ops.Max(), *broadcast_arrays(x, as_array(low, dtype_of(x))))


def _at_most(x, high):
    return emit(ops.Min(), *broadcast_arrays(x, as_array(high, dtype_of(x))))


@operator("Relu", ignored=("consumed_inputs",))
def relu(x):
    return _at_least(x, 0)


@operator("LeakyRelu", ignored=("consumed_inputs",))
def leaky_relu(x, *, alpha=0.01):
    return lm.where(x < 0, x * alpha, x)


@operator("PRelu", 7)
def parametric_relu(x, slope):
    return lm.where(x < 0, x * slope, x)


@operator("PRelu", 1, ignored=("consumed_inputs",))
def parametric_relu_1(x, slope):
    return lm.where(x < 0, emit(ops.Mul(), *legacy_broadcast(x, slope, 1)), x)


@operator("ThresholdedRelu", 10)
def thresholded_relu(x, *, alpha=1.0):
    return lm.where(x > alpha, x, lm.zeros_like(x))


@operator("Elu", ignored=("consumed_inputs",))
def elu(x, *, alpha=1.0):
    return lm.where(x < 0, lm.expm1(x) * alpha, x)


@operator("Celu", 12)
def celu(x, *, alpha=1.0):
    return _at_least(x, 0) + _at_most(lm.expm1(x / alpha) * alpha, 0)


@operator("Selu", 6)
def selu(x, *, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875):
    return lm.where(x > 0, x, lm.expm1(x) * alpha) * gamma


@operator("Selu", 1, ignored=("consumed_inputs",))
def selu_1(x, *, alpha=1.6732, gamma=1.0507):
    return selu(x, alpha=alpha, gamma=gamma)


@operator("Gelu", 20)
def gelu(x, *, approximate="none"):
    return lm.gelu(x, approximate=choice(approximate, ("none", "tanh"), "approximate") == "tanh")


@operator("HardSigmoid", ignored=("consumed_inputs",))
def hard_sigmoid(x, *, alpha=0.2, beta=0.5):
    return _at_most(_at_least(x * alpha + beta, 0), 1)


@operator("HardSwish", 14)
def hard_swish(x):
    return x * hard_sigmoid(x, alpha=1 / 6, beta=0.5)


@operator("Softplus")
def softplus(x):
    return _at_least(x, 0) + lm.log1p(lm.exp(-lm.abs(x)))


@operator("Softsign")
def softsign(x):
    return x / (lm.abs(x) + 1.0)


@operator("Mish", 18)
def mish(x):
    return x * lm.tanh(softplus(x))


@operator("Swish", 24)
def swish(x, *, alpha=1.0):
    return x * emit(ops.Sigmoid(), x if alpha == 1.0 else x * alpha)


@operator("SwiGLU", 28)
def swiglu(gate, x, *, alpha=1.0):
    return swish(gate, alpha=alpha) * x


@operator("Shrink", 9)
def shrink(x, *, bias=0.0, lambd=0.5):
    dtype = dtype_of(x)
    shift = as_array(bias, dtype) if dtype.is_float else np.asarray(bias).astype(dtype.numpy)
    zero = as_array(0, dtype)
    return lm.where(x < -lambd, x + shift, lm.where(x > lambd, x - shift, zero))


@operator("Softmax", 13)
def softmax(x, *, axis=-1):
    return lm.softmax(x, axis=axis_of(axis, x))


@operator("LogSoftmax", 13)
def log_softmax(x, *, axis=-1):
    return lm.log_softmax(x, axis=axis_of(axis, x))


def _as_matrix(function):
    """`function` over all axes from `axis` on at once, as before opset 13."""
    def whole(x, *, axis=1):
        axis = axis if axis == len(x.shape) else axis_of(axis, x)
        if axis == len(x.shape) - 1:
            return function(x, axis=-1)
        rows, columns = product(x.shape[:axis]), product(x.shape[axis:])
        return lm.reshape(function(lm.reshape(x, (rows, columns)), axis=-1), x.shape)
    return whole


@operator("Hardmax", 13)
def hardmax(x, *, axis=-1):
    """1 at the first maximum along `axis`, 0 elsewhere."""
    axis = axis_of(axis, x)
    best = lm.expand_dims(lm.argmax(x, axis=axis), axis)
    ramp = lm.reshape(lm.arange(x.shape[axis]), [-1 if i == axis else 1 for i in range(len(x.shape))])
    return lm.astype(best == ramp, dtype_of(x))


operator("Softmax", 1)(_as_matrix(softmax))
operator("LogSoftmax", 1)(_as_matrix(log_softmax))
operator("Hardmax", 1)(_as_matrix(hardmax))


@operator("Dropout", 12, ignored=("seed",))
def dropout(x, ratio=None, training_mode=None):
    """The identity: of inference."""
    is_training = training_mode is not None and known(training_mode, "training_mode").any()
    if is_training and (ratio is None or known(ratio, "ratio") != 0):
        raise Refusal("training_mode draws random numbers; export the model for inference")
    return x, lm.ones(x.shape, dtype=bool)


@operator("Dropout", 1, ignored=("consumed_inputs", "ratio"))
def dropout_1(x, *, is_test=1):
    return x, lm.ones(x.shape, dtype=bool if is_test else dtype_of(x))
