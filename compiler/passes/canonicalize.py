"""How does a graph come into canonical form?  Re-emitted with every rewrite rule until none applies; dead nodes are
dropped."""

from __future__ import annotations

from collections import Counter

from ..core.remarks import Remarks
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.constant import Constant
from ..rewrites import RewriteBuilder

ROUNDS = 8  # most graphs need two: one that changes them and one that finds nothing left to do


def canonicalize(graph: Graph, remarks: Remarks | None = None) -> Graph:
    """`graph` with constants folded, equal nodes shared, dead nodes dropped and all rewrite rules applied, in the
    graphs that its ops hold too. The same graph where there is nothing to do, which it remembers. `remarks` takes how
    often each rule applied.
    """
    if "_is_canonical" in graph.__dict__:
        return graph
    total: Counter[str] = Counter()
    for _ in range(ROUNDS):
        result, fired = _rebuild(graph, remarks)
        total += fired
        if not fired and list(map(_kind, result.nodes)) == list(map(_kind, graph.nodes)):
            graph.__dict__["_is_canonical"] = True  # nothing was rewritten, folded, shared or dropped
            break
        graph = result
    if remarks is not None:
        for name, count in sorted(total.items()):
            remarks.add("canonicalize", f"{graph.name}: {name}", True, f"{count} times")
    return graph


def _kind(node: Node):
    """What tells whether a node was changed by something else than a rule."""
    return type(node.op) if isinstance(node.op, Constant) else node.op


def _rebuild(graph: Graph, remarks: Remarks | None) -> tuple[Graph, Counter[str]]:
    """One round: the graph re-emitted, and how often each rule applied."""
    builder = RewriteBuilder(graph.name)
    uses = Counter(o for node in graph.nodes for o in node.operands) + Counter(graph.results)
    env: dict[Value, Value] = {}

    def define(old: Value, new: Value) -> None:
        env[old] = new
        builder.uses[new] += uses[old]

    def inside(body: Graph) -> Graph:
        return canonicalize(body, remarks)
    for param in graph.params:
        define(param, builder.parameter(param.type, param.name))
    for node in graph.nodes:
        builder.location = node.location
        results = builder.emit_all(map_subgraphs(node.op, inside), *(env[o] for o in node.operands), like=node)
        for old, new in zip(node.results, results):
            define(old, new)
    return builder.finish([env[r] for r in graph.results], graph.result_names), builder.fired

