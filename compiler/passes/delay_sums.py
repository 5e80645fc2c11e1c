"""Which sums over a loop's steps can wait until it has ended?  Those of products: what is multiplied is kept, and is one product then.

The gradient of a recurrent cell's weights is a sum over the steps of products of few rows: each step would read and write the
whole sum. As one product over all steps (with the step as one more summed axis) it is written once, and runs at the machine's
peak. What is multiplied lies in memory meanwhile, where it is less than the sum that it replaces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import ascii_letters

from ..core.dims import nominal
from ..core.remarks import Remarks
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.contract import Contract
from ..ops.control import Cond, Scan, While
from ..ops.elementwise import Add
from ..ops.reduce import Reduce


@dataclass(frozen=True)
class _Sum:
    """Carry number `carry` of a scan: the sum of what `node` makes at each step."""

    carry: int
    node: Node


def delay_sums(graph: Graph, remarks: Remarks) -> Graph:
    """`graph` with sums of products that its scans carry computed behind them."""
    if not any(isinstance(n.op, (Scan, While, Cond)) for n in graph.nodes):
        return graph

    def transform(builder: Builder, node: Node, operands):
        op = map_subgraphs(node.op, lambda body: delay_sums(body, remarks))
        if isinstance(op, Scan):
            sums = _delayed(op)
            if sums:
                remarks.add("delay-sums", f"scan ({node.location})", True,
                            f"{len(sums)} sums over its steps are computed when it has ended")
                return _emit_delayed(builder, op, operands, sums)
        return builder.emit_all(op, *operands) if op is not node.op else None
    return rebuild(graph, transform=transform, fold=False)


def _delayed(op: Scan) -> list[_Sum]:
    """The sums of products that are worth it, then those of rows that are kept for these anyway."""
    body = op.body
    found = [s for s in (_sum_of(body, i) for i in range(op.carries)) if s is not None]
    known = set(body.params[op.carries:])  # at hand for all steps: scanned, captured, or stacked already
    known.update(body.results[op.carries:])
    products = []
    for s in found:
        if isinstance(s.node.op, Contract):
            missing = {o for o in s.node.operands if o not in known}
            if sum(nominal(o.type.size) for o in missing) < nominal(s.node.results[0].type.size):
                products.append(s)
                known |= missing
    if not products:
        return []
    return products + [s for s in found if isinstance(s.node.op, Reduce) and s.node.operands[0] in known]


def _sum_of(body: Graph, carry: int) -> _Sum | None:
    """The sum that a carry is: itself plus a product or a sum of rows, read by nobody else."""
    state, result = body.params[carry], body.results[carry]
    if not isinstance(result.op, Add) or not result.dtype.is_float or body.users.get(state) != (result.node,):
        return None
    added = next((o for o in result.node.operands if o is not state), None)
    if added is None or body.results.count(result) > 1 or body.users.get(result):
        return None
    is_sum = isinstance(added.op, Contract) or isinstance(added.op, Reduce) and added.op.kind == "sum"
    return _Sum(carry, added.node) if is_sum and body.users[added] == (result.node,) and added not in body.results else None


def _emit_delayed(builder: Builder, op: Scan, operands: tuple[Value, ...], sums: list[_Sum]) -> tuple[Value, ...]:
    body, end = op.body, op.carries + op.scanned
    gone = {s.carry for s in sums}
    kept = [i for i in range(op.carries) if i not in gone]
    given = {o for s in sums for o in s.node.operands}
    stacked = [o for o in dict.fromkeys(given) if o not in body.params[op.carries:] and o not in body.results[op.carries:]]
    inner = Builder(body.name, fold=False)
    env = {p: inner.parameter(p.type, p.name) for i, p in enumerate(body.params) if i not in gone}
    dropped = {s.node for s in sums} | {body.results[s.carry].node for s in sums}
    for node in body.nodes:
        if node not in dropped:
            inner.location = node.location
            env.update(zip(node.results, inner.emit_all(node.op, *(env[o] for o in node.operands))))
    results = [body.results[i] for i in kept] + list(body.results[op.carries:]) + stacked
    names = body.result_names and tuple(f"out{i}" for i in range(len(results)))
    loop = replace(op, body=inner.finish([env[r] for r in results], names), carries=len(kept),
                   length=op.length if op.scanned else op.steps(*(o.type for o in operands)))
    out = builder.emit_all(loop, *(operands[i] for i in range(len(operands)) if i not in gone))
    states = dict(zip(kept, out))
    rows = dict(zip(body.results[op.carries:], out[len(kept):]))  # all steps of what is stacked
    rows.update(zip(stacked, out[len(kept) + len(body.results) - op.carries:]))
    rows.update(zip(body.params[op.carries:end], operands[op.carries:end]))
    fixed = dict(zip(body.params[end:], operands[end:]))
    for s in sums:
        builder.location = s.node.location
        total = _total(builder, s.node, rows, fixed)
        states[s.carry] = builder.emit(Add(), operands[s.carry], total)
    return (*(states[i] for i in range(op.carries)), *out[len(kept):len(kept) + len(body.results) - op.carries])


def _total(builder: Builder, node: Node, rows: dict[Value, Value], fixed: dict[Value, Value]) -> Value:
    """The sum over all steps of what `node` makes at each."""
    op = node.op
    if isinstance(op, Reduce):
        return builder.emit(Reduce("sum", (0, *(a + 1 for a in op.axes))), rows[node.operands[0]])
    lhs, rhs, result = op.terms
    step = next(c for c in ascii_letters if c not in lhs + rhs)
    terms = [step * (o in rows) + term for o, term in zip(node.operands, (lhs, rhs))]
    return builder.emit(Contract(f"{terms[0]},{terms[1]}->{result}"), *(rows[o] if o in rows else fixed[o] for o in node.operands))
