"""What do jvp and linearize give, and do both modes compose?"""

import numpy as np
import pytest

import lamina as lm


def f(x, w):
    return {"y": lm.tanh(x @ w), "n": lm.argmax(x), "s": lm.sum(lm.sort(x) * lm.arange(3))}


X, W = np.array([0.3, -1.2, 2.0]), np.arange(6.0).reshape(3, 2) / 7
DX, DW = np.array([1.0, 0.5, -2.0]), np.ones((3, 2))


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_jvp_is_the_slope_along_the_tangents(wrap):
    value, moved = wrap(lambda *a: lm.jvp(f, a[:2], a[2:]))(X, W, DX, DW)
    h = 1e-6
    up, down = f(X + h * DX, W + h * DW), f(X - h * DX, W - h * DW)
    np.testing.assert_allclose(value["y"], np.tanh(X @ W))
    np.testing.assert_allclose(moved["y"], (up["y"] - down["y"]) / (2 * h), rtol=1e-7)
    np.testing.assert_allclose(moved["s"], (up["s"] - down["s"]) / (2 * h), rtol=1e-7)
    assert moved["n"] == 0  # what is no float does not move


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_linearize_gives_a_linear_map(wrap):
    def both(x, w, dx, dw):
        value, push = lm.linearize(f, x, w)
        return value, push(dx, dw), push(2 * dx, 2 * dw)
    value, once, twice = wrap(both)(X, W, DX, DW)
    expected_value, expected = lm.jvp(f, (X, W), (DX, DW))
    np.testing.assert_allclose(value["y"], expected_value["y"])
    for name in ("y", "s"):
        np.testing.assert_allclose(once[name], expected[name], rtol=1e-12)
        np.testing.assert_allclose(twice[name], 2 * expected[name], rtol=1e-12)


def test_the_linear_map_computes_nothing_again():
    graph = lm.trace(lambda x: lm.linearize(lambda x: lm.exp(lm.sin(x)), x)[1](x), lm.TensorSpec((3,)))
    assert [n.op.name for n in graph.nodes].count("exp") == 1


def test_aux():
    value, moved, aux = lm.jvp(lambda x: (x * x, {"x": x}), (3.0,), (1.0,), has_aux=True)
    assert (value, moved, aux["x"]) == (9, 6, 3)
    value, push, aux = lm.linearize(lambda x: (x * x, {"x": x}), 3.0, has_aux=True)
    assert (value, push(2.0), aux["x"]) == (9, 12, 3)


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_modes_compose(wrap):
    def g(x):
        return lm.sum(lm.sin(x) * x)
    x, t = np.array([0.3, 1.1]), np.array([1.0, -2.0])
    expected = (2 * np.cos(x) - x * np.sin(x)) * t  # the Hessian is diagonal
    np.testing.assert_allclose(wrap(lambda x: lm.jvp(lm.grad(g), (x,), (t,))[1])(x), expected, rtol=1e-12)
    np.testing.assert_allclose(wrap(lm.grad(lambda x: lm.jvp(g, (x,), (t,))[1]))(x), expected, rtol=1e-12)
    second = wrap(lambda x: lm.jvp(lambda x: lm.jvp(g, (x,), (t,))[1], (x,), (t,))[1])(x)
    np.testing.assert_allclose(second, np.sum(expected * t), rtol=1e-12)


def test_a_loop_needs_no_bound():
    value, moved = lm.jvp(lambda x: lm.while_loop(lambda c: c[1] < 100, lambda c: (c[0] * x, c[1] * x), (x, x))[0],
                          (3.0,), (1.0,))
    assert (value, moved) == (3.0 ** 5, 5 * 3.0 ** 4)


def test_tangents_that_do_not_fit():
    with pytest.raises(lm.TraceError, match="the tangents of 'f' and its arguments differ"):
        lm.jvp(f, (X, W), (DX,))
    with pytest.raises(lm.ShapeError, match=r"the tangents of 'f' is f64\[2\] at \[0\]"):
        lm.jvp(f, (X, W), (DX[:2], DW))
    with pytest.raises(lm.DTypeError, match="argument 'n'"):
        lm.jvp(lambda n: n * 2.0, (np.arange(3),), (np.arange(3),))
