"""Do ops that hold sub-graphs nest, take symbolic extents from around them, and stay out of constant folding?"""

import numpy as np
import pytest

from lamina.compiler import ops
from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import bool_, float32, int64
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.graph import walk
from lamina.compiler.graph.interpret import interpret

b, s, n = symbol("b"), symbol("s"), symbol("n")
COUNT = TensorType((), int64)


def f32(*shape):
    return TensorType(shape, float32)


def countdown(*carry):
    """A loop condition: the first value of the carry is positive."""
    inner = Builder("condition")
    first, *_ = [inner.parameter(t) for t in (COUNT, *carry)]
    return inner.finish([inner.emit(ops.Compare("gt"), first, inner.constant(np.array(0)))])


def doubling(*shape):
    """A loop body: (count, x) becomes (count - 1, x + x)."""
    inner = Builder("doubling")
    count, x = inner.parameter(COUNT), inner.parameter(f32(*shape))
    return inner.finish([inner.emit(ops.Sub(), count, inner.constant(np.array(1))), inner.emit(ops.Add(), x, x)])


def running_sum():
    """A scan body over rows of [b, n]: h + x + 1 as state, and flattened as output."""
    inner = Builder("step")
    h, x = inner.parameter(f32(b, n), "h"), inner.parameter(f32(b, n), "x")
    one = inner.emit(ops.Broadcast((b, n), ()), inner.constant(np.float32(1)))
    state = inner.emit(ops.Add(), inner.emit(ops.Add(), h, x), one)
    return inner.finish([state, inner.emit(ops.Reshape((b * n,)), state)])


@pytest.mark.parametrize("extents", [(2, 1, 3), (5, 4, 2), (0, 2, 2)])
def test_sub_graphs_take_the_extents_of_the_graph_around_them(extents):
    outer = Builder()
    xs = outer.parameter(f32(symbol("s", lower=0), b, n), "xs")
    start = outer.emit(ops.Broadcast((b, n), ()), outer.constant(np.float32(0)))
    graph = outer.finish(outer.emit(ops.Scan(running_sum(), 1, 1), start, xs)).verify()
    assert graph.results[1].shape == (symbol("s", lower=0), b * n)
    array = np.random.default_rng(0).integers(-9, 9, extents).astype(np.float32)
    last, ys = interpret(graph, [array])
    expected = np.cumsum(array, 0) + np.arange(1, extents[0] + 1, dtype=np.float32)[:, None, None]
    np.testing.assert_array_equal(last, expected[-1] if extents[0] else np.zeros(extents[1:]))
    np.testing.assert_array_equal(ys, expected.reshape(extents[0], extents[1] * extents[2]))


def test_a_loop_in_a_branch_in_a_call():
    loop = Builder("loop")
    count, x = loop.parameter(COUNT), loop.parameter(f32(n))
    doubled = loop.emit(ops.While(countdown(f32(n)), doubling(n)), count, x)[1]
    looping = loop.finish([doubled])
    other = Builder("other")
    other.parameter(COUNT)
    negated = other.finish([other.emit(ops.Neg(), other.parameter(f32(n)))])
    choice = Builder("choice")
    index, count, x = (choice.parameter(t) for t in (TensorType((), bool_), COUNT, f32(n)))
    called = choice.finish([choice.emit(ops.Cond((negated, looping)), index, count, x)])
    outer = Builder()
    params = [outer.parameter(p.type) for p in called.params]
    graph = outer.finish([outer.emit(ops.Call(called), *params)]).verify()
    assert sum(isinstance(node.op, ops.While) for node in walk(graph)) == 1
    x = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(interpret(graph, [np.array(True), np.array(3), x])[0], x * 8)
    np.testing.assert_array_equal(interpret(graph, [np.array(False), np.array(3), x])[0], -x)


def test_reverse_scan_stacks_results_where_they_belong():
    body = ops.Scan.samples()[0].op.body
    h, w = np.ones(3, np.float32), np.full(3, 0.5, np.float32)
    xs = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    last, ys = ops.Scan(body, 1, 1, reverse=True).evaluate(h, xs, w)
    forward_last, forward_ys = ops.Scan(body, 1, 1).evaluate(h, xs[::-1], w)
    np.testing.assert_array_equal(last, forward_last)
    np.testing.assert_array_equal(ys, forward_ys[::-1])


def test_loops_over_constants_are_not_run_while_building():
    builder = Builder()
    start = builder.constant(np.array(1 << 60)), builder.constant(np.ones(2, np.float32))
    graph = builder.finish(builder.emit(ops.While(countdown(f32(2)), doubling(2)), *start))
    assert [type(node.op) for node in graph.nodes] == [ops.Constant, ops.Constant, ops.While]


def test_a_static_sub_graph_is_not_copied():
    for cls in (ops.Call, ops.Cond, ops.While, ops.Scan, ops.Fused):
        op = cls.samples()[0].op
        assert op.at_extents({"b": 3}) is op


def test_flops_of_loops_count_their_bodies():
    body = running_sum()  # two additions for each element
    assert ops.Scan(body, 1, 1).flops(f32(b, n), f32(s, b, n)) == 2 * s * b * n
    assert ops.Scan(body, 1, 1).at_extents({"b": 2, "n": 3}).flops(f32(2, 3), f32(5, 2, 3)) == 60
    cheap, dear = doubling(2), doubling(7)
    assert ops.While(countdown(f32(7)), dear).flops(COUNT, f32(7)) == 1 + 1 + 7
    assert ops.Call(cheap).flops(COUNT, f32(2)) == 1 + 2
