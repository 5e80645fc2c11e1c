"""What is known of sums over nothing, and of results without elements?  They are constants."""

from __future__ import annotations

from ..graph.builder import Builder
from ..ops.constants import filled
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.op import REGISTRY
from ..ops.rearrange import Broadcast
from ..ops.reduce import Reduce, identity
from .rule import rule


@rule(*(cls for cls in REGISTRY.values() if cls not in (Constant, Broadcast)))
def compute_no_elements(b: Builder, op, *operands):
    """exp(x) -> an empty constant, and so for every op whose results have no elements."""
    for o in operands:
        if 0 in o.shape:
            break
    else:
        return None
    types = op.infer(*(o.type for o in operands))
    return tuple(filled(b, t, 0) for t in types) if all(0 in t.shape for t in types) else None


@rule(Contract)
def contract_no_elements(b: Builder, op, x, y):
    """contract(x, y) -> 0, where it sums over an axis of extent 0."""
    if 0 not in x.shape and 0 not in y.shape:
        return None
    extents = op.extents(x.type, y.type)
    is_empty = any(extents[c] == 0 for c in op.summed + op.summed_alone)
    return filled(b, op.infer(x.type, y.type)[0], 0) if is_empty else None


@rule(Reduce)
def reduce_no_elements(b: Builder, op, x):
    """reduce(x) -> the identity of its kind (0, 1 or the dtype's end), where it reduces an axis of extent 0."""
    return filled(b, op.infer(x.type)[0], identity(op.kind, x.dtype)) if any(x.shape[a] == 0 for a in op.axes) else None
