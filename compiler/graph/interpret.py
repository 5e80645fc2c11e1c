"""What does a graph compute?  Run it with the ops' NumPy references: the oracle of every other level."""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np

from ..core.dims import evaluate
from ..core.errors import ShapeError
from ..core.types import TensorType
from .graph import Graph, Value


def interpret(graph: Graph, arrays: Sequence[np.ndarray], extents: Mapping[str, int] | None = None,
              watch=None) -> tuple[np.ndarray, ...]:
    """The results of `graph` for `arrays`. `watch(value, array)` sees every value as it is made."""
    if len(arrays) != len(graph.params):
        raise ShapeError(f"graph {graph.name!r} takes {len(graph.params)} arrays, {len(arrays)} were given")
    extents = dict(extents or {})
    extents.update(bind_extents(graph, [np.asarray(a).shape for a in arrays]))
    env: dict[Value, np.ndarray] = {}
    for param, array in zip(graph.params, arrays):
        env[param] = np.asarray(array, dtype=param.dtype.numpy)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            op = node.op.at_extents(extents)
            results = op.evaluate(*(env[o] for o in node.operands))
            for value, array in zip(node.results, results):
                env[value] = array
                if watch is not None:
                    watch(value, array)
    return tuple(env[r] for r in graph.results)


def bind_extents(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The extent of every symbol of `graph`, read from the shapes of its arguments; checks facts and fixed dims."""
    return bind_dims(graph.input_names, [p.type for p in graph.params], shapes)


def bind_dims(names: Sequence[str], types: Sequence[TensorType], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The extent of every symbol of `types`, those of the inputs `names`, read from the shapes of arguments; checks facts and fixed
    dims."""
    extents: dict[str, int] = {}
    owner: dict[str, str] = {}
    pending = []
    for name, type, shape in zip(names, types, shapes):
        if len(shape) != type.rank:
            raise ShapeError(f"input {name!r} has rank {len(shape)}, {type} was expected")
        for axis, (dim, extent) in enumerate(zip(type.shape, shape)):
            if not isinstance(dim, int) and len(dim.terms) == 1 and dim.terms[0][1] == 1 and len(dim.terms[0][0]) == 1 \
                    and hasattr(dim.terms[0][0][0], "name"):
                symbol = dim.terms[0][0][0]
                if symbol.name in extents and extents[symbol.name] != extent:
                    raise ShapeError(f"input {name!r}, axis {axis}: dim {symbol.name!r} is {extent} here and "
                                     f"{extents[symbol.name]} in input {owner[symbol.name]!r}")
                if not symbol.lower <= extent <= symbol.upper or extent % symbol.multiple:
                    raise ShapeError(f"input {name!r}, axis {axis}: extent {extent} breaks the fact "
                                     f"{symbol.name}={symbol.facts()}",
                                     hint="declare wider facts for the dim, or change the input")
                extents.setdefault(symbol.name, extent)
                owner.setdefault(symbol.name, name)
            else:
                pending.append((name, axis, dim, extent))
    for name, axis, dim, extent in pending:
        if evaluate(dim, extents) != extent:
            raise ShapeError(f"input {name!r}, axis {axis}: extent {extent}, expected {dim}"
                             + ("" if isinstance(dim, int) else f" = {evaluate(dim, extents)}"))
    return extents
