"""Which graph computes a derivative in forward mode?  Tangents are pushed through the nodes in their order.

An op's map of tangents is the transpose of its map of cotangents, which `vjp` gives: differentiating that one by the
cotangents in reverse mode transposes it (Baydin et al., "Automatic differentiation in machine learning", 2018; the
trick is Jamie Townsend's). So one rule for each op serves both modes. Ops that hold graphs push tangents through those,
which needs no bound of a loop.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Callable, Sequence

from ..core.errors import LaminaError
from ..core.types import TensorType
from ..graph.builder import Builder, inline
from ..graph.graph import Graph, Value
from ..ops.constants import filled
from ..ops.control import Call, Cond, Fused, Scan, While
from ..ops.op import Op
from .tape import Tape

#: rule(builder, op, operands, tangents) emits the op and gives its results and their tangents; None is zero.
Pushed = tuple[Sequence[Value], Sequence[Value | None]]
PushRule = Callable[[Builder, Op, Sequence[Value], Sequence[Value | None]], Pushed]
PUSHES: dict[type[Op], PushRule] = {}


def push_rule(*op_classes: type[Op]) -> Callable[[PushRule], PushRule]:
    """Registers the decorated function as the forward rule of these op classes, in place of the derived one."""
    def register(rule: PushRule) -> PushRule:
        PUSHES.update(dict.fromkeys(op_classes, rule))
        return rule
    return register


def forward(graph: Graph, wrt: Sequence[int]) -> Graph:
    """(params.., a tangent for each of the params numbered `wrt`) -> (results.., a tangent for each float result)."""
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    given = {i: builder.parameter(params[i].type, f"tangent_{params[i].name}") for i in wrt}
    results, tangents = push(builder, graph, params, [given.get(i) for i in range(len(params))])
    return builder.finish([*results, *(filled(builder, r.type, 0) if t is None else t
                                       for r, t in zip(results, tangents) if r.dtype.is_float)])


def push(builder: Builder, graph: Graph, arguments: Sequence[Value],
         tangents: Sequence[Value | None]) -> tuple[list[Value], list[Value | None]]:
    """The results of `graph` and their tangents, for arguments and theirs."""
    env = dict(zip(graph.params, arguments))
    moving = dict(zip(graph.params, tangents))
    outer = builder.location
    for node in graph.nodes:
        builder.location = node.location
        operands = [env[o] for o in node.operands]
        try:
            results, found = _push_op(builder, node.op, operands, [moving.get(o) for o in node.operands])
        except LaminaError as error:
            if error.location is None:
                error.location = node.location
            raise
        env.update(zip(node.results, results))
        moving.update((r, t) for r, t in zip(node.results, found) if t is not None)
    builder.location = outer
    return [env[r] for r in graph.results], [moving.get(r) for r in graph.results]


def _push_op(builder: Builder, op: Op, operands: Sequence[Value],
             tangents: Sequence[Value | None]) -> Pushed:
    rule = PUSHES.get(type(op))
    if rule is not None and any(t is not None for t in tangents):
        return rule(builder, op, operands, tangents)
    results = builder.emit_all(op, *operands)
    if op.is_flat or all(t is None for t in tangents) or not any(r.dtype.is_float for r in results):
        return results, [None] * len(results)
    is_active = tuple(t is not None for t in tangents)
    transposed, given = _transposed(op, tuple(o.type for o in operands), is_active)
    cotangents = [filled(builder, r.type, 0) for r in results if r.dtype.is_float]
    found = iter(inline(builder, transposed, [*operands, *cotangents, *(t for t in tangents if t is not None)]))
    outgoing = iter([next(found) if is_given else None for is_given in given])
    return results, [next(outgoing) if r.dtype.is_float else None for r in results]


@lru_cache(maxsize=4096)
def _transposed(op: Op, types: tuple[TensorType, ...], is_active: tuple[bool, ...]) -> tuple[Graph, tuple[bool, ...]]:
    """((operands.., cotangents of the float results, tangents of active operands..) -> tangents of those float results
    for which the second value is True). The cotangents count for nothing: the map is linear in them."""
    pulled = Builder(op.name)
    operands = [pulled.parameter(t) for t in types]
    results = pulled.emit_all(op, *operands)
    floats = [r for r in results if r.dtype.is_float]
    cotangents = {r: pulled.parameter(r.type) for r in floats}
    outgoing = op.vjp(pulled, operands, results, [cotangents.get(r) for r in results])
    kept = [(i, value) for i, value in enumerate(outgoing) if is_active[i] and value is not None]
    pullback = pulled.finish([value for _, value in kept])
    builder = Builder(op.name)
    params = [builder.parameter(p.type) for p in pullback.params]
    tangents = {i: builder.parameter(t) for i, t in enumerate(types) if is_active[i]}
    moved = params[len(types):]
    tape = Tape(builder, set(moved))
    found = tape.pull(tape.emit(pullback, params), [tangents[i] for i, _ in kept], moved)
    return builder.finish([t for t in found if t is not None]), tuple(t is not None for t in found)


# ---- ops that hold graphs --------------------------------------------------------------------------------------------
@push_rule(Call, Fused)
def push_call(builder, op, operands, tangents):
    return push(builder, op.body, operands, tangents)


def pushed_body(graph: Graph, is_active: Sequence[bool]) -> tuple[Graph, list[Value | None]]:
    """((params.., tangents of the active ones..) -> (results.., tangents of those that have one..), each result's
    tangent or None)."""
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    tangents = [builder.parameter(p.type, f"tangent_{p.name}") if flag else None for p, flag in zip(params, is_active)]
    results, found = push(builder, graph, params, tangents)
    return builder.finish([*results, *(t for t in found if t is not None)]), found


@push_rule(Cond)
def push_branches(builder, op, operands, tangents):
    index, *arguments = operands
    is_active = [t is not None for t in tangents[1:]]
    bodies = [pushed_body(branch, is_active) for branch in op.branches]
    count = len(op.branches[0].results)
    moving = [any(found[i] is not None for _, found in bodies) for i in range(count)]
    branches = []
    for body, found in bodies:
        inner = Builder(body.name)
        out = inline(inner, body, [inner.parameter(p.type, p.name) for p in body.params])
        given = iter(out[count:])
        given = [next(given) if t is not None else None for t in found]
        branches.append(inner.finish([*out[:count], *(filled(inner, r.type, 0) if t is None else t
                                                      for r, t, flag in zip(out, given, moving) if flag)]))
    out = builder.emit_all(Cond(tuple(branches)), index, *arguments, *(t for t in tangents[1:] if t is not None))
    given = iter(out[count:])
    return out[:count], [next(given) if flag else None for flag in moving]


def _settled(body: Graph, is_active: Sequence[bool], carries: int) -> list[bool]:
    """Which params have a tangent: the carries that come to have one in the loop too."""
    is_active = list(is_active)
    while True:
        _, found = pushed_body(body, is_active)
        after = [flag or i < carries and found[i] is not None for i, flag in enumerate(is_active)]
        if after == is_active:
            return after
        is_active = after


def _or_zeros(builder: Builder, tangent: Value | None, type: TensorType) -> Value:
    return filled(builder, type, 0) if tangent is None else tangent


@push_rule(Scan)
def push_scan(builder, op, operands, tangents):
    inputs, count = op.carries + op.scanned, len(op.body.results)
    is_active = _settled(op.body, [t is not None for t in tangents], op.carries)
    body, found = pushed_body(op.body, is_active)
    groups = [range(op.carries), range(op.carries, inputs), range(inputs, len(operands))]
    inner = Builder(op.body.name)
    params: dict[int, Value] = {}
    moving: dict[int, Value] = {}
    for group in groups:  # params of a kind, then their tangents
        params.update((i, inner.parameter(op.body.params[i].type, op.body.params[i].name)) for i in group)
        moving.update((i, inner.parameter(op.body.params[i].type, f"tangent_{op.body.params[i].name}"))
                      for i in group if is_active[i])
    out = inline(inner, body, [*(params[i] for i in range(len(operands))), *(moving[i] for i in sorted(moving))])
    given = iter(out[count:])
    given = [next(given) if t is not None else None for t in found]
    carried = [i for i in range(op.carries) if is_active[i]]
    stacked = [i for i in range(op.carries, count) if given[i] is not None]
    step = inner.finish([*out[:op.carries], *(_or_zeros(inner, given[i], out[i].type) for i in carried),
                         *out[op.carries:count], *(given[i] for i in stacked)])
    arguments = []
    for group in groups:
        arguments += [operands[i] for i in group]
        arguments += [_or_zeros(builder, tangents[i], operands[i].type) for i in group if is_active[i]]
    loop = replace(op, body=step, carries=op.carries + len(carried),
                   scanned=op.scanned + sum(is_active[i] for i in groups[1]))
    out = builder.emit_all(loop, *arguments)
    results, pushed = list(out[:op.carries]), dict(zip(carried, out[op.carries:]))
    rest = out[op.carries + len(carried):]
    results += rest[:count - op.carries]
    pushed.update(zip(stacked, rest[count - op.carries:]))
    return results, [pushed.get(i) for i in range(count)]


@push_rule(While)
def push_while(builder, op, operands, tangents):
    count = len(operands)
    is_active = _settled(op.body, [t is not None for t in tangents], count)
    carried = [i for i in range(count) if is_active[i]]
    body, found = pushed_body(op.body, is_active)
    inner = Builder(body.name)
    out = inline(inner, body, [inner.parameter(p.type, p.name) for p in body.params])
    given = iter(out[count:])
    given = [next(given) if t is not None else None for t in found]
    step = inner.finish([*out[:count], *(_or_zeros(inner, given[i], out[i].type) for i in carried)])
    test = Builder(op.condition.name)
    condition = test.finish(inline(test, op.condition, [test.parameter(p.type, p.name) for p in body.params][:count]))
    out = builder.emit_all(replace(op, condition=condition, body=step), *operands,
                           *(_or_zeros(builder, tangents[i], operands[i].type) for i in carried))
    pushed = dict(zip(carried, out[count:]))
    return out[:count], [pushed.get(i) for i in range(count)]
