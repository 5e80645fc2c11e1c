"""In which order do kernels run?  One that needs less memory at its peak, where there is such a one.

Greedy list scheduling: of the nodes that may run next, the one that frees most, or allocates least. The order as traced is kept
unless the peak falls.
"""

from __future__ import annotations

import heapq
from itertools import accumulate

from ..core.dims import nominal
from ..graph.graph import Graph, Node, Value
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.rearrange import Concat, Pad

LARGEST_GRAPH = 4000  # nodes beyond which the search is not worth its time


def order_for_memory(graph: Graph) -> Graph:
    """`graph` with its nodes in an order of lower peak memory, or as it is."""
    if len(graph.nodes) > LARGEST_GRAPH:
        return graph
    storage = storages(graph)
    greedy = _schedule(graph, storage)
    if _peak(graph, greedy, storage) < _peak(graph, graph.nodes, storage):
        return Graph(graph.params, tuple(greedy), graph.results, graph.name, graph.result_names)
    return graph


def storages(graph: Graph) -> dict[Value, Value]:
    """The value whose memory each value lies in: views in their operand's, operands of joins in the join."""
    found: dict[Value, Value] = {}
    for node in reversed(graph.nodes):
        if isinstance(node.op, (Concat, Pad)):
            for operand in node.operands:
                found.setdefault(operand, found.get(node.results[0], node.results[0]))
    for node in graph.nodes:
        for result in node.results:
            is_view = not isinstance(node.op, (Constant, Fused, Concat, Pad, Cond, While, Scan))
            if is_view and node.operands:
                found[result] = found.get(node.operands[0], node.operands[0])
            else:
                found.setdefault(result, result)
    return found


def storage_bytes(value: Value) -> int:
    """The bytes of memory that are planned for a storage: none for parameters and constants."""
    is_planned = value.node is not None and not isinstance(value.op, Constant)
    return nominal(value.type.nbytes) if is_planned else 0


def _uses(graph: Graph, storage: dict[Value, Value]) -> dict[Value, set[Node]]:
    """The nodes that need each storage, by reading it or by writing to it."""
    uses: dict[Value, set[Node]] = {}
    for node in graph.nodes:
        for value in (*node.operands, *node.results):
            uses.setdefault(storage.get(value, value), set()).add(node)
    return uses


def _peak(graph: Graph, order, storage: dict[Value, Value]) -> int:
    left = {s: len(nodes) for s, nodes in _uses(graph, storage).items()}
    kept = {storage.get(r, r) for r in graph.results}
    live: set[Value] = set()
    total = peak = 0
    for node in order:
        touched = {storage.get(v, v) for v in (*node.operands, *node.results)}
        for s in touched - live:
            live.add(s)
            total += storage_bytes(s)
        peak = max(peak, total)
        for s in touched:
            left[s] -= 1
            if not left[s] and s not in kept:
                live.discard(s)
                total -= storage_bytes(s)
    return peak


def live_bytes(graph: Graph, storage: dict[Value, Value]) -> tuple[list[int], dict[Value, tuple[int, int]]]:
    """(the bytes that are live at each node, the range of positions at which each storage is); results of the graph are
    left out."""
    position = {n: i for i, n in enumerate(graph.nodes)}
    kept = {storage.get(r, r) for r in graph.results}
    change, spans = [0] * (len(graph.nodes) + 1), {}
    for s, nodes in _uses(graph, storage).items():
        size = storage_bytes(s)
        if s in kept or not size:
            continue
        positions = [position[n] for n in nodes]
        start, end = spans[s] = min(positions), max(positions) + 1
        change[start] += size
        change[end] -= size
    return list(accumulate(change[:-1])), spans


def _schedule(graph: Graph, storage: dict[Value, Value]) -> list[Node]:
    uses = _uses(graph, storage)
    left = {s: len(nodes) for s, nodes in uses.items()}
    kept = {storage.get(r, r) for r in graph.results}
    position = {n: i for i, n in enumerate(graph.nodes)}
    waits = {n: len({o.node for o in n.operands if o.node is not None}) for n in graph.nodes}
    users: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for maker in {o.node for o in node.operands if o.node is not None}:
            users.setdefault(maker, []).append(node)
    live: set[Value] = set()
    order: list[Node] = []

    def change(node: Node) -> int:
        touched = {storage.get(v, v) for v in (*node.operands, *node.results)}
        made = sum(storage_bytes(s) for s in touched if s not in live)
        freed = sum(storage_bytes(s) for s in touched if left[s] == 1 and s not in kept)
        return made - freed
    ready: dict[Node, int] = {}  # those that may run next, and what each would change
    queue: list[tuple[int, int]] = []  # (change, position); an entry whose change is no longer so is passed over

    def push(node: Node) -> None:
        ready[node] = change(node)
        heapq.heappush(queue, (ready[node], position[node]))
    for node in graph.nodes:
        if not waits[node]:
            push(node)
    while queue:
        changed, at = heapq.heappop(queue)
        node = graph.nodes[at]
        if ready.get(node) != changed:
            continue
        del ready[node]
        order.append(node)
        affected: set[Node] = set()
        for s in {storage.get(v, v) for v in (*node.operands, *node.results)}:
            left[s] -= 1
            if s not in live or left[s] == 1:
                live.add(s)
                affected |= uses[s]
        for other in affected:
            if other in ready:
                push(other)
        for user in users.get(node, ()):
            waits[user] -= 1
            if not waits[user]:
                push(user)
    return order
