"""Which work of a loop does not wait for its state?  It leaves the loop: products of all steps' inputs become one.

A recurrent cell multiplies its input and its state by weights. Only the state has to wait for the step before; the
inputs' products of all steps are one large product (Appleyard, Kocisky and Blunsom 2016), which runs at the machine's
peak where a step's alone would read the weights again for each row. What depends on captured values alone is computed
once, before the loop.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.remarks import Remarks
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.batching import with_batch
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.control import Cond, Scan, While
from ..ops.elementwise import Add
from ..ops.rearrange import Broadcast, Concat, Reshape, Slice, Transpose
from ..ops.reduce import Reduce

_BATCHED = (Contract, Reshape, Transpose, Broadcast, Slice, Reduce)  # and whatever is pointwise


def hoist(graph: Graph, remarks: Remarks) -> Graph:
    """`graph` with products of scanned inputs, and what depends on captured values alone, in front of its scans."""
    def transform(builder: Builder, node: Node, operands):
        op = map_subgraphs(node.op, lambda body: hoist(body, remarks))
        if not isinstance(op, Scan):
            return builder.emit_all(op, *operands) if op is not node.op else None
        op = replace(op, body=_split_joined_products(op.body, op.carries))
        return _Hoisting(builder, op, operands, node, remarks).emit()
    if not any(isinstance(n.op, (Scan, While, Cond)) for n in graph.nodes):
        return graph
    return rebuild(graph, transform=transform, fold=False)


def _split_joined_products(body: Graph, carries: int) -> Graph:
    """`body` with concat(x, h) @ w as x @ w[:n] + h @ w[n:], where one of x and h depends on a carry, the other does
    not."""
    late = set(body.params[:carries])
    for node in body.nodes:
        if any(o in late for o in node.operands):
            late.update(node.results)

    def transform(builder: Builder, node: Node, operands):
        if not isinstance(node.op, Contract) or not node.results[0].dtype.is_float:
            return None
        for side, letters in enumerate(node.op.terms[:2]):
            joined, other = node.operands[side], 1 - side
            if not isinstance(joined.op, Concat) or sorted(o in late for o in joined.node.operands) != [False, True]:
                continue
            letter = letters[joined.op.axis]
            if letter not in node.op.summed or node.operands[other] in late:
                continue
            axis, at, total = node.op.terms[other].index(letter), 0, None
            for part in operands[side].node.operands:
                extent = part.shape[joined.op.axis]
                whole = operands[other]
                starts = tuple(at if i == axis else 0 for i in range(whole.type.rank))
                sizes = tuple(extent if i == axis else d for i, d in enumerate(whole.shape))
                pair = [part, builder.emit(Slice(starts, sizes, (1,) * whole.type.rank), whole)]
                product = builder.emit(node.op, *(pair if side == 0 else reversed(pair)))
                total = product if total is None else builder.emit(Add(), total, product)
                at = at + extent
            return total
        return None
    return rebuild(body, transform=transform) if any(isinstance(n.op, Concat) for n in body.nodes) else body


class _Hoisting:
    """One scan while its body is taken apart. `outer` holds what invariant values of the body are outside, `all_steps`
    what others are for all steps at once, [steps, *shape]."""

    def __init__(self, builder: Builder, op: Scan, operands: tuple[Value, ...], node: Node, remarks: Remarks):
        self.builder, self.op, self.operands, self.remarks = builder, op, operands, remarks
        self.steps = op.steps(*(o.type for o in operands))
        self.location = node.location
        body, end = op.body, op.carries + op.scanned
        self.scanned = body.params[op.carries:end]
        self.captured = body.params[end:]
        self.outer: dict[Value, Value] = dict(zip(self.captured, operands[end:]))
        self.all_steps: dict[Value, Value] = dict(zip(self.scanned, operands[op.carries:end]))
        self.invariant: set[Value] = set(self.captured)
        self.from_captured: set[Value] = set(self.captured)
        self.early: set[Value] = set(self.scanned)  # values that need no carry, to be had for all steps at once

    def emit(self) -> tuple[Value, ...]:
        body = self.op.body
        for node in body.nodes:
            if isinstance(node.op, Constant) or all(o in self.invariant for o in node.operands):
                self.invariant.update(node.results)
                if any(o in self.from_captured for o in node.operands):
                    self.from_captured.update(node.results)
            elif self._is_batched(node) and all(o in self.invariant or o in self.early for o in node.operands):
                self.early.update(node.results)
        leaving = self._leaving()
        once = [n for n in body.nodes if n.results[0] in self.from_captured and not n.op.is_view]
        if not leaving and not once:
            return self.builder.emit_all(self.op, *self.operands)
        return self._emit_without(leaving, once)

    def _is_batched(self, node: Node) -> bool:
        return len(node.results) == 1 and (node.op.is_pointwise or isinstance(node.op, _BATCHED))

    def _leaving(self) -> set[Node]:
        """The products of scanned inputs, what makes their operands, and elementwise nodes that alone read them."""
        body = self.op.body
        leaving: set[Node] = set()
        for node in body.nodes:
            if isinstance(node.op, Contract) and node.results[0] in self.early:
                stack = [node]
                while stack:
                    n = stack.pop()
                    if n is not None and n not in leaving and n.results[0] in self.early:
                        leaving.add(n)
                        stack.extend(o.node for o in n.operands)
            elif node.op.is_pointwise and node.results[0] in self.early:
                from_products = [o for o in node.operands if o.node in leaving]
                if from_products and all(set(body.users[o]) == {node} and o not in body.results for o in from_products):
                    leaving.add(node)
        return leaving

    # ---- outside of the loop -----------------------------------------------------------------------------------------
    def _once(self, value: Value) -> Value:
        """An invariant value, outside."""
        if value not in self.outer:
            node = value.node
            self.builder.location = node.location
            self.outer.update(zip(node.results, self.builder.emit_all(node.op, *map(self._once, node.operands))))
        return self.outer[value]

    def _stacked(self, value: Value) -> Value:
        """[steps, *shape]: a value for all steps at once."""
        if value in self.invariant:
            return with_batch(self.builder, self._once(value), False, self.steps)
        if value not in self.all_steps:
            node = value.node
            is_early = [o not in self.invariant for o in node.operands]
            operands = [self._stacked(o) if early else self._once(o) for o, early in zip(node.operands, is_early)]
            self.builder.location = node.location
            (self.all_steps[value],) = node.op.vmap(self.builder, operands, is_early, self.steps)
        return self.all_steps[value]

    # ---- the loop that is left ---------------------------------------------------------------------------------------
    def _emit_without(self, leaving: set[Node], once: list[Node]) -> tuple[Value, ...]:
        op, body = self.op, self.op.body
        gone = leaving | set(once)
        kept = [n for n in body.nodes if n not in gone]
        read = {o for n in kept for o in n.operands} | set(body.results)
        scanned = [v for v in (*self.scanned, *(n.results[0] for n in body.nodes if n in leaving)) if v in read]
        scanned = scanned or list(self.scanned[:1])
        captured = [v for v in (*self.captured, *(r for n in once for r in n.results)) if v in read]
        inner = Builder(body.name, fold=False)
        params = (*body.params[:op.carries], *scanned, *captured)
        env = {v: inner.parameter(v.type, v.name if v.node is None else f"hoisted.{i}") for i, v in enumerate(params)}
        for node in kept:
            inner.location = node.location
            env.update(zip(node.results, inner.emit_all(node.op, *(env[o] for o in node.operands))))
        rest = inner.finish([env[r] for r in body.results], body.result_names)
        operands = (*self.operands[:op.carries], *map(self._stacked, scanned), *map(self._once, captured))
        self.builder.location = self.location
        names = ", ".join(sorted({n.op.name for n in gone if not n.op.is_view}))
        self.remarks.add("hoist", f"scan ({self.location})", True, f"{names}: needed no state, left the loop")
        length = op.length if scanned else self.steps
        return self.builder.emit_all(replace(op, body=rest, scanned=len(scanned), length=length), *operands)
