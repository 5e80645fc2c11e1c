"""Which optimizers scale each element's step by the size of the gradients that it has seen?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...compiler.core.dims import product
from ..array.data_types import finfo
from ..array.elementwise import (divide, expm1, greater, log, logical_and, maximum, minimum, negative, power, rsqrt,
                                 sqrt, where)
from ..array.linear_algebra import matmul
from ..array.operands import dtype_of
from ..array.reduction import mean, sum
from .optimizer import Hyperparameter, Optimizer, is_zero


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Duchi, Hazan, Singer, "Adaptive subgradient methods", JMLR 12 (2011): divides by the root of the sum of squares.

    As torch.optim.Adagrad: the rate falls to learning_rate / (1 + rate_decay (count - 1)).
    """

    learning_rate: Hyperparameter = 1e-2
    rate_decay: Hyperparameter = 0.0
    weight_decay: Hyperparameter = 0.0
    initial_accumulator: float = 0.0
    epsilon: Hyperparameter = 1e-10

    def accumulators(self, zero):
        return {"sum": zero + self.initial_accumulator}

    def rule(self, gradient, parameter, accumulators, count):
        if not is_zero(self.weight_decay):
            gradient = gradient + self.weight_decay * parameter
        rate = self.learning_rate
        if not is_zero(self.rate_decay):
            rate = rate / (1 + (count - 1) * self.rate_decay)
        total = accumulators["sum"] + gradient * gradient
        return parameter - rate * (gradient / (sqrt(total) + self.epsilon)), {"sum": total}


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """Tieleman, Hinton, "Lecture 6.5: RMSProp", 2012: divides by the root of a moving average of squares.

    As torch.optim.RMSprop: `centered` subtracts the square of the gradient's moving average (Graves, "Generating
    sequences with recurrent neural networks", 2013), `momentum` follows a sum of steps.
    """

    learning_rate: Hyperparameter = 1e-2
    alpha: Hyperparameter = 0.99
    epsilon: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    momentum: Hyperparameter = 0.0
    centered: bool = False

    def accumulators(self, zero):
        return {"square": zero, **({"average": zero} if self.centered else {}),
                **({} if is_zero(self.momentum) else {"momentum": zero})}

    def rule(self, gradient, parameter, accumulators, count):
        if not is_zero(self.weight_decay):
            gradient = gradient + self.weight_decay * parameter
        kept = {"square": self.alpha * accumulators["square"] + (1 - self.alpha) * gradient * gradient}
        size = kept["square"]
        if self.centered:
            kept["average"] = self.alpha * accumulators["average"] + (1 - self.alpha) * gradient
            size = maximum(size - kept["average"] * kept["average"], 0)  # rounding may leave less than nothing
        step = gradient / (sqrt(size) + self.epsilon)
        if not is_zero(self.momentum):
            kept["momentum"] = step = self.momentum * accumulators["momentum"] + step
        return parameter - self.learning_rate * step, kept


@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma, Ba, "Adam: A method for stochastic optimization", ICLR 2015, as torch.optim.Adam.

    `weight_decay` is added to the gradient; `amsgrad` divides by the largest second moment so far (Reddi, Kale, Kumar,
    "On the convergence of Adam and beyond", ICLR 2018).
    """

    learning_rate: Hyperparameter = 1e-3
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    epsilon: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    amsgrad: bool = False

    def accumulators(self, zero):
        return {"first": zero, "second": zero, **({"largest": zero} if self.amsgrad else {})}

    def rule(self, gradient, parameter, accumulators, count):
        if not is_zero(self.weight_decay):
            gradient = gradient + self.weight_decay * parameter
        return self.step(gradient, parameter, accumulators, count)

    def step(self, gradient, parameter, accumulators, count):
        """The update without weight decay."""
        kept, size = self.moments(gradient, accumulators)
        if self.amsgrad:
            kept["largest"] = size = maximum(accumulators["largest"], size)
        rate = self.learning_rate / remaining(self.beta1, count)
        scale = sqrt(size) / sqrt(remaining(self.beta2, count)) + self.epsilon
        return parameter - rate * (kept["first"] / scale), kept

    def moments(self, gradient, accumulators):
        """The moving averages of the gradient and of its square."""
        first = self.beta1 * accumulators["first"] + (1 - self.beta1) * gradient
        second = self.beta2 * accumulators["second"] + (1 - self.beta2) * gradient * gradient
        return {"first": first, "second": second}, second


def remaining(beta, count):
    """1 - beta^count, precise where beta is nearly 1: what an average that began at 0 reached after `count` steps."""
    if type(beta) in (int, float):
        return negative(expm1(count * math.log(beta))) if beta > 0 else count * 0 + 1
    return negative(expm1(count * log(beta)))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weights that decay apart from the gradient: Loshchilov, Hutter, "Decoupled weight decay
    regularization", ICLR 2019, as torch.optim.AdamW."""

    weight_decay: Hyperparameter = 1e-2

    def rule(self, gradient, parameter, accumulators, count):
        if not is_zero(self.weight_decay):
            parameter = parameter * (1 - self.learning_rate * self.weight_decay)
        return self.step(gradient, parameter, accumulators, count)


