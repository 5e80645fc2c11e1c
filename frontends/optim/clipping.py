"""How are gradients kept from being too large?"""

from __future__ import annotations

from .. import tree
from ..array.elementwise import clip, divide, minimum, multiply, sqrt
from ..array.operands import Array, as_array, cast, dtype_of
from ..array.reduction import sum


def global_norm(grads) -> Array:
    """The Euclidean norm of all elements of a tree (float32, or float64 where one is), 0 of a tree without leaves."""
    total = as_array(0.0)
    for g in map(as_array, tree.leaves(grads)):
        wide = cast(g, dtype_of(g).compute)
        total = total + sum(multiply(wide, wide))
    return sqrt(total)


def clip_by_global_norm(grads, max_norm) -> tuple:
    """(grads scaled down so that their global norm is at most `max_norm`, the norm before that), as torch's
    clip_grad_norm_: the factor is max_norm / (norm + 1e-6), at most 1."""
    norm = global_norm(grads)
    factor = minimum(divide(max_norm, norm + 1e-6), 1.0)
    return tree.map(lambda g: _scaled(as_array(g), factor), grads), norm


def _scaled(g: Array, factor: Array) -> Array:
    compute = dtype_of(g).compute
    return cast(multiply(cast(g, compute), cast(factor, compute)), dtype_of(g))


def clip_by_value(grads, limit):
    """`grads` with every element between -limit and limit."""
    return tree.map(lambda g: clip(g, -limit, limit), grads)
