"""How are rows of text files found?  Where lines begin is noted once, and a line is parsed when it is used."""

from __future__ import annotations

import csv as csv_format
from typing import Any, Mapping, Sequence

import numpy as np

from ...compiler.core.dtypes import as_dtype, float32
from ...compiler.core.errors import FormatError, LaminaError
from .. import tree
from .files import _bytes, existing
from .sources import Source, windows

CHUNK = 1 << 24  # bytes that are looked through at once for the ends of lines
_NEWLINE = 10


def text(path, length: int, stride: int | None = None) -> Source:
    """Stretches of `length` bytes of a file as int32[length], one every `stride` (by default `length` - 1, so that the
    last byte of each, which is only predicted, begins the next one)."""
    return windows(_bytes(existing(path)), length, stride or max(1, length - 1)).map(lambda x: x.astype(np.int32))


def csv(path, columns: Sequence[str | int] | Mapping[str, Any] | None = None, *, delimiter: str = ",",
        header: bool = True, dtype=float32) -> Source:
    """Rows of numbers of a CSV file: [n, columns], of all columns, or of those named (or numbered from 0) in `columns`.

    A dict of names gives a dict: {"x": ["height", "width"], "y": "price"}, where a single name gives [n]. An empty
    field is NaN. FormatError: a field is no number, or a row is too short; it names the row.
    """
    return _Csv(existing(path), columns, delimiter, header, as_dtype(dtype).numpy)


class _Csv(Source):
    def __init__(self, path, columns, delimiter: str, header: bool, dtype: np.dtype):
        self.path, self.delimiter, self.dtype = path, delimiter, dtype
        self.raw = _bytes(path)
        self.starts, self.ends = _lines(self.raw)
        self.first = int(header)
        if len(self.starts) < self.first:
            raise FormatError(f"{path} has no line of names", hint="header=False reads files without one")
        names = self._fields(0) if len(self.starts) else []
        self.columns = columns if columns is not None else list(range(len(names)))
        if isinstance(self.columns, (str, int)):
            raise LaminaError(f"the columns of {path} are {self.columns!r}", hint="give a list, or a dict")
        self.places = tree.map(lambda c: self._place(c, names if header else None, len(names)), self.columns)

    def _place(self, column, names, count: int) -> int:
        if isinstance(column, int) and 0 <= column < count:
            return column
        if names is None or column not in names:
            there = f"{count} columns" if names is None else ", ".join(map(repr, names))
            raise LaminaError(f"{self.path} has no column {column!r}", hint=f"it has {there}")
        return names.index(column)

    def __len__(self):
        return len(self.starts) - self.first

    def _fields(self, line: int) -> list[str]:
        content = self.raw[self.starts[line]:self.ends[line]].tobytes().decode("utf-8-sig" if line == 0 else "utf-8")
        if content.count('"') % 2:
            raise FormatError(f"{self.path}, row {line + 1}: a quotation is not closed",
                              hint="fields that hold line breaks are not read")
        return next(csv_format.reader([content], delimiter=self.delimiter), [])

    def rows(self, numbers):
        fields = [self._fields(int(n) + self.first) for n in numbers]
        columns = {i: self._column(i, fields, numbers) for i in tree.leaves(self.places)}
        def stacked(place):
            if isinstance(place, int):
                return columns[place]
            return np.stack([columns[i] for i in place], axis=1)
        if isinstance(self.places, Mapping):
            return {name: stacked(place) for name, place in self.places.items()}
        return stacked(self.places)

    def _column(self, i: int, rows: list[list[str]], numbers) -> np.ndarray:
        column = np.empty(len(rows), self.dtype)
        for k, fields in enumerate(rows):
            try:
                column[k] = fields[i].strip() or "nan"
            except IndexError:
                raise FormatError(f"{self.path}, row {numbers[k] + self.first + 1}: it has {len(fields)} fields, and "
                                  f"field {i + 1} is asked for") from None
            except ValueError:
                raise FormatError(f"{self.path}, row {numbers[k] + self.first + 1}: field {i + 1} is "
                                  f"{fields[i]!r}, a number was expected") from None
        return column


def _lines(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the lines that are not empty begin and end."""
    breaks = [start + np.flatnonzero(raw[start:start + CHUNK] == _NEWLINE) for start in range(0, len(raw), CHUNK)]
    ends = np.concatenate([*breaks, [len(raw)]]).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    has_return = (ends > starts) & (raw[np.maximum(ends - 1, 0)] == 13) if len(raw) else np.zeros(len(ends), bool)
    ends = ends - has_return
    return starts[ends > starts], ends[ends > starts]
