"""How does a depthwise convolution become a kernel?  Channels are the lanes; weights are held while pixels pass by."""

from __future__ import annotations

from ..graph.graph import Graph, Node
from ..kernel.ir import Buffer, Kernel
from ..ops.conv import Conv
from ..targets.target import Target


def is_depthwise(node: Node) -> bool:
    """Whether every channel is convolved with its own window alone."""
    return (isinstance(node.op, Conv) and node.op.groups > 1 and node.op.groups == node.results[0].shape[-1]
            and node.operands[1].shape[-2] == 1)


def lower_depthwise(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str) -> Kernel:
    raise NotImplementedError
