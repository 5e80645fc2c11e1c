"""Do whole models train as PyTorch's do: the same losses and weights over twenty steps, compiled?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

torch = pytest.importorskip("torch")
KEY = lm.random.key(9)
RNG = np.random.default_rng(9)


class Convolutional(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, key=KEY), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(6, 8, 3, 2, 1, bias=False, key=KEY), nn.GroupNorm(2, 8), nn.GELU(),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4, key=KEY))

    def __call__(self, x):
        return self.body(x)


class TorchConvolutional(torch.nn.Module):
    def __init__(self):
        super().__init__()
        t = torch.nn
        self.body = t.Sequential(t.Conv2d(1, 6, 3, padding=1), t.BatchNorm2d(6), t.ReLU(), t.MaxPool2d(2),
                                 t.Conv2d(6, 8, 3, 2, 1, bias=False), t.GroupNorm(2, 8), t.GELU(),
                                 t.AdaptiveAvgPool2d(1), t.Flatten(), t.Linear(8, 4))

    def forward(self, x):
        return self.body(x)


class Recurrent(nn.Module):
    def __init__(self, kind):
        self.layer = getattr(nn, kind)(5, 7, num_layers=2, bidirectional=True, key=KEY)
        self.out = nn.Linear(14, 4, key=KEY)

    def __call__(self, x):
        return self.out(self.layer(x)[0][-1])


class TorchRecurrent(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = getattr(torch.nn, kind)(5, 7, num_layers=2, bidirectional=True)
        self.out = torch.nn.Linear(14, 4)

    def forward(self, x):
        return self.out(self.layer(x)[0][-1])


class Transformer(nn.Module):
    def __init__(self):
        self.embedding = nn.Embedding(11, 8, key=KEY)
        self.encoder = nn.TransformerEncoder([nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, key=k)
                                              for k in lm.random.split(KEY)], nn.LayerNorm(8))
        self.out = nn.Linear(8, 4, key=KEY)

    def __call__(self, x):
        return self.out(self.encoder(self.embedding(x), is_causal=True)[:, -1])


class TorchTransformer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 8)
        self.encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2,
                                                   torch.nn.LayerNorm(8))
        self.out = torch.nn.Linear(8, 4)

    def forward(self, x):
        mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.out(self.encoder(self.embedding(x), mask)[:, -1])


MODELS = {
    "convolutional": (Convolutional, TorchConvolutional, lambda: RNG.standard_normal((8, 1, 8, 8), np.float32)),
    **{kind: (lambda kind=kind: Recurrent(kind), lambda kind=kind: TorchRecurrent(kind),
              lambda: RNG.standard_normal((6, 8, 5), np.float32)) for kind in ("RNN", "GRU", "LSTM")},
    "transformer": (Transformer, TorchTransformer, lambda: RNG.integers(0, 11, (8, 6)))}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", MODELS)
def test_twenty_steps_of_training_are_torchs(name):
    make, make_theirs, draw = MODELS[name]
    theirs, data = make_theirs(), [(draw(), RNG.integers(0, 4, 8)) for _ in range(20)]
    params, rest = nn.partition(nn.load_state_dict(make(), theirs.state_dict()))
    optimizer = lm.optim.SGD(0.05, momentum=0.9)  # Adam makes noise of gradients that are 0, as of a bias before a norm

    @lm.jit
    def step(params, rest, state, x, y):
        def loss(params):
            logits, model = nn.apply(nn.combine(params, rest), x)
            return nn.cross_entropy(logits, y), nn.partition(model)[1]
        (value, rest), gradient = lm.value_and_grad(loss, has_aux=True)(params)
        params, state = optimizer.update(gradient, state, params)
        return params, rest, state, value
    state, losses = optimizer.init(params), []
    for x, y in data:
        params, rest, state, value = step(params, rest, state, x, y)
        losses.append(float(value))
    their_optimizer, expected = torch.optim.SGD(theirs.parameters(), 0.05, momentum=0.9), []
    for x, y in data:
        their_optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y))
        value.backward()
        their_optimizer.step()
        expected.append(value.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    wanted = theirs.state_dict()
    for key, value in nn.state_dict(nn.combine(params, rest)).items():
        np.testing.assert_allclose(value, wanted[key].numpy(), rtol=1e-3, atol=2e-4, err_msg=key)
