"""Which graph computes a derivative in reverse mode, in one piece?"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..graph.builder import Builder
from ..graph.graph import Graph, Value
from ..ops.constants import filled
from .tape import Tape


def gradient(graph: Graph, wrt: Sequence[int]) -> Graph:
    """(params..) -> (results.., gradients by the params numbered `wrt`) of the first result, a float scalar."""
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    wanted = [params[i] for i in wrt]
    tape = Tape(builder, set(wanted))
    results = tape.emit(graph, params)
    one = builder.constant(np.ones((), results[0].dtype.numpy))
    found = tape.pull(results[:1], [one], wanted)
    names = [*graph.output_names, *(f"d_{w.name}" for w in wanted)]
    is_unique = len(set(names)) == len(names)
    return builder.finish([*results, *_materialized(builder, wanted, found)], names if is_unique else ())


def reverse(graph: Graph, wrt: Sequence[int]) -> Graph:
    """(params.., a cotangent for each float result) -> (results.., cotangents of the params numbered `wrt`)."""
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    wanted = [params[i] for i in wrt]
    tape = Tape(builder, set(wanted))
    results = tape.emit(graph, params)
    floats = [r for r in results if r.dtype.is_float]
    cotangents = [builder.parameter(r.type, f"cotangent{i}") for i, r in enumerate(floats)]
    return builder.finish([*results, *_materialized(builder, wanted, tape.pull(floats, cotangents, wanted))])


def _materialized(builder: Builder, values: Sequence[Value], cotangents: Sequence[Value | None]) -> list[Value]:
    """The cotangents, zeros where nothing depends on a value."""
    return [filled(builder, v.type, 0) if c is None else c for v, c in zip(values, cotangents)]
