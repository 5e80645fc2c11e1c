"""Do rules of a user's own take the place of derivatives, and do checkpoints compute again what they do not keep?"""

import numpy as np
import pytest

import lamina as lm


def make_clipped():
    @lm.custom_vjp
    def clipped(x, limit):
        return x * 1.0
    clipped.defvjp(lambda x, limit: (x * 1.0, limit), lambda limit, g: (lm.clip(g, -limit, limit), None))
    return clipped


def make_softened():
    """relu, with the derivative of softplus, to any order."""
    @lm.custom_jvp
    def softened(x):
        return lm.relu(x)

    @softened.defjvp
    def rule(primals, tangents):
        (x,), (dx,) = primals, tangents
        return softened(x), lm.sigmoid(x) * dx
    return softened


X = np.array([0.1, 2.0, -3.0])


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_custom_vjp(wrap):
    clipped = make_clipped()
    np.testing.assert_array_equal(clipped(X, 0.5), X)
    np.testing.assert_array_equal(wrap(clipped)(X, 0.5), X)
    found = wrap(lm.grad(lambda x: lm.sum(clipped(x, 0.5) ** 2)))(X)
    np.testing.assert_allclose(found, np.clip(2 * X, -0.5, 0.5))


def test_custom_vjp_inside_scan_cond_and_checkpoint():
    clipped = make_clipped()

    def f(x):
        x = lm.scan(lambda c, _: (clipped(c, 0.5) * 1.5, None), x, length=2)[0]
        x = lm.cond(lm.sum(x) > 1e9, lambda x: x, lambda x: clipped(x, 0.2), x)
        return lm.sum(lm.checkpoint(lambda x: clipped(x, 0.1) * 3)(x))
    np.testing.assert_allclose(lm.grad(f)(X), np.full(3, 0.1 * 1.5 * 1.5))
    np.testing.assert_allclose(lm.jit(lm.grad(f))(X), np.full(3, 0.1 * 1.5 * 1.5))


def test_trees_integers_and_fixed_arguments():
    @lm.custom_vjp
    def plain(x):
        return x
    with pytest.raises(lm.TraceError, match="defvjp"):
        plain(1.0)

    def scaled(mode, tree, n):
        return {"out": tree["a"] * n, "mode": lm.sum(tree["b"])}
    scaled_custom = lm.custom_vjp(scaled, nondiff_argnums=(0,))
    scaled_custom.defvjp(lambda mode, tree, n: (scaled(mode, tree, n), (n, tree["b"])),
                         lambda mode, saved, g: ({"a": g["out"] * saved[0] * (10 if mode == "ten" else 1),
                                                  "b": None}, None))
    tree = {"a": X, "b": np.ones(2, np.float32)}
    for mode, factor in (("ten", 30), ("one", 3)):
        found = lm.jit(lm.grad(lambda t, mode=mode: lm.sum(scaled_custom(mode, t, 3)["out"])))(tree)
        np.testing.assert_array_equal(found["a"], np.full(3, factor))
        np.testing.assert_array_equal(found["b"], np.zeros(2, np.float32))


@pytest.mark.parametrize("wrap", [lambda f: f, lm.jit])
def test_custom_jvp_serves_both_modes_and_higher_orders(wrap):
    softened = make_softened()
    sigmoid = 1 / (1 + np.exp(-X))
    np.testing.assert_array_equal(wrap(softened)(X), np.maximum(X, 0))
    np.testing.assert_allclose(wrap(lm.grad(lambda x: lm.sum(softened(x))))(X), sigmoid, rtol=1e-12)
    np.testing.assert_allclose(wrap(lambda x: lm.jvp(softened, (x,), (x,))[1])(X), sigmoid * X, rtol=1e-12)
    second = wrap(lm.grad(lambda x: lm.sum(lm.grad(lambda x: lm.sum(softened(x)))(x) * x)))(X)
    np.testing.assert_allclose(second, sigmoid + sigmoid * (1 - sigmoid) * X, rtol=1e-12)


def test_what_a_rule_does_not_cover_is_refused():
    def outer(w):
        @lm.custom_vjp
        def f(x):
            return x * w
        f.defvjp(lambda x: (x * w, None), lambda _, g: (g * w,))
        return f(lm.exp(w)), f(2.0)
    with pytest.raises(lm.UnsupportedError, match="pass the array as an argument"):
        lm.grad(lambda w: outer(w)[0])(3.0)
    assert lm.jit(lambda w: lm.grad(lambda x: x * lm.stop_gradient(outer(w)[1]))(1.0))(3.0) == 6


