"""What does a contraction look like to the tile engine?  Axes of rows, columns and sums, with strides on both operands."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.dims import Dim, product
from ..graph.graph import Graph, Node, Value
from ..kernel.builder import BlockBuilder, Expr, as_expr, floordiv, mod
from ..kernel.ir import Buffer
from ..ops.contract import Contract
from ..ops.conv import Conv
from ..ops.dequantize import Dequantize
from ..ops.elementwise import Cast
from ..ops.pack import Unpack
from ..ops.rearrange import without_units
from .gates import find_gates


@dataclass(frozen=True)
class Axis:
    """`extent` positions; each moves operand A by `a` elements, operand B by `b`, and the result's index `dim` by `scale`."""

    extent: Dim
    a: Dim = 0
    b: Dim = 0
    dim: int | None = None
    scale: Dim = 1


@dataclass(frozen=True)
class Problem:
    """result[batch, rows, columns] = sum over `sums` of A * B. `columns` is the axis that the lanes walk.

    `packed` is the width of B's panels where B is packed ([batch][panel][sum][width], sums in the order of `sums`), else 0. With
    `gates` the result is that many parts along its last axis, `columns` is one of them, and a step of a panel holds `width` columns of
    each. Where B holds `codes`, its elements are what these stand for; `scales` lie packed like it.
    """

    node: Node
    a: Value
    b: Value
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: Axis
    sums: tuple[Axis, ...]
    packed: int = 0
    gates: int = 1
    codes: Dequantize | None = None
    scales: Value | None = None

    @property
    def row_count(self) -> Dim:
        return product(x.extent for x in self.rows)

    @property
    def sum_count(self) -> Dim:
        return product(x.extent for x in self.sums)

    @property
    def batch_count(self) -> Dim:
        return product(x.extent for x in self.batch)


def decode(block: BlockBuilder, axes: tuple[Axis, ...], flat: Expr) -> list[Expr]:
    """The position on each of `axes` (outermost first) of a flat index over all of them."""
    position: list[Expr] = []
    for axis in reversed(axes[1:]):
        position.insert(0, block.let("at", mod(flat, as_expr(axis.extent))))
        flat = floordiv(flat, as_expr(axis.extent))
    return [block.let("at", flat), *position] if axes else []


def find_main(body: Graph) -> Node:
    """The contraction of a contraction group."""
    return next(n for n in body.nodes if isinstance(n.op, (Contract, Conv)))


def make_problem(body: Graph, buffers: dict[Value, Buffer], outputs: list[Buffer]) -> Problem:
    """The problem of a group: `buffers` are its operands'; `outputs`, and the operands of the result's shape, decide what merges."""
    node = find_main(body)
    problem = _from_conv(node, buffers) if isinstance(node.op, Conv) else _from_contract(node, buffers)
    shape = node.results[0].shape
    gates = find_gates(body, node)
    if gates:
        shape = gates[0].results[0].shape
        problem = replace(problem, columns=replace(problem.columns, extent=shape[-1]), gates=len(gates))
    like_result = [*outputs, *(b for v, b in buffers.items() if v not in (problem.a, problem.b, problem.scales))]
    return _merge(problem, [aligned(b, shape) for b in like_result if without_units(b.shape) == without_units(shape)])


def aligned(buffer: Buffer, shape: tuple[Dim, ...]) -> Buffer:
    """`buffer`, whose shape differs from `shape` in unit axes only, seen as `shape`."""
    strides = iter([s for d, s in zip(buffer.shape, buffer.strides) if d != 1])
    return replace(buffer, shape=shape, strides=tuple(0 if d == 1 else next(strides) for d in shape))


def spread(index, shape: tuple[Dim, ...], other: tuple[Dim, ...]) -> tuple:
    """`index` into a tensor of `shape` as the index into one of shape `other`, which differs in unit axes only."""
    wide = iter([i for d, i in zip(shape, index) if d != 1])
    return tuple(as_expr(0) if d == 1 else next(wide) for d in other)


def stored(value: Value) -> Value:
    """What lies in memory of a contraction's operand: narrow weights are widened where they are used."""
    return value.node.operands[0] if isinstance(value.op, (Cast, Dequantize)) else value


def code_sets(value: Value) -> int:
    """How many sets of accumulators a product with the weights `value` keeps: two where every run of them has a scale of its own."""
    op = value.op
    return 2 if isinstance(op, Dequantize) and op.group != value.shape[op.axis] else 1


def _operand(value: Value, buffers: dict[Value, Buffer]) -> tuple[Value, Buffer, int]:
    """(value, its buffer, panel width): looks through Unpack, and what widens narrow weights."""
    value = stored(value)
    if isinstance(value.op, Unpack):
        return value.node.operands[0], buffers[value.node.operands[0]], value.op.width
    return value, buffers[value], 0


