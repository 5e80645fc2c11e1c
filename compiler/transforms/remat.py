"""What does a training graph save between its forward and its backward pass, where memory is short?

The graph is cut where most bytes are live. What is read behind the cut is saved or computed again, behind barriers,
just before it is read. Which values are saved is a minimum cut of the forward pass by bytes (Zheng et al., functorch's
min-cut partitioner, 2022): with products kept, or the heavier ones, so that what is cheap is computed twice; or of
segments of the forward pass, of which the first ones are computed again as wholes (Chen, Xu, Zhang and Guestrin,
"Training deep nets with sublinear memory cost", 2016). The choice without a product comes first, the others in the
order of the work that they cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Callable, Iterator, Sequence

from ..core.dims import nominal
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from ..ops.constant import Constant
from ..ops.identity import Barrier
from ..ops.reduce import Reduce

SEGMENTS = (4, 8, 12, 24)  # into so many parts of equal bytes the forward pass is cut
PIECES = 12  # in which what is no whole segment is computed again
GRADES = 3  # kinds of products, by work for each byte, of which the lightest are computed again


@dataclass(frozen=True)
class Choice:
    """A graph that saves less: `saved` bytes across the cut in place of `before`, for `work` more operations, which is
    `share` of the graph's. At most `live` bytes are live at once, before operators share kernels."""

    graph: Graph
    what: str
    before: int
    saved: int
    work: int
    share: float
    live: int

    @property
    def reason(self) -> str:
        return (f"{self.saved:,} bytes are saved between forward and backward in place of {self.before:,}; {self.what} "
                f"computed again, {self.work:,} operations, {100 * self.share:.1f} % more")


def rematerializations(graph: Graph, budget: int) -> Iterator[Choice]:
    """Graphs that mean the same as `graph` and save at most `budget` bytes: without products computed again, then those with
    the least work first."""
    passes = _Passes(graph)
    cheap = passes.light(0)
    if not cheap >= passes.needed:
        choice = passes.apply(cheap, PIECES, "what is no product is")
        if choice.saved <= budget:
            yield choice
    plans = [(passes.light(limit), PIECES, f"products of up to {limit:.3g} operations for each of their bytes are")
              for limit in passes.grades()]
    for count in SEGMENTS:
        plans += [(plan, count, f"the first {number} of {count} parts of the forward pass are")
                  for number, plan in enumerate(passes.segments(count), 1)]
    seen = {cheap}
    found = []
    for kept, count, what in plans:
        if kept in seen or kept >= passes.needed:
            continue
        seen.add(kept)
        choice = passes.apply(kept, count, what)
        if choice.saved <= budget:
            found.append(choice)
    yield from sorted(found, key=lambda choice: choice.work)


