"""How is a graph applied to a batch?  Node by node: every op knows what it does when operands have one more axis.

Values of a batch carry it as axis 0. A value that depends on nothing batched is computed once, without that axis.
"""

from __future__ import annotations

from typing import Sequence

from ..core.dims import Dim
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Graph, Value
from .rearrange import Broadcast, Reshape, Transpose


def batch_graph(builder: Builder, graph: Graph, operands: Sequence[Value], is_batched: Sequence[bool],
                size: Dim) -> tuple[list[Value], list[bool]]:
    """The results of `graph` for `size` sets of operands, emitted into `builder`, and which of them are batched."""
    env = dict(zip(graph.params, operands))
    batched = {p for p, flag in zip(graph.params, is_batched) if flag}
    outer = builder.location
    for node in graph.nodes:
        builder.location = node.location
        values, flags = [env[o] for o in node.operands], [o in batched for o in node.operands]
        results = (node.op.vmap(builder, values, flags, size) if any(flags)
                   else builder.emit_all(node.op, *values))
        for result, value in zip(node.results, results, strict=True):
            env[result] = value
            if value.type.rank > result.type.rank:
                batched.add(result)
    builder.location = outer
    return [env[r] for r in graph.results], [r in batched for r in graph.results]


def batched_graph(graph: Graph, is_batched: Sequence[bool], size: Dim,
                  wanted: Sequence[bool] | None = None) -> tuple[Graph, list[bool]]:
    """`graph` with the batch in front of the flagged parameters, and which of its results have it: those that depend on
    these parameters, and those `wanted`."""
    builder = Builder(graph.name)
    params = [builder.parameter(batched_type(p.type, flag, size), p.name) for p, flag in zip(graph.params, is_batched)]
    results, flags = batch_graph(builder, graph, params, is_batched, size)
    wanted = [*(wanted or ()), *[False] * len(results)][:len(results)]
    results = all_batched(builder, results, flags, size, wanted)
    return builder.finish(results, graph.result_names), [f or w for f, w in zip(flags, wanted)]


def batched_type(type: TensorType, is_batched: bool, size: Dim) -> TensorType:
    """The type of a value that is batched or not."""
    return TensorType((size, *type.shape), type.dtype) if is_batched else type


def with_batch(builder: Builder, x: Value, is_batched: bool, size: Dim) -> Value:
    """x with the batch in front: repeated where it has none."""
    if is_batched:
        return x
    axes = tuple(range(x.type.rank))
    if isinstance(x.op, Broadcast):
        (x,), axes, shape = x.node.operands, x.op.axes, x.op.shape
    else:
        shape = x.shape
    return builder.emit(Broadcast((size, *shape), tuple(a + 1 for a in axes)), x)


def all_batched(builder: Builder, operands: Sequence[Value], is_batched: Sequence[bool], size: Dim,
                wanted: Sequence[bool] | None = None) -> list[Value]:
    """The operands, each `with_batch`; only the `wanted` ones where that is given."""
    wanted = wanted or [True] * len(operands)
    return [with_batch(builder, x, flag or not want, size) for x, flag, want in zip(operands, is_batched, wanted)]


def move_axis(builder: Builder, x: Value, source: int, destination: int) -> Value:
    """x with axis `source` at place `destination`, the other axes in their order."""
    if source == destination:
        return x
    order = [a for a in range(x.type.rank) if a != source]
    order.insert(destination, source)
    return builder.emit(Transpose(tuple(order)), x)


def fold_batch(builder: Builder, x: Value) -> Value:
    """x [batch, n, ..] as [batch * n, ..]."""
    return builder.emit(Reshape((x.shape[0] * x.shape[1], *x.shape[2:])), x)


def unfold_batch(builder: Builder, x: Value, size: Dim, extent: Dim) -> Value:
    """x [batch * extent, ..] as [batch, extent, ..]."""
    return builder.emit(Reshape((size, extent, *x.shape[1:])), x)
