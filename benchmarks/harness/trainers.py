"""Who takes training steps, and how?  The same networks in lamina's functions and in PyTorch's, each as its users write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from . import steps
from .contenders import Inductor, Lamina, Torch
from .workloads import Case

CHECKED = 3  # steps whose losses are compared

TRAINERS = {"lamina": "harness.trainers:LaminaTrainer", "torch": "harness.trainers:TorchTrainer",
            "inductor": "harness.trainers:InductorTrainer"}


def _split(inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(parameters, buffers, x, y)."""
    arrays = {name.removeprefix("in."): array for name, array in inputs.items()}
    x, y = arrays.pop("x"), arrays.pop("y")
    buffers = {key: arrays.pop(key) for key in list(arrays) if key.endswith(steps.BUFFERS)}
    return arrays, buffers, x, y


# ---- lamina ----------------------------------------------------------------------------------------------------------
class LaminaTrainer(Lamina):
    """One jitted function: loss, gradients and update; parameters, buffers and the optimizer's state are donated."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Trace and compile the step; the first call takes it."""
        lm = self.lamina
        params, buffers, x, y = _split(inputs)
        network = _lamina_network(lm, case.name)
        rate, momentum = steps.MOMENTUM_STEPS.get(case.name, (steps.LEARNING_RATE, None))
        optimizer = lm.optim.SGD(rate, momentum) if momentum else lm.optim.Adam(rate)

        def loss(params, buffers, x, y):
            moved = {}
            chances = lm.log_softmax(network(params | buffers, x, moved), axis=-1)
            return -lm.mean(lm.take_along_axis(chances, y[:, None], axis=1)), moved

        @lm.jit(donate_argnums=(0, 1, 2))
        def step(params, buffers, state, x, y):
            (value, buffers), gradient = lm.value_and_grad(loss, has_aux=True)(params, buffers, x, y)
            params, state = optimizer.update(gradient, state, params)
            return params, buffers, state, value
        arguments = params, buffers, optimizer.init(params)
        self.executable = step.compile(*arguments, x, y)
        self.state = lm.tree.leaves(arguments)
        self.losses: list[np.ndarray] = []

        def call() -> np.ndarray:
            *self.state, value = self.executable(*self.state, x, y, threads=self.threads)
            self.losses.append(value)
            return value
        self.call = call
        return call

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """The first losses."""
        while len(self.losses) < CHECKED:
            self.call()
        return [np.array(self.losses[:CHECKED])]


