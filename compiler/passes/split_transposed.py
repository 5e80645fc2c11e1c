"""How is a transposed convolution computed without multiplying zeros?  One small convolution for each phase of the output.

Zeros between the inputs (input_dilation d) mean that output positions of one phase, o mod d, meet every d-th weight only: d dense
convolutions, whose results interleave. Elementwise ops behind it that treat channels alike are moved into each phase.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, holds, map_subgraphs
from ..ops.constant import Constant
from ..ops.conv import Conv
from ..ops.rearrange import Broadcast, Concat, Pad, Reshape, Slice


def split_transposed(graph: Graph) -> Graph:
    """`graph`, and the bodies in it, without input dilation in floating-point convolutions."""
    if not holds(graph, Conv):
        return graph
    builder = Builder(graph.name)
    env: dict[Value, Value] = {p: builder.parameter(p.type, p.name) for p in graph.params}
    done: set[Node] = set()
    for node in graph.nodes:
        if node in done:
            continue
        builder.location = node.location
        operands = tuple(env[o] for o in node.operands)
        if not _is_transposed(node):
            env.update(zip(node.results, builder.emit_all(map_subgraphs(node.op, split_transposed), *operands)))
            continue
        spatial = node.results[0].shape[1:-1]
        plain = all(s == 1 for s in (*node.op.strides, *node.op.dilation)) and all(isinstance(d, int) for d in node.operands[0].shape[1:-1])
        if plain and all(o % d == 0 and k >= d for o, d, k in zip(spatial, node.op.input_dilation, node.operands[1].shape)):
            chain = _channelwise_chain(graph, node)
            env[(chain or [node])[-1].results[0]] = _phases(builder, node, operands, chain)
            done.update(chain)
        else:
            env[node.results[0]] = _with_zeros(builder, node, operands)
    return builder.finish([env[r] for r in graph.results], graph.result_names)


def _is_transposed(node: Node) -> bool:
    return isinstance(node.op, Conv) and node.results[0].dtype.is_float and any(d != 1 for d in node.op.input_dilation)


def _channelwise_chain(graph: Graph, node: Node) -> list[Node]:
    """The elementwise nodes that follow `node` one by one, their other operands broadcasts of a number or one per channel."""
    chain: list[Node] = []
    value = node.results[0]
    last = value.type.rank - 1
    while value not in graph.results:
        users = graph.users.get(value, ())
        if len(set(users)) != 1 or not users[0].op.is_pointwise or users[0].results[0].shape != value.shape:
            break
        others = [o for o in users[0].operands if o is not value]
        if not all(isinstance(o.op, Broadcast) and isinstance(o.node.operands[0].op, Constant) and set(o.op.axes) <= {last} for o in others):
            break
        chain.append(users[0])
        value = users[0].results[0]
    return chain


def _phases(builder: Builder, node: Node, operands, chain: list[Node]) -> Value:
    op, (x, w) = node.op, operands
    rank = len(op.strides)
    shape = node.results[0].shape
    counts = tuple(o // d for o, d in zip(shape[1:-1], op.input_dilation))

    spans = [[_span(op, axis, phase, counts[axis], w.shape[axis]) for phase in range(op.input_dilation[axis])] for axis in range(rank)]
    low = [max(0, *(-shift for _, _, shift in row)) for row in spans]
    high = [max(0, *(shift + counts[i] + taps - 1 - x.shape[i + 1] for _, taps, shift in row)) for i, row in enumerate(spans)]
    padded = builder.emit(Pad((0, *low, 0), (0, *high, 0), 0), x) if any((*low, *high)) else x

    def one(phase: tuple[int, ...]) -> Value:
        parts = [spans[axis][p] for axis, p in enumerate(phase)]
        weights = builder.emit(Slice((*(first for first, _, _ in parts), 0, 0), (*(taps for _, taps, _ in parts), *w.shape[rank:]),
                                     (*op.input_dilation, 1, 1)), w)
        starts = (0, *(shift + low[i] for i, (_, _, shift) in enumerate(parts)), 0)
        sizes = (x.shape[0], *(counts[i] + taps - 1 for i, (_, taps, _) in enumerate(parts)), x.shape[-1])
        window = builder.emit(Slice(starts, sizes, (1,) * (rank + 2)), padded)
        value = builder.emit(Conv(op.strides, ((0, 0),) * rank, op.dilation, op.groups), window, weights)
        current = node.results[0]
        for link in chain:
            parts = []
            for operand in link.operands:
                if operand is current:
                    parts.append(value)
                else:  # a constant, which may stand behind the convolution in the graph
                    per_channel = builder.emit(operand.node.operands[0].op)
                    parts.append(builder.emit(Broadcast(value.shape, operand.op.axes), per_channel))
            value = builder.emit(link.op, *parts)
            current = link.results[0]
        apart = [shape[0]]
        for count in counts:
            apart += [count, 1]
        return builder.emit(Reshape((*apart, shape[-1])), value)

    def joined(phase: tuple[int, ...]) -> Value:
        axis = len(phase)
        if axis == rank:
            return one(phase)
        parts = [joined((*phase, p)) for p in range(op.input_dilation[axis])]
        return parts[0] if len(parts) == 1 else builder.emit(Concat(2 * axis + 2), *parts)
    return builder.emit(Reshape(shape), joined(()))


def _span(op: Conv, axis: int, phase: int, count: int, extent: int) -> tuple[int, int, int]:
    """(first tap, taps, where in the input the first one reads for the phase's first output) of one phase along one axis."""
    d, low = op.input_dilation[axis], op.padding[axis][0]
    first = (low - phase) % d
    return first, max(0, -(-(extent - first) // d)), (phase + first - low) // d


def _with_zeros(builder: Builder, node: Node, operands) -> Value:
    """The zeros written out: for extents that no number of equal phases makes."""
    op, (x, w) = node.op, operands
    for i, d in enumerate(op.input_dilation):
        axis = i + 1
        if d == 1:
            continue
        shape = x.shape
        apart = builder.emit(Reshape((*shape[:axis + 1], 1, *shape[axis + 1:])), x)
        high = [0] * (len(shape) + 1)
        high[axis + 1] = d - 1
        wide = builder.emit(Pad((0,) * (len(shape) + 1), tuple(high), 0), apart)
        flat = builder.emit(Reshape((*shape[:axis], shape[axis] * d, *shape[axis + 1:])), wide)
        sizes = list(flat.shape)
        sizes[axis] = (shape[axis] - 1) * d + 1
        x = builder.emit(Slice((0,) * len(shape), tuple(sizes), (1,) * len(shape)), flat)
    return builder.emit(replace(op, input_dilation=(1,) * len(op.strides)), x, w)
