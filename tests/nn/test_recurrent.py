"""Are RNN, LSTM and GRU PyTorch's: stacked, in both directions, with packed lengths, with a state, compiled?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

torch = pytest.importorskip("torch")
KEY = lm.random.key(1)
RNG = np.random.default_rng(2)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def initial(name, count, batch, width):
    parts = draw(count, batch, width), draw(count, batch, width)
    return parts if name == "LSTM" else parts[0]


@pytest.mark.parametrize("options", [{}, dict(num_layers=2, bidirectional=True), dict(bias=False, batch_first=True),
                                     dict(num_layers=3)], ids=str)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_layers(like_torch, name, options):
    ours, theirs = getattr(nn, name)(3, 5, key=KEY, **options), getattr(torch.nn, name)(3, 5, **options)
    batch = 0 if options.get("batch_first") else 1
    like_torch(ours, theirs, draw(4, 7, 3), batch=batch)
    like_torch(ours, theirs, draw(1, 1, 3), batch=None)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_layers_from_a_state(like_torch, name):
    theirs = getattr(torch.nn, name)(3, 5, num_layers=2, bidirectional=True)
    if name == "LSTM":
        like_torch(TwoStates(3, 5, num_layers=2, bidirectional=True, key=KEY), theirs,
                   draw(4, 7, 3), *initial(name, 4, 7, 5), batch=1,
                   call=lambda x, h, c: theirs(x, (h, c)))
    else:
        ours = getattr(nn, name)(3, 5, num_layers=2, bidirectional=True, key=KEY)
        like_torch(ours, theirs, draw(4, 7, 3), initial(name, 4, 7, 5), batch=1)


class TwoStates(nn.LSTM):
    """An LSTM whose state is two arguments."""

    def __call__(self, x, h, c):
        return super().__call__(x, (h, c))


def test_relu(like_torch):
    like_torch(nn.RNN(3, 5, nonlinearity="relu", key=KEY), torch.nn.RNN(3, 5, nonlinearity="relu"), draw(4, 2, 3),
               batch=1)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_are_torchs_packed_sequences(like_torch, name, batch_first):
    ours = getattr(nn, name)(3, 5, num_layers=2, bidirectional=True, batch_first=batch_first, key=KEY)
    theirs = getattr(torch.nn, name)(3, 5, num_layers=2, bidirectional=True, batch_first=batch_first)
    x, lengths = draw(6, 4, 3), np.array([6, 1, 4, 3])
    x = np.swapaxes(x, 0, 1).copy() if batch_first else x

    def packed(x):
        pack = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
        outputs, state = theirs(pack)
        return torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=batch_first)[0], state
    like_torch(ours, theirs, x, batch=None, call=packed, lengths=lengths)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_cells(like_torch, name):
    ours, theirs = getattr(nn, f"{name}Cell")(3, 5, key=KEY), getattr(torch.nn, f"{name}Cell")(3, 5)
    like_torch(ours, theirs, draw(4, 3))
    loaded = nn.load_state_dict(ours, theirs.state_dict())
    state = initial(name, 4, 1, 5)
    state = tuple(s[:, 0] for s in state) if name == "LSTM" else state[:, 0]
    expected = theirs(torch.ones(4, 3), lm.tree.map(torch.from_numpy, state))
    for got, want in zip(lm.tree.leaves(loaded(np.ones((4, 3), np.float32), state)), lm.tree.leaves(expected)):
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_layer_is_its_cell_step_by_step():
    layer, x = nn.GRU(3, 5, key=KEY), draw(4, 2, 3)
    cell = nn.load_state_dict(nn.GRUCell(3, 5, key=KEY), {n.removesuffix("_l0"): a for n, a in
                                                         nn.state_dict(layer).items()})
    h = np.zeros((2, 5), np.float32)
    for row in x:
        h = cell(row, h)
    np.testing.assert_allclose(layer(x)[1][0], h, rtol=1e-6, atol=1e-6)


def test_time_may_be_symbolic():
    layer = nn.LSTM(3, 5, bidirectional=True, key=KEY)
    compiled = lm.compile(lambda x: layer(x), lm.TensorSpec(("time", "batch", 3)))
    for steps, batch in ((1, 1), (7, 2)):
        x = draw(steps, batch, 3)
        for got, want in zip(compiled(x), lm.tree.leaves(layer(x))):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_dropout_between_layers_needs_a_key_and_leaves_one_layer_alone():
    x = draw(4, 2, 3)
    one, two = (nn.RNN(3, 5, num_layers=n, dropout=0.5, key=KEY) for n in (1, 2))
    assert (nn.apply(one, x, key=KEY)[0][0] == one(x)[0]).all()
    assert (nn.apply(two, x, key=KEY)[0][0] != two(x)[0]).any()
    with pytest.raises(lm.TraceError, match="there is no key"):
        nn.apply(two, x)


def test_what_does_not_fit_is_named():
    with pytest.raises(lm.ShapeError, match=r"\[time, batch, 3\] was expected"):
        nn.GRU(3, 5, key=KEY)(draw(4, 2, 4))
    with pytest.raises(lm.ShapeError, match=r"initial state .* 2 of \[1, 2, 5\] expected"):
        nn.LSTM(3, 5, key=KEY)(draw(4, 2, 3), (draw(1, 2, 5), draw(1, 2, 4)))
    with pytest.raises(lm.TraceError, match="no nonlinearity 'sigmoid'"):
        nn.RNN(3, 5, nonlinearity="sigmoid", key=KEY)
