"""What does a bisection say?  Whether the outputs agree with the reference, and if not, which value goes wrong first,
where and how."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import asdict, dataclass, field, replace
from typing import Sequence

import numpy as np

from ...compiler.check import Expected
from ...compiler.core.dtypes import as_dtype
from ...compiler.graph.graph import Graph
from ...compiler.graph.text import graph_constants

_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}  # bits of the fraction


def ulps(expected: np.ndarray, got: np.ndarray, dtype: str) -> np.ndarray:
    """How far `got` is from `expected`, in units in the last place of `dtype` at `expected`; inf where one is not
    finite, 0 where they are equal or both NaN. Of integers it is the difference."""
    a, b = np.asarray(expected).astype(np.float64), np.asarray(got).astype(np.float64)
    with np.errstate(all="ignore"):
        far = np.abs(a - b) / _unit(a, dtype)
    return np.where(_same(a, b), 0.0, np.where(np.isfinite(far), far, np.inf))


def _unit(array: np.ndarray, dtype: str) -> np.ndarray | float:
    """The unit in the last place of `dtype` at each element; of integers it is one."""
    if dtype not in _MANTISSA:
        return 1.0
    smallest = float(np.finfo(np.float32 if dtype == "bfloat16" else dtype).smallest_normal)
    return np.exp2(np.floor(np.log2(np.maximum(np.abs(array), smallest))) - _MANTISSA[dtype])


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | np.isnan(a) & np.isnan(b)


def largest_ulps(expected: np.ndarray, got: np.ndarray) -> float:
    """How far an output is off, in units in the last place of its largest element: small ones may be differences of
    large ones. inf where an element is finite in one of the two alone, or an infinity of the other sign, or a NaN."""
    a, b = (np.asarray(x).astype(np.float64) for x in (expected, got))
    finite = np.isfinite(a) & np.isfinite(b)
    if not (finite | _same(a, b)).all():
        return math.inf
    with np.errstate(over="ignore"):  # of two numbers that are as far apart as can be
        far = np.abs(a[finite] - b[finite]).max(initial=0.0)
    return float(far / _unit(np.abs(a[finite]).max(initial=0.0), as_dtype(np.asarray(got).dtype).name))


def agree(expected: Sequence[Expected], got: Sequence[np.ndarray]) -> bool:
    """Whether no element is off by more than roundings can be."""
    return not any(e.wrong(np.asarray(g)).any() for e, g in zip(expected, got))


@dataclass(frozen=True)
class Difference:
    """The element that is furthest off: its `index`, what was `expected` there and what it is; `wrong` of `elements`
    differ."""

    index: tuple[int, ...]
    expected: float | int | bool
    got: float | int | bool
    ulps: float
    wrong: int
    elements: int

    def __str__(self) -> str:
        at = f"[{', '.join(map(str, self.index))}] " if self.index else ""
        return (f"{at}is {self.got!r}, expected {self.expected!r}: {_count(self.ulps)} ulp; "
                f"{self.wrong:,} of {self.elements:,} elements differ")


def difference(expected: np.ndarray, got: np.ndarray, wrong: np.ndarray) -> Difference:
    """The worst of the elements that are `wrong`; dtypes are those of `got`."""
    got = np.asarray(got)
    far = np.where(wrong, ulps(expected, got, as_dtype(got.dtype).name), -1.0)
    index = np.unravel_index(int(np.argmax(far)), far.shape) if far.ndim else ()
    return Difference(tuple(map(int, index)), np.asarray(expected)[index].item(), _plain(got[index]), float(far[index]),
                      int(wrong.sum()), wrong.size)


def _plain(value):
    return value.item() if isinstance(value.item(), (bool, int, float)) else float(value)


@dataclass(frozen=True)
class Finding:
    """The first value that is wrong.

    `stage` says what makes it so: "reference" (the imported graph itself differs), "pass" (`name` is the pass),
    "kernel" (`name` is the kernel, `launch` counts from 1), "memory" or "host program". `value` is the value as its
    graph's text has it, `operator` what computes it, `location` the user's line or the model's node.
    """

    stage: str
    name: str
    value: str
    operator: str
    location: str
    difference: Difference | None
    launch: int | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        heads = {"reference": "the graph as it was imported or traced differs from the reference",
                 "pass": f"the pass {self.name!r} changes a number",
                 "kernel": f"kernel {self.name} (launch {self.launch}) computes a wrong value",
                 "memory": f"kernel {self.name} (launch {self.launch}) meets memory that is overwritten too early",
                 "host program": "every kernel is right; the native program around them is wrong"}
        rows = [("value", self.value), ("operator", self.operator), ("from", self.location),
                ("there", str(self.difference or ""))]
        told = [f"{name:<9} {text}" for name, text in rows if text]
        return "\n  ".join([heads[self.stage], *told, *self.notes])


@dataclass(frozen=True)
class Bisection:
    """What a bisection found. `agrees`: every output is as the reference has it, as far as roundings allow;
    `largest_ulps` is how far off each is, in units in the last place of its largest element. `finding` is the first
    wrong value where they don't; `remarks` tell what else was seen. `case` is the smallest graph that is wrong, with
    its arrays: the group of a wrong kernel with what it read, else the whole."""

    agrees: bool
    reference: str
    outputs: tuple[str, ...]
    largest_ulps: tuple[float, ...]
    finding: Finding | None = None
    remarks: tuple[str, ...] = ()
    case: tuple[Graph, Sequence[np.ndarray]] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.agrees:
            worst = ", ".join(f"{name} {_count(far)} ulp" for name, far in zip(self.outputs, self.largest_ulps))
            return "\n".join([f"agrees with the reference ({self.reference}): {worst}", *self.remarks])
        return "\n".join([str(self.finding), *self.remarks])

    def data(self) -> dict:
        """As JSON data; numbers that JSON lacks are text."""
        return _json(asdict(replace(self, case=None)) )

    def save(self, folder: str | os.PathLike) -> str:
        """Write `case` into a folder, to see it again anywhere: the graph with its constants, its inputs, and what was
        found. Returns the command that does."""
        from ..cli.arrays import npz_bytes
        from ..dump import DumpFolder
        graph, arrays = self.case
        dump = DumpFolder(folder)
        dump("case", str(graph), graph_constants(graph))
        (dump.folder / "inputs.npz").write_bytes(npz_bytes(dict(zip(graph.input_names, map(np.asarray, arrays)))))
        (dump.folder / "finding.txt").write_text(f"{self}\n", encoding="utf-8")
        return shlex.join(["lamina", "bisect", str(dump.folder / dump.files[0]), str(dump.folder / "inputs.npz")])


def _json(value):
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.2g}"
