"""How are all derivatives of several results by several arguments taken?  jacfwd, jacrev and hessian, with JAX's
signatures: the maps that jvp and vjp give, applied by vmap to all unit vectors at once."""

from __future__ import annotations

import functools
import inspect
from typing import Callable, Sequence

from ..compiler.core.dims import product
from . import tree
from .array.elementwise import add, astype, equal
from .array.linear_algebra import ramp
from .array.manipulation import moveaxis, reshape, slice_axis
from .array.operands import as_array, dtype_of, type_of
from .array.tracer import dtype_error
from .derivatives import jvp, places_of, vjp
from .vectorization import vmap


def jacrev(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The function of fun's arguments that gives the Jacobian of its result by those numbered `argnums`, row by row in
    reverse mode: for results that are smaller than the arguments.

    A leaf of shape [*result, *argument] for each leaf of the result and each of the arguments: a tree like the result
    that holds trees like the argument (tuples of them where argnums is a sequence). With `has_aux`, fun returns
    (result, aux) and the function (Jacobian, aux). DTypeError where an argument or a result is no float.
    """

    @functools.wraps(fun)
    def jacobian(*args, **kwargs):
        chosen, is_single, part = _by(fun, argnums, args, kwargs)
        out, pullback, *aux = vjp(part, *chosen, has_aux=has_aux)
        results, structure = tree.flatten(out)
        for path, x in zip(tree.paths(structure), results):
            if not dtype_of(x).is_float:
                raise dtype_error(f"the result{path} of {part.__name__!r} is {type_of(x)}, and only floats have a "
                                  "derivative")
        pulled = vmap(pullback)(_unit_vectors(out))
        rows = [tree.map(lambda g, x=x, part=part: _part(g, part, (*x.shape, *g.shape[1:])), pulled)
                for x, part in zip(results, _ranges(results))]
        found = tree.unflatten(structure, [row[0] if is_single else row for row in rows])
        return (found, aux[0]) if has_aux else found
    return jacobian


def jacfwd(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """`jacrev`, column by column in forward mode: for arguments that are smaller than the results."""

    @functools.wraps(fun)
    def jacobian(*args, **kwargs):
        chosen, is_single, part = _by(fun, argnums, args, kwargs)
        given = [as_array(x) for x in tree.leaves(chosen)]
        _, pushed, *aux = vmap(lambda *tangents: jvp(part, chosen, tangents, has_aux=has_aux),
                               out_axes=(None, 0, None) if has_aux else (None, 0))(*_unit_vectors(chosen))

        def columns(g):
            parts = []
            for x, part in zip(given, _ranges(given)):
                rank = len(x.shape)
                whole = _part(g, part, (*x.shape, *g.shape[1:]))
                parts.append(moveaxis(whole, tuple(range(rank)), tuple(range(-rank, 0))))
            by_argument = tree.unflatten(tree.structure(chosen), parts)
            return by_argument[0] if is_single else by_argument
        found = tree.map(columns, pushed)
        return (found, aux[0]) if has_aux else found
    return jacobian


def hessian(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The function of fun's arguments that gives the second derivatives of its result by those numbered `argnums`.

    Forward over reverse mode: jacfwd of jacrev, whose trees it nests. [*result, *argument, *argument] for each leaf.
    """
    return jacfwd(jacrev(fun, argnums, has_aux), argnums, has_aux)


def _by(fun: Callable, argnums, args: tuple, kwargs: dict) -> tuple[tuple, bool, Callable]:
    """The arguments to differentiate by, whether one was asked for by its number alone, and fun as a function of them.
    """
    places, is_single = places_of(argnums, args, fun)

    def part(*chosen):
        given = list(args)
        for place, x in zip(places, chosen):
            given[place] = x
        return fun(*given, **kwargs)
    part.__name__ = getattr(fun, "__name__", "the function")
    try:  # parameters are called as fun calls them
        named = list(inspect.signature(fun).parameters.values())
        part.__signature__ = inspect.Signature([named[i].replace(kind=named[i].POSITIONAL_ONLY) for i in places])
    except (IndexError, TypeError, ValueError):
        pass
    return tuple(args[i] for i in places), is_single, part


def _ranges(leaves: Sequence) -> list[tuple]:
    """Where each leaf's elements begin among those of all, and how many they are."""
    found, at = [], 0
    for x in leaves:
        found.append((at, product(x.shape)))
        at = at + product(x.shape)
    return found


def _unit_vectors(value):
    """All unit vectors of the space of trees like `value`, along a new axis in front of each leaf."""
    leaves, structure = tree.flatten(value)
    leaves = [as_array(x) for x in leaves]
    ranges = _ranges(leaves)
    count = sum(ranges[-1]) if ranges else 0
    found = []
    for x, (at, size) in zip(leaves, ranges):
        row, column = (ramp((count, size), axis, x) for axis in (0, 1))  # in the graph where x is: no constant of them
        found.append(reshape(astype(equal(row, add(column, at)), dtype_of(x)), (count, *x.shape)))
    return tree.unflatten(structure, found)


def _part(g, part: tuple, shape: tuple):
    return reshape(slice_axis(g, 0, *part), shape)
