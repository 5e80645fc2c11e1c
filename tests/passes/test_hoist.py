"""Does what needs no state leave a loop, and nothing else, with the same numbers?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.ops.contract import Contract
from lamina.compiler.ops.control import Scan
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.hoist import hoist
from lamina.compiler.passes.sink_constants import sink_constants

RNG = np.random.default_rng(0)
W, U, B = (RNG.standard_normal(s).astype("float32") / 4 for s in ((5, 8), (8, 8), (8,)))


def rnn(h, x):
    h = lm.tanh(x @ W + B + h @ U)
    return h, h


def rnn_of_joined(h, x):
    h = lm.tanh(lm.concat([x, h], axis=-1) @ np.concatenate([W, U]) + B)
    return h, h


def rnn_of_joined_states(h, x):
    h = lm.tanh(lm.concat([h, h], axis=-1) @ np.concatenate([U, U]) + lm.sum(x))
    return h, h


def deep_input(h, x):
    x = lm.reshape(lm.transpose(lm.relu(x * 2 + 1)), x.shape[::-1])
    h = lm.tanh(lm.transpose(x) @ W + h @ U)
    return h, x


def product_of_inputs_alone(h, x):
    y = x @ W
    return h + y, y * y


def input_by_itself(h, x):
    return h + lm.sum(x @ lm.transpose(x)), x[0]


def layers(h, x):
    x = x - lm.mean(x, axis=-1, keepdims=True)
    h = lm.tanh((x @ W) @ U + h)
    return h, h


def no_product(h, x):
    return h * lm.sum(x), x


def scans(function, xs, shape=(3, 8)):
    graph = lm.trace(lambda xs, h: lm.scan(function, h, xs), lm.TensorSpec(xs), lm.TensorSpec(shape))
    before = canonicalize(sink_constants(graph))
    return before, canonicalize(hoist(before, Remarks()).verify())


def products(graph):
    """(products outside of the scan, products in it)."""
    (scan,) = [n.op for n in graph.nodes if isinstance(n.op, Scan)]
    return tuple(sum(isinstance(n.op, Contract) for n in g.nodes) for g in (graph, scan.body))


@pytest.mark.parametrize("function, expected", [
    (rnn, (1, 1)), (rnn_of_joined, (1, 1)), (rnn_of_joined_states, (0, 1)), (deep_input, (1, 1)),
    (product_of_inputs_alone, (1, 0)), (input_by_itself, (1, 0)), (layers, (2, 0)), (no_product, (0, 0))])
def test_products_of_inputs_leave(function, expected):
    before, after = scans(function, (4, 3, 5))
    assert products(after) == expected
    xs, h = RNG.standard_normal((4, 3, 5)).astype("float32"), RNG.standard_normal((3, 8)).astype("float32")
    for got, want in zip(after.evaluate(xs, h), before.evaluate(xs, h)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    for got, want in zip(lm.compile(after)(xs, h), before.evaluate(xs, h)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_weights_may_be_arguments_and_their_work_is_done_once():
    def f(xs, h, w, u):
        def step(h, x):
            h = lm.tanh(x @ lm.transpose(w * 2) + h @ lm.exp(u))
            return h, h
        return lm.scan(step, h, xs)
    graph = canonicalize(lm.trace(f, *(lm.TensorSpec(s) for s in ((4, 3, 5), (3, 8), (8, 5), (8, 8)))))
    after = canonicalize(hoist(graph, Remarks()).verify())
    (scan,) = [n.op for n in after.nodes if isinstance(n.op, Scan)]
    assert products(after) == (1, 1) and "exp" not in [n.op.name for n in scan.body.nodes]
    arrays = [RNG.standard_normal(p.shape).astype("float32") / 4 for p in graph.params]
    for got, want in zip(lm.compile(graph)(*arrays), graph.evaluate(*arrays)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_reversed_empty_and_symbolic():
    def f(xs, h):
        return lm.scan(rnn, h, xs, reverse=True)
    specs = lm.TensorSpec(("time", "batch", 5)), lm.TensorSpec(("batch", 8))
    executable = lm.compile(f, *specs, dims={"time": (0, 9), "batch": (1, 9)})
    for time, batch in ((0, 1), (3, 2), (9, 9)):
        xs, h = (RNG.standard_normal(shape).astype("float32") for shape in ((time, batch, 5), (batch, 8)))
        want = lm.trace(f, lm.TensorSpec(xs.shape), lm.TensorSpec(h.shape)).evaluate(xs, h)
        for got, expected in zip(executable(xs, h), want):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_loops_inside_of_loops():
    def f(xs, h):
        def outer(i, h):
            return lm.scan(rnn, h, xs)[0]
        return lm.fori_loop(0, 3, outer, h)
    graph = lm.trace(f, lm.TensorSpec((4, 3, 5)), lm.TensorSpec((3, 8)))
    xs, h = RNG.standard_normal((4, 3, 5)).astype("float32"), RNG.standard_normal((3, 8)).astype("float32")
    np.testing.assert_allclose(lm.compile(graph)(xs, h)[0], graph.evaluate(xs, h)[0], rtol=1e-4, atol=1e-5)
