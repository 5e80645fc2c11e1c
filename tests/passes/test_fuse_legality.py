"""Are groups legal where kernels depend on each other in both directions of the graph's order, and where views leave a
kernel?"""

import numpy as np

import lamina as lm
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.options import Options
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.ops import Abs, Add, Cumulative, Min, Mul, Reduce, Reshape, Slice
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.fuse import fuse
from lamina.compiler.targets.find import find_target


def fused(graph):
    remarks = Remarks()
    after = fuse(graph, find_target("host"), Options(), remarks).verify()
    return after, [str(remark) for remark in remarks]


def assert_same(graph, after, *arrays):
    for a, b in zip(after.evaluate(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_kernel_waits_for_one_that_waits_for_it():
    """abs and mul are one kernel, which reads min; add reads min and, by way of another kernel, abs: add and min can't
    be one."""
    builder = Builder("crossing", fold=False)
    p, q = (builder.parameter(TensorType((8,), as_dtype("int64")), name) for name in "pq")
    first = builder.emit(Abs(), p)
    between = builder.emit(Cumulative("max", 0, False, False), first)
    low = builder.emit(Min(), p, q)
    late = builder.emit(Add(), low, between)
    graph = builder.finish([late, builder.emit(Mul(), low, first), low])
    after, remarks = fused(graph)
    assert any("fusing would make a cycle" in remark for remark in remarks)
    assert_same(graph, after, np.arange(-4, 4), np.arange(8)[::-1].copy())


def test_a_reduction_does_not_follow_a_view_that_leaves_the_kernel():
    builder = Builder("leaving", fold=False)
    p = builder.parameter(TensorType((2,), as_dtype("float32")), "p")
    view = builder.emit(Slice((1,), (2,), (-1,)), builder.emit(Abs(), p))
    graph = builder.finish([builder.emit(Reduce("sum", (0,)), view), builder.emit(Reshape((1, 2)), view)])
    after, remarks = fused(graph)
    assert any("it reads a view that other kernels read too" in remark for remark in remarks)
    x = np.array([-3, 2], np.float32)
    assert_same(graph, after, x)
    for a, b in zip(lm.compile(graph)(x), graph.evaluate(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_products_of_all_pairs_of_sums_wait_for_the_sums():
    """Row i of an outer product reads the sum of every other row: it can't be made row by row."""
    graph = lm.trace(lambda x: (lm.sum(x, axis=1), lm.sum(x, axis=1)[:, None] * lm.sum(x, axis=1)[None, :]),
                     lm.TensorSpec((4, 7), "float32"))
    x = np.arange(28, dtype=np.float32).reshape(4, 7) % 5
    assert_same(graph, fused(canonicalize(graph))[0], x)
    for a, b in zip(lm.compile(graph)(x), graph.evaluate(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_spans_of_kernels_join_where_they_overlap():
    from lamina.compiler.passes.fuse import Group, _Fusion
    builder = Builder("chain", fold=False)
    value = builder.parameter(TensorType((2,), as_dtype("float32")), "p")
    for _ in range(20):
        value = builder._append(Abs(), (value,))[0]  # emit would make one of them
    graph = builder.finish([value])
    fusion = _Fusion(graph, find_target("host"), Options(), Remarks())
    nodes = graph.nodes
    for first, last in ((2, 5), (10, 12), (4, 7), (15, 15), (14, 18), (6, 11)):
        fusion._close(Group("loops", [], set()), [nodes[first], nodes[last]])
    assert fusion.spans == [(2, 12), (14, 18)]
