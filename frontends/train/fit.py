"""How does a whole training run go?  Epochs of steps, each one program; validation, early stopping, checkpoints."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Iterable

import numpy as np

from ...compiler.core.errors import LaminaError
from ...compiler.core.options import Options
from .. import tree
from ..data import Batches
from ..jit import jit
from ..optim import Optimizer, Plateau
from .checkpoint import load_checkpoint, save_checkpoint
from .progress import ProgressBar
from .state import Loss, State, start, step

#: The values of each epoch by name: {"loss": [0.7, 0.4], "validation.accuracy": [0.8, 0.9]}.
History = dict[str, list]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the history's entry `monitor` has not become better by more than `change` for `patience` epochs.

    Better is lower, or higher where mode is "max". The result is the best epoch's model, unless not `keeps_best`.
    """

    monitor: str = "validation.loss"
    patience: int = 5
    mode: str = "min"
    change: float = 0.0
    keeps_best: bool = True

    def __post_init__(self):
        if self.mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping has no mode {self.mode!r}: min or max")

    def best_epoch(self, history: History) -> int:
        """The number of the best epoch so far; LaminaError where the history has no such entry."""
        values = _entry(history, self.monitor, "early stopping")
        best = 0
        for i, value in enumerate(values):
            gain = values[best] - value if self.mode == "min" else value - values[best]
            if gain > self.change or math.isnan(values[best]):
                best = i
        return best


@dataclass
class Result:
    """What `fit` reached: the model, the whole state of the last step, and the history by epoch."""

    model: Any
    state: State
    history: History = field(repr=False)

    @property
    def epochs(self) -> int:
        """How many epochs are done, those before a checkpoint among them."""
        return len(self.history.get("loss", ()))


@dataclass
class _Run:
    """Where a run is: what a checkpoint holds beside the arrays."""

    epoch: int = 0
    batch: int = 0  # how many batches of this epoch are done
    sums: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=dict)


