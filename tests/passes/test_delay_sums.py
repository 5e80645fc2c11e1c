"""Do sums of products wait for the end of their loop where that is worth it, with the same numbers?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.ops.control import Scan
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.delay_sums import delay_sums
from lamina.compiler.passes.sink_constants import sink_constants

STEPS, ROWS, IN, OUT = 7, 3, 11, 13


def outer_products(carry, row):
    """A sum of products of a scanned and a computed value, one of rows, and one that the loop itself needs."""
    weights, bias, state = carry
    x, y = row
    state = lm.tanh(state + y)
    return (weights + x.T @ state, lm.sum(state, axis=0) + bias, state), y * 2


def of_captured(carry, row):
    weights, bias, state = carry
    x, y = row
    return (weights + FIXED.T @ y, bias, state), y


def read_inside(carry, row):
    weights, bias, state = carry
    x, y = row
    weights = weights + x.T @ y
    return (weights, bias, state + lm.sum(weights)), y


def scaled(carry, row):
    weights, bias, state = carry
    x, y = row
    return (weights * 0.5 + x.T @ y, bias, state), y


def many_rows(carry, row):
    weights, bias, state = carry
    x, y = row
    wide = lm.concat([y] * 40, axis=0)
    return (weights + lm.concat([x] * 40, axis=0).T @ wide, bias, state), y


FIXED = np.linspace(-1, 1, ROWS * IN, dtype=np.float32).reshape(ROWS, IN)


def loops(function, reverse=False, steps=STEPS):
    """The scan before and after, its operands' and results' counts; both graphs compute the same."""
    def whole(w, b, s, x, y):
        return lm.scan(function, (w, b, s), (x, y), reverse=reverse)
    shapes = ((IN, OUT), (OUT,), (ROWS, OUT), (steps, ROWS, IN), (steps, ROWS, OUT))
    graph = canonicalize(sink_constants(lm.trace(whole, *map(lm.TensorSpec, shapes))))
    remarks = Remarks()
    after = delay_sums(graph, remarks).verify()
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("float32") for s in shapes]
    for got, want in zip(after.evaluate(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    for got, want in zip(lm.compile(after)(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    (before,), (scan,) = ([n.op for n in g.nodes if isinstance(n.op, Scan)] for g in (graph, after))
    return before.carries - scan.carries, len(list(remarks))


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("steps", [7, 1])
def test_sums_of_products_and_of_the_rows_kept_for_them_leave_the_loop(reverse, steps):
    assert loops(outer_products, reverse, steps) == (2, 1)


def test_what_was_captured_is_multiplied_behind_the_loop():
    assert loops(of_captured) == (1, 1)


@pytest.mark.parametrize("function", [read_inside, scaled, many_rows])
def test_other_sums_stay(function):
    assert loops(function) == (0, 0)


def test_the_gradient_of_a_cell_s_weights_is_one_product():
    def loss(w, u, xs):
        h, _ = lm.scan(lambda h, x: (lm.tanh(x @ w + h @ u), None), np.zeros((ROWS, OUT), np.float32), xs)
        return lm.sum(h * h)
    graph = lm.trace(lm.grad(loss, argnums=(0, 1)), *map(lm.TensorSpec, ((IN, OUT), (OUT, OUT), (STEPS, ROWS, IN))))
    executable = lm.compile(graph)
    steps = [k for k in executable.kernels if k["label"].startswith("contract")]
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(p.shape).astype("float32") / 4 for p in graph.params]
    for got, want in zip(executable(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    text = executable.text("program")
    inside = text[text.rindex("loop "):]
    assert "contract" in inside and len(steps) >= 4
    sums = [n.op for n in delay_sums(canonicalize(graph), Remarks()).nodes if isinstance(n.op, Scan)]
    assert sums[-1].carries == 1
