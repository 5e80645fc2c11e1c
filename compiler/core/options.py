"""What can a user choose about a compilation?  One frozen object, part of every cache key by construction."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .errors import LaminaError

WEIGHTS = (None, "bfloat16", "float16", "int8", "int4")


@dataclass(frozen=True)
class Options:
    """Choices for one compilation; every field is part of the cache key.

    target        machine to compile for: "host", or a name of `lamina.targets()` such as "x86-64-v3"
    max_memory    bytes that the arena may take; None is no limit. A contract: a plan that fits, or BudgetError
    winograd      False computes every convolution directly. True lets those of 3x3 constant float32 windows take
                  fewer multiplications where that is faster; docs/decisions/0009-winograd.md bounds the rounding error
    fuse          False keeps every operator in a kernel of its own (for looking and bisecting)
    weights       dtype in which constant float32 weights of products lie: "bfloat16", "float16", "int8" or "int4"
                  (passes/narrow_weights.py says what they lose); None keeps theirs. Arithmetic stays float32
    tune          seconds in which schedules of kernels are measured on this machine; what is clearly faster than the
                  heuristic's is taken. The cache keeps what was measured, which is not measured again: 0 takes what is
                  known and measures nothing. None takes the heuristics'
    check_nans    True: a call whose outputs hold a NaN raises NanError, which names the operator that made it, the
                  user's line, and whether that is forward or backward code. Infinities alone are none, nor is a NaN
                  that no output holds, such as one that `where` does not select. Calls alone are checked, in this
                  process: a checked program isn't saved. Nothing is donated, so that the arguments are still there
                  to look at
    check         "none", "each": run every level's interpreter after every pass and name the first that changes a number
    dump          folder into which every stage is written, or None
    """

    target: str = "host"
    max_memory: int | None = None
    winograd: bool = True
    fuse: bool = True
    weights: str | None = None
    tune: float | None = None
    check_nans: bool = False
    check: str = "none"
    dump: str | None = None

    def __post_init__(self):
        if self.check not in ("none", "each"):
            raise LaminaError(f"Options.check is {self.check!r}", hint='it is "none" or "each"')
        if self.weights not in WEIGHTS:
            raise LaminaError(f"Options.weights is {self.weights!r}", hint=f"it is one of {', '.join(map(repr, WEIGHTS))}")
        if self.tune is not None and not 0 <= self.tune < math.inf:
            raise LaminaError(f"Options.tune is {self.tune}", hint="give seconds from 0 on, or None")
        if self.max_memory is not None and self.max_memory < 0:
            raise LaminaError(f"Options.max_memory is {self.max_memory}", hint="give bytes, or None for no limit")

    def key(self) -> str:
        """The text that stands for these options in cache keys: without `dump`, which changes no code, and without how
        long `tune` is, since code is kept only once all is measured."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "dump"}
        return ";".join(f"{name}={value!r}" for name, value in (values | {"tune": self.tune is not None}).items())
