"""How is a model trained in 16 bits?  Products are computed in them, weights and sums stay float32; with float16 the
loss is scaled, so that small gradients do not vanish."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any, Callable

import numpy as np

from ..compiler.core.dtypes import as_dtype
from ..compiler.transforms.precision import mix_precision
from . import tree
from .array.elementwise import add, equal, isfinite, logical_and, maximum, multiply, divide, where
from .array.operands import Array, as_array, cast, dtype_of
from .array.reduction import all as all_of
from .array.tracer import dtype_error, emit_graph
from .trace import argument_names, array_specs, trace_leaves


def mixed_precision(fun: Callable, compute: Any = "bfloat16") -> Callable:
    """`fun` with its matrix products and convolutions of float32 computed in `compute`: "bfloat16" or "float16".

    Their operands are rounded, they sum in float32, their results are of `compute`. All else, what goes in, and what
    comes out, keeps its dtype: weights stay float32, and so do reductions, softmax, losses, and gradients, which may be
    taken inside of it or of it. With float16, scale the loss: `DynamicLossScale`.
    """
    dtype = as_dtype(compute)
    if not dtype.is_float or dtype.bits != 16:
        raise dtype_error(f"mixed precision computes in bfloat16 or float16, not in {dtype.name}")

    @functools.wraps(fun)
    def mixed(*args, **kwargs):
        leaves, structure = tree.flatten((args, kwargs))
        specs = array_specs(leaves, argument_names(fun, len(args), structure))
        traced = trace_leaves(fun, leaves, structure, specs)
        operands = [*(leaves[i] for i in specs), *traced.captured]
        return tree.unflatten(traced.structure, emit_graph(mix_precision(traced.graph, dtype), operands))
    return mixed


@tree.register(static=("interval", "factor"))
@dataclass(frozen=True)
class DynamicLossScale:
    """By what a loss is multiplied before it is differentiated, so that its gradients fit float16: a tree of arrays.

    `scale` (float32) is multiplied by `factor` after `interval` steps of finite gradients, which `good_steps` (int32)
    counts, and divided by it, down to 1, where they are not finite (Micikevicius et al., ICLR 2018).
    """

    scale: Array = field(default_factory=lambda: np.float32(2.0 ** 15))
    good_steps: Array = field(default_factory=lambda: np.int32(0))
    interval: int = 2000
    factor: float = 2.0

    def scale_loss(self, loss) -> Array:
        """The loss times the scale, of the loss's dtype."""
        return multiply(loss, cast(as_array(self.scale), dtype_of(as_array(loss))))

    def unscale(self, gradients):
        """A tree of gradients divided by the scale; 16-bit floats become float32."""
        def unscaled(g):
            wide = cast(as_array(g), dtype_of(as_array(g)).compute)
            return divide(wide, cast(as_array(self.scale), dtype_of(wide)))
        return tree.map(unscaled, gradients)

    def adjust(self, is_finite) -> "DynamicLossScale":
        """The scale for the next step; `is_finite` (a bool scalar) says whether this one's gradients were."""
        counted = add(self.good_steps, np.int32(1))
        is_long = equal(counted, np.int32(self.interval))
        grown = where(is_long, multiply(self.scale, np.float32(self.factor)), self.scale)
        grown = where(isfinite(grown), grown, self.scale)
        shrunk = maximum(divide(self.scale, np.float32(self.factor)), np.float32(1))
        return replace(self, scale=where(is_finite, grown, shrunk),
                       good_steps=where(logical_and(is_finite, ~is_long), counted, np.int32(0)))


def all_finite(arrays) -> Array:
    """Whether every element of a tree of arrays is finite: a bool scalar."""
    found = np.bool_(True)
    for x in tree.leaves(arrays):
        found = logical_and(found, all_of(isfinite(x)))
    return found


def select_tree(condition, x, y):
    """The tree x where the bool scalar `condition` holds, else y: trees of one structure, shapes and dtypes."""
    return tree.map(lambda a, b: where(condition, a, b), x, y)
