"""Which node of an ONNX model does onnxruntime compute otherwise?  It gives the values of every node, unoptimized."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Sequence

import numpy as np

from ...compiler.core.errors import LaminaError
from ...compiler.core.options import Options
from ...compiler.graph.graph import Graph, Node
from .finding import Bisection, Finding, difference
from ...compiler.check import expect
from .search import Search
from .shadow import shadow


class OnnxSearch:
    """One bisection of the ONNX model `source`, of which `graph` was imported, against onnxruntime."""

    def __init__(self, source, graph: Graph, arrays: Sequence[np.ndarray], options: Options,
                 tell=lambda what, done, total: None):
        self.source, self.graph, self.arrays, self.options, self.tell = source, graph, arrays, options, tell

    def run(self) -> Bisection:
        """The first node that the imported graph computes otherwise than onnxruntime; else what `Search` finds."""
        self.tell("onnxruntime", 0, 0)
        values, names = node_values(self.source, dict(zip(self.graph.input_names, self.arrays)))
        given = {name: values[name] for name in self.graph.output_names if name in values}
        found = Search(self.graph, self.arrays, self.options, self.tell).run("onnxruntime", given)
        if found.finding is None or found.finding.stage != "reference":
            return found
        finding = self.first_node(values, names)
        return found if finding is None else replace(found, finding=finding)

    def first_node(self, values: dict[str, np.ndarray], names: dict[str, list[str]]) -> Finding | None:
        """The first node one of whose outputs is the result of no operator that was imported for it."""
        made: dict[str, list[tuple[Node, np.ndarray]]] = {}

        def keep(node: Node, results: Sequence[np.ndarray]) -> None:
            made.setdefault(node.location.name, []).extend((node, result) for result in results)
        shadow(self.graph, self.arrays, watch=keep)
        for name, outputs in names.items():
            for output in outputs:
                want = values.get(output)
                alike = [(node, r) for node, r in made.get(name, ()) if want is not None and r.shape == want.shape]
                if not alike or any(not _wrong(want, r).any() for _, r in alike):
                    continue
                node, got = alike[-1]
                narrow = got.astype(want.dtype, copy=False)
                return Finding("reference", "", f"{output}: {want.dtype.name}{list(want.shape)}", node.op.name,
                               f"node {name!r}", difference(want, narrow, _wrong(want, got)))
        return None


def _wrong(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    return expect("", want).wrong(got.astype(want.dtype, copy=False))


def node_values(source, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """(the values of a model by name as onnxruntime computes them, the outputs of each node by the name that importing
    gives it)."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise LaminaError("this needs onnxruntime, which is not installed",
                          hint='pip install onnxruntime, or reference="f64"') from error
    import onnx
    if isinstance(source, (str, os.PathLike)):
        model = onnx.load(os.fspath(source))
    elif isinstance(source, bytes):
        model = onnx.load_from_string(source)
    elif hasattr(source, "SerializeToString"):
        model = onnx.ModelProto.FromString(source.SerializeToString())
    else:
        raise LaminaError("onnxruntime runs ONNX models alone", hint='reference="f64" or "interpreter"')
    names = {node.name or f"{node.op_type}_{i}": [o for o in node.output if o]
             for i, node in enumerate(model.graph.node)}
    inner = {output for outputs in names.values() for output in outputs} - {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(inner))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]
    results = session.run(outputs, {i.name: feeds[i.name] for i in session.get_inputs() if i.name in feeds})
    return {name: array for name, array in zip(outputs, results) if isinstance(array, np.ndarray)}, names
