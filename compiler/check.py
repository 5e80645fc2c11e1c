"""Which stage of a compilation changes a number?  Every level is run on the same inputs and compared with the traced
graph.

How far two correct levels may differ is measured, not guessed: the traced graph is run again with every rounding
disturbed by up to one unit in the last place (Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997). Integers and
booleans that change under that, and floats that overflow or stop to, are decided by rounding and are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Container, Mapping, Sequence

import numpy as np

from ..runtime.artifact import Artifact
from .core.dims import evaluate, nominal
from .core.dtypes import DType, as_dtype
from .core.errors import CompilerError, LaminaError
from .core.remarks import Remarks
from .graph.graph import Graph
from .graph.interpret import interpret
from .observer import Observer
from .ops.control import graph_flops
from .plan.interpret import run as run_program
from .plan.program import Program

#: Relative errors by dtype that no stage needs a reason for: other orders of summation, other approximations.
SLACK = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "float64": 1e-12}
NOISE = 32  # times the spread that disturbed roundings show
DISTURBED_RUNS = 3
MOST_OPERATIONS = 10 ** 8  # that the program interpreter, which runs one scalar at a time, is asked for
INTEGERS = 4  # integer inputs are below this: they may be indices
EXACT = 1 << 20  # whole numbers below this carry no rounding to disturb

Run = Callable[..., Sequence[np.ndarray]]
#: Makes an artifact callable with arrays; None where this machine can't run it.
Load = Callable[[Artifact], "Run | None"]


class Checker(Observer):
    """Compares every stage with the traced graph; CompilerError names the first that differs.

    `load` makes the native level callable; without it that level is not run. What comes behind one of the stages in
    `rounding`, which change numbers because the user wants so, is compared with what that one left.
    """

    def __init__(self, load: Load | None, remarks: Remarks, rounding: Container[str] = ()):
        self._load, self._remarks, self._rounding = load, remarks, rounding
        self._reference: Reference | None = None
        self._graph: Graph | None = None

    def graph(self, name: str, graph: Graph) -> None:
        is_first = self._reference is None or name in self._rounding and graph is not self._graph
        self._graph = graph
        if is_first:
            self._reference = Reference(graph)
            return
        self._compare(f"stage {name!r}", lambda *arrays: interpret(graph, arrays, self._reference.extents))

    def program(self, program: Program) -> None:
        operations = self._reference.operations
        if operations > MOST_OPERATIONS:
            self._remarks.add("check", "kernels/program", False,
                              f"{operations:,} operations are too many for its interpreter")
            return
        self._compare("kernels/program", lambda *arrays: run_program(program, arrays, self._reference.extents))

    def artifact(self, artifact: Artifact) -> None:
        native = self._load(artifact) if self._load is not None else None
        if native is None:
            self._remarks.add("check", "native", False, "nothing here runs code for this target")
            return
        self._compare("native", native)

    def _compare(self, stage: str, run: Run) -> None:
        try:
            results = run(*self._reference.arrays)
        except LaminaError:
            raise
        except Exception as error:
            raise CompilerError(f"{stage} does not run: {type(error).__name__}: {error}") from error
        problem = self._reference.difference(results)
        if problem is not None:
            raise CompilerError(f"{stage} changes {problem}",
                                hint="this is a bug of lamina; `lamina ir --dump DIR` writes every stage")


def _count_finite(array: np.ndarray) -> int:
    return int(np.isfinite(array.astype(np.float64)).sum())


@dataclass(frozen=True)
class Expected:
    """A result as it ought to be, how far from it others may be, and which elements rounding alone decides."""

    name: str
    array: np.ndarray
    tolerance: float
    unstable: np.ndarray

    def wrong(self, got: np.ndarray) -> np.ndarray:
        """Which elements of `got`, an array of the same shape, differ by more than roundings can."""
        if not as_dtype(got.dtype).is_float:
            return (got != self.array) & ~self.unstable
        a, b = got.astype(np.float64), self.array.astype(np.float64)
        with np.errstate(all="ignore"):
            near = np.abs(a - b) <= self.tolerance
        return ~(near | (a == b) | np.isnan(a) & np.isnan(b)) & ~self.unstable


class Reference:
    """Inputs for a graph, and what it computes from them. Symbols have small extents; everything is the same in each
    process."""

    def __init__(self, graph: Graph):
        self.extents = small_extents(graph)
        with np.errstate(all="ignore"):
            inputs = [random_inputs(graph, self.extents, positive) for positive in (False, True)]
            trials = [(arrays, interpret(graph, arrays, self.extents)) for arrays in inputs]
            # logarithms and roots: positive inputs where others give fewer numbers
            self.arrays, results = max(trials, key=lambda trial: sum(map(_count_finite, trial[1])))
            spread = [disturbed(graph, self.arrays, self.extents, seed) for seed in range(DISTURBED_RUNS)]
        self.expected = [expect(name, array, [other[i] for other in spread])
                         for i, (name, array) in enumerate(zip(graph.output_names, results))]
        self.operations = _operations(graph, self.extents)

    def difference(self, results: Sequence[np.ndarray]) -> str | None:
        """What differs: the result's name and the largest error; None where all agree."""
        if len(results) != len(self.expected):
            return f"the number of results to {len(results)}, {len(self.expected)} were expected"
        for want, got in zip(self.expected, results):
            got = np.asarray(got)
            if (got.shape, got.dtype) != (want.array.shape, want.array.dtype):
                return (f"result {want.name!r}: it is {got.dtype.name}{list(got.shape)}, "
                        f"{want.array.dtype.name}{list(want.array.shape)} was expected")
            wrong = want.wrong(got)
            if wrong.any():
                error = np.abs(got[wrong].astype(np.float64) - want.array[wrong].astype(np.float64)).max()
                at = tuple(int(i[0]) for i in np.nonzero(wrong))
                return (f"result {want.name!r}: max error {error:.3g} where {want.tolerance:.3g} is allowed, "
                        f"{int(wrong.sum())} of {wrong.size} elements differ, [{', '.join(map(str, at))}] is {got[at]} "
                        f"and was {want.array[at]}")
        return None


