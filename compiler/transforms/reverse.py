"""Which graph computes derivatives in reverse mode?  The gradient in one graph, or a forward and a backward half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from ..ops.constants import filled
from .tape import Tape


def gradient(graph: Graph, wrt: Sequence[int]) -> Graph:
    """(params..) -> (results.., gradients by the params numbered `wrt`) of the first result, a float scalar."""
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    wanted = [params[i] for i in wrt]
    tape = Tape(builder, set(wanted))
    results = tape.emit(graph, params)
    one = builder.constant(np.ones((), results[0].dtype.numpy))
    found = tape.pull(results[:1], [one], wanted)
    names = [*graph.output_names, *(f"d_{w.name}" for w in wanted)]
    return builder.finish([*results, *_materialized(builder, wanted, found)], names if len(set(names)) == len(names) else ())


def reverse(graph: Graph, wrt: Sequence[int]) -> Graph:
    """(params.., a cotangent for each float result) -> (results.., cotangents of the params numbered `wrt`)."""
    builder = Builder(graph.name)
    joint = _emit_joint(builder, graph, wrt)
    return builder.finish([*joint.results, *_materialized(builder, joint.wanted, joint.pulled)])


@dataclass(frozen=True)
class Halves:
    """`forward`: (params..) -> (results.., residuals..), the first `results` of them those of the graph.
    `backward`: (residuals.., cotangents of the float results..) -> (cotangents of the params..)."""

    forward: Graph
    backward: Graph
    results: int


def halves(graph: Graph, wrt: Sequence[int]) -> Halves:
    """The derivative of `graph` by the params numbered `wrt` as two graphs, with what is saved between them."""
    builder = Builder(graph.name)
    joint = _emit_joint(builder, graph, wrt)
    pulled = _materialized(builder, joint.wanted, joint.pulled)
    before = {id(node) for node in builder.nodes[:joint.forward_nodes]}
    whole = builder.finish(pulled)
    residuals = _frontier(whole, before, set(joint.cotangents))
    forward = Builder(graph.name)
    forward.params, forward.nodes = builder.params[:len(graph.params)], builder.nodes[:joint.forward_nodes]
    backward = Builder(f"{graph.name}_backward", fold=False)
    env = {r: backward.parameter(r.type, r.name or f"residual{i}") for i, r in enumerate(residuals)}
    env.update((c, backward.parameter(c.type, c.name)) for c in joint.cotangents)
    for node in whole.nodes:
        if not any(r in env for r in node.results) and (id(node) not in before or _is_free(node)):
            if all(o in env for o in node.operands):
                backward.location = node.location
                env.update(zip(node.results, backward.emit_all(node.op, *(env[o] for o in node.operands))))
    return Halves(forward.finish([*joint.results, *residuals]), backward.finish([env[p] for p in pulled]),
                  len(joint.results))


@dataclass(frozen=True)
class _Joint:
    results: tuple[Value, ...]
    cotangents: list[Value]
    wanted: list[Value]
    pulled: tuple[Value | None, ...]
    forward_nodes: int


def _emit_joint(builder: Builder, graph: Graph, wrt: Sequence[int]) -> _Joint:
    """The graph and its pullback, with parameters for the cotangents of the float results behind those of the graph."""
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    wanted = [params[i] for i in wrt]
    tape = Tape(builder, set(wanted))
    results = tape.emit(graph, params)
    count = len(builder.nodes)
    floats = [r for r in results if r.dtype.is_float]
    cotangents = [builder.parameter(r.type, f"cotangent{i}") for i, r in enumerate(floats)]
    return _Joint(results, cotangents, wanted, tape.pull(floats, cotangents, wanted), count)


def _materialized(builder: Builder, values: Sequence[Value], cotangents: Sequence[Value | None]) -> list[Value]:
    """The cotangents, zeros where nothing depends on a value."""
    return [filled(builder, v.type, 0) if c is None else c for v, c in zip(values, cotangents)]


def _is_free(node: Node) -> bool:
    """Whether its results are computed again rather than kept: views of what is there, and constants."""
    return node.op.is_view or not node.operands


def _frontier(graph: Graph, before: set[int], cotangents: set[Value]) -> list[Value]:
    """What nodes of the backward part of `graph` read of the rest: parameters and results of nodes in `before`.

    Views and constants are looked through: what they read is kept in their place.
    """
    found: dict[Value, None] = {}

    def need(value: Value) -> None:
        if value in cotangents or value in found:
            return
        if value.node is not None and (id(value.node) not in before):
            return
        if value.node is not None and _is_free(value.node):
            for operand in value.node.operands:
                need(operand)
        else:
            found[value] = None
    for node in graph.nodes:
        if id(node) not in before:
            for operand in node.operands:
                need(operand)
    for result in graph.results:
        need(result)
    return list(found)
