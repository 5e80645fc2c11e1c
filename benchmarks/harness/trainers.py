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


def _split(inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    arrays = {name.removeprefix("in."): array for name, array in inputs.items()}
    return {k: v for k, v in arrays.items() if k not in ("x", "y")}, arrays["x"], arrays["y"]


# ---- lamina ----------------------------------------------------------------------------------------------------------
class LaminaTrainer(Lamina):
    """One jitted function: loss, gradients and Adam; parameters and state are donated."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Trace and compile the step; the first call takes it."""
        lm = self.lamina
        params, x, y = _split(inputs)
        network = _lamina_network(lm, case.name)
        optimizer = lm.optim.Adam(steps.LEARNING_RATE)

        def loss(params, x, y):
            chances = lm.log_softmax(network(params, x), axis=-1)
            return -lm.mean(lm.take_along_axis(chances, y[:, None], axis=1))

        @lm.jit(donate_argnums=(0, 1))
        def step(params, state, x, y):
            value, gradient = lm.value_and_grad(loss)(params, x, y)
            params, state = optimizer.update(gradient, state, params)
            return params, state, value
        self.executable = step.compile(params, optimizer.init(params), x, y)
        arrays = lm.tree.leaves((params, optimizer.init(params), x, y))
        self.state = [np.array(a) for a in arrays[:-2]]
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

    def mlp(p, x):
        return linear(p, "l2", lm.relu(linear(p, "l1", lm.relu(linear(p, "l0", x)))))

    def cnn(p, x):
        x = lm.max_pool(conv(p, "b", lm.max_pool(conv(p, "a", x), 2)), 2)
        return linear(p, "g", lm.relu(linear(p, "f", lm.reshape(x, (len(x), -1)))))

    def transformer(p, x):
        x = lm.take(p["embedding"], x, axis=0) + p["position"]
        for i in range(steps.LAYERS):
            heads = lm.reshape(linear(p, f"{i}.qkv", norm(p, f"{i}.n1", x)), (*x.shape[:2], 3, steps.HEADS, -1))
            q, k, v = lm.unstack(lm.transpose(heads, (2, 0, 3, 1, 4)))
            weights = lm.softmax(q @ lm.matrix_transpose(k) * q.shape[-1] ** -0.5, axis=-1)
            x = x + linear(p, f"{i}.o", lm.reshape(lm.swapaxes(weights @ v, 1, 2), x.shape))
            x = x + linear(p, f"{i}.f2", lm.gelu(linear(p, f"{i}.f1", norm(p, f"{i}.n2", x))))
        return lm.reshape(linear(p, "out", norm(p, "n", x)), (-1, steps.VOCABULARY))

    def lstm(p, x):
        def cell(state, x):
            h, c = state
            i, f, g, o = lm.split(x @ p["wi"].T + p["bi"] + h @ p["wh"].T + p["bh"], 4, axis=-1)
            c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
            return (lm.sigmoid(o) * lm.tanh(c), c), None
        zeros = lm.zeros((x.shape[1], steps.UNITS))
        return linear(p, "out", lm.scan(cell, (zeros, zeros), x)[0][0])
    return {"mlp": mlp, "cnn": cnn, "transformer": transformer, "lstm": lstm}[name]


# ---- PyTorch ---------------------------------------------------------------------------------------------------------
class TorchTrainer(Torch):
    """Eager PyTorch: backward and the fused Adam."""

    dtype = "float32"

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """The parameters as leaves, and the network."""
        torch = self.torch
        params, x, y = _split(inputs)
        dtype = getattr(torch, self.dtype)
        self.params = {k: torch.tensor(v, dtype=dtype, requires_grad=True) for k, v in params.items()}
        self.x = torch.from_numpy(x) if x.dtype.kind == "i" else torch.tensor(x, dtype=dtype)
        self.y = torch.from_numpy(y)
        self.network = _torch_network(torch, case.name, self.params)

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """One step a call."""
        torch, optimizer = self.torch, self.torch.optim.Adam(self.params.values(), lr=steps.LEARNING_RATE, fused=True)
        loss = self.compiled(lambda x, y: torch.nn.functional.cross_entropy(self.network(self.params, x), y))
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
    """torch.compile of the loss, so that its backward is compiled too; PyTorch's fused Adam."""

    def compiled(self, function: Callable) -> Callable:
        """The function compiled at its first call."""
        return self.torch.compile(function)


def _torch_network(torch, name: str, p: dict) -> Callable:
    F = torch.nn.functional

    def linear(p, key, x):
        return F.linear(x, p[f"{key}.w"], p[f"{key}.b"])

    def norm(p, key, x):
        return F.layer_norm(x, x.shape[-1:], p[f"{key}.w"], p[f"{key}.b"])

    def conv(p, key, x):
        return F.max_pool2d(F.relu(F.conv2d(x, p[f"{key}.w"], p[f"{key}.b"], padding=1)), 2)

    def mlp(p, x):
        return linear(p, "l2", F.relu(linear(p, "l1", F.relu(linear(p, "l0", x)))))

    def cnn(p, x):
        return linear(p, "g", F.relu(linear(p, "f", conv(p, "b", conv(p, "a", x)).flatten(1))))

    def transformer(p, x):
        x = F.embedding(x, p["embedding"]) + p["position"]
        for i in range(steps.LAYERS):
            heads = linear(p, f"{i}.qkv", norm(p, f"{i}.n1", x)).reshape(*x.shape[:2], 3, steps.HEADS, -1)
            y = F.scaled_dot_product_attention(*heads.permute(2, 0, 3, 1, 4).unbind(0))
            x = x + linear(p, f"{i}.o", y.transpose(1, 2).reshape(x.shape))
            x = x + linear(p, f"{i}.f2", F.gelu(linear(p, f"{i}.f1", norm(p, f"{i}.n2", x))))
        return linear(p, "out", norm(p, "n", x)).reshape(-1, steps.VOCABULARY)

    def lstm(p, x):
        zeros = torch.zeros(1, x.shape[1], steps.UNITS, dtype=x.dtype)
        weights = [p[key] for key in ("wi", "wh", "bi", "bh")]
        return linear(p, "out", torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, True, False, False)[0][-1])
    return {"mlp": mlp, "cnn": cnn, "transformer": transformer, "lstm": lstm}[name]
