"""Do derivatives go through branches and loops, as they go through the same computation written out?"""

import numpy as np
import pytest

import lamina as lm

X = np.array([0.3, -1.2, 2.0])
W = np.array([[0.5, -0.2, 0.1], [0.0, 0.7, 0.3], [-0.4, 0.2, 0.6]])


def assert_same_gradients(f, plain, *args):
    """f and what it means without control flow: values, gradients, and the gradient of a gradient's sum; in jit too."""
    numbers = tuple(range(len(args)))

    def second(f):
        return lambda *a: sum(lm.sum(g * lm.cos(g)) for g in lm.grad(f, numbers)(*a))
    for derive in (lambda f: f, lambda f: lm.grad(f, numbers), lambda f: lm.grad(second(f), numbers)):
        expected = derive(plain)(*args)
        for got in (derive(f)(*args), lm.jit(derive(f))(*args)):
            for a, b in zip(lm.tree.leaves(got), lm.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    tangents = tuple(np.cos(1 + np.asarray(a)) for a in args)
    np.testing.assert_allclose(lm.jvp(f, args, tangents), lm.jvp(plain, args, tangents), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", (0, 1, 5))
def test_scan(n):
    xs = np.linspace(-1, 1, 3 * n).reshape(n, 3)

    def step(h, x, w):
        h = lm.tanh(h @ w + x)
        return h, lm.sum(h * x)

    def f(h, xs, w):
        h, ys = lm.scan(lambda h, x: step(h, x, w), h, xs)
        return lm.sum(h * h) + lm.sum(ys * lm.arange(n))

    def plain(h, xs, w):
        total = 0.0
        for t in range(n):
            h, y = step(h, xs[t], w)
            total = total + y * t
        return lm.sum(h * h) + total
    assert_same_gradients(f, plain, X, xs, W)


def test_reversed_scan_with_outputs_alone():
    xs = np.arange(6.0).reshape(2, 3) / 7

    def f(h, xs):
        return lm.sum(lm.scan(lambda h, x: (lm.sin(h) * x, {"y": h * x}), h, xs, reverse=True)[1]["y"])

    def plain(h, xs):
        return lm.sum(h * xs[1]) + lm.sum(lm.sin(h) * xs[1] * xs[0])
    assert_same_gradients(f, plain, X, xs)


def test_scan_of_scan():
    def f(h, w):
        def outer(h, _):
            return lm.scan(lambda h, _: (lm.sin(h * w), None), h, length=2)[0], None
        return lm.sum(lm.scan(outer, h, length=3)[0])

    def plain(h, w):
        for _ in range(6):
            h = lm.sin(h * w)
        return lm.sum(h)
    assert_same_gradients(f, plain, X, np.float64(0.9))


def test_a_carry_that_becomes_active_in_the_loop():
    def f(w):
        return lm.sum(lm.scan(lambda c, _: ((c[1], lm.sin(c[2] + w), c[0] * w), None), (X, X, X), length=4)[0][0])

    def plain(w):
        a, b, c = X, X, X
        for _ in range(4):
            a, b, c = b, lm.sin(c + w), a * w
        return lm.sum(a)
    assert_same_gradients(f, plain, np.float64(0.7))


@pytest.mark.parametrize("is_first", (True, False))
def test_cond(is_first):
    def f(x, w):
        flag = lm.sum(x) > (-10 if is_first else 10)
        y = lm.cond(flag, lambda x: lm.sin(x @ w) * lm.exp(x), lambda x: x * 2 + w[0], x)
        return lm.sum(y * y)

    def plain(x, w):
        y = lm.sin(x @ w) * lm.exp(x) if is_first else x * 2 + w[0]
        return lm.sum(y * y)
    assert_same_gradients(f, plain, X, W)


def test_switch_inside_scan():
    def f(x, w):
        branches = [lambda x: x * w, lm.sin, lambda x: lm.exp(-x * x) + w]
        return lm.sum(lm.scan(lambda x, i: (lm.switch(i, branches, x), None), x, np.array([2, 0, 1, 5, -3]))[0])

    def plain(x, w):
        x = lm.sin(lm.exp(-x * x) * w + w * w)
        return lm.sum((lm.exp(-x * x) + w) * w)
    assert_same_gradients(f, plain, X, np.float64(0.7))


@pytest.mark.parametrize("n", (0, 3, 9))
def test_bounded_while(n):
    def f(x, w):
        return lm.sum(lm.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, lm.sin(c[1]) * w), (0, x),
                                    max_iterations=5)[1])

    def plain(x, w):
        for _ in range(min(n, 5)):
            x = lm.sin(x) * w
        return lm.sum(x)
    assert_same_gradients(f, plain, X, np.float64(1.7))


def test_bounded_fori_loop_with_a_traced_end():
    def f(x, n, most=None):
        n = lm.astype(lm.stop_gradient(n), lm.int64)
        return lm.sum(lm.fori_loop(1, n, lambda i, x: lm.sin(x) * i, x, max_iterations=4))

    def plain(x, n):
        for i in range(1, 4):
            x = lm.sin(x) * i
        return lm.sum(x) + 0 * n
    assert_same_gradients(f, plain, X, np.float64(4))


def test_fori_loop_with_known_ends():
    def f(x):
        return lm.sum(lm.fori_loop(1, 4, lambda i, x: lm.sin(x) * i, x))

    def plain(x):
        return lm.sum(lm.sin(lm.sin(lm.sin(x)) * 2) * 3)
    assert_same_gradients(f, plain, X)


def test_a_loop_without_a_bound_is_refused_at_the_users_line():
    def f(x):
        return lm.while_loop(lambda x: x < 10, lambda x: x * 2, x)
    with pytest.raises(lm.UnsupportedError, match="max_iterations") as caught:
        lm.grad(f)(1.0)
    assert "test_control_flow.py" in str(caught.value) and "in f" in str(caught.value)


def test_a_bound_is_a_number():
    for bound in (-1, 2.5):
        with pytest.raises(lm.TraceError, match="max_iterations"):
            lm.while_loop(lambda x: x < 10, lambda x: x * 2, 1.0, max_iterations=bound)


def test_steps_save_what_the_backward_pass_reads_and_no_more():
    """h' = tanh(h w + x): of each step the new h is kept, and the old one for w; no copy of w."""
    def f(h, xs, w):
        return lm.sum(lm.scan(lambda h, x: (lm.tanh(h @ w + x), None), h, xs)[0])
    graph = lm.trace(lm.grad(f, (0, 1, 2)), X, np.ones((5, 3)), W)
    forward = next(n for n in graph.nodes if n.op.name == "scan")
    assert [str(t) for t in forward.result_types] == ["f64[3]", "f64[5, 3]", "f64[5, 3]"]
