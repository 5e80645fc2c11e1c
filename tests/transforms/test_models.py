"""Do whole models learn as PyTorch's do?  Losses and gradients over 20 steps of gradient descent; and few kernels do
it."""

import numpy as np
import pytest

import lamina as lm

RATE = 0.1


def normal(rng, *shape, scale=None):
    return (rng.normal(size=shape) * (scale or 1 / np.sqrt(np.prod(shape[:-1])))).astype(np.float32)


def cross_entropy(logits, labels):
    return -lm.mean(lm.take_along_axis(lm.log_softmax(logits), labels[:, None], -1))


# ---- the models, and what they are in torch -------------------------------------------------------------------------
def mlp(p, x, y):
    h = lm.relu(x @ p["w1"] + p["b1"])
    h = lm.relu(h @ p["w2"] + p["b2"])
    return cross_entropy(h @ p["w3"] + p["b3"], y)


def torch_mlp(p, x, y):
    from torch.nn.functional import cross_entropy, relu
    h = relu(x @ p["w1"] + p["b1"])
    return cross_entropy(relu(h @ p["w2"] + p["b2"]) @ p["w3"] + p["b3"], y)


def mlp_arguments(rng):
    p = {"w1": normal(rng, 13, 32), "w2": normal(rng, 32, 17), "w3": normal(rng, 17, 5)}
    p |= {f"b{i}": np.zeros(p[f"w{i}"].shape[1], np.float32) for i in (1, 2, 3)}
    return p, normal(rng, 24, 13, scale=1), rng.integers(0, 5, 24)


def cnn(p, x, y):
    h = lm.max_pool(lm.relu(lm.conv(x, p["c1"], padding=1) + p["b1"][:, None, None]), 2)
    h = lm.relu(lm.conv(h, p["c2"], strides=2, padding=1) + p["b2"][:, None, None])
    h = lm.max_pool(h, 3, strides=2, padding=1) + lm.avg_pool(lm.conv(h, p["c3"], padding=1, groups=8), 2)
    return cross_entropy(lm.reshape(h, (h.shape[0], -1)) @ p["w"] + p["b"], y)


def torch_cnn(p, x, y):
    import torch.nn.functional as f
    h = f.max_pool2d(f.relu(f.conv2d(x, p["c1"], p["b1"], padding=1)), 2)
    h = f.relu(f.conv2d(h, p["c2"], p["b2"], stride=2, padding=1))
    h = f.max_pool2d(h, 3, stride=2, padding=1) + f.avg_pool2d(f.conv2d(h, p["c3"], padding=1, groups=8), 2)
    return f.cross_entropy(h.flatten(1) @ p["w"] + p["b"], y)


def cnn_arguments(rng):
    p = {"c1": normal(rng, 4, 1, 3, 3, scale=0.4), "b1": np.zeros(4, np.float32),
         "c2": normal(rng, 8, 4, 3, 3, scale=0.3), "b2": np.zeros(8, np.float32),
         "c3": normal(rng, 8, 1, 3, 3, scale=0.3), "w": normal(rng, 32, 5), "b": np.zeros(5, np.float32)}
    images = normal(rng, 6, 1, 16, 16, scale=1)
    images[:, :, :5] = 0  # a dark border, where windows have ties
    return p, images, rng.integers(0, 5, 6)


