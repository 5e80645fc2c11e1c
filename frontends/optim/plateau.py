"""When does a rate fall because nothing gets better any more?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiler.core.dtypes import float32, int32
from ..array.elementwise import greater, less, logical_or, maximum, where
from ..array.operands import as_array, cast


@dataclass(frozen=True)
class Plateau:
    """A learning rate that is multiplied by `factor` when a watched value has not improved for more than `patience`
    updates, as torch's ReduceLROnPlateau. Pure functions of a state, which trace:

        state = plateau.init()
        state = plateau.update(state, validation_loss)      # once an epoch
        optimizer = lm.optim.Adam(state["learning_rate"])   # inside the step, whose argument the rate is

    Better is lower, or higher where mode is "max", by the part `threshold` of the best. After a fall `cooldown` updates
    do not count; the rate stays at least `minimum`.
    """

    learning_rate: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    mode: str = "min"
    cooldown: int = 0
    minimum: float = 0.0

    def __post_init__(self):
        if self.mode not in ("min", "max"):
            raise ValueError(f"Plateau has no mode {self.mode!r}: min or max")

    def init(self) -> dict:
        """The state at the beginning."""
        worst = np.inf if self.mode == "min" else -np.inf
        return {"learning_rate": np.asarray(self.learning_rate, np.float32), "best": np.asarray(worst, np.float32),
                "bad": np.zeros((), np.int32), "cooling": np.zeros((), np.int32)}

    def update(self, state: dict, value) -> dict:
        """The state after `value`, a scalar, was seen."""
        value, best = cast(as_array(value), float32), state["best"]
        is_better = (less(value, best * (1 - self.threshold)) if self.mode == "min" else
                     greater(value, best * (1 + self.threshold)))
        is_cooling = greater(state["cooling"], 0)
        bad = where(logical_or(is_better, is_cooling), 0, state["bad"] + 1)
        falls = greater(bad, self.patience)
        cooling = where(falls, self.cooldown, maximum(state["cooling"] - 1, 0))
        rate = state["learning_rate"]
        return {"learning_rate": where(falls, maximum(rate * self.factor, self.minimum), rate),
                "best": where(is_better, value, best), "bad": cast(where(falls, 0, bad), int32),
                "cooling": cast(cooling, int32)}