def expect(name: str, array: np.ndarray, others: Sequence[np.ndarray] = ()) -> Expected:
    """`array` as it ought to be; `others` are the same with every rounding disturbed, and show how far those reach."""
    dtype = as_dtype(array.dtype)
    none = np.zeros(array.shape, bool)
    if not dtype.is_float:
        return Expected(name, array, 0.0, np.any([none, *(other != array for other in others)], axis=0))
    wide = array.astype(np.float64)
    finite = np.isfinite(wide)
    with np.errstate(all="ignore"):
        apart = np.max([np.zeros(wide.shape), *(np.abs(other.astype(np.float64) - wide) for other in others)], axis=0)
    largest = np.abs(wide[finite]).max(initial=0.0)
    tolerance = SLACK[dtype.name] * largest + NOISE * apart[np.isfinite(apart)].max(initial=0.0)
    unstable = np.any([none, *(np.isfinite(other) != finite for other in others)], axis=0)
    return Expected(name, array, float(tolerance), unstable)


# ---- inputs ----------------------------------------------------------------------------------------------------------
def small_extents(graph: Graph) -> dict[str, int]:
    """A small extent for each symbol of `graph` inside of its facts, different ones where they allow it."""
    for least in (2, 4, 8, 16, 64):
        found = {}
        for i, s in enumerate(graph.symbols):
            wanted = -(-max(s.lower, least + i) // s.multiple) * s.multiple
            found[s.name] = min(wanted, s.upper // s.multiple * s.multiple)
        if all(evaluate(d, found) >= 0 for p in graph.params for d in p.shape):
            return found
    names = ", ".join(s.name for s in graph.symbols)
    raise CompilerError(f"no small extents of {names} fit the inputs of graph {graph.name!r}")


def random_inputs(graph: Graph, extents: Mapping[str, int], positive: bool) -> list[np.ndarray]:
    """An array for each parameter of `graph`, always the same: floats around 0 (or positive), small integers that may
    be indices."""
    generator = np.random.default_rng(2024)

    def draw(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
        if dtype.is_bool:
            return generator.integers(0, 2, shape).astype(bool)
        if dtype.is_integer:
            return generator.integers(0, INTEGERS, shape).astype(dtype.numpy)
        found = generator.uniform(0.25, 1.0, shape) if positive else generator.standard_normal(shape)
        return np.asarray(found).astype(dtype.numpy)
    return [draw(tuple(evaluate(d, extents) for d in p.shape), p.dtype) for p in graph.params]


def disturbed(graph: Graph, arrays: Sequence[np.ndarray], extents: Mapping[str, int], seed: int) -> list[np.ndarray]:
    """The results of `graph` where every float that an op makes is off by up to one unit in the last place."""
    generator = np.random.default_rng(seed)

    def disturb(array: np.ndarray) -> np.ndarray:
        dtype = as_dtype(array.dtype)
        if not dtype.is_float:
            return array
        wide = array.astype(np.float64)
        unit = 2.0 ** -{"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}[dtype.name]
        off = wide * (1 + unit * generator.uniform(-1, 1, array.shape))
        return np.where((wide == np.rint(wide)) & (np.abs(wide) < EXACT), wide, off).astype(array.dtype)
    env = dict(zip(graph.params, arrays))
    for node in graph.nodes:
        results = node.op.at_extents(extents).evaluate(*(env[o] for o in node.operands))
        env.update(zip(node.results, map(disturb, results)))
    return [env[r] for r in graph.results]


def _operations(graph: Graph, extents: Mapping[str, int]) -> int:
    """About how many scalar operations a run of `graph` takes."""
    total = graph_flops(graph) + sum((r.type.size for node in graph.nodes for r in node.results), 0)
    try:
        return evaluate(total, extents)
    except KeyError:  # a symbol of a result alone
        return nominal(total)
