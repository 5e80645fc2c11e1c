"""Which results are computed in the memory of inputs that the caller gave away?

A result may take over a donated input of its type where everything else that reads the input can run before it; the node that
computes it may read the input itself only element by element.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Iterable, Iterator

from ..graph.graph import Graph, Node, Value
from ..kernel.ir import row_major
from ..lower.group import inplace_pairs
from ..ops.control import Fused
from ..ops.rearrange import Concat, Pad, Reshape, Transpose
from .program import Place, Storage
from .views import unview, view


def share_donated(graph: Graph, donated: Iterable[int]) -> tuple[Graph, dict[int, int]]:
    """`graph` in an order that lets results take over donated inputs, and which: result number -> parameter number."""
    donation = _Donation(graph)
    shared: dict[int, int] = {}
    free = [i for i in donated if graph.params[i] not in graph.results]
    for number, result in enumerate(graph.results):
        if result in graph.results[:number]:
            continue
        for i in donation.candidates(result, free):
            if donation.overwrite(graph.params[i], result):
                shared[number] = i
                free.remove(i)
                break
    return (donation.ordered(), shared) if shared else (graph, {})


class _Donation:
    """The graph's nodes with what has to run before them: the makers of their operands, and readers of what they overwrite."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.in_step: dict[Value, set[Value]] = {}
        self.before: dict[Node, set[Node]] = {n: {o.node for o in n.operands if o.node is not None} for n in graph.nodes}

    def candidates(self, result: Value, free: list[int]) -> list[int]:
        """The parameters of `free` that are of the result's type; first those that it is computed from element by element."""
        in_step = self.read_in_step(result)
        fitting = [i for i in free if self.graph.params[i].type == result.type]
        return sorted(fitting, key=lambda i: self.graph.params[i] not in in_step)

    def overwrite(self, param: Value, result: Value) -> bool:
        """Have `result` computed after all that reads `param`, where that is possible."""
        maker = _maker(result)
        if maker is None or any(isinstance(u.op, (Concat, Pad)) for u in self.graph.users.get(result, ())):
            return False
        readers = set(_readers(self.graph, param))
        if maker in readers and param not in self.read_in_step(result):
            return False
        readers.discard(maker)
        if any(self._waits_for(reader, maker) for reader in readers):
            return False
        self.before[maker] |= readers
        return True

    def read_in_step(self, result: Value) -> set[Value]:
        """The values of which each element is read only to make the element of `result` that stands in its place."""
        if result not in self.in_step:
            self.in_step[result] = set(_read_in_step(result))
        return self.in_step[result]

    def _waits_for(self, node: Node, other: Node) -> bool:
        stack, seen = [node], {node}
        while stack:
            for earlier in self.before[stack.pop()] - seen:
                if earlier is other:
                    return True
                seen.add(earlier)
                stack.append(earlier)
        return False

    def ordered(self) -> Graph:
        """The graph with its nodes as early as they were, but for those that have to wait."""
        graph = self.graph
        position = {n: i for i, n in enumerate(graph.nodes)}
        waits = {n: len(earlier) for n, earlier in self.before.items()}
        later: dict[Node, list[Node]] = {}
        for node, earlier in self.before.items():
            for e in earlier:
                later.setdefault(e, []).append(node)
        ready = [position[n] for n in graph.nodes if not waits[n]]
        order: list[Node] = []
        while ready:
            node = graph.nodes[heapq.heappop(ready)]
            order.append(node)
            for follower in later.get(node, ()):
                waits[follower] -= 1
                if not waits[follower]:
                    heapq.heappush(ready, position[follower])
        return Graph(graph.params, tuple(order), graph.results, graph.name, graph.result_names)


def _maker(result: Value) -> Node | None:
    """The node that writes a result's memory, where it is one; what is joined has several."""
    while isinstance(result.op, (Reshape, Transpose)):
        result = result.node.operands[0]
    return None if result.node is None or isinstance(result.op, (Concat, Pad)) else result.node


def _read_in_step(result: Value) -> Iterator[Value]:
    made, place = result, _dense(result)
    while place is not None and isinstance(made.op, (Reshape, Transpose)):
        (operand,) = made.node.operands
        made, place = operand, unview(made.op, place, operand.shape)
    if place is None or not isinstance(made.op, Fused):
        return
    reads = Counter(map(behind_views, made.node.operands))
    for i in inplace_pairs(made.op, made.index):
        operand = made.node.operands[i]
        behind = behind_views(operand)
        if reads[behind] == 1 and _lie_alike(_seen(operand), place):
            yield behind


def _seen(value: Value) -> Place | None:
    """Where the elements of a value lie in the memory that it is a view of; None where strides don't tell."""
    if value.node is None or not value.op.is_view or not value.node.operands:
        return _dense(value)
    place = _seen(value.node.operands[0])
    return None if place is None else view(value.op, place, value.shape)


def _dense(value: Value) -> Place:
    return Place(Storage("input"), 0, value.shape, row_major(value.shape), value.dtype)


def _lie_alike(one: Place | None, other: Place) -> bool:
    """Whether two places of one shape have each element in the same place of their memory."""
    return one is not None and one.offset == other.offset and all(
        a == b for a, b, extent in zip(one.strides, other.strides, other.shape) if extent != 1)


def behind_views(value: Value) -> Value:
    """The value whose memory `value` is a view of, or itself."""
    while value.node is not None and value.op.is_view and value.node.operands:
        value = value.node.operands[0]
    return value


def _readers(graph: Graph, value: Value) -> Iterator[Node]:
    """The nodes that read the memory of `value`, through views too."""
    for user in graph.users.get(value, ()):
        yield user
        if user.op.is_view:
            for result in user.results:
                yield from _readers(graph, result)
