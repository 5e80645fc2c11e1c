"""Are Jacobians and Hessians right?  Against torch.func and finite differences, of trees, with and without jit."""

import numpy as np
import pytest

import lamina as lm

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(1)
WRAPS = [lambda f: f, lm.jit]
MODES = [lm.jacfwd, lm.jacrev]


def draw(*shape):
    return RNG.normal(size=shape)


def affine(space):
    def f(w, x):
        return space.tanh(x @ w) * space.sum(w * w)
    return f


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("mode", MODES)
def test_against_torch(mode, wrap):
    w, x = draw(3, 2), draw(4, 3)
    theirs = torch.func.jacrev(affine(torch), argnums=(0, 1))(torch.tensor(w), torch.tensor(x))
    ours = wrap(mode(affine(lm), argnums=(0, 1)))(w, x)
    assert isinstance(ours, tuple) and [o.shape for o in ours] == [(4, 2, 3, 2), (4, 2, 4, 3)]
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(wrap(mode(affine(lm), -1))(w, x), theirs[1].numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("wrap", WRAPS)
def test_hessians_against_torch_and_finite_differences(wrap):
    def loss(space):
        def f(w, x):
            return space.sum(space.exp(space.sin(x @ w)) ** 2)
        return f
    w, x = draw(3), draw(5, 3)
    ours = wrap(lm.hessian(loss(lm)))(w, x)
    np.testing.assert_allclose(ours, torch.func.hessian(loss(torch))(torch.tensor(w), torch.tensor(x)), rtol=1e-9)
    step = 1e-6
    gradient = lm.grad(loss(lm))
    numeric = [(gradient(w + step * e, x) - gradient(w - step * e, x)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(ours, numeric, rtol=1e-5)
    mixed = wrap(lm.hessian(loss(lm), argnums=(0, 1)))(w, x)
    assert mixed[0][1].shape == (3, 5, 3) and mixed[1][0].shape == (5, 3, 3)
    np.testing.assert_allclose(mixed[0][1], np.moveaxis(mixed[1][0], -1, 0), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("mode", MODES)
def test_trees_and_aux(mode, wrap):
    def f(params, x):
        y = params["w"] * x
        return {"y": y, "total": [lm.sum(y + params["b"])]}, y * 2
    params, x = {"w": draw(3), "b": draw()}, draw(3)
    found, aux = wrap(mode(f, has_aux=True))(params, x)
    np.testing.assert_allclose(aux, params["w"] * x * 2)
    np.testing.assert_allclose(found["y"]["w"], np.diag(x))
    np.testing.assert_allclose(found["y"]["b"], np.zeros(3))
    np.testing.assert_allclose(found["total"][0]["w"], x)
    np.testing.assert_allclose(found["total"][0]["b"], 3)


@pytest.mark.parametrize("mode", MODES)
def test_jacobians_of_batches_and_batches_of_jacobians(mode):
    x = draw(4, 3)
    found = lm.jit(lm.vmap(mode(lambda x: lm.cumsum(x * x))))(x)
    np.testing.assert_allclose(found, np.stack([np.tril(np.ones((3, 3))) * 2 * row for row in x]))
    whole = mode(lm.vmap(lambda x: lm.cumsum(x * x)))(x)
    np.testing.assert_allclose(whole[1, :, 1], found[1])
    np.testing.assert_array_equal(whole[1, :, 2], np.zeros((3, 3)))


def test_loops_without_a_bound_have_jacobians_in_forward_mode():
    def f(x):
        return lm.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, lm.sin(c[1])), (0, x))[1]
    x = draw(2)
    expected = np.diag(np.cos(np.sin(np.sin(x))) * np.cos(np.sin(x)) * np.cos(x))
    np.testing.assert_allclose(lm.jit(lm.jacfwd(f))(x), expected, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_symbolic_dims(mode):
    executable = lm.compile(mode(lambda x: x * lm.sum(x)), lm.TensorSpec(("n",), "float64"))
    for n in (1, 4):
        x = draw(n)
        np.testing.assert_allclose(executable(x)[0], np.eye(n) * x.sum() + x[:, None])


@pytest.mark.parametrize("mode", MODES)
def test_unit_vectors_are_no_constants_of_the_graph(mode):
    graph = lm.trace(mode(lm.tanh), np.zeros(300, np.float32))
    assert all(n.op.array.size < 300 for n in graph.nodes if type(n.op).__name__ == "Constant")


@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_float_is_refused(mode):
    with pytest.raises(lm.DTypeError, match="argument 'x' of 'f' is i64"):
        def f(x):
            return x * 2.0
        mode(f)(np.arange(3))


def test_results_that_are_no_floats_are_refused():
    with pytest.raises(lm.DTypeError, match=r"the result\['a'\] of 'f' is i64\[3\]"):
        def f(x):
            return {"a": lm.argsort(x)}
        lm.jacrev(f)(draw(3))
