"""Who makes a convolution's border?  A Pad of its own: the planner lays the input inside it, and kernels meet no edge."""

from __future__ import annotations

from dataclasses import replace

from ..graph.builder import rebuild
from ..graph.graph import Graph, Value, holds, map_subgraphs
from ..ops.conv import Conv
from ..ops.rearrange import Pad, Transpose


def separate_padding(graph: Graph) -> Graph:
    """`graph`, and the bodies in it, with the padding of floating-point convolutions as Pad nodes.

    What two convolutions pad alike is padded once: a training step's convolution and the gradient by its weights, which sees the input
    with images and channels exchanged, through a transpose.
    """
    if not holds(graph, Conv):
        return graph
    made: dict[tuple, tuple[Value, tuple[int, ...]]] = {}  # what is padded, where -> the Pad, and its axes' places there

    def transform(builder, node, operands):
        op = map_subgraphs(node.op, separate_padding)
        if op is not node.op:
            return builder.emit_all(op, *operands)
        if not isinstance(op, Conv) or not node.results[0].dtype.is_float or not any(low or high for low, high in op.padding):
            return None
        if op.input_dilation and any(d != 1 for d in op.input_dilation):
            return None
        low = (0, *(p[0] for p in op.padding), 0)
        high = (0, *(p[1] for p in op.padding), 0)
        base, axes = operands[0], tuple(range(len(low)))
        if isinstance(base.op, Transpose):
            base, axes = base.node.operands[0], base.op.permutation
        places = [axes.index(axis) for axis in range(len(axes))]
        key = base, tuple(low[i] for i in places), tuple(high[i] for i in places)
        if key not in made:
            made[key] = builder.emit(Pad(low, high, 0), operands[0]), axes
        padded, there = made[key]
        if there != axes:
            padded = builder.emit(Transpose(tuple(there.index(axis) for axis in axes)), padded)
        return builder.emit_all(replace(op, padding=((0, 0),) * len(op.padding)), padded, operands[1])
    return rebuild(graph, transform=transform, fold=False)
