"""Which operator made a NaN?  The graph is run with its operators' references, and each NaN carries along where it was
born: where an operator gave one that its operands' NaNs don't account for.

Whether they do is tried: the operator is applied to the same operands with ones in place of their NaNs. So a NaN that
`where` does not select, or that `maximum` leaves behind, is not followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence

import numpy as np

from ..compiler.core.dtypes import as_dtype
from ..compiler.core.location import Location
from ..compiler.core.types import TensorType
from ..compiler.graph.graph import Graph, Node, Value
from ..compiler.graph.interpret import bind_extents
from ..compiler.ops.control import Closed, Cond, Scan, While, graph_at_extents, run

MOST_OPERANDS = 6  # that a message describes


@dataclass(frozen=True)
class Birth:
    """Where NaNs come from: `node`, or the graph's input of that name. `number` counts births in program order.

    `count` of the `size` elements of its value are NaNs, the first at `index`, which `element` spells where the
    operator goes element by element. `operands` are described by type and range, and `infinity` is the node that made the
    first infinity among them. `loops` are those around it, the outermost first: kind, place, iteration.
    """

    number: int
    node: Node | None
    type: TensorType
    count: int
    size: int
    index: tuple[int, ...]
    element: str = ""
    operands: tuple[str, ...] = ()
    operands_have_nans: bool = False
    infinity: Node | None = None
    loops: tuple[tuple[str, Location, int], ...] = ()
    input: str = ""


class _Traced(NamedTuple):
    """An array, where the first of its NaNs was born, and the node that made its infinities, if one did."""

    array: np.ndarray
    birth: Birth | None = None
    infinity: Node | None = None


def has_nan(array: np.ndarray) -> bool:
    """Whether an element is a NaN; False for what holds no floats."""
    return as_dtype(array.dtype).is_float and bool(np.isnan(array).any())


def _has_infinity(array: np.ndarray) -> bool:
    return as_dtype(array.dtype).is_float and bool(np.isinf(array).any())


def births(graph: Graph, arrays: Sequence[np.ndarray]) -> list[Birth | None]:
    """For each result of `graph` the first birth of the NaNs that it holds, None where it holds none."""
    graph = graph_at_extents(graph, bind_extents(graph, [np.shape(a) for a in arrays]))
    with np.errstate(all="ignore"):
        return [traced.birth for traced in _Search().outermost(graph, list(map(np.asarray, arrays)))]


class _Search:
    def __init__(self):
        self.count = 0
        self.loops: list[tuple[str, Location, int]] = []
        self.last_use: dict[int, dict[Value, Node]] = {}  # of graphs, by id: bodies are run many times

    def outermost(self, graph: Graph, arrays: Sequence[np.ndarray]) -> list[_Traced]:
        values = []
        for name, param, array in zip(graph.input_names, graph.params, arrays):
            birth = None
            if has_nan(array):
                birth = Birth(self.next_number(), None, param.type, *_located(np.isnan(array)), input=name)
            values.append(_Traced(array, birth))
        return self.graph(graph, values)

    def next_number(self) -> int:
        self.count += 1
        return self.count

    def graph(self, graph: Graph, values: Sequence[_Traced]) -> list[_Traced]:
        """The results of a graph for `values`."""
        if id(graph) not in self.last_use:
            last = {operand: node for node in graph.nodes for operand in node.operands}
            self.last_use[id(graph)] = {value: node for value, node in last.items() if value not in graph.results}
        last_use = self.last_use[id(graph)]
        env = dict(zip(graph.params, values))
        for node in graph.nodes:
            env.update(zip(node.results, self.node(node, [env[o] for o in node.operands])))
            for operand in node.operands:
                if last_use.get(operand) is node:
                    env.pop(operand, None)
        return [env[r] for r in graph.results]

    def node(self, node: Node, operands: list[_Traced]) -> list[_Traced]:
        op = node.op
        if isinstance(op, Closed):
            return self.graph(op.body, operands)
        if isinstance(op, Cond):
            index = int(operands[0].array)
            return self.graph(op.branches[min(max(index, 0), len(op.branches) - 1)], operands[1:])
        if isinstance(op, While):
            return self.while_loop(node, op, operands)
        if isinstance(op, Scan):
            return self.scan(node, op, operands)
        results = op.evaluate(*(o.array for o in operands))
        birth = self.birth(node, operands, results) if any(map(has_nan, results)) else None
        infinity = next((o.infinity for o in operands if o.infinity is not None), node)
        return [_Traced(r, birth if has_nan(r) else None, infinity if _has_infinity(r) else None) for r in results]

    # ---- loops -------------------------------------------------------------------------------------------------------
    def while_loop(self, node: Node, op: While, carry: list[_Traced]) -> list[_Traced]:
        iteration = 0
        while run(op.condition, [c.array for c in carry])[0]:
            carry = self.iteration(node, op.body, carry, iteration)
            iteration += 1
        return carry

    def scan(self, node: Node, op: Scan, operands: list[_Traced]) -> list[_Traced]:
        end = op.carries + op.scanned
        carry, xs, captured = operands[:op.carries], operands[op.carries:end], operands[end:]
        steps = op.steps(*(o.type for o in node.operands))
        stacks = [np.zeros(t.shape, t.dtype.numpy) for t in node.result_types[op.carries:]]
        first: list[tuple] = [(None, None)] * len(stacks)
        for t in reversed(range(steps)) if op.reverse else range(steps):
            rows = [_Traced(x.array[t], x.birth if has_nan(x.array[t]) else None, x.infinity) for x in xs]
            results = self.iteration(node, op.body, [*carry, *rows, *captured], t)
            carry = results[:op.carries]
            for i, y in enumerate(results[op.carries:]):
                stacks[i][t] = y.array
                birth, infinity = first[i]
                first[i] = _earliest([birth, y.birth]), infinity or y.infinity
        return [*carry, *(_Traced(stack, *found) for stack, found in zip(stacks, first))]

    def iteration(self, node: Node, body: Graph, values: list[_Traced], number: int) -> list[_Traced]:
        self.loops.append((node.op.name, node.location, number))
        results = self.graph(body, values)
        self.loops.pop()
        return results

    # ---- births ------------------------------------------------------------------------------------------------------
    def birth(self, node: Node, operands: list[_Traced], results: Sequence[np.ndarray]) -> Birth:
        """The first birth of the NaNs in `results`: one that an operand brought along, or here."""
        arrays = [o.array for o in operands]
        infinity = next((o.infinity for o in operands if o.infinity is not None), None)
        tainted = [i for i, o in enumerate(operands) if o.birth is not None]
        if not tainted:
            return self.born(node, arrays, results, [_nans(r) for r in results], infinity)
        clean = [np.where(np.isnan(a), a.dtype.type(1), a) if i in tainted else a for i, a in enumerate(arrays)]
        own = [_nans(r) for r in node.op.evaluate(*clean)]

        def matters(i: int) -> bool:
            found = results if len(tainted) == 1 else node.op.evaluate(*clean[:i], arrays[i], *clean[i + 1:])
            return any((_nans(r) & ~o).any() for r, o in zip(found, own))
        found = [operands[i].birth for i in tainted if matters(i)]
        if any(o.any() for o in own):
            found.append(self.born(node, arrays, results, own, infinity))
        return _earliest(found or [operands[i].birth for i in tainted])

    def born(self, node: Node, arrays: Sequence[np.ndarray], results: Sequence[np.ndarray],
             own: Sequence[np.ndarray], infinity: Node | None) -> Birth:
        """A birth at `node`, of the NaNs that `own` marks in its results."""
        place = next(i for i, mask in enumerate(own) if mask.any())
        count, size, index = _located(own[place])
        element = ""
        if node.op.has_element and arrays and all(a.shape == results[place].shape for a in arrays):
            element = f", of {', '.join(_number(a[index]) for a in arrays)}"
        shown = tuple(f"{v.type}{_range(a)}" for v, a in zip(node.operands, arrays))
        if len(shown) > MOST_OPERANDS:
            shown = (*shown[:MOST_OPERANDS], f"and {len(shown) - MOST_OPERANDS} more")
        return Birth(self.next_number(), node, node.result_types[place], count, size, index, element, shown,
                     any(map(has_nan, arrays)), infinity, tuple(self.loops))


def _earliest(found: Sequence[Birth | None]) -> Birth | None:
    return min((b for b in found if b is not None), key=lambda b: b.number, default=None)


def _nans(array: np.ndarray) -> np.ndarray:
    """Where an array holds NaNs."""
    return np.isnan(array) if as_dtype(array.dtype).is_float else np.zeros(array.shape, bool)


def _located(mask: np.ndarray) -> tuple[int, int, tuple[int, ...]]:
    """How many elements a mask marks, how many it has, and the index of the first."""
    return int(mask.sum()), mask.size, tuple(map(int, np.unravel_index(int(mask.argmax()), mask.shape)))


def _range(array: np.ndarray) -> str:
    """Between which numbers the elements lie."""
    if not array.size or as_dtype(array.dtype).is_bool:
        return ""
    numbers = array[~_nans(array)]
    if not numbers.size:
        return " of NaNs"
    low, high = numbers.min(), numbers.max()
    return f" of {_number(low)}" if low == high else f" within {_number(low)} .. {_number(high)}"


def _number(value) -> str:
    return str(value) if np.issubdtype(np.asarray(value).dtype, np.integer) else f"{float(value):.6g}"
