"""Is training in 16 bits what it says: products in them, all else in float32, losses scaled for float16?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.graph.graph import walk

RNG = np.random.default_rng(2)
WRAPS = [lambda f: f, lm.jit]
HALVES = ["bfloat16", "float16"]
ROUNDING = {"bfloat16": 2.0 ** -8, "float16": 2.0 ** -11}


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def layers(w, x):
    hidden = lm.relu(x @ w["first"] + w["bias"])
    return hidden @ w["second"]


def loss(w, x, y):
    return -lm.mean(lm.sum(lm.log_softmax(layers(w, x)) * y, axis=-1))


def example():
    w = {"first": draw(8, 16) * 0.3, "bias": draw(16), "second": draw(16, 4) * 0.3}
    return w, draw(12, 8), np.eye(4, dtype=np.float32)[RNG.integers(0, 4, 12)]


def nodes(graph, *names):
    return [n for n in walk(graph) if type(n.op).__name__ in names]


def dtypes(graph, *names):
    return {n.results[0].dtype.name for n in nodes(graph, *names)}


@pytest.mark.parametrize("compute", HALVES)
def test_products_alone_are_computed_in_16_bits(compute):
    w, x, y = example()
    for f in (lm.mixed_precision(loss, compute), lm.grad(lm.mixed_precision(loss, compute)),
              lm.mixed_precision(lm.grad(loss), compute)):
        graph = lm.trace(f, w, x, y)
        assert dtypes(graph, "Contract") == {compute}
        assert dtypes(graph, "Exp", "Log", "Div") <= {"float32"}
        assert {n.results[0].dtype.name for n in nodes(graph, "Reduce") if n.op.kind == "sum"} == {"float32"}
        assert {v.dtype.name for v in (*graph.params, *graph.results)} == {"float32"}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("compute", HALVES)
def test_values_and_gradients_are_near_those_of_float32(compute, wrap):
    w, x, y = example()
    value, found = wrap(lm.value_and_grad(lm.mixed_precision(loss, compute)))(w, x, y)
    expected_value, expected = lm.value_and_grad(loss)(w, x, y)
    assert 0 < abs(value - expected_value) < 4 * ROUNDING[compute]
    for name, g in found.items():
        assert g.dtype == np.float32
        error = np.abs(g - expected[name]).max() / np.abs(expected[name]).max()
        assert 0 < error < 8 * ROUNDING[compute], name


def test_what_has_no_product_stays_as_it_is():
    x = draw(3, 1000)
    assert str(lm.trace(lm.mixed_precision(lm.softmax), x)) == str(lm.trace(lm.softmax, x))
    x64 = RNG.normal(size=(3, 3))
    np.testing.assert_array_equal(lm.mixed_precision(lambda x: x @ x)(x64), x64 @ x64)


def test_between_two_products_memory_holds_16_bits():
    def f(x, w, v):
        return lm.conv(lm.max_pool(lm.pad(lm.relu(lm.conv(x, w)), ((0, 0), (0, 0), (1, 1), (1, 1))), 2), v)
    x, w, v = draw(1, 2, 9, 9), draw(4, 2, 3, 3), draw(4, 4, 2, 2)
    graph = lm.trace(lm.mixed_precision(f), x, w, v)
    assert dtypes(graph, "Conv", "Pad", "Pool", "Max", "Transpose") == {"bfloat16"}
    np.testing.assert_allclose(lm.jit(lm.mixed_precision(f))(x, w, v), f(x, w, v), rtol=0.05, atol=0.2)


def test_numbers_that_16_bits_do_not_hold_are_not_rounded():
    def f(x, w):
        product = x @ w
        return lm.pad(product, 1, constant_values=0.1), lm.maximum(product, 0.1)
    padded, larger = lm.mixed_precision(f)(draw(2, 3), -np.ones((3, 2), np.float32) * 1e3)
    assert (padded[0] == np.float32(0.1)).all() and (larger[larger < 1] == np.float32(0.1)).all()


def test_weights_are_rounded_once_and_before_a_loop():
    def f(w, h, xs):
        return lm.scan(lambda h, x: (lm.tanh(h @ w + x), h @ w.T), h, xs)
    types = lm.TensorSpec((4, 4)), lm.TensorSpec((2, 4)), lm.TensorSpec((7, 2, 4))
    graph = lm.parse(lm.compile(lm.mixed_precision(f), *types).text("canonical"))
    (scan,) = nodes(graph, "Scan")
    rounded = [n.operands[0].name for n in graph.nodes if type(n.op).__name__ == "Cast"]
    inside = [n for n in scan.op.body.nodes if type(n.op).__name__ == "Cast" and n.op.dtype.name == "bfloat16"]
    assert rounded == ["w"] and len(inside) == 1
    w, h, xs = draw(4, 4), draw(2, 4), draw(7, 2, 4)
    expected = f(w, h, xs)
    for got, want in zip(lm.jit(lm.mixed_precision(f))(w, h, xs), expected):
        np.testing.assert_allclose(got, want, atol=0.1)


def test_control_flow_and_closures():
    w = draw(3, 3)

    def f(p, n, x):
        x = lm.cond(p, lambda x: x @ w, lambda x: x, x)
        return lm.while_loop(lambda c: c[0] > 0, lambda c: (c[0] - 1, c[1] @ w), (n, x))[1]
    graph = lm.trace(lm.mixed_precision(f), np.array(True), np.array(2), draw(3))
    assert dtypes(graph, "Contract") == {"bfloat16"}
    x = draw(3)
    np.testing.assert_allclose(lm.jit(lm.mixed_precision(f))(True, 2, x), f(True, 2, x), atol=0.3)


def test_weights_move_by_less_than_16_bits_can_tell():
    def train(w, x):
        for _ in range(10):
            w = w - 1e-4 * lm.grad(lm.mixed_precision(lambda w: lm.sum(x @ w)))(w)
        return w
    w, x = np.ones((4, 1), np.float32), np.ones((1, 4), np.float32)
    np.testing.assert_allclose(lm.jit(train)(w, x), 1 - 1e-3, rtol=1e-6)


def test_training_ends_where_that_in_float32_ends():
    w, x, y = example()

    def train(gradient):
        step = lm.jit(lambda w: lm.tree.map(lambda a, g: a - 0.5 * g, w, gradient(w, x, y)))
        found = w
        for _ in range(100):
            found = step(found)
        return float(loss(found, x, y))
    single, mixed = train(lm.grad(loss)), train(lm.grad(lm.mixed_precision(loss)))
    assert single < 0.3 * float(loss(w, x, y)) and abs(mixed - single) < 0.05 * single + 1e-3


@pytest.mark.parametrize("wrap", WRAPS)
def test_batches_and_mixed_precision_exchange(wrap):
    w, x, _ = example()
    whole = lm.mixed_precision(layers)(w, x)
    for f in (lm.vmap(lm.mixed_precision(layers), (None, 0)), lm.mixed_precision(lm.vmap(layers, (None, 0)))):
        np.testing.assert_allclose(wrap(f)(w, x), whole, rtol=0.02, atol=0.02)


def test_what_is_no_half_is_refused():
    for name in ("float32", "int8"):
        with pytest.raises(lm.DTypeError, match="computes in bfloat16 or float16, not in"):
            lm.mixed_precision(loss, name)


# ---- scaled losses ---------------------------------------------------------------------------------------------------
@lm.jit
def scaled_step(w, scale, x, y):
    def scaled(w):
        return scale.scale_loss(lm.mixed_precision(loss, "float16")(w, x, y))
    gradients = scale.unscale(lm.grad(scaled)(w))
    is_finite = lm.all_finite(gradients)
    updated = lm.tree.map(lambda a, g: a - 0.1 * g, w, gradients)
    return lm.select_tree(is_finite, updated, w), scale.adjust(is_finite)


def test_an_overflow_leaves_the_weights_and_halves_the_scale():
    w, x, y = example()
    scale = lm.DynamicLossScale(np.float32(2.0 ** 30), np.int32(5))
    same, smaller = scaled_step(w, scale, x, y)
    for name in w:
        np.testing.assert_array_equal(same[name], w[name])
    assert smaller.scale == 2.0 ** 29 and smaller.good_steps == 0
    for _ in range(30):
        same, smaller = scaled_step(same, smaller, x, y)
    assert smaller.scale < 2.0 ** 29 and smaller.good_steps > 0
    assert loss(same, x, y) < loss(w, x, y)


def test_the_scale_grows_after_good_steps():
    w, x, y = example()
    scale = lm.DynamicLossScale(np.float32(8), interval=3)
    seen = []
    for _ in range(7):
        w, scale = scaled_step(w, scale, x, y)
        seen.append((float(scale.scale), int(scale.good_steps)))
    assert seen == [(8, 1), (8, 2), (16, 0), (16, 1), (16, 2), (32, 0), (32, 1)]
    assert scaled_step.cache_size() <= 3


def test_the_scale_stays_finite_and_at_least_one():
    yes, no = np.bool_(True), np.bool_(False)
    assert lm.DynamicLossScale(np.float32(1)).adjust(no).scale == 1
    assert lm.DynamicLossScale(np.float32(2.0 ** 127), interval=1).adjust(yes).scale == 2.0 ** 127


def test_gradients_that_float16_loses_are_kept_by_the_scale():
    def tiny(w, x):
        return lm.sum(x @ w) * 1e-9
    w, x = np.ones((3, 1), np.float32), np.ones((2, 3), np.float32)
    mixed = lm.mixed_precision(tiny, "float16")
    assert not lm.grad(mixed)(w, x).any()
    scale = lm.DynamicLossScale(np.float32(2.0 ** 20))
    found = scale.unscale(lm.grad(lambda w: scale.scale_loss(mixed(w, x)))(w))
    np.testing.assert_allclose(found, 2e-9, rtol=1e-2)


def test_all_finite():
    assert lm.all_finite({"a": draw(3), "b": [np.float32(1), np.arange(3)]})
    assert not lm.all_finite({"a": draw(3), "b": np.array([1, np.nan])})
    assert not lm.jit(lm.all_finite)([np.array([np.inf], np.float16)])
    assert lm.all_finite(())
