"""How does a Python function become a Graph?  It is called once with tracers in place of its arrays."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from ..compiler.core.dims import DimExpr
from ..compiler.core.dtypes import as_dtype
from ..compiler.core.errors import DTypeError, LaminaError, TraceError
from ..compiler.core.types import TensorType
from ..compiler.graph.graph import Graph
from ..runtime import signature
from . import tree
from .array.operands import as_array, type_of, weak_kind
from .array.tracer import Tracer, tracing, user_location
from .symbols import Facts, Symbols


class TensorSpec(signature.TensorSpec):
    """The type of an argument: TensorSpec(("batch", 128), "float32").

    `shape` holds ints, dims, and strings: "batch" is a symbolic dim, "batch=1..64%8" one with facts (from 1 to 64, a
    multiple of 8), "2*batch + 1" an expression of dims. `dtype` is a lamina or NumPy dtype or its name. `name` names
    the parameter; by default it is the argument's name.
    """

    def __init__(self, shape: Sequence = (), dtype="float32", name: str = ""):
        shape = (shape,) if isinstance(shape, (int, str, DimExpr)) else tuple(shape)
        shape = tuple(d if isinstance(d, (str, DimExpr)) else int(d) for d in shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", as_dtype(dtype).name)
        object.__setattr__(self, "name", name)

    def __repr__(self) -> str:
        return f"TensorSpec({self.shape!r}, {self.dtype!r}{f', {self.name!r}' if self.name else ''})"


@dataclass(frozen=True)
class Traced:
    """A traced function: its graph, and the structure that its results are put back into.

    Traced inside another trace it may use that one's tracers: these are `captured`, the graph's last parameters.
    """

    graph: Graph
    structure: tree.Structure
    captured: tuple[Tracer, ...] = ()


def trace(f: Callable, /, *specs, static: Mapping[str, Any] | None = None, dims: Mapping[str, Facts] | None = None,
          name: str = "") -> Graph:
    """The graph of f(*specs, **static).

    Each spec is a TensorSpec, an array or number (its type counts), or a tree of them. `static` gives keyword arguments
    as they are. `dims` declares facts of symbolic dims: {"batch": (1, 64)}. Parameters are named after the arguments,
    results "out0" ... or after the keys of a dict that f returns.
    """
    return trace_alone(f, *specs, static=static, dims=dims, name=name).graph


def trace_alone(f: Callable, /, *specs, static: Mapping[str, Any] | None = None, dims: Mapping[str, Facts] | None = None,
                name: str = "") -> Traced:
    """`trace` with the structure of the results."""
    traced = trace_call(f, specs, {}, static=static, dims=dims, name=name)
    if traced.captured:
        raise TraceError(f"{traced.graph.name!r} uses {traced.captured[0]!r} of the trace around it, which its graph "
                         f"can't hold",
                         location=user_location(), hint="pass it as an argument")
    return traced


def trace_call(f: Callable, args: Sequence, kwargs: Mapping[str, Any], *, static: Mapping[str, Any] | None = None,
               dims: Mapping[str, Facts] | None = None, name: str = "",
               static_args: Mapping[int, Any] | None = None) -> Traced:
    """`trace` with keyword arguments that are traced too; `static_args` gives positional arguments as they are."""
    static_args = dict(static_args or {})
    dynamic, structure = tree.flatten((tuple(args), dict(kwargs)))
    names = argument_names(f, len(args) + len(static_args), structure, static_args)
    symbols = Symbols(dims)
    for leaf in dynamic:
        if isinstance(leaf, (signature.TensorSpec, TensorType)):
            symbols.collect(leaf.shape)
    symbols.check_declared()
    called = name or _identifier(getattr(f, "__name__", "main"))
    with tracing(called, f"function {getattr(f, '__name__', called)!r}") as trace:
        params = [_parameter(trace, leaf, n, symbols) for leaf, n in zip(dynamic, names)]
        positional, keywords = tree.unflatten(structure, params)
        rest = iter(positional)
        merged = [static_args[i] if i in static_args else next(rest) for i in range(len(args) + len(static_args))]
        result = f(*merged, **keywords, **(static or {}))
        leaves, result_structure = tree.flatten(result)
        paths = tree.paths(result_structure)
        graph = trace.finish([_result(x, path, f) for x, path in zip(leaves, paths)],
                             result_names(paths, result_structure))
        captured = tuple(tracer for tracer, _ in trace.captured.values())
    return Traced(graph, result_structure, captured)


def trace_leaves(f: Callable, leaves: Sequence, structure: tree.Structure, specs: Mapping[int, TensorSpec]) -> Traced:
    """`f` traced with those leaves of its arguments (args, kwargs) as parameters that `specs` numbers and gives types
    of; the other leaves are passed as they are."""
    def called(*values):
        given = list(leaves)
        for i, value in zip(specs, values):
            given[i] = value
        positional, keywords = tree.unflatten(structure, given)
        return f(*positional, **keywords)
    called.__name__ = getattr(f, "__name__", "main")
    return trace_call(called, list(specs.values()), {})


def array_specs(leaves: Sequence, names: Sequence[str]) -> dict[int, TensorSpec]:
    """For `trace_leaves`, NumPy arrays as parameters: no copy of them becomes a constant. Scalars stay as they are."""
    return {i: TensorSpec(x.shape, x.dtype, n) for i, (x, n) in enumerate(zip(leaves, names))
            if isinstance(x, np.ndarray) and x.ndim > 0}


def _parameter(trace, leaf, name: str, symbols: Symbols) -> Tracer:
    if isinstance(leaf, signature.TensorSpec):
        return trace.parameter(TensorType(symbols.resolve(leaf.shape), as_dtype(leaf.dtype)), leaf.name or name)
    if isinstance(leaf, TensorType):
        return trace.parameter(TensorType(symbols.resolve(leaf.shape), leaf.dtype), name)
    try:
        return trace.parameter(leaf.value.type if isinstance(leaf, Tracer) else type_of(as_array(leaf)), name,
                               weak_kind(leaf) is not None)
    except DTypeError:
        raise TraceError(f"argument {name!r} is {type(leaf).__name__}, which is no array", location=user_location(),
                         hint="name it in static_argnames (or trace's static=) if it chooses what is computed; "
                         "lm.tree.register makes a dataclass a container") from None


def _result(x, path: str, f: Callable):
    try:
        return as_array(x)
    except LaminaError as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"function {getattr(f, '__name__', 'main')!r} returns {type(x).__name__}"
                         f"{' at ' + path if path else ''}, which is no array", location=user_location(),
                         hint="return trees of arrays and numbers") from None


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "main"


def argument_names(f: Callable, count: int, structure: tree.Structure, skipped: Mapping[int, Any] = {}) -> list[str]:
    """A name for each leaf of (args, kwargs): the argument's name and the path inside it, all different."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "arg")
    names = positional[:count] + [f"{variadic}{i}" for i in range(max(0, count - len(positional)))]
    names = [n for i, n in enumerate(names) if i not in skipped]
    _, _, (args_key, kwargs_key) = structure.key
    found = []
    for name, key in (*zip(names, args_key[2]), *zip(kwargs_key[1], kwargs_key[2])):
        found += [name + tree.dotted(path) for path in tree.paths(tree.Structure(key, 0))]
    return unique(found)


def unique(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that occur before."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate)
        result.append(candidate)
    return result


def result_names(paths: Sequence[str], structure: tree.Structure) -> list[str]:
    """out0, out1 ... with the path inside each, or the keys where the result is a dict."""
    if structure.key == tree.LEAF:
        return ["out0"]
    if structure.key[0] is dict:
        return unique([tree.dotted(path).lstrip(".") for path in paths])
    return unique(["out" + tree.dotted(path).lstrip(".") if path.startswith("[") else tree.dotted(path).lstrip(".")
                   for path in paths])
