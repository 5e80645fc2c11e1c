"""Which way does a group become a kernel?  By its kind: a template where the group has one, else generic loops."""

from __future__ import annotations

from ..core.errors import CompilerError
from ..core.schedule import Schedule
from ..graph.graph import Graph
from ..kernel.ir import Buffer, Kernel
from ..ops.control import Fused
from ..ops.reduce import Reduce
from ..targets.target import Target
from .horizontal import lower_horizontal
from .loops import lower_pointwise
from .reductions import lower_reduction
from .single import lower_single

KINDS = ("loops", "reduction", "contraction", "gated", "attention", "single", "horizontal")


def lower_group(kind: str, body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a fused group. `params` and `results` are the buffers where its operands and results lie; a kernel may ask
    for more parameters, of role "workspace", after those."""
    if kind == "loops":
        return lower_pointwise(body, params, results, target, name, schedule)
    if kind == "reduction":
        return lower_reduction(body, params, results, target, name, schedule)
    if kind in ("contraction", "gated"):
        from ..templates.contraction import lower_contraction
        return lower_contraction(body, params, results, target, name, schedule)
    if kind == "attention":
        from ..templates.attention import lower_attention
        return lower_attention(body, params, results, target, name, schedule)
    if kind == "single":
        return lower_single(body, params, results, target, name)
    if kind == "horizontal":
        return lower_horizontal(body, params, results, target, name)
    raise CompilerError(f"no lowering for groups of kind {kind!r}")


def inplace_pairs(op: Fused, result: int) -> tuple[int, ...]:
    """The operands whose storage result number `result` may take over: each element is read only to make the same element."""
    if op.kind == "single":
        return ()
    body = op.body
    value = body.results[result]
    if op.kind == "horizontal":  # what another part reads, too, may be gone before it does
        part = value.node
        own = [part.operands[i] for i in inplace_pairs(part.op, value.index)]
        return tuple(body.params.index(param) for param in own if body.users[param] == (part,))
    if len(body.results) > 1:
        # In one nest, or on one tile, all results of an element are computed before the first is stored.
        alike = op.kind in ("loops", "contraction") and all(r.shape == value.shape for r in body.results)
        if not alike and op.kind != "reduction":
            return ()
    safe = []
    for j, param in enumerate(body.params):
        if param.shape == value.shape and _only_same_place(body, param, value) and (
                op.kind != "reduction" or _only_read_for(body, param, value)):
            safe.append(j)
    return tuple(safe)


def _only_read_for(body: Graph, param, result) -> bool:
    """Whether, of a group's several results, `param` is needed for this one alone, which may be stored long before the others."""
    if len(body.results) == 1:
        return True
    stack, seen = [param], {param, result}
    while stack:
        v = stack.pop()
        for user in body.users.get(v, ()):
            if isinstance(user.op, Reduce) or any(r in body.results and r is not result for r in user.results):
                return False
            for r in user.results:
                if r not in seen:
                    seen.add(r)
                    stack.append(r)
    return True


def _only_same_place(body: Graph, param, result) -> bool:
    """Whether `param` reaches everything that reads it through elementwise ops of the result's shape, or a row's reduction."""
    stack, seen = [param], set()
    while stack:
        v = stack.pop()
        for user in body.users.get(v, ()):
            if user in seen:
                continue
            seen.add(user)
            if isinstance(user.op, Reduce):
                continue
            if not user.op.is_pointwise or user.results[0].shape != result.shape:
                return False
            stack.append(user.results[0])
    return True
