"""In which order do rows become batches, and how does that go on after an interruption?"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterator

import numpy as np

from ...compiler.core.errors import LaminaError
from .. import random
from .readahead import prefetch
from .sources import arrays


class Batches:
    """Batches of a source, an epoch at each iteration: `for batch in batches`.

    `source` is a tree of arrays or a Source. Where `shuffle`, each epoch has an order of its own, a pure function of
    `seed` and the epoch's number. The last batch of an epoch is smaller, or left out where `drop_last` (a step that is
    compiled for one shape then needs no second compilation). `transform(batch)` or `transform(batch, key)` changes each
    batch, with a key that depends on seed, epoch and batch alone. `ahead` batches are made in advance, on a thread.

    `state()` says which batch comes next; `restore(state)` goes on there: all that follows is the same.
    """

    def __init__(self, source: Any, batch_size: int, *, shuffle: bool = False, seed: int = 0, drop_last: bool = False,
                 transform: Callable | None = None, ahead: int = 2):
        if batch_size < 1:
            raise LaminaError(f"batches of {batch_size} rows")
        self.source = arrays(source)
        self.batch_size, self.shuffle, self.seed, self.drop_last = batch_size, shuffle, seed, drop_last
        self.transform, self.ahead = transform, ahead
        self.takes_key = transform is not None and _takes_key(transform)
        self.epoch = 0
        self.batch = 0  # the next one of this epoch
        self.is_restored = False

    def __len__(self) -> int:
        """How many batches an epoch has."""
        count = len(self.source)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator:
        if self.batch and not self.is_restored:  # the epoch before was left early
            self.epoch, self.batch = self.epoch + 1, 0
        self.is_restored = False
        for batch in prefetch(self._made(self.epoch, self.batch), self.ahead):
            self.batch += 1
            if self.batch == len(self):
                self.epoch, self.batch = self.epoch + 1, 0
            yield batch

    def _made(self, epoch: int, start: int) -> Iterator:
        order_key, transform_key = random.split(random.fold_in(random.key(self.seed), epoch))
        count = len(self.source)
        order = np.asarray(random.permutation(order_key, count)) if self.shuffle else np.arange(count)
        for number in range(start, len(self)):
            batch = self.source.rows(order[number * self.batch_size:(number + 1) * self.batch_size])
            if self.takes_key:
                batch = self.transform(batch, random.fold_in(transform_key, number))
            elif self.transform is not None:
                batch = self.transform(batch)
            yield batch

    def state(self) -> dict[str, int]:
        """The epoch and the number of the batch that comes next."""
        return {"epoch": self.epoch, "batch": self.batch}

    def restore(self, state: dict) -> None:
        """Go on with the batch that `state` names."""
        epoch, batch = int(state["epoch"]), int(state["batch"])
        if epoch < 0 or not 0 <= batch < max(1, len(self)):
            raise LaminaError(f"there is no batch {batch} in an epoch of {len(self)}",
                              hint="the state is that of other data, or of another batch size")
        self.epoch, self.batch, self.is_restored = epoch, batch, True


def _takes_key(transform: Callable) -> bool:
    try:
        parameters = inspect.signature(transform).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(places) >= 2
