"""Which parts of a report belong together?  Marks: names that everything about one value, line of the user or kernel
carries.

A value has a mark of its own (v0, v1 ...) and one that it shares with the values of the same operator and origin in
other stages (w0 ...); an origin, which is a node of the model or a line of the user's code, is l0 ...; a kernel of the
program is k0 ....
"""

from __future__ import annotations

import re


class Numbers(dict):
    """A number for each key, in order of first use."""

    def __missing__(self, key) -> int:
        self[key] = len(self)
        return self[key]


class Marks:
    """The marks of one report; each is told as a number into `names`. `origins` are the locations of l0, l1 ... as
    text."""

    def __init__(self):
        self._names = Numbers()
        self._origins = Numbers()
        self._kinds = Numbers()
        self._values = 0

    @property
    def names(self) -> list[str]:
        return list(self._names)

    @property
    def origins(self) -> list[str]:
        return list(self._origins)

    def _mark(self, kind: str, number: int) -> int:
        return self._names[f"{kind}{number}"]

    def kernel(self, number: int) -> int:
        return self._mark("k", number)

    def origin(self, location: str) -> int:
        return self._mark("l", self._origins[location])

    def value(self, *kind: str) -> list[int]:
        """The marks of a new value; one of a `kind` (such as its operator and its origin) shares a mark with others of
        it."""
        self._values += 1
        own = self._mark("v", self._values)
        return [own, self._mark("w", self._kinds[kind])] if kind else [own]

    def mentioned(self, text: str) -> list[int]:
        """The marks of the known origins that stand in parentheses in `text`, as remarks name them."""
        found = (self._origins.get(part) for part in re.findall(r"\(((?:[^()]|\([^()]*\))+)\)", text))
        return list(dict.fromkeys(self._mark("l", number) for number in found if number is not None))
