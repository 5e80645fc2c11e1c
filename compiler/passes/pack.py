"""In which layout does a kernel want its weights?  Constant operands of contractions, packed once while compiling."""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import product
from ..core.dtypes import as_dtype
from ..core.options import Options
from ..core.remarks import Remarks
from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.conv import Conv
from ..ops.pack import Unpack
from ..ops.winograd import UnpackWinograd
from ..targets.target import Target
from ..templates.depthwise import is_depthwise
from ..templates.problem import find_main
from ..templates.tile import choose_tile
from ..templates.winograd_cost import choose_winograd


def pack_weights(graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
    """`graph` with the constant operands of its contraction groups in panels of their kernel's width, those of
    convolutions that are cheaper by Winograd's algorithm transformed for it.

    Inside the group an Unpack or UnpackWinograd gives the tensor its meaning back, so the graph still runs in the
    interpreter.
    """
    packed: dict[tuple, object] = {}

    def transform(builder: Builder, node: Node, operands):
        op = node.op
        if isinstance(op, (Cond, While, Scan)):
            return builder.emit_all(_inside(op, target, options, remarks), *operands)
        if not isinstance(op, Fused) or op.kind != "contraction":
            return None
        main = find_main(op.body)
        if is_depthwise(main):
            return None
        transform, reason = choose_winograd(main, target)
        found = _weight(main, op.body, operands)
        if reason and (found is None or not options.winograd):
            reason = "its weights are no constant" if found is None else "it is switched off (Options.winograd)"
            transform = None
        if reason:
            place = f" ({node.location})" if str(node.location) else ""
            remarks.add("pack", f"{op.label}{place} by Winograd's algorithm", transform is not None, reason)
        if found is None:
            return None
        side, param, number = found
        unpack = transform or _layout(main, side, target)
        if unpack is None:
            return None
        constant = operands[number].op
        key = (id(constant.array), unpack)
        if key not in packed:
            packed[key] = unpack.pack(constant.array)
        body = _with_unpack(op.body, param, unpack, packed[key])
        operands = list(operands)
        operands[number] = builder.constant(packed[key], constant.label)
        return builder.emit_all(replace(op, body=body), *operands)
    return rebuild(graph, transform=transform, fold=False)


def _weight(main: Node, body: Graph, operands) -> tuple[int, Value, int] | None:
    """(side of the contraction, parameter, operand number) of a constant that is used for nothing else in the group."""
    for side in (1, 0):
        value = main.operands[side]
        if value.node is None and value in body.params:
            number = body.params.index(value)
            if isinstance(operands[number].op, Constant) and len(body.users[value]) == 1:
                return side, value, number
    return None


def _layout(main: Node, side: int, target: Target) -> Unpack | None:
    weight, dtype = main.operands[side], main.results[0].dtype.compute
    shape = weight.shape
    if product(shape) == 0:
        return None
    if isinstance(main.op, Conv):
        if side != 1:
            return None
        rank, groups = len(main.op.strides), main.op.groups
        letters = "uvw"[:rank] + "cgo"
        split = (*shape[:-1], groups, shape[-1] // groups)
        rows = product(main.results[0].shape[:-1])
        tile = choose_tile(rows, split[-1], dtype, target)
        return Unpack(shape, split, letters, "g", letters[:rank] + "c", "o", tile.width)
    inputs, result = main.op.spec.split("->")
    mine, other = (inputs.split(",")[side], inputs.split(",")[1 - side])
    extent = dict(zip(mine, shape))
    columns = [c for c in result if c in mine and c not in other]
    last = next((c for c in reversed(result) if extent.get(c, None) != 1), None)
    if last not in columns:
        return None
    columns = [c for c in columns if extent[c] != 1] or columns
    sums = [c for c in mine if c not in result and c in other]
    if any(c not in result and c not in other for c in mine):
        return None
    batch = [c for c in result if c in mine and c in other] + [c for c in result if c in mine and c not in other and c != columns[-1]]
    rows = product(d for c, d in zip(other, main.operands[1 - side].shape) if c in result and c not in mine)
    tile = choose_tile(rows, extent[columns[-1]], dtype, target)
    return Unpack(shape, shape, mine, "".join(batch), "".join(sums), columns[-1], tile.width)


def _with_unpack(body: Graph, param: Value, unpack: Unpack | UnpackWinograd, array) -> Graph:
    builder = Builder(body.name, fold=False)
    env = {}
    for p in body.params:
        if p is param:
            stored = builder.parameter(TensorType(tuple(array.shape), as_dtype(array.dtype)), p.name)
            env[p] = builder.emit(unpack, stored)
        else:
            env[p] = builder.parameter(p.type, p.name)
    for node in body.nodes:
        builder.location = node.location
        env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in body.results], body.result_names)


def _inside(op, target: Target, options: Options, remarks: Remarks):
    changes = {}
    for name, value in vars(op).items():
        if isinstance(value, Graph):
            changes[name] = pack_weights(value, target, options, remarks)
        elif isinstance(value, tuple) and any(isinstance(g, Graph) for g in value):
            changes[name] = tuple(pack_weights(g, target, options, remarks) for g in value)
    return replace(op, **changes)
