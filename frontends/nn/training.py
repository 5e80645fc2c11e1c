"""How is a model applied in training?  By `apply`; called plainly it infers.

One convention for everything that differs: `model(x)` is inference, a pure function of the model and x. `result, model
= nn.apply(model, x, key=key)` is one application in training mode: dropout draws from the key, batch normalization
uses the batch's statistics, and the model that is returned holds the state (running statistics) that the call left.
Nothing is mutated, so both go through every transformation.

A layer that differs in training has a static attribute `training`, False when it is made, and looks at it. It gives
state with `self.record(name=value)` and takes keys from `self.next_key()`.
"""

from __future__ import annotations

from .module import map_modules
from .recording import recording


def apply(model, /, *args, key=None, **kwargs):
    """(model(*args, **kwargs) in training mode, the model with the state that this left).

    `key` is what random layers draw from. The model that is returned is for inference again, and for the next apply.
    """
    active = map_modules(_set_training(True), model)
    with recording(key) as made:
        result = active(*args, **kwargs)

    def updated(module, rebuilt):
        return _set_training(False)(module, rebuilt.replace(**made.updates.get(id(module), {})))
    return result, map_modules(updated, active)


def _set_training(value: bool):
    def change(module, rebuilt):
        return rebuilt.replace(training=value) if hasattr(rebuilt, "training") else rebuilt
    return change
