"""How does a training step become an artifact that holds its state?  It keeps some arguments, with first values."""

from __future__ import annotations

import dataclasses
from typing import Callable, Mapping, Sequence

import numpy as np

from ..compiler.core.dtypes import as_dtype
from ..compiler.core.errors import TraceError
from ..compiler.core.options import Options
from ..compiler.core.types import TensorType
from ..runtime import signature
from ..runtime.artifact import Artifact
from ..runtime.signature import numpy_dtype
from . import tree
from .array.operands import as_array
from .symbols import Facts
from .trace import trace_alone


def stateful_artifact(step: Callable, *arguments, state: int | Sequence[int], dims: Mapping[str, Facts] | None = None,
                      options: Options = Options()) -> Artifact:
    """The artifact of `step`, which keeps the arguments that `state` numbers; they are arrays or trees of them.

    The step returns what follows them: a tuple that begins with a tree for each, in their order and of the same
    structures, shapes and dtypes, and whatever else; or that tree alone where there is one. As in
    `lm.jit(step, donate_argnums=state)`, results may take over the memory of these arguments. TraceError: it returns
    something else, or `state` numbers what is no argument or has no values.
    """
    from .cached import compile_cached
    if not callable(step):
        raise TraceError(f"{type(step).__name__} is no function, whose arguments could be a state",
                         hint="leave state= out, or give the function")
    places = _places(state, len(arguments))
    trees = [tree.flatten(x) for x in arguments]
    begins = np.cumsum([0, *(len(leaves) for leaves, _ in trees)]).tolist()
    inputs = [i for place in places for i in range(begins[place], begins[place + 1])]
    if not inputs:
        raise TraceError(f"the arguments that state={state!r} numbers hold no arrays", hint="leave state= out")
    traced = trace_alone(step, *arguments, dims=dims)
    graph = traced.graph
    values = [_value(x, graph.params[i]) for i, x in zip(inputs, (x for p in places for x in trees[p][0]))]
    _check_results(traced, [trees[p][1] for p in places])
    for i, result in zip(inputs, graph.results):
        if result.type != graph.params[i].type:
            parameter = graph.params[i]
            raise TraceError(f"the step returns {parameter.name!r} as {result.type}, it takes {parameter.type}",
                             hint="cast it, or begin with an array of that type")
    artifact = compile_cached(graph, options=options, donate=tuple(inputs))
    rows = [{"input": i, "output": j} for j, i in enumerate(inputs)]
    return dataclasses.replace(artifact, manifest=artifact.manifest | {"state": rows}, state=values)


def _places(state: int | Sequence[int], count: int) -> list[int]:
    places = [state] if isinstance(state, int) else list(state)
    wrong = [p for p in places if not -count <= p < count]
    normal = [p % count for p in places if p not in wrong]
    if wrong or not places or len(set(normal)) < len(normal):
        raise TraceError(f"state={state!r} does not number some of the {count} arguments", hint="the first one is 0")
    return normal


def _value(leaf, parameter) -> np.ndarray:
    """The first value of a parameter, in memory of its own."""
    if isinstance(leaf, (signature.TensorSpec, TensorType)):
        raise TraceError(f"{parameter.name!r} is state, which begins with values, and {leaf!r} has none",
                         hint="give an array, such as optimizer.init(params)")
    return np.array(as_array(leaf), numpy_dtype(as_dtype(parameter.type.dtype).name), order="C")


def _check_results(traced, structures: list[tree.Structure]) -> None:
    """TraceError unless the results begin with trees of these structures."""
    found = traced.structure
    if len(structures) == 1 and found == structures[0]:
        return
    if found.key == tree.LEAF or found.key[0] is not tuple or len(found.key[2]) < len(structures):
        raise TraceError(f"{traced.graph.name!r} returns {found!r}, which does not begin with its state",
                         hint="return a tuple: what follows each state argument, in their order, and then the rest")
    for i, (key, expected) in enumerate(zip(found.key[2], structures)):
        if key != expected.key:
            other = tree.Structure(key, 0)
            raise TraceError(f"result {i} of {traced.graph.name!r} is not what follows its state: it differs "
                             f"{tree.difference(other, expected)} (result, argument)",
                             hint="return a tuple: what follows each state argument, in their order, and then the rest")
