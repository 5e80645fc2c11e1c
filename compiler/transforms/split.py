"""What does a graph keep for its derivative?  It is split into a forward half that saves values, and a backward half
that takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from .tape import Tape


@dataclass(frozen=True)
class Residual:
    """What the backward half reads: the parameter numbered `param`, or result `index` of the node at `position`."""

    param: int = -1
    position: int = -1
    index: int = 0


@dataclass(frozen=True)
class Split:
    """`forward`: (params..) -> (results.., the values that `saved` names).
    `backward`: (values that `residuals` names.., a cotangent for each result of `present`..) -> (a cotangent for each
    of the params differentiated by for which `pulled` is True; the others are zero)."""

    forward: Graph
    backward: Graph
    residuals: tuple[Residual, ...]
    present: tuple[int, ...]
    pulled: tuple[bool, ...]

    @property
    def saved(self) -> tuple[Residual, ...]:
        """The residuals that are no parameters."""
        return tuple(r for r in self.residuals if r.position >= 0)

    def find(self, params: Sequence, saved: dict[Residual, object]) -> list:
        """The residuals in order, out of what is known of params and saved values."""
        return [saved[r] if r.position >= 0 else params[r.param] for r in self.residuals]


def split(graph: Graph, wrt: Sequence[int], present: Sequence[int] | None = None, fixed: Sequence[int] = ()) -> Split:
    """`graph` differentiated by the params numbered `wrt`, for cotangents of the results numbered `present` (by default
    of all floats).

    Views are computed again where they are read rather than saved, and so is what depends on the params numbered
    `fixed` alone. Splits of one graph name equal values by equal residuals, whatever is present.
    """
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    tape = Tape(builder, {params[i] for i in wrt})
    results = tape.emit(graph, params)
    nodes = list(builder.nodes)
    if present is None:
        present = [i for i, r in enumerate(results) if r.dtype.is_float]
    cotangents = [builder.parameter(results[i].type, f"cotangent{i}") for i in present]
    pulled = tape.pull([results[i] for i in present], cotangents, [params[i] for i in wrt])
    found = [p for p in pulled if p is not None]
    backward = builder.finish(found)
    before = {id(node): position for position, node in enumerate(nodes)}
    again = _computed_again(nodes, {params[i] for i in fixed})
    halves = _halves(backward, nodes, results, params, cotangents, before, again)
    return replace(halves, present=tuple(present), pulled=tuple(p is not None for p in pulled))


def _halves(late: Graph, nodes: Sequence[Node], results: Sequence[Value], params: Sequence[Value],
            cotangents: Sequence[Value], before: dict[int, int], again: set[int]) -> Split:
    """The forward half out of `nodes`, `results` and `params`, and the backward half, which gives late's results."""
    residuals = _frontier(late, before, again, set(cotangents))
    forward = Builder(late.name)
    forward.params, forward.nodes = list(params), list(nodes)
    saved = [value for value in residuals if value.node is not None]
    names = tuple(Residual(param=value.index) if value.node is None else
                  Residual(position=before[id(value.node)], index=value.index) for value in residuals)
    return Split(forward.finish([*results, *saved]), _backward(late, residuals, cotangents, before, again), names, (),
                 (True,) * len(late.results))


def separate(graph: Graph, late: Sequence[int], results: int) -> Split:
    """`graph` in two halves: what does not depend on the params numbered `late`, which gives its first `results`
    results, and the rest, which takes those params as the cotangents of a `Split`."""
    cotangents = [graph.params[i] for i in late]
    depends = set(cotangents)
    before: dict[int, int] = {}
    for position, node in enumerate(graph.nodes):
        if any(o in depends for o in node.operands):
            depends.update(node.results)
        else:
            before[id(node)] = position
    early = [n for n in graph.nodes if id(n) in before]
    rest = Graph(graph.params, graph.nodes, graph.results[results:], graph.name)
    return _halves(rest, early, graph.results[:results], [p for p in graph.params if p not in depends], cotangents,
                   before, _computed_again(early, set()))


def _computed_again(nodes: Sequence[Node], fixed: set[Value]) -> set[int]:
    """Nodes (by id) whose results are not saved: constants, views, and what depends on `fixed` values alone."""
    found: set[int] = set()
    known = set(fixed)
    for node in nodes:
        if all(o in known for o in node.operands):
            known.update(node.results)
            found.add(id(node))
        elif node.op.is_view:
            found.add(id(node))
    return found


def _frontier(graph: Graph, before: dict[int, int], again: set[int], cotangents: set[Value]) -> list[Value]:
    """What the backward part of `graph` reads of the forward part, whose nodes are in `before`: parameters, and results
    of nodes; nodes in `again` are looked through."""
    found: dict[Value, None] = {}
    seen: set[Value] = set()

    def need(value: Value) -> None:
        if value in seen or value in cotangents:
            return
        seen.add(value)
        if value.node is None or id(value.node) in before and id(value.node) not in again:
            found[value] = None
        elif id(value.node) in before:
            for operand in value.node.operands:
                need(operand)
    for node in graph.nodes:
        if id(node) not in before:
            for operand in node.operands:
                need(operand)
    for result in graph.results:
        need(result)
    return list(found)


def _backward(graph: Graph, residuals: Sequence[Value], cotangents: Sequence[Value], before: dict[int, int],
              again: set[int]) -> Graph:
    """The part of `graph` behind the residuals, as a function of them and of the cotangents."""
    builder = Builder(f"{graph.name}_backward", fold=False)
    env = {r: builder.parameter(r.type, r.name or f"residual{i}") for i, r in enumerate(residuals)}
    env.update((c, builder.parameter(c.type, c.name)) for c in cotangents)
    for node in graph.nodes:
        is_saved = id(node) in before and id(node) not in again
        if not is_saved and all(o in env for o in node.operands):
            builder.location = node.location
            env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in graph.results])
