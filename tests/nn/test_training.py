"""Does nn.apply do what training mode does: statistics, dropout, keys; and is state returned, never mutated?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

KEY = lm.random.key(5)
RNG = np.random.default_rng(5)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("options", [{}, dict(momentum=0.3), dict(momentum=None), dict(affine=False),
                                     dict(track_running_stats=False)], ids=str)
@pytest.mark.parametrize("rank, shape", [(1, (6, 5)), (1, (3, 5, 4)), (2, (3, 5, 4, 2)), (3, (2, 5, 3, 2, 2))])
def test_batch_norm_in_training_is_torchs_for_three_steps(rank, shape, options):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, f"BatchNorm{rank}d")(5, **options)
    ours = nn.load_state_dict(getattr(nn, f"BatchNorm{rank}d")(5, **options), theirs.state_dict())
    step = lm.jit(lambda model, x: nn.apply(model, x))
    compiled = ours
    for _ in range(3):
        x = draw(*shape) * 3 + 1
        expected = theirs(torch.from_numpy(x)).detach().numpy()
        before = ours
        (y, ours), (z, compiled) = nn.apply(ours, x), step(compiled, x)
        for got, model in ((y, ours), (z, compiled)):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
            state = theirs.state_dict()
            assert list(nn.state_dict(model)) == list(state)
            for name, value in nn.state_dict(model).items():
                np.testing.assert_allclose(value, state[name].numpy(), rtol=1e-5, atol=1e-6)
    if options.get("track_running_stats", True):
        assert (before.running_mean != ours.running_mean).all() and not ours.training


def test_what_nn_apply_returns_infers():
    model = nn.Sequential(nn.Linear(4, 4, key=KEY), nn.BatchNorm1d(4), nn.Dropout(0.5))
    x = draw(8, 4)
    _, after = nn.apply(model, x, key=KEY)
    assert lm.tree.structure(after) == lm.tree.structure(model)
    assert (after(x) == after(x)).all() and (after(x) != model(x)).any()
    assert (model[1].running_mean == 0).all() and model[1].num_batches_tracked == 0


def test_a_layer_that_is_called_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            self.norm = nn.BatchNorm1d(3)

        def __call__(self, x):
            return self.norm(self.norm(x) + 1)
    x = draw(5, 3)
    _, after = nn.apply(Twice(), x)
    first, one = nn.apply(nn.BatchNorm1d(3), x)
    _, two = nn.apply(one, first + 1)
    assert after.norm.num_batches_tracked == 2
    np.testing.assert_allclose(after.norm.running_mean, two.running_mean, rtol=1e-5)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_dropout_keeps_the_expected_share_and_scales_it(p):
    x = np.ones((100, 100), np.float32)
    y, _ = nn.apply(nn.Dropout(p), x, key=KEY)
    assert set(np.unique(y)) <= {0, np.float32(1 / (1 - p))} if p < 1 else (y == 0).all()
    assert abs((y == 0).mean() - p) < 0.02
    assert (nn.Dropout(p)(x) == x).all()
    assert (nn.apply(nn.Dropout(p), x, key=KEY)[0] == y).all()
    z, _ = lm.jit(lambda x: nn.apply(nn.Dropout(p), x, key=KEY))(x)
    assert (z == y).all(), "the same mask, compiled"


def test_each_dropout_and_each_call_draws_anew():
    class Several(nn.Module):
        def __init__(self):
            self.one, self.two = nn.Dropout(0.5), nn.Dropout(0.5)

        def __call__(self, x):
            return self.one(x), self.two(x), self.two(x)
    x = np.ones((50, 50), np.float32)
    masks, _ = nn.apply(Several(), x, key=KEY)
    again, _ = nn.apply(Several(), x, key=lm.random.key(6))
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert abs((masks[a] == masks[b]).mean() - 0.5) < 0.05
    assert all(abs((a == b).mean() - 0.5) < 0.05 for a, b in zip(masks, again))


def test_dropout_of_channels_and_of_samples():
    x = np.ones((40, 30, 4, 5), np.float32)
    channels, _ = nn.apply(nn.Dropout2d(0.5), x, key=KEY)
    assert ((channels == 0).all((2, 3)) | (channels == 2).all((2, 3))).all()
    assert abs((channels == 0).mean() - 0.5) < 0.05
    samples, _ = nn.apply(nn.DropPath(0.5), x, key=KEY)
    assert ((samples == 0).all((1, 2, 3)) | (samples == 2).all((1, 2, 3))).all()
    assert 0.2 < (samples == 0).mean() < 0.8


def test_dropout_takes_a_key_of_the_call_inside_a_loop():
    class Walk(nn.Module):
        def __init__(self):
            self.dropout = nn.Dropout(0.5)

        def __call__(self, x, key):
            return lm.scan(lambda x, k: (self.dropout(x, key=k), None), x, lm.random.split(key, 3))[0]
    y, _ = lm.jit(lambda x, key: nn.apply(Walk(), x, key))(np.ones((40, 50), np.float32), KEY)
    assert set(np.unique(y)) == {0, 8} and abs((y == 8).mean() - 1 / 8) < 0.03


def test_gradients_through_training_mode():
    model = nn.Sequential(nn.Linear(4, 3, key=KEY), nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Linear(3, 2, key=KEY))
    trained, rest = nn.partition(model)
    x, y = draw(16, 4), RNG.integers(0, 2, 16)

    @lm.jit
    def step(trained, rest, key):
        def loss(trained):
            logits, model = nn.apply(nn.combine(trained, rest), x, key=key)
            return nn.cross_entropy(logits, y), nn.partition(model)[1]
        (value, rest), gradient = lm.value_and_grad(loss, has_aux=True)(trained)
        return lm.tree.map(lambda p, g: p - 0.5 * g, trained, gradient), rest, value
    values = []
    for i in range(40):
        trained, rest, value = step(trained, rest, lm.random.fold_in(KEY, i))
        values.append(float(value))
    assert values[-1] < 0.75 * values[0]
    assert lm.tree.structure(nn.combine(trained, rest)) == lm.tree.structure(model)
    assert nn.buffers(nn.combine(trained, rest))["1.num_batches_tracked"] == 40


class Counter(nn.Module):
    """A layer of a user that keeps state."""

    def __init__(self):
        self.training = False
        self.seen = nn.buffer(lm.zeros((), "int64"))

    def __call__(self, x):
        if self.training:
            self.record(seen=self.recorded("seen") + x.shape[0])
        return x


def test_layers_of_users_record_state():
    assert nn.apply(Counter(), draw(7, 2))[1].seen == 7
    _, both = nn.apply(nn.Sequential(Counter(), Counter()), draw(7, 2))
    assert [both[0].seen, both[1].seen] == [7, 7]
    assert nn.apply(both, draw(3, 2))[1][0].seen == 10


def test_state_that_could_not_get_out_is_an_error():
    layer, x = Counter().replace(training=True), draw(4, 2)
    with pytest.raises(lm.TraceError, match=r"Counter in training changes its state, which is returned by nn.apply"):
        layer(x)

    class Loop(nn.Module):
        def __init__(self):
            self.counter = Counter()

        def __call__(self, x):
            return lm.scan(lambda carry, row: (carry, self.counter(row[None])), 0.0, x)[1]
    with pytest.raises(lm.TraceError, match="inside the body of lm.scan, from where nothing gets out"):
        lm.jit(lambda x: nn.apply(Loop(), x))(x)

    class Wrong(nn.Module):
        def __call__(self, x):
            self.record(mean=x)
    with pytest.raises(lm.TraceError, match="Wrong has no buffer 'mean' to record"):
        nn.apply(Wrong(), x)


def test_random_layers_without_a_key_say_so():
    with pytest.raises(lm.TraceError, match="Dropout in training draws random numbers, and there is no key"):
        nn.apply(nn.Dropout(0.5), draw(3))
    with pytest.raises(lm.TraceError, match="probability 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(lm.ShapeError, match="one value for each channel has no variance"):
        nn.apply(nn.BatchNorm1d(3), draw(1, 3))
