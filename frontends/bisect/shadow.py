"""What would a graph compute without rounding?  Its operators' references in double precision, whatever its floats are.

With a `generator` every result is off by up to a unit in the last place of what kernels compute in: how far that moves
the outputs is how far roundings may (Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997).

Loops and branches are run at their own precision: what they carry is rounded between their iterations.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

import numpy as np

from ...compiler.check import EXACT
from ...compiler.core.dtypes import DType, as_dtype
from ...compiler.graph.graph import Graph, Node, Value
from ...compiler.graph.interpret import bind_extents
from ...compiler.ops.control import Closed, Control
from ...compiler.ops.elementwise import Cast

UNIT = {"float32": 2.0 ** -23, "float64": 2.0 ** -52}
#: Is shown each node, those in groups as well, and its results.
Watch = Callable[[Node, Sequence[np.ndarray]], None]


def shadow(graph: Graph, arrays: Sequence[np.ndarray], extents: Mapping[str, int] | None = None,
           watch: Watch | None = None, generator: np.random.Generator | None = None) -> list[np.ndarray]:
    """The results of `graph` for `arrays`, floats as float64; `extents` of its symbols are read from their shapes where
    not given."""
    extents = bind_extents(graph, [np.shape(a) for a in arrays]) if extents is None else extents
    with np.errstate(all="ignore"):
        return _run(graph, [_wide(np.asarray(a)) for a in arrays], extents, watch, generator)


def _run(graph: Graph, arrays: Sequence[np.ndarray], extents: Mapping[str, int], watch: Watch | None,
         generator: np.random.Generator | None) -> list[np.ndarray]:
    env: dict[Value, np.ndarray] = dict(zip(graph.params, arrays))
    last = {operand: node for node in graph.nodes for operand in node.operands}
    kept = set(graph.results)
    for node in graph.nodes:
        results = _evaluate(node, [env[o] for o in node.operands], extents, watch, generator)
        if generator is not None and not node.op.is_view and not isinstance(node.op, Closed):
            results = [_disturb(r, t.dtype, generator) for r, t in zip(results, node.result_types)]
        env.update(zip(node.results, results))
        if watch is not None:
            watch(node, results)
        for operand in node.operands:
            if last[operand] is node and operand not in kept:
                env.pop(operand, None)
    return [env[r] for r in graph.results]


def _evaluate(node: Node, operands: list[np.ndarray], extents: Mapping[str, int], watch: Watch | None,
              generator: np.random.Generator | None) -> list[np.ndarray]:
    if isinstance(node.op, Closed):
        return _run(node.op.body, operands, extents, watch, generator)
    op = node.op.at_extents(extents)
    if isinstance(op, Control):
        narrow = [a.astype(o.dtype.numpy, copy=False) for a, o in zip(operands, node.operands)]
        return [_wide(r) for r in op.evaluate(*narrow)]
    if isinstance(op, Cast) and op.dtype.is_float and operands[0].dtype == np.float64:
        return operands
    results = op.reference(*operands)
    results = results if isinstance(results, tuple) else (results,)
    return [_wide(np.asarray(r)) if t.dtype.is_float else np.asarray(r).astype(t.dtype.numpy, copy=False)
            for r, t in zip(results, node.result_types)]


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64, copy=False) if as_dtype(array.dtype).is_float else array


def _disturb(array: np.ndarray, dtype: DType, generator: np.random.Generator) -> np.ndarray:
    """The array off by up to a unit in the last place; whole numbers that need no rounding stay."""
    if not dtype.is_float:
        return array
    off = array * (1 + UNIT[dtype.compute.name] * generator.uniform(-1, 1, array.shape))
    return np.where((array == np.rint(array)) & (np.abs(array) < EXACT), array, off)
