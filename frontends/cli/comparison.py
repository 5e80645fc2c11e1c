"""Are two sets of outputs the same?  Within tolerances; and which tolerances would do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ...compiler.core.errors import LaminaError

RTOL, ATOL = 1e-3, 1e-5


@dataclass(frozen=True)
class Match:
    """How one output compares with its reference: |output - expected| <= atol + rtol * |expected| everywhere, or not.

    `required_rtol` is the smallest rtol that passes at the given atol, `required_atol` the smallest atol at the given rtol; both
    are inf where shapes, NaNs or infinities differ. `mismatches` counts the elements outside.
    """

    name: str
    passed: bool
    elements: int
    mismatches: int
    largest_difference: float
    required_rtol: float
    required_atol: float
    remark: str = ""

    def data(self) -> dict:
        """As JSON data; infinities are null."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def compare(outputs: Mapping[str, np.ndarray], expected: np.ndarray | Mapping[str, np.ndarray], rtol: float, atol: float) -> list[Match]:
    """A Match for each expected array. A single array stands for the only output; integers and bools must be equal."""
    if isinstance(expected, np.ndarray):
        if len(outputs) != 1:
            raise LaminaError(f"one array is expected, the model gives {', '.join(outputs)}", hint="give an .npz with arrays by name")
        expected = {next(iter(outputs)): expected}
    wanted = {name: array for name, array in expected.items() if name in outputs}
    if not wanted:
        raise LaminaError(f"the reference holds {', '.join(expected) or 'nothing'}: none of them is an output",
                          hint=f"the outputs are {', '.join(outputs)}")
    return [match(name, outputs[name], array, rtol, atol) for name, array in wanted.items()]


def match(name: str, output: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> Match:
    """How `output` compares with `expected`."""
    if expected.dtype.kind == "V" and expected.dtype.itemsize == output.dtype.itemsize:
        expected = expected.view(output.dtype)
    if output.shape != expected.shape:
        return Match(name, False, output.size, output.size, math.inf, math.inf, math.inf,
                     f"shape {output.shape}, expected {expected.shape}")
    exact = output.dtype.kind in "biu" and expected.dtype.kind in "biu"
    if exact:
        wrong = output != expected
        gap = float(np.abs(output.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
        need = math.inf if wrong.any() else 0.0
        return Match(name, not wrong.any(), output.size, int(wrong.sum()), gap, need, gap, "integers must be equal" if wrong.any() else "")
    a, b = output.astype(np.float64), expected.astype(np.float64)
    special = ~(np.isfinite(a) & np.isfinite(b))
    differs = special & ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(all="ignore"):
        gap = np.where(special, 0.0, np.abs(a - b))
        size = np.where(special, 0.0, np.abs(b))
        wrong = differs | (gap > atol + rtol * size)
        excess = gap - atol
        relative = np.where(excess > 0, np.where(size > 0, excess / size, math.inf), 0.0)
    largest = float(gap.max(initial=0.0))
    if differs.any():
        return Match(name, False, a.size, int(wrong.sum()), largest, math.inf, math.inf, "NaN or infinity in different places")
    return Match(name, not wrong.any(), a.size, int(wrong.sum()), largest, float(relative.max(initial=0.0)),
                 float(np.maximum(gap - rtol * size, 0.0).max(initial=0.0)))


def round_up(value: float) -> str:
    """`value` with two digits, not below it: a tolerance to type."""
    if value <= 0 or not math.isfinite(value):
        return "0" if value <= 0 else "inf"
    exponent = math.floor(math.log10(value)) - 1
    digits = math.ceil(value / 10.0 ** exponent * (1 - 1e-12))
    return f"{digits * 10.0 ** exponent:.1e}"


def print_matches(matches: list[Match], rtol: float, atol: float, console) -> None:
    """The table of the comparison, and what would make it pass."""
    console.table(("output", "result", "elements", "outside", "largest difference", "needs rtol", "or atol"),
                  [(m.name, "ok" if m.passed else "differs", m.elements, m.mismatches, f"{m.largest_difference:.3g}",
                    round_up(m.required_rtol), round_up(m.required_atol)) for m in matches])
    for m in matches:
        if m.remark:
            console.error(f"{m.name}: {m.remark}")
    failed = [m for m in matches if not m.passed]
    if failed and all(math.isfinite(m.required_atol) for m in failed):
        by_rtol, by_atol = max(m.required_rtol for m in failed), max(m.required_atol for m in failed)
        ways = [f"--rtol {round_up(by_rtol)}"] * math.isfinite(by_rtol) + [f"--atol {round_up(by_atol)}"]
        console.error(f"differs at --rtol {rtol:g} --atol {atol:g}; it would pass with {' or '.join(ways)}")


def add_tolerance_options(parser) -> None:
    """--rtol and --atol."""
    parser.add_argument("--rtol", type=float, default=RTOL, help=f"relative tolerance of --expect (default {RTOL:g})")
    parser.add_argument("--atol", type=float, default=ATOL, help=f"absolute tolerance of --expect (default {ATOL:g})")
