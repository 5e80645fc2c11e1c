"""Which results of a product's kernel do its readers make again?  Those that a few operations give from another result that they read
anyway: memory and its bandwidth cost more than arithmetic.

A gelu's backward pass needs 1 + erf(x) and x; x is stored, so the kernel that reads both computes the first of the second (what Chen and
others, "Training deep nets with sublinear memory cost", 2016, do for whole layers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.remarks import Remarks
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..lower.loops import SLOW
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.rearrange import Broadcast
from .fuse import is_contraction

MOST_OPERATIONS = 8  # that a reader does again, at most one of them a slow function


@dataclass(frozen=True)
class _Recipe:
    """How to make a result again: the nodes of the body that make it, and which other results (by number) these begin with."""

    nodes: tuple[Node, ...]
    made: Value
    sources: dict[Value, int]


def recompute(graph: Graph, remarks: Remarks) -> Graph:
    """`graph`, of groups, and the bodies in it, with fewer results of their contraction groups."""
    dropped: dict[Value, tuple[Node, _Recipe]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Fused) and node.op.kind == "contraction" and len(node.results) > 1:
            for number, value in enumerate(node.results):
                recipe = _recipe(node.op.body, number, [i for i, r in enumerate(node.results) if r in dropped])
                if recipe is not None and _readers_can(graph, node, value, recipe):
                    dropped[value] = node, recipe
                    remarks.add("recompute", node.op.label, True, f"result {number} is made again by what reads it", node.op.body.nodes)
    has_bodies = any(isinstance(node.op, (Cond, While, Scan)) for node in graph.nodes)
    return _without(graph, dropped, remarks) if dropped or has_bodies else graph


def _recipe(body: Graph, number: int, gone: Sequence[int]) -> _Recipe | None:
    """How result `number` is made of results that are kept; None where it takes more than that, or too much."""
    kept = {r: i for i, r in enumerate(body.results) if i != number and i not in gone}
    found: dict[Node, None] = {}
    sources: dict[Value, int] = {}
    pending = [body.results[number]]
    while pending:
        value = pending.pop()
        if value in kept:
            sources[value] = kept[value]
        elif value.node is None:
            return None
        elif value.node not in found:
            op = value.op
            is_number = isinstance(op, Broadcast) and isinstance(value.node.operands[0].op, Constant)
            if not (op.is_pointwise or is_number or isinstance(op, Constant)):
                return None
            found[value.node] = None
            pending += value.node.operands
    pointwise = [n for n in found if n.op.is_pointwise and n.operands]
    slow = sum(getattr(n.op, "kernel_op", "") in SLOW for n in pointwise)
    if not sources or not pointwise or len(pointwise) > MOST_OPERATIONS or slow > 1:
        return None
    return _Recipe(tuple(n for n in body.nodes if n in found), body.results[number], sources)


def _readers_can(graph: Graph, node: Node, value: Value, recipe: _Recipe) -> bool:
    """Whether each reader is a group that reads the sources too, and reads `value` element by element."""
    users = graph.users.get(value, ())
    if value in graph.results or not users:
        return False
    sources = [node.results[i] for i in recipe.sources.values()]
    for user in users:
        if not isinstance(user.op, Fused) or user.op.kind == "single" or not all(s in user.operands for s in sources):
            return False
        param = user.op.body.params[user.operands.index(value)]
        if not all(u.op.is_pointwise and not is_contraction(u) for u in user.op.body.users.get(param, ())):
            return False
    return True


def _without(graph: Graph, dropped: dict[Value, tuple[Node, _Recipe]], remarks: Remarks) -> Graph:
    def transform(builder: Builder, node: Node, operands: Sequence[Value]):
        if isinstance(node.op, (Cond, While, Scan)):
            return builder.emit_all(map_subgraphs(node.op, lambda body: recompute(body, remarks)), *operands)
        if not isinstance(node.op, Fused) or not any(v in dropped for v in (*node.operands, *node.results)):
            return None
        kept_operands = [i for i, v in enumerate(node.operands) if v not in dropped]
        body = node.op.body
        inner = Builder(body.name, fold=False)
        env = {body.params[i]: inner.parameter(body.params[i].type, body.params[i].name) for i in kept_operands}
        for i, value in enumerate(node.operands):
            if value in dropped:
                maker, recipe = dropped[value]
                again = {source: env[body.params[node.operands.index(maker.results[j])]] for source, j in recipe.sources.items()}
                for n in recipe.nodes:
                    again.update(zip(n.results, inner.emit_all(n.op, *(again[o] for o in n.operands))))
                env[body.params[i]] = again[recipe.made]
        for n in body.nodes:
            inner.location = n.location
            env.update(zip(n.results, inner.emit_all(n.op, *(env[o] for o in n.operands))))
        kept = [i for i, v in enumerate(node.results) if v not in dropped]
        made = builder.emit_all(replace(node.op, body=inner.finish([env[body.results[i]] for i in kept])), *(operands[i] for i in kept_operands))
        by_place = dict(zip(kept, made))
        return tuple(by_place.get(i, made[0]) for i in range(len(node.results)))  # of those that are gone nobody reads one
    return rebuild(graph, transform=transform, fold=False)
