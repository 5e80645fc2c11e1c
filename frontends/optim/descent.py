"""Which optimizers follow the gradient, or its sign, with one step size for all elements?"""

from __future__ import annotations

from dataclasses import dataclass

from ..array.elementwise import less_equal, sign, where
from .optimizer import Hyperparameter, Optimizer, is_zero


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent as torch.optim.SGD: momentum b = momentum b + (1 - dampening) g, which is g in the first step.

    `nesterov` follows g + momentum b (Sutskever and others, "On the importance of initialization and momentum in deep
    learning", ICML 2013). `weight_decay` is added to the gradient.
    """

    learning_rate: Hyperparameter = 1e-3
    momentum: Hyperparameter = 0.0
    nesterov: bool = False
    weight_decay: Hyperparameter = 0.0
    dampening: Hyperparameter = 0.0

    def accumulators(self, zero):
        return {} if is_zero(self.momentum) else {"momentum": zero}

    def rule(self, gradient, parameter, accumulators, count):
        if not is_zero(self.weight_decay):
            gradient = gradient + self.weight_decay * parameter
        if is_zero(self.momentum):
            return parameter - self.learning_rate * gradient, {}
        fresh = gradient
        if not is_zero(self.dampening):
            fresh = where(less_equal(count, 1), gradient, (1 - self.dampening) * gradient)
        momentum = self.momentum * accumulators["momentum"] + fresh
        direction = gradient + self.momentum * momentum if self.nesterov else momentum
        return parameter - self.learning_rate * direction, {"momentum": momentum}


@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of a momentum: Chen and others, "Symbolic discovery of optimization algorithms", NeurIPS 2023.

    The step follows sign(beta1 m + (1 - beta1) g), the momentum becomes beta2 m + (1 - beta2) g; weights decay apart
    from the gradient.
    """

    learning_rate: Hyperparameter = 1e-4
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.99
    weight_decay: Hyperparameter = 0.0

    def accumulators(self, zero):
        return {"momentum": zero}

    def rule(self, gradient, parameter, accumulators, count):
        momentum = accumulators["momentum"]
        apart = gradient - momentum
        direction = sign(momentum + (1 - self.beta1) * apart)
        if not is_zero(self.weight_decay):
            direction = direction + self.weight_decay * parameter
        momentum = momentum + (1 - self.beta2) * apart
        return parameter - self.learning_rate * direction, {"momentum": momentum}
