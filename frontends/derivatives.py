"""How is a function differentiated?  grad, value_and_grad, vjp, jvp and linearize, with JAX's signatures.

The function is traced, its graph is transformed, and the transformed graph is applied: at once to arrays, into the
trace around it where a tracer is among the arguments. So they work inside `jit`, inside each other, and outside.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Sequence

from ..compiler.core.types import TensorType
from ..compiler.graph.graph import Graph
from ..compiler.transforms.forward import forward
from ..compiler.transforms.reverse import gradient
from ..compiler.transforms.split import separate, split
from . import tree
from .array.operands import as_array, cast, dtype_of, type_of
from .array.tracer import dtype_error, emit_graph, shape_error, trace_error
from .trace import Traced, trace_call


def grad(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The function of fun's arguments that gives the gradient of its scalar result by those numbered `argnums`.

    The gradient is a tree like the argument (a tuple of them where argnums is a sequence), of its shapes and dtypes.
    With `has_aux`, fun returns (result, aux) and the gradient function (gradient, aux). ShapeError where the result is
    no scalar, DTypeError where it or an argument to differentiate is no float.
    """
    both = value_and_grad(fun, argnums, has_aux)

    @functools.wraps(fun)
    def gradient_of(*args, **kwargs):
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found
    return gradient_of


