"""Do initializers draw from the distributions that they name, with PyTorch's fans?"""

import math

import numpy as np
import pytest

import lamina as lm
from lamina import nn

initializers = nn.initializers
KEY = lm.random.key(11)
SHAPE = (80, 30, 3, 3)  # fan in 270, fan out 720
DEVIATIONS = {
    "xavier_uniform": math.sqrt(2 / 990), "xavier_normal": math.sqrt(2 / 990), "kaiming_uniform": math.sqrt(2 / 270),
    "kaiming_normal": math.sqrt(2 / 270)}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_variances(name):
    drawn = getattr(initializers, name)()(KEY, SHAPE)
    assert drawn.dtype == np.float32 and drawn.shape == SHAPE
    assert drawn.std() == pytest.approx(DEVIATIONS[name], rel=0.02) and abs(drawn.mean()) < 0.01 * DEVIATIONS[name] * 5
    if "uniform" in name:
        assert np.abs(drawn).max() <= math.sqrt(3) * DEVIATIONS[name]
    else:
        assert np.abs(drawn).max() > 3 * DEVIATIONS[name]


def test_fans_and_gains_are_torchs():
    torch = pytest.importorskip("torch")
    for shape in ((4, 5), SHAPE, (2, 3, 7)):
        assert initializers.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert initializers.gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert initializers.gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    with pytest.raises(lm.ShapeError, match="no fan"):
        initializers.fans((3,))
    with pytest.raises(lm.TraceError, match="no gain is known for 'sin'"):
        initializers.gain("sin")


def test_modes():
    out = initializers.he_normal("linear", mode="fan_out")(KEY, SHAPE)
    assert out.std() == pytest.approx(1 / math.sqrt(720), rel=0.02)
    with pytest.raises(lm.TraceError, match="no mode 'fan'"):
        initializers.he_normal(mode="fan")(KEY, SHAPE)


def test_plain_distributions():
    assert initializers.normal(2, 0.5)(KEY, 20000).mean() == pytest.approx(2, abs=0.02)
    cut = initializers.truncated_normal(0.0, 0.02, -0.04, 0.04)(KEY, 20000)
    assert np.abs(cut).max() <= 0.04 and cut.std() == pytest.approx(0.02 * 0.8796, rel=0.03)
    flat = initializers.uniform(-3, -1)(KEY, 20000)
    assert flat.min() >= -3 and flat.max() < -1 and flat.mean() == pytest.approx(-2, abs=0.03)
    assert (initializers.zeros(KEY, (2, 3)) == 0).all() and (initializers.constant(4)(KEY, 3, "float64") == 4).all()


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 8), (4, 2, 3, 3), (1, 1)])
def test_orthogonal(shape):
    w = initializers.orthogonal(2.0)(KEY, shape).reshape(shape[0], -1).astype(np.float64) / 2
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-6)
    with pytest.raises(lm.TraceError, match="make the module outside"):
        lm.jit(lambda key: initializers.orthogonal()(key, shape))(KEY)


def test_identities():
    assert (initializers.identity(KEY, (3, 4)) == np.eye(3, 4)).all()
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    layer = nn.Conv2d(3, 3, 3, padding=1, bias=False, key=KEY, weight_init=initializers.dirac)
    np.testing.assert_array_equal(layer(x), x)


@pytest.mark.parametrize("ours, theirs", [
    (lambda: nn.Linear(50, 400, key=KEY), lambda t: t.Linear(50, 400)),
    (lambda: nn.Conv2d(16, 64, 3, key=KEY), lambda t: t.Conv2d(16, 64, 3)),
    (lambda: nn.ConvTranspose2d(64, 16, 3, key=KEY), lambda t: t.ConvTranspose2d(64, 16, 3)),
    (lambda: nn.Embedding(100, 40, key=KEY), lambda t: t.Embedding(100, 40)),
    (lambda: nn.LSTM(20, 50, key=KEY), lambda t: t.LSTM(20, 50)),
    (lambda: nn.MultiHeadAttention(64, 4, key=KEY), lambda t: t.MultiheadAttention(64, 4))],
    ids=["linear", "conv", "transposed", "embedding", "lstm", "attention"])
def test_layers_begin_with_the_distributions_of_torch(ours, theirs):
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = theirs(torch.nn).state_dict()
    for name, value in nn.parameters(ours()).items():
        other = expected[name].numpy()
        assert value.std() == pytest.approx(other.std(), rel=0.1 if value.size > 1000 else 0.4, abs=1e-7)
        assert np.abs(value).max() == pytest.approx(np.abs(other).max(), rel=0.2, abs=1e-7)


def test_keys_decide():
    a, b, c = (nn.Linear(3, 4, key=lm.random.key(i)) for i in (0, 0, 1))
    assert (a.weight == b.weight).all() and (a.weight != c.weight).all() and len({*a.bias, *a.weight[0]}) == 7
