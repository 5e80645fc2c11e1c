"""In which layout does a kernel want its weights?  Constant operands of contractions, packed once while compiling."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_letters

from ..core.dims import product
from ..core.dtypes import as_dtype
from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.conv import Conv
from ..ops.dequantize import Dequantize
from ..ops.pack import Unpack
from ..targets.target import Target
from ..templates.depthwise import is_depthwise
from ..templates.gates import find_gates
from ..templates.problem import code_sets, find_main, stored
from ..templates.tile import choose_gate_tile, choose_tile


def pack_weights(graph: Graph, target: Target) -> Graph:
    """`graph` with the constant operands of its contraction groups in panels of their kernel's width.

    Inside the group an Unpack gives the tensor its meaning back, so the graph still runs in the interpreter.
    """
    packed: dict[tuple, object] = {}

    def transform(builder: Builder, node: Node, operands):
        op = node.op
        if isinstance(op, (Cond, While, Scan)):
            return builder.emit_all(map_subgraphs(op, lambda body: pack_weights(body, target)), *operands)
        if not isinstance(op, Fused) or op.kind not in ("contraction", "gated"):
            return None
        main = find_main(op.body)
        if is_depthwise(main):
            return None
        found = _weight(main, op.body, operands)
        layout = found and weight_layout(main, found[0], len(find_gates(op.body, main)), target)
        if not layout:
            return None
        operands, unpacks = list(operands), {}
        for number in found[1]:
            constant = operands[number].op
            unpack = layout_of(layout, constant.array.shape)
            key = (id(constant.array), unpack)
            if key not in packed:
                packed[key] = unpack.pack(constant.array)
            unpacks[op.body.params[number]] = unpack, packed[key]
            operands[number] = builder.constant(packed[key], constant.label)
        return builder.emit_all(replace(op, body=_with_unpacks(op.body, unpacks)), *operands)
    return rebuild(graph, transform=transform, fold=False)


def _weight(main: Node, body: Graph, operands) -> tuple[int, list[int]] | None:
    """(side of the contraction, numbers of the operands that make its weights): constants that are used for nothing else in the
    group."""
    for side in (1, 0):
        value = main.operands[side]
        sources = value.node.operands if stored(value) is not value else (value,)
        if all(v.node is None and v in body.params for v in sources):
            numbers = [body.params.index(v) for v in sources]
            if all(isinstance(operands[n].op, Constant) and len(body.users[v]) == 1 for n, v in zip(numbers, sources)):
                return side, numbers
    return None


def layout_of(layout: Unpack, shape: tuple[int, ...]) -> Unpack:
    """The layout of codes or scales of `shape`, which belong to weights of `layout`."""
    return layout if shape == layout.shape else replace(layout, shape=shape, split=shape)


def weight_layout(main: Node, side: int, gates: int, target: Target) -> Unpack | None:
    """How the weights on this side of a contraction lie in panels; None where its columns are not theirs alone.

    Where columns are cut into `gates`, one step of a panel holds the same units of each of them side by side.
    """
    weight, dtype = main.operands[side], main.results[0].dtype.compute
    shape = weight.shape
    coded = isinstance(weight.op, Dequantize)
    if product(shape) == 0:
        return None
    if isinstance(main.op, Conv):
        if side != 1 or coded:
            return None
        rank, groups = len(main.op.strides), main.op.groups
        letters = "uvw"[:rank] + "cgo"
        split = (*shape[:-1], groups, shape[-1] // groups)
        rows = product(main.results[0].shape[:-1])
        tile = choose_tile(rows, split[-1], dtype, target)
        return Unpack(shape, split, letters, "g", letters[:rank] + "c", "o", tile.width)
    inputs, result = main.op.spec.split("->")
    mine, other = (inputs.split(",")[side], inputs.split(",")[1 - side])
    if coded and (gates or len(mine) != 2 or mine[weight.op.axis] in result or mine[weight.op.axis] not in other):
        return None
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
        return Unpack(shape, shape, mine, "".join(batch), "".join(sums), column, choose_tile(rows, count, dtype, target, code_sets(weight)).width)
    gate = next(c for c in ascii_letters if c not in mine)
    split = [d for c, d in zip(mine, shape) for d in ((gates, d // gates) if c == column else (d,))]
    width = choose_gate_tile(rows, count // gates, gates, dtype, target).width
    return Unpack(shape, tuple(split), mine.replace(column, gate + column), "".join(batch), "".join(sums) + gate, column, width)


def _with_unpacks(body: Graph, unpacks: dict[Value, tuple[Unpack, object]]) -> Graph:
    builder = Builder(body.name, fold=False)
    env = {}
    for p in body.params:
        if p in unpacks:
            unpack, array = unpacks[p]
            stored_type = TensorType(tuple(array.shape), as_dtype(array.dtype))
            env[p] = builder.emit(unpack, builder.parameter(stored_type, p.name))
        else:
            env[p] = builder.parameter(p.type, p.name)
    for node in body.nodes:
        builder.location = node.location
        env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in body.results], body.result_names)