@dataclass(frozen=True)
class LAMB(Adam):
    """Adam whose step has, for each parameter, the parameter's own length: You and others, "Large batch optimization
    for deep learning: training BERT in 76 minutes", ICLR 2020. Weights decay within the step."""

    epsilon: Hyperparameter = 1e-6

    def rule(self, gradient, parameter, accumulators, count):
        kept, size = self.moments(gradient, accumulators)
        if self.amsgrad:
            kept["largest"] = size = maximum(accumulators["largest"], size)
        step = (kept["first"] / remaining(self.beta1, count)
                / (sqrt(size / remaining(self.beta2, count)) + self.epsilon))
        if not is_zero(self.weight_decay):
            step = step + self.weight_decay * parameter
        own, length = sqrt(sum(parameter * parameter)), sqrt(sum(step * step))
        has_both = logical_and(greater(own, 0), greater(length, 0))
        trust = where(has_both, own / where(has_both, length, 1), 1)
        return parameter - self.learning_rate * trust * step, kept


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Shazeer, Stern, "Adafactor: Adaptive learning rates with sublinear memory cost", ICML 2018: second moments of
    matrices as a row and a column. As torch.optim.Adafactor.

    The step is at most min(learning_rate, 1 / sqrt(count)) times the parameter's root mean square (or `smallest`), its
    own root mean square at most `clipping`; averages weigh the newest square with count^decay. `epsilon` is by default
    that of the dtype.
    """

    learning_rate: Hyperparameter = 1e-2
    decay: Hyperparameter = -0.8
    epsilon: Hyperparameter | None = None
    smallest: Hyperparameter = 1e-3
    clipping: Hyperparameter = 1.0
    weight_decay: Hyperparameter = 0.0

    def accumulators(self, zero):
        if len(zero.shape) < 2:
            return {"square": zero}
        return {"row": sum(zero, axis=-1, keepdims=True), "column": sum(zero, axis=-2, keepdims=True)}

    def rule(self, gradient, parameter, accumulators, count):
        epsilon = float(finfo(dtype_of(parameter)).eps) if self.epsilon is None else self.epsilon
        newest = power(count, self.decay)
        rate = minimum(self.learning_rate, rsqrt(count)) * maximum(_root_mean_square(parameter), self.smallest)
        if not is_zero(self.weight_decay):
            parameter = parameter * (1 - self.learning_rate * self.weight_decay)
        square = gradient * gradient
        kept = {name: accumulators[name] + newest * (fresh - accumulators[name]) for name, fresh in (
            (("square", square),) if len(parameter.shape) < 2 else
            (("row", mean(square, axis=-1, keepdims=True)), ("column", mean(square, axis=-2, keepdims=True))))}
        if "square" in kept:
            variance = kept["square"]
        else:
            whole = maximum(mean(kept["row"], axis=-2, keepdims=True), epsilon)
            variance = divide(matmul(kept["row"], kept["column"]), whole)
        step = gradient * rsqrt(maximum(variance, epsilon * epsilon))
        step = step / maximum(_root_mean_square(step) / self.clipping, 1)
        return parameter - rate * step, kept


def _root_mean_square(x):
    return sqrt(sum(x * x)) / math.sqrt(max(1, product(x.shape)))
