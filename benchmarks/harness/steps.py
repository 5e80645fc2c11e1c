"""What is trained?  Six networks with their first weights and one batch, made from a fixed seed, and the losses to expect.

Every contender gets the same weights, takes steps on the same batch, by Adam (rate 1e-3) or for ResNet-50 by SGD with momentum (rate
1e-2, 0.9), and has to reach the same losses: those of the first steps in float64, by PyTorch. (Adam's first step is the gradient's sign,
and through batch normalization losses in float32 and float64 part by a percent behind it.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .workloads import Case

LEARNING_RATE = 1e-3
MOMENTUM_STEPS = {"resnet50_b8": (1e-2, 0.9)}  # rate and momentum of what SGD trains

#: The losses of the first three steps.
LOSSES = {
    "mlp": (2.3105308636360853, 2.0287294812032663, 1.7775631204583477),
    "cnn": (2.310126598689166, 2.2860163078201587, 2.1810122793838405),
    "transformer": (7.057297909086247, 6.575403455724394, 6.147256693787962),
    "lstm": (2.300715173160404, 2.2474779019135283, 2.1944262852746395),
    "resnet50_b8": (6.9147798067119925, 6.08495589394816, 4.731046933874839),
    "gpt2_s128": (11.017027603064227, 9.808364819643556, 8.3008523009427),
}
STEPS = tuple(LOSSES)

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH, SENTENCES = 1000, 256, 4, 4, 128, 16  # of the transformer
UNITS, FEATURES, TIME, SERIES = 256, 64, 64, 32  # of the LSTM
GPT_VOCABULARY, GPT_WIDTH, GPT_HEADS, GPT_LAYERS, GPT_POSITIONS, GPT_LENGTH = 50257, 768, 12, 12, 1024, 128
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # of ResNet-50: width, blocks, stride of the first
BUFFERS = (".mean", ".variance")  # what names of running statistics end in: state that is not trained


def make_step(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(parameters and buffers by name, the batch {"x", "y"}) of a step."""
    rng = np.random.default_rng(0)
    params: dict[str, np.ndarray] = {}

    def uniform(key: str, bound: float, *shape: int) -> None:
        params[key] = rng.uniform(-bound, bound, shape).astype(np.float32)

    def normal(key: str, deviation: float, *shape: int) -> None:
        params[key] = rng.standard_normal(shape, np.float32) * np.float32(deviation)

    def linear(key: str, inputs: int, outputs: int) -> None:
        uniform(f"{key}.w", inputs ** -0.5, outputs, inputs)
        uniform(f"{key}.b", inputs ** -0.5, outputs)

    def norm(key: str, width: int) -> None:
        params[f"{key}.w"], params[f"{key}.b"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    def blocks(count: int, width: int) -> None:
        for i in range(count):
            norm(f"{i}.n1", width)
            linear(f"{i}.qkv", width, 3 * width)
            linear(f"{i}.o", width, width)
            norm(f"{i}.n2", width)
            linear(f"{i}.f1", width, 4 * width)
            linear(f"{i}.f2", 4 * width, width)
        norm("n", width)

    def conv_norm(key: str, inputs: int, outputs: int, size: int) -> None:
        normal(f"{key}.w", (2 / (outputs * size * size)) ** 0.5, outputs, inputs, size, size)
        norm(f"{key}.n", outputs)
        params[f"{key}.n.mean"], params[f"{key}.n.variance"] = np.zeros(outputs, np.float32), np.ones(outputs, np.float32)

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
        blocks(LAYERS, WIDTH)
        linear("out", WIDTH, VOCABULARY)
        x, classes, count = rng.integers(0, VOCABULARY, (SENTENCES, LENGTH)), VOCABULARY, SENTENCES * LENGTH
    elif name == "lstm":
        for key, *shape in (("wi", 4 * UNITS, FEATURES), ("wh", 4 * UNITS, UNITS), ("bi", 4 * UNITS), ("bh", 4 * UNITS)):
            uniform(key, UNITS ** -0.5, *shape)
        linear("out", UNITS, 10)
        x, classes, count = rng.standard_normal((TIME, SERIES, FEATURES)), 10, SERIES
    elif name == "resnet50_b8":
        conv_norm("stem", 3, 64, 7)
        inputs = 64
        for stage, (width, number, _) in enumerate(STAGES):
            for block in range(number):
                key = f"{stage}.{block}"
                conv_norm(f"{key}.c1", inputs, width, 1)
                conv_norm(f"{key}.c2", width, width, 3)
                conv_norm(f"{key}.c3", width, 4 * width, 1)
                params[f"{key}.c3.n.w"] *= np.float32(0.2)  # at 1 the gradient in float32 is off by some percent
                if block == 0:
                    conv_norm(f"{key}.d", inputs, 4 * width, 1)
                inputs = 4 * width
        linear("out", inputs, 1000)
        x, classes, count = rng.standard_normal((8, 3, 224, 224)), 1000, 8
    else:
        normal("embedding", 0.02, GPT_VOCABULARY, GPT_WIDTH)
        normal("position", 0.02, GPT_POSITIONS, GPT_WIDTH)
        blocks(GPT_LAYERS, GPT_WIDTH)
        x, classes, count = rng.integers(0, GPT_VOCABULARY, (1, GPT_LENGTH)), GPT_VOCABULARY, GPT_LENGTH
    batch = {"x": x.astype(np.float32) if x.dtype.kind == "f" else x, "y": rng.integers(0, classes, count)}
    return params, batch


def write_step(name: str, folder: Path) -> Case:
    """The step's arrays as a case: its data holds in.NAME for parameters, x and y, and the losses as the reference."""
    params, batch = make_step(name)
    path = folder / f"train_{name}.npz"
    np.savez(path, **{f"in.{key}": value for key, value in (params | batch).items()}, ref_out0=np.array(LOSSES[name]))
    return Case(name, str(path), str(path))
