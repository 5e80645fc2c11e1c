"""How is a recurrent network written?  An LSTM as a loop over time: lm.scan.

    python examples/lstm.py

The cell is that of Hochreiter and Schmidhuber, 1997, with the forget gate of Gers and others, 2000; weights lie as in
torch.nn.LSTM: the rows of the input, forget, cell and output gates one below the other.
"""

import numpy as np

import lamina as lm


def lstm(params, xs):
    """A layer over a sequence xs f32[time, batch, width], from a state of zeros.

    `params` are weight_ih [4 * hidden, width], weight_hh [4 * hidden, hidden], bias_ih and bias_hh [4 * hidden].
    Returns the outputs f32[time, batch, hidden] and the last (output, cell).
    """
    from_inputs = xs @ params["weight_ih"].T + params["bias_ih"] + params["bias_hh"]  # of all steps in one product

    def step(state, from_input):
        h, c = state
        i, f, g, o = lm.split(from_input + h @ params["weight_hh"].T, 4, axis=-1)
        c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
        h = lm.sigmoid(o) * lm.tanh(c)
        return (h, c), h

    zeros = lm.zeros((xs.shape[1], params["weight_hh"].shape[1]))
    last, outputs = lm.scan(step, (zeros, zeros), from_inputs)
    return outputs, last


def stacked(layers, xs):
    """Layers on top of each other: the outputs of the last one."""
    for params in layers:
        xs, _ = lstm(params, xs)
    return xs


def random_params(width: int, hidden: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights and biases of one layer, uniform within 1 / sqrt(hidden)."""
    draw = np.random.default_rng(seed).uniform
    shapes = {"weight_ih": (4 * hidden, width), "weight_hh": (4 * hidden, hidden), "bias_ih": 4 * hidden,
              "bias_hh": 4 * hidden}
    return {name: draw(-1, 1, shape).astype(np.float32) / np.float32(hidden ** 0.5) for name, shape in shapes.items()}


def main() -> None:
    layers = [random_params(32, 64, seed=0), random_params(64, 64, seed=1)]
    network = lm.compile(lambda xs: stacked(layers, xs), lm.TensorSpec(("time", "batch", 32)),
                         dims={"time": (1, 1000), "batch": (1, 64)})
    for time in (10, 500):
        xs = np.random.default_rng(time).standard_normal((time, 4, 32)).astype(np.float32)
        (outputs,) = network(xs)
        print(f"{time} steps: outputs {outputs.dtype}{list(outputs.shape)}, the last one begins {outputs[-1, 0, :3]}")
    print(f"{len(network.kernels)} launches in the program, those of a loop's body written once")


if __name__ == "__main__":
    main()
