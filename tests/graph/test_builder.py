"""Does the Builder fold what it knows, and only that?"""

import numpy as np

from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import float32
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.text import parse_graph
from lamina.compiler.ops import Call, Constant, Neg, Slice

TABLE = np.arange(5, dtype=np.float32)


def test_constants_fold():
    b = Builder()
    graph = b.finish([b.emit(Neg(), b.constant(TABLE))])
    assert [type(n.op) for n in graph.nodes] == [Constant]
    assert np.array_equal(graph.nodes[0].op.array, -TABLE)


def test_a_constant_read_at_a_symbolic_place_does_not_fold():
    """A row of a table of positions: its shape is known while compiling, which row it is not."""
    n = symbol("n", 1, 4)
    b = Builder()
    b.parameter(TensorType((n,), float32), "x")
    graph = b.finish([b.emit(Slice((n,), (1,), (1,)), b.constant(TABLE))])
    assert [type(node.op) for node in graph.nodes] == [Constant, Slice]
    assert graph.evaluate(np.zeros(3, np.float32))[0] == [3]


def test_a_symbolic_extent_inside_a_graph_does_not_fold():
    inner = parse_graph("graph f(%t: f32[5]) symbols(n=1..4) {\n  %0 = slice(%t) {starts=(n,), sizes=(1,), steps=(1,)}\n"
                        "  return %0\n}")
    n = symbol("n", 1, 4)
    b = Builder()
    b.parameter(TensorType((n,), float32), "x")
    graph = b.finish([b.emit(Call(inner), b.constant(TABLE))])
    assert graph.evaluate(np.zeros(2, np.float32))[0] == [2]
