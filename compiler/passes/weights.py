"""In which layout does a kernel want its weights?  In panels of its tile's width; inside the group an Unpack gives them their meaning."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_letters
from typing import Mapping

from ..core.dims import product
from ..core.schedule import Schedule
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Graph, Node
from ..ops.conv import Conv
from ..ops.dequantize import Dequantize
from ..ops.op import Op
from ..ops.pack import Unpack
from ..targets.target import Target
from ..templates.narrow import narrow_layout
from ..templates.problem import code_sets, stored
from ..templates.tile import choose_gate_tile, choose_tile

WEIGHTED = ("contraction", "gated")  # the kinds of groups that multiply by weights


def weight_params(main: Node, side: int, body: Graph) -> tuple[int, ...]:
    """The numbers of the parameters of `body` that the operand on this side of its contraction `main` is made of, where nothing else
    reads them: one, or the codes and scales of narrow weights. None of them: ()."""
    value = main.operands[side]
    sources = value.node.operands if stored(value) is not value else (value,)
    if all(v.node is None and len(body.users[v]) == 1 for v in sources):
        return tuple(body.params.index(v) for v in sources)
    return ()


def layout_of(layout: Unpack, shape: tuple[int, ...]) -> Unpack:
    """The layout of codes or scales of `shape`, which belong to weights of `layout`."""
    return layout if shape == layout.shape else replace(layout, shape=shape, split=shape)


def weight_layout(main: Node, side: int, gates: int, target: Target,
                  schedule: Schedule = Schedule()) -> Unpack | None:
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
        narrow = narrow_layout(main, target)
        if narrow is not None:
            return narrow
        rank, groups = len(main.op.strides), main.op.groups
        letters = "uvw"[:rank] + "cgo"
        split = (*shape[:-1], groups, shape[-1] // groups)
        rows = product(main.results[0].shape[:-1])
        tile = choose_tile(rows, split[-1], dtype, target, schedule=schedule, sums=product(shape[:-1]))
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
        depth = product(extent[c] for c in sums)
        width = choose_tile(rows, count, dtype, target, code_sets(weight), schedule, depth).width
        return Unpack(shape, shape, mine, "".join(batch), "".join(sums), column, width)
    gate = next(c for c in ascii_letters if c not in mine)
    split = [d for c, d in zip(mine, shape) for d in ((gates, d // gates) if c == column else (d,))]
    width = choose_gate_tile(rows, count // gates, gates, dtype, target, schedule).width
    return Unpack(shape, tuple(split), mine.replace(column, gate + column), "".join(batch), "".join(sums) + gate, column, width)


def with_unpacks(body: Graph, unpacks: Mapping[int, tuple[Op, TensorType]]) -> Graph:
    """`body` whose parameters of these numbers come packed, of these types; the ops give them their meaning back."""
    builder = Builder(body.name, fold=False)
    env = {}
    for i, p in enumerate(body.params):
        unpack, stored_type = unpacks.get(i, (None, p.type))
        param = builder.parameter(stored_type, p.name)
        env[p] = param if unpack is None else builder.emit(unpack, param)
    for node in body.nodes:
        builder.location = node.location
        env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in body.results], body.result_names)
