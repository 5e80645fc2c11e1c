"""How does an ONNX model become a Graph?  Node by node: each node calls its operator's function of the table.

What is known while importing stays a NumPy array and is computed at once; extents that are symbols travel as
`SymbolicArray`; everything else is a Tracer. Nodes that can't be imported are collected and reported all together.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from ...compiler.core.dtypes import as_dtype
from ...compiler.core.errors import FormatError, LaminaError, TraceError, UnsupportedError
from ...compiler.core.location import Location
from ...compiler.core.types import TensorType
from ...compiler.graph.graph import Graph
from ...compiler.ops import Constant
from ..array.tracer import UNIFORM_LIMIT, Tracer, current_trace, located, tracing
from .functions import called_function
from .model import Model, domain_name, dtype_of_code, read_model, require_text
from .operators.values import is_narrow
from .signature import InputDims
from .symbolic import SymbolicArray, compute, materialize
from .table import Context, Problem, Refusal, Sequenced, find

SMALL = 4096  # bytes up to which an initializer of integers stays a NumPy array


def load(source, dims: Mapping[str, Any] | None = None, inputs: Mapping[str, Any] | None = None) -> Graph:
    """The Graph of an ONNX model.

    `source` is a path, the bytes of a file or a ModelProto. `dims` gives facts for the model's symbolic dims by name:
    an int fixes one, (1, 64) bounds it, (8, 512, 8) adds a multiple. `inputs` fixes inputs by name: an array becomes a
    constant, a type (`TensorSpec`) replaces the declared one. Specification: ONNX IR and operators, onnx.ai.

    FormatError: the file is no ONNX model, truncated or corrupt. UnsupportedError: `problems` lists every node that
    lamina can't import, with the reason. ShapeError: `dims` or `inputs` name what the model does not have.
    """
    return Importer(read_model(source), dims or {}, inputs or {}).graph()


class _Missing:
    """Stands for the outputs of a node that could not be imported, so that the walk goes on and finds every problem."""


MISSING = _Missing()


@dataclass(frozen=True)
class Frame:
    """Where a node stands: the values in `scope`, the operator versions, the attributes of the function around it, and
    the functions that are being written out."""

    scope: ChainMap
    opsets: Mapping[str, int]
    attributes: Mapping[str, Any]
    prefix: str = ""
    calls: tuple[str, ...] = ()


class Importer:
    """One import. `problems` collects what lamina does not support, in the order of the nodes."""

    def __init__(self, model: Model, dims: Mapping[str, Any], inputs: Mapping[str, Any]):
        self.model = model
        self.dims = InputDims(dims)
        self.inputs = dict(inputs)
        self.problems: dict[Problem, None] = {}
        self.functions = {(domain_name(f.domain), f.name, f.overload): f for f in model.proto.functions}

    def graph(self) -> Graph:
        """The whole model as a Graph. Raises what `load` documents."""
        proto = self.model.proto.graph
        with tracing(proto.name or "main", f"the model {proto.name!r}") as trace:
            frame = Frame(ChainMap(), self.model.opsets, {})
            for name, array in self.model.initializers():
                frame.scope[name] = self.constant(array, name)
            self._refuse_sparse(proto, frame)
            for value in proto.input:
                if value.name not in frame.scope:
                    frame.scope[value.name] = self._input(trace, value)
            if self.inputs:
                raise FormatError(f"{self.model.source} has no input {', '.join(map(repr, self.inputs))}",
                                  hint="its inputs are " + ", ".join(v.name for v in proto.input))
            self.dims.check_all_used()
            results = self._nodes(proto, frame)
            results = [self._result(r, v.name) for r, v in zip(results, proto.output)]
            self._raise_problems()
            return trace.finish(results, [v.name for v in proto.output])

    # ---- inputs and constants ----------------------------------------------------------------------------------------
    def _input(self, trace, value):
        given = self.inputs.pop(value.name, None)
        if given is not None and not hasattr(given, "shape"):
            given = np.asarray(given)
        if isinstance(given, (np.ndarray, np.generic)):
            return np.asarray(given)
        if given is not None:
            shape, dtype = self.dims.of_spec(given.shape), as_dtype(given.dtype)
        else:
            kind = value.type.WhichOneof("value")
            if kind != "tensor_type":
                return self._problem("input", "", 0, value.name,
                                     f"it is a {str(kind).removesuffix('_type')}, not a tensor")
            try:
                dtype = dtype_of_code(value.type.tensor_type.elem_type)
            except UnsupportedError as error:
                return self._problem("input", "", 0, value.name, error.message)
            if not value.type.tensor_type.HasField("shape"):
                return self._problem("input", "", 0, value.name, "its rank is not declared; give it in inputs=")
            shape = self.dims.of_input(value.name, value.type.tensor_type.shape.dim)
        return trace.parameter(TensorType(shape, dtype), value.name)

    def _refuse_sparse(self, graph, frame: Frame) -> None:
        for sparse in graph.sparse_initializer:
            frame.scope[sparse.values.name] = self._problem("sparse initializer", "", 0, sparse.values.name,
                                                            "it is sparse")

    def constant(self, array: np.ndarray, name: str):
        """A known array. Floats become a constant that is labelled with the model's name; scalars, and integers unless
        they are many, stay NumPy arrays, which are computed with at once. So do arrays of one repeated value."""
        is_float = array.dtype.kind not in "iub"
        if is_narrow(array) or array.nbytes <= (0 if is_float and array.ndim else SMALL) or is_uniform(array):
            return array
        trace = current_trace()
        return Tracer(trace, trace.builder.constant(array, name))

    def _result(self, value, name: str):
        if isinstance(value, Sequenced) or value is None:
            self._problem("output", "", 0, name, "it is no tensor")
            return MISSING
        return materialize(value) if isinstance(value, SymbolicArray) else value

    # ---- nodes -------------------------------------------------------------------------------------------------------
    def _nodes(self, graph, frame: Frame) -> list:
        for position, node in enumerate(graph.node):
            self._node(node, frame, position)
        return [self._lookup(frame, v.name, "the graph's outputs") for v in graph.output]

    def _lookup(self, frame: Frame, name: str, reader: str):
        try:
            return frame.scope[name]
        except KeyError:
            raise FormatError(f"{self.model.source}: {reader} read {name!r}, which nothing before defines") from None

    def _node(self, node, frame: Frame, position: int) -> None:
        require_text(self.model.source, node.name, node.op_type, node.domain, *node.input, *node.output)
        name = frame.prefix + (node.name or f"{node.op_type}_{position}")
        inputs = [self._lookup(frame, i, f"node {name!r}") if i else None for i in node.input]
        location = Location(name=name)
        with located(location):
            try:
                outputs = self._call(node, name, inputs, frame)
            except LaminaError as error:
                if error.location is None:
                    error.location = location
                raise
        for output, value in zip(node.output, outputs):
            if output:
                frame.scope[output] = value
        for output in node.output[len(outputs):]:
            if output:
                frame.scope[output] = self._problem_of(node, name, frame,
                                                       f"lamina does not compute its output {output!r}")

    def _call(self, node, name: str, inputs: list, frame: Frame) -> Sequence:
        domain = domain_name(node.domain)
        nothing = (MISSING,) * len(node.output)
        function = self.functions.get((domain, node.op_type, node.overload))
        opset = frame.opsets.get(domain, 0)
        found = find(domain, node.op_type, opset) if function is None else None
        if function is None and found is None:
            function = called_function(node, domain, opset, inputs)
        if function is None and found is None:
            self._problem_of(node, name, frame, "lamina has no such operator"
                             if opset else f"the model imports no version of the domain {domain!r}")
            return nothing
        if any(i is MISSING for i in inputs):
            return nothing
        try:
            attributes = {a.name: self._attribute(a, frame) for a in node.attribute
                          if not a.ref_attr_name or a.ref_attr_name in frame.attributes}
            if function is not None:
                return self._function(function, name, inputs, attributes, len(node.output), frame)
            if any(isinstance(i, SymbolicArray) for i in inputs):
                inputs = [numbers_of(i) for i in inputs]
                known = all(isinstance(i, (SymbolicArray, np.ndarray)) or i is None for i in inputs)
                results = compute(node.op_type, inputs, attributes, len(node.output)) if known and not domain else None
                if results is not None:
                    return results
                inputs = [materialize(v) if isinstance(v, SymbolicArray) and found.parameter_of(i) not in found.dims
                          else v
                          for i, v in enumerate(inputs)]
            for i, value in enumerate(inputs):
                if is_narrow(value) and found.parameter_of(i) not in found.narrow:
                    raise Refusal(f"lamina does not compute with {value.dtype}")
            context = Context(name, len(node.output), tuple(map(bool, node.output)), opset, self, frame)
            return found.call(inputs, attributes, context)
        except Refusal as refusal:
            self._problem_of(node, name, frame, refusal.reason, refusal.inputs)
        except (UnsupportedError, TraceError) as error:
            self._problem_of(node, name, frame, error.message)
        except LaminaError:
            raise
        except (ValueError, IndexError, TypeError, KeyError, OverflowError, ZeroDivisionError, MemoryError) as error:
            raise FormatError(f"{self.model.source}: the {node.op_type} node {name!r} does not fit its inputs "
                              f"{', '.join(map(describe, inputs))}: {error}") from error
        return nothing

    def _attribute(self, attribute, frame: Frame):
        if attribute.ref_attr_name:
            return frame.attributes[attribute.ref_attr_name]
        kind = attribute.AttributeType.Name(attribute.type)
        if kind in ("FLOAT", "INT"):
            return attribute.f if kind == "FLOAT" else attribute.i
        if kind == "STRING":
            return attribute.s.decode("utf-8", "replace")
        if kind == "TENSOR":
            return self.model.tensor(attribute.t)
        if kind == "GRAPH":
            return attribute.g
        if kind in ("FLOATS", "INTS"):
            return list(attribute.floats if kind == "FLOATS" else attribute.ints)
        if kind == "STRINGS":
            return [s.decode("utf-8", "replace") for s in attribute.strings]
        raise Refusal(f"the attribute {attribute.name} is a {kind.lower().replace('_', ' ')}")

    def _function(self, function, name: str, inputs: list, attributes: Mapping, outputs: int,
                  frame: Frame) -> Sequence:
        """The outputs of a call of a model-local function, or of an operator that ONNX defines by one."""
        defaults = {a.name: self._attribute(a, Frame(ChainMap(), {}, {})) for a in function.attribute_proto}
        scope = ChainMap(dict(zip(function.input, inputs + [None] * len(function.input))))
        opsets = {**frame.opsets, **{domain_name(o.domain): o.version for o in function.opset_import}}
        if function.name in frame.calls:
            raise FormatError(f"{self.model.source}: the function {function.name!r} calls itself")
        calls = (*frame.calls, function.name) if function.name else frame.calls
        inner = Frame(scope, opsets, {**defaults, **attributes}, name + "/", calls)
        for position, node in enumerate(function.node):
            self._node(node, inner, position)
        return [self._lookup(inner, o, f"function {function.name!r}") for o in function.output[:outputs]]

    def body(self, graph, frame: Frame, prefix: str) -> Callable:
        """The graph in an attribute as a Python function from its inputs to the list of its outputs. Values of the
        graphs around it are captured by name."""
        def run(*arguments):
            inner = replace(frame, scope=frame.scope.new_child(), prefix=prefix + "/")
            for tensor in graph.initializer:
                inner.scope[tensor.name] = self.constant(self.model.tensor(tensor), tensor.name)
            self._refuse_sparse(graph, inner)
            inner.scope.update(zip((v.name for v in graph.input), arguments))
            results = self._nodes(graph, inner)
            if any(r is MISSING for r in results):
                raise Refusal(f"its graph {graph.name!r} has nodes that lamina can't import")
            return results
        return run

    # ---- problems ----------------------------------------------------------------------------------------------------
    def _problem(self, *fields) -> _Missing:
        self.problems[Problem(*fields)] = None
        return MISSING

    def _problem_of(self, node, name: str, frame: Frame, reason: str, inputs: tuple[str, ...] = ()) -> _Missing:
        domain = domain_name(node.domain)
        return self._problem(node.op_type, domain, frame.opsets.get(domain, 0), name, reason, inputs)

    def _raise_problems(self) -> None:
        if not self.problems:
            return
        rows = [("operator", "opset", "node", "reason")]
        rows += [(f"{p.domain}.{p.op}".lstrip("."), str(p.opset or "-"), p.node, p.reason) for p in self.problems]
        widths = [max(len(r[column]) for r in rows) for column in range(3)]
        table = "\n".join("  " + "  ".join([*(c.ljust(w) for c, w in zip(r, widths)), r[3]]) for r in rows)
        raise UnsupportedError(f"{self.model.source}: {len(self.problems)} nodes can't be imported\n{table}",
                               problems=tuple(self.problems))


def is_uniform(array: np.ndarray) -> bool:
    """Whether a larger array repeats one value: as a broadcast scalar it takes no memory."""
    if array.nbytes <= UNIFORM_LIMIT:
        return False
    flat = array.reshape(-1)
    return bool(flat[0] == flat[-1] == flat[flat.size // 2]) and bool((flat == flat[0]).all())


def numbers_of(value):
    """The array of a value that is a constant of the graph, else the value itself."""
    return value.value.op.array if isinstance(value, Tracer) and isinstance(value.value.op, Constant) else value


def describe(value) -> str:
    """The type of an imported value as messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, Tracer):
        return str(value.value.type)
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)