def transformer(p, x, y):
    batch, length, width = x.shape
    n = lm.layer_norm(x, p["g1"], p["a1"])
    q, k, v = (lm.transpose(lm.reshape(n @ p[w], (batch, length, 2, width // 2)), (0, 2, 1, 3)) for w in "qkv")
    mask = lm.tril(np.ones((length, length), bool))
    found = lm.softmax(lm.where(mask, q @ lm.matrix_transpose(k) / np.float32(np.sqrt(width // 2)), -1e9)) @ v
    x = x + lm.reshape(lm.transpose(found, (0, 2, 1, 3)), x.shape) @ p["o"]
    x = x + lm.gelu(lm.layer_norm(x, p["g2"], p["a2"]) @ p["u"]) @ p["d"]
    return lm.mean((x - y) ** 2)


def torch_transformer(p, x, y):
    import torch
    import torch.nn.functional as f
    batch, length, width = x.shape
    n = f.layer_norm(x, (width,), p["g1"], p["a1"])
    q, k, v = ((n @ p[w]).reshape(batch, length, 2, width // 2).transpose(1, 2) for w in "qkv")
    found = f.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + found.transpose(1, 2).reshape(x.shape) @ p["o"]
    x = x + f.gelu(f.layer_norm(x, (width,), p["g2"], p["a2"]) @ p["u"]) @ p["d"]
    return torch.mean((x - y) ** 2)


def transformer_arguments(rng, batch=2, length=7, width=12):
    p = {name: normal(rng, width, width) for name in "qkvo"}
    p |= {"u": normal(rng, width, 4 * width), "d": normal(rng, 4 * width, width)}
    p |= {f"g{i}": np.ones(width, np.float32) for i in (1, 2)} | {f"a{i}": np.zeros(width, np.float32) for i in (1, 2)}
    return p, normal(rng, batch, length, width, scale=1), normal(rng, batch, length, width, scale=1)


def lstm(p, x, y):
    def step(state, x):
        h, c = state
        i, f, g, o = lm.split(x @ p["w"] + h @ p["u"] + p["b"], 4, axis=-1)
        c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
        h = lm.sigmoid(o) * lm.tanh(c)
        return (h, c), h
    zeros = lm.zeros((x.shape[1], p["u"].shape[0]), lm.float32)
    _, h = lm.scan(step, (zeros, zeros), x)
    return lm.mean((h @ p["v"] - y) ** 2)


def torch_lstm(p, x, y):
    import torch
    h = c = torch.zeros(x.shape[1], p["u"].shape[0])
    found = []
    for row in x:
        i, f, g, o = (row @ p["w"] + h @ p["u"] + p["b"]).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        found.append(h)
    return torch.mean((torch.stack(found) @ p["v"] - y) ** 2)


def lstm_arguments(rng):
    p = {"w": normal(rng, 5, 28), "u": normal(rng, 7, 28), "b": normal(rng, 28, scale=0.1), "v": normal(rng, 7, 3)}
    return p, normal(rng, 9, 4, 5, scale=1), normal(rng, 9, 4, 3, scale=1)


MODELS = {"mlp": (mlp, torch_mlp, mlp_arguments), "cnn": (cnn, torch_cnn, cnn_arguments),
          "transformer": (transformer, torch_transformer, transformer_arguments),
          "lstm": (lstm, torch_lstm, lstm_arguments)}


@pytest.mark.parametrize("native", [True, False], ids=["native", "interpreter"])
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_torch(name, native):
    torch = pytest.importorskip("torch")
    ours, theirs, arguments = MODELS[name]
    params, *data = arguments(np.random.default_rng(0))
    step = lm.value_and_grad(ours)
    step = lm.jit(step) if native else step
    other = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    losses = []
    for _ in range(20):
        value, found = step(params, *data)
        loss = theirs(other, *map(torch.tensor, data))
        gradients = dict(zip(other, torch.autograd.grad(loss, list(other.values()))))
        np.testing.assert_allclose(value, loss.item(), rtol=1e-4)
        for key, gradient in gradients.items():
            scale = max(1e-3, float(gradient.abs().max()))
            np.testing.assert_allclose(found[key], gradient.numpy(), rtol=1e-4, atol=1e-4 * scale)
            params[key] = params[key] - RATE * found[key]
            with torch.no_grad():
                other[key] -= RATE * gradient
        losses.append(float(value))
    assert losses[-1] < 0.95 * losses[0]


# ---- what a step costs ----------------------------------------------------------------------------------------------
def step_of(name):
    """One step of gradient descent, compiled."""
    ours, _, arguments = MODELS[name]

    def step(params, *data):
        value, found = lm.value_and_grad(ours)(params, *data)
        return value, lm.tree.map(lambda p, g: p - RATE * g, params, found)
    return lm.compile(step, *arguments(np.random.default_rng(0)))


def labels(executable):
    return [k["label"] for k in executable.kernels]


def test_the_backward_pass_of_an_mlp_moves_nothing():
    """Contractions take their operands as they lie: no transpose, copy or padding stands in memory."""
    executable = step_of("mlp")
    for label in labels(executable):
        assert not any(word in label for word in ("transpose", "copy", "pad", "reshape", "concat", "scatter"))
    assert sum("contract" in label for label in labels(executable)) == 3 + 3 + 2
    assert "transpose" not in executable.text("canonical")


def test_masks_and_updates_are_epilogues():
    found = labels(step_of("mlp"))
    assert found.count("contract+mul+sub") == 3  # a gradient of weights goes straight into the update
    assert found.count("contract+compare+select") == 2  # and relu's mask, made of what relu gave, into the product before it
    assert len(found) <= 15


def test_softmax_and_cross_entropy_are_few_kernels():
    def loss(z, y):
        return cross_entropy(z, y)
    executable = lm.compile(lm.value_and_grad(loss), lm.TensorSpec((32, 10)), lm.TensorSpec((32,), "int64"))
    assert len(executable.kernels) <= 4, labels(executable)


def test_a_backward_loop_has_one_product():
    """Gradients of an LSTM's weights are products behind the loop; in it only the state's is left."""
    found = step_of("lstm").text("canonical")
    loop = found[found.index("graph scan_backward"):].split("carries=")[0]
    assert loop.count(" contract(") == 1 and " pad(" not in loop and loop.count(" concat(") == 1
    assert sum(label != "pack" for label in labels(step_of("lstm"))) <= 18


def test_a_transformer_block_is_at_most_40_kernels():
    assert len(step_of("transformer").kernels) <= 40
