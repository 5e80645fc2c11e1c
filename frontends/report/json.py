"""What is a graph as JSON?  Nodes, values, types, attributes and locations as plain data, for other tools to read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiler.core.dims import UNBOUNDED, Dim, DimExpr, Symbol
from ...compiler.core.dtypes import DType, as_dtype
from ...compiler.core.types import TensorType
from ...compiler.graph.graph import Graph, Node, Value
from .labels import label_values, location_fields

SCHEMA = 1
LARGE = 64  # elements up to which a constant's data is written


def graph_data(graph: Graph) -> dict:
    """`graph` as JSON data.

    {"name", "symbols": [{"name", "lower", "upper", "multiple"}], "inputs": [value], "nodes": [node], "results": [{"id", "name"}]}
    with value = {"id", "name", "dtype", "shape"} and node = {"op", "operands": [id], "results": [value], "attributes", "location"}.
    Ids are the values' names in the graph's text; extents are ints or expressions as text; an upper fact of null is none.
    """
    labels = label_values(graph)
    return {"name": graph.name, "symbols": [_symbol(s) for s in graph.symbols],
            "inputs": [_value(p, labels) | {"name": name} for p, name in zip(graph.params, graph.input_names)],
            "nodes": [_node(n, labels) for n in graph.nodes],
            "results": [{"id": labels[r], "name": name} for r, name in zip(graph.results, graph.output_names)]}


def _symbol(s: Symbol) -> dict:
    return {"name": s.name, "lower": s.lower, "upper": None if s.upper >= UNBOUNDED else s.upper, "multiple": s.multiple}


def _value(value: Value, labels: dict[Value, str]) -> dict:
    return {"id": labels[value], **type_data(value.type)}


def type_data(type: TensorType) -> dict:
    """A tensor type as {"dtype", "shape"}."""
    return {"dtype": type.dtype.name, "shape": [dim_data(d) for d in type.shape]}


def dim_data(dim: Dim) -> int | str:
    """An extent: an int, or an expression over symbols as text."""
    return str(dim) if isinstance(dim, DimExpr) else int(dim)


def _node(node: Node, labels: dict[Value, str]) -> dict:
    return {"op": node.op.name, "operands": [labels[o] for o in node.operands], "results": [_value(r, labels) for r in node.results],
            "attributes": {name: plain(value) for name, value in node.op.attributes().items()}, "location": location_fields(node.location)}


def plain(value: Any) -> Any:
    """An attribute as JSON data; floats that JSON lacks are "nan", "inf" and "-inf"."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, DType):
        return value.name
    if isinstance(value, DimExpr):
        return dim_data(value)
    if isinstance(value, TensorType):
        return type_data(value)
    if isinstance(value, Graph):
        return {"graph": graph_data(value)}
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return str(value)


def _array(array: np.ndarray) -> dict:
    from ...compiler.ops.constant import Constant
    out = {"dtype": as_dtype(array.dtype).name, "shape": list(array.shape), "digest": Constant(array).digest}
    if array.size <= LARGE:
        out["data"] = [plain(x) for x in array.reshape(-1).tolist()]
    return out
