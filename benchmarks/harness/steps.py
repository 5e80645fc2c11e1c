"""What is trained?  Four networks with their first weights and one batch, made from a fixed seed, and the losses to expect.

Every contender gets the same weights, takes Adam steps (rate 1e-3) on the same batch, and has to reach the same losses: those of the
first steps in float64, by PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .workloads import Case

LEARNING_RATE = 1e-3

#: The losses of the first three steps.
LOSSES = {
    "mlp": (2.3105308636360853, 2.0287294812032663, 1.7775631204583477),
    "cnn": (2.310126598689166, 2.2860163078201587, 2.1810122793838405),
    "transformer": (7.057297909086247, 6.575403455724394, 6.147256693787962),
    "lstm": (2.300715173160404, 2.2474779019135283, 2.1944262852746395),
}
STEPS = tuple(LOSSES)

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH, SENTENCES = 1000, 256, 4, 4, 128, 16  # of the transformer
UNITS, FEATURES, TIME, SERIES = 256, 64, 64, 32  # of the LSTM


def make_step(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(parameters by name, the batch {"x", "y"}) of a step."""
    rng = np.random.default_rng(0)
    params: dict[str, np.ndarray] = {}

    def uniform(key: str, bound: float, *shape: int) -> None:
        params[key] = rng.uniform(-bound, bound, shape).astype(np.float32)

    def linear(key: str, inputs: int, outputs: int) -> None:
        uniform(f"{key}.w", inputs ** -0.5, outputs, inputs)
        uniform(f"{key}.b", inputs ** -0.5, outputs)

    def norm(key: str) -> None:
        params[f"{key}.w"], params[f"{key}.b"] = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    if name == "mlp":
        for i, (inputs, outputs) in enumerate(((784, 512), (512, 512), (512, 10))):
            linear(f"l{i}", inputs, outputs)
        x, classes, count = rng.standard_normal((128, 784)), 10, 128
    elif name == "cnn":
        for key, inputs, outputs in (("a", 1, 32), ("b", 32, 64)):
            uniform(f"{key}.w", (inputs * 9) ** -0.5, outputs, inputs, 3, 3)
            uniform(f"{key}.b", (inputs * 9) ** -0.5, outputs)
        linear("f", 3136, 128)
        linear("g", 128, 10)
        x, classes, count = rng.standard_normal((64, 1, 28, 28)), 10, 64
    elif name == "transformer":
        params["embedding"] = rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
        params["position"] = (0.02 * rng.standard_normal((LENGTH, WIDTH))).astype(np.float32)
        for i in range(LAYERS):
            norm(f"{i}.n1")
            linear(f"{i}.qkv", WIDTH, 3 * WIDTH)
            linear(f"{i}.o", WIDTH, WIDTH)
            norm(f"{i}.n2")
            linear(f"{i}.f1", WIDTH, 4 * WIDTH)
            linear(f"{i}.f2", 4 * WIDTH, WIDTH)
        norm("n")
        linear("out", WIDTH, VOCABULARY)
        x, classes, count = rng.integers(0, VOCABULARY, (SENTENCES, LENGTH)), VOCABULARY, SENTENCES * LENGTH
    else:
        for key, *shape in (("wi", 4 * UNITS, FEATURES), ("wh", 4 * UNITS, UNITS), ("bi", 4 * UNITS), ("bh", 4 * UNITS)):
            uniform(key, UNITS ** -0.5, *shape)
        linear("out", UNITS, 10)
        x, classes, count = rng.standard_normal((TIME, SERIES, FEATURES)), 10, SERIES
    batch = {"x": x.astype(np.float32) if x.dtype.kind == "f" else x, "y": rng.integers(0, classes, count)}
    return params, batch


def write_step(name: str, folder: Path) -> Case:
    """The step's arrays as a case: its data holds in.NAME for parameters, x and y, and the losses as the reference."""
    params, batch = make_step(name)
    path = folder / f"train_{name}.npz"
    np.savez(path, **{f"in.{key}": value for key, value in (params | batch).items()}, ref_out0=np.array(LOSSES[name]))
    return Case(name, str(path), str(path))
