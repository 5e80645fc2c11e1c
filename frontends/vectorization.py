"""How is a function applied to many arguments at once?  vmap, with JAX's signature.

The function is traced for one set of arguments; every op of its graph then works on a batch of them. So it runs inside
`jit`, inside itself, inside and around derivatives, and outside of them all, where it is computed at once.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Sequence

import numpy as np

from ..compiler.core.dims import Dim, DimExpr, format_dim
from ..compiler.ops.batching import batched_graph
from . import tree
from .array.manipulation import broadcast_to, moveaxis
from .array.operands import as_array, dtype_of
from .array.tracer import emit_graph, shape_error, trace_error
from .trace import TensorSpec, argument_names, array_specs, trace_leaves


def vmap(fun: Callable, in_axes: Any = 0, out_axes: Any = 0, *, axis_size: int | DimExpr | None = None) -> Callable:
    """`fun` of many sets of arguments at once: the function that takes and returns arrays with one more axis.

    `in_axes` says which axis of each argument numbers the sets (negative ones count from the end), None where all sets
    share the argument: one for all, or a tuple with one for each positional argument, each of which may be a tree of
    the upper part of the argument's. Keyword arguments are mapped over their first axis. `out_axes`, for the result or
    a tree of its upper part, says where the axis goes; None asks for a result that is the same for all sets.
    `axis_size` is the number of sets, needed where nothing is mapped. Arrays that `fun` uses besides its arguments are
    shared. ShapeError where sizes differ or an axis is missing, TraceError where in_axes or out_axes do not fit.
    """
    name = getattr(fun, "__name__", "the function")

    @functools.wraps(fun)
    def mapped(*args, **kwargs):
        leaves, structure = tree.flatten((args, kwargs))
        names = argument_names(fun, len(args), structure)
        axes = _argument_axes(in_axes, args, kwargs, name)
        leaves = [x if axis is None else as_array(x) for x, axis in zip(leaves, axes)]
        places = [None if axis is None else _place(axis, x, n, name) for x, axis, n in zip(leaves, axes, names)]
        size = _size(leaves, places, names, axis_size, name)
        specs = array_specs(leaves, names)
        specs.update({i: _one_of(leaves[i], p, names[i]) for i, p in enumerate(places) if p is not None})
        traced = trace_leaves(fun, leaves, structure, specs)
        flags = [places[i] is not None for i in specs] + [False] * len(traced.captured)
        graph, is_batched = batched_graph(traced.graph, flags, size)
        operands = [leaves[i] if places[i] is None else moveaxis(leaves[i], places[i], 0) for i in specs]
        results = emit_graph(graph, [*operands, *traced.captured])
        wanted = _result_axes(out_axes, traced.structure, name)
        paths = tree.paths(traced.structure)
        return tree.unflatten(traced.structure, [
            _placed(*result, size, name) for result in zip(results, is_batched, wanted, paths)])
    return mapped


def _is_axis(x) -> bool:
    return x is None or isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _argument_axes(in_axes, args: tuple, kwargs: dict, name: str) -> list:
    """For each leaf of (args, kwargs) the axis that is mapped, or None."""
    axes = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    if isinstance(axes, tuple) and len(axes) != len(args):
        raise trace_error(f"in_axes of vmap names {len(axes)} arguments, and {name!r} is called with {len(args)}",
                          hint="give one axis (or None, or a tree of them) for each positional argument")
    try:
        found = tree.broadcast_prefix(axes, tree.structure(args), _is_axis)
    except tree.TreeError as error:
        raise trace_error(f"in_axes of vmap and the arguments of {name!r} differ: {error.message}",
                          hint="in_axes holds ints and None, in a tree of the upper part of the arguments'") from None
    return found + [0] * len(tree.leaves(kwargs))


def _result_axes(out_axes, structure: tree.Structure, name: str) -> list:
    try:
        return tree.broadcast_prefix(out_axes, structure, _is_axis)
    except tree.TreeError as error:
        raise trace_error(f"out_axes of vmap and the result of {name!r} differ: {error.message}",
                          hint="out_axes holds ints and None, in a tree of the upper part of the result's") from None


def _place(axis: int, x, what: str, name: str) -> int:
    """`axis` of the argument x, counted from the front."""
    rank = len(x.shape)
    if not -rank <= axis < rank:
        raise shape_error(f"vmap of {name!r} maps over axis {axis} of {what}, which has rank {rank}",
                          hint="in_axes=None shares an argument between all sets")
    return int(axis) % rank


def _size(leaves: Sequence, places: Sequence, names: Sequence[str], axis_size, name: str) -> Dim:
    """The number of sets; ShapeError where the mapped axes or `axis_size` disagree, or none is given."""
    found = [(f"axis {p} of {n}", x.shape[p]) for x, p, n in zip(leaves, places, names) if p is not None]
    if axis_size is not None:
        found.append(("axis_size", axis_size if isinstance(axis_size, DimExpr) else int(axis_size)))
    if not found:
        raise shape_error(f"vmap of {name!r} maps over no argument", hint="give axis_size=, or an axis in in_axes")
    size = found[0][1]
    if any(other != size for _, other in found):
        raise shape_error(f"vmap of {name!r} maps over axes of different sizes: "
                          + ", ".join(f"{what} has {format_dim(extent)}" for what, extent in found),
                          hint="in_axes=None shares an argument between all sets")
    return size


def _one_of(x, place: int, what: str) -> TensorSpec:
    """The type of one set's part of an argument."""
    return TensorSpec(tuple(d for axis, d in enumerate(x.shape) if axis != place), dtype_of(x), what)


def _placed(result, is_batched: bool, axis: int | None, path: str, size: Dim, name: str):
    """The result with the sets along `axis`."""
    if axis is None:
        if is_batched:
            raise shape_error(f"out_axes of vmap is None for the result{path} of {name!r}, which differs between the "
                              "sets",
                              hint="give it an axis, or reduce over the sets outside of vmap")
        return result
    rank = len(result.shape) + (not is_batched)
    if not -rank <= axis < rank:
        raise shape_error(f"out_axes of vmap puts the sets on axis {axis} of the result{path} of {name!r}, whose rank "
                          f"is {rank}")
    if not is_batched:
        result = broadcast_to(result, (size, *result.shape))
    return moveaxis(result, 0, axis)
