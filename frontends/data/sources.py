"""What can batches be taken from?  A Source: rows by number, as trees of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from ...compiler.core.errors import ShapeError
from .. import random, tree


class Source:
    """Rows by number. A subclass says `__len__` and `rows`; source[3] is a row, source[[3, 5]] and source[:9] rows."""

    def __len__(self) -> int:
        raise NotImplementedError

    def rows(self, numbers: np.ndarray) -> Any:
        """The rows with these numbers (int64, from 0) as a tree of arrays, stacked along a leading axis."""
        raise NotImplementedError

    def __getitem__(self, index) -> Any:
        numbers = np.arange(len(self))[index]
        found = self.rows(np.atleast_1d(numbers))
        return tree.map(lambda x: x[0], found) if numbers.ndim == 0 else found

    def take(self, numbers) -> "Source":
        """The source of the rows with these numbers, in this order."""
        return _Taken(self, np.arange(len(self))[np.asarray(numbers)])

    def map(self, function: Callable[[Any], Any]) -> "Source":
        """The source of function(rows): a function of whole batches."""
        return _Mapped(self, function)


@dataclass(repr=False)
class _Arrays(Source):
    tree: Any
    count: int

    def __len__(self):
        return self.count

    def rows(self, numbers):
        return tree.map(lambda x: native(_rows_of(x, numbers)), self.tree)


def _rows_of(x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """x[numbers] as a new array; a run of numbers is read in one piece."""
    if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all():
        return np.array(x[numbers[0]:numbers[-1] + 1])
    return np.asarray(x[numbers])


def native(x: np.ndarray) -> np.ndarray:
    """`x` in this machine's byte order."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


@dataclass(repr=False)
class _Taken(Source):
    source: Source
    numbers: np.ndarray

    def __len__(self):
        return len(self.numbers)

    def rows(self, numbers):
        return self.source.rows(self.numbers[numbers])

    def take(self, numbers):
        return _Taken(self.source, self.numbers[np.asarray(numbers)])


@dataclass(repr=False)
class _Mapped(Source):
    source: Source
    function: Callable

    def __len__(self):
        return len(self.source)

    def rows(self, numbers):
        return self.function(self.source.rows(numbers))


@dataclass(repr=False)
class _Concatenated(Source):
    sources: list[Source]

    def __post_init__(self):
        self.ends = np.cumsum([len(s) for s in self.sources])

    def __len__(self):
        return int(self.ends[-1])

    def rows(self, numbers):
        which = np.searchsorted(self.ends, numbers, side="right")
        parts, places = [], []
        for i in np.unique(which) if len(which) else [0]:
            own = np.flatnonzero(which == i)
            start = self.ends[i - 1] if i else 0
            parts.append(self.sources[i].rows(numbers[own] - start))
            places.append(own)
        order = np.argsort(np.concatenate(places), kind="stable")
        return tree.map(lambda *xs: np.concatenate(xs)[order], *parts)


@dataclass(repr=False)
class _Windows(Source):
    sequence: np.ndarray
    length: int
    stride: int

    def __len__(self):
        return max(0, (len(self.sequence) - self.length) // self.stride + 1)

    def rows(self, numbers):
        if not len(numbers):
            return native(np.zeros((0, self.length, *self.sequence.shape[1:]), self.sequence.dtype))
        views = np.lib.stride_tricks.sliding_window_view(self.sequence, self.length, axis=0)
        return native(np.moveaxis(views[numbers * self.stride], -1, 1))


# ---- making them -----------------------------------------------------------------------------------------------------
def arrays(rows: Any) -> Source:
    """The source of a tree of arrays whose leading extents are one number: a row has an entry of each."""
    if isinstance(rows, Source):
        return rows
    kept = tree.map(lambda x: x if isinstance(x, np.ndarray) else np.asarray(x), rows)
    found, structure = tree.flatten(kept)
    lengths = {f"rows{path}": x.shape[0] if x.ndim else None for path, x in zip(tree.paths(structure), found)}
    if not found or len(set(lengths.values())) > 1 or None in lengths.values():
        listed = ", ".join(f"{path} has {'no axis' if n is None else n}" for path, n in lengths.items())
        raise ShapeError("the arrays of a source have one leading extent: " + (listed or "there are none"))
    return _Arrays(kept, found[0].shape[0])


def concatenate(sources: Sequence[Any]) -> Source:
    """The rows of several sources, one after the other."""
    found = [arrays(s) for s in sources]
    if not found:
        raise ShapeError("no sources to concatenate")
    return _Concatenated(found)


def windows(sequence: np.ndarray, length: int, stride: int = 1) -> Source:
    """Stretches [length, ...] of a sequence [n, ...] (memory-mapped, maybe), one every `stride` entries."""
    if length < 1 or stride < 1:
        raise ShapeError(f"windows of length {length}, one every {stride}: both are at least 1")
    return _Windows(np.asanyarray(sequence), length, stride)


def split(rows: Any, parts: Sequence[float], seed: int | None = None) -> list[Source]:
    """Sources of `parts`: fractions that sum to 1 at most, or numbers of rows; in random order where `seed` is given.

    With fractions that sum to 1 every row is in one part.
    """
    source = arrays(rows)
    count = len(source)
    if all(isinstance(p, (int, np.integer)) for p in parts) and sum(parts) > 1:
        ends = np.cumsum(parts)
    else:
        ends = [round(math.fsum(parts[:i + 1]) * count) for i in range(len(parts))]
    if min(parts, default=0) < 0 or len(parts) == 0 or ends[-1] > count:
        raise ShapeError(f"{count} rows can't be split into {list(parts)}")
    order = np.arange(count) if seed is None else np.asarray(random.permutation(random.key(seed), count))
    return [source.take(order[start:end]) for start, end in zip([0, *ends[:-1]], ends)]


def folds(rows: Any, count: int, seed: int | None = None) -> list[tuple[Source, Source]]:
    """For cross-validation: `count` pairs of (the rest, one part), whose parts hold every row once."""
    source = arrays(rows)
    if not 2 <= count <= len(source):
        raise ShapeError(f"{count} folds of {len(source)} rows")
    order = np.arange(len(source)) if seed is None else np.asarray(random.permutation(random.key(seed), len(source)))
    parts = np.array_split(order, count)
    return [(source.take(np.concatenate(parts[:i] + parts[i + 1:])), source.take(parts[i])) for i in range(count)]
