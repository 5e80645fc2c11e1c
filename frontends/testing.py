"""How does a test pin down what the compiler does?  Assertions on the kernels of an Executable, whose messages list
them and say why they are not fewer."""

from __future__ import annotations

import re
from collections import Counter

from ..compiler.core.errors import LaminaError


def assert_kernels(executable, *, at_most: int | None = None, at_least: int | None = None,
                   exactly: int | None = None) -> None:
    """AssertionError unless one run of `executable` launches so many kernels (a launch inside a loop counts once). The
    message lists the launches, and what fusion refused, with reasons."""
    if at_most is None and at_least is None and exactly is None:
        raise LaminaError("assert_kernels was given no number", hint="at_most=8, at_least=1 or exactly=3")
    count = len(executable.kernels)
    wanted = [f"{words} {number}" for words, number, holds in (
        ("at most", at_most, at_most is None or count <= at_most),
        ("at least", at_least, at_least is None or count >= at_least),
        ("exactly", exactly, exactly is None or count == exactly)) if not holds]
    if wanted:
        raise AssertionError(f"{executable.name} launches {count} kernels, {' and '.join(wanted)} were expected\n"
                             f"{_kernels(executable)}{_refusals(executable)}")


def assert_fused(executable, *ops: str) -> None:
    """AssertionError unless one kernel of `executable` computes all of `ops`: IR names, as
    `executable.kernels[i]["ops"]` has them (an op that is named twice has to be in it twice). Without names: unless all
    of the model is one kernel. The message lists the kernels, and what fusion refused about these ops, with reasons."""
    if not ops:
        assert_kernels(executable, at_most=1)
        return
    wanted = Counter(ops)
    kernels = [Counter(launch["ops"]) for launch in executable.kernels]
    if any(wanted <= found for found in kernels):
        return
    everywhere = {op for found in kernels for op in found}
    absent = [op for op in wanted if op not in everywhere]
    why = f"no kernel computes {', '.join(absent)} at all" if absent else \
        f"no kernel of {executable.name} computes {', '.join(ops)} together"
    raise AssertionError(f"{why}\n{_kernels(executable)}{_refusals(executable, set(wanted))}")


def _kernels(executable) -> str:
    """A line for each launch."""
    return "".join(f"  {launch['kernel']}: {', '.join(launch['ops']) or launch['label']}"
                   f"{'  at ' + launch['lines'][0] if launch['lines'] else ''}\n" for launch in executable.kernels)


def _refusals(executable, ops: set[str] | None = None) -> str:
    """What fusion refused, about these ops or all; nothing of a model that was loaded from a file."""
    if "remarks" not in executable.artifact.texts:
        return "(why is not known: the model was loaded from a file)"
    lines = dict.fromkeys(line for line in executable.text("remarks").splitlines()
                          if line.startswith("[fuse]") and ": not done: " in line
                          and (ops is None or ops & set(re.findall(r"\w+", line))))
    return "not fused:\n" + "".join(f"  {line.removeprefix('[fuse] ').replace(': not done: ', ': ')}\n"
                                    for line in lines) if lines else \
        "fusion refused nothing about them" if ops else "fusion refused nothing"