def _lamina_network(lm, name: str) -> Callable:
    def linear(p, key, x):
        return x @ p[f"{key}.w"].T + p[f"{key}.b"]

    def norm(p, key, x):
        return lm.layer_norm(x, p[f"{key}.w"], p[f"{key}.b"])

    def conv(p, key, x):
        return lm.relu(lm.conv(x, p[f"{key}.w"], padding=1) + p[f"{key}.b"][:, None, None])

    def conv_norm(p, key, x, moved, stride=1):
        x = lm.conv(x, p[f"{key}.w"], strides=stride, padding=p[f"{key}.w"].shape[-1] // 2)
        count = x.size // x.shape[1]
        mean = lm.mean(x, axis=(0, 2, 3))
        variance = lm.mean(lm.square(x - mean[:, None, None]), axis=(0, 2, 3))
        for part, now in (("mean", mean), ("variance", variance * (count / (count - 1)))):
            moved[f"{key}.n.{part}"] = 0.9 * p[f"{key}.n.{part}"] + 0.1 * now
        return lm.batch_norm(x, mean, variance, p[f"{key}.n.w"], p[f"{key}.n.b"])

    def block(p, key, heads, x, gelu, **options):
        split = lm.reshape(linear(p, f"{key}.qkv", norm(p, f"{key}.n1", x)), (*x.shape[:2], 3, heads, -1))
        weighted = lm.attention(*lm.unstack(lm.transpose(split, (2, 0, 3, 1, 4))), **options)
        x = x + linear(p, f"{key}.o", lm.reshape(lm.swapaxes(weighted, 1, 2), x.shape))
        return x + linear(p, f"{key}.f2", gelu(linear(p, f"{key}.f1", norm(p, f"{key}.n2", x))))

    def mlp(p, x, moved):
        return linear(p, "l2", lm.relu(linear(p, "l1", lm.relu(linear(p, "l0", x)))))

    def cnn(p, x, moved):
        x = lm.max_pool(conv(p, "b", lm.max_pool(conv(p, "a", x), 2)), 2)
        return linear(p, "g", lm.relu(linear(p, "f", lm.reshape(x, (len(x), -1)))))

    def transformer(p, x, moved):
        x = lm.take(p["embedding"], x, axis=0) + p["position"]
        for i in range(steps.LAYERS):
            x = block(p, i, steps.HEADS, x, lm.gelu)
        return lm.reshape(linear(p, "out", norm(p, "n", x)), (-1, steps.VOCABULARY))

    def lstm(p, x, moved):
        def cell(state, x):
            h, c = state
            i, f, g, o = lm.split(x @ p["wi"].T + p["bi"] + h @ p["wh"].T + p["bh"], 4, axis=-1)
            c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
            return (lm.sigmoid(o) * lm.tanh(c), c), None
        zeros = lm.zeros((x.shape[1], steps.UNITS))
        return linear(p, "out", lm.scan(cell, (zeros, zeros), x)[0][0])

    def resnet50(p, x, moved):
        x = lm.max_pool(lm.relu(conv_norm(p, "stem", x, moved, 2)), 3, strides=2, padding=1)
        for stage, (_, blocks, stride) in enumerate(steps.STAGES):
            for number in range(blocks):
                key, by = f"{stage}.{number}", stride if number == 0 else 1
                y = lm.relu(conv_norm(p, f"{key}.c1", x, moved))
                y = lm.relu(conv_norm(p, f"{key}.c2", y, moved, by))
                y = conv_norm(p, f"{key}.c3", y, moved)
                x = lm.relu(y + (conv_norm(p, f"{key}.d", x, moved, by) if number == 0 else x))
        return linear(p, "out", lm.mean(x, axis=(2, 3)))

    def gpt2(p, x, moved):
        x = lm.take(p["embedding"], x, axis=0) + p["position"][:steps.GPT_LENGTH]
        for i in range(steps.GPT_LAYERS):
            x = block(p, i, steps.GPT_HEADS, x, lambda x: lm.gelu(x, approximate="tanh"), causal=True)
        return lm.reshape(norm(p, "n", x) @ p["embedding"].T, (-1, steps.GPT_VOCABULARY))
    return {"mlp": mlp, "cnn": cnn, "transformer": transformer, "lstm": lstm, "resnet50_b8": resnet50, "gpt2_s128": gpt2}[name]


# ---- PyTorch ---------------------------------------------------------------------------------------------------------
class TorchTrainer(Torch):
    """Eager PyTorch: backward and the fused optimizer."""

    dtype = "float32"

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """The parameters as leaves, and the network."""
        torch = self.torch
        params, buffers, x, y = _split(inputs)
        dtype = getattr(torch, self.dtype)
        self.params = {k: torch.from_numpy(v).to(dtype).requires_grad_() for k, v in params.items()}
        self.tensors = self.params | {k: torch.from_numpy(v).to(dtype) for k, v in buffers.items()}
        self.x = torch.from_numpy(x) if x.dtype.kind == "i" else torch.from_numpy(x).to(dtype)
        self.y = torch.from_numpy(y)
        self.network = _torch_network(torch, case.name)

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """One step a call."""
        torch = self.torch
        rate, momentum = steps.MOMENTUM_STEPS.get(case.name, (steps.LEARNING_RATE, None))
        kind, options = (torch.optim.SGD, {"momentum": momentum}) if momentum else (torch.optim.Adam, {})
        optimizer = kind(self.params.values(), lr=rate, fused=True, **options)
        loss = self.compiled(lambda x, y: torch.nn.functional.cross_entropy(self.network(self.tensors, x), y))
        self.losses = []

        def call() -> object:
            optimizer.zero_grad(set_to_none=True)
            value = loss(self.x, self.y)
            value.backward()
            optimizer.step()
            self.losses.append(value.detach())
            return value
        self.call = call
        return call

    def compiled(self, function: Callable) -> Callable:
        """The function as it is."""
        return function

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """The first losses."""
        while len(self.losses) < CHECKED:
            self.call()
        return [np.array([float(loss) for loss in self.losses[:CHECKED]])]


class InductorTrainer(TorchTrainer, Inductor):
    """torch.compile of the loss, so that its backward is compiled too; PyTorch's fused optimizer."""

    def compiled(self, function: Callable) -> Callable:
        """The function compiled at its first call."""
        return self.torch.compile(function)


def _torch_network(torch, name: str) -> Callable:
    F = torch.nn.functional

    def linear(p, key, x):
        return F.linear(x, p[f"{key}.w"], p[f"{key}.b"])

    def norm(p, key, x):
        return F.layer_norm(x, x.shape[-1:], p[f"{key}.w"], p[f"{key}.b"])

    def conv(p, key, x):
        return F.max_pool2d(F.relu(F.conv2d(x, p[f"{key}.w"], p[f"{key}.b"], padding=1)), 2)

    def conv_norm(p, key, x, stride=1):
        x = F.conv2d(x, p[f"{key}.w"], stride=stride, padding=p[f"{key}.w"].shape[-1] // 2)
        mean, variance, weight, bias = (p[f"{key}.n.{part}"] for part in ("mean", "variance", "w", "b"))
        return F.batch_norm(x, mean, variance, weight, bias, training=True)

    def block(p, key, heads, x, approximate="none", **options):
        split = linear(p, f"{key}.qkv", norm(p, f"{key}.n1", x)).reshape(*x.shape[:2], 3, heads, -1)
        y = F.scaled_dot_product_attention(*split.permute(2, 0, 3, 1, 4).unbind(0), **options)
        x = x + linear(p, f"{key}.o", y.transpose(1, 2).reshape(x.shape))
        return x + linear(p, f"{key}.f2", F.gelu(linear(p, f"{key}.f1", norm(p, f"{key}.n2", x)), approximate=approximate))

    def mlp(p, x):
        return linear(p, "l2", F.relu(linear(p, "l1", F.relu(linear(p, "l0", x)))))

    def cnn(p, x):
        return linear(p, "g", F.relu(linear(p, "f", conv(p, "b", conv(p, "a", x)).flatten(1))))

    def transformer(p, x):
        x = F.embedding(x, p["embedding"]) + p["position"]
        for i in range(steps.LAYERS):
            x = block(p, i, steps.HEADS, x)
        return linear(p, "out", norm(p, "n", x)).reshape(-1, steps.VOCABULARY)

    def lstm(p, x):
        zeros = torch.zeros(1, x.shape[1], steps.UNITS, dtype=x.dtype)
        weights = [p[key] for key in ("wi", "wh", "bi", "bh")]
        return linear(p, "out", torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, True, False, False)[0][-1])

    def resnet50(p, x):
        x = F.max_pool2d(F.relu(conv_norm(p, "stem", x, 2)), 3, 2, padding=1)
        for stage, (_, blocks, stride) in enumerate(steps.STAGES):
            for number in range(blocks):
                key, by = f"{stage}.{number}", stride if number == 0 else 1
                y = F.relu(conv_norm(p, f"{key}.c1", x))
                y = conv_norm(p, f"{key}.c3", F.relu(conv_norm(p, f"{key}.c2", y, by)))
                x = F.relu(y + (conv_norm(p, f"{key}.d", x, by) if number == 0 else x))
        return linear(p, "out", x.mean((2, 3)))

    def gpt2(p, x):
        x = F.embedding(x, p["embedding"]) + p["position"][:steps.GPT_LENGTH]
        for i in range(steps.GPT_LAYERS):
            x = block(p, i, steps.GPT_HEADS, x, "tanh", is_causal=True)
        return (norm(p, "n", x) @ p["embedding"].T).reshape(-1, steps.GPT_VOCABULARY)
    return {"mlp": mlp, "cnn": cnn, "transformer": transformer, "lstm": lstm, "resnet50_b8": resnet50, "gpt2_s128": gpt2}[name]
