"""Which weights does a loop multiply by in every step?  Those that it captures are packed once, in front of it.

Weights that are no constants (a training step's) can't be packed while compiling; a product's kernel does it each time it runs.
Around a scan's product that would be once for each step.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import nominal
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Node, Value
from ..ops.control import Fused, Scan
from ..ops.pack import Unpack
from ..ops.rearrange import Pad, Reshape, Transpose
from ..targets.target import Target
from ..templates.depthwise import is_depthwise
from ..templates.gates import find_gates
from ..templates.problem import find_main
from .weights import WEIGHTED, weight_layout, weight_params, with_unpacks

FEW_STEPS = 4  # of a loop that does not pay for packing in front of it


def pack_captured(builder: Builder, op: Scan, operands: tuple[Value, ...], target: Target) -> tuple[Scan, tuple[Value, ...]]:
    """`op` and its operands, with what its body multiplies by captured in panels."""
    if nominal(op.steps(*(o.type for o in operands))) < FEW_STEPS:
        return op, operands
    body = op.body
    captured = dict(zip(body.params[op.carries + op.scanned:], operands[op.carries + op.scanned:]))
    found = {node: weight for node in body.nodes if (weight := _captured_weight(node, captured, target)) is not None}
    if not found:
        return op, operands
    packed: dict[tuple[Value, Unpack], Value] = {}
    inner = Builder(body.name, fold=False)
    env = {p: inner.parameter(p.type, p.name) for p in body.params}
    added = []
    for node in body.nodes:
        inner.location = node.location
        arguments, inside = [env[o] for o in node.operands], node.op
        if node in found:
            number, unpack = found[node]
            weight = node.operands[number]
            if (weight, unpack) not in packed:
                added.append(builder.emit(packing(unpack, weight.type), captured[weight]))
                packed[weight, unpack] = inner.parameter(added[-1].type, f"{weight.name}.packed")
            arguments[number] = packed[weight, unpack]
            inside = replace(inside, body=with_unpacks(inside.body, {number: (unpack, arguments[number].type)}))
        env.update(zip(node.results, inner.emit_all(inside, *arguments)))
    return replace(op, body=inner.finish([env[r] for r in body.results], body.result_names)), (*operands, *added)


def _captured_weight(node: Node, captured: dict[Value, Value], target: Target) -> tuple[int, Unpack] | None:
    """(operand number, layout) of what a contraction group multiplies by, where the loop captured it."""
    if not isinstance(node.op, Fused) or node.op.kind not in WEIGHTED:
        return None
    main, body = find_main(node.op.body), node.op.body
    if is_depthwise(main):
        return None
    for side in (1, 0):
        numbers = weight_params(main, side, body)
        if len(numbers) == 1 and node.operands[numbers[0]] in captured and main.operands[side].type.is_static:
            layout = weight_layout(main, side, len(find_gates(body, main)), target, node.op.schedule)
            if layout is not None and layout.shape == node.operands[numbers[0]].shape:
                return numbers[0], layout
    return None


def packing(unpack: Unpack, type: TensorType) -> Fused:
    """The group that puts a tensor of `type` into the panels of which `unpack` makes it again."""
    builder = Builder("pack", fold=False)
    x: Value = builder.emit(Reshape(unpack.split), builder.parameter(type, "x"))
    at = unpack.letters.index(unpack.column)
    columns, panels = unpack.split[at], unpack.packed_shape()[1]
    if panels * unpack.width != columns:
        nothing = (0,) * len(unpack.split)
        x = builder.emit(Pad(nothing, (*nothing[:at], panels * unpack.width - columns, *nothing[at + 1:]), 0.0), x)
    x = builder.emit(Reshape((*unpack.split[:at], panels, unpack.width, *unpack.split[at + 1:])), x)
    axes = [axis for c in unpack.letters for axis in (("panel", "lane") if c == unpack.column else (c,))]
    order = (*unpack.batch, "panel", *unpack.sums, "lane")
    x = builder.emit(Transpose(tuple(axes.index(axis) for axis in order)), x)
    return Fused(builder.finish([builder.emit(Reshape(unpack.packed_shape()), x)]), "loops", "pack")

