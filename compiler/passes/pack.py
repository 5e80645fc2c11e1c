"""In which layout does a kernel want its weights?  Constant operands of contractions, packed once while compiling."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_letters

from ..core.dims import product
from ..core.dtypes import as_dtype
from ..core.options import Options
from ..core.remarks import Remarks
from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.conv import Conv
from ..ops.pack import Unpack
from ..ops.winograd import UnpackWinograd
from ..targets.target import Target
from ..templates.depthwise import is_depthwise
from ..templates.gates import find_gates
from ..templates.narrow import narrow_layout
from ..templates.problem import find_main
from ..templates.tile import choose_gate_tile, choose_tile
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
            return builder.emit_all(map_subgraphs(op, lambda body: pack_weights(body, target, options, remarks)), *operands)
        if not isinstance(op, Fused) or op.kind not in ("contraction", "gated"):
            return None
        main = find_main(op.body)
        if is_depthwise(main):
            return None
        winograd, reason = choose_winograd(main, target)
        found = _weight(main, op.body, operands)
        if reason and (found is None or not options.winograd):
            reason = "its weights are no constant" if found is None else "it is switched off (Options.winograd)"
            winograd = None
        if reason:
            place = f" ({node.location})" if str(node.location) else ""
            remarks.add("pack", f"{op.label}{place} by Winograd's algorithm", winograd is not None, reason)
        if found is None:
            return None
        side, param, number = found
        unpack = winograd or weight_layout(main, side, len(find_gates(op.body, main)), target)
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


def weight_layout(main: Node, side: int, gates: int, target: Target) -> Unpack | None:
    """How the weights on this side of a contraction lie in panels; None where its columns are not theirs alone.

    Where columns are cut into `gates`, one step of a panel holds the same units of each of them side by side.
    """
    weight, dtype = main.operands[side], main.results[0].dtype.compute
    shape = weight.shape
    if product(shape) == 0:
        return None
    if isinstance(main.op, Conv):
        if side != 1:
            return None
        narrow = narrow_layout(main, target)
        if narrow is not None:
            return narrow
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
    column, count = columns[-1], extent[columns[-1]]
    if not gates:
        return Unpack(shape, shape, mine, "".join(batch), "".join(sums), column, choose_tile(rows, count, dtype, target).width)
    gate = next(c for c in ascii_letters if c not in mine)
    split = [d for c, d in zip(mine, shape) for d in ((gates, d // gates) if c == column else (d,))]
    width = choose_gate_tile(rows, count // gates, gates, dtype, target).width
    return Unpack(shape, tuple(split), mine.replace(column, gate + column), "".join(batch), "".join(sums) + gate, column, width)


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