def fit(loss: Loss, model, optimizer: Optimizer, batches: Iterable, *, epochs: int, key=0,
        validation: Callable[[Any], dict] | None = None, early_stopping: EarlyStopping | None = None,
        plateau: Plateau | None = None, monitor: str = "loss", clip_norm: float | None = None,
        parts: int = 1, trainable: Callable[[str], bool] | None = None, checkpoint=None,
        checkpoint_every: int | None = None, resume: bool = True, progress: bool | None = None,
        options: Options | None = None,
        on_epoch: Callable[[int, dict], Any] | None = None) -> Result:
    """Train `model` by `loss(model, batch, key)` over `epochs` passes through `batches`; see `step` for `clip_norm`,
    `parts` and `trainable`.

    `batches` is a `lm.data.Batches`, or what can be iterated over once an epoch. `key` is a key or a seed. After each
    epoch the history gets the mean of everything that the steps report and, as "validation.NAME", what
    `validation(model)` gives (an `Evaluation`, or your function). `plateau` lowers the rate by its factor of the
    optimizer's own when the history's entry `monitor` does not get better. `on_epoch(epoch, values)` is called last.

    `checkpoint` is a file that holds all there is to go on after each epoch, and after each `checkpoint_every` batches:
    a run that is started anew with it continues, and ends with the same bits. `options` are those that the step is
    compiled with. LaminaError where the loss is not finite.
    """
    state = start(model, optimizer, key, trainable=trainable)
    run, keeps_best = _Run(), early_stopping is not None and early_stopping.keeps_best
    best = tree.map(np.array, state.model) if keeps_best else None
    falling = plateau.init() if plateau is not None else None
    state = replace(state, scale=np.ones((), np.float32)) if plateau is not None else state
    position = batches if isinstance(batches, Batches) else None
    if checkpoint_every is not None and position is None:
        raise LaminaError("checkpoints within an epoch need batches that can go on where they were left",
                          hint="lm.data.Batches can; without checkpoint_every epochs are saved")
    first_epoch = position.epoch if position is not None else 0
    if checkpoint is not None and resume and os.path.exists(checkpoint):
        (state, best, falling), saved = load_checkpoint(checkpoint, (state, best, falling))
        run, first_epoch = _Run(**saved["run"]), saved["first_epoch"]
        if saved["batches"] != _length(batches):
            raise LaminaError(f"the checkpoint {checkpoint} was written with {saved['batches']} batches an epoch, and "
                              f"there are {_length(batches)}", hint="go on with the same data and batch size")
        if position is not None:
            position.restore({"epoch": first_epoch + run.epoch, "batch": run.batch})

    def save() -> None:
        if checkpoint is not None:
            save_checkpoint(checkpoint, (state, best, falling),
                            {"run": vars(run), "first_epoch": first_epoch, "batches": _length(batches)})
    train_step = jit(step(loss, optimizer, clip_norm=clip_norm, parts=parts, trainable=trainable),
                     donate_argnums=0, options=options)
    with ProgressBar(epochs, progress) as bar:
        while run.epoch < epochs and not _is_over(early_stopping, run.history):
            for batch in batches:
                state, logs = train_step(state, batch)
                run.batch += 1
                _add(run, logs)
                bar.update(run.epoch, run.batch, _length(batches), run.sums["loss"] / run.batch)
                if checkpoint_every is not None and run.batch % checkpoint_every == 0 and run.batch < len(batches):
                    save()
            if not run.batch:
                raise LaminaError("there are no batches to train on", hint="an iterator is used up after one epoch; "
                                                                           "give a list or lm.data.Batches")
            values = _end_epoch(run, state, validation)
            if keeps_best and early_stopping.best_epoch(run.history) == run.epoch - 1:
                best = tree.map(np.array, state.model)
            if plateau is not None:
                falling = plateau.update(falling, _entry(run.history, monitor, "the plateau")[-1])
                scale = falling["learning_rate"] / np.float32(plateau.learning_rate)
                state = replace(state, scale=np.asarray(scale, np.float32))
            save()
            bar.finish_epoch(run.epoch - 1, values)
            if on_epoch is not None:
                on_epoch(run.epoch - 1, values)
    return Result(best if keeps_best else state.model, state, run.history)


def _add(run: _Run, logs: dict) -> None:
    values = {name: float(value) for name, value in logs.items()}
    if not math.isfinite(values["loss"]):
        raise LaminaError(f"the loss is {values['loss']} in epoch {run.epoch + 1}, batch {run.batch}",
                          hint="a lower learning rate, clip_norm= or another initialization may help; a checkpoint "
                               "holds the state before. options=lm.Options(check_nans=True) names where a NaN is born")
    for name, value in values.items():
        run.sums[name] = run.sums.get(name, 0.0) + value


def _end_epoch(run: _Run, state: State, validation) -> dict:
    """Close the epoch: its values, which the history gets."""
    values = {name: total / run.batch for name, total in run.sums.items()}
    if validation is not None:
        values |= {f"validation.{name}": _plain(value) for name, value in validation(state.model).items()}
    for name, value in values.items():
        run.history.setdefault(name, []).append(value)
    run.epoch, run.batch, run.sums = run.epoch + 1, 0, {}
    return values


def _plain(value):
    """A value as JSON takes it."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array.tolist()


def _is_over(stopping: EarlyStopping | None, history: History) -> bool:
    if stopping is None or not history:
        return False
    return len(history["loss"]) - 1 - stopping.best_epoch(history) >= stopping.patience


def _entry(history: History, name: str, who: str) -> list:
    if name not in history:
        raise LaminaError(f"{who} watches {name!r}, which the history does not have",
                          hint="it has " + ", ".join(map(repr, history)))
    return history[name]


def _length(batches) -> int | None:
    return len(batches) if hasattr(batches, "__len__") else None