def contract_problem(node: Node, buffers: dict[Value, Buffer], fixed: Value | None = None) -> Problem:
    """A Contract's problem with its axes as they are, unit ones dropped; `fixed` names the operand that must be A."""
    problem = _from_contract(node, buffers, fixed)
    return replace(problem, **{name: tuple(a for a in getattr(problem, name) if a.extent != 1) for name in ("batch", "rows", "sums")})


def _from_contract(node: Node, buffers: dict[Value, Buffer], fixed: Value | None = None) -> Problem:
    op = node.op
    inputs, result = op.spec.split("->")
    left, right = inputs.split(",")
    lhs, rhs = node.operands
    last = next((c for c in reversed(result) if _extent(c, left, lhs, right, rhs) != 1), result[-1] if result else "")
    swap = isinstance(stored(lhs).op, Unpack) or (not isinstance(stored(rhs).op, Unpack) and last in left and last not in right)
    if swap if fixed is None else rhs is fixed:
        left, right, lhs, rhs = right, left, rhs, lhs
    a, a_buffer, _ = _operand(lhs, buffers)
    b, b_buffer, packed = _operand(rhs, buffers)

    def axis(letter: str) -> Axis:
        extent = _extent(letter, left, lhs, right, rhs)
        return Axis(extent, a_buffer.strides[left.index(letter)] if letter in left else 0,
                    b_buffer.strides[right.index(letter)] if letter in right and not packed else 0,
                    result.index(letter) if letter in result else None)
    batch = [axis(c) for c in result if c in left and c in right]
    rows = [axis(c) for c in result if c in left and c not in right]
    columns = [axis(c) for c in result if c in right and c not in left]
    order = [c for c in (stored(rhs).op.sums if packed else left + right) if c in left + right and c not in result]
    sums = [axis(c) for c in dict.fromkeys(order)]
    columns = [c for c in columns if c.extent != 1] or columns[-1:] or [Axis(1)]
    problem = Problem(node, a, b, (*batch, *columns[:-1]), tuple(rows), columns[-1], tuple(sums), packed)
    if isinstance(rhs.op, Dequantize):
        problem = replace(problem, codes=rhs.op, scales=rhs.node.operands[1].node.operands[0])
    return problem


def _extent(letter: str, left: str, lhs: Value, right: str, rhs: Value) -> Dim:
    return lhs.shape[left.index(letter)] if letter in left else rhs.shape[right.index(letter)]


def _from_conv(node: Node, buffers: dict[Value, Buffer]) -> Problem:
    op = node.op
    x, w = node.operands
    a, a_buffer, _ = _operand(x, buffers)
    b, b_buffer, packed = _operand(w, buffers)
    result = node.results[0].shape
    rank = len(op.strides)
    channels = w.shape[-2]
    outputs = result[-1] // op.groups
    strides = b_buffer.strides if not packed else (0,) * len(w.shape)
    batch = (Axis(op.groups, channels * a_buffer.strides[-1], outputs * strides[-1], rank + 1, outputs),) if op.groups > 1 else ()
    rows = [Axis(result[0], a_buffer.strides[0], 0, 0)]
    rows += [Axis(result[i + 1], a_buffer.strides[i + 1] * op.strides[i], 0, i + 1) for i in range(rank)]
    sums = [Axis(w.shape[i], a_buffer.strides[i + 1] * op.dilation[i], strides[i]) for i in range(rank)]
    sums.append(Axis(channels, a_buffer.strides[-1], strides[-2]))
    if not packed and all(isinstance(axis.a, int) for axis in sums):
        sums.sort(key=lambda axis: -abs(axis.a))  # the input as it lies, which is not always channels last
    return Problem(node, a, b, batch, tuple(rows), Axis(outputs, 0, strides[-1], rank + 1), tuple(sums), packed)


def _merge(problem: Problem, like_result: list[Buffer]) -> Problem:
    """Fewer axes: unit ones dropped, neighbours that every address walks alike made one."""
    def rows_alike(outer: Axis, inner: Axis) -> bool:
        return all(b.strides[outer.dim] * outer.scale == b.strides[inner.dim] * inner.scale * inner.extent for b in like_result)

    def squeeze(axes: tuple[Axis, ...], alike) -> tuple[Axis, ...]:
        kept: list[Axis] = []
        for axis in axes:
            if axis.extent == 1:
                continue
            if kept and kept[-1].a == axis.a * axis.extent and kept[-1].b == axis.b * axis.extent and alike(kept[-1], axis):
                kept[-1] = replace(axis, extent=kept[-1].extent * axis.extent)
            else:
                kept.append(axis)
        return tuple(kept)
    return replace(problem, batch=squeeze(problem.batch, lambda o, i: not problem.packed and rows_alike(o, i)),
                   rows=squeeze(problem.rows, rows_alike), sums=squeeze(problem.sums, lambda o, i: True))