def value_and_grad(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The function that gives (fun's result, its gradient): see `grad`. With `has_aux`, ((result, aux), gradient)."""

    @functools.wraps(fun)
    def value_and_gradient(*args, **kwargs):
        places, is_single = places_of(argnums, args, fun)
        traced, leaves = _trace(_scalar(fun, has_aux), places, args, kwargs)
        wrt = _differentiated(traced.graph, places, args, fun)
        results = emit_graph(gradient(traced.graph, wrt), leaves)
        count = traced.structure.count
        value = tree.unflatten(traced.structure, results[:count])
        found = _like([args[i] for i in places], results[count:])
        return value, found[0] if is_single else found
    return value_and_gradient


def vjp(fun: Callable, *primals, has_aux: bool = False) -> tuple:
    """(fun(*primals), pullback): pullback(cotangent), of a tree like the result, is a tuple of cotangents like primals.

    With `has_aux`, fun returns (result, aux), and this (result, pullback, aux). What the pullback needs of the forward
    pass is computed once and kept. DTypeError where a primal is no float.
    """
    places = tuple(range(len(primals)))
    traced, leaves = _trace(_paired(fun) if has_aux else fun, places, primals, {})
    wrt = _differentiated(traced.graph, places, primals, fun)
    structure, types = _result_part(traced, has_aux)
    halves = split(traced.graph, wrt, [i for i, t in enumerate(types) if t.dtype.is_float])
    count = traced.structure.count
    values = emit_graph(halves.forward, leaves)
    residuals = halves.find(leaves, dict(zip(halves.saved, values[count:])))
    out = tree.unflatten(traced.structure, values[:count])

    def pullback(cotangent):
        found = iter(emit_graph(halves.backward, [*residuals, *_cotangents(cotangent, structure, types, fun)]))
        params = [traced.graph.params[i] for i in wrt]
        return _like(primals, [next(found) if pulled else _zeros(p.type) for p, pulled in zip(params, halves.pulled)])
    return (out[0], pullback, out[1]) if has_aux else (out, pullback)


def jvp(fun: Callable, primals: Sequence, tangents: Sequence, has_aux: bool = False) -> tuple:
    """(fun(*primals), the derivative of that along `tangents`): tangents are trees like the primals.

    With `has_aux`, fun returns (result, aux), and this (result, tangent, aux). A loop needs no bound here.
    """
    traced, leaves, wrt, out, pushed = _pushed(fun, tuple(primals), has_aux)
    results = emit_graph(pushed, [*leaves, *_tangents(tuple(tangents), tuple(primals), traced, fun)])
    value = tree.unflatten(traced.structure, results[:traced.structure.count])
    found = _result_tangents(traced, out, results[traced.structure.count:])
    return (value[0], found, value[1]) if has_aux else (value, found)


def linearize(fun: Callable, *primals, has_aux: bool = False) -> tuple:
    """(fun(*primals), the linear map of tangents that is its derivative there); what the map needs is computed once.

    With `has_aux`, fun returns (result, aux), and this (result, map, aux).
    """
    traced, leaves, wrt, out, pushed = _pushed(fun, primals, has_aux)
    count = traced.structure.count
    halves = separate(pushed, range(len(pushed.params) - len(wrt), len(pushed.params)), count)
    values = emit_graph(halves.forward, leaves)
    residuals = halves.find(leaves, dict(zip(halves.saved, values[count:])))
    value = tree.unflatten(traced.structure, values[:count])

    def push(*tangents):
        results = emit_graph(halves.backward, [*residuals, *_tangents(tangents, primals, traced, fun)])
        return _result_tangents(traced, out, results)
    return (value[0], push, value[1]) if has_aux else (value, push)


def _pushed(fun: Callable, primals: tuple, has_aux: bool) -> tuple:
    """(fun traced, what its graph is applied to, the params differentiated by, the structure of the result, the graph
    that pushes tangents of all primals)."""
    places = tuple(range(len(primals)))
    traced, leaves = _trace(_paired(fun) if has_aux else fun, places, primals, {})
    wrt = _differentiated(traced.graph, places, primals, fun)
    return traced, leaves, wrt, _result_part(traced, has_aux)[0], forward(traced.graph, wrt)


def _tangents(tangents: tuple, primals: tuple, traced: Traced, fun: Callable) -> list:
    types = [p.type for p in traced.graph.params]
    return _fitting(tangents, tree.structure(primals), types, f"the tangents of {_name(fun)}", "its arguments")


def _result_tangents(traced: Traced, structure: tree.Structure, tangents: Sequence) -> Any:
    """The tangents of a result without aux, as a tree like it; of what is no float, zeros."""
    rest = iter(tangents)
    leaves = [next(rest) if r.dtype.is_float else _zeros(r.type) for r in traced.graph.results]
    return tree.unflatten(structure, leaves[:structure.count])


# ---- arguments and results -------------------------------------------------------------------------------------------
def _name(fun: Callable) -> str:
    return repr(getattr(fun, "__name__", "the function"))


def places_of(argnums: int | Sequence[int], args: Sequence, fun: Callable) -> tuple[tuple[int, ...], bool]:
    """The arguments to differentiate by, counted from the front, and whether one was asked for by its number alone."""
    is_single = isinstance(argnums, int)
    places = []
    for number in (argnums,) if is_single else tuple(argnums):
        if not -len(args) <= number < len(args):
            raise trace_error(f"argnums names argument {number} of {_name(fun)}, which is called with {len(args)}",
                              hint="arguments to differentiate are passed by position")
        places.append(number % len(args))
    return tuple(places), is_single


def _trace(fun: Callable, places: tuple[int, ...], args: Sequence, kwargs: dict) -> tuple[Traced, list]:
    """`fun` traced with the arguments at `places` as parameters, the others as they are, and what the graph is applied
    to."""
    traced_at = sorted(set(places))
    others = {i: x for i, x in enumerate(args) if i not in traced_at}
    chosen = [args[i] for i in traced_at]
    traced = trace_call(fun, chosen, {}, static=kwargs, static_args=others)
    return traced, [*map(as_array, tree.leaves(chosen)), *traced.captured]


def _differentiated(graph: Graph, places: tuple[int, ...], args: Sequence, fun: Callable) -> list[int]:
    """The graph's parameters that stand for the arguments at `places`; DTypeError where one is no float."""
    first, at = {}, 0
    for i in sorted(set(places)):
        first[i] = at
        at += len(tree.leaves(args[i]))
    wrt = [first[i] + k for i in places for k in range(len(tree.leaves(args[i])))]
    for i in wrt:
        param = graph.params[i]
        if not param.dtype.is_float:
            raise dtype_error(f"argument {param.name!r} of {_name(fun)} is {param.type}, and only floats have a "
                              f"derivative", hint="cast it to a float, or leave it out of argnums")
    return wrt


def _like(args: Sequence, leaves: Sequence) -> tuple:
    """The leaves as trees like the arguments."""
    rest, found = iter(leaves), []
    for arg in args:
        structure = tree.structure(arg)
        found.append(tree.unflatten(structure, [next(rest) for _ in range(structure.count)]))
    return tuple(found)


def _scalar(fun: Callable, has_aux: bool) -> Callable:
    """`fun` checked to give one float scalar, and aux behind it."""

    @functools.wraps(fun)
    def checked(*args, **kwargs):
        result = (_paired(fun) if has_aux else fun)(*args, **kwargs)
        value = result[0] if has_aux else result
        leaves, structure = tree.flatten(value)
        if structure.key != tree.LEAF:
            raise shape_error(f"a gradient is that of one scalar, and {_name(fun)} returns {structure}",
                              hint="has_aux=True takes (loss, aux); lm.vjp differentiates several results")
        found = type_of(as_array(leaves[0]))
        if found.shape != ():
            raise shape_error(f"a gradient is that of one scalar, and {_name(fun)} returns {found}",
                              hint="reduce it with lm.mean or lm.sum; lm.vjp takes results of any shape")
        if not found.dtype.is_float:
            raise dtype_error(f"{_name(fun)} returns {found}, and only floats have a derivative",
                              hint="cast it to a float; has_aux=True returns other results beside the loss")
        return result
    return checked


def _paired(fun: Callable) -> Callable:
    """`fun` checked to give (result, aux)."""

    @functools.wraps(fun)
    def checked(*args, **kwargs):
        result = fun(*args, **kwargs)
        if not isinstance(result, tuple) or len(result) != 2:
            raise trace_error(f"{_name(fun)} returns {type(result).__name__}, with has_aux a pair (result, aux) was "
                              f"expected")
        return result
    return checked


def _result_part(traced: Traced, has_aux: bool) -> tuple[tree.Structure, list[TensorType]]:
    """The structure of the result without aux, and its leaves' types."""
    structure = traced.structure
    if has_aux:
        key = structure.key[2][0]
        structure = tree.structure(tree.unflatten(structure, range(structure.count))[0])
        assert structure.key == key
    return structure, [r.type for r in traced.graph.results[:structure.count]]


def _cotangents(cotangent: Any, structure: tree.Structure, types: Sequence[TensorType], fun: Callable) -> list:
    return _fitting(cotangent, structure, types, f"the cotangent of {_name(fun)}", "its result")


def _fitting(given_tree: Any, structure: tree.Structure, types: Sequence[TensorType], what: str, like: str) -> list:
    """The leaves of `given_tree` for those of a tree that are floats, of their dtypes; an error where it differs."""
    leaves, found = tree.flatten(given_tree)
    if found != structure:
        raise trace_error(f"{what} and {like} differ {tree.difference(found, structure)}",
                          hint="give a tree of the same structure, shapes and dtypes")
    given = []
    for path, leaf, expected in zip(tree.paths(structure), leaves, types):
        if not expected.dtype.is_float:
            continue
        array = as_array(leaf)
        if tuple(array.shape) != expected.shape or not dtype_of(array).is_float:
            raise shape_error(f"{what} is {type_of(array)}{' at ' + path if path else ''}, for {like}, {expected}")
        given.append(cast(array, expected.dtype))
    return given


def _zeros(type: TensorType):
    from .array.creation import zeros
    return zeros(type.shape, type.dtype)
