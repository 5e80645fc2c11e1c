"""What is one training step?  A pure function of state and batch: forward pass, loss, gradients, update."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable

import numpy as np

from ...compiler.core.dtypes import float64
from .. import nn, optim, random, tree
from ..accumulation import accumulate_gradients
from ..array.elementwise import multiply
from ..array.manipulation import expand_dims
from ..array.operands import as_array, cast, dtype_of
from ..array.tracer import trace_error
from ..derivatives import value_and_grad
from ..tree import register

#: loss(model, batch, key) -> value, or (value, model), or (value, model, {"name": scalar}).
Loss = Callable[..., Any]


@register
@dataclass(frozen=True)
class State:
    """All that training changes: the model, the optimizer's state, the key of random numbers, and, where something
    outside of the step lowers it, a factor of the learning rate."""

    model: Any
    optimizer: Any
    key: Any
    scale: Any = None


def start(model, optimizer: optim.Optimizer, key=0, *, trainable: Callable[[str], bool] | None = None) -> State:
    """The state at the beginning, with memory of its own: steps may take it over.

    `key` is a key or a seed. `trainable(name)` says which parameters are trained ("layers.0.weight"), as for
    `nn.partition`; by default all of them.
    """
    key = random.key(key) if isinstance(key, int) else key
    trained, _ = nn.partition(model, trainable)
    state = State(model, optimizer.init(trained), key)
    return tree.map(lambda x: np.array(as_array(x)), state)


def step(loss: Loss, optimizer: optim.Optimizer, *, clip_norm: float | None = None, parts: int = 1,
         trainable: Callable[[str], bool] | None = None) -> Callable[[State, Any], tuple[State, dict]]:
    """The function (state, batch) -> (state, {"loss": value, ...}) to be jitted: `lm.jit(step, donate_argnums=0)`.

    `loss(model, batch, key)` returns its value, or with it the model that holds what the call left (running statistics:
    the second result of nn.apply), or with both a dict of scalars to report. Only the model's parameters are trained
    (floating arrays that are no buffers, of those the ones that `trainable` names). `clip_norm` bounds the global norm
    of the gradients; the norm is reported as "gradient norm". The batch is seen in `parts` equal parts, one after the
    other, for less memory: losses, gradients and what the calls leave are their means. `lm.mixed_precision(loss)`
    computes in 16 bits.
    """
    def train_step(state: State, batch) -> tuple[State, dict]:
        key, own = random.split(state.key)
        trained, rest = nn.partition(state.model, trainable)

        def value_of(trained, batch, keys):
            value, model, scalars = _parts(loss(nn.combine(trained, rest), batch, keys[0]))
            left = rest if model is None else nn.partition(model, trainable)[1]
            return value, tree.map(_averageable, (left, scalars))
        differentiated = value_and_grad(value_of, has_aux=True)
        keys = expand_dims(own, 0)
        if parts > 1:
            differentiated, keys = accumulate_gradients(differentiated, parts), random.split(own, parts)
        (value, (left, scalars)), gradients = differentiated(trained, batch, keys)
        rest = tree.map(lambda new, old: cast(new, dtype_of(old)), left, rest)
        logs = {"loss": value, **scalars}
        if clip_norm is not None:
            gradients, logs["gradient norm"] = optim.clip_by_global_norm(gradients, clip_norm)
        trained, remembered = _scaled(optimizer, state.scale).update(gradients, state.optimizer, trained)
        return State(nn.combine(trained, rest), remembered, key, state.scale), logs
    return train_step


def _scaled(optimizer: optim.Optimizer, scale) -> optim.Optimizer:
    """`optimizer` with its learning rate, a number or a schedule, multiplied by a scalar where there is one."""
    if scale is None:
        return optimizer
    rate = optimizer.learning_rate
    scaled = (lambda count: multiply(rate(count), scale)) if callable(rate) else multiply(rate, scale)
    return replace(optimizer, learning_rate=scaled)


def _averageable(x):
    """An array as floats, of which there are means: whole numbers up to 2^53 stay as they are."""
    x = as_array(x)
    return x if dtype_of(x).is_float else cast(x, float64)


def _parts(result) -> tuple[Any, Any, dict]:
    """(value, model or None, scalars) of what a loss returns."""
    if not isinstance(result, tuple):
        return result, None, {}
    if len(result) not in (2, 3):
        raise trace_error(f"the loss returns a tuple of {len(result)}",
                          hint="return value, (value, model) or (value, model, {name: scalar})")
    value, model, scalars = (*result, {})[:3]
    if not isinstance(scalars, dict):
        raise trace_error(f"the loss's third result is {type(scalars).__name__}, a dict of scalars was expected")
    return value, model, scalars
