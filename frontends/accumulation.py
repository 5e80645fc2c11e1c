"""How does a gradient of a large batch fit into memory?  It is the mean of those of its parts, one after the other."""

from __future__ import annotations

import functools
from typing import Callable, Sequence

from ..compiler.core.dims import Dim, divide_exactly, format_dim
from ..compiler.core.types import TensorType
from ..compiler.ops.identity import Barrier
from . import tree
from .array.control import scan
from .array.creation import zeros
from .array.elementwise import add, divide
from .array.manipulation import reshape
from .array.operands import as_array, cast
from .array.tracer import dtype_error, emit, shape_error, trace_error
from .trace import argument_names, array_specs, trace_leaves


def accumulate_gradients(function: Callable, steps: int, batch_argnums: int | Sequence[int] | None = None) -> Callable:
    """`function`, such as `lm.value_and_grad(loss)`, of a batch that it sees in `steps` equal parts.

    The arguments numbered `batch_argnums` (by default all positional ones but the first) are trees of arrays whose
    first axis is the batch: steps must divide it. The results are the means over the parts, which is what the whole
    batch gives, to rounding, where the loss is a mean over examples. 16-bit floats are added in float32. One loop
    (lm.scan) runs the parts, so that the memory for what is between forward and backward is that of one part.
    """
    steps = int(steps)
    if steps < 1:
        raise trace_error(f"accumulate_gradients takes 1 step or more, not {steps}")

    @functools.wraps(function)
    def accumulated(*args, **kwargs):
        places = _batch_places(batch_argnums, len(args))
        names = argument_names(function, len(args), tree.structure((args, kwargs)))
        at, batch = 0, []
        for i, arg in enumerate(args):
            count = len(tree.leaves(arg))
            batch += range(at, at + count) if i in places else ()
            at += count
        leaves, structure = tree.flatten((args, kwargs))
        parts = [_parts(as_array(leaves[i]), names[i], steps) for i in batch]
        if not parts:
            raise trace_error("accumulate_gradients has no argument that is a batch to split",
                              hint="batch_argnums names the arguments that are batches")

        def run(part: Sequence):
            given = list(leaves)
            for i, x in zip(batch, part):
                given[i] = x
            positional, keywords = tree.unflatten(structure, given)
            return function(*positional, **keywords)
        types, result = _result_types(run, parts)

        def step(totals, part):
            part = [emit(Barrier(), x, *totals[:1]) for x in part]  # else all parts would be computed before the sums
            found = [cast(as_array(x), t.dtype.compute) for x, t in zip(tree.leaves(run(part)), types)]
            return list(map(add, totals, found)), None
        totals, _ = scan(step, [zeros(t.shape, t.dtype.compute) for t in types], parts,
                         name="lm.accumulate_gradients")
        return tree.unflatten(result, [cast(divide(total, steps), t.dtype) for total, t in zip(totals, types)])
    return accumulated


def _batch_places(batch_argnums, count: int) -> set[int]:
    if batch_argnums is None:
        return set(range(1, count))
    chosen = (batch_argnums,) if isinstance(batch_argnums, int) else tuple(batch_argnums)
    for number in chosen:
        if not -count <= number < count:
            raise trace_error(f"batch_argnums names argument {number} of a function that is called with {count}")
    return {number % count for number in chosen}


def _parts(x, name: str, steps: int):
    """x [batch, ..] as [steps, batch / steps, ..]."""
    if not x.shape:
        raise shape_error(f"accumulate_gradients splits {name}, which is a scalar",
                          hint="batch_argnums names the arguments that are batches")
    size: Dim | None = divide_exactly(x.shape[0], steps)
    if size is None:
        raise shape_error(f"accumulate_gradients can't split {name}, a batch of {format_dim(x.shape[0])}, into {steps} "
                          "equal parts", hint='declare a symbolic dim as a multiple: "batch=8..64%8"')
    return reshape(x, (steps, size, *x.shape[1:]))


def _result_types(run: Callable, parts: Sequence) -> tuple[list[TensorType], tree.Structure]:
    """The types of the results for one part, and their structure; DTypeError where one is no float."""
    firsts = [x[0] for x in parts]
    leaves, structure = tree.flatten(((firsts,), {}))
    traced = trace_leaves(run, leaves, structure, array_specs(leaves, [f"part{i}" for i in range(len(leaves))]))
    types = [r.type for r in traced.graph.results]
    for path, t in zip(tree.paths(traced.structure), types):
        if not t.dtype.is_float:
            raise dtype_error(f"accumulate_gradients takes means, and the result{path} is {t}",
                              hint="cast it to a float, or leave it out of the function's result")
    return types, traced.structure
