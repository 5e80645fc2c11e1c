"""Do models go through vmap, gradients and builds as functions of arrays do?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

KEY = lm.random.key(4)
RNG = np.random.default_rng(4)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(got, expected, atol=1e-5):
    lm.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol), got, expected)


def small(key):
    keys = lm.random.split(key, 2)
    return nn.Sequential(nn.Linear(4, 6, key=keys[0]), lm.tanh, nn.Linear(6, 2, key=keys[1]))


def test_an_ensemble_is_a_model_mapped_over_its_parameters():
    keys, x = lm.random.split(KEY, 5), draw(3, 4)
    models = [small(k) for k in keys]
    together = lm.tree.map(lambda *leaves: np.stack(leaves), *models)
    mapped = lm.jit(lm.vmap(lambda model, x: model(x), in_axes=(0, None)))(together, x)
    close(mapped, np.stack([model(x) for model in models]))
    close(lm.jit(lm.vmap(small))(keys), together)


LAYERS = {
    "linear": (lambda: nn.Linear(4, 3, key=KEY), (4,)), "layer norm": (lambda: nn.LayerNorm(4), (4,)),
    "conv": (lambda: nn.Conv2d(2, 3, 3, padding=1, key=KEY), (2, 2, 5, 5)),
    "transposed conv": (lambda: nn.ConvTranspose1d(2, 3, 4, 2, 1, key=KEY), (2, 2, 5)),
    "batch norm": (lambda: nn.BatchNorm1d(4), (3, 4)), "group norm": (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    "max pool": (lambda: nn.MaxPool2d(2), (1, 2, 4, 4)), "lstm": (lambda: nn.LSTM(4, 3, key=KEY), (5, 2, 4)),
    "gru": (lambda: nn.GRU(4, 3, bidirectional=True, key=KEY), (5, 2, 4)),
    "attention": (lambda: nn.MultiHeadAttention(4, 2, rotary_base=100.0, key=KEY), (5, 2, 4)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, key=KEY), (5, 2, 4))}


@pytest.mark.parametrize("name", LAYERS)
def test_examples_mapped_are_examples_one_by_one(name):
    make, shape = LAYERS[name]
    layer, x = make(), draw(3, *shape)

    def outputs(x):
        return lm.tree.leaves(layer(x))[0]
    close(lm.jit(lm.vmap(outputs))(x), np.stack([outputs(row) for row in x]))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_by_parameters_and_inputs_are_differences(name):
    """Along a random direction, as central differences in float64 have it."""
    make, shape = LAYERS[name]
    params, rest = nn.partition(make())
    wide = lm.tree.map(lambda a: a.astype(np.float64), (params, draw(*shape)))
    rest = lm.tree.map(lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, rest)
    weights = None

    def loss(both):
        nonlocal weights
        y = lm.tree.leaves(nn.combine(both[0], rest)(both[1]))[0]
        weights = RNG.standard_normal(y.shape) if weights is None else weights
        return lm.sum(y * weights)
    gradient = lm.jit(lm.grad(loss))(wide)
    direction = lm.tree.map(lambda a: RNG.standard_normal(a.shape), wide)
    up, down = (loss(lm.tree.map(lambda a, d: a + e * d, wide, direction)) for e in (1e-6, -1e-6))
    slope = sum((g * d).sum() for g, d in zip(lm.tree.leaves(gradient), lm.tree.leaves(direction)))
    assert slope == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-6)


def test_a_step_with_a_symbolic_batch_serves_all_batches():
    model = nn.Sequential(nn.Linear(4, 6, key=KEY), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2, key=KEY))
    params, rest = nn.partition(model)

    def step(params, rest, x, y, key):
        def loss(params):
            logits, model = nn.apply(nn.combine(params, rest), x, key=key)
            return nn.cross_entropy(logits, y), nn.partition(model)[1]
        (value, rest), gradient = lm.value_and_grad(loss, has_aux=True)(params)
        return value, rest, gradient
    specs = lm.tree.map(lambda a: lm.TensorSpec(a.shape, a.dtype), (params, rest))
    compiled = lm.compile(step, *specs, lm.TensorSpec(("batch", 4)), lm.TensorSpec(("batch",), "int64"),
                          lm.TensorSpec((2,), "uint32"), dims={"batch": (2, 64)})
    for batch in (2, 7, 33):
        x, y = draw(batch, 4), RNG.integers(0, 2, batch)
        expected = lm.tree.leaves(step(params, rest, x, y, KEY))
        close(list(compiled(*lm.tree.leaves((params, rest)), x, y, KEY)), expected)


def test_a_model_becomes_a_library(tmp_path):
    import shutil
    if not any(map(shutil.which, ("cc", "gcc", "ld"))):
        pytest.skip("needs a linker")
    made = lm.build(small(KEY), tmp_path / "libsmall.so", lm.TensorSpec(("batch", 4)))
    assert made.exists() and "small" in (tmp_path / "small.h").read_text()
