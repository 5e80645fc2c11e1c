"""How are cotangents pulled back through calls, branches and loops?  Each graph inside is split; what its forward half
saves goes to a branch or loop for the backward half.

A scan stacks what each step saves, and a scan in the other direction takes the stacks apart; its carry holds the
cotangents of the carry, and the sums of those of what the body captured. A `While` that declares how many iterations it
takes at most is differentiated as a scan of so many.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

from ..core.errors import UnsupportedError
from ..core.types import TensorType
from ..graph.builder import Builder, inline
from ..graph.graph import Graph, Value
from ..ops.constants import filled
from ..ops.control import Call, Cond, Fused, Scan, While
from ..ops.elementwise import Add
from .late_products import LateProducts
from .split import Split, split
from .tape import Pullback, Tape, region_rule


@region_rule(Call, Fused)
def pull_call(tape: Tape, op: Call | Fused, operands: Sequence[Value]) -> tuple[tuple[Value, ...], None]:
    """The body's nodes are the tape's own."""
    return tape.emit(op.body, operands), None


# ---- branches --------------------------------------------------------------------------------------------------------
@region_rule(Cond)
def pull_branches(tape: Tape, op: Cond, operands: Sequence[Value]) -> tuple[tuple[Value, ...], Pullback]:
    """What the branch that ran saved goes to its backward half; the other branches save zeros in its place."""
    builder, (index, *arguments) = tape.builder, operands
    wrt = [i for i, o in enumerate(arguments) if o in tape.active]
    halves = [split(branch, wrt) for branch in op.branches]
    slots, places = _slots(halves, len(op.branches[0].results))
    count = len(op.branches[0].results)
    forward = Cond(tuple(_saving(half.forward, count, slots, place) for half, place in zip(halves, places)))
    out = builder.emit_all(forward, *operands)
    results, saved = out[:count], out[count:]

    def pullback(cotangents):
        present = [i for i, c in enumerate(cotangents) if c is not None]
        parts = [split(branch, wrt, present) for branch in op.branches]
        wanted = [k for k in range(len(wrt)) if any(part.pulled[k] for part in parts)]
        if not wanted:
            return (None,) * len(operands)
        read = sorted({r.param for part in parts for r in part.residuals if r.position < 0})
        kept = sorted({place[r] for part, place in zip(parts, places) for r in part.saved})
        branches = []
        for part, place in zip(parts, places):
            inner = Builder(part.backward.name)
            params = {i: inner.parameter(arguments[i].type, f"operand{i}") for i in read}
            stored = {i: inner.parameter(slots[i], f"saved{i}") for i in kept}
            given = [inner.parameter(cotangents[i].type, f"cotangent{i}") for i in present]
            residuals = part.find(params, {r: stored[i] for r, i in place.items() if i in stored})
            found = _pulled(inner, part, residuals, given)
            branches.append(inner.finish([_or_zeros(inner, found[k], arguments[wrt[k]].type) for k in wanted]))
        pulled = builder.emit_all(Cond(tuple(branches)), index, *(arguments[i] for i in read),
                                  *(saved[i] for i in kept), *(cotangents[i] for i in present))
        by_operand = {wrt[k] + 1: value for k, value in zip(wanted, pulled)}
        return [by_operand.get(i) for i in range(len(operands))]
    return results, pullback


def _slots(halves: Sequence[Split], results: int) -> tuple[list[TensorType], list[dict]]:
    """The types of what branches save, as one list for all, and for each the place of each of its residuals."""
    slots: list[TensorType] = []
    places = []
    for half in halves:
        place: dict = {}
        for residual, value in zip(half.saved, half.forward.results[results:]):
            free = [i for i, t in enumerate(slots) if t == value.type and i not in place.values()]
            if not free:
                slots.append(value.type)
            place[residual] = free[0] if free else len(slots) - 1
        places.append(place)
    return slots, places


def _saving(forward: Graph, results: int, slots: Sequence[TensorType], place: dict) -> Graph:
    """`forward` with what it saves in its slots and zeros in the others."""
    builder = Builder(forward.name)
    out = inline(builder, forward, [builder.parameter(p.type, p.name) for p in forward.params])
    stored = dict(zip(place.values(), out[results:]))
    return builder.finish([*out[:results], *(_or_zeros(builder, stored.get(i), t) for i, t in enumerate(slots))])


def _or_zeros(builder: Builder, value: Value | None, type: TensorType) -> Value:
    return filled(builder, type, 0) if value is None else value


def _pulled(builder: Builder, part: Split, residuals: Sequence[Value],
            cotangents: Sequence[Value]) -> list[Value | None]:
    """What the backward half of `part` gives for each param differentiated by, None where that is zero."""
    found = iter(inline(builder, part.backward, [*residuals, *cotangents]))
    return [next(found) if is_pulled else None for is_pulled in part.pulled]


# ---- loops -----------------------------------------------------------------------------------------------------------
@region_rule(Scan)
def pull_scan(tape: Tape, op: Scan, operands: Sequence[Value]) -> tuple[tuple[Value, ...], Pullback]:
    builder, body = tape.builder, op.body
    carries, inputs = op.carries, op.carries + op.scanned
    wrt = _active_params(op, [o in tape.active for o in operands])
    captured = range(inputs, len(operands))
    whole = split(body, wrt, fixed=captured)
    stacked = sorted({r.param for r in whole.residuals if 0 <= r.param < carries})
    count = len(body.results)
    inner = Builder(body.name)
    params = [inner.parameter(p.type, p.name) for p in body.params]
    forward = inner.finish([*inline(inner, whole.forward, params), *(params[i] for i in stacked)])
    out = builder.emit_all(replace(op, body=forward), *operands)
    saved = dict(zip(whole.saved, out[count:]))
    history = dict(zip(stacked, out[count + len(whole.saved):]))

    def pullback(cotangents):
        moving = [i for i in wrt if i < carries]
        outputs = [i for i in range(carries, count) if cotangents[i] is not None]
        part = split(body, wrt, [*moving, *outputs], fixed=captured)
        summed = [i for i, is_pulled in zip(wrt, part.pulled) if is_pulled and i >= inputs]
        scanned = [r for r in part.residuals if r.position >= 0 or r.param < inputs]
        read = [r.param for r in part.residuals if r.param >= inputs]

        inner = Builder(part.backward.name)
        state = {i: inner.parameter(body.params[i].type, f"cotangent_{body.params[i].name}") for i in moving}
        sums = {i: inner.parameter(body.params[i].type, f"sum_{body.params[i].name}") for i in summed}
        rows = {r: inner.parameter(_item(_stack_of(r)), "saved") for r in scanned}
        given = {i: inner.parameter(body.results[i].type, f"cotangent{i}") for i in outputs}
        outer = {i: inner.parameter(body.params[i].type, body.params[i].name) for i in read}
        residuals = [rows[r] if r in rows else outer[r.param] for r in part.residuals]
        found = dict(zip(wrt, _pulled(inner, part, residuals, [*state.values(), *given.values()])))
        stacks = [*(_stack_of(r) for r in scanned), *(cotangents[i] for i in outputs)]
        late = LateProducts(dict(zip([*rows.values(), *given.values()], stacks)),
                            {outer[i]: operands[i] for i in read})
        left = {i: late.without_products(inner, found[i]) for i in summed}
        columns = [i for i in wrt if carries <= i < inputs and found[i] is not None and not late.take_rows(i, found[i])]
        adding = [i for i in summed if left[i] is not None]
        step = inner.finish([*(_or_zeros(inner, found[i], body.params[i].type) for i in moving),
                             *(inner.emit(Add(), sums[i], left[i]) for i in adding), *(found[i] for i in columns),
                             *late.made])
        step = _without_params(step, {sums[i] for i in summed if i not in adding})
        initial = [_or_zeros(builder, cotangents[i], body.params[i].type) for i in moving]
        initial += [filled(builder, body.params[i].type, 0) for i in adding]
        backward = Scan(step, len(initial), len(stacks), not op.reverse,
                        None if stacks else op.steps(*(o.type for o in operands)))
        pulled = builder.emit_all(backward, *initial, *stacks, *(operands[i] for i in read))
        by_operand = dict(zip([*moving, *adding, *columns], pulled))
        late.finish(pulled[len(initial) + len(columns):])
        for i in summed:
            by_operand[i] = _sum(builder, by_operand.get(i), late.sum_of(builder, found[i]))
        by_operand.update(late.rows(builder))
        return [by_operand.get(i) for i in range(len(operands))]

    def _stack_of(residual) -> Value:
        """The values of a residual at all steps."""
        if residual.position >= 0:
            return saved[residual]
        return history[residual.param] if residual.param < carries else operands[residual.param]
    return out[:count], pullback


def _without_params(graph: Graph, unused: set[Value]) -> Graph:
    """`graph` without the parameters that nothing reads."""
    builder = Builder(graph.name)
    return builder.finish(inline(builder, graph, [None if p in unused else builder.parameter(p.type, p.name)
                                                  for p in graph.params]))


def _item(stack: Value) -> TensorType:
    return TensorType(stack.shape[1:], stack.dtype)


def _active_params(op: Scan, is_active: Sequence[bool]) -> list[int]:
    """The body's params that derivatives go through: those of active operands, and carries that come to depend on them.
    """
    active = {i for i, flag in enumerate(is_active) if flag}
    while True:
        builder = Builder()
        params = [builder.parameter(p.type, p.name) for p in op.body.params]
        tape = Tape(builder, {params[i] for i in active})
        results = tape.emit(op.body, params)
        more = {i for i in range(op.carries) if results[i] in tape.active} - active
        if not more:
            return sorted(active)
        active |= more


@region_rule(While)
def pull_while(tape: Tape, op: While, operands: Sequence[Value]) -> tuple[tuple[Value, ...], Pullback]:
    """A scan over as many steps as the loop takes at most, each of which looks whether the loop goes on."""
    if op.bound is not None:
        loop, kept, order = bounded_scan(op)
        results, pullback = pull_scan(tape, loop, [operands[i] for i in order])
        count = len(kept)
        by_place = dict(zip(order, range(len(order))))

        def pull(cotangents):
            found = pullback([cotangents[i] for i in kept])
            passed = [None if i in kept else cotangents[i] for i in range(len(operands))]
            return [_sum(tape.builder, found[by_place[i]], passed[i]) for i in range(len(operands))]
        whole = dict(zip(kept, results[:count]))
        return tuple(whole.get(i, operands[i]) for i in range(len(operands))), pull

    def refuse(cotangents):
        raise UnsupportedError("a while_loop without a bound has no derivative in reverse mode: how many iterations "
                               "are to be saved is not known", hint="give max_iterations=, or use lm.scan or a "
                               "fori_loop whose bounds are known")
    return tape.builder.emit_all(op, *operands), refuse


def _sum(builder: Builder, a: Value | None, b: Value | None) -> Value | None:
    return b if a is None else a if b is None else builder.emit(Add(), a, b)


def bounded_scan(op: While) -> tuple[Scan, list[int], list[int]]:
    """(`op` as a scan of `op.bound` steps, which parts of the carry it carries, and in which order it takes them all):
    what the body gives back as it is, is captured."""
    kept = [i for i, (p, r) in enumerate(zip(op.body.params, op.body.results)) if r is not p]
    order = [*kept, *(i for i in range(len(op.body.params)) if i not in kept)]
    branches = []
    for graph in (None, op.body):
        builder = Builder("iteration" if graph else "finished")
        params = [builder.parameter(p.type, p.name) for p in op.body.params]
        results = inline(builder, graph, params) if graph else params
        branches.append(builder.finish([results[i] for i in kept]))
    builder = Builder(op.body.name)
    by_place = {i: builder.parameter(op.body.params[i].type, op.body.params[i].name) for i in order}
    params = [by_place[i] for i in range(len(order))]
    (goes_on,) = inline(builder, op.condition, params)
    step = builder.finish(builder.emit_all(Cond(tuple(branches)), goes_on, *params))
    return Scan(step, len(kept), 0, length=op.bound), kept, order