class _Passes:
    """A graph as a forward and a backward pass: the nodes in front of and behind the place where most is live."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.bytes = {v: nominal(v.type.nbytes) for node in graph.nodes for v in node.results}
        live = self._live(graph.nodes)
        self.live = max(live)
        #: the number of nodes in front of the place across which most bytes are live
        self.cut = live.index(self.live)
        self.forward = graph.nodes[:self.cut]
        #: what the backward pass reads of the forward pass, in the order in which it was made
        self.needed = frozenset(self._read(graph.nodes[self.cut:], self.cut))

    @staticmethod
    def root(value: Value) -> Value:
        """What a view shows."""
        while value.node is not None and value.op.is_view and value.node.operands:
            value = value.node.operands[0]
        return value

    def _is_stored(self, value: Value) -> bool:
        """Whether the value takes memory that saving it keeps: no parameter, constant or result."""
        is_made = value.node is not None and bool(value.node.operands) and not isinstance(value.op, Constant)
        return is_made and value not in self._results

    @cached_property
    def _results(self) -> set[Value]:
        return {self.root(r) for r in self.graph.results}

    def _read(self, nodes: Sequence[Node], end: int) -> list[Value]:
        """What `nodes` read that is stored and made by nodes in front of position `end`."""
        roots = {self.root(o) for node in nodes for o in node.operands}
        found = [r for r in roots if self._is_stored(r) and self.position[r.node] < end]
        return sorted(found, key=lambda v: (self.position[v.node], v.index))

    def _live(self, nodes: Sequence[Node]) -> list[int]:
        """For each number of nodes, the bytes that are made in front of that place and read behind it by `nodes`."""
        last: dict[Value, int] = {}
        for i, node in enumerate(nodes):
            for operand in node.operands:
                last[self.root(operand)] = i
        change = [0] * (len(nodes) + 1)
        for value, end in last.items():
            if self._is_stored(value):
                change[self.position[value.node] + 1] += self.bytes[value]
                change[end + 1] -= self.bytes[value]
        return list(accumulate(change))

    # ---- what to keep ------------------------------------------------------------------------------------------------
    def light(self, limit: float) -> frozenset[Value]:
        """What to keep where products, and whatever else is dear, are not computed again that take more than `limit` operations for
        each byte of their results (Korthikanti et al., "Reducing activation recomputation in large transformer models",
        2022: the products of attention are light)."""
        dear = {v for node in self.forward for v in node.results if not _is_cheap(node) and self._weight(node) > limit}
        return self._minimum_cut(self.forward, dear, self.needed)

    def grades(self) -> list[float]:
        """The least limits for `light`, each of which lets more products through; the heaviest products pass none."""
        return sorted({self._weight(node) for node in self.forward if not _is_cheap(node)})[:-1][:GRADES]

    def _weight(self, node: Node) -> float:
        """Operations of a node for each byte of its results."""
        return _work(node) / max(1, sum(self.bytes[v] for v in node.results))

    def segments(self, count: int) -> list[frozenset[Value]]:
        """What to keep where the first 1, 2 .. `count` segments are computed again, each from where it begins."""
        ends = self._ends(count)
        plans, bounds, begin = [], frozenset(), 0
        for end in ends:
            if end == self.cut:  # the last one is read at once: nothing is won
                break
            crossing = frozenset(self._read(self.graph.nodes[end:self.cut], end))
            earlier = {v for node in self.graph.nodes[:begin] for v in node.results}
            bounds |= self._minimum_cut(self.graph.nodes[:end], earlier, crossing)
            plans.append(bounds | frozenset(v for v in self.needed if self.position[v.node] >= end))
            begin = end
        return plans

    def _ends(self, count: int) -> list[int]:
        """The positions at which segments end that have about equal shares of the needed bytes: each where the fewest bytes cross,
        at most half a segment away."""
        total, so_far = sum(self.bytes[v] for v in self.needed), 0
        made = [0] * self.cut
        for value in self.needed:
            made[self.position[value.node]] += self.bytes[value]
        near: dict[int, list[int]] = {}  # number of an end -> positions for it
        for i, more in enumerate(made):
            so_far += more
            near.setdefault((2 * count * so_far + total) // (2 * total), []).append(i + 1)

        def cost(place: int) -> tuple[int, bool]:  # of equal places the one behind a product, which is not computed again then
            return self._crossing[place], _is_cheap(self.forward[place - 1])
        narrowest = (min(places, key=cost) for number, places in near.items() if 0 < number < count)
        return sorted({*narrowest, self.cut})

    @cached_property
    def _crossing(self) -> list[int]:
        """The bytes that the forward pass makes in front of each position and reads behind it."""
        return self._live(self.forward)

    def _minimum_cut(self, nodes: Sequence[Node], sources: set[Value], sinks: frozenset[Value]) -> frozenset[Value]:
        """The stored values of the fewest bytes from which, and from parameters, `sinks` can be computed without
        computing `sources`."""
        import networkx
        network = networkx.DiGraph()
        network.add_nodes_from(("source", "sink"))
        for node in nodes:
            for value in node.results:
                is_kept = self._is_stored(value) and self.root(value) is value
                capacity = {"capacity": max(1, self.bytes[value])} if is_kept else {}  # none is infinite
                if value not in self._results and node.operands:
                    network.add_edge((value, "in"), (value, "out"), **capacity)
                    for operand in node.operands:
                        if operand.node is not None and operand not in self._results and operand.node.operands:
                            network.add_edge((operand, "out"), (value, "in"))
                    if value in sources and is_kept:
                        network.add_edge("source", (value, "in"))
        for value in sinks:
            network.add_edge((value, "out"), "sink")
        _, (near, _) = networkx.minimum_cut(network, "source", "sink")
        return frozenset(v for v in self.bytes if (v, "in") in near and (v, "out") not in near)

    # ---- the graph ---------------------------------------------------------------------------------------------------
    def apply(self, kept: frozenset[Value], count: int, what: str) -> Choice:
        """The graph with what is needed and not kept computed again, together what lies in one of `count` segments."""
        again = self.needed - kept
        segment = _segment_of(self._ends(count))
        builder = Builder(self.graph.name, fold=False)
        env = {p: builder.parameter(p.type, p.name) for p in self.graph.params}
        copies: dict[tuple[int, Value], Value] = {}
        waits: dict[int, tuple[Value, ...]] = {}
        work = 0

        def copy(value: Value, number: int) -> Value:
            nonlocal work
            node = value.node
            if node is None or not node.operands:
                return env[value]
            if (number, value) not in copies:
                if value in kept or value in self._results:
                    copies[number, value] = builder.emit(Barrier(), env[value], *waits[number])
                else:
                    builder.location = node.location
                    results = builder.emit_all(node.op, *(copy(o, number) for o in node.operands))
                    copies.update(((number, r), c) for r, c in zip(node.results, results))
                    work += _work(node)
            return copies[number, value]

        def operand_of(value: Value, node: Node) -> Value:
            root = self.root(value)
            if root not in again:
                return env[value]
            number = segment(self.position[root.node])
            if number not in waits:  # it begins when what arrives from behind is there
                waits[number] = tuple(env[o] for o in node.operands if o.node is not None
                                      and self.position[o.node] >= self.cut and o in env)[:1]
            return copy(value, number)
        for i, node in enumerate(self.graph.nodes):
            operands = ([env[o] for o in node.operands] if i < self.cut
                        else [operand_of(o, node) for o in node.operands])
            builder.location = node.location
            env.update(zip(node.results, builder.emit_all(node.op, *operands)))
        graph = builder.finish([env[r] for r in self.graph.results], self.graph.result_names)
        whole = sum(map(_work, self.graph.nodes))
        saved = sum(self.bytes[v] for v in self.needed - again) + sum(self.bytes[v] for v in kept - self.needed)
        return Choice(graph, what, sum(self.bytes[v] for v in self.needed), saved, work, work / max(1, whole),
                      _Passes(graph).live)


def _work(node: Node) -> int:
    return nominal(node.op.flops(*(o.type for o in node.operands)))


def _is_cheap(node: Node) -> bool:
    """Whether a node's work is no more than reading its operands."""
    return node.op.is_pointwise or node.op.is_view or isinstance(node.op, Reduce)


def _segment_of(ends: Sequence[int]) -> Callable[[int], int]:
    from bisect import bisect_right
    return lambda position: bisect_right(ends, position)
