"""What do grad, value_and_grad and vjp give, in jit and outside, and what do they say to bad input?"""

import numpy as np
import pytest

import lamina as lm


def mlp(params, x, y):
    h = lm.relu(x @ params["w1"] + params["b1"])
    return -lm.mean(lm.sum(lm.log_softmax(h @ params["w2"] + params["b2"]) * y, axis=-1))


def mlp_arguments():
    rng = np.random.default_rng(0)
    params = {"w1": rng.normal(size=(13, 17)), "b1": rng.normal(size=17), "w2": rng.normal(size=(17, 5)),
              "b2": np.zeros(5)}
    return ({k: a.astype(np.float32) for k, a in params.items()}, rng.normal(size=(7, 13)).astype(np.float32),
            np.eye(5, dtype=np.float32)[rng.integers(0, 5, 7)])


def test_jit_and_outside_agree():
    arguments = mlp_arguments()
    value, found = lm.value_and_grad(mlp)(*arguments)
    jitted_value, jitted = lm.jit(lm.value_and_grad(mlp))(*arguments)
    np.testing.assert_allclose(value, jitted_value, rtol=1e-6)
    for name, array in arguments[0].items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], jitted[name], atol=1e-6)
        step = np.zeros_like(array)
        step.flat[3] = 1e-2
        up, down = (mlp({**arguments[0], name: array + s * step}, *arguments[1:]) for s in (1, -1))
        np.testing.assert_allclose(found[name].flat[3], (up - down) / 2e-2, atol=2e-3)


def test_grad_of_jit_and_jit_of_grad_of_jit():
    arguments = mlp_arguments()
    expected = lm.grad(mlp)(*arguments)
    for f in (lm.grad(lm.jit(mlp)), lm.jit(lm.grad(lm.jit(mlp)))):
        for name, got in f(*arguments).items():
            np.testing.assert_allclose(got, expected[name], atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_derivatives_of_any_order(wrap):
    f, x = lm.sin, 0.7
    for expected in (np.cos(x), -np.sin(x), -np.cos(x), np.sin(x)):
        f = lm.grad(f)
        np.testing.assert_allclose(wrap(f)(x), expected, rtol=1e-6)


def test_argnums_and_aux():
    def f(x, y, flag):
        assert flag is True  # what is not differentiated comes as it is
        return lm.sum(x * x * y), {"twice": 2 * x}
    x, y = np.arange(3.0), np.ones(3)
    (value, aux), (dx, dy) = lm.value_and_grad(f, argnums=(0, 1), has_aux=True)(x, y, True)
    assert value == 5
    np.testing.assert_array_equal(aux["twice"], 2 * x)
    np.testing.assert_array_equal(dx, 2 * x)
    np.testing.assert_array_equal(dy, x * x)
    found, aux = lm.grad(f, 1, has_aux=True)(x, y, True)
    np.testing.assert_array_equal(found, x * x)


def test_closures_over_tracers_are_differentiated():
    def outer(w, x):
        inner = lm.grad(lambda x: lm.sum(lm.tanh(w * x)))
        return lm.sum(inner(x))
    w, x = np.float64(0.3), np.array([1.0, 2.0])
    h = 1e-6
    expected = (outer(w + h, x) - outer(w - h, x)) / (2 * h)
    np.testing.assert_allclose(lm.grad(outer)(w, x), expected, rtol=1e-6)
    np.testing.assert_allclose(lm.jit(lm.grad(outer))(w, x), expected, rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_vjp_gives_a_pullback_that_can_be_called_again(wrap):
    def f(x, w):
        out, pullback, aux = lm.vjp(lambda x, w: ((lm.exp(x) @ w, x), {"n": 3.0}), x, w, has_aux=True)
        return out, pullback((out[0], x)), pullback((out[0] * 2, x * 0)), aux
    x, w = np.ones((2, 3)), np.arange(6.0).reshape(3, 2)
    out, (dx, dw), (dx2, dw2), aux = wrap(f)(x, w)
    np.testing.assert_allclose(dw, np.exp(x).T @ out[0])
    np.testing.assert_allclose(dx, out[0] @ w.T * np.exp(x) + x)
    np.testing.assert_allclose(dw2, 2 * dw)
    np.testing.assert_allclose(dx2, 2 * (dx - x))
    assert aux["n"] == 3


def test_symbolic_dims():
    step = lm.compile(lm.value_and_grad(lambda w, x: lm.mean((x @ w) ** 2)), lm.TensorSpec((3,)),
                      lm.TensorSpec(("batch", 3)))
    w = np.array([1, 2, 3], np.float32)
    for batch in (1, 5):
        x = np.ones((batch, 3), np.float32)
        value, found = step(w, x)
        np.testing.assert_allclose(value, 36)
        np.testing.assert_allclose(found, [12, 12, 12])


def test_stop_gradient_is_a_constant():
    found = lm.grad(lambda x: lm.sum(x * lm.stop_gradient({"a": x})["a"]))(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(found, [2, 3])
    assert "stop" not in str(lm.compile(lambda x: lm.stop_gradient(x) + 1, lm.TensorSpec((3,))).text("canonical"))


def test_what_nothing_depends_on_has_a_gradient_of_zeros():
    _, dy = lm.grad(lambda x, y: lm.sum(x), argnums=(0, 1))(np.ones(2), np.ones((3, 4), np.float32))
    np.testing.assert_array_equal(dy, np.zeros((3, 4), np.float32))
    assert dy.dtype == np.float32


def test_softmax_needs_no_gradient_of_its_maximum():
    graph = lm.trace(lm.grad(lambda x: lm.sum(lm.softmax(x)[..., 0])), lm.TensorSpec((3, 5)))
    assert "compare" not in str(graph)


# ---- what bad input gets ---------------------------------------------------------------------------------------------
def error(kind, f, *args, **kwargs) -> str:
    with pytest.raises(kind) as caught:
        f(*args, **kwargs)
    assert "test_gradients.py" in str(caught.value)
    return str(caught.value)


def test_a_loss_that_is_no_scalar():
    text = error(lm.ShapeError, lm.grad(lambda x: x * 2), np.ones(3, np.float32))
    assert "f32[3]" in text and "lm.mean" in text
    assert "lm.vjp" in error(lm.ShapeError, lm.grad(lambda x: (lm.sum(x), x)), np.ones(3))
    assert "i64[]" in error(lm.DTypeError, lm.grad(lambda x: lm.argmax(x)), np.ones(3))


def test_an_integer_argument():
    text = error(lm.DTypeError, lm.grad(lambda p: lm.sum(p["a"])), {"a": np.ones(3), "n": np.arange(3)})
    assert "p.n" in text and "i64[3]" in text


def test_argnums_out_of_range_and_no_pair():
    assert "argument 3" in error(lm.TraceError, lm.grad(lambda x: x, argnums=3), 1.0)
    assert "a pair" in error(lm.TraceError, lm.grad(lambda x: x, has_aux=True), 1.0)


def test_a_cotangent_that_does_not_fit():
    _, pullback = lm.vjp(lambda x: {"y": x}, np.ones(3))
    assert "at the root" in error(lm.TraceError, pullback, np.ones(3))
    assert "f64[2]" in error(lm.ShapeError, pullback, {"y": np.ones(2)})
