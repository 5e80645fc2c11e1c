"""Which value of a compiled model goes wrong first?  `bisect` compares it with a reference and names the value, and
what is to blame."""

from __future__ import annotations

from typing import Mapping

import numpy as np

from ...compiler.core.errors import LaminaError
from ...compiler.core.options import Options
from ..symbols import Facts
from .finding import Bisection, Difference, Finding

__all__ = ["Bisection", "Difference", "Finding", "bisect"]


def bisect(model, *arrays: np.ndarray, reference: str | Mapping[str, np.ndarray] = "f64",
           dims: Mapping[str, Facts] | None = None, options: Options | None = None,
           tell=lambda what, done, total: None) -> Bisection:
    """Find the first value of `model` that the compiled program gets wrong for `arrays`, without changing fusion or
    schedule.

    `model` is what `lamina.compile` takes; a function is traced for the types of `arrays`, one for each input.
    `reference` is "f64" (the operators' references in double precision), "interpreter" (in the model's own precision),
    "onnxruntime" (for ONNX models: the values of its nodes), or the expected outputs by name. How far correct results
    may differ is measured by disturbing every rounding.
    """
    from ..compile import as_graph
    from .search import REFERENCES, Search
    options = options or Options()
    if isinstance(reference, str) and reference not in (*REFERENCES, "onnxruntime"):
        raise LaminaError(f"there is no reference {reference!r}",
                          hint="there are f64, interpreter, onnxruntime, and arrays by name")
    arrays = tuple(map(np.asarray, arrays))
    specs = ()
    if callable(model):
        from ..trace import TensorSpec
        model, specs = getattr(model, "__wrapped__", model), [TensorSpec(a.shape, a.dtype) for a in arrays]
    graph = as_graph(model, *specs, dims=dims)
    if len(arrays) != len(graph.params):
        raise LaminaError(f"{len(arrays)} arrays were given, the model takes {len(graph.params)}",
                          hint="they are " + ", ".join(graph.input_names))
    if isinstance(reference, Mapping):
        return Search(graph, arrays, options, tell).run("arrays", reference)
    if reference == "onnxruntime":
        from .onnx_reference import OnnxSearch
        return OnnxSearch(model, graph, arrays, options, tell).run()
    return Search(graph, arrays, options, tell).run(reference)
