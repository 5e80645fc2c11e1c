"""Which weights are packed while compiling?  Constant operands of contractions, into the layout that their kernel wants."""

from __future__ import annotations

from dataclasses import replace

from ..core.dtypes import as_dtype
from ..core.options import Options
from ..core.remarks import Remarks
from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, map_subgraphs
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.winograd import UnpackWinograd
from ..targets.target import Target
from ..templates.depthwise import is_depthwise
from ..templates.gates import find_gates
from ..templates.problem import find_main
from ..templates.winograd_cost import choose_winograd
from .pack_captured import pack_captured
from .weights import WEIGHTED, layout_of, weight_layout, weight_params, with_unpacks


def pack_weights(graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
    """`graph` with the constant operands of its contraction groups in panels of their kernel's width, those of
    convolutions that are cheaper by Winograd's algorithm transformed for it.

    Inside the group an Unpack or UnpackWinograd gives the tensor its meaning back, so the graph still runs in the
    interpreter. What scans multiply by and have captured is packed in front of them.
    """
    packed: dict[tuple, object] = {}

    def transform(builder: Builder, node: Node, operands):
        op = node.op
        if isinstance(op, (Cond, While, Scan)):
            op = map_subgraphs(op, lambda body: pack_weights(body, target, options, remarks))
            if isinstance(op, Scan):
                op, operands = pack_captured(builder, op, tuple(operands), target)
            return builder.emit_all(op, *operands)
        if not isinstance(op, Fused) or op.kind not in WEIGHTED:
            return None
        main = find_main(op.body)
        if is_depthwise(main):
            return None
        found = _constant_weights(main, op.body, operands)
        winograd = _winograd(main, node, found is not None, target, options, remarks)
        layout = found and (winograd or weight_layout(main, found[0], len(find_gates(op.body, main)), target))
        if not layout:
            return None
        operands, unpacks = list(operands), {}
        for number in found[1]:
            constant = operands[number].op
            unpack = winograd or layout_of(layout, constant.array.shape)
            key = (id(constant.array), unpack)
            if key not in packed:
                packed[key] = unpack.pack(constant.array)
            array = packed[key]
            unpacks[number] = unpack, TensorType(tuple(array.shape), as_dtype(array.dtype))
            operands[number] = builder.constant(array, constant.label)
        return builder.emit_all(replace(op, body=with_unpacks(op.body, unpacks)), *operands)
    return rebuild(graph, transform=transform, fold=False)


def _constant_weights(main: Node, body: Graph, operands) -> tuple[int, tuple[int, ...]] | None:
    """(side of the contraction, numbers of the operands that make its weights), where those are constants."""
    for side in (1, 0):
        numbers = weight_params(main, side, body)
        if numbers and all(isinstance(operands[n].op, Constant) for n in numbers):
            return side, numbers
    return None


def _winograd(main: Node, node: Node, is_constant: bool, target: Target, options: Options,
              remarks: Remarks) -> UnpackWinograd | None:
    """How the weights are transformed where Winograd's algorithm is to be used; a remark says why, or why not."""
    unpack, reason = choose_winograd(main, target)
    if reason and not (is_constant and options.winograd):
        reason = "it is switched off (Options.winograd)" if is_constant else "its weights are no constant"
        unpack = None
    if reason:
        place = f" ({node.location})" if str(node.location) else ""
        remarks.add("pack", f"{node.op.label}{place} by Winograd's algorithm", unpack is not None, reason, node.op.body.nodes)
    return unpack
