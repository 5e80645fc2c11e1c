"""How do gradients change parameters?  Optimizers are frozen objects, and what they remember is a tree of arrays.

The one convention:

    optimizer = lm.optim.AdamW(learning_rate=1e-3)
    state = optimizer.init(params)
    params, state = optimizer.update(grads, state, params)

`update` is a pure function of trees: it traces, so that a whole training step is one program. See `Optimizer`.
"""

from . import schedules
from .adaptive import LAMB, AdaGrad, Adafactor, Adam, AdamW, RMSProp
from .clipping import clip_by_global_norm, clip_by_value, global_norm
from .descent import SGD, Lion
from .optimizer import Optimizer
from .plateau import Plateau

__all__ = ["LAMB", "SGD", "AdaGrad", "Adafactor", "Adam", "AdamW", "Lion", "Optimizer", "Plateau", "RMSProp",
           "clip_by_global_norm", "clip_by_value", "global_norm", "schedules"]