def test_forward_mode_of_custom_vjp_is_refused():
    with pytest.raises(lm.UnsupportedError, match="custom_jvp"):
        lm.jvp(lambda x: make_clipped()(x, 0.5), (X,), (X,))


@pytest.mark.parametrize("fwd, bwd, message", [
    (lambda x: x, lambda r, g: (g,), "a pair"),
    (lambda x: (x[:2], x), lambda r, g: (g,), "gives f64\\[2\\], the function f64\\[3\\]"),
    (lambda x: (x, x), lambda r, g: g, "a tuple"),
    (lambda x: (x, x), lambda r, g: (g, g), "2 cotangents for 1"),
    (lambda x: (x, x), lambda r, g: (g[:2],), "f64\\[2\\] for argument 0"),
    (lambda x: (x, x), lambda r, g: ({"a": g, "b": g},), "tree of 2"),
])
def test_rules_that_do_not_fit(fwd, bwd, message):
    f = lm.custom_vjp(lambda x: x * 1.0)
    f.defvjp(fwd, bwd)
    with pytest.raises(lm.LaminaError, match=message):
        lm.grad(lambda x: lm.sum(f(x)))(X)


# ---- checkpoints -----------------------------------------------------------------------------------------------------
def layers(count=8, width=16):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(width, width)) / 4).astype(np.float32) for _ in range(count)]


def loss(weights, x, layer):
    for w in weights:
        x = layer(x, w)
    return lm.sum(x * x)


def layer(x, w):
    return lm.sin(lm.tanh(x @ w) * 2)


@pytest.mark.parametrize("policy, dots", [("nothing_saveable", 4 * 3), ("dots_saveable", 3 * 3),
                                          ("dots_with_no_batch_dims_saveable", 3 * 3), ("everything_saveable", 3 * 3)])
def test_a_checkpoint_computes_again_what_its_policy_does_not_keep(policy, dots):
    weights, x = layers(3), np.ones((5, 16), np.float32)
    step = lm.grad(lambda weights, x: loss(weights, x, lm.checkpoint(layer, policy=policy)), (0, 1))
    expected = lm.grad(lambda weights, x: loss(weights, x, layer), (0, 1))(weights, x)
    executable = lm.compile(step, weights, x)
    for got in (step(weights, x), executable(*weights, x)):
        for a, b in zip(lm.tree.leaves(got), lm.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    canonical = executable.text("canonical")
    assert canonical.count(" contract(") == dots
    assert canonical.count(" tanh(") == (3 if policy == "everything_saveable" else 6)


def test_checkpoints_lower_the_peak_to_a_segment():
    weights, x = layers(12), np.ones((512, 16), np.float32)

    def segments(weights, x):
        for i in range(0, 12, 4):
            x = lm.checkpoint(lambda x, ws: [x := layer(x, w) for w in ws][-1])(x, weights[i:i + 4])
        return lm.sum(x * x)
    plain = lm.compile(lm.grad(lambda weights, x: loss(weights, x, layer)), weights, x)
    executable = lm.compile(lm.grad(segments), weights, x)
    assert executable.memory.arena_bytes < plain.memory.arena_bytes / 2
    assert executable.memory.arena_bytes == executable.memory.lower_bound


def test_checkpoint_of_checkpoint_in_scan_and_of_higher_order():
    w = layers(1)[0].astype(np.float64)

    def f(x, wrap):
        inner = wrap(lambda x: lm.sin(x @ w))
        return lm.sum(lm.scan(lambda x, _: (wrap(lambda x: inner(x) * x)(x), None), x, length=3)[0])
    x = np.linspace(-1, 1, 16)
    for derive in (lm.grad, lambda f: lm.grad(lambda x: lm.sum(lm.grad(f)(x) ** 2)),
                   lambda f: lambda x: lm.jvp(lm.grad(f), (x,), (x,))[1],
                   lambda f: lambda x: lm.jvp(f, (x,), (x,))[1]):
        expected = derive(lambda x: f(x, lambda g: g))(x)
        got = derive(lambda x: f(x, lm.checkpoint))(x)
        np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_a_barrier_costs_no_kernel():
    plain = lm.compile(lm.grad(lambda w, x: lm.sum(lm.checkpoint(lambda w, x: lm.exp(x @ w))(w, x))),
                       layers(1)[0], np.ones((5, 16), np.float32))
    assert "barrier(" in plain.text("fused") and not any("barrier" in k["label"] for k in plain.kernels)


def test_an_unknown_policy():
    with pytest.raises(lm.TraceError, match="dots_saveable"):
        lm.checkpoint(layer, policy="some")
