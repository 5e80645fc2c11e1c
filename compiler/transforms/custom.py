"""How do derivatives go through calls that say so themselves?  Custom rules are inlined, checkpoints computed again."""

from __future__ import annotations

from typing import Sequence

from ..core.errors import UnsupportedError
from ..graph.builder import Builder, inline
from ..graph.graph import Graph, Node, Value
from ..ops.constants import filled
from ..ops.contract import Contract
from ..ops.conv import Conv
from ..ops.derivative import Checkpoint, CustomJvp, CustomVjp
from ..ops.identity import Barrier
from ..ops.op import Op
from .forward import push_rule, pushed_body
from .tape import Pullback, Tape, region_rule


def _float_zeros(builder: Builder, values: Sequence[Value], found: Sequence[Value | None]) -> list[Value]:
    """What was found for each of `values` that is a float, zeros where that is None."""
    return [filled(builder, v.type, 0) if f is None else f for v, f in zip(values, found) if v.dtype.is_float]


def _own_operands(op: CustomVjp | CustomJvp, operands: Sequence[Value], active) -> Sequence[Value]:
    """The operands that the rule covers; an error where a derivative is taken by one that the function captured."""
    own = len(operands) - op.captured
    if any(active(i) for i in range(own, len(operands))):
        raise UnsupportedError(f"{op.body.name} has a derivative of its own, and uses an array from around it that a "
                               f"derivative is taken by",
                               hint="pass the array as an argument, so that the rule covers it")
    return operands[:own]


# ---- custom rules ----------------------------------------------------------------------------------------------------
@region_rule(CustomVjp)
def pull_custom_vjp(tape: Tape, op: CustomVjp, operands: Sequence[Value]) -> tuple[Sequence[Value], Pullback]:
    own = _own_operands(op, operands, lambda i: operands[i] in tape.active)
    count = len(op.body.results)
    out = inline(tape.builder, op.forward, operands)
    results, residuals = out[:count], out[count:]

    def pullback(cotangents):
        given = _float_zeros(tape.builder, results, cotangents)
        found = iter(inline(tape.builder, op.backward, [*operands[len(own):], *residuals, *given], op.name))
        return [next(found) if o.dtype.is_float and i < len(own) else None for i, o in enumerate(operands)]
    return results, pullback


@push_rule(CustomVjp)
def push_custom_vjp(builder, op, operands, tangents):
    raise UnsupportedError(f"{op.body.name} has a rule for reverse mode alone",
                           hint="lm.custom_jvp serves both modes")


@region_rule(CustomJvp)
def pull_custom_jvp(tape: Tape, op: CustomJvp, operands: Sequence[Value]) -> tuple[Sequence[Value], Pullback]:
    """The transpose of the rule, which is linear in the tangents: its cotangent by them, at zero."""
    own = _own_operands(op, operands, lambda i: operands[i] in tape.active)
    count, builder = len(op.body.results), tape.builder
    still = _float_zeros(builder, own, [None] * len(own))
    results = inline(builder, op.tangent, [*operands, *still])[:count]

    def pullback(cotangents):
        found = iter(inline(builder, _transposed(op.tangent, len(operands), count),
                            [*operands, *still, *_float_zeros(builder, results, cotangents)], op.name))
        return [next(found) if o.dtype.is_float and i < len(own) else None for i, o in enumerate(operands)]
    return results, pullback


def _transposed(tangent: Graph, operands: int, results: int) -> Graph:
    """(operands.., tangents.., a cotangent for each tangent that `tangent` gives) -> cotangents of the tangents."""
    builder = Builder(tangent.name)
    params = [builder.parameter(p.type, p.name) for p in tangent.params]
    moved = params[operands:]
    tape = Tape(builder, set(moved))
    out = tape.emit(tangent, params)[results:]
    given = [builder.parameter(t.type) for t in out]
    return builder.finish(_float_zeros(builder, moved, tape.pull(out, given, moved)))


@push_rule(CustomJvp)
def push_custom_jvp(builder, op, operands, tangents):
    own = _own_operands(op, operands, lambda i: tangents[i] is not None)
    count = len(op.body.results)
    out = inline(builder, op.tangent, [*operands, *_float_zeros(builder, own, tangents[:len(own)])])
    moved = iter(out[count:])
    return out[:count], [next(moved) if r.dtype.is_float else None for r in out[:count]]


# ---- checkpoints -----------------------------------------------------------------------------------------------------
def is_saved(op: Op, policy: str) -> bool:
    """Whether `policy` keeps the results of `op`."""
    if policy == "dots_with_no_batch_dims_saveable":
        return isinstance(op, Contract) and not op.batch
    return policy == "dots_saveable" and isinstance(op, (Contract, Conv))


@region_rule(Checkpoint)
def pull_checkpoint(tape: Tape, op: Checkpoint, operands: Sequence[Value]) -> tuple[Sequence[Value], Pullback | None]:
    """The body is emitted again when cotangents come, behind barriers that keep what it computes from being shared with
    the forward pass, and from being computed before it is needed."""
    if op.policy == "everything_saveable":
        return tape.emit(op.body, operands), None
    builder = tape.builder
    env = dict(zip(op.body.params, operands))
    saved: dict[Node, tuple[Value, ...]] = {}
    outer = builder.location
    for node in op.body.nodes:
        builder.location = node.location
        results = builder.emit_all(node.op, *(env[o] for o in node.operands))
        env.update(zip(node.results, results))
        if is_saved(node.op, op.policy):
            saved[node] = results
    builder.location = outer

    def pullback(cotangents):
        present = [c for c in cotangents if c is not None]

        def behind(values: Sequence[Value]) -> tuple[Value, ...]:
            return tuple(builder.emit(Barrier(), v, *present) for v in values)
        again = behind(operands)
        inner = Tape(builder, {a for o, a in zip(operands, again) if o in tape.active})
        results = inner.emit(op.body, again, {node: behind(values) for node, values in saved.items()})
        return inner.pull(results, cotangents, again)
    return tuple(env[r] for r in op.body.results), pullback


@push_rule(Checkpoint)
def push_checkpoint(builder, op, operands, tangents):
    """A checkpoint that computes the tangents too."""
    body, found = pushed_body(op.body, [t is not None for t in tangents])
    count = len(op.body.results)
    out = builder.emit_all(Checkpoint(body, op.policy), *operands, *(t for t in tangents if t is not None))
    moved = iter(out[count:])
    return out[:count], [next(moved) if t is not None else None for t in found]
